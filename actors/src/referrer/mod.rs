//! ReferrerActor: verdicts about scanner images, cached and asked for once.
//!
//! What it decides is decided by pure parts: what is remembered and refreshed (`memory`), how many lookups a tenant may
//! cause (`lookups`), whose is next (`turns`), who waits for it (`flights`), which repositories are asked at all
//! (`circuit`, `repositories`). The asking itself (`ask`) runs beside the mailbox.

mod ask;
mod circuit;
mod error;
mod flights;
mod lookups;
mod memory;
mod messages;
mod repositories;
mod turns;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

pub use error::ReferrerError;
pub use flights::Bounds;
pub use lookups::LookupRate;
pub use messages::{Check, Checked, Trust};
pub use repositories::{PublishedHealth, RepositoryHealth};

use ask::{Asked, Told, ask_all};
use flights::{Flights, Joined};
use lookups::Lookups;
use memory::{Jitter, Key, Memory, Now, Verdicted};
use repositories::Repositories;
use turns::{Turn, Turns};

use crate::domain::digest::ImageDigest;
use crate::domain::release::{ReleaseReport, Verdict};
use crate::domain::tenant::TenantId;
use crate::ports::{Clock, Ids, Observer, ReleaseError, ReleaseSource};
pub use crate::runtime::CircuitPolicy;
use crate::runtime::{ActorState, Cx, Panicked, Reply, Serve, Standing};

/// How often is looked for refreshes that are due, unless the TTL is short.
const TICK: Duration = Duration::from_secs(1);

/// How long verdicts are good for, and how registries are asked.
#[derive(Clone, Copy, Debug)]
pub struct ReferrerPolicy {
    /// A trusted verdict.
    pub positive_ttl: Duration,
    /// Untrusted, unsigned or absent: short, so that a signature just pushed is found.
    pub negative_ttl: Duration,
    /// Trusted verdicts remembered.
    pub capacity: NonZeroUsize,
    /// Checks against registries at once; half of them for one tenant at most.
    pub concurrency: usize,
    /// How long a lookup waits for its turn. Beyond, those who asked are gone or about to go.
    pub queue: Duration,
    /// When a repository is left alone.
    pub circuit: CircuitPolicy,
    /// Lookups that a tenant may cause.
    pub lookups: LookupRate,
}

/// What the actor is made of.
#[derive(Debug)]
pub struct ReferrerParts {
    /// The registries.
    pub source: Arc<dyn ReleaseSource>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, so that refreshes and circuits of replicas do not go in step.
    pub ids: Arc<dyn Ids>,
    /// Metrics.
    pub observer: Arc<dyn Observer>,
    /// Log.
    pub log: slog::Logger,
    /// Lifetimes and bounds.
    pub policy: ReferrerPolicy,
    /// How many may wait.
    pub bounds: Bounds,
    /// Where the health of the repositories is published.
    pub published: PublishedHealth,
}

/// State of the actor.
#[derive(Debug)]
pub struct Referrers {
    source: Arc<dyn ReleaseSource>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    observer: Arc<dyn Observer>,
    log: slog::Logger,
    policy: ReferrerPolicy,
    memory: Memory,
    flights: Flights,
    lookups: Lookups,
    turns: Turns,
    repositories: Repositories,
    /// Counts panics and changes of trust: a lookup from before one holds no place any more, and tells nothing.
    life: u64,
}

/// A lookup under way.
struct Lookup {
    key: Key,
    turn: Turn,
    asked: Vec<Asked>,
    /// Some were left alone, the first of them for so long.
    skipped: Option<Duration>,
    life: u64,
}

impl Referrers {
    /// An actor that knows no verdict yet.
    pub fn new(parts: ReferrerParts) -> Self {
        let repositories = Repositories::new(
            parts.source.repositories(),
            parts.policy.circuit,
            Arc::clone(&parts.observer),
            parts.log.clone(),
            parts.published,
        );
        Self {
            source: parts.source,
            clock: parts.clock,
            ids: parts.ids,
            observer: parts.observer,
            log: parts.log,
            policy: parts.policy,
            memory: Memory::new(&parts.policy),
            flights: Flights::new(parts.bounds),
            lookups: Lookups::new(parts.policy.lookups),
            turns: Turns::new(parts.policy.concurrency),
            repositories,
            life: 0,
        }
    }

    fn now(&self) -> Now {
        Now {
            monotonic: self.clock.monotonic(),
            wall: self.clock.now(),
        }
    }

    fn jitter(&self) -> Jitter {
        // The last bits of a UUIDv7 are random (RFC 9562 §5.7).
        let (_, random) = self.ids.uuid().as_u64_pair();
        Jitter(u32::try_from(random & u64::from(u32::MAX)).unwrap_or_default())
    }

    /// Begins what may begin: lookups first, then refreshes that are due.
    fn advance(&mut self, cx: &mut Cx<'_, Self>) {
        while let Some((tenant, key)) = self.turns.next() {
            for waiting in self.flights.begin(&key) {
                self.turns.withdraw(&waiting, &key);
            }
            self.look_up(key, Turn::Of(tenant), cx);
        }
        while self.turns.may_refresh() {
            let Some(key) = self.memory.next_due(self.now()) else {
                return;
            };
            if self
                .repositories
                .wait(key.1.as_deref(), self.clock.monotonic())
                .is_some()
            {
                self.memory.retry(&key, self.now(), self.jitter());
                continue;
            }
            self.flights.begin(&key);
            self.turns.begin_refresh();
            self.look_up(key, Turn::Refresh, cx);
        }
    }

    fn look_up(&mut self, key: Key, turn: Turn, cx: &mut Cx<'_, Self>) {
        let (asked, skipped) = self.repositories.ask(key.1.as_deref(), self.clock.monotonic());
        let (source, clock) = (Arc::clone(&self.source), Arc::clone(&self.clock));
        let answer = ask_all(source, clock, key.0, asked.clone());
        let lookup = Lookup {
            key,
            turn,
            asked,
            skipped,
            life: self.life,
        };
        cx.run(Box::pin(answer), move |this, result, cx| {
            this.landed(lookup, result, cx)
        });
    }

    fn landed(
        &mut self,
        lookup: Lookup,
        result: Result<(Result<ReleaseReport, ReleaseError>, Vec<Told>), Panicked>,
        cx: &mut Cx<'_, Self>,
    ) {
        if lookup.life != self.life {
            return;
        }
        let (answer, told) = result.unwrap_or_else(|Panicked| {
            let doubt = ReleaseError::Doubt("the check panicked".into());
            (Err(doubt), vec![Told::NOTHING; lookup.asked.len()])
        });
        for (asked, told) in lookup.asked.iter().zip(told) {
            self.note(asked, lookup.key.0, told, cx);
        }
        self.turns.end(&lookup.turn);
        let refreshed = lookup.turn == Turn::Refresh;
        let verdicted = self.verdict(&lookup, answer);
        self.settle(lookup.key, verdicted, refreshed);
        self.advance(cx);
    }

    /// Tells a repository's circuit and the metrics what came of asking it, and asks about its witness if that decides.
    fn note(&mut self, asked: &Asked, image: ImageDigest, told: Told, cx: &mut Cx<'_, Self>) {
        if let Some(label) = told.label {
            self.observer.release_lookup(&asked.name, label, told.elapsed);
        }
        let (now, jitter) = (self.clock.monotonic(), self.jitter());
        let witness = self.repositories.told(asked, image, told.outcome, now, jitter);
        // At most one at a time for each repository, so it needs no turn.
        if let Some((asked, witness)) = witness {
            let (source, clock, life) = (Arc::clone(&self.source), Arc::clone(&self.clock), self.life);
            let answer = ask_all(source, clock, witness, vec![asked.clone()]);
            cx.run(Box::pin(answer), move |this, result, cx| {
                let told = result.ok().and_then(|(_, told)| told.first().copied());
                if life == this.life {
                    this.note(&asked, witness, told.unwrap_or(Told::NOTHING), cx);
                }
            });
        }
    }

    fn verdict(&self, lookup: &Lookup, answer: Result<ReleaseReport, ReleaseError>) -> Verdicted {
        let reason = match (answer, lookup.skipped) {
            (Ok(report), None) => return Ok(Arc::new(report)),
            (Ok(report), _) if report.verdict == Verdict::Trusted => return Ok(Arc::new(report)),
            (Err(ReleaseError::NotFound), None) => return Err(ReferrerError::NotFound),
            // Who was not asked might have trusted it: any doubt is doubt.
            (Ok(_) | Err(ReleaseError::NotFound), Some(wait)) => return Err(circuit_open(wait)),
            (Err(reason), _) => reason,
        };
        slog::warn!(self.log, "no verdict about a scanner image";
            "digest" => %lookup.key.0, "reason" => %reason);
        Err(ReferrerError::from(reason))
    }

    fn settle(&mut self, key: Key, verdicted: Verdicted, refreshed: bool) {
        let (now, jitter) = (self.now(), self.jitter());
        let answer = verdicted.clone().map(|report| Checked {
            report,
            cached: false,
            standing: Standing::once(),
        });
        self.flights.land(&key, &answer);
        let result = match &verdicted {
            Ok(report) if report.verdict == Verdict::Trusted => "renewed",
            Ok(_) | Err(ReferrerError::NotFound) => "withdrawn",
            Err(_) => "failed",
        };
        if refreshed {
            self.observer.release_refresh(result);
        }
        match result {
            // Doubt is not a fact: the next request asks again, and what was established counts for its time.
            "failed" => self.memory.retry(&key, now, jitter),
            _ => {
                if refreshed && result == "withdrawn" {
                    slog::warn!(self.log, "a scanner image is no longer trusted"; "digest" => %key.0);
                }
                self.memory.put(key, &verdicted, now, jitter);
            }
        }
    }

    /// Whether a lookup that nobody else wants yet may be caused by this tenant, now.
    fn may_look_up(&mut self, key: &Key, tenant: &TenantId) -> Result<(), ReferrerError> {
        let now = self.clock.monotonic();
        if let Some(wait) = self.repositories.wait(key.1.as_deref(), now) {
            return Err(circuit_open(wait));
        }
        self.lookups.take(tenant, now).map_err(|retry_after| {
            self.observer.throttled("lookup");
            ReferrerError::TooManyImages { retry_after }
        })
    }

    /// Queues a lookup for this tenant, for as long as its patience lasts.
    fn queue(&mut self, key: Key, id: u64, tenant: TenantId, cx: &mut Cx<'_, Self>) {
        self.turns.queue(&tenant, key.clone());
        self.advance(cx);
        if !self.flights.is_queued(&key, id) {
            return;
        }
        let life = self.life;
        cx.after(self.policy.queue, move |this, _cx| {
            let late = Err(ReferrerError::Timeout);
            if life == this.life && this.flights.give_up(&key, id, &tenant, &late) {
                this.turns.withdraw(&tenant, &key);
            }
        });
    }

    fn tick(&mut self, cx: &mut Cx<'_, Self>) {
        self.advance(cx);
        let pause = (self.policy.positive_ttl / 16).clamp(TICK / 20, TICK);
        cx.after(pause, Self::tick);
    }
}

/// Told the caller in whole seconds (RFC 9110 §10.2.3), not too early.
fn circuit_open(wait: Duration) -> ReferrerError {
    let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    ReferrerError::CircuitOpen {
        retry_after: whole.max(1),
    }
}

impl ActorState for Referrers {
    const NAME: &'static str = "referrer";

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        self.tick(cx);
    }

    fn recover(&mut self) {
        self.memory.clear();
        self.flights.abandon();
        self.turns.abandon();
        self.repositories.recover();
        self.life = self.life.wrapping_add(1);
    }
}

impl Serve<Check> for Referrers {
    fn serve(&mut self, ask: Check, cx: &mut Cx<'_, Self>) -> Reply<Result<Checked, ReferrerError>> {
        let key = (ask.digest, ask.repository);
        let now = self.now();
        let known = self.memory.look_up(&key, now);
        self.observer.cache("release", known.is_some());
        if let Some(verdicted) = known {
            self.advance(cx);
            let standing = self.memory.standing(&key, now);
            return Reply::Now(verdicted.map(|report| Checked {
                report,
                cached: true,
                standing,
            }));
        }
        if !self.repositories.knows(key.1.as_deref()) {
            return Reply::Now(Err(ReferrerError::ForeignRepository));
        }
        if !self.flights.contains(&key)
            && let Err(refused) = self.may_look_up(&key, &ask.tenant)
        {
            return Reply::Now(Err(refused));
        }
        match self.flights.join(&key, &ask.tenant) {
            Joined::Waits(receiver, queue) => {
                if let Some(id) = queue {
                    self.queue(key, id, ask.tenant, cx);
                }
                Reply::Later(receiver)
            }
            Joined::Full => {
                self.observer.throttled("overload");
                Reply::Now(Err(ReferrerError::Overloaded))
            }
        }
    }
}

impl Serve<Trust> for Referrers {
    fn serve(&mut self, Trust(source): Trust, cx: &mut Cx<'_, Self>) -> Reply<()> {
        self.source = source;
        self.memory.clear();
        self.life = self.life.wrapping_add(1);
        self.turns.abandon();
        // What was being asked will not be told: circuits are learnt anew.
        self.repositories.recover();
        for (key, id, tenants) in self.flights.restart() {
            for tenant in tenants {
                if self.flights.is_queued(&key, id) {
                    self.queue(key.clone(), id, tenant, cx);
                }
            }
        }
        Reply::Now(())
    }
}

#[cfg(test)]
mod tests;
