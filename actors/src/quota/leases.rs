//! The leases that one actor holds in the shared store. Pure: time comes in.
//!
//! A lease is believed to live only until its life has passed since it was *asked* for; the store, which counts from
//! when it answered, keeps it at least as long. So while a holder believes in a lease, the store counts it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::domain::tenant::TenantId;
use crate::ports::{LeaseId, Leases};

/// A lease that was given back, or whose taking got no answer, and until when the store may still count it.
type Owed = (TenantId, LeaseId, Duration);

/// Which leases are held, and which still have to be given back.
#[derive(Clone, Debug)]
pub(super) struct Book {
    holder: u64,
    taken: u64,
    life: Duration,
    /// Until when each is believed to live.
    held: HashMap<TenantId, BTreeMap<LeaseId, Duration>>,
    owed: Vec<Owed>,
}

impl Book {
    /// Empty. `holder` is unlike any other's.
    pub(super) fn new(holder: u64, life: Duration) -> Self {
        Self {
            holder,
            taken: 0,
            life,
            held: HashMap::new(),
            owed: Vec::new(),
        }
    }

    /// The name of a lease to be asked for.
    pub(super) fn next(&mut self) -> LeaseId {
        self.taken = self.taken.wrapping_add(1);
        LeaseId {
            holder: self.holder,
            number: self.taken,
        }
    }

    /// The store says that the lease is held.
    pub(super) fn taken(&mut self, tenant: &TenantId, id: LeaseId, asked: Duration) {
        let until = asked.saturating_add(self.life);
        self.held.entry(tenant.clone()).or_default().insert(id, until);
    }

    /// True when work of this tenant runs on without a lease: what the store says of its concurrency is too little.
    pub(super) fn is_overdue(&self, tenant: &TenantId, now: Duration) -> bool {
        let held = self.held.get(tenant);
        held.is_some_and(|held| held.values().any(|until| *until <= now))
    }

    /// How many leases that were believed in `since` are not any more.
    pub(super) fn lapsed(&self, since: Duration, now: Duration) -> usize {
        let ended = |until: &&Duration| since < **until && **until <= now;
        self.held
            .values()
            .map(|held| held.values().filter(ended).count())
            .sum()
    }

    /// Everything that is held.
    pub(super) fn to_renew(&self) -> Leases {
        let all = self.held.iter();
        all.map(|(tenant, held)| (tenant.clone(), held.keys().copied().collect()))
            .collect()
    }

    /// The store has renewed these, unless they were given back meanwhile.
    pub(super) fn renewed(&mut self, leases: &Leases, asked: Duration) {
        let life = asked.saturating_add(self.life);
        for (tenant, ids) in leases {
            let Some(held) = self.held.get_mut(tenant) else {
                continue;
            };
            for id in ids {
                if let Some(until) = held.get_mut(id) {
                    *until = life.max(*until);
                }
            }
        }
    }

    /// The work has ended. True when the lease was held.
    pub(super) fn give_back(&mut self, tenant: &TenantId, id: LeaseId, now: Duration) -> bool {
        let Some(held) = self.held.get_mut(tenant) else {
            return false;
        };
        let was_held = held.remove(&id).is_some();
        if held.is_empty() {
            self.held.remove(tenant);
        }
        if was_held {
            self.owe(tenant, id, now);
        }
        was_held
    }

    /// The store may count a lease that nobody uses.
    pub(super) fn owe(&mut self, tenant: &TenantId, id: LeaseId, now: Duration) {
        // Renewed at most now, it ends one life from now at the latest: from then on there is nothing to give back.
        let until = now.saturating_add(self.life);
        self.owed.push((tenant.clone(), id, until));
    }

    /// What has to be given back, and is not owed any more if that succeeds: see [`Self::still_owed`].
    pub(super) fn take_owed(&mut self, now: Duration) -> Vec<Owed> {
        let mut owed = std::mem::take(&mut self.owed);
        owed.retain(|(_, _, until)| now < *until);
        owed
    }

    /// Giving these back got no answer.
    pub(super) fn still_owed(&mut self, owed: Vec<Owed>) {
        self.owed.extend(owed);
    }
}

/// By tenant, as a store takes them.
pub(super) fn by_tenant(owed: &[Owed]) -> Leases {
    let mut all: BTreeMap<&TenantId, Vec<LeaseId>> = BTreeMap::new();
    for (tenant, id, _) in owed {
        all.entry(tenant).or_default().push(*id);
    }
    all.into_iter()
        .map(|(tenant, ids)| (tenant.clone(), ids))
        .collect()
}

#[cfg(test)]
#[path = "leases_tests.rs"]
mod tests;
