//! Whether a neighbour is asked at all: one that is of no use is left alone for a time that grows, so that nobody waits for
//! it in vain and it is not kept from recovering. Pure: the clock and chance come in. What counts as a failure is the
//! actor's to say.

use std::time::Duration;

/// When a neighbour is left alone, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CircuitPolicy {
    /// Failures in a row; at least 1.
    pub failures: u32,
    /// How long the first time.
    pub first: Duration,
    /// Each time doubles, up to this.
    pub longest: Duration,
}

/// What hangs on a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Nothing but its answer.
    Free,
    /// Whether the breaker closes.
    Probe,
}

/// How often a breaker that is to open has opened since it was last closed, without the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        until: Duration,
        again: u32,
    },
    /// One question is under way to see.
    HalfOpen {
        again: u32,
    },
}

/// One neighbour's circuit breaker. Times are those of [`Clock::monotonic`](crate::ports::Clock::monotonic).
#[derive(Debug)]
pub struct Breaker {
    policy: CircuitPolicy,
    state: State,
}

impl Breaker {
    /// A closed one.
    pub fn new(policy: CircuitPolicy) -> Self {
        let state = State::Closed { failures: 0 };
        Self { policy, state }
    }

    /// True while questions are refused, but for the one that is to see.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Until when nobody may ask; `None`: it is closed. While one question is under way to see, nobody knows:
    /// [`Duration::MAX`].
    pub fn refuses_until(&self) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => Some(until),
            State::HalfOpen { .. } => Some(Duration::MAX),
        }
    }

    /// How long until the neighbour may be asked; `None`: now. While one question is under way to see, the first pause.
    pub fn wait(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => until.checked_sub(now).filter(|left| !left.is_zero()),
            State::HalfOpen { .. } => Some(self.policy.first),
        }
    }

    /// For how long the next question has been the one that the breaker hangs on; `None`: it is not.
    pub fn due_for(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Open { until, .. } => now.checked_sub(until),
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Takes leave to ask. Whoever is left alone says [`told`](Self::told), [`close`](Self::close),
    /// [`failed`](Self::failed) or [`give_back`](Self::give_back) of a probe: until then nobody else may ask.
    ///
    /// # Errors
    /// How long the neighbour is left alone.
    pub fn ask(&mut self, now: Duration) -> Result<Leave, Duration> {
        if let Some(wait) = self.wait(now) {
            return Err(wait);
        }
        Ok(match self.state {
            State::Open { again, .. } => {
                self.state = State::HalfOpen { again };
                Leave::Probe
            }
            State::Closed { .. } | State::HalfOpen { .. } => Leave::Free,
        })
    }

    /// What became of a question, where nothing else has a say in it. `chance`: as in [`open`](Self::open).
    pub fn told(&mut self, good: bool, leave: Leave, now: Duration, chance: f64) {
        if good {
            self.close();
        } else if let Some(again) = self.failed(leave) {
            self.open(again, now, chance);
        }
    }

    /// The neighbour is there. Also after a panic: what was under way may never report back, so it is closed until the
    /// neighbour is seen to fail again.
    pub fn close(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// Counts a failure. `Some`: it is enough to [`open`](Self::open).
    pub fn failed(&mut self, leave: Leave) -> Option<Again> {
        match self.state {
            State::Closed { failures } => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                (failures >= self.policy.failures).then_some(Again(0))
            }
            State::HalfOpen { again } if leave == Leave::Probe => Some(Again(again.saturating_add(1))),
            // One that began before it opened: nothing new.
            State::HalfOpen { .. } | State::Open { .. } => None,
        }
    }

    /// Leaves the neighbour alone. `chance` is from 0 to just under 1: up to a quarter of the pause less, so that replicas
    /// do not come back together.
    pub fn open(&mut self, again: Again, now: Duration, chance: f64) {
        let Again(again) = again;
        let doubled = self.policy.first.saturating_mul(1 << again.min(16));
        let pause = doubled.min(self.policy.longest);
        let until = now.saturating_add(pause.saturating_sub((pause / 4).mul_f64(chance)));
        self.state = State::Open { until, again };
    }

    /// A probe has seen nothing: the next question may.
    pub fn give_back(&mut self, now: Duration) {
        if let State::HalfOpen { again } = self.state {
            self.state = State::Open { until: now, again };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);
    const POLICY: CircuitPolicy = CircuitPolicy {
        failures: 2,
        first: S,
        longest: Duration::from_secs(4),
    };

    #[test]
    fn it_opens_after_failures_in_a_row_and_longer_each_time() {
        let mut breaker = Breaker::new(POLICY);
        breaker.told(false, Leave::Free, S, 0.0);
        breaker.told(true, Leave::Free, S, 0.0);
        breaker.told(false, Leave::Free, S, 0.0);
        assert_eq!(breaker.ask(S), Ok(Leave::Free), "not in a row");
        breaker.told(false, Leave::Free, S, 0.0);
        let mut now = S;
        for pause in [1, 2, 4, 4] {
            assert_eq!(breaker.refuses_until(), Some(now + pause * S));
            let just_before = Duration::from_millis(1);
            assert_eq!(breaker.ask(now + pause * S - just_before), Err(just_before));
            now += pause * S;
            assert_eq!(breaker.ask(now), Ok(Leave::Probe));
            assert_eq!(breaker.ask(now), Err(S), "one is enough to see");
            breaker.told(false, Leave::Free, now, 0.0);
            let until = breaker.refuses_until();
            assert_eq!(until, Some(Duration::MAX), "an old question says nothing new");
            breaker.told(false, Leave::Probe, now, 0.0);
        }
        now += 4 * S;
        assert_eq!(breaker.ask(now), Ok(Leave::Probe));
        breaker.told(true, Leave::Probe, now, 0.0);
        assert_eq!(
            (breaker.refuses_until(), breaker.ask(now)),
            (None, Ok(Leave::Free))
        );
    }

    #[test]
    fn chance_shortens_a_pause_by_a_quarter_at_most() {
        for (chance, millis) in [(0.0, 1000), (0.5, 875), (0.999_999, 750)] {
            let mut breaker = Breaker::new(POLICY);
            breaker.told(false, Leave::Free, Duration::ZERO, chance);
            breaker.told(false, Leave::Free, Duration::ZERO, chance);
            let until = breaker.refuses_until().expect("open");
            let off = until.abs_diff(Duration::from_millis(millis));
            assert!(off < Duration::from_millis(1), "{until:?}");
        }
    }

    #[test]
    fn what_is_enough_to_open_need_not() {
        let mut breaker = Breaker::new(POLICY);
        assert_eq!(breaker.failed(Leave::Free), None);
        assert_eq!(breaker.failed(Leave::Free), Some(Again(0)));
        assert!(!breaker.is_open());
        assert_eq!(
            breaker.failed(Leave::Free),
            Some(Again(0)),
            "and every one from there on"
        );
        breaker.open(Again(0), S, 0.0);
        assert_eq!(breaker.failed(Leave::Free), None);
        assert_eq!(breaker.ask(2 * S), Ok(Leave::Probe));
        assert_eq!(breaker.failed(Leave::Probe), Some(Again(1)));
    }

    #[test]
    fn a_probe_that_saw_nothing_makes_room_for_the_next() {
        let mut breaker = Breaker::new(POLICY);
        breaker.open(Again(1), S, 0.0);
        breaker.give_back(S);
        assert_eq!(breaker.wait(S), Some(2 * S), "there was none");
        assert_eq!(breaker.ask(3 * S), Ok(Leave::Probe));
        breaker.give_back(4 * S);
        assert!(breaker.is_open());
        assert_eq!(breaker.ask(4 * S), Ok(Leave::Probe));
        breaker.close();
        assert_eq!(breaker.ask(4 * S), Ok(Leave::Free));
    }

    proptest! {
        /// It is never open for longer than the longest pause, one probe is out at most, and whoever is refused while no
        /// probe is out may ask when the wait is over.
        #[test]
        fn it_is_never_stuck(steps in prop::collection::vec((any::<bool>(), 0..3000_u64, 0.0..1.0), 1..200)) {
            let mut breaker = Breaker::new(POLICY);
            let mut now = Duration::ZERO;
            let mut probing = false;
            for (good, millis, chance) in steps {
                now += Duration::from_millis(millis);
                match breaker.ask(now) {
                    Ok(Leave::Free) => breaker.told(good, Leave::Free, now, chance),
                    Ok(Leave::Probe) => {
                        prop_assert!(!probing, "two probes");
                        probing = true;
                    }
                    Err(wait) => prop_assert!(wait <= POLICY.longest && breaker.is_open()),
                }
                if probing && millis % 2 == 0 {
                    probing = false;
                    breaker.told(good, Leave::Probe, now, chance);
                    prop_assert_eq!(breaker.is_open(), !good);
                }
            }
            if probing {
                breaker.give_back(now);
            }
            prop_assert!(breaker.ask(now + POLICY.longest).is_ok());
        }
    }
}
