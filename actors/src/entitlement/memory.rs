//! What is remembered of proofs of entitlement. Pure: both clocks come in, decisions go out.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lru::LruCache;

use super::error::EntitlementError;
use super::{EntitlementPolicy, Resolved};
use crate::domain::digest::Sha256Digest;
use crate::domain::entitlement::Entitlement;
use crate::runtime::{Answers, Standing};

/// Contract §4: an active answer is believed no longer, whatever is configured.
const MAX_POSITIVE_TTL: Duration = Duration::from_secs(120);
/// Contract §4: a refusal neither.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(10);
/// Most refusals remembered. They have a cache of their own: anyone with a token can send proofs that fail, as many as
/// they like, and must not push out what others' proofs came to, on which grace lives.
const REFUSALS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);
/// Most revoked licences remembered by name; what is forgotten is covered by [`Revocations::floor`].
const REVOCATIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// One instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Never goes back: decides what has grown old.
    pub(super) monotonic: Duration,
    /// May be set: can only end something earlier.
    pub(super) wall: DateTime<Utc>,
}

/// The place of an event in the order in which Licensing was asked and answered: times can be equal, this cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Turn(u64);

/// What Licensing said about a PoE that it calls active.
#[derive(Clone, Debug)]
pub(super) struct Active {
    /// The token's facts, narrowed.
    pub(super) facts: Arc<Entitlement>,
    /// `exp` of the token itself, which `facts` may have narrowed.
    pub(super) own_expiry: DateTime<Utc>,
    /// When Licensing was asked.
    pub(super) asked: Turn,
}

#[derive(Debug)]
struct Known {
    facts: Arc<Entitlement>,
    own_expiry: DateTime<Utc>,
    asked: Turn,
    /// When Licensing last confirmed it; never renewed by a fallback.
    online: Duration,
    /// Licensing is asked again from here on.
    until: Duration,
    /// Ends what the wall clock, set back, would let live.
    lead: Lead,
}

#[derive(Debug)]
struct Refused {
    error: EntitlementError,
    until: Duration,
}

/// Facts and refusals by the digest of their PoE, and the licences known to be revoked.
#[derive(Debug)]
pub(super) struct Memory {
    positive_ttl: Duration,
    negative_ttl: Duration,
    grace: Duration,
    known: LruCache<Sha256Digest, Known>,
    refused: LruCache<Sha256Digest, Refused>,
    revocations: Revocations,
    turn: Turn,
    /// What was told of `known`.
    told: Answers,
}

impl Memory {
    pub(super) fn new(policy: &EntitlementPolicy) -> Self {
        Self::with_room_for(policy, REVOCATIONS)
    }

    fn with_room_for(policy: &EntitlementPolicy, revocations: NonZeroUsize) -> Self {
        Self {
            positive_ttl: policy.positive_ttl.min(MAX_POSITIVE_TTL),
            negative_ttl: policy.negative_ttl.min(MAX_NEGATIVE_TTL),
            grace: policy.grace,
            known: LruCache::new(policy.capacity),
            refused: LruCache::new(policy.capacity.min(REFUSALS)),
            revocations: Revocations::new(revocations),
            turn: Turn::default(),
            told: Answers::default(),
        }
    }

    /// What a PoE comes to without asking anyone; `None`: verify and ask.
    pub(super) fn look_up(&mut self, digest: &Sha256Digest, now: Now) -> Option<Resolved> {
        if let Some(refused) = self.refused.get(digest).filter(|it| now.monotonic < it.until) {
            return Some(Err(refused.error.clone()));
        }
        let known = self.known.get(digest)?;
        if self.revocations.cover(&known.facts.license, known.asked) {
            self.known.pop(digest);
            return None;
        }
        let wall = known.lead.wall(now);
        if known.own_expiry <= wall {
            return Some(Err(EntitlementError::Expired));
        }
        if known.until <= now.monotonic {
            return None;
        }
        if known.facts.expires <= wall {
            return Some(Err(EntitlementError::Expired));
        }
        Some(Ok(Arc::clone(&known.facts)))
    }

    /// How long what [`Self::look_up`] has just said of a PoE stands, by both clocks as they are now: until Licensing is asked
    /// about it again, unless what it says of another PoE, or another basis, ends it before.
    pub(super) fn standing(&self, digest: &Sha256Digest, now: Now) -> Standing {
        let Some(known) = self.known.peek(digest) else {
            return Standing::once();
        };
        let wall = known.lead.wall(now);
        let ends = known.own_expiry.min(known.facts.expires);
        let left = (ends - wall).to_std().unwrap_or_default();
        let until = known.until.min(now.monotonic.saturating_add(left));
        self.told.standing(now.monotonic, until)
    }

    /// Notes that Licensing is asked now.
    pub(super) fn ask(&mut self) -> Turn {
        self.turn = Turn(self.turn.0.saturating_add(1));
        self.turn
    }

    /// Takes a confirmation; `None` when the licence was revoked after Licensing had been asked for it: ask again.
    pub(super) fn confirm(&mut self, digest: Sha256Digest, active: Active, now: Now) -> Option<Resolved> {
        let Active {
            facts,
            own_expiry,
            asked,
        } = active;
        if self.revocations.cover(&facts.license, asked) {
            return None;
        }
        // How late it was when this PoE was confirmed before: a wall clock set back since then revives nothing.
        let lead = match self.known.peek(&digest) {
            Some(before) => before.lead.max(Lead::of(now)),
            None => Lead::of(now),
        };
        let ended = facts.expires <= lead.wall(now);
        let known = Known {
            facts: Arc::clone(&facts),
            own_expiry,
            asked,
            online: now.monotonic,
            until: now.monotonic.saturating_add(self.positive_ttl),
            lead,
        };
        self.refused.pop(&digest);
        self.known.put(digest, known);
        Some(if ended {
            self.refuse(digest, EntitlementError::Expired, now)
        } else {
            Ok(facts)
        })
    }

    /// Remembers a refusal for a while and forgets what was known before.
    pub(super) fn refuse(&mut self, digest: Sha256Digest, error: EntitlementError, now: Now) -> Resolved {
        // That it cannot be known is not remembered; that it ended is, so that it stays so.
        if error == EntitlementError::Unavailable {
            return Err(error);
        }
        if error != EntitlementError::Expired {
            self.known.pop(&digest);
        }
        let refused = Refused {
            error: error.clone(),
            until: now.monotonic.saturating_add(self.negative_ttl),
        };
        self.refused.put(digest, refused);
        Err(error)
    }

    /// Takes a revocation. What was known through other PoEs of the licence is forgotten: each has to be confirmed anew,
    /// online.
    pub(super) fn revoke(&mut self, digest: Sha256Digest, license: &str, now: Now) -> Resolved {
        let turn = self.ask();
        self.revocations.note(license, turn);
        self.told.withdraw();
        self.refuse(digest, EntitlementError::Revoked, now)
    }

    /// Licensing cannot be asked: grace counts from the last online success and never covers a revoked licence.
    pub(super) fn fall_back(&mut self, digest: &Sha256Digest, now: Now) -> Resolved {
        let unavailable = Err(EntitlementError::Unavailable);
        let Some(known) = self.known.peek_mut(digest) else {
            return unavailable;
        };
        if self.revocations.cover(&known.facts.license, known.asked) {
            return unavailable;
        }
        if known.facts.expires <= known.lead.wall(now) {
            return Err(EntitlementError::Expired);
        }
        let grace_left = known
            .online
            .saturating_add(self.grace)
            .saturating_sub(now.monotonic);
        if grace_left.is_zero() {
            // What was known stays: that it ends must not be forgotten.
            return unavailable;
        }
        known.until = now.monotonic.saturating_add(self.negative_ttl.min(grace_left));
        Ok(Arc::clone(&known.facts))
    }

    /// Forgets facts and refusals, which can be asked for again. Revocations stay, for answers that are on their way.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.refused.clear();
        self.told.withdraw();
    }
}

/// How far the wall clock is ahead of the monotonic one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lead(TimeDelta);

impl Lead {
    fn of(now: Now) -> Self {
        Self(now.wall - on_wall(now.monotonic))
    }

    /// The wall clock, or what it would show by now if it had gone on from there.
    fn wall(self, now: Now) -> DateTime<Utc> {
        now.wall.max(on_wall(now.monotonic) + self.0)
    }
}

fn on_wall(monotonic: Duration) -> DateTime<Utc> {
    // A monotonic clock counts from the start of a process or machine, not from before the calendar.
    DateTime::UNIX_EPOCH + TimeDelta::from_std(monotonic).unwrap_or_default()
}

/// Which licences were revoked, and when.
#[derive(Debug)]
struct Revocations {
    by_license: LruCache<String, Turn>,
    /// The last revocation that is remembered no more by name: it counts for every licence.
    floor: Turn,
}

impl Revocations {
    fn new(capacity: NonZeroUsize) -> Self {
        Self {
            by_license: LruCache::new(capacity),
            floor: Turn::default(),
        }
    }

    fn note(&mut self, license: &str, at: Turn) {
        if let Some((forgotten, turn)) = self.by_license.push(license.to_owned(), at)
            && forgotten != license
        {
            self.floor = self.floor.max(turn);
        }
    }

    /// True when the licence was revoked after this.
    fn cover(&self, license: &str, asked: Turn) -> bool {
        let revoked = self.by_license.peek(license).copied().unwrap_or_default();
        revoked.max(self.floor) > asked
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
