//! The signature algorithms that tokens and proofs may use.

use std::fmt;

/// An accepted JWS algorithm. There is no `none`, no HMAC, no PKCS #1 v1.5 (RFC 8725 §3.1, §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JwsAlgorithm {
    /// ECDSA, P-256, SHA-256 (RFC 7518 §3.4).
    Es256,
    /// ECDSA, P-384, SHA-384 (RFC 7518 §3.4).
    Es384,
    /// Ed25519 (RFC 8037 §3.1).
    EdDsa,
    /// RSASSA-PSS, SHA-256 (RFC 7518 §3.5).
    Ps256,
}

impl JwsAlgorithm {
    /// Every accepted algorithm, in the order of the contract (§3).
    pub const ALL: [Self; 4] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Ps256];

    /// Reads the name as in `alg`; names are case-sensitive (RFC 7515 §4.1.1).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }

    /// The name as in `alg`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ps256 => "PS256",
        }
    }
}

impl fmt::Display for JwsAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
