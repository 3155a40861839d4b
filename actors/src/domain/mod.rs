//! The words of the field: values that are valid by construction, and pure functions over them. No I/O, no actor.

pub mod audit;
pub mod caller;
pub mod canonical;
pub mod code;
pub mod digest;
pub mod entitlement;
pub mod envelope;
pub mod idempotency;
pub mod ids;
pub mod jws;
pub mod plan;
pub mod predicates;
pub mod release;
pub mod signing;
pub mod statement;
pub mod subject;
pub mod tenant;
pub mod validity;
