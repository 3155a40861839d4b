//! How many images that nobody knows a tenant may have looked up: callers choose the images, so without a bound one of
//! them could have the registry asked until it throttles everybody. Pure: time comes in.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::plan::PlanLimits;
use crate::domain::tenant::TenantId;
use crate::quota::Bucket;

/// Tenants above this number make it look for those to forget.
const SWEEP_ABOVE: usize = 10_000;

/// Lookups that a tenant may cause. One that is under way already costs those who wait for it nothing.
#[derive(Clone, Copy, Debug)]
pub struct LookupRate {
    /// A second; at least 1.
    pub qps: u32,
    /// At once after a pause; at least 1.
    pub burst: u32,
}

impl LookupRate {
    /// As a bucket takes it, which looks at the rate alone.
    fn limits(self) -> PlanLimits {
        PlanLimits {
            qps: self.qps.max(1),
            burst: self.burst.max(1),
            concurrency: u32::MAX,
            max_artifact_bytes: u64::MAX,
        }
    }
}

/// What is left to each tenant.
#[derive(Debug)]
pub(super) struct Lookups {
    limits: PlanLimits,
    tenants: HashMap<TenantId, Bucket>,
    sweep_at: usize,
}

impl Lookups {
    pub(super) fn new(rate: LookupRate) -> Self {
        Self {
            limits: rate.limits(),
            tenants: HashMap::new(),
            sweep_at: SWEEP_ABOVE,
        }
    }

    /// Takes one lookup from what is left to the tenant.
    ///
    /// # Errors
    /// Seconds until there is one again; at least 1.
    pub(super) fn take(&mut self, tenant: &TenantId, now: Duration) -> Result<(), u64> {
        if !self.tenants.contains_key(tenant) && self.tenants.len() >= self.sweep_at {
            // A full bucket is no different from none.
            self.tenants.retain(|_, bucket| !bucket.is_full(now));
            self.sweep_at = self.tenants.len().saturating_mul(2).max(SWEEP_ABOVE);
        }
        let bucket = self.tenants.entry(tenant.clone()).or_default();
        let charged = bucket.take(&self.limits, now);
        if charged.taken {
            Ok(())
        } else {
            Err(charged.status.reset_seconds.max(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::tenant;

    #[test]
    fn each_tenant_has_a_burst_and_a_rate_of_its_own() {
        let mut lookups = Lookups::new(LookupRate { qps: 2, burst: 3 });
        let at = Duration::from_millis;
        for _ in 0..3 {
            assert_eq!(lookups.take(&tenant("a"), at(0)), Ok(()));
        }
        assert_eq!(lookups.take(&tenant("a"), at(499)), Err(1));
        assert_eq!(lookups.take(&tenant("b"), at(499)), Ok(()));
        assert_eq!(lookups.take(&tenant("a"), at(500)), Ok(()));
        assert_eq!(lookups.take(&tenant("a"), at(500)), Err(1));
    }

    #[test]
    fn tenants_that_have_paused_are_forgotten() {
        let mut lookups = Lookups::new(LookupRate { qps: 1, burst: 1 });
        for n in 0..SWEEP_ABOVE {
            let who = tenant(&format!("t{n}"));
            assert_eq!(lookups.take(&who, Duration::from_secs(0)), Ok(()));
        }
        assert_eq!(lookups.take(&tenant("late"), Duration::from_secs(1)), Ok(()));
        assert_eq!(lookups.tenants.len(), 1);
        assert_eq!(lookups.take(&tenant("late"), Duration::from_secs(1)), Err(1));
    }
}
