//! What the release policy is told: who may sign, for how long, and what must witness it.

use chrono::{DateTime, Utc};

/// When a key or identity counts; open where a bound is absent. Compared with the verified time of signing where there is
/// one, otherwise with the time of the check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// First moment.
    pub not_before: Option<DateTime<Utc>>,
    /// Last moment.
    pub not_after: Option<DateTime<Utc>>,
}

impl Life {
    /// True if the moment lies inside, bounds included.
    pub fn contains(self, at: DateTime<Utc>) -> bool {
        self.not_before.is_none_or(|start| start <= at) && self.not_after.is_none_or(|end| at <= end)
    }
}

/// What a signature must carry to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// A timestamp (RFC 3161) by a configured authority.
    Timestamp,
    /// An entry of a configured log: its signed promise, or the proof that it is in the log.
    Log,
    /// The proof that the entry is in the log.
    Inclusion,
}

/// A release key with a life.
#[derive(Clone, Debug)]
pub struct SignerKey {
    /// SPKI in PEM.
    pub pem: Vec<u8>,
    /// When it counts.
    pub life: Life,
    /// What its signatures must carry, beside what all must.
    pub require: Vec<Requirement>,
}

/// An identity that release certificates carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// OIDC issuer in the Fulcio extension, compared exactly.
    pub issuer: String,
    /// The only subject alternative name (URI or e-mail), compared exactly.
    pub subject: String,
    /// PEM certificates that its certificates chain to, instead of the settings' roots.
    pub roots: Option<Vec<u8>>,
    /// When it counts.
    pub life: Life,
    /// What its signatures must carry, beside what all must.
    pub require: Vec<Requirement>,
}

impl Identity {
    /// An identity under the settings' roots, for as long as its certificates say.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
            roots: None,
            life: Life::default(),
            require: Vec::new(),
        }
    }
}

/// A certificate transparency log that is believed.
#[derive(Clone, Debug)]
pub struct CertificateLog {
    /// SPKI in PEM.
    pub key: Vec<u8>,
    /// When its promises count.
    pub life: Life,
}

/// A transparency log that is believed.
#[derive(Clone, Debug)]
pub struct TransparencyLog {
    /// SPKI in PEM.
    pub key: Vec<u8>,
    /// Name in its checkpoints (`log2025-1.rekor.sigstore.dev`); needed for Ed25519 keys, whose log id is made of it.
    /// Empty: any.
    pub origin: String,
    /// When its entries count: by the time it promised, else by that of a timestamp, else now.
    pub life: Life,
}
