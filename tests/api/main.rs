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

mod attacks;
mod audit;
mod audit_proofs;
mod auth;
mod auth_page;
mod batch;
mod body;
mod client_cert;
mod determinism;
mod drain;
mod entitlement;
mod errors;
mod headers;
mod idempotency;
mod jwks;
mod limits;
mod logs;
mod openapi;
mod predicates;
mod quota;
mod registry_memory;
mod release;
mod release_gate;
mod reload;
mod remembered;
mod replay;
mod shared;
mod sign;
mod signing;
mod support;
mod timestamps;
mod tls;
mod trust;
mod verify_dsse;
