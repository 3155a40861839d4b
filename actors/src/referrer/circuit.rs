//! Whether a repository is asked at all: one that has not answered for a while is left alone for a time that grows, so
//! that nobody waits for it in vain and it is not kept from recovering. Pure: the clock and chance come in.
//!
//! Images are named by callers, so no image's failures alone may keep others from asking. Only what says that the
//! registry is not there counts (no connection, 5xx, 429, no answer in time), and before a circuit opens, the last image
//! that was found trusted there, its *witness*, is asked about: if that is answered, the fault lies with the images.

use std::time::Duration;

use super::memory::Jitter;
use crate::domain::digest::ImageDigest;

/// When a repository is left alone, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CircuitPolicy {
    /// Failures in a row; at least 1.
    pub failures: u32,
    /// How long the first time.
    pub first: Duration,
    /// Each time doubles, up to this.
    pub longest: Duration,
}

/// What one lookup says about its repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered that the image is trusted.
    Trusted,
    /// It answered.
    Answered,
    /// It answered in a way that leaves a doubt about the image, and says nothing of the others.
    Doubted,
    /// It did not answer, or said that it cannot now.
    Failed,
    /// Nobody waited for its answer.
    Nothing,
}

/// Why the repository was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody wants to know.
    Lookup,
    /// Somebody wants to know, and whether the circuit closes hangs on it.
    Probe,
    /// About the witness: whether the circuit opens hangs on it.
    Witness,
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
    /// One lookup is under way to see.
    HalfOpen { again: u32 },
}

/// One repository's circuit.
#[derive(Debug)]
pub(super) struct Circuit {
    policy: CircuitPolicy,
    state: State,
    /// An image that the repository has answered about, and whether it is trusted.
    witness: Option<(ImageDigest, bool)>,
    /// The witness is being asked about.
    confirming: bool,
}

impl Circuit {
    pub(super) fn new(policy: CircuitPolicy) -> Self {
        Self {
            policy,
            state: State::Closed { failures: 0 },
            witness: None,
            confirming: false,
        }
    }

    /// True while lookups are refused, but for the one that is to see.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// How long until the repository may be asked; `None`: now.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { until, .. } => until.checked_sub(now).filter(|left| !left.is_zero()),
            State::HalfOpen { .. } => Some(self.policy.first),
        }
    }

    /// Takes leave to ask the repository about an image.
    ///
    /// # Errors
    /// How long it is left alone.
    pub(super) fn ask(&mut self, now: Duration) -> Result<Purpose, Duration> {
        if let Some(wait) = self.wait(now) {
            return Err(wait);
        }
        Ok(match self.state {
            State::Open { again, .. } => {
                self.state = State::HalfOpen { again };
                Purpose::Probe
            }
            State::Closed { .. } | State::HalfOpen { .. } => Purpose::Lookup,
        })
    }

    /// What became of a lookup. `Some`: ask about this image now, as [`Purpose::Witness`].
    pub(super) fn told(
        &mut self,
        purpose: Purpose,
        image: ImageDigest,
        outcome: Outcome,
        now: Duration,
        jitter: Jitter,
    ) -> Option<ImageDigest> {
        self.confirming &= purpose != Purpose::Witness;
        match outcome {
            Outcome::Trusted | Outcome::Answered => {
                self.remember(image, outcome == Outcome::Trusted);
                self.state = State::Closed { failures: 0 };
                None
            }
            // The registry is there; what it said is judged elsewhere.
            Outcome::Doubted if purpose != Purpose::Lookup => {
                self.state = State::Closed { failures: 0 };
                None
            }
            Outcome::Nothing if purpose != Purpose::Lookup => {
                if let State::HalfOpen { again } = self.state {
                    self.state = State::Open { until: now, again };
                }
                None
            }
            Outcome::Doubted | Outcome::Nothing => None,
            Outcome::Failed => self.failed(purpose, image, now, jitter),
        }
    }

    fn failed(
        &mut self,
        purpose: Purpose,
        image: ImageDigest,
        now: Duration,
        jitter: Jitter,
    ) -> Option<ImageDigest> {
        let again = match self.state {
            State::Closed { failures } => {
                let failures = failures.saturating_add(1);
                self.state = State::Closed { failures };
                if failures < self.policy.failures {
                    return None;
                }
                0
            }
            State::HalfOpen { again } if purpose != Purpose::Lookup => again.saturating_add(1),
            // One that began before the circuit opened: nothing new.
            State::HalfOpen { .. } | State::Open { .. } => return None,
        };
        match self.witness {
            Some((witness, _)) if purpose != Purpose::Witness && witness != image => {
                let ask = !self.confirming;
                self.confirming = true;
                ask.then_some(witness)
            }
            _ => {
                self.open(again, now, jitter);
                None
            }
        }
    }

    fn open(&mut self, again: u32, now: Duration, jitter: Jitter) {
        let doubled = self.policy.first.saturating_mul(1 << again.min(16));
        let pause = doubled.min(self.policy.longest);
        let until = now + pause.saturating_sub(jitter.of(pause / 4));
        self.state = State::Open { until, again };
    }

    fn remember(&mut self, image: ImageDigest, trusted: bool) {
        if trusted || !self.witness.is_some_and(|(_, trusted)| trusted) {
            self.witness = Some((image, trusted));
        }
    }

    /// What was under way may never report back: closed until it is seen to fail again.
    pub(super) fn recover(&mut self) {
        self.state = State::Closed { failures: 0 };
        self.confirming = false;
    }
}

#[cfg(test)]
#[path = "tests/circuit.rs"]
mod tests;
