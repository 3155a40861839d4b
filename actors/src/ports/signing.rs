//! Signing backends: Fulcio, files, HSMs and key services.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::PortFuture;
use crate::domain::digest::Sha256Digest;
use crate::domain::ids::KeyId;
use crate::domain::signing::{Algorithm, KeyState, Signature, SigningIdentity, SigningMode};
use crate::evidence::SigningWarrant;

/// One configured backend. It opens keys; the SignerActor keeps the open one and replaces it in time.
pub trait SigningBackend: Send + Sync + fmt::Debug {
    /// What the backend is.
    fn info(&self) -> BackendInfo;

    /// Opens a key that can sign: for `fulcio` a fresh ephemeral key with its certificate, for `file` the key itself.
    /// The key has been self-tested (signs, verifies, algorithm and curve match) before it is handed out.
    fn open(&self) -> PortFuture<Result<Arc<dyn SigningKey>, BackendError>>;
}

/// What a backend is, for routing, `/trust/keys` and logs. Public data only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendInfo {
    /// `signing.backends[].id`
    pub id: KeyId,
    /// `fulcio`, `file`, …
    pub kind: &'static str,
    /// Keyless or keyful.
    pub mode: SigningMode,
    /// The pinned algorithm.
    pub algorithm: Algorithm,
    /// SHA-256 of the SubjectPublicKeyInfo (DER) of a keyful key; `None` for keys made anew for every certificate.
    pub key: Option<Sha256Digest>,
    /// State of the key (keyful).
    pub state: KeyState,
    /// For a revoked key: nothing signed from here on is to be trusted.
    pub revoked_from: Option<DateTime<Utc>>,
    /// True when a signature comes from another process or device: its intent must be durable before the call.
    pub remote: bool,
}

/// A certificate signs no more in this last part of its life, however little a request asks for (contract §7).
pub const LAST_LIFE: Duration = Duration::from_secs(60);

/// A key that is open for signing. Shared by all workers; immutable.
pub trait SigningKey: Send + Sync + fmt::Debug {
    /// The public half and its certificate.
    fn identity(&self) -> &SigningIdentity;

    /// When it must no longer be handed out for new work, even though it may still be valid; `None`: never.
    fn replace_at(&self) -> Option<DateTime<Utc>>;

    /// True if the key is still valid for at least `life` from `now` on, and is not in its [`LAST_LIFE`].
    fn lives_for(&self, life: Duration, now: DateTime<Utc>) -> bool {
        match (
            self.identity().not_after,
            chrono::Duration::from_std(life.max(LAST_LIFE)),
        ) {
            (None, _) => true,
            (Some(end), Ok(life)) => now.checked_add_signed(life).is_some_and(|at| at <= end),
            (Some(_), Err(_)) => false,
        }
    }

    /// True once it can sign no more for now (its session ended, its backend does not answer): it is not handed out for
    /// new work, and another one is opened, which tests the backend. Never becomes false again.
    fn is_lost(&self) -> bool {
        false
    }

    /// Signs what the warrant covers. The only way to a signature; there is no warrant without every gate.
    fn sign(&self, warrant: Arc<SigningWarrant>) -> PortFuture<Result<Signature, BackendError>>;

    /// Verifies a signature over `PAE(payload_type, payload)` with the public key.
    fn verify(&self, payload_type: &str, payload: &[u8], signature: &Signature) -> bool;

    /// True when every signature must be verified before it leaves (contract §7): the signature comes from another
    /// process or device, or the key uses a deterministic nonce. Otherwise a sample is verified.
    fn verify_always(&self) -> bool;
}

/// Why a backend did not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// 502 `signing_backend_error`: it answered, and the answer is an error or unusable.
    #[error("{0}")]
    Failed(String),
    /// 503 `signing_backend_unavailable`: down, sealed, throttled, circuit open, no live certificate, key disabled.
    #[error("{0}")]
    Unavailable(String),
}
