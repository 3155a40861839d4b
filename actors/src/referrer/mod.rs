//! ReferrerActor: verdicts about scanner images, cached and asked for once.

mod error;
mod messages;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use tokio::sync::{Semaphore, oneshot};

pub use error::ReferrerError;
pub use messages::{Check, Checked};

use crate::domain::digest::ImageDigest;
use crate::domain::release::{ReleaseReport, Verdict};
use crate::ports::{Clock, Observer, ReleaseError, ReleaseSource};
use crate::runtime::{ActorState, Cx, Panicked, Reply, Serve};

/// How long verdicts are good for.
#[derive(Clone, Copy, Debug)]
pub struct ReferrerPolicy {
    /// A trusted verdict.
    pub positive_ttl: Duration,
    /// Untrusted, unsigned or absent: short, so that a signature just pushed is found.
    pub negative_ttl: Duration,
    /// Verdicts remembered.
    pub capacity: NonZeroUsize,
    /// Checks against registries at once.
    pub concurrency: usize,
    /// How long a lookup waits for its turn. Beyond, those who asked are gone or about to go, and a tenant that names
    /// image after image while a registry is slow would hold everyone's places in the mailbox.
    pub queue: Duration,
}

/// One image in one repository, or in all configured ones.
type Key = (ImageDigest, Option<Arc<str>>);
type Verdicted = Result<Arc<ReleaseReport>, ReferrerError>;

/// State of the actor.
#[derive(Debug)]
pub struct Referrers {
    source: Arc<dyn ReleaseSource>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    log: slog::Logger,
    policy: ReferrerPolicy,
    lookups: Arc<Semaphore>,
    cache: LruCache<Key, (Verdicted, Duration)>,
    in_flight: HashMap<Key, Vec<oneshot::Sender<Result<Checked, ReferrerError>>>>,
}

impl Referrers {
    /// An actor that knows no verdict yet.
    pub fn new(
        source: Arc<dyn ReleaseSource>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        log: slog::Logger,
        policy: ReferrerPolicy,
    ) -> Self {
        Self {
            source,
            clock,
            observer,
            log,
            policy,
            lookups: Arc::new(Semaphore::new(policy.concurrency.max(1))),
            cache: LruCache::new(policy.capacity),
            in_flight: HashMap::new(),
        }
    }

    fn look_up(&mut self, key: Key, cx: &mut Cx<'_, Self>) {
        let (digest, repository) = key.clone();
        let (source, lookups) = (Arc::clone(&self.source), Arc::clone(&self.lookups));
        let patience = self.policy.queue;
        let check = async move {
            // The semaphore is never closed; were it, no lookup would be the safe answer.
            let Ok(Ok(_permit)) = tokio::time::timeout(patience, lookups.acquire()).await else {
                return Err(ReleaseError::Timeout);
            };
            source.check(digest, repository).await
        };
        cx.run(Box::pin(check), move |this, result, _cx| {
            let result =
                result.unwrap_or_else(|Panicked| Err(ReleaseError::Doubt("the check panicked".into())));
            this.settle(key, result);
        });
    }

    fn settle(&mut self, key: Key, result: Result<ReleaseReport, ReleaseError>) {
        let (verdicted, ttl) = match result {
            Ok(report) => {
                let trusted = report.verdict == Verdict::Trusted;
                let ttl = if trusted {
                    self.policy.positive_ttl
                } else {
                    self.policy.negative_ttl
                };
                (Ok(Arc::new(report)), Some(ttl))
            }
            Err(ReleaseError::NotFound) => (Err(ReferrerError::NotFound), Some(self.policy.negative_ttl)),
            // Doubt is not a fact: the next request asks again.
            Err(error @ (ReleaseError::Doubt(_) | ReleaseError::Timeout)) => {
                slog::warn!(self.log, "no verdict about a scanner image";
                    "digest" => %key.0, "reason" => %error);
                (Err(ReferrerError::from(error)), None)
            }
        };
        let answer = verdicted.clone().map(|report| Checked {
            report,
            cached: false,
        });
        for waiter in self.in_flight.remove(&key).unwrap_or_default() {
            // A waiter that has gone needs no answer.
            drop(waiter.send(answer.clone()));
        }
        if let Some(ttl) = ttl {
            self.cache
                .put(key, (verdicted, self.clock.monotonic().saturating_add(ttl)));
        }
    }
}

impl ActorState for Referrers {
    const NAME: &'static str = "referrer";

    fn recover(&mut self) {
        self.cache.clear();
        self.in_flight.clear();
    }
}

impl Serve<Check> for Referrers {
    fn serve(&mut self, ask: Check, cx: &mut Cx<'_, Self>) -> Reply<Result<Checked, ReferrerError>> {
        let key = (ask.digest, ask.repository);
        let now = self.clock.monotonic();
        if let Some((verdicted, _)) = self.cache.get(&key).filter(|(_, until)| now < *until) {
            self.observer.cache("release", true);
            return Reply::Now(verdicted.clone().map(|report| Checked { report, cached: true }));
        }
        self.observer.cache("release", false);
        let (sender, receiver) = oneshot::channel();
        let waiters = self.in_flight.entry(key.clone()).or_default();
        waiters.push(sender);
        if waiters.len() == 1 {
            self.look_up(key, cx);
        }
        Reply::Later(receiver)
    }
}

#[cfg(test)]
mod tests;
