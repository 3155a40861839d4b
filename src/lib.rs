//! The StellaOps Signer: HTTP in front, vendor clients behind, and the core ([`signer_actors`]) in between.
//!
//! Start at [`http`] for what callers see, at [`signer_actors::pipeline`] for the flow, at [`bootstrap`] for how the
//! parts are put together. `adapters` and `backends` see only the core's ports and domain, and the leaves that anyone may
//! use: [`crypto`] (keys and signatures), [`x509`] (certificates) and [`timestamp`] (RFC 3161). Only [`bootstrap`] sees every concrete type.

pub mod adapters;
pub mod backends;
pub mod bootstrap;
pub mod bundle;
pub mod cli;
pub mod client;
pub mod config;
pub mod crypto;
pub mod dev;
pub mod http;
pub mod kit;
mod openssl_errors;
pub mod shutdown;
pub mod telemetry;
pub mod timestamp;
pub mod tlog;
mod urls;
pub mod x509;
