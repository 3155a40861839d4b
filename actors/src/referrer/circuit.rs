//! Whether a repository is asked at all: a [`Breaker`], and what it is told. Pure: the clock and chance come in.
//!
//! Images are named by callers, so no image's failures alone may keep others from asking. Only what says that the
//! registry is not there counts (no connection, 5xx, 429, no answer in time), and before a circuit opens, the last image
//! that was found trusted there, its *witness*, is asked about: if that is answered, the fault lies with the images.

use std::time::Duration;

use super::memory::Jitter;
use crate::domain::digest::ImageDigest;
use crate::runtime::{Breaker, CircuitPolicy, Leave};

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

/// One repository's circuit.
#[derive(Debug)]
pub(super) struct Circuit {
    breaker: Breaker,
    /// An image that the repository has answered about, and whether it is trusted.
    witness: Option<(ImageDigest, bool)>,
    /// The witness is being asked about.
    confirming: bool,
}

impl Circuit {
    pub(super) fn new(policy: CircuitPolicy) -> Self {
        Self {
            breaker: Breaker::new(policy),
            witness: None,
            confirming: false,
        }
    }

    /// True while lookups are refused, but for the one that is to see.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// How long until the repository may be asked; `None`: now.
    pub(super) fn wait(&self, now: Duration) -> Option<Duration> {
        self.breaker.wait(now)
    }

    /// Takes leave to ask the repository about an image.
    ///
    /// # Errors
    /// How long it is left alone.
    pub(super) fn ask(&mut self, now: Duration) -> Result<Purpose, Duration> {
        Ok(match self.breaker.ask(now)? {
            Leave::Probe => Purpose::Probe,
            Leave::Free => Purpose::Lookup,
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
                self.breaker.close();
                None
            }
            // The registry is there; what it said is judged elsewhere.
            Outcome::Doubted if purpose != Purpose::Lookup => {
                self.breaker.close();
                None
            }
            Outcome::Nothing if purpose != Purpose::Lookup => {
                self.breaker.give_back(now);
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
        let leave = match purpose {
            Purpose::Lookup => Leave::Free,
            Purpose::Probe | Purpose::Witness => Leave::Probe,
        };
        let again = self.breaker.failed(leave)?;
        match self.witness {
            Some((witness, _)) if purpose != Purpose::Witness && witness != image => {
                let ask = !self.confirming;
                self.confirming = true;
                ask.then_some(witness)
            }
            _ => {
                self.breaker.open(again, now, jitter.chance());
                None
            }
        }
    }

    fn remember(&mut self, image: ImageDigest, trusted: bool) {
        if trusted || !self.witness.is_some_and(|(_, trusted)| trusted) {
            self.witness = Some((image, trusted));
        }
    }

    /// What was under way may never report back: closed until it is seen to fail again.
    pub(super) fn recover(&mut self) {
        self.breaker.close();
        self.confirming = false;
    }
}

#[cfg(test)]
#[path = "tests/circuit.rs"]
mod tests;
