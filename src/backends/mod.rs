//! Signing backends: each implements [`signer_actors::ports::SigningBackend`].

pub mod certificate;
pub mod crypto;
mod der;
pub mod file;
pub mod fulcio;
pub mod published;
