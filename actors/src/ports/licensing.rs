//! Licensing: who issues proofs of entitlement (PoE), and how they are verified and introspected.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{PortFuture, SourceUnavailable};
use crate::domain::entitlement::Entitlement;

/// Licensing's keys and its introspection endpoint.
pub trait LicensingSource: Send + Sync + fmt::Debug {
    /// Fetches the key set anew (URI or file).
    fn fetch_keys(&self) -> PortFuture<Result<Arc<dyn PoeVerifier>, SourceUnavailable>>;

    /// Asks for the current state of a locally verified PoE (RFC 7662 §2.1). `facts` is what the token itself says;
    /// an active answer narrows them. The implementation bounds time and size and follows no redirect.
    fn introspect(
        &self,
        poe: Arc<str>,
        facts: Entitlement,
    ) -> PortFuture<Result<Introspection, SourceUnavailable>>;

    /// What answers hang on besides their age: an answer given on another basis is void, whatever its TTL. `None`: there
    /// is no basis now, and nothing that was said may be believed. Called for every request, so no I/O and no waiting.
    fn basis(&self) -> Option<u64> {
        Some(0)
    }
}

/// What introspection said (RFC 7662 §2.2).
#[derive(Clone, Debug, PartialEq)]
pub enum Introspection {
    /// `active: true`: the token's facts, narrowed.
    Active(Box<Entitlement>),
    /// `active: false` on a token that has not expired locally: the licence was revoked.
    Revoked,
    /// The licence file says nothing of this licence.
    Unlisted,
    /// An identity member (`tid`, `inst`, `lic`, `sub`, `iss`, `cnf`) differs from the token's.
    Mismatch,
    /// No answer, and the wish not to be asked again for this long (RFC 6585 §4, RFC 9110 §10.2.3), as it was said:
    /// the asker bounds it.
    Later(Duration),
}

/// A snapshot of Licensing's keys with the policy for proofs of entitlement. Immutable and pure: CPU only.
pub trait PoeVerifier: Send + Sync + fmt::Debug {
    /// True when a key with this id is in the snapshot.
    fn knows(&self, kid: &str) -> bool;

    /// Verifies header, signature and claims (contract §4).
    fn verify(&self, poe: &str, now: DateTime<Utc>) -> Result<Entitlement, PoeRejection>;
}

/// Why a PoE was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoeRejection {
    /// The header names a key that the snapshot does not have: fetch and try once more.
    #[error("the proof of entitlement is signed by a key that Licensing does not publish")]
    UnknownKey {
        /// `kid` of the header, bounded.
        kid: String,
    },
    /// 403 `entitlement_invalid`; the text says what was wrong and echoes nothing.
    #[error("{0}")]
    Invalid(String),
    /// 403 `entitlement_expired`
    #[error("the proof of entitlement has expired: obtain a new one from Licensing")]
    Expired,
}
