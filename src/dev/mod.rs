//! The embedded neighbours of `signer dev`: real little services on loopback, honest in what they check, so that the
//! whole flow can be tried on one machine without an account anywhere.
//!
//! *Architecture Invariant:* nothing here is reachable from `signer serve`, and nothing here listens on anything but
//! loopback ([`listener::loopback_only`]).

pub mod authority;
mod ca;
mod content;
pub mod credentials;
pub mod fulcio;
mod jws;
mod keeper;
mod keys;
pub mod licensing;
pub mod listener;
pub mod neighbours;
#[cfg(test)]
mod peers_tests;
mod proof;
pub mod registry;
pub mod timestamps;

pub use content::RELEASE_TAG;
pub use neighbours::{Neighbours, Options, neighbours};
