//! DSSE envelopes, Sigstore bundles, trusted roots, and verifying them offline.

pub mod envelope;
pub mod sigstore;
pub mod trusted_root;
pub mod verify;
