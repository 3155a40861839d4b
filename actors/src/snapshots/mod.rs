//! Snapshots: what the gates' actors answered a moment ago, repeated by a worker while it stands.
//!
//! Memory that each HTTP worker has for itself, like [`tokens`](crate::tokens): no other thread, and it may go with the
//! worker. Nothing is decided here. An answer is repeated only while its [`Standing`] says so,
//! which its actor can end at any time; refusals are never kept.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

use crate::domain::digest::{ImageDigest, Sha256Digest};
use crate::domain::entitlement::Entitlement;
use crate::domain::release::ReleaseReport;
use crate::ports::Observer;
use crate::runtime::{Memory, Standing};

/// Answers kept of one kind; those used longest ago make room.
const CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// A kind of answer.
pub trait Kind: fmt::Debug + Send + Unpin + 'static {
    /// What was asked.
    type Key: fmt::Debug + Hash + Eq + Send + Unpin + 'static;
    /// What was answered.
    type Answer: fmt::Debug + Clone + Send + Unpin + 'static;
    /// Its label among the caches.
    const CACHE: &'static str;
}

/// Facts of proofs of entitlement, by their digest and what they hang on
/// ([`basis`](crate::ports::LicensingSource::basis)).
#[derive(Debug)]
pub struct Entitlements;

impl Kind for Entitlements {
    type Key = (Sha256Digest, u64);
    type Answer = Arc<Entitlement>;
    const CACHE: &'static str = "entitlement";
}

/// Trusted releases, by their digest, in whichever repository.
#[derive(Debug)]
pub struct Releases;

impl Kind for Releases {
    type Key = ImageDigest;
    type Answer = Arc<ReleaseReport>;
    const CACHE: &'static str = "release";
}

/// One worker's memory of one kind.
#[derive(Debug)]
pub struct Snapshots<K: Kind> {
    answers: LruCache<K::Key, (K::Answer, Standing)>,
    observer: Arc<dyn Observer>,
}

impl<K: Kind> Snapshots<K> {
    /// Knows nothing yet.
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        Self {
            answers: LruCache::new(CAPACITY),
            observer,
        }
    }

    /// The answer to this, if it still stands now, by the monotonic clock.
    pub fn recall(&mut self, key: &K::Key, now: Duration) -> Option<K::Answer> {
        let (answer, standing) = self.answers.get(key)?;
        if !standing.stands(now) {
            self.answers.pop(key);
            return None;
        }
        // As its own actor would have counted it.
        self.observer.cache(K::CACHE, true);
        Some(answer.clone())
    }

    /// Keeps an answer while it stands.
    pub fn remember(&mut self, key: K::Key, answer: K::Answer, standing: Standing) {
        self.answers.put(key, (answer, standing));
    }
}

impl<K: Kind> Memory for Snapshots<K> {
    const NAME: &'static str = "snapshots";

    fn forget(&mut self) {
        // Forgetting costs a question each.
        self.answers = LruCache::new(CAPACITY);
    }
}

#[cfg(test)]
mod tests;
