//! How many may wait, and how many questions may be under way: one slow proof, or one tenant, must not take what the
//! others need.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use tokio::sync::oneshot;

use super::{EntitlementError, Resolution, Resolved};
use crate::domain::digest::Sha256Digest;
use crate::domain::tenant::TenantId;
use crate::runtime::Standing;

/// Most of everything that one actor holds. Who waits keeps a place in the mailbox, and answers from memory need places
/// too, so `waiting` is well below the mailbox's capacity.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests that wait at once.
    pub waiting: usize,
    /// Of them, those of one tenant.
    pub waiting_of_tenant: usize,
    /// Of them, those for one proof.
    pub waiting_for_proof: usize,
    /// Introspections at once.
    pub introspections: usize,
    /// Of them, those of one tenant.
    pub introspections_of_tenant: usize,
}

impl Bounds {
    /// For a mailbox of this capacity: half of it may wait, a quarter for one tenant or one proof.
    pub fn of_mailbox(capacity: usize) -> Self {
        Self {
            waiting: (capacity / 2).max(1),
            waiting_of_tenant: (capacity / 4).max(1),
            waiting_for_proof: (capacity / 4).max(1),
            introspections: 64,
            introspections_of_tenant: 32,
        }
    }
}

type Answer = Result<Resolution, EntitlementError>;

/// How many there are of each kind; a kind of which there are none takes no room.
#[derive(Debug)]
struct Counts<K>(HashMap<K, usize>);

impl<K: Hash + Eq + Clone> Counts<K> {
    fn of(&self, kind: &K) -> usize {
        self.0.get(kind).copied().unwrap_or(0)
    }

    fn add(&mut self, kind: &K) {
        *self.0.entry(kind.clone()).or_default() += 1;
    }

    fn remove(&mut self, kind: &K) {
        if let Some(count) = self.0.get_mut(kind) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(kind);
            }
        }
    }
}

/// Who waits for which proof.
#[derive(Debug)]
pub(super) struct Waiting {
    bounds: Bounds,
    for_proof: HashMap<Sha256Digest, Vec<(TenantId, oneshot::Sender<Answer>)>>,
    of_tenant: Counts<TenantId>,
    all: usize,
}

/// Whether one more may wait.
#[derive(Debug)]
pub(super) enum Joined {
    /// The first for this proof: find out.
    Leads(oneshot::Receiver<Answer>),
    /// Others are waiting for it already.
    Follows(oneshot::Receiver<Answer>),
    /// Too many wait.
    Full,
}

impl Waiting {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            for_proof: HashMap::new(),
            of_tenant: Counts(HashMap::new()),
            all: 0,
        }
    }

    pub(super) fn join(&mut self, digest: Sha256Digest, tenant: &TenantId) -> Joined {
        let for_proof = self.for_proof.get(&digest).map_or(0, Vec::len);
        if self.all >= self.bounds.waiting
            || self.of_tenant.of(tenant) >= self.bounds.waiting_of_tenant
            || for_proof >= self.bounds.waiting_for_proof
        {
            return Joined::Full;
        }
        let (sender, receiver) = oneshot::channel();
        let waiters = self.for_proof.entry(digest).or_default();
        waiters.push((tenant.clone(), sender));
        self.all += 1;
        self.of_tenant.add(tenant);
        if for_proof == 0 {
            Joined::Leads(receiver)
        } else {
            Joined::Follows(receiver)
        }
    }

    /// Answers everyone who waits for this proof.
    pub(super) fn answer(&mut self, digest: &Sha256Digest, resolved: &Resolved) {
        let answer = resolved.clone().map(|facts| Resolution {
            facts,
            standing: Standing::once(),
        });
        for (tenant, waiter) in self.for_proof.remove(digest).unwrap_or_default() {
            self.all = self.all.saturating_sub(1);
            self.of_tenant.remove(&tenant);
            // A waiter that has gone needs no answer.
            drop(waiter.send(answer.clone()));
        }
    }

    /// Gives up on everyone.
    pub(super) fn abandon(&mut self) {
        *self = Self::new(self.bounds);
    }
}

/// Work that may run now, and work that has to wait for its turn, in order. The queue is as bounded as [`Waiting`]:
/// someone waits, or waited, for each entry.
#[derive(Debug)]
pub(super) struct Slots<W> {
    bounds: Bounds,
    running: usize,
    of_tenant: Counts<TenantId>,
    queue: VecDeque<(TenantId, W)>,
}

impl<W> Slots<W> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            running: 0,
            of_tenant: Counts(HashMap::new()),
            queue: VecDeque::new(),
        }
    }

    /// Gives the work back when it may run now; else keeps it.
    pub(super) fn enter(&mut self, tenant: &TenantId, work: W) -> Option<W> {
        if self.has_room_for(tenant) {
            self.begin(tenant);
            Some(work)
        } else {
            self.queue.push_back((tenant.clone(), work));
            None
        }
    }

    /// Ends one piece of work of this tenant, and gives the next that may run now.
    pub(super) fn leave(&mut self, tenant: &TenantId) -> Option<W> {
        self.running = self.running.saturating_sub(1);
        self.of_tenant.remove(tenant);
        let next = self
            .queue
            .iter()
            .position(|(tenant, _)| self.has_room_for(tenant))?;
        let (tenant, work) = self.queue.remove(next)?;
        self.begin(&tenant);
        Some(work)
    }

    fn has_room_for(&self, tenant: &TenantId) -> bool {
        self.running < self.bounds.introspections
            && self.of_tenant.of(tenant) < self.bounds.introspections_of_tenant
    }

    fn begin(&mut self, tenant: &TenantId) {
        self.running += 1;
        self.of_tenant.add(tenant);
    }

    /// Forgets what runs and what waits.
    pub(super) fn abandon(&mut self) {
        *self = Self::new(self.bounds);
    }
}
