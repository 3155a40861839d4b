//! EntitlementActor: facts about proofs of entitlement (PoE), cached and asked for once.
//!
//! A PoE is verified locally first, then introspected, and its *facts* are kept by the token's digest: for at most the
//! positive TTL and never past `exp`. Who presents it is compared on every request, outside ([`check_grant`]).

mod checks;
mod error;
mod messages;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use tokio::sync::oneshot;

pub use checks::{check_grant, check_version};
pub use error::EntitlementError;
pub use messages::{Poe, Resolve};

use crate::domain::digest::Sha256Digest;
use crate::domain::entitlement::Entitlement;
use crate::keyring::{Decision, KeyPolicy, Keyring};
use crate::ports::{
    Clock, Introspection, LicensingSource, Observer, PoeRejection, PoeVerifier, SourceUnavailable,
};
use crate::runtime::{ActorState, Cx, Panicked, Reply, Serve};

/// What one PoE resolves to.
pub type Resolved = Result<Arc<Entitlement>, EntitlementError>;

/// How long answers are good for (contract §4).
#[derive(Clone, Copy, Debug)]
pub struct EntitlementPolicy {
    /// An active answer: at most 120 s, never past `exp`. Also the longest a revocation can go unnoticed.
    pub positive_ttl: Duration,
    /// A refusal: at most 10 s.
    pub negative_ttl: Duration,
    /// With Licensing down, facts are served this long after the last *online* success; zero: not at all.
    pub grace: Duration,
    /// PoEs remembered.
    pub capacity: NonZeroUsize,
    /// How long keys are good for.
    pub keys: KeyPolicy,
}

/// Most refusals remembered. They have a cache of their own: anyone with a token can send proofs that fail, as many as
/// they like, and must not push out what others' proofs came to, on which grace lives.
const REFUSALS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

#[derive(Debug)]
struct Cached {
    facts: Arc<Entitlement>,
    until: Duration,
    /// When Licensing last confirmed it; never renewed by a fallback.
    online: Duration,
}

#[derive(Debug)]
struct Refused {
    error: EntitlementError,
    until: Duration,
}

/// State of one shard.
#[derive(Debug)]
pub struct Entitlements {
    source: Arc<dyn LicensingSource>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    log: slog::Logger,
    policy: EntitlementPolicy,
    ring: Keyring<dyn PoeVerifier>,
    cache: LruCache<Sha256Digest, Cached>,
    refused: LruCache<Sha256Digest, Refused>,
    in_flight: HashMap<Sha256Digest, Vec<oneshot::Sender<Resolved>>>,
    /// Proofs that wait for keys.
    parked: Vec<Poe>,
}

impl Entitlements {
    /// An actor that knows nothing yet.
    pub fn new(
        source: Arc<dyn LicensingSource>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        log: slog::Logger,
        policy: EntitlementPolicy,
    ) -> Self {
        Self {
            source,
            clock,
            observer,
            log,
            policy,
            ring: Keyring::new(policy.keys),
            cache: LruCache::new(policy.capacity),
            refused: LruCache::new(policy.capacity.min(REFUSALS)),
            in_flight: HashMap::new(),
            parked: Vec::new(),
        }
    }

    fn cached(&mut self, digest: &Sha256Digest) -> Option<Resolved> {
        let (now, wall) = (self.clock.monotonic(), self.clock.now());
        if let Some(refused) = self.refused.get(digest).filter(|entry| now < entry.until) {
            return Some(Err(refused.error.clone()));
        }
        let entry = self.cache.get(digest).filter(|entry| now < entry.until)?;
        if entry.facts.expires <= wall {
            return Some(Err(EntitlementError::Expired));
        }
        Some(Ok(Arc::clone(&entry.facts)))
    }

    /// Step 1: verify locally, with keys that may have to be fetched first. `fetched`: whether the fetch that this PoE
    /// waited for brought keys; `None`: it has not waited.
    fn verify(&mut self, poe: Poe, fetched: Option<bool>, cx: &mut Cx<'_, Self>) {
        let now = self.clock.monotonic();
        let keys = match self.ring.decide(None, now) {
            Decision::Use { snapshot, refresh } => {
                if refresh {
                    self.fetch_keys(cx);
                }
                snapshot.keys
            }
            Decision::Fetch if fetched.is_none() => return self.park(poe, cx),
            Decision::Fetch | Decision::Unavailable => {
                return self.refuse(poe.digest(), EntitlementError::Unavailable);
            }
        };
        match keys.verify(poe.value(), self.clock.now()) {
            Ok(facts) => self.introspect(poe, facts, cx),
            Err(PoeRejection::UnknownKey { kid }) => {
                let unavailable = match (fetched, self.ring.decide(Some(&kid), now)) {
                    (None, Decision::Fetch) => return self.park(poe, cx),
                    // A key that could not be looked for is not an unknown one.
                    (None, Decision::Unavailable) | (Some(false), _) => true,
                    (None, Decision::Use { .. }) => false,
                    (Some(true), _) => {
                        self.ring.note_unknown(&kid, now);
                        false
                    }
                };
                let refusal = if unavailable {
                    EntitlementError::Unavailable
                } else {
                    EntitlementError::Invalid(PoeRejection::UnknownKey { kid }.to_string())
                };
                self.refuse(poe.digest(), refusal);
            }
            Err(PoeRejection::Invalid(what)) => {
                self.refuse(poe.digest(), EntitlementError::Invalid(what));
            }
            Err(PoeRejection::Expired) => self.refuse(poe.digest(), EntitlementError::Expired),
        }
    }

    fn park(&mut self, poe: Poe, cx: &mut Cx<'_, Self>) {
        self.parked.push(poe);
        self.fetch_keys(cx);
    }

    fn fetch_keys(&mut self, cx: &mut Cx<'_, Self>) {
        if !self.ring.begin(self.clock.monotonic()) {
            return;
        }
        cx.run(self.source.fetch_keys(), |this, result, cx| {
            let keys = match result {
                Ok(Ok(keys)) => {
                    this.observer.key_set("licensing", this.clock.now());
                    Some(keys)
                }
                Ok(Err(error)) => {
                    slog::warn!(this.log, "Licensing's keys could not be fetched"; "reason" => %error);
                    None
                }
                Err(Panicked) => None,
            };
            let fetched = keys.is_some();
            this.ring.finish(keys, this.clock.monotonic());
            for poe in std::mem::take(&mut this.parked) {
                this.verify(poe, Some(fetched), cx);
            }
        });
    }

    /// Step 2: ask Licensing. The leader's work outlives its caller.
    fn introspect(&mut self, poe: Poe, facts: Entitlement, cx: &mut Cx<'_, Self>) {
        let digest = poe.digest();
        cx.run(self.source.introspect(poe.shared(), facts), move |this, result, _cx| {
            let now = this.clock.monotonic();
            let result = result.unwrap_or_else(|Panicked| Err(SourceUnavailable("introspection panicked".into())));
            match result {
                Ok(Introspection::Active(facts)) => this.confirm(digest, Arc::from(facts), now),
                Ok(Introspection::Revoked) => this.refuse(digest, EntitlementError::Revoked),
                Ok(Introspection::Mismatch) => {
                    let what = "Licensing knows this proof of entitlement for another tenant, installation or licence";
                    this.refuse(digest, EntitlementError::Invalid(what.into()));
                }
                Err(error) => {
                    slog::warn!(this.log, "Licensing could not be asked"; "reason" => %error);
                    this.fall_back(digest, now);
                }
            }
        });
    }

    /// Licensing is down: grace counts from the last online success and never covers a revoked licence.
    fn fall_back(&mut self, digest: Sha256Digest, now: Duration) {
        let held = self.cache.peek_mut(&digest);
        match held {
            Some(entry) if now.saturating_sub(entry.online) < self.policy.grace => {
                entry.until = now
                    .saturating_add(self.policy.negative_ttl)
                    .min(entry.online.saturating_add(self.policy.grace));
                let facts = Arc::clone(&entry.facts);
                self.answer(digest, Ok(facts));
            }
            // Not cached: the next request asks again. What was known stays for a later grace.
            _ => self.answer(digest, Err(EntitlementError::Unavailable)),
        }
    }

    /// Step 3, yes: remember and answer everyone who waits. Licensing has just confirmed the facts.
    fn confirm(&mut self, digest: Sha256Digest, facts: Arc<Entitlement>, now: Duration) {
        let left = (facts.expires - self.clock.now()).to_std().unwrap_or_default();
        let entry = Cached {
            facts: Arc::clone(&facts),
            until: now.saturating_add(self.policy.positive_ttl.min(left)),
            online: now,
        };
        self.refused.pop(&digest);
        self.cache.put(digest, entry);
        self.answer(digest, Ok(facts));
    }

    /// Step 3, no: remember it for a while, forget what was known before, and answer everyone who waits.
    fn refuse(&mut self, digest: Sha256Digest, error: EntitlementError) {
        if error != EntitlementError::Unavailable {
            let until = self.clock.monotonic().saturating_add(self.policy.negative_ttl);
            self.cache.pop(&digest);
            let entry = Refused {
                error: error.clone(),
                until,
            };
            self.refused.put(digest, entry);
        }
        self.answer(digest, Err(error));
    }

    fn answer(&mut self, digest: Sha256Digest, resolved: Resolved) {
        for waiter in self.in_flight.remove(&digest).unwrap_or_default() {
            // A waiter that has gone needs no answer.
            drop(waiter.send(resolved.clone()));
        }
    }
}

impl ActorState for Entitlements {
    const NAME: &'static str = "entitlement";

    fn recover(&mut self) {
        // Facts can be fetched again; what was in flight may never report back.
        self.cache.clear();
        self.refused.clear();
        self.in_flight.clear();
        self.parked.clear();
        self.ring.recover();
    }
}

impl Serve<Resolve> for Entitlements {
    fn serve(&mut self, Resolve { poe }: Resolve, cx: &mut Cx<'_, Self>) -> Reply<Resolved> {
        let digest = poe.digest();
        if let Some(resolved) = self.cached(&digest) {
            self.observer.cache("entitlement", true);
            return Reply::Now(resolved);
        }
        self.observer.cache("entitlement", false);
        let (sender, receiver) = oneshot::channel();
        let waiters = self.in_flight.entry(digest).or_default();
        waiters.push(sender);
        if waiters.len() == 1 {
            self.verify(poe, None, cx);
        }
        Reply::Later(receiver)
    }
}

#[cfg(test)]
mod tests;
