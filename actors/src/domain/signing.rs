//! Keys, algorithms and signatures.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::digest::Sha256Digest;
use super::ids::KeyId;

/// How a statement is signed (contract §2.1, `signingMode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SigningMode {
    /// An ephemeral key certified by Fulcio.
    Keyless,
    /// A long-lived key of any keyful backend.
    Kms,
}

impl SigningMode {
    /// `keyless` or `kms`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyless => "keyless",
            Self::Kms => "kms",
        }
    }
}

impl fmt::Display for SigningMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A signature algorithm; each key pins exactly one (contract §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// ECDSA over P-256 with SHA-256, DER signature.
    EcdsaP256Sha256,
    /// ECDSA over P-384 with SHA-384, DER signature.
    EcdsaP384Sha384,
    /// Pure Ed25519 (RFC 8032).
    Ed25519,
    /// RSASSA-PSS with SHA-256, salt of 32 bytes (RFC 8017 §8.1).
    RsaPssSha256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 §8.2).
    RsaPkcs1Sha256,
}

impl Algorithm {
    /// The name used in configuration and responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::Ed25519 => "ed25519",
            Self::RsaPssSha256 => "rsa-pss-sha256",
            Self::RsaPkcs1Sha256 => "rsa-pkcs1-sha256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Everything a verifier needs to know of the key behind a signature. Public data only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningIdentity {
    /// Which backend holds the key: `signing.backends[].id`.
    pub backend: KeyId,
    /// The key's id: the backend's id, or a fingerprint for ephemeral keys.
    pub key_id: KeyId,
    /// Keyless or keyful.
    pub mode: SigningMode,
    /// The pinned algorithm.
    pub algorithm: Algorithm,
    /// SubjectPublicKeyInfo, DER.
    pub public_key_der: Vec<u8>,
    /// SubjectPublicKeyInfo, PEM.
    pub public_key_pem: String,
    /// OIDC issuer in the certificate (keyless).
    pub issuer: Option<String>,
    /// Subject alternative name in the certificate (keyless).
    pub subject: Option<String>,
    /// Leaf first, each PEM; empty for keyful.
    pub certificate_chain: Vec<String>,
    /// The leaf, DER; absent for keyful.
    pub leaf_der: Option<Vec<u8>>,
    /// Lowercase hex serial of the leaf, for the audit record.
    pub certificate_serial: Option<String>,
    /// Start of validity, where there is one.
    pub not_before: Option<DateTime<Utc>>,
    /// End of validity, where there is one.
    pub not_after: Option<DateTime<Utc>>,
}

impl SigningIdentity {
    /// SHA-256 of the public key of a long-lived key; `None` for one made anew for every certificate.
    pub fn key_digest(&self) -> Option<Sha256Digest> {
        (self.mode == SigningMode::Kms).then(|| Sha256Digest::of(&self.public_key_der))
    }

    /// The identity of a long-lived key: the backend's id is the key's, and there is no certificate. `public_key_der`
    /// and `public_key_pem` are the same SubjectPublicKeyInfo.
    pub fn keyful(
        id: KeyId,
        algorithm: Algorithm,
        public_key_der: impl Into<Vec<u8>>,
        public_key_pem: impl Into<String>,
    ) -> Self {
        Self {
            backend: id.clone(),
            key_id: id,
            mode: SigningMode::Kms,
            algorithm,
            public_key_der: public_key_der.into(),
            public_key_pem: public_key_pem.into(),
            issuer: None,
            subject: None,
            certificate_chain: Vec::new(),
            leaf_der: None,
            certificate_serial: None,
            not_before: None,
            not_after: None,
        }
    }
}

/// A signature over a DSSE pre-authentication encoding. ECDSA signatures are DER (contract §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature(pub Vec<u8>);

/// State of a keyful key (contract §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Signs and verifies.
    Active,
    /// Signs no more; verifies what was timestamped before.
    Retired,
    /// Not to be trusted for anything signed from `revokedFrom` on.
    Revoked,
}

/// What verifiers are told of a keyful key: its state, and since when it is that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLife {
    /// Active, retired or revoked.
    pub state: KeyState,
    /// From when on it signs no more: what was signed later is not its own doing. Present for a retired key; a revoked one may
    /// have been retired before.
    pub retired_from: Option<DateTime<Utc>>,
    /// From when on its signatures count for nothing; present exactly when it is revoked.
    pub revoked_from: Option<DateTime<Utc>>,
}

impl KeyLife {
    /// That of a key that signs.
    pub const ACTIVE: Self = Self {
        state: KeyState::Active,
        retired_from: None,
        revoked_from: None,
    };
}
