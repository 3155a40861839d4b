//! Where a request failed, and why.

use crate::audit::AuditError;
use crate::auth::AuthError;
use crate::domain::code::Code;
use crate::domain::ids::AuditId;
use crate::entitlement::EntitlementError;
use crate::idempotency::IdempotencyError;
use crate::ports::TrailError;
use crate::quota::{QuotaError, RateStatus};
use crate::referrer::ReferrerError;
use crate::runtime::AskError;
use crate::signer::SignerError;
use crate::timestamp::TimestampError;

/// The stages of a request, in order (contract §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Limits of HTTP itself.
    Http,
    /// Token, sender binding, scope, replay id.
    Authentication,
    /// Reading and parsing the body.
    Body,
    /// What the request asks for makes sense.
    Shape,
    /// Proof of entitlement, tenant, features, predicate type.
    Entitlement,
    /// The idempotency key.
    Idempotency,
    /// Rate, concurrency, size.
    Quota,
    /// Scanner image and its version.
    Release,
    /// The audit trail.
    Audit,
    /// The signature.
    Signing,
    /// The timestamp over the signature.
    Timestamp,
}

impl Stage {
    /// The name in problem documents, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Authentication => "authentication",
            Self::Body => "body",
            Self::Shape => "shape",
            Self::Entitlement => "entitlement",
            Self::Idempotency => "idempotency",
            Self::Quota => "quota",
            Self::Release => "release",
            Self::Audit => "audit",
            Self::Signing => "signing",
            Self::Timestamp => "timestamp",
        }
    }
}

/// Why a stage refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller is not authenticated.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The body is not the one that the proof names (`body_sha256`).
    #[error("the body is not the one that the proof names in body_sha256")]
    BodyMismatch,
    /// This service wants proofs to name the body, and the proof does not.
    #[error("the proof does not name the body: put body_sha256 into its claims")]
    BodyUnbound,
    /// A timestamp was asked for and no authority is configured.
    #[error("no timestamp authority is configured: leave options.timestamp out or set it to false")]
    TimestampNotConfigured,
    /// The tenant is not entitled.
    #[error(transparent)]
    Entitlement(#[from] EntitlementError),
    /// The request's key is not free for it.
    #[error(transparent)]
    Idempotency(#[from] IdempotencyError),
    /// The answer to a signature could not be formed.
    #[error("the answer could not be formed: report the correlation id")]
    Unformed,
    /// The plan does not cover the request now.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The scanner image is not taken for a release.
    #[error(transparent)]
    Referrer(#[from] ReferrerError),
    /// Nothing was signed.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The signature has no timestamp and does not leave.
    #[error(transparent)]
    Timestamp(#[from] TimestampError),
    /// The record is not in the trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The trail shows nothing.
    #[error(transparent)]
    Trail(#[from] TrailError),
    /// No record, or another tenant's: which of both is not told.
    #[error("your tenant has no record of this audit id in this replica's log")]
    NoSuchRecord,
    /// An actor did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
}

impl Refusal {
    /// The contract's code. The same refusal has one code wherever it occurs.
    pub fn code(&self) -> Code {
        match self {
            Self::Auth(error) => auth_code(error),
            Self::BodyMismatch | Self::BodyUnbound => Code::InvalidDpopProof,
            Self::TimestampNotConfigured => Code::InvalidRequest,
            Self::Entitlement(error) => entitlement_code(error),
            Self::Idempotency(error) => idempotency_code(*error),
            Self::Unformed => Code::Internal,
            Self::Quota(QuotaError::Rate { .. }) => Code::RateLimited,
            Self::Quota(QuotaError::Concurrency { .. }) => Code::ConcurrencyLimited,
            Self::Quota(QuotaError::Size { .. }) => Code::ArtifactTooLarge,
            Self::Quota(QuotaError::StateUnavailable) => Code::StateUnavailable,
            Self::Referrer(error) => referrer_code(error),
            Self::Signer(error) => signer_code(error),
            Self::Timestamp(
                TimestampError::Unavailable
                | TimestampError::Crowded
                | TimestampError::Unusable
                | TimestampError::OutsideLife,
            ) => Code::TimestampError,
            Self::Audit(AuditError::Unavailable) => Code::AuditUnavailable,
            Self::Audit(AuditError::Record) => Code::Internal,
            Self::Trail(TrailError::Beyond { .. }) => Code::InvalidRequest,
            Self::Trail(TrailError::Busy) => Code::Overloaded,
            Self::Trail(TrailError::Unavailable) => Code::AuditUnavailable,
            Self::NoSuchRecord => Code::NotFound,
            Self::Ask(AskError::Overloaded) => Code::Overloaded,
            Self::Ask(AskError::Deadline) => Code::DeadlineExceeded,
            Self::Ask(AskError::Panicked | AskError::Abandoned) => Code::Internal,
            Self::Ask(AskError::Stopped) => Code::ShuttingDown,
        }
    }
}

fn auth_code(error: &AuthError) -> Code {
    match error {
        AuthError::Missing | AuthError::Token(_) => Code::InvalidToken,
        AuthError::Proof(_) => Code::InvalidDpopProof,
        AuthError::NonceRequired => Code::UseDpopNonce,
        AuthError::Scope(_) => Code::InsufficientScope,
        AuthError::AuthorityUnavailable => Code::AuthorityUnavailable,
        AuthError::ReplayStoreFull => Code::Overloaded,
        AuthError::StateUnavailable => Code::StateUnavailable,
    }
}

fn entitlement_code(error: &EntitlementError) -> Code {
    match error {
        EntitlementError::Required => Code::EntitlementRequired,
        EntitlementError::Invalid(_) => Code::EntitlementInvalid,
        EntitlementError::Expired => Code::EntitlementExpired,
        EntitlementError::Revoked => Code::EntitlementRevoked,
        EntitlementError::TenantMismatch => Code::TenantMismatch,
        EntitlementError::Mode(_) => Code::ModeNotEntitled,
        EntitlementError::Predicate(_) => Code::PredicateNotAllowed,
        EntitlementError::Version(_) => Code::VersionNotEntitled,
        EntitlementError::Unavailable => Code::EntitlementUnavailable,
    }
}

fn idempotency_code(error: IdempotencyError) -> Code {
    match error {
        IdempotencyError::Conflict => Code::IdempotencyConflict,
        IdempotencyError::InFlight => Code::IdempotencyInFlight,
        IdempotencyError::Full => Code::Overloaded,
        IdempotencyError::Unavailable => Code::StateUnavailable,
    }
}

fn referrer_code(error: &ReferrerError) -> Code {
    match error {
        ReferrerError::NotFound => Code::NotFound,
        ReferrerError::Untrusted => Code::ReleaseUntrusted,
        ReferrerError::ScannerMismatch(_) => Code::ScannerMismatch,
        ReferrerError::ForeignRepository => Code::InvalidRequest,
        ReferrerError::Registry | ReferrerError::CircuitOpen { .. } => Code::RegistryError,
        ReferrerError::TooManyImages { .. } => Code::RateLimited,
        ReferrerError::Overloaded => Code::Overloaded,
        ReferrerError::Timeout => Code::DeadlineExceeded,
    }
}

fn signer_code(error: &SignerError) -> Code {
    match error {
        SignerError::Backend | SignerError::SelfCheck => Code::SigningBackendError,
        SignerError::Unavailable | SignerError::TooShortLived | SignerError::Disabled => {
            Code::SigningBackendUnavailable
        }
        SignerError::NotConfigured(_) => Code::InvalidRequest,
        SignerError::Retired => Code::ModeNotEntitled,
    }
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub stage: Stage,
    /// Why.
    pub refusal: Refusal,
    /// How the tenant's rate stands, once the rate gate has answered.
    pub rate: Option<RateStatus>,
    /// Names the record of this refusal, when there is one.
    pub audit_id: Option<AuditId>,
}

impl Failure {
    /// A failure of this stage.
    pub fn new(stage: Stage, refusal: impl Into<Refusal>) -> Self {
        let refusal = refusal.into();
        let rate = match &refusal {
            Refusal::Quota(QuotaError::Rate { status }) => Some(*status),
            _ => None,
        };
        Self {
            stage,
            refusal,
            rate,
            audit_id: None,
        }
    }

    pub(super) fn with_rate(mut self, rate: Option<RateStatus>) -> Self {
        self.rate = self.rate.or(rate);
        self
    }
}

/// Names the stage of an error as it travels up with `?`.
pub(super) trait At<T> {
    fn at(self, stage: Stage) -> Result<T, Failure>;
}

impl<T, E: Into<Refusal>> At<T> for Result<T, E> {
    fn at(self, stage: Stage) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(stage, error))
    }
}

/// An actor's answer inside a mailbox's: both errors of one stage.
pub(super) trait AskedAt<T> {
    fn asked_at(self, stage: Stage) -> Result<T, Failure>;
}

impl<T, E: Into<Refusal>> AskedAt<T> for Result<Result<T, E>, AskError> {
    fn asked_at(self, stage: Stage) -> Result<T, Failure> {
        self.at(stage)?.at(stage)
    }
}
