//! A store of idempotency keys.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::domain::idempotency::ScopedKey;
use crate::ports::{Claim, Claimed, End, IdempotencyStore, Ownership, StateUnavailable};

/// What a store of idempotency keys does, pure: time comes in. The stores are its twins.
#[derive(Clone, Debug)]
pub struct IdempotencyModel {
    /// How long answers, and attempts of unknown end, are known.
    pub ttl: Duration,
    /// How long an attempt has its key to itself; `None`: until it ends or the process does.
    pub life: Option<Duration>,
    /// Most keys; a tenant may hold at most as many as are left free.
    pub capacity: usize,
    /// What is known, by the key's name.
    pub entries: BTreeMap<[u8; 32], ModelEntry>,
}

/// What is known of a key.
#[derive(Clone, Debug)]
pub struct ModelEntry {
    key: ScopedKey,
    request: Sha256Digest,
    state: ModelState,
    /// Forgotten from then on, unless an attempt is under way.
    expires: Duration,
}

#[derive(Clone, Debug)]
enum ModelState {
    /// Under way, with what the next attempt is to be told of if this one signs nothing.
    Running {
        attempt: AuditId,
        since: Duration,
        begun: bool,
        earlier: Option<AuditId>,
        /// The void answer that is there until the attempt begins.
        void: Option<Bytes>,
    },
    /// Ended, nobody knows how.
    Unknown(AuditId),
    Done(AuditId, Bytes),
}

impl IdempotencyModel {
    /// With nothing in it.
    pub fn new(ttl: Duration, life: Option<Duration>, capacity: usize) -> Self {
        Self {
            ttl,
            life,
            capacity,
            entries: BTreeMap::new(),
        }
    }

    /// See [`IdempotencyStore::tend`].
    pub fn tend(&mut self, now: Duration) {
        self.forget_expired(now);
    }

    fn forget_expired(&mut self, now: Duration) {
        let life = self.life;
        self.entries.retain(|_, entry| match &mut entry.state {
            ModelState::Running { since, .. } => {
                let ended = life.is_some_and(|life| now >= *since + life);
                !ended
                    || entry.state.after(End::Unknown).is_some_and(|after| {
                        entry.state = after;
                        now < entry.expires
                    })
            }
            _ => now < entry.expires,
        });
    }

    fn has_room(&self, key: &ScopedKey) -> bool {
        let held = self
            .entries
            .values()
            .filter(|entry| entry.key.share() == key.share());
        held.count() < self.capacity.saturating_sub(self.entries.len())
    }

    /// See [`IdempotencyStore::claim`].
    pub fn claim(&mut self, claim: Claim, now: Duration) -> Claimed {
        self.forget_expired(now);
        let running = |earlier, void| ModelState::Running {
            attempt: claim.attempt,
            since: now,
            begun: false,
            earlier,
            void,
        };
        let Some(entry) = self.entries.get_mut(claim.key.id()) else {
            if !self.has_room(&claim.key) {
                return Claimed::Full;
            }
            let entry = ModelEntry {
                key: claim.key,
                request: claim.request,
                state: running(None, None),
                expires: now + self.ttl,
            };
            self.entries.insert(*claim.key.id(), entry);
            return Claimed::Taken { earlier: None };
        };
        if entry.request != claim.request {
            return Claimed::OtherRequest;
        }
        match &entry.state {
            ModelState::Running { .. } => Claimed::InFlight,
            ModelState::Done(attempt, answer) if claim.void != Some(*attempt) => Claimed::Kept {
                attempt: *attempt,
                answer: answer.clone(),
            },
            ModelState::Done(attempt, answer) => {
                let earlier = Some(*attempt);
                entry.state = running(earlier, Some(answer.clone()));
                Claimed::Taken { earlier }
            }
            ModelState::Unknown(attempt) => {
                let earlier = Some(*attempt);
                entry.state = running(earlier, None);
                Claimed::Taken { earlier }
            }
        }
    }

    fn owner(&self, claim: &Claim) -> Option<bool> {
        self.entries.get(claim.key.id()).map(
            |entry| matches!(entry.state, ModelState::Running { attempt, .. } if attempt == claim.attempt),
        )
    }

    /// See [`IdempotencyStore::begin`].
    pub fn begin(&mut self, claim: Claim, now: Duration) -> Ownership {
        if self.owner(&claim) == Some(false) {
            return Ownership::TakenOver;
        }
        let ttl = self.ttl;
        if let Some(entry) = self.entries.get_mut(claim.key.id())
            && let ModelState::Running { begun, void, .. } = &mut entry.state
        {
            (*begun, *void) = (true, None);
            entry.expires = now + ttl;
        }
        Ownership::Own
    }

    /// See [`IdempotencyStore::keep`].
    pub fn keep(&mut self, claim: Claim, answer: Bytes, now: Duration) -> Ownership {
        if self.owner(&claim) == Some(false) {
            return Ownership::TakenOver;
        }
        let entry = ModelEntry {
            key: claim.key,
            request: claim.request,
            state: ModelState::Done(claim.attempt, answer),
            expires: now + self.ttl,
        };
        self.entries.insert(*claim.key.id(), entry);
        Ownership::Own
    }

    /// See [`IdempotencyStore::give_up`].
    pub fn give_up(&mut self, claim: Claim, end: End) {
        let Some(entry) = self.entries.get_mut(claim.key.id()) else {
            return;
        };
        if !matches!(entry.state, ModelState::Running { attempt, .. } if attempt == claim.attempt) {
            return;
        }
        match entry.state.after(end) {
            Some(after) => entry.state = after,
            None => {
                self.entries.remove(claim.key.id());
            }
        }
    }

    /// The process that had every attempt has ended, and another one begins.
    pub fn crash(&mut self) {
        self.entries.retain(|_, entry| {
            let after = entry.state.after(End::Unknown);
            after.is_some_and(|after| {
                entry.state = after;
                true
            })
        });
    }
}

impl ModelState {
    /// What is left of an attempt that has ended so; `None`: nothing. One that never began has signed nothing.
    fn after(&self, end: End) -> Option<Self> {
        let Self::Running {
            attempt,
            begun,
            earlier,
            void,
            ..
        } = self
        else {
            return Some(self.clone());
        };
        match (end, earlier, void) {
            (End::Unknown, ..) if *begun => Some(Self::Unknown(*attempt)),
            (_, Some(earlier), Some(answer)) => Some(Self::Done(*earlier, answer.clone())),
            (_, Some(earlier), None) => Some(Self::Unknown(*earlier)),
            (_, None, _) => None,
        }
    }
}

/// A store in memory, by a fake clock. Clones share it, as replicas do.
#[derive(Clone, Debug)]
pub struct FakeKeys {
    clock: FakeClock,
    model: Arc<watch::Sender<IdempotencyModel>>,
    /// Whether it does what it is asked.
    pub up: Dial<bool>,
    /// Whether it keeps answers, when it is up.
    pub keeps: Dial<bool>,
    /// Whether what it did is told.
    pub answers: Dial<bool>,
    /// Held back while false, to let calls pile up.
    pub open: Dial<bool>,
    /// Names of calls so far.
    pub calls: Dial<Vec<&'static str>>,
    /// Makes the next call panic.
    pub bomb: Bomb,
}

impl FakeKeys {
    /// With nothing in it, room for a thousand keys, an hour for answers, and no end of attempts but their own.
    pub fn new(clock: &FakeClock) -> Self {
        let model = IdempotencyModel::new(Duration::from_secs(3600), None, 1000);
        Self {
            clock: clock.clone(),
            model: Arc::new(watch::Sender::new(model)),
            up: Dial::new(true),
            keeps: Dial::new(true),
            answers: Dial::new(true),
            open: Dial::new(true),
            calls: Dial::new(Vec::new()),
            bomb: Bomb::default(),
        }
    }

    /// What it knows, to look at or to change.
    pub fn change(&self, change: impl FnOnce(&mut IdempotencyModel)) {
        self.model.send_modify(change);
    }

    /// How many keys it knows.
    pub fn len(&self) -> usize {
        self.model.borrow().entries.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        act: impl FnOnce(&mut IdempotencyModel, Duration) -> Option<T> + Send + 'static,
    ) -> PortFuture<Result<T, StateUnavailable>> {
        let mut calls = self.calls.get();
        calls.push(name);
        self.calls.set(calls);
        let this = self.clone();
        Box::pin(async move {
            this.bomb.tick();
            this.open.until(|open| *open).await;
            let mut done = None;
            if this.up.get() {
                let now = this.clock.monotonic();
                this.model.send_modify(|model| done = act(model, now));
            }
            let told = done.filter(|_| this.answers.get());
            told.ok_or(StateUnavailable("down".into()))
        })
    }
}

impl IdempotencyStore for FakeKeys {
    fn claim(&self, claim: Claim) -> PortFuture<Result<Claimed, StateUnavailable>> {
        self.call("claim", move |model, now| Some(model.claim(claim, now)))
    }

    fn begin(&self, claim: Claim) -> PortFuture<Result<Ownership, StateUnavailable>> {
        self.call("begin", move |model, now| Some(model.begin(claim, now)))
    }

    fn keep(&self, claim: Claim, answer: Bytes) -> PortFuture<Result<Ownership, StateUnavailable>> {
        let keeps = self.keeps.get();
        self.call("keep", move |model, now| {
            keeps.then(|| model.keep(claim, answer, now))
        })
    }

    fn give_up(&self, claim: Claim, end: End) -> PortFuture<Result<(), StateUnavailable>> {
        self.call("give_up", move |model, _| {
            model.give_up(claim, end);
            Some(())
        })
    }

    fn tend(&self) -> PortFuture<()> {
        Box::pin(std::future::ready(()))
    }

    fn claim_life(&self) -> Option<Duration> {
        self.model.borrow().life
    }
}
