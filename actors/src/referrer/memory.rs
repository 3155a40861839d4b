//! What is remembered of images, and when it is looked up anew. Pure: clocks and chance come in, decisions go out.
//!
//! A verdict is believed until it is as old as its TTL, not an instant longer, whatever became of its refresh. One that
//! is in use (asked for since it was established) is due for a refresh in the last quarter of its life; one that is not
//! asked for ends without anyone being asked.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lru::LruCache;

use super::{ReferrerError, ReferrerPolicy};
use crate::domain::digest::ImageDigest;
use crate::domain::release::{ReleaseReport, Verdict};
use crate::runtime::{Answers, Standing};

/// One image in one repository, or in all configured ones.
pub(super) type Key = (ImageDigest, Option<Arc<str>>);

/// A verdict as the actor answers it; errors are those that are facts.
pub(super) type Verdicted = Result<Arc<ReleaseReport>, ReferrerError>;

/// Most refusals remembered. They have a cache of their own: anyone with a token can name images that are no releases,
/// as many as they like, and must not push out the verdicts that others live on.
const REFUSALS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// A refresh that failed is tried again after this part of the TTL, and half as much again at most.
const RETRIES_IN_TTL: u32 = 32;

/// But not earlier than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// One instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Never goes back, but may stand still while the machine sleeps.
    pub(super) monotonic: Duration,
    /// May be set: can only end something earlier.
    pub(super) wall: DateTime<Utc>,
}

impl Now {
    /// How long ago `then` is, by the clock that says more.
    fn since(self, then: Self) -> Duration {
        let wall = self.wall.signed_duration_since(then.wall).to_std();
        let monotonic = self.monotonic.saturating_sub(then.monotonic);
        monotonic.max(wall.unwrap_or_default())
    }
}

/// A random part of something, so that what began together does not go on in step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jitter(pub(super) u32);

impl Jitter {
    /// From nothing to just under `span`, evenly.
    pub(super) fn of(self, span: Duration) -> Duration {
        span.mul_f64(self.chance())
    }

    /// From 0 to just under 1, evenly.
    pub(super) fn chance(self) -> f64 {
        f64::from(self.0) / 4_294_967_296.0
    }
}

#[derive(Debug)]
struct Trusted {
    report: Arc<ReleaseReport>,
    born: Now,
    /// Asked for since it was established.
    used: bool,
    /// Its place in the schedule; `None`: its time has come, and it is being refreshed or was not in use.
    due: Option<Duration>,
}

#[derive(Debug)]
struct Refused {
    verdicted: Verdicted,
    born: Now,
}

/// Verdicts by image.
#[derive(Debug)]
pub(super) struct Memory {
    positive_ttl: Duration,
    negative_ttl: Duration,
    trusted: LruCache<Key, Trusted>,
    refused: LruCache<Key, Refused>,
    /// Trusted verdicts by the time of their refresh; each at most once.
    schedule: BTreeSet<(Duration, Key)>,
    /// What was told of `trusted`.
    told: Answers,
}

impl Memory {
    pub(super) fn new(policy: &ReferrerPolicy) -> Self {
        Self {
            positive_ttl: policy.positive_ttl,
            negative_ttl: policy.negative_ttl,
            trusted: LruCache::new(policy.capacity),
            refused: LruCache::new(policy.capacity.min(REFUSALS)),
            schedule: BTreeSet::new(),
            told: Answers::default(),
        }
    }

    /// The verdict, if it still counts. Whoever asks keeps it in use.
    pub(super) fn look_up(&mut self, key: &Key, now: Now) -> Option<Verdicted> {
        if let Some(entry) = self.trusted.get_mut(key) {
            if now.since(entry.born) < self.positive_ttl {
                if !entry.used && entry.due.is_none() {
                    entry.due = Some(now.monotonic);
                    self.schedule.insert((now.monotonic, key.clone()));
                }
                entry.used = true;
                return Some(Ok(Arc::clone(&entry.report)));
            }
            self.forget(key);
        }
        let refused = self.refused.get(key)?;
        if now.since(refused.born) < self.negative_ttl {
            return Some(refused.verdicted.clone());
        }
        self.refused.pop(key);
        None
    }

    /// How long what [`Self::look_up`] has just said of an image stands. A refusal is never repeated.
    pub(super) fn standing(&self, key: &Key, now: Now) -> Standing {
        let Some(entry) = self.trusted.peek(key) else {
            return Standing::once();
        };
        let left = self.positive_ttl.saturating_sub(now.since(entry.born));
        self.told
            .standing(now.monotonic, now.monotonic.saturating_add(left))
    }

    /// Remembers what was found just now, in place of what was known before.
    pub(super) fn put(&mut self, key: Key, verdicted: &Verdicted, now: Now, jitter: Jitter) {
        let before = self.trusted.peek(&key).map(|entry| &entry.report);
        if before.is_some_and(|before| verdicted.as_ref() != Ok(before)) {
            self.told.withdraw();
        }
        self.forget(&key);
        self.refused.pop(&key);
        match verdicted {
            Ok(report) if report.verdict == Verdict::Trusted => {
                let early = self.positive_ttl / 4;
                let due = now.monotonic + (self.positive_ttl - early) + jitter.of(early / 2);
                let entry = Trusted {
                    report: Arc::clone(report),
                    born: now,
                    used: false,
                    due: Some(due),
                };
                if let Some((evicted, entry)) = self.trusted.push(key.clone(), entry) {
                    self.unschedule(&evicted, entry.due);
                }
                self.schedule.insert((due, key));
            }
            verdicted => {
                let entry = Refused {
                    verdicted: verdicted.clone(),
                    born: now,
                };
                self.refused.put(key, entry);
            }
        }
    }

    /// The next verdict to refresh now, handed out once: what becomes of it is told by [`Self::put`] or
    /// [`Self::retry`].
    pub(super) fn next_due(&mut self, now: Now) -> Option<Key> {
        while self
            .schedule
            .first()
            .is_some_and(|(due, _)| *due <= now.monotonic)
        {
            let (_, key) = self.schedule.pop_first()?;
            let Some(entry) = self.trusted.peek_mut(&key) else {
                continue;
            };
            entry.due = None;
            if now.since(entry.born) >= self.positive_ttl {
                self.trusted.pop(&key);
            } else if entry.used {
                return Some(key);
            }
        }
        None
    }

    /// A refresh brought no verdict: the old one counts as long as before, and is tried again while it does.
    pub(super) fn retry(&mut self, key: &Key, now: Now, jitter: Jitter) {
        let pause = (self.positive_ttl / RETRIES_IN_TTL).max(SHORTEST_PAUSE);
        if let Some(entry) = self.trusted.peek_mut(key)
            && entry.due.is_none()
        {
            let due = now.monotonic + pause + jitter.of(pause / 2);
            entry.due = Some(due);
            self.schedule.insert((due, key.clone()));
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.told.withdraw();
        self.trusted.clear();
        self.refused.clear();
        self.schedule.clear();
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.trusted.pop(key) {
            self.unschedule(key, entry.due);
        }
    }

    fn unschedule(&mut self, key: &Key, due: Option<Duration>) {
        if let Some(due) = due {
            self.schedule.remove(&(due, key.clone()));
        }
    }
}

#[cfg(test)]
#[path = "tests/memory.rs"]
mod tests;
