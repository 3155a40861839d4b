//! EntitlementActor: facts about proofs of entitlement (PoE), cached and asked for once.
//!
//! A PoE is verified locally first, then introspected, and its *facts* are kept by the token's digest: for at most the
//! positive TTL and never past `exp` (`memory.rs`). Who presents it is compared on every request, outside
//! ([`check_grant`]). Waiting and asking are bounded (`bounds.rs`).

mod bounds;
mod checks;
mod error;
mod memory;
mod messages;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

pub use bounds::Bounds;
pub use checks::{check_features, check_grant, check_presenter, check_version};
pub use error::EntitlementError;
pub use messages::{Poe, Resolution, Resolve};

use bounds::{Joined, Slots, Waiting};
use memory::{Active, Memory, Now};

use crate::domain::digest::Sha256Digest;
use crate::domain::entitlement::Entitlement;
use crate::domain::tenant::TenantId;
use crate::keyring::{Decision, KeyPolicy, Keyring};
use crate::ports::{
    Clock, Introspection, LicensingSource, Observer, PoeRejection, PoeVerifier, SourceUnavailable,
};
use crate::runtime::{ActorState, Cx, Panicked, Reply, Serve};

/// What one PoE resolves to.
type Resolved = Result<Arc<Entitlement>, EntitlementError>;

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

impl EntitlementPolicy {
    /// The part of one of so many shards: together they remember what one alone would.
    pub fn shared_by(self, shards: usize) -> Self {
        let capacity = self.capacity.get().div_ceil(shards.max(1));
        Self {
            capacity: NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN),
            ..self
        }
    }
}

/// Longest time for which Licensing is left alone when it asks for that: longer, and a mistaken header would stop all
/// signing long after Licensing is well again.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// A proof on its way.
#[derive(Clone, Debug)]
struct Presented {
    poe: Poe,
    tenant: TenantId,
}

/// A proof that holds locally, to be introspected.
#[derive(Clone, Debug)]
struct Verified {
    presented: Presented,
    facts: Entitlement,
}

/// State of one shard.
#[derive(Debug)]
pub struct Entitlements {
    source: Arc<dyn LicensingSource>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    log: slog::Logger,
    ring: Keyring<dyn PoeVerifier>,
    memory: Memory,
    waiting: Waiting,
    asking: Slots<Verified>,
    /// What the memory hangs on ([`LicensingSource::basis`]).
    basis: u64,
    /// Licensing asked not to be asked before this.
    paused_until: Duration,
    /// Counts panics: work from before one holds no slot any more.
    life: u64,
    /// Proofs that wait for keys.
    parked: Vec<Presented>,
}

impl Entitlements {
    /// An actor that knows nothing yet.
    pub fn new(
        source: Arc<dyn LicensingSource>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        log: slog::Logger,
        policy: EntitlementPolicy,
        bounds: Bounds,
    ) -> Self {
        Self {
            source,
            clock,
            observer,
            log,
            ring: Keyring::new(policy.keys),
            memory: Memory::new(&policy),
            waiting: Waiting::new(bounds),
            asking: Slots::new(bounds),
            basis: 0,
            paused_until: Duration::ZERO,
            life: 0,
            parked: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.clock.monotonic(),
            wall: self.clock.now(),
        }
    }

    /// Step 1: verify locally, with keys that may have to be fetched first. `fetched`: whether the fetch that this PoE
    /// waited for brought keys; `None`: it has not waited.
    fn verify(&mut self, presented: Presented, fetched: Option<bool>, cx: &mut Cx<'_, Self>) {
        let now = self.clock.monotonic();
        let digest = presented.poe.digest();
        let keys = match self.ring.decide(None, now) {
            Decision::Use { snapshot, refresh } => {
                if refresh {
                    self.fetch_keys(cx);
                }
                snapshot.keys
            }
            Decision::Fetch if fetched.is_none() => return self.park(presented, cx),
            Decision::Fetch | Decision::Unavailable => {
                return self.refuse(digest, EntitlementError::Unavailable);
            }
        };
        match keys.verify(presented.poe.value(), self.clock.now()) {
            Ok(facts) => self.introspect(Verified { presented, facts }, cx),
            Err(PoeRejection::UnknownKey { kid }) => {
                let unavailable = match (fetched, self.ring.decide(Some(&kid), now)) {
                    (None, Decision::Fetch) => return self.park(presented, cx),
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
                self.refuse(digest, refusal);
            }
            Err(PoeRejection::Invalid(what)) => self.refuse(digest, EntitlementError::Invalid(what)),
            Err(PoeRejection::Expired) => self.refuse(digest, EntitlementError::Expired),
        }
    }

    fn park(&mut self, presented: Presented, cx: &mut Cx<'_, Self>) {
        self.parked.push(presented);
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
            for presented in std::mem::take(&mut this.parked) {
                this.verify(presented, Some(fetched), cx);
            }
        });
    }

    /// Step 2: ask Licensing, when it is this proof's turn.
    fn introspect(&mut self, verified: Verified, cx: &mut Cx<'_, Self>) {
        let tenant = verified.presented.tenant.clone();
        if let Some(verified) = self.asking.enter(&tenant, verified) {
            self.ask(verified, cx);
        }
    }

    /// Asks; while Licensing wants to be left alone, that counts as having asked in vain.
    fn ask(&mut self, verified: Verified, cx: &mut Cx<'_, Self>) {
        let mut turn = Some(verified);
        while let Some(verified) = turn.take() {
            if self.clock.monotonic() >= self.paused_until {
                return self.send(verified, cx);
            }
            let digest = verified.presented.poe.digest();
            let resolved = self.memory.fall_back(&digest, self.now());
            self.waiting.answer(&digest, &resolved);
            turn = self.asking.leave(&verified.presented.tenant);
        }
    }

    /// The question outlives who caused it.
    fn send(&mut self, verified: Verified, cx: &mut Cx<'_, Self>) {
        let (life, asked, basis) = (self.life, self.memory.ask(), self.source.basis());
        let poe = verified.presented.poe.shared();
        let answer = self.source.introspect(poe, verified.facts.clone());
        cx.run(answer, move |this, result, cx| {
            let result =
                result.unwrap_or_else(|Panicked| Err(SourceUnavailable("introspection panicked".into())));
            let digest = verified.presented.poe.digest();
            let (own_expiry, license) = (verified.facts.expires, verified.facts.license.as_str());
            let active = |facts| Active {
                facts,
                own_expiry,
                asked,
            };
            let resolved = match this.source.basis() {
                // Said on another basis: void.
                now if now.is_some() && now != basis => None,
                None => this.judge(digest, license, Err(no_basis()), active),
                Some(_) => this.judge(digest, license, result, active),
            };
            match resolved {
                Some(resolved) => this.waiting.answer(&digest, &resolved),
                None if life == this.life => return this.ask(verified, cx),
                // Nobody waits any more.
                None => {}
            }
            if life == this.life
                && let Some(next) = this.asking.leave(&verified.presented.tenant)
            {
                this.ask(next, cx);
            }
        });
    }

    /// Step 3: remember what Licensing said; `None`: it has to be asked again.
    fn judge(
        &mut self,
        digest: Sha256Digest,
        license: &str,
        result: Result<Introspection, SourceUnavailable>,
        active: impl FnOnce(Arc<Entitlement>) -> Active,
    ) -> Option<Resolved> {
        let now = self.now();
        Some(match result {
            Ok(Introspection::Active(facts)) => {
                return self.memory.confirm(digest, active(Arc::from(facts)), now);
            }
            Ok(Introspection::Revoked) => self.memory.revoke(digest, license, now),
            Ok(Introspection::Unlisted) => {
                let what = "the licence file does not list this licence: have one installed that does";
                let error = EntitlementError::Invalid(what.into());
                self.memory.refuse(digest, error, now)
            }
            Ok(Introspection::Mismatch) => {
                let what =
                    "Licensing knows this proof of entitlement for another tenant, installation or licence";
                let error = EntitlementError::Invalid(what.into());
                self.memory.refuse(digest, error, now)
            }
            Ok(Introspection::Later(pause)) => {
                let pause = pause.min(MAX_PAUSE);
                slog::warn!(self.log, "Licensing asks to be left alone"; "seconds" => pause.as_secs());
                self.paused_until = self.paused_until.max(now.monotonic.saturating_add(pause));
                self.memory.fall_back(&digest, now)
            }
            Err(error) => {
                slog::warn!(self.log, "Licensing could not be asked"; "reason" => %error);
                self.memory.fall_back(&digest, now)
            }
        })
    }

    fn refuse(&mut self, digest: Sha256Digest, error: EntitlementError) {
        let now = self.now();
        let resolved = self.memory.refuse(digest, error, now);
        self.waiting.answer(&digest, &resolved);
    }
}

fn no_basis() -> SourceUnavailable {
    SourceUnavailable("no licence file can be used now".into())
}

impl ActorState for Entitlements {
    const NAME: &'static str = "entitlement";

    fn recover(&mut self) {
        // Facts can be asked for again; what was in flight may never report back.
        self.memory.forget();
        self.waiting.abandon();
        self.asking.abandon();
        self.life = self.life.wrapping_add(1);
        self.parked.clear();
        self.ring.recover();
    }
}

impl Serve<Resolve> for Entitlements {
    fn serve(
        &mut self,
        Resolve { poe, tenant }: Resolve,
        cx: &mut Cx<'_, Self>,
    ) -> Reply<Result<Resolution, EntitlementError>> {
        let (digest, now) = (poe.digest(), self.now());
        match self.source.basis() {
            None => return Reply::Now(Err(EntitlementError::Unavailable)),
            Some(basis) if basis != self.basis => {
                self.basis = basis;
                self.memory.forget();
            }
            Some(_) => {}
        }
        if let Some(resolved) = self.memory.look_up(&digest, now) {
            self.observer.cache("entitlement", true);
            let standing = self.memory.standing(&digest, now);
            return Reply::Now(resolved.map(|facts| Resolution { facts, standing }));
        }
        self.observer.cache("entitlement", false);
        match self.waiting.join(digest, &tenant) {
            Joined::Leads(receiver) => {
                self.verify(Presented { poe, tenant }, None, cx);
                Reply::Later(receiver)
            }
            Joined::Follows(receiver) => Reply::Later(receiver),
            Joined::Full => {
                self.observer.throttled("overload");
                Reply::Now(Err(EntitlementError::Unavailable))
            }
        }
    }
}

#[cfg(test)]
mod tests;
