//! A store that replicas share.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::*;
use crate::ports::{
    LeaseId, Leases, QuotaStore, Rate, ReplayStore, SharedRate, Spend, Spent, Standing, StateUnavailable,
};

/// Concurrency as a shared store counts it, pure: time comes in. The scripts of the adapter are its twin.
#[derive(Clone, Debug, Default)]
pub struct LeaseModel {
    /// Since when the store remembers everything.
    pub born: Duration,
    /// How long a lease lives.
    pub life: Duration,
    /// Until when each is counted.
    pub held: BTreeMap<TenantId, BTreeMap<LeaseId, Duration>>,
}

impl LeaseModel {
    /// Everything is lost.
    pub fn forget(&mut self, now: Duration) {
        self.born = now;
        self.held.clear();
    }

    /// False while leases that were forgotten may still be held.
    pub fn is_settled(&self, now: Duration) -> bool {
        now >= self.born + self.life
    }

    /// Leases in force.
    pub fn in_use(&self, tenant: &TenantId, now: Duration) -> usize {
        let held = self.held.get(tenant);
        held.map_or(0, |held| held.values().filter(|until| now < **until).count())
    }

    /// Takes a lease if there is room.
    pub fn take(&mut self, tenant: &TenantId, id: LeaseId, limit: usize, now: Duration) -> bool {
        let room = self.is_settled(now) && self.in_use(tenant, now) < limit;
        if room {
            self.renew(tenant, id, now);
        }
        room
    }

    /// Makes a lease live on. True if it was gone.
    pub fn renew(&mut self, tenant: &TenantId, id: LeaseId, now: Duration) -> bool {
        let held = self.held.entry(tenant.clone()).or_default();
        let until = held.insert(id, now + self.life);
        until.is_none_or(|until| until <= now)
    }

    /// Gives a lease back.
    pub fn release(&mut self, tenant: &TenantId, id: LeaseId) {
        if let Some(held) = self.held.get_mut(tenant) {
            held.remove(&id);
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Memory {
    leases: LeaseModel,
    spent: HashSet<(TenantId, Sha256Digest)>,
    taken: HashMap<(TenantId, SharedRate), u64>,
}

/// A store in memory, by a fake clock. Clones share it, as replicas do. Rates never refill: what was taken is missing.
#[derive(Clone, Debug)]
pub struct FakeState {
    clock: FakeClock,
    memory: Arc<watch::Sender<Memory>>,
    /// Whether it does what it is asked.
    pub up: Dial<bool>,
    /// Whether what it did is told.
    pub answers: Dial<bool>,
    /// Held back while false, to let calls pile up.
    pub open: Dial<bool>,
    /// Calls so far.
    pub calls: Arc<AtomicU32>,
    /// Those that renewed, or tried to.
    pub renewals: Arc<AtomicU32>,
    /// What it names its memory.
    pub epoch: Dial<u64>,
    /// Makes the next call panic.
    pub bomb: Bomb,
}

impl FakeState {
    /// Settled, with nothing in it. Leases live for 90 ms: by the fake clock, and for the timers that renew them.
    pub fn new(clock: &FakeClock) -> Self {
        let memory = Memory {
            leases: LeaseModel {
                life: Duration::from_millis(90),
                ..LeaseModel::default()
            },
            ..Memory::default()
        };
        // Born one life before the clock starts.
        clock.advance(memory.leases.life);
        Self {
            clock: clock.clone(),
            memory: Arc::new(watch::Sender::new(memory)),
            up: Dial::new(true),
            answers: Dial::new(true),
            open: Dial::new(true),
            calls: Arc::default(),
            renewals: Arc::default(),
            epoch: Dial::new(1),
            bomb: Bomb::default(),
        }
    }

    /// Everything is lost.
    pub fn forget(&self) {
        let now = self.clock.monotonic();
        self.memory.send_modify(|memory| {
            memory.leases.forget(now);
            memory.spent.clear();
        });
        self.epoch.set(self.epoch.get() + 1);
    }

    /// Leases in force.
    pub fn in_use(&self, tenant: &TenantId) -> usize {
        let now = self.clock.monotonic();
        self.memory.borrow().leases.in_use(tenant, now)
    }

    fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Memory, Duration) -> Option<T> + Send + 'static,
    ) -> PortFuture<Result<T, StateUnavailable>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let this = self.clone();
        Box::pin(async move {
            this.bomb.tick();
            this.open.until(|open| *open).await;
            let mut done = None;
            if this.up.get() {
                let now = this.clock.monotonic();
                this.memory.send_modify(|memory| done = act(memory, now));
            }
            let told = done.filter(|_| this.answers.get());
            told.ok_or(StateUnavailable("down".into()))
        })
    }
}

fn charge(memory: &mut Memory, tenant: &TenantId, limits: &PlanLimits, rate: SharedRate) -> Rate {
    let taken = memory.taken.entry((tenant.clone(), rate)).or_default();
    let room = *taken < u64::from(limits.burst);
    *taken += u64::from(room);
    Rate {
        taken: room,
        missing: *taken * 1_000_000,
    }
}

impl QuotaStore for FakeState {
    fn admit(
        &self,
        tenant: TenantId,
        limits: PlanLimits,
        lease: Option<LeaseId>,
    ) -> PortFuture<Result<Standing, StateUnavailable>> {
        self.call(move |memory, now| {
            memory.leases.is_settled(now).then_some(())?;
            let rate = charge(memory, &tenant, &limits, SharedRate::Sign);
            let in_use = memory.leases.in_use(&tenant, now);
            let limit = limits.concurrency as usize;
            let lease = lease.filter(|_| rate.taken);
            Some(Standing {
                rate,
                in_use: u32::try_from(in_use).unwrap_or(u32::MAX),
                leased: lease.is_some_and(|id| memory.leases.take(&tenant, id, limit, now)),
            })
        })
    }

    fn look(&self, tenant: TenantId, limits: PlanLimits) -> PortFuture<Result<Standing, StateUnavailable>> {
        self.call(move |memory, now| {
            let taken = memory.taken.get(&(tenant.clone(), SharedRate::Sign));
            let taken = taken.copied().unwrap_or(0);
            Some(Standing {
                rate: Rate {
                    taken: taken < u64::from(limits.burst),
                    missing: taken * 1_000_000,
                },
                in_use: u32::try_from(memory.leases.in_use(&tenant, now)).unwrap_or(u32::MAX),
                leased: false,
            })
        })
    }

    fn charge(
        &self,
        tenant: TenantId,
        limits: PlanLimits,
        rate: SharedRate,
    ) -> PortFuture<Result<Rate, StateUnavailable>> {
        self.call(move |memory, _| Some(charge(memory, &tenant, &limits, rate)))
    }

    fn renew(&self, leases: Leases) -> PortFuture<Result<u64, StateUnavailable>> {
        self.renewals.fetch_add(1, Ordering::SeqCst);
        self.call(move |memory, now| {
            let all = leases
                .iter()
                .flat_map(|(tenant, ids)| ids.iter().map(move |id| (tenant, *id)));
            Some(
                all.map(|(tenant, id)| u64::from(memory.leases.renew(tenant, id, now)))
                    .sum(),
            )
        })
    }

    fn release(&self, leases: Leases) -> PortFuture<Result<(), StateUnavailable>> {
        self.call(move |memory, _| {
            for (tenant, ids) in &leases {
                ids.iter().for_each(|id| memory.leases.release(tenant, *id));
            }
            Some(())
        })
    }

    fn lease_life(&self) -> Duration {
        self.memory.borrow().leases.life
    }
}

impl ReplayStore for FakeState {
    fn spend(&self, spend: Spend) -> PortFuture<Result<Spent, StateUnavailable>> {
        let epoch = self.epoch.clone();
        self.call(move |memory, _| {
            let held = memory.spent.iter().filter(|(tenant, _)| *tenant == spend.tenant);
            let (held, id) = (held.count(), (spend.tenant.clone(), spend.id));
            let younger = spend.nonce_epoch == Some(epoch.get())
                || spend.issued >= NOW() + chrono::Duration::from_std(spend.ahead).unwrap_or_default();
            Some(if memory.spent.contains(&id) {
                Spent::Replayed
            } else if !younger {
                Spent::OlderThanStore
            } else if held >= spend.most {
                Spent::Full
            } else {
                memory.spent.insert(id);
                Spent::Recorded
            })
        })
    }
}
