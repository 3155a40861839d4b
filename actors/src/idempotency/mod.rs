//! IdempotencyActor: one attempt at a time for each idempotency key, and one answer (contract §8).
//!
//! The store decides; this actor asks it, and gives back the keys of attempts that ended without an answer, whatever
//! became of them: a [`Hold`] says on a channel how it ended when it is dropped. Why it is so: ADR 0015.

mod error;
mod messages;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use error::IdempotencyError;
pub use messages::{Begin, Hold, Keep, Take, Turn};

use crate::domain::idempotency::KeptAnswer;
use crate::ports::{Claim, Claimed, Clock, End, IdempotencyStore, Observer, Ownership, StateUnavailable};
use crate::runtime::{ActorState, Cx, Panicked, Reply, Serve};

/// Most keys given back with one look at the channel.
const BATCH: usize = 512;
/// How often the store looks after itself, and keys are given back that could not be.
const TEND_EVERY: Duration = Duration::from_secs(1);
/// While this many keys wait to be given back, no others are taken: so those that wait are bounded by this and by the
/// attempts under way, and none is forgotten.
const MOST_OWED: usize = 4096;
/// Most keys given back at once.
const GIVING: usize = 256;

type Ended = (Claim, End);
type Outcome<T> = Result<Result<T, StateUnavailable>, Panicked>;

/// State of the actor.
pub struct Idempotency {
    store: Arc<dyn IdempotencyStore>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    /// Cloned into every hold.
    returns: mpsc::UnboundedSender<Ended>,
    /// Here until the actor listens, and whenever it does not. As many messages at most as there are holds.
    returned: Option<mpsc::UnboundedReceiver<Ended>>,
    /// To be given back, the oldest first.
    owed: VecDeque<Ended>,
    /// Being given back.
    giving: usize,
    /// The store did not take the last one: none is tried before the next look.
    resting: bool,
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotency")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl Idempotency {
    /// An actor for this store.
    pub fn new(store: Arc<dyn IdempotencyStore>, clock: Arc<dyn Clock>, observer: Arc<dyn Observer>) -> Self {
        let (returns, returned) = mpsc::unbounded_channel();
        Self {
            store,
            clock,
            observer,
            returns,
            returned: Some(returned),
            owed: VecDeque::new(),
            giving: 0,
            resting: false,
        }
    }

    /// Tells of a call, and what it answered.
    fn told<T>(
        &self,
        operation: &'static str,
        asked: Duration,
        outcome: Outcome<T>,
    ) -> Result<T, IdempotencyError> {
        let elapsed = self.clock.monotonic().saturating_sub(asked);
        let answer = outcome.ok().and_then(Result::ok);
        self.observer
            .idempotency_store(operation, elapsed, answer.is_some());
        answer.ok_or(IdempotencyError::Unavailable)
    }

    fn turn(
        &self,
        claim: Claim,
        asked: Duration,
        outcome: Outcome<Claimed>,
    ) -> Result<Turn, IdempotencyError> {
        let claimed = match self.told("claim", asked, outcome) {
            Ok(claimed) => claimed,
            Err(error) => {
                // It may be taken all the same.
                let _ = self.returns.send((claim, End::Nothing));
                return Err(error);
            }
        };
        match claimed {
            Claimed::Taken { earlier } => {
                // Believed from when it was asked for, counted from when it was granted.
                let until = self.store.claim_life().map(|life| asked.saturating_add(life));
                self.observer
                    .idempotency(if earlier.is_some() { "retried" } else { "taken" });
                Ok(Turn::Yours {
                    hold: Hold::new(claim, until, self.returns.clone()),
                    earlier,
                })
            }
            Claimed::Kept { attempt, answer } => {
                // Written by a version that this one does not understand: neither replayed nor signed again.
                let answer = KeptAnswer::decode(answer).ok_or(IdempotencyError::Unavailable)?;
                Ok(Turn::Kept { attempt, answer })
            }
            Claimed::OtherRequest => Err(IdempotencyError::Conflict),
            Claimed::InFlight => Err(IdempotencyError::InFlight),
            Claimed::Full => Err(IdempotencyError::Full),
        }
    }

    /// Waits for holds that are dropped. After a panic the wait that was under way still is, and `returned` away.
    fn listen(&mut self, cx: &mut Cx<'_, Self>) {
        let Some(mut returned) = self.returned.take() else {
            return;
        };
        let gathering = async move {
            let mut gathered = Vec::new();
            returned.recv_many(&mut gathered, BATCH).await;
            (returned, gathered)
        };
        cx.run(Box::pin(gathering), |this: &mut Self, outcome, cx| {
            let Ok((returned, gathered)) = outcome else { return };
            this.returned = Some(returned);
            this.owed.extend(gathered);
            this.pay(cx);
            this.listen(cx);
        });
    }

    /// Gives back what is owed, so many at once, for as long as the store takes it.
    fn pay(&mut self, cx: &mut Cx<'_, Self>) {
        while !self.resting
            && self.giving < GIVING
            && let Some((claim, end)) = self.owed.pop_front()
        {
            self.giving += 1;
            let asked = self.clock.monotonic();
            let call = self.store.give_up(claim, end);
            cx.run(call, move |this: &mut Self, outcome: Outcome<()>, cx| {
                this.giving = this.giving.saturating_sub(1);
                if this.told("give_up", asked, outcome).is_err() {
                    this.owed.push_front((claim, end));
                    this.resting = true;
                }
                this.pay(cx);
            });
        }
    }

    fn tend(&mut self, cx: &mut Cx<'_, Self>) {
        self.resting = false;
        self.pay(cx);
        cx.run(self.store.tend(), |_: &mut Self, _, _| ());
        cx.after(TEND_EVERY, Self::tend);
    }
}

impl ActorState for Idempotency {
    const NAME: &'static str = "idempotency";

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        self.listen(cx);
        cx.after(TEND_EVERY, Self::tend);
    }

    fn recover(&mut self) {
        // All that counts is in the store; keys that are owed still are.
    }
}

impl Serve<Take> for Idempotency {
    fn serve(&mut self, Take(claim): Take, cx: &mut Cx<'_, Self>) -> Reply<Result<Turn, IdempotencyError>> {
        if self.owed.len() >= MOST_OWED {
            self.observer.idempotency(IdempotencyError::Unavailable.kind());
            return Reply::Now(Err(IdempotencyError::Unavailable));
        }
        let asked = self.clock.monotonic();
        let (sender, receiver) = oneshot::channel();
        cx.run(self.store.claim(claim), move |this: &mut Self, outcome, _cx| {
            let turn = this.turn(claim, asked, outcome);
            if let Err(error) = &turn {
                this.observer.idempotency(error.kind());
            }
            // An asker that has gone drops its hold here, which gives the key back.
            drop(sender.send(turn));
        });
        Reply::Later(receiver)
    }
}

impl Serve<Begin> for Idempotency {
    fn serve(&mut self, Begin(claim): Begin, cx: &mut Cx<'_, Self>) -> Reply<Result<(), IdempotencyError>> {
        let asked = self.clock.monotonic();
        let (sender, receiver) = oneshot::channel();
        cx.run(self.store.begin(claim), move |this: &mut Self, outcome, _cx| {
            let begun = match this.told("begin", asked, outcome) {
                Ok(Ownership::Own) => Ok(()),
                Ok(Ownership::TakenOver) => Err(IdempotencyError::InFlight),
                Err(error) => Err(error),
            };
            if let Err(error) = &begun {
                this.observer.idempotency(error.kind());
            }
            // Nobody is told who has gone.
            let _ = sender.send(begun);
        });
        Reply::Later(receiver)
    }
}

impl Serve<Keep> for Idempotency {
    fn serve(&mut self, ask: Keep, cx: &mut Cx<'_, Self>) -> Reply<Result<(), IdempotencyError>> {
        let Keep { hold, answer } = ask;
        let asked = self.clock.monotonic();
        let (sender, receiver) = oneshot::channel();
        let call = self.store.keep(hold.claim(), answer);
        cx.run(call, move |this: &mut Self, outcome, _cx| {
            let kept = match this.told("keep", asked, outcome) {
                Ok(Ownership::Own) => {
                    hold.settle();
                    this.observer.idempotency("stored");
                    Ok(())
                }
                Ok(Ownership::TakenOver) => {
                    hold.settle();
                    this.observer.idempotency("taken_over");
                    Err(IdempotencyError::InFlight)
                }
                // The hold is dropped as one whose end is not known.
                Err(error) => Err(error),
            };
            let _ = sender.send(kept);
        });
        Reply::Later(receiver)
    }
}

#[cfg(test)]
mod tests;
