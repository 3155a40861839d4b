//! Notices a wall clock that was set back, which would let an expired licence file live.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use signer_actors::ports::Clock;

/// How far the clock may fall behind what it must show at least. Corrections by NTP after a long time without it stay
/// below; against a file that lives for days, five minutes are nothing.
pub(super) const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// The latest time that was certain: from the licence file, the audit trail, and this clock itself as it went on.
#[derive(Debug)]
pub(super) struct ClockGuard {
    clock: Arc<dyn Clock>,
    /// Unix time in milliseconds.
    certain: AtomicI64,
    /// Most milliseconds that the wall clock was ever ahead of the monotonic one: from it follows what it must show now,
    /// so that a clock that is stopped is noticed, too.
    lead: AtomicI64,
}

impl ClockGuard {
    /// `last_record`: when the newest record of the audit trail was made.
    pub(super) fn new(clock: Arc<dyn Clock>, last_record: Option<DateTime<Utc>>) -> Self {
        let certain = last_record.map_or(0, |time| time.timestamp_millis());
        Self {
            clock,
            certain: AtomicI64::new(certain),
            lead: AtomicI64::new(i64::MIN),
        }
    }

    /// It is at least this late.
    pub(super) fn learn(&self, time: DateTime<Utc>) {
        self.certain.fetch_max(time.timestamp_millis(), Ordering::Relaxed);
    }

    /// The wall clock, or by how much it is behind what it must show.
    pub(super) fn now(&self) -> Result<DateTime<Utc>, TimeDelta> {
        let (wall, monotonic) = (self.clock.now(), millis(self.clock.monotonic()));
        let shown = wall.timestamp_millis();
        let ahead = shown.saturating_sub(monotonic);
        let lead = self.lead.fetch_max(ahead, Ordering::Relaxed).max(ahead);
        let least = lead
            .saturating_add(monotonic)
            .max(self.certain.load(Ordering::Relaxed));
        let behind = TimeDelta::milliseconds(least.saturating_sub(shown));
        if behind > TOLERANCE { Err(behind) } else { Ok(wall) }
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use signer_actors::testing::{FakeClock, NOW};

    use super::*;

    fn guard(last_record: Option<DateTime<Utc>>) -> (FakeClock, ClockGuard) {
        let clock = FakeClock::default();
        (clock.clone(), ClockGuard::new(Arc::new(clock), last_record))
    }

    fn minutes(n: u64) -> Duration {
        Duration::from_secs(60 * n)
    }

    #[test]
    fn a_clock_set_back_is_noticed_and_forgiven_once_it_has_caught_up() {
        let (clock, guard) = guard(None);
        assert_eq!(guard.now(), Ok(NOW()));
        clock.advance(minutes(60));
        clock.set_back(minutes(5));
        assert!(
            guard.now().is_ok(),
            "never seen later than at the start, and five minutes are allowed"
        );
        clock.set_back(Duration::from_millis(1));
        assert_eq!(
            guard.now(),
            Err(TimeDelta::minutes(5) + TimeDelta::milliseconds(1))
        );
        clock.advance(minutes(120));
        assert!(guard.now().is_err(), "time that passes makes no clock right");
        clock.jump(minutes(1));
        assert!(guard.now().is_ok());
    }

    #[test]
    fn file_and_trail_say_how_late_it_is_at_least() {
        for (ahead, good) in [(-60, true), (5, true), (6, false)] {
            let time = NOW() + TimeDelta::minutes(ahead);
            assert_eq!(guard(Some(time)).1.now().is_ok(), good, "trail {ahead}");
            let (_, guard) = guard(None);
            guard.learn(time);
            guard.learn(NOW() - TimeDelta::days(1));
            assert_eq!(guard.now().is_ok(), good, "file {ahead}");
        }
    }
}
