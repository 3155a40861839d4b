//! Who works on an idempotency key, and what was answered: one store for a replica or for all of them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::{PortFuture, StateUnavailable};
use crate::domain::digest::Sha256Digest;
use crate::domain::idempotency::ScopedKey;
use crate::domain::ids::AuditId;

/// One attempt at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which key.
    pub key: ScopedKey,
    /// Digest of the request.
    pub request: Sha256Digest,
    /// Names the attempt, and its signature in the trail.
    pub attempt: AuditId,
    /// The answer that this attempt left counts no more, and may be taken the place of.
    pub void: Option<AuditId>,
}

/// What a store says to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The attempt may go on: nobody else does until it has ended.
    Taken {
        /// An attempt that had begun and whose end is not known: it may have made a signature that nobody was answered
        /// with. Or the one whose answer is void.
        earlier: Option<AuditId>,
    },
    /// The request was answered before.
    Kept {
        /// By which attempt.
        attempt: AuditId,
        /// What [`IdempotencyStore::keep`] was given.
        answer: Bytes,
    },
    /// The key is another request's.
    OtherRequest,
    /// Another attempt is under way.
    InFlight,
    /// The tenant, or all together, hold as many keys as they may.
    Full,
}

/// Whether a key is still an attempt's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It is.
    Own,
    /// Another attempt has taken it over.
    TakenOver,
}

/// How an attempt ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing was signed: the key is as if it had never been used.
    Nothing,
    /// If it had begun, a signature may have been made: the next attempt is told of this one.
    Unknown,
}

/// Keys in use and answers kept. What it decides is atomic and by its own clock. Answers are kept for a time that it knows;
/// each call answers within a short time of its own, at once while the store is known to be down.
pub trait IdempotencyStore: Send + Sync + fmt::Debug {
    /// Takes a key for an attempt, or tells what has become of it.
    fn claim(&self, claim: Claim) -> PortFuture<Result<Claimed, StateUnavailable>>;

    /// Makes it known beyond a crash that this attempt is about to sign. Durable when it answers.
    fn begin(&self, claim: Claim) -> PortFuture<Result<Ownership, StateUnavailable>>;

    /// Keeps an answer, durably where the store is. Only for the attempt that has the key, or if nobody has.
    fn keep(&self, claim: Claim, answer: Bytes) -> PortFuture<Result<Ownership, StateUnavailable>>;

    /// Ends an attempt that has no answer. Harmless if the key is not its own any more.
    fn give_up(&self, claim: Claim, end: End) -> PortFuture<Result<(), StateUnavailable>>;

    /// Looks after itself; called every second.
    fn tend(&self) -> PortFuture<()>;

    /// How long an attempt has its key to itself; `None`: until it ends.
    fn claim_life(&self) -> Option<Duration>;
}
