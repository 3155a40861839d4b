//! Offline kits: what a verifier without a network needs to judge what this service signed, in one folder under one
//! signature.
//!
//! A kit is read with one key that its holder got another way. The key signs a manifest ([`Manifest`]); the manifest has
//! the digest and length of every other file, says who the kit is from, and when it ends. Whoever only finds the folder
//! can neither change, add nor leave out a file, and an old kit stops to count by itself, so that a key revoked since
//! is not trusted for ever.

mod folder;
mod manifest;

pub use folder::{read, write};
pub use manifest::{Listed, MANIFEST, Manifest, PAYLOAD_TYPE, open, seal};

/// Certificate authorities and timestamp authorities: `GET /trust` (TrustedRoot v0.1).
pub const TRUSTED_ROOT: &str = "trusted_root.json";
/// Keyful keys with their states: `GET /trust/keys`.
pub const KEYS: &str = "keys.json";
/// The largest file of a kit, in bytes.
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// The most files of a kit, the manifest not counted.
pub const MAX_FILES: usize = 1024;

#[cfg(test)]
mod tests;
