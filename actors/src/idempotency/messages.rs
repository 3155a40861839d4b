//! What the IdempotencyActor is asked.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::IdempotencyError;
use crate::domain::idempotency::KeptAnswer;
use crate::domain::ids::AuditId;
use crate::ports::{Claim, End};
use crate::runtime::Request;

/// Takes a key for an attempt.
#[derive(Debug)]
pub struct Take(pub Claim);

impl Request for Take {
    type Answer = Result<Turn, IdempotencyError>;
}

/// Whose turn it is.
#[derive(Debug)]
pub enum Turn {
    /// This attempt's.
    Yours {
        /// The key, for as long as it is held.
        hold: Hold,
        /// An earlier attempt whose end is not known.
        earlier: Option<AuditId>,
    },
    /// Nobody's any more: this was answered.
    Kept {
        /// By which attempt.
        attempt: AuditId,
        /// With what.
        answer: KeptAnswer,
    },
}

/// Makes it known beyond a crash that an attempt is about to sign.
#[derive(Debug)]
pub struct Begin(pub(crate) Claim);

impl Request for Begin {
    type Answer = Result<(), IdempotencyError>;
}

/// Keeps an answer and ends the attempt.
#[derive(Debug)]
pub struct Keep {
    /// The attempt's key.
    pub hold: Hold,
    /// Its answer, encoded.
    pub answer: Bytes,
}

impl Request for Keep {
    type Answer = Result<(), IdempotencyError>;
}

/// A key that an attempt has to itself. Owned by the work: however that ends, the key is given back.
#[derive(Debug)]
pub struct Hold {
    claim: Claim,
    until: Option<Duration>,
    end: Option<End>,
    returns: mpsc::UnboundedSender<(Claim, End)>,
}

impl Hold {
    pub(super) fn new(
        claim: Claim,
        until: Option<Duration>,
        returns: mpsc::UnboundedSender<(Claim, End)>,
    ) -> Self {
        Self {
            claim,
            until,
            end: Some(End::Nothing),
            returns,
        }
    }

    /// Names the attempt.
    pub fn attempt(&self) -> AuditId {
        self.claim.attempt
    }

    /// Until when, by the monotonic clock, no other attempt can have the key; `None`: until this one ends.
    pub fn until(&self) -> Option<Duration> {
        self.until
    }

    /// From here on the attempt may sign; whoever comes after it should know, unless it is said to have ended otherwise.
    pub(crate) fn begin(&mut self) -> Begin {
        self.end = Some(End::Unknown);
        Begin(self.claim)
    }

    /// No signature left: none was made, or it was withheld, and the trail says so.
    pub(crate) fn left_nothing(&mut self) {
        self.end = Some(End::Nothing);
    }

    pub(super) fn claim(&self) -> Claim {
        self.claim
    }

    /// The store knows how it ended.
    pub(super) fn settle(mut self) {
        self.end = None;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(end) = self.end {
            // Without an actor to hear it the claim ends with the process, or by itself.
            let _ = self.returns.send((self.claim, end));
        }
    }
}
