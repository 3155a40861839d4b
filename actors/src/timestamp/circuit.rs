//! Whether the authority is asked at all: one that is of no use is left alone for a time that grows, so that nobody signs
//! and waits in vain. Pure: the clock and chance come in.
//!
//! Whatever the authority gets wrong counts, not only silence: callers choose nothing of what it is asked.

use std::time::Duration;

/// When the authority is left alone, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CircuitPolicy {
    /// Failures in a row; at least 1.
    pub failures: u32,
    /// How long the first time.
    pub first: Duration,
    /// Each time doubles, up to this.
    pub longest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        /// In a row.
        failures: u32,
    },
    Open {
        until: Duration,
        /// How often it has opened since it was last closed, without the first time.
        again: u32,
    },
    /// One question is under way to see.
    HalfOpen { again: u32 },
}

/// The authority's circuit.
#[derive(Debug)]
pub(super) struct Circuit {
    policy: CircuitPolicy,
    state: State,
}

impl Circuit {
    pub(super) fn new(policy: CircuitPolicy) -> Self {
        let state = State::Closed { failures: 0 };
        Self { policy, state }
    }

    /// Until when nobody may ask; `None`: it is closed. While one question is under way to see, nobody else knows.
    pub(super) fn refuses_until(&self) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => Some(until),
            State::HalfOpen { .. } => Some(Duration::MAX),
        }
    }

    /// For how long the next question has been the one that the circuit hangs on; `None`: it is not.
    pub(super) fn due_for(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Open { until, .. } => now.checked_sub(until),
            State::Closed { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// Takes leave to ask. `Some(true)`: whether the circuit closes hangs on it.
    pub(super) fn ask(&mut self, now: Duration) -> Option<bool> {
        match self.state {
            State::Closed { .. } => Some(false),
            State::Open { until, again } if until <= now => {
                self.state = State::HalfOpen { again };
                Some(true)
            }
            State::Open { .. } | State::HalfOpen { .. } => None,
        }
    }

    /// What became of a question. `chance` is from 0 to just under 1.
    pub(super) fn told(&mut self, good: bool, probe: bool, now: Duration, chance: f64) {
        if good {
            self.state = State::Closed { failures: 0 };
            return;
        }
        let again = match self.state {
            State::Closed { failures } => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                if failures < self.policy.failures {
                    return;
                }
                0
            }
            State::HalfOpen { again } if probe => again.saturating_add(1),
            // One that began before the circuit opened: nothing new.
            State::HalfOpen { .. } | State::Open { .. } => return,
        };
        let doubled = self.policy.first.saturating_mul(1 << again.min(16));
        let pause = doubled.min(self.policy.longest);
        // Up to a quarter less, so that replicas do not come back together.
        let until = now.saturating_add(pause.saturating_sub(pause.mul_f64(chance / 4.0)));
        self.state = State::Open { until, again };
    }

    /// What was under way may never report back: closed until it is seen to fail again.
    pub(super) fn recover(&mut self) {
        self.state = State::Closed { failures: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn circuit() -> Circuit {
        Circuit::new(CircuitPolicy {
            failures: 2,
            first: S,
            longest: 4 * S,
        })
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_longer_each_time() {
        let mut circuit = circuit();
        circuit.told(false, false, S, 0.0);
        circuit.told(true, false, S, 0.0);
        circuit.told(false, false, S, 0.0);
        assert_eq!(circuit.ask(S), Some(false), "not in a row");
        circuit.told(false, false, S, 0.0);
        let mut now = S;
        for pause in [1, 2, 4, 4] {
            assert_eq!(circuit.refuses_until(), Some(now + pause * S));
            assert_eq!(circuit.ask(now + pause * S - Duration::from_millis(1)), None);
            now += pause * S;
            assert_eq!(circuit.ask(now), Some(true));
            assert_eq!(circuit.ask(now), None, "one is enough to see");
            circuit.told(false, false, now, 0.0);
            assert_eq!(
                circuit.refuses_until(),
                Some(Duration::MAX),
                "an old question says nothing new"
            );
            circuit.told(false, true, now, 0.0);
        }
        now += 4 * S;
        assert_eq!(circuit.ask(now), Some(true));
        circuit.told(true, true, now, 0.0);
        assert_eq!((circuit.refuses_until(), circuit.ask(now)), (None, Some(false)));
    }

    #[test]
    fn chance_shortens_a_pause_by_a_quarter_at_most() {
        for (chance, millis) in [(0.0, 1000), (0.5, 875), (0.999_999, 750)] {
            let mut circuit = circuit();
            circuit.told(false, false, Duration::ZERO, chance);
            circuit.told(false, false, Duration::ZERO, chance);
            let until = circuit.refuses_until().expect("open");
            assert!(
                until.abs_diff(Duration::from_millis(millis)) < Duration::from_millis(1),
                "{until:?}"
            );
        }
    }

    #[test]
    fn a_panic_closes_it() {
        let mut circuit = circuit();
        circuit.told(false, false, S, 0.0);
        circuit.told(false, false, S, 0.0);
        assert_eq!(circuit.ask(3 * S), Some(true));
        circuit.recover();
        assert_eq!(circuit.ask(3 * S), Some(false));
    }
}
