//! The Authority: who issues operational tokens, and how tokens and proofs are verified.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{PortFuture, SourceUnavailable};
use crate::domain::caller::{AccessToken, Credentials, PresentedToken, VerifiedProof};

/// Where the Authority's keys come from: discovery, a URI or a file.
pub trait AuthoritySource: Send + Sync + fmt::Debug {
    /// Fetches the key set anew. Refuses an answer without a usable key, with duplicate key ids, or out of bounds.
    fn fetch(&self) -> PortFuture<Result<Arc<dyn TokenVerifier>, SourceUnavailable>>;
}

/// A snapshot of the Authority's keys with the policy for tokens. Immutable and pure: CPU only.
pub trait TokenVerifier: Send + Sync + fmt::Debug {
    /// True when a key with this id is in the snapshot.
    fn knows(&self, kid: &str) -> bool;

    /// Verifies header, signature and claims of an operational token (contract §3, RFC 9068 §4, RFC 8725 §3).
    fn verify(&self, token: &PresentedToken<'_>, now: DateTime<Utc>) -> Result<AccessToken, TokenRejection>;

    /// True when a token that was verified before, by this snapshot or an earlier one, would be accepted now: this
    /// snapshot still has the very key that verified it, under the same id (contract §3), and its times hold.
    fn still_accepts(&self, token: &AccessToken, now: DateTime<Utc>) -> bool;
}

/// Why a token was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRejection {
    /// The header names a key that the snapshot does not have: fetch and try once more.
    #[error(
        "the token is signed by a key that the Authority does not publish: obtain a new one from the Authority"
    )]
    UnknownKey {
        /// `kid` of the header, bounded.
        kid: String,
    },
    /// 401 `invalid_token`; the text says what was wrong and echoes nothing.
    #[error("{0}")]
    Invalid(String),
}

/// Verifies DPoP proofs (RFC 9449 §4.3). Pure: CPU only; single use is recorded by the AuthActor afterwards.
pub trait ProofVerifier: Send + Sync + fmt::Debug {
    /// Verifies the proof of these credentials against the token. `credentials.proof` is `Some`.
    fn verify(
        &self,
        credentials: &Credentials,
        token: &AccessToken,
        now: DateTime<Utc>,
    ) -> Result<VerifiedProof, ProofRejection>;

    /// Whether nonces are handed out at all: asked on every request, where making one would be wasted.
    fn uses_nonces(&self) -> bool;

    /// A nonce to hand out (RFC 9449 §9), when nonces are on.
    fn nonce(&self, now: DateTime<Utc>) -> Option<String>;

    /// How long after its `iat` a proof could still be accepted, in seconds: how long its id must be remembered.
    fn window_seconds(&self) -> i64;
}

/// Why a proof was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofRejection {
    /// 401 `invalid_dpop_proof`; the text says what was wrong and echoes nothing.
    #[error("{0}")]
    Invalid(String),
    /// 401 `invalid_token`: a good proof, perhaps, but by a key that the token is not bound to (RFC 9449 §7.1, whose
    /// example answers so).
    #[error(
        "the proof's key is not the one that the token is bound to: obtain a token with the key that signs the proofs"
    )]
    WrongKey,
    /// 401 `use_dpop_nonce`.
    #[error("the proof needs a nonce of this server: use the value of the DPoP-Nonce field and try again")]
    NonceRequired,
}
