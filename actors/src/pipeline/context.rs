//! What a request brings along.

use std::time::Duration;

use crate::domain::digest::ImageDigest;
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::ids::{CorrelationId, KeyId};
use crate::domain::signing::SigningMode;
use crate::domain::statement::StatementDraft;
use crate::entitlement::Poe;
use crate::runtime::Deadline;

/// What accompanies a request through every stage.
#[derive(Clone, Debug)]
pub struct Context {
    /// Ties log lines, records and the response together.
    pub correlation: CorrelationId,
    /// When the request must be answered.
    pub deadline: Deadline,
}

/// A request whose body was read, parsed and found to be in shape.
#[derive(Debug)]
pub struct SignRequest {
    /// Subjects and predicate, the latter in canonical form already.
    pub draft: StatementDraft,
    /// The scanner image that made the evidence, as claimed.
    pub scanner: ImageDigest,
    /// The proof of entitlement; its absence is 403 `entitlement_required`.
    pub poe: Option<Poe>,
    /// Options.
    pub options: SignOptions,
    /// The `Idempotency-Key`, if there is one. A dry run ignores it.
    pub idempotency: Option<Idempotent>,
}

/// What a retry of a request is recognised by.
#[derive(Clone, Debug)]
pub struct Idempotent {
    /// The caller's key.
    pub key: IdempotencyKey,
    /// What kind of answer is asked for, `options.returnBundle`: it is part of the request.
    pub returned: &'static str,
}

/// `options` of a request (contract §2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignOptions {
    /// `signingMode`; `None`: as configured.
    pub mode: Option<SigningMode>,
    /// `keyId`; `None`: as configured.
    pub key: Option<KeyId>,
    /// `expirySeconds`: least remaining life of the signing certificate.
    pub min_life: Duration,
    /// `timestamp`; `None`: where an authority is configured.
    pub timestamp: Option<bool>,
}
