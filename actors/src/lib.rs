//! The core of the StellaOps Signer: what a signature means, who may ask for one, and the flow that makes it.
//!
//! Read [`pipeline`] first: it is the whole service on two screens. Then, inside out:
//! [`domain`] ← [`evidence`] ← [`ports`] ← the actors ([`auth`], [`entitlement`], [`idempotency`], [`quota`],
//! [`referrer`], [`signer`], [`timestamp`], [`places`], [`audit`], and each worker's [`tokens`] and [`snapshots`]) ←
//! [`pipeline`], [`system`]. Actor modules never import
//! each other; nothing here knows HTTP or a vendor.

pub mod domain;
pub mod evidence;
pub mod keyring;
pub mod ports;
pub mod runtime;

pub mod audit;
pub mod auth;
pub mod entitlement;
pub mod idempotency;
pub mod places;
pub mod quota;
pub mod referrer;
pub mod signer;
pub mod snapshots;
pub mod timestamp;
pub mod tokens;

pub mod pipeline;
pub mod system;

#[cfg(any(test, feature = "test-util"))]
pub mod testing;
