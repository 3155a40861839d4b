//! Who waits for which lookup. Pure, but for the channels.
//!
//! Who waits keeps a place in the mailbox, and answers from memory need places too, so the number of those who wait is
//! well below the mailbox's capacity.

use std::collections::HashMap;

use tokio::sync::oneshot;

use super::memory::Key;
use super::{Checked, ReferrerError};
use crate::domain::tenant::TenantId;

type Answer = Result<Checked, ReferrerError>;

/// How many may wait for registries.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// At once. A tenant that has as many places as are left gets no more, so that no few of them take them all.
    pub waiting: usize,
}

impl Bounds {
    /// For a mailbox of this capacity: half of it may wait.
    pub fn of_mailbox(capacity: usize) -> Self {
        Self {
            waiting: (capacity / 2).max(1),
        }
    }
}

#[derive(Debug)]
struct Flight {
    id: u64,
    running: bool,
    waiters: Vec<(TenantId, oneshot::Sender<Answer>)>,
}

impl Flight {
    fn has(&self, tenant: &TenantId) -> bool {
        self.waiters.iter().any(|(waiter, _)| waiter == tenant)
    }

    /// Each once.
    fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<TenantId> = Vec::new();
        for (tenant, _) in &self.waiters {
            if !tenants.contains(tenant) {
                tenants.push(tenant.clone());
            }
        }
        tenants
    }
}

/// Whether one more may wait.
#[derive(Debug)]
pub(super) enum Joined {
    /// Yes. `Some`: the first of its tenant, and the lookup has not begun: queue it, under this name.
    Waits(oneshot::Receiver<Answer>, Option<u64>),
    /// Too many wait.
    Full,
}

/// Lookups that are wanted or under way.
#[derive(Debug)]
pub(super) struct Flights {
    bounds: Bounds,
    flights: HashMap<Key, Flight>,
    of_tenant: HashMap<TenantId, usize>,
    waiting: usize,
    last: u64,
}

impl Flights {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            flights: HashMap::new(),
            of_tenant: HashMap::new(),
            waiting: 0,
            last: 0,
        }
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.flights.contains_key(key)
    }

    /// Whether this very lookup still waits for a turn.
    pub(super) fn is_queued(&self, key: &Key, id: u64) -> bool {
        let flight = self.flights.get(key);
        flight.is_some_and(|flight| flight.id == id && !flight.running)
    }

    pub(super) fn join(&mut self, key: &Key, tenant: &TenantId) -> Joined {
        let own = self.of_tenant.get(tenant).copied().unwrap_or(0);
        let free = self.bounds.waiting.saturating_sub(self.waiting);
        if own >= free {
            return Joined::Full;
        }
        let flight = self.entry(key);
        let queue = (!flight.running && !flight.has(tenant)).then_some(flight.id);
        let (sender, receiver) = oneshot::channel();
        flight.waiters.push((tenant.clone(), sender));
        self.waiting += 1;
        *self.of_tenant.entry(tenant.clone()).or_default() += 1;
        Joined::Waits(receiver, queue)
    }

    /// A lookup begins, wanted by somebody or not. Gives the tenants whose queues it leaves.
    pub(super) fn begin(&mut self, key: &Key) -> Vec<TenantId> {
        let flight = self.entry(key);
        flight.running = true;
        flight.tenants()
    }

    /// Ends a lookup: everyone who waits is answered.
    pub(super) fn land(&mut self, key: &Key, answer: &Answer) {
        if let Some(flight) = self.flights.remove(key) {
            self.answer(flight.waiters, answer);
        }
    }

    /// The tenant has waited long enough for its turn; false when the lookup has begun, or is another one by now.
    pub(super) fn give_up(&mut self, key: &Key, id: u64, tenant: &TenantId, answer: &Answer) -> bool {
        if !self.is_queued(key, id) {
            return false;
        }
        let Some(flight) = self.flights.get_mut(key) else {
            return false;
        };
        let waiters = std::mem::take(&mut flight.waiters);
        let (own, others): (Vec<_>, Vec<_>) = waiters.into_iter().partition(|(waiter, _)| waiter == tenant);
        if others.is_empty() {
            self.flights.remove(key);
        } else {
            flight.waiters = others;
        }
        self.answer(own, answer);
        true
    }

    /// Lookups under way count no more: those that somebody waits for, and who, to be queued anew.
    pub(super) fn restart(&mut self) -> Vec<(Key, u64, Vec<TenantId>)> {
        self.flights.retain(|_, flight| !flight.waiters.is_empty());
        let again = self.flights.iter_mut().map(|(key, flight)| {
            flight.running = false;
            (key.clone(), flight.id, flight.tenants())
        });
        again.collect()
    }

    /// Gives up on everyone.
    pub(super) fn abandon(&mut self) {
        let last = self.last;
        *self = Self::new(self.bounds);
        self.last = last;
    }

    fn entry(&mut self, key: &Key) -> &mut Flight {
        let last = &mut self.last;
        self.flights.entry(key.clone()).or_insert_with(|| {
            *last += 1;
            Flight {
                id: *last,
                running: false,
                waiters: Vec::new(),
            }
        })
    }

    fn answer(&mut self, waiters: Vec<(TenantId, oneshot::Sender<Answer>)>, answer: &Answer) {
        for (tenant, waiter) in waiters {
            self.waiting = self.waiting.saturating_sub(1);
            if let Some(count) = self.of_tenant.get_mut(&tenant) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.of_tenant.remove(&tenant);
                }
            }
            // A waiter that has gone needs no answer.
            drop(waiter.send(answer.clone()));
        }
    }
}
