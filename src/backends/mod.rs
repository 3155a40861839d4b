//! Signing backends: each implements [`signer_actors::ports::SigningBackend`].

pub mod aws;
pub mod credential;
pub mod file;
pub mod fulcio;
pub mod pkcs11;
pub mod published;
pub mod remote;
#[cfg(test)]
mod testkit;
pub mod vault;
mod wire;
