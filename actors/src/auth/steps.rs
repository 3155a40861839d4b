//! Notices when the wall clock goes back. Pure: time comes in.

use std::time::Duration;

use chrono::TimeDelta;

use super::replay::Moment;

/// Steps back of less than this are not worth a line.
const NOTABLE: Duration = Duration::from_secs(1);
/// A clock that is being corrected slowly may lose up to 500 ppm (`adjtimex(2)`), and as much for the oscillator: so much
/// of the time since the last look is no step.
const SLEW: u32 = 1000;

/// Compares the wall clock with the monotonic one.
#[derive(Debug)]
pub(super) struct Steps {
    last: Moment,
}

impl Steps {
    /// From this moment on.
    pub(super) fn since(start: Moment) -> Self {
        Self { last: start }
    }

    /// How far the wall clock has gone back since the last look, if by more than a second.
    pub(super) fn back(&mut self, now: Moment) -> Option<Duration> {
        let last = std::mem::replace(&mut self.last, now);
        let elapsed = now.monotonic.saturating_sub(last.monotonic);
        let shown = now.wall - last.wall;
        let lost = TimeDelta::from_std(elapsed).ok()?.checked_sub(&shown)?;
        let lost = lost.to_std().ok()?;
        (lost > NOTABLE.saturating_add(elapsed / SLEW)).then_some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    #[test]
    fn only_steps_back_are_noticed() {
        let moment = |monotonic: u64, wall_millis: i64| Moment {
            wall: DateTime::from_timestamp_millis(1_000_000_000 + wall_millis).unwrap(),
            monotonic: Duration::from_secs(monotonic),
        };
        let mut steps = Steps::since(moment(0, 0));
        for (now, expected) in [
            (moment(10, 10_000), None),
            (moment(10, 9_001), None), // less than a second
            (moment(11, 10_001), None),
            (moment(12, 9_000), Some(2001)),
            (moment(13, 10_000), None),            // said once
            (moment(14, 3_611_000), None),         // ahead
            (moment(15, 12_000), Some(3_600_000)), // and back
            (moment(3615, 3_609_000), None),       // corrected slowly
            (moment(3615, 0), Some(3_609_000)),
            // While nobody looked: what the clock shows is later, and yet it went back.
            (moment(7215, 3_000_000), Some(600_000)),
        ] {
            let back = steps.back(now).map(|by| by.as_millis());
            assert_eq!(back, expected, "{now:?}");
        }
    }
}
