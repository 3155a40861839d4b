//! Signing backends: each implements [`signer_actors::ports::SigningBackend`].

pub mod file;
pub mod fulcio;
pub mod published;
