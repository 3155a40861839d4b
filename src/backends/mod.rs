//! Signing backends: each implements [`signer_actors::ports::SigningBackend`].

pub mod credential;
pub mod file;
pub mod fulcio;
pub mod pkcs11;
pub mod published;
pub mod remote;
pub mod vault;
mod wire;
