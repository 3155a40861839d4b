//! When an actor that is asked often rests, so that questions gather.
//!
//! A question that comes to a thread which sleeps wakes it, and its answer wakes the worker that asked: both cost more than
//! the answer. Where questions come one by one, faster than [`OFTEN`], each costs that anew. So the thread rests for
//! [`REST`] after a question that came alone, and answers those that came meanwhile one after the other: the workers go on
//! with several requests at once, whose code and data are at hand. An actor that is asked seldom never rests.
//!
//! Pure: it is told the time, and tells when.

use std::time::Duration;

use tokio::time::Instant;

/// How long a thread rests: what an answer may take longer, and far less than the audit trail's linger.
pub(super) const REST: Duration = Duration::from_micros(400);

/// More questions than this in a span, and the actor rests in the next one.
const OFTEN: u32 = 3;
/// What [`OFTEN`] counts.
const SPAN: Duration = Duration::from_millis(1);

/// The pace of one actor.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    asked: u32,
    often: bool,
    /// What gathered during a rest is being answered.
    gathered: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            asked: 0,
            often: false,
            gathered: false,
        }
    }

    /// Told of a question that has been answered. True: rest now, for others to come.
    pub(super) fn asked(&mut self, now: Instant) -> bool {
        let gone = now.duration_since(self.since);
        if gone > SPAN {
            // Spans without a question count, too.
            let spans = gone.as_nanos() / SPAN.as_nanos();
            self.often = u128::from(self.asked) > u128::from(OFTEN) * spans;
            (self.since, self.asked) = (now, 0);
        }
        self.asked = self.asked.saturating_add(1);
        let rests = self.often && !self.gathered;
        self.gathered |= rests;
        rests
    }

    /// Told that there is no further question.
    pub(super) fn done(&mut self) {
        self.gathered = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks in these microseconds; where it rested.
    fn rests(pace: &mut Pace, start: Instant, asked: &[u64]) -> Vec<u64> {
        let rested = |micros: &&u64| pace.asked(start + Duration::from_micros(**micros));
        asked.iter().filter(rested).copied().collect()
    }

    #[test]
    fn who_is_asked_seldom_never_rests() {
        let start = Instant::now();
        let thrice_a_millisecond: Vec<u64> = (0..3000).map(|n| n * 334).collect();
        assert!(rests(&mut Pace::new(start), start, &thrice_a_millisecond).is_empty());
        // A burst after a long silence is answered as fast as it comes.
        let burst: Vec<u64> = (0..100).map(|n| 1_000_000 + n).collect();
        assert!(rests(&mut Pace::new(start), start, &burst).is_empty());
    }

    #[test]
    fn who_is_asked_often_rests_once_for_what_gathers() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut millisecond = |from: u64| {
            let asked: Vec<u64> = (0..10).map(|n| from + n * 100).collect();
            rests(&mut pace, start, &asked)
        };
        assert!(millisecond(0).is_empty());
        assert_eq!(
            millisecond(1001),
            [1001],
            "once, until there is no further question"
        );
        assert!(millisecond(2002).is_empty());
        pace.done();
        assert_eq!(rests(&mut pace, start, &[2950, 2960]), [2950]);
        pace.done();
        // Forgotten after a pause.
        assert!(rests(&mut pace, start, &[9000, 9001]).is_empty());
    }
}
