//! Refusals of strangers in the audit trail: at a bounded rate for all of them together, and never waited for.
//!
//! Anyone can be refused without end, so what that costs is fixed here: some arithmetic on two counters for each of them,
//! and a record for as many as the rate allows. The next record says how many were left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::error::Stage;
use super::services::Services;
use crate::audit::{Append, Durability};
use crate::domain::audit::{AuditRecord, SCHEMA_VERSION, StrangerRefusal};
use crate::domain::caller::Scope;
use crate::domain::code::Code;
use crate::domain::ids::{AuditId, CorrelationId};
use crate::runtime::{AskError, Deadline};

/// How long an append is looked after. Nobody waits for it; long after a trail that hangs is found out.
const LOOK_AFTER: Duration = Duration::from_secs(60);

/// A rate over all workers of this replica, and what it left out.
///
/// The rate is that of a token bucket, kept as the one instant at which the bucket would be full again (the generic cell
/// rate algorithm, ITU-T I.371), so that workers share it without waiting for one another.
#[derive(Clone, Debug)]
pub struct StrangerRate(Arc<Rate>);

#[derive(Debug)]
struct Rate {
    /// Nanoseconds that one record costs.
    interval: u64,
    /// Nanoseconds that may be owed at once.
    burst: u64,
    /// When nothing is owed any more, in nanoseconds of the monotonic clock.
    full: AtomicU64,
    left_out: AtomicU64,
}

impl StrangerRate {
    /// So many records a second, and so many at once after a while without any; at least one each.
    pub fn new(qps: u32, burst: u32) -> Self {
        let interval = 1_000_000_000 / u64::from(qps.max(1));
        Self(Arc::new(Rate {
            interval,
            burst: interval.saturating_mul(u64::from(burst.max(1))),
            full: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        }))
    }

    /// Takes one record's worth, if there is one.
    fn admits(&self, now: Duration) -> bool {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let take = |full: u64| {
            let next = full.max(now).saturating_add(self.0.interval);
            (next.saturating_sub(now) <= self.0.burst).then_some(next)
        };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.0.full.fetch_update(set, fetch, take).is_ok()
    }

    fn leave_out(&self, count: u64) {
        self.0.left_out.fetch_add(count, Ordering::Relaxed);
    }

    /// Refusals that were left out since this was last asked.
    pub fn take_left_out(&self) -> u64 {
        self.0.left_out.swap(0, Ordering::Relaxed)
    }
}

/// Has it recorded that someone unauthenticated was refused, if the rate allows it and the trail takes records. Waits for
/// nothing. Must be called on an arbiter.
pub fn note_stranger(
    services: &Services,
    correlation: &CorrelationId,
    scope: Scope,
    stage: Stage,
    code: Code,
) {
    // To be asked for a nonce is a step of the protocol (RFC 9449 §8), and no refusal.
    if code == Code::UseDpopNonce {
        return;
    }
    let strangers = services.strangers.clone();
    let takes_records = *services.audit_healthy.borrow() && !services.audit_stalls();
    if !takes_records || !strangers.admits(services.clock.monotonic()) {
        strangers.leave_out(1);
        services.observer.stranger_refused(false);
        return;
    }
    let left_out = strangers.take_left_out();
    let record = AuditRecord::StrangerRefusal(Box::new(StrangerRefusal {
        schema: SCHEMA_VERSION,
        audit_id: AuditId(services.ids.uuid()),
        correlation_id: correlation.as_generated().map(str::to_owned),
        time: services.clock.now(),
        scope: scope.as_str().to_owned(),
        stage: stage.as_str().to_owned(),
        code: code.as_str().to_owned(),
        left_out,
    }));
    let append = Append {
        record,
        durability: Durability::InOrder,
        after: None,
    };
    let (audit, observer) = (services.audit.clone(), Arc::clone(&services.observer));
    actix::spawn(async move {
        // What is late has been posted, and is written if anything is.
        let recorded = matches!(
            audit.ask(append, Deadline::after(LOOK_AFTER)).await,
            Ok(Ok(_)) | Err(AskError::Deadline)
        );
        if !recorded {
            strangers.leave_out(left_out.saturating_add(1));
        }
        observer.stranger_refused(recorded);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_a_bucket() {
        let rate = StrangerRate::new(2, 3);
        let at = Duration::from_millis;
        let admitted = |now, of: usize| (0..of).filter(|_| rate.admits(now)).count();
        // The burst, whatever the clock says.
        assert_eq!(admitted(at(10_000), 10), 3);
        assert_eq!(admitted(at(10_499), 10), 0);
        // One for each half second.
        assert_eq!(admitted(at(10_500), 10), 1);
        assert_eq!(admitted(at(11_500), 10), 2);
        // No more than the burst, however long nothing came.
        assert_eq!(admitted(at(99_000), 10), 3);
        // A clock that another worker has read later.
        assert_eq!(admitted(at(98_000), 10), 0);
    }

    #[test]
    fn what_was_left_out_is_told_once() {
        let rate = StrangerRate::new(1, 1);
        rate.leave_out(2);
        rate.leave_out(3);
        assert_eq!((rate.take_left_out(), rate.take_left_out()), (5, 0));
    }
}
