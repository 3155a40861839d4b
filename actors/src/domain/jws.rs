//! The signature algorithms that tokens and proofs may use.

use std::fmt;

/// An accepted JWS algorithm. There is no `none`, no HMAC, no PKCS #1 v1.5 (RFC 8725 §3.1, §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JwsAlgorithm {
    /// ECDSA, P-256, SHA-256 (RFC 7518 §3.4).
    Es256,
    /// ECDSA, P-384, SHA-384 (RFC 7518 §3.4).
    Es384,
    /// Ed25519 (RFC 8037 §3.1), under either of its names.
    EdDsa,
    /// RSASSA-PSS, SHA-256 (RFC 7518 §3.5).
    Ps256,
}

impl JwsAlgorithm {
    /// Every accepted algorithm, in the order of the contract (§3).
    pub const ALL: [Self; 4] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Ps256];

    /// Reads a name as in `alg`; names are case-sensitive (RFC 7515 §4.1.1).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.names().contains(&name))
    }

    /// Every name that `alg` may have. `EdDSA` says no curve: RFC 9864 §2.2 deprecates it for `Ed25519`, and both are in
    /// use.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Es256 => &["ES256"],
            Self::Es384 => &["ES384"],
            Self::EdDsa => &["EdDSA", "Ed25519"],
            Self::Ps256 => &["PS256"],
        }
    }

    /// The name in configuration, and in what is written here.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ed25519_has_two_names_and_other_curves_have_none() {
        assert_eq!(JwsAlgorithm::parse("EdDSA"), Some(JwsAlgorithm::EdDsa));
        assert_eq!(JwsAlgorithm::parse("Ed25519"), Some(JwsAlgorithm::EdDsa));
        for other in ["Ed448", "ed25519", "eddsa", "ES512", "ESP256", "none", ""] {
            assert_eq!(JwsAlgorithm::parse(other), None, "{other}");
        }
        for algorithm in JwsAlgorithm::ALL {
            assert_eq!(algorithm.names().first(), Some(&algorithm.as_str()));
        }
    }
}
