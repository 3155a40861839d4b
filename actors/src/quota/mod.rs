//! QuotaActor: what a tenant may still use. One mailbox per shard of tenants, so that counts are exact without a lock.
//!
//! A service that is alone keeps the counts here. Replicas that share a plan ask a [`QuotaStore`] (`shared`).

mod bucket;
mod error;
mod leases;
mod messages;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use bucket::{Bucket, RateStatus};
pub use error::QuotaError;
pub use messages::{Admission, Admit, Charge, Lane, Look};

use crate::domain::plan::PlanLimits;
use crate::domain::tenant::TenantId;
use crate::evidence::Permit;
use crate::ports::{Clock, Observer, QuotaStore};
use crate::runtime::{ActorState, Cx, Reply, Serve};
use shared::{Shared, shared_rate};

/// Tenants above this number make the actor look for idle ones to forget.
const SWEEP_ABOVE: usize = 10_000;

#[derive(Debug, Default)]
struct Tenant {
    sign: Bucket,
    dry_run: Bucket,
    replay: Bucket,
    verify: Bucket,
    refusals: Bucket,
    /// Every permit out holds a clone; so the count is exact, and a permit that is dropped is given back at once.
    seats: Arc<()>,
}

impl Tenant {
    fn in_use(&self) -> usize {
        Arc::strong_count(&self.seats) - 1
    }

    fn is_idle(&self, now: Duration) -> bool {
        self.in_use() == 0
            && [
                &self.sign,
                &self.dry_run,
                &self.replay,
                &self.verify,
                &self.refusals,
            ]
            .iter()
            .all(|bucket| bucket.is_full(now))
    }
}

/// State of one shard.
#[derive(Debug)]
pub struct Quota {
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    tenants: HashMap<TenantId, Tenant>,
    sweep_at: usize,
    /// Where replicas keep their counts together; then only refusals are counted in `tenants`.
    shared: Option<Shared>,
}

impl Quota {
    /// A shard without tenants.
    pub fn new(clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Self {
        Self {
            clock,
            observer,
            tenants: HashMap::new(),
            sweep_at: SWEEP_ABOVE,
            shared: None,
        }
    }

    /// A shard whose counts are in a store that replicas share. `holder` names it there: unlike any other shard's of any
    /// process, now or before.
    pub fn shared(
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        store: Arc<dyn QuotaStore>,
        holder: u64,
    ) -> Self {
        Self {
            shared: Some(Shared::new(store, holder)),
            ..Self::new(clock, observer)
        }
    }

    /// Forgets tenants whose state equals that of a new one: full buckets, nothing in use.
    fn sweep(&mut self, now: Duration) {
        if self.tenants.len() < self.sweep_at {
            return;
        }
        self.tenants.retain(|_, tenant| !tenant.is_idle(now));
        self.sweep_at = self.tenants.len().saturating_mul(2).max(SWEEP_ABOVE);
    }

    fn tenant(&mut self, id: &TenantId, now: Duration) -> &mut Tenant {
        if !self.tenants.contains_key(id) {
            self.sweep(now);
        }
        self.tenants.entry(id.clone()).or_default()
    }
}

impl ActorState for Quota {
    const NAME: &'static str = "quota";

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        self.tend(cx);
    }

    fn gathers(&self) -> bool {
        self.shared.is_none()
    }

    fn recover(&mut self) {
        // Counts are kept: forgetting them would hand out every quota anew.
    }
}

/// Concurrency, then size (contract §2.6).
fn check_capacity(in_use: usize, limits: &PlanLimits, artifact_bytes: u64) -> Result<(), QuotaError> {
    if in_use >= limits.concurrency as usize {
        return Err(QuotaError::Concurrency {
            limit: limits.concurrency,
        });
    }
    if artifact_bytes > limits.max_artifact_bytes {
        return Err(QuotaError::Size {
            bytes: artifact_bytes,
            limit: limits.max_artifact_bytes,
        });
    }
    Ok(())
}

impl Serve<Admit> for Quota {
    fn serve(
        &mut self,
        ask: Admit,
        cx: &mut Cx<'_, Self>,
    ) -> Reply<(Option<RateStatus>, Result<Admission, QuotaError>)> {
        if self.shared.is_some() {
            return self.admit_shared(ask, cx);
        }
        let now = self.clock.monotonic();
        let tenant = self.tenant(&ask.tenant, now);
        let rate = tenant.sign.take(&ask.limits, now);
        let status = rate.status;
        let result = if rate.taken {
            check_capacity(tenant.in_use(), &ask.limits, ask.artifact_bytes).map(|()| Admission {
                // Erased, it is the same count.
                permit: Permit::new(Arc::<()>::clone(&tenant.seats)),
            })
        } else {
            Err(QuotaError::Rate { status })
        };
        if let Err(error) = &result {
            self.observer.throttled(error.kind());
        }
        Reply::Now((Some(status), result))
    }
}

impl Serve<Charge> for Quota {
    fn serve(&mut self, ask: Charge, cx: &mut Cx<'_, Self>) -> Reply<Result<RateStatus, QuotaError>> {
        if let Some(rate) = shared_rate(ask.lane).filter(|_| self.shared.is_some()) {
            return self.charge_shared(ask, rate, cx);
        }
        let now = self.clock.monotonic();
        let tenant = self.tenant(&ask.tenant, now);
        let bucket = match ask.lane {
            Lane::Sign => &mut tenant.sign,
            Lane::DryRun => &mut tenant.dry_run,
            Lane::Replay => &mut tenant.replay,
            Lane::Verify => &mut tenant.verify,
            Lane::Refusal => &mut tenant.refusals,
        };
        let rate = bucket.take(&ask.limits, now);
        if rate.taken {
            return Reply::Now(Ok(rate.status));
        }
        let error = QuotaError::Rate { status: rate.status };
        // A record that is left out refuses nobody.
        let kind = if ask.lane == Lane::Refusal {
            "refusal_record"
        } else {
            error.kind()
        };
        self.observer.throttled(kind);
        Reply::Now(Err(error))
    }
}

impl Serve<Look> for Quota {
    fn serve(&mut self, ask: Look, cx: &mut Cx<'_, Self>) -> Reply<Result<(), QuotaError>> {
        if self.shared.is_some() {
            return self.look_shared(ask, cx);
        }
        let now = self.clock.monotonic();
        let tenant = self.tenant(&ask.tenant, now);
        let status = tenant.sign.status(&ask.limits, now);
        if status.remaining == 0 {
            return Reply::Now(Err(QuotaError::Rate { status }));
        }
        Reply::Now(check_capacity(tenant.in_use(), &ask.limits, ask.artifact_bytes))
    }
}

#[cfg(test)]
mod tests;
