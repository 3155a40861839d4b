//! A token bucket in whole numbers. Pure: time comes in.

use std::time::Duration;

use crate::domain::plan::PlanLimits;

/// A token in nanoseconds-times-rate units: refilling at `qps` tokens a second adds `qps` units a nanosecond.
const TOKEN: u128 = 1_000_000_000;

/// How a rate stands, for the `RateLimit` fields (IETF httpapi ratelimit-headers draft).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateStatus {
    /// Tokens left (`r`).
    pub remaining: u32,
    /// Seconds until the next token if none is left, else until the bucket is full (`t`); at least 1 when limited.
    pub reset_seconds: u64,
    /// The bucket's size (`q`).
    pub burst: u32,
}

impl RateStatus {
    /// Of a bucket kept elsewhere, from what is missing from a full one in millionths of a token.
    pub fn of_missing(limits: &PlanLimits, millionths: u64) -> Self {
        let bucket = Bucket {
            missing: u128::from(millionths).saturating_mul(TOKEN / 1_000_000),
            ..Bucket::default()
        };
        bucket.status_now(limits)
    }
}

/// One charge.
#[derive(Clone, Copy, Debug)]
pub struct Charged {
    /// True when a token was taken.
    pub taken: bool,
    /// The rate afterwards.
    pub status: RateStatus,
}

/// A bucket that knows only what was taken from it: what limits apply is told with every charge, so that a change of
/// plan counts at once. What was taken stays taken when the plan changes.
#[derive(Debug, Default)]
pub struct Bucket {
    /// Units missing from a full bucket, as of `at`.
    missing: u128,
    at: Duration,
    qps: u32,
}

impl Bucket {
    fn refill(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.at).as_nanos();
        // What passed is credited at the rate that was in force.
        self.missing = self
            .missing
            .saturating_sub(elapsed.saturating_mul(u128::from(self.qps)));
        self.at = self.at.max(now);
    }

    /// Takes one token if there is one.
    pub fn take(&mut self, limits: &PlanLimits, now: Duration) -> Charged {
        self.refill(now);
        self.qps = limits.qps;
        let size = u128::from(limits.burst).saturating_mul(TOKEN);
        let taken = self.missing.saturating_add(TOKEN) <= size;
        if taken {
            self.missing += TOKEN;
        } else {
            // A smaller plan owes no more than its own bucket.
            self.missing = self.missing.min(size);
        }
        Charged {
            taken,
            status: self.status_now(limits),
        }
    }

    /// How the rate stands, without taking.
    pub fn status(&self, limits: &PlanLimits, now: Duration) -> RateStatus {
        let mut copy = Self {
            missing: self.missing,
            at: self.at,
            qps: self.qps,
        };
        copy.refill(now);
        copy.status_now(limits)
    }

    fn status_now(&self, limits: &PlanLimits) -> RateStatus {
        let size = u128::from(limits.burst).saturating_mul(TOKEN);
        let left = size.saturating_sub(self.missing);
        let remaining = u32::try_from(left / TOKEN).unwrap_or(u32::MAX);
        let units = if remaining == 0 {
            TOKEN.saturating_sub(left)
        } else {
            self.missing
        };
        let per_second = u128::from(limits.qps.max(1)).saturating_mul(TOKEN);
        let seconds = u64::try_from(units.div_ceil(per_second)).unwrap_or(u64::MAX);
        RateStatus {
            remaining,
            reset_seconds: seconds,
            burst: limits.burst,
        }
    }

    /// True when nothing is missing: no different from a new bucket.
    pub fn is_full(&self, now: Duration) -> bool {
        let elapsed = now.saturating_sub(self.at).as_nanos();
        self.missing <= elapsed.saturating_mul(u128::from(self.qps))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits(qps: u32, burst: u32) -> PlanLimits {
        PlanLimits {
            qps,
            burst,
            concurrency: 1,
            max_artifact_bytes: 1,
        }
    }

    #[test]
    fn burst_then_rate() {
        let (plan, mut bucket) = (limits(10, 3), Bucket::default());
        let t = Duration::from_millis;
        for _ in 0..3 {
            assert!(bucket.take(&plan, t(0)).taken);
        }
        let refused = bucket.take(&plan, t(99));
        assert!(!refused.taken);
        assert_eq!(
            refused.status,
            RateStatus {
                remaining: 0,
                reset_seconds: 1,
                burst: 3
            }
        );
        assert!(bucket.take(&plan, t(100)).taken, "one token every 100 ms");
        assert!(!bucket.take(&plan, t(100)).taken);
        assert!(bucket.is_full(t(500)) && !bucket.is_full(t(399)));
    }

    #[test]
    fn a_bucket_kept_elsewhere_is_told_alike() {
        let (plan, mut bucket) = (limits(10, 3), Bucket::default());
        for (micros, missing) in [(0, 1_000_000), (0, 2_000_000), (50_000, 2_500_000)] {
            let charged = bucket.take(&plan, Duration::from_micros(micros));
            assert!(charged.taken);
            assert_eq!(charged.status, RateStatus::of_missing(&plan, missing));
        }
        // Half a token is left, and more than a bucket can be missing after a change of plan.
        let refused = bucket.take(&plan, Duration::from_micros(50_000));
        assert_eq!(refused.status, RateStatus::of_missing(&plan, 2_500_000));
        assert_eq!(RateStatus::of_missing(&plan, 9_000_000).remaining, 0);
    }

    #[test]
    fn a_new_plan_counts_at_once() {
        let mut bucket = Bucket::default();
        for _ in 0..10 {
            assert!(bucket.take(&limits(1, 10), Duration::ZERO).taken);
        }
        assert!(!bucket.take(&limits(1, 10), Duration::ZERO).taken);
        assert!(
            bucket.take(&limits(1, 11), Duration::ZERO).taken,
            "a larger bucket"
        );
        assert!(!bucket.take(&limits(1, 2), Duration::ZERO).taken, "a smaller one");
    }

    proptest! {
        /// Against the definition: within any window of t seconds at most burst + qps·t tokens are taken.
        #[test]
        fn never_more_than_burst_and_rate(
            qps in 1u32..1000,
            burst in 1u32..100,
            steps in proptest::collection::vec(0u64..50_000_000, 1..300),
        ) {
            let (plan, mut bucket, mut now) = (limits(qps, burst), Bucket::default(), Duration::ZERO);
            let mut taken = 0u128;
            for step in steps {
                now += Duration::from_nanos(step);
                taken += u128::from(bucket.take(&plan, now).taken);
                let most = u128::from(burst) + now.as_nanos() * u128::from(qps) / TOKEN;
                prop_assert!(taken <= most, "{taken} > {most}");
            }
        }

        /// And no fewer: a caller who asks only when a token must be there is never refused.
        #[test]
        fn a_caller_inside_the_rate_is_never_refused(qps in 1u32..1000, count in 1u32..200) {
            let (plan, mut bucket) = (limits(qps, 1), Bucket::default());
            let gap = Duration::from_nanos(1_000_000_000u64.div_ceil(u64::from(qps)));
            for n in 0..count {
                prop_assert!(bucket.take(&plan, gap * n).taken);
            }
        }
    }
}
