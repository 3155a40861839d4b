//! Strict parsing of JOSE headers, JWKs and claims, before any library sees them.
//!
//! A token's way: [`header`] splits and bounds it, [`jwks`] finds the key, [`jwt`] lets the `jsonwebtoken` crate check the
//! signature by the *key's* algorithm, and [`claims`] reads what it says. Proofs (DPoP) bring their own key, so
//! [`jwk`] verifies them directly with OpenSSL. [`source`] gets key sets by discovery, URI or file, [`fetch`] does so bounded.
//! [`mint`] makes tokens, for everyone but the service.

pub mod claims;
mod discovery;
mod ed25519;
pub mod fetch;
pub mod header;
pub mod json;
pub mod jwk;
pub mod jwks;
pub mod jwt;
pub mod mint;
pub mod source;
#[cfg(test)]
pub(crate) mod testkit;
pub mod verifying;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Why something was refused: for the caller, so it names members and remedies and echoes no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl From<&str> for Refused {
    fn from(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// Writes base64url without padding (RFC 7515 §2).
pub fn b64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url strictly: no padding, no white space, no stray bits in the last character (RFC 4648 §3.5), so that
/// every byte string has exactly one spelling.
pub fn from_b64url(value: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value).ok()
}

/// Reads base64url of exactly `N` bytes.
pub fn array_from_b64url<const N: usize>(value: &str) -> Option<[u8; N]> {
    from_b64url(value)?.try_into().ok()
}

/// True for 1 to `max` visible ASCII characters (no space, no control character).
pub(crate) fn is_visible(value: &str, max: usize) -> bool {
    (1..=max).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_has_one_spelling() {
        // RFC 4648 §10, in the URL alphabet without padding.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(b64url(bytes.as_bytes()), text);
            assert_eq!(from_b64url(text).as_deref(), Some(bytes.as_bytes()));
        }
        for bad in ["Zg==", "Zh", "Z", "Zm9v\n", " Zm9v", "Zm9+", "Zm9/", "Zm 9v"] {
            assert_eq!(from_b64url(bad), None, "{bad:?}");
        }
    }
}
