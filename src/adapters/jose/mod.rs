//! Strict parsing of JOSE headers, JWKs and claims, before any library sees them.

pub mod mint;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Writes base64url without padding (RFC 7515 §2).
pub fn b64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url strictly: no padding, no white space, no stray bits in the last character (RFC 4648 §3.5), so that
/// every byte string has exactly one spelling.
pub fn from_b64url(value: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value).ok()
}
