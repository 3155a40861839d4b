//! The time by which answers are forgotten.

use std::sync::Arc;
use std::time::Duration;

use signer_actors::ports::Clock;

/// Wall time that never goes back, also not over a restart: a clock that is put back revives nothing, and what is kept
/// meanwhile still ends. It goes on with the monotonic clock, and follows the wall clock forward.
#[derive(Debug)]
pub(super) struct Time {
    clock: Arc<dyn Clock>,
    /// In ms since 1970.
    base: u64,
    /// The monotonic clock's reading then.
    at: Duration,
}

impl Time {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            base: 0,
            at: clock.monotonic(),
            clock,
        }
    }

    /// In ms.
    pub(super) fn now(&mut self) -> u64 {
        let monotonic = self.clock.monotonic();
        let elapsed = monotonic.saturating_sub(self.at).as_millis();
        let own = self
            .base
            .saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX));
        let wall = u64::try_from(self.clock.now().timestamp_millis()).unwrap_or(0);
        if wall > own {
            (self.base, self.at) = (wall, monotonic);
        }
        own.max(wall)
    }

    /// It is no earlier than this, as an earlier process has seen.
    pub(super) fn at_least(&mut self, seen: u64) {
        if self.now() < seen {
            (self.base, self.at) = (seen, self.clock.monotonic());
        }
    }
}

#[cfg(test)]
mod tests {
    use signer_actors::testing::FakeClock;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn time_goes_on_whatever_the_wall_clock_does() {
        let clock = FakeClock::default();
        let mut time = Time::new(Arc::new(clock.clone()));
        let start = time.now();
        assert_eq!(start, 1_790_812_800_000, "2026-10-01");
        clock.set_back(HOUR);
        assert_eq!(time.now(), start);
        clock.advance(HOUR / 2);
        assert_eq!(time.now(), start + 1_800_000, "by the monotonic clock");
        clock.jump(2 * HOUR);
        assert_eq!(time.now(), start + 5_400_000, "forward with the wall clock");
        time.at_least(start);
        assert_eq!(time.now(), start + 5_400_000);
        time.at_least(start + 9_000_000);
        assert_eq!(time.now(), start + 9_000_000);
        clock.advance(HOUR / 2);
        assert_eq!(time.now(), start + 10_800_000);
    }
}
