//! From a request to a signature: read `run.rs` first.
//!
//! The order of checks is contract §2.6, first failure answers. Orchestration, not choreography: the request's own task
//! asks each actor in turn, and actors never ask actors. What may follow what is held by types ([`state`]): each
//! transition consumes the evidence of its gate, and only the last state before the signature yields a
//! [`SigningWarrant`](crate::evidence::SigningWarrant).

mod answer;
mod authenticate;
mod batch;
mod context;
mod error;
mod gates;
mod idempotent;
mod lines;
mod look_up;
mod probe;
mod recent;
mod records;
mod run;
mod services;
mod signers;
mod signing;
pub mod state;
mod strangers;
mod timestamping;
mod turns;

pub use answer::Answer;
pub use authenticate::authenticate;
pub use batch::{BatchAnswer, BatchItem, BatchRequest, sign_batch};
pub use context::{Context, Idempotent, SignOptions, SignRequest};
pub use error::{Failure, Refusal, Stage};
pub use look_up::{audit_records, charge_question, tree_head, verify_release};
pub use probe::{Gate, GateReport, GateVerdict, Probe, probe};
pub use recent::Recent;
pub use records::note_refused;
pub use run::sign;
pub use services::{Policy, Services, TimestampHandle};
pub use signers::{BackendHandle, Defaults, PublishedSigners, Signers};
pub use strangers::{StrangerRate, note_stranger};
pub use turns::turn;

#[cfg(test)]
mod tests;
