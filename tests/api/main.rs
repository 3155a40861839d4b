//! Black-box tests over HTTP: the real service with real adapters, between neighbours that do as they are told.
//!
//! Expected values are typed from the contract, the RFCs and OpenSSL's own verdicts, never taken from the service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

mod auth;
mod body;
mod errors;
mod headers;
mod sign;
mod support;
