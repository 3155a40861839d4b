//! State that replicas share: spent proofs and quotas. Absent when a service is alone; then its actors keep both
//! themselves.
//!
//! Contract of both stores: what they decide is atomic and by *their* clock, not by a replica's; an answer that does
//! not come may mean either that nothing happened or that it did; both answer within a short time of their own, at
//! once while they are known to be down.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::PortFuture;
use crate::domain::digest::Sha256Digest;
use crate::domain::plan::PlanLimits;
use crate::domain::tenant::TenantId;

/// The shared state could not be asked, or gave no usable answer. The text is for the log, never for callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StateUnavailable(pub String);

/// Names one uninterrupted memory of the shared state: another one after everything was lost, and after any restart or
/// failover, which may have lost the last writes. Clones share it: the store sets it with each answer, nonces carry it.
///
/// A nonce that carries the store's epoch was made after that memory began, whatever any clock says. So a proof with it
/// cannot have been spent before.
#[derive(Clone, Debug, Default)]
pub struct StoreEpoch(Arc<AtomicU64>);

impl StoreEpoch {
    /// The epoch last seen; 0 before the first answer, and then no nonce is good for anything.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes the epoch of an answer.
    pub fn set(&self, epoch: u64) {
        self.0.store(epoch, Ordering::Relaxed);
    }
}

/// A proof to be spent.
#[derive(Clone, Debug)]
pub struct Spend {
    /// The tenant of the verified token.
    pub tenant: TenantId,
    /// What identifies the proof.
    pub id: Sha256Digest,
    /// Its `iat`.
    pub issued: DateTime<Utc>,
    /// The asker's clock, by which `iat` was judged. A store whose own clock differs by more than clocks may refuses.
    pub now: DateTime<Utc>,
    /// How long after `iat` a proof could still be accepted.
    pub window: Duration,
    /// How far `iat` may lie ahead of the asker's clock; zero where proofs are taken at their word about their age.
    pub ahead: Duration,
    /// The [`StoreEpoch`] that the proof's nonce carries, if it has one.
    pub nonce_epoch: Option<u64>,
    /// Most ids of one tenant.
    pub most: usize,
}

/// What became of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// Spent now, for the first time.
    Recorded,
    /// Spent before.
    Replayed,
    /// Perhaps made before the store's memory began, so that the store cannot know.
    OlderThanStore,
    /// The tenant holds as many ids as it may; none is evicted.
    Full,
}

/// Ids of spent proofs, shared by replicas.
pub trait ReplayStore: Send + Sync + fmt::Debug {
    /// Spends a proof, once. One round trip.
    fn spend(&self, spend: Spend) -> PortFuture<Result<Spent, StateUnavailable>>;
}

/// Which of a tenant's shared rates is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SharedRate {
    /// Signatures.
    Sign,
    /// Dry runs.
    DryRun,
    /// Replays of kept answers.
    Replay,
    /// `verify/…` calls.
    Verify,
}

/// One unit of a tenant's concurrency in the shared store. Unique among all replicas and starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId {
    /// Who holds it: random, of one actor of one process.
    pub holder: u64,
    /// The holder's count.
    pub number: u64,
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.holder, self.number)
    }
}

/// Leases of several tenants.
pub type Leases = Vec<(TenantId, Vec<LeaseId>)>;

/// What a store says of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// True when a token was taken.
    pub taken: bool,
    /// What is missing from a full bucket, in millionths of a token.
    pub missing: u64,
}

/// What a store says of rate and concurrency together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The rate of signatures.
    pub rate: Rate,
    /// Leases held before this call.
    pub in_use: u32,
    /// True when the lease asked for is held now.
    pub leased: bool,
}

/// Quotas, shared by replicas. Limits come with each call, so that a change of plan counts at once.
pub trait QuotaStore: Send + Sync + fmt::Debug {
    /// Takes a token of [`SharedRate::Sign`]; then, if `lease` is given and the plan's concurrency allows, takes the
    /// lease. One round trip. Unavailable also while leases that a lost memory knew of may still be held.
    fn admit(
        &self,
        tenant: TenantId,
        limits: PlanLimits,
        lease: Option<LeaseId>,
    ) -> PortFuture<Result<Standing, StateUnavailable>>;

    /// Whether [`Self::admit`] would do so now; changes nothing.
    fn look(&self, tenant: TenantId, limits: PlanLimits) -> PortFuture<Result<Standing, StateUnavailable>>;

    /// Takes a token of a rate.
    fn charge(
        &self,
        tenant: TenantId,
        limits: PlanLimits,
        rate: SharedRate,
    ) -> PortFuture<Result<Rate, StateUnavailable>>;

    /// Makes leases live for another [`Self::lease_life`]. One that the store no longer has is taken anew, whatever
    /// the limit: its work is running and has to be counted. Answers how many these were. One round trip for all.
    fn renew(&self, leases: Leases) -> PortFuture<Result<u64, StateUnavailable>>;

    /// Gives leases back. One round trip for all; giving back twice, or what was never taken, does no harm.
    fn release(&self, leases: Leases) -> PortFuture<Result<(), StateUnavailable>>;

    /// How long a lease lives unless it is renewed.
    fn lease_life(&self) -> Duration;
}
