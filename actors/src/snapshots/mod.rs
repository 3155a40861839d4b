//! Snapshots: what the gates' actors answered a moment ago, repeated by a worker while it stands.
//!
//! Small actors of each HTTP worker, on the worker's own arbiter, like [`tokens`](crate::tokens): no lock, no other thread,
//! and they may die with the worker. Nothing is decided here. An answer is repeated only while its [`Standing`] says so,
//! which its actor can end at any time; refusals are never kept.

mod messages;

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

pub use messages::{Recall, Remember};

use crate::domain::digest::{ImageDigest, Sha256Digest};
use crate::domain::entitlement::Entitlement;
use crate::domain::release::ReleaseReport;
use crate::ports::Observer;
use crate::runtime::{ActorState, Cx, Reply, Serve, Standing};

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

/// State of one worker's actor.
#[derive(Debug)]
pub struct Snapshots<K: Kind> {
    answers: LruCache<K::Key, (K::Answer, Standing)>,
    observer: Arc<dyn Observer>,
}

impl<K: Kind> Snapshots<K> {
    /// An actor that knows nothing yet.
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        Self {
            answers: LruCache::new(CAPACITY),
            observer,
        }
    }
}

impl<K: Kind> ActorState for Snapshots<K> {
    const NAME: &'static str = "snapshots";

    fn recover(&mut self) {
        // What a panic struck is not to be trusted; forgetting it costs a question each.
        self.answers = LruCache::new(CAPACITY);
    }
}

impl<K: Kind> Serve<Recall<K>> for Snapshots<K> {
    fn serve(&mut self, Recall { key, now }: Recall<K>, _cx: &mut Cx<'_, Self>) -> Reply<Option<K::Answer>> {
        let Some((answer, standing)) = self.answers.get(&key) else {
            return Reply::Now(None);
        };
        if !standing.stands(now) {
            self.answers.pop(&key);
            return Reply::Now(None);
        }
        // As its own actor would have counted it.
        self.observer.cache(K::CACHE, true);
        Reply::Now(Some(answer.clone()))
    }
}

impl<K: Kind> Serve<Remember<K>> for Snapshots<K> {
    fn serve(&mut self, remember: Remember<K>, _cx: &mut Cx<'_, Self>) -> Reply<()> {
        let Remember {
            key,
            answer,
            standing,
        } = remember;
        self.answers.put(key, (answer, standing));
        Reply::Now(())
    }
}

#[cfg(test)]
mod tests;
