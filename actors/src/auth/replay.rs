//! Spent proofs, exact and bounded. Pure: time comes in.
//!
//! An id is forgotten when neither clock could let its proof be accepted any more: the monotonic one, because the wall
//! clock may have jumped ahead and come back; and the wall clock, because it may have stepped back. What was forgotten
//! leaves a watermark: a proof that is no younger is refused, as nobody knows whether it was spent (ADR 0009). So no
//! sequence of clock steps lets a proof be used twice; while the clock is steady, the watermark lies behind what is
//! accepted anyway.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::caller::VerifiedProof;
use crate::domain::tenant::TenantId;

/// One tenant may hold this fraction of the store (contract §3).
pub const TENANT_FRACTION: usize = 8;
/// How far a proof's `iat` may lie ahead of our clock, in seconds (contract §3).
const MAX_AHEAD: u64 = 30;
/// Ids forgotten in passing by one that is recorded: more than one, so that none pile up; few, so that none waits long.
const FORGET_AT_ONCE: usize = 16;
/// Most ids in one allocation: the store grows without copying what it holds.
const CHUNK: usize = 1024;

/// Why a proof cannot be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// It was spent before.
    Spent,
    /// No room; evicting an id would let it be used again (RFC 9449 §11.1), so the newcomer is refused.
    Full,
    /// It was made before this store was, which therefore cannot know whether it was spent: a nonce would tell.
    OlderThanStore,
    /// It is no younger than an id that was forgotten: the service's clock went back since. A nonce would not tell: nonces
    /// follow the same clock, and one from the first time that it showed this minute is good again.
    Forgotten,
}

/// Both clocks at one moment (see [`crate::ports::Clock`]).
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Wall time.
    pub wall: DateTime<Utc>,
    /// Time that never goes back.
    pub monotonic: Duration,
}

/// Half of a replay id. 128 bits are enough for what a collision does here: it refuses, and only who can find one is hit.
type ShortId = [u8; 16];

/// A spent proof: 24 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: ShortId,
    /// The second of the wall clock from which the proof is too old to be accepted; `u32::MAX` (in 2106): never.
    expiry: u32,
    /// Its tenant's slot.
    tenant: u32,
}

/// Ids recorded in the same second.
#[derive(Debug)]
struct Batch {
    /// The second of the monotonic clock from which they may be forgotten.
    until: u64,
    entries: Vec<Entry>,
}

/// The ids of spent proofs until none of them could be accepted any more.
#[derive(Debug)]
pub struct ReplayTable {
    capacity: usize,
    born: i64,
    spent: HashSet<ShortId>,
    /// In the order in which they were recorded.
    batches: VecDeque<Batch>,
    /// Those whose monotonic time has passed but not the wall time, by their expiry. Empty while the clock is steady.
    late: BTreeMap<u32, Vec<Entry>>,
    tenants: Tenants,
    /// The latest expiry of an id that was forgotten: what expires no later may have been spent.
    forgotten: i64,
}

impl ReplayTable {
    /// Empty, for at most `capacity` ids.
    pub fn new(capacity: usize, born: DateTime<Utc>) -> Self {
        Self {
            capacity,
            born: born.timestamp(),
            spent: HashSet::new(),
            batches: VecDeque::new(),
            late: BTreeMap::new(),
            tenants: Tenants::default(),
            forgotten: i64::MIN,
        }
    }

    /// Spends a proof, once. `window` is how long after its `iat` a proof is accepted. `ahead` is how far, in seconds, `iat`
    /// may lie ahead of our clock: so much later than the store's birth a proof must say it was made to be surely
    /// younger than the store.
    pub fn spend(
        &mut self,
        tenant: &TenantId,
        proof: &VerifiedProof,
        window: Duration,
        ahead: i64,
        now: Moment,
    ) -> Result<(), ReplayError> {
        self.forget(now, FORGET_AT_ONCE);
        let id = short(proof);
        if self.spent.contains(&id) {
            return Err(ReplayError::Spent);
        }
        let issued = proof.issued.timestamp();
        // The second after the last one in which a fraction of it could still be accepted.
        let expiry = issued.saturating_add_unsigned(window.as_secs()).saturating_add(1);
        if expiry <= self.forgotten {
            return Err(ReplayError::Forgotten);
        }
        if issued < self.born.saturating_add(ahead) && proof.nonce.is_none() {
            return Err(ReplayError::OlderThanStore);
        }
        if self.is_full_for(tenant) {
            self.forget(now, usize::MAX);
            if self.is_full_for(tenant) {
                return Err(ReplayError::Full);
            }
        }
        let entry = Entry {
            id,
            expiry: u32::try_from(expiry.max(0)).unwrap_or(u32::MAX),
            tenant: self.tenants.take(tenant),
        };
        self.spent.insert(id);
        self.remember(entry, window, now);
        Ok(())
    }

    /// Kept for the longest time for which any proof could be accepted, whatever this one says of its age: as long the
    /// wall clock may be wrong without a trace.
    fn remember(&mut self, entry: Entry, window: Duration, now: Moment) {
        let longest = window.as_secs().saturating_add(MAX_AHEAD).saturating_add(1);
        // A second more: this one has begun already.
        let until = now.monotonic.as_secs().saturating_add(longest).saturating_add(1);
        match self.batches.back_mut() {
            Some(batch) if batch.until == until && batch.entries.len() < CHUNK => batch.entries.push(entry),
            _ => self.batches.push_back(Batch {
                until,
                entries: vec![entry],
            }),
        }
    }

    fn is_full_for(&self, tenant: &TenantId) -> bool {
        let share = (self.capacity / TENANT_FRACTION).max(1);
        self.spent.len() >= self.capacity || self.tenants.held(tenant) >= share
    }

    /// Forgets what may be forgotten, looking at no more than so many ids.
    fn forget(&mut self, now: Moment, mut at_most: usize) {
        let wall = now.wall.timestamp();
        while let Some(batch) = self.batches.front_mut() {
            if at_most == 0 || now.monotonic.as_secs() < batch.until {
                break;
            }
            match batch.entries.pop() {
                Some(entry) if i64::from(entry.expiry) <= wall => self.forget_one(entry),
                Some(entry) => self.late.entry(entry.expiry).or_default().push(entry),
                None => drop(self.batches.pop_front()),
            }
            at_most -= 1;
        }
        while let Some(mut late) = self.late.first_entry() {
            if at_most == 0 || wall < i64::from(*late.key()) {
                break;
            }
            match late.get_mut().pop() {
                Some(entry) => self.forget_one(entry),
                None => drop(late.remove()),
            }
            at_most -= 1;
        }
    }

    fn forget_one(&mut self, entry: Entry) {
        self.spent.remove(&entry.id);
        self.tenants.give_back(entry.tenant);
        self.forgotten = self.forgotten.max(i64::from(entry.expiry));
    }

    /// Ids remembered.
    pub fn len(&self) -> usize {
        self.spent.len()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.spent.is_empty()
    }
}

fn short(proof: &VerifiedProof) -> ShortId {
    let (half, _) = proof.replay_id.0.split_first_chunk().unwrap_or((&[0; 16], &[]));
    *half
}

/// How many ids each tenant holds; those who hold none are not here.
#[derive(Debug, Default)]
struct Tenants {
    slot_of: HashMap<TenantId, u32>,
    slots: Vec<Option<(TenantId, usize)>>,
    free: Vec<u32>,
}

impl Tenants {
    fn held(&self, tenant: &TenantId) -> usize {
        let slot = self
            .slot_of
            .get(tenant)
            .and_then(|slot| self.slots.get(*slot as usize));
        slot.and_then(Option::as_ref).map_or(0, |(_, held)| *held)
    }

    /// Counts one more id; answers the slot that gives it back.
    fn take(&mut self, tenant: &TenantId) -> u32 {
        if let Some(slot) = self.slot_of.get(tenant).copied() {
            if let Some(Some((_, held))) = self.slots.get_mut(slot as usize) {
                *held += 1;
            }
            return slot;
        }
        let holder = Some((tenant.clone(), 1));
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(free) = self.slots.get_mut(slot as usize) {
                    *free = holder;
                }
                slot
            }
            None => {
                self.slots.push(holder);
                // Never more than there are ids (at most 100 million).
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.slot_of.insert(tenant.clone(), slot);
        slot
    }

    fn give_back(&mut self, slot: u32) {
        let Some(holder) = self.slots.get_mut(slot as usize) else {
            return;
        };
        match holder {
            Some((_, held)) if *held > 1 => *held -= 1,
            _ => {
                if let Some((tenant, _)) = holder.take() {
                    self.slot_of.remove(&tenant);
                    self.free.push(slot);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
