//! The embedded neighbours of `signer dev`.
