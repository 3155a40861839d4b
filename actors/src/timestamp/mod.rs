//! TimestampActor: asks the configured authority for timestamps over signatures.
//!
//! What must be exact is here: how many questions are under way, who waits for a turn, which tenants take one after the
//! other, and whether the authority is asked at all (a [`Breaker`]: whatever it gets wrong counts, for callers choose nothing
//! of what it is asked). A question that got no answer is asked again after a pause, as long as somebody waits for it; one
//! that was answered wrongly is not.

mod error;
mod messages;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub use error::TimestampError;
pub use messages::Obtain;

pub use crate::runtime::CircuitPolicy;

use crate::domain::signing::Signature;
use crate::domain::tenant::TenantId;
use crate::ports::{Clock, Ids, Observer, Timestamp, TimestampSource, TimestampSourceError};
use crate::runtime::{ActorState, Breaker, Cx, Deadline, Leave, Panicked, Reply, Serve, Turns};

/// How often the authority is asked for one timestamp at most.
const TRIES: u32 = 3;
/// A question that had less time says nothing of an authority that did not answer it.
const FAIR_TIME: Duration = Duration::from_millis(500);
/// For how long the question that decides over the circuit is left to askers who have more time than that. Where requests
/// never have it, anyone's has to do.
const LEFT_TO_OTHERS: Duration = Duration::from_secs(1);
/// The pause before the second time; it doubles. Half of it is left to chance.
const PAUSE: Duration = Duration::from_millis(200);

/// How the authority is asked.
#[derive(Clone, Copy, Debug)]
pub struct TimestampPolicy {
    /// Questions under way at once; at least 1.
    pub concurrency: usize,
    /// When it is left alone.
    pub circuit: CircuitPolicy,
}

/// How the authority is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimestampHealth {
    /// Until when nobody may ask, as [`Clock::monotonic`] counts; `None`: it is asked.
    pub refused_until: Option<Duration>,
}

/// What the actor needs of the outside.
#[derive(Debug)]
pub struct TimestampParts {
    /// The authority.
    pub source: Arc<dyn TimestampSource>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub ids: Arc<dyn Ids>,
    /// Metrics.
    pub observer: Arc<dyn Observer>,
    /// Log.
    pub log: slog::Logger,
    /// Settings.
    pub policy: TimestampPolicy,
    /// How many may wait. A tenant that has as many places as are left gets no more, so that no few of them take them all.
    pub places: usize,
    /// Where it says how the authority is doing.
    pub published: watch::Sender<TimestampHealth>,
}

/// State of the actor.
#[derive(Debug)]
pub struct Timestamps {
    parts: TimestampParts,
    circuit: Breaker,
    /// Questions under way. They outlive a panic, and are counted until they report back.
    running: usize,
    waiting: Turns<TenantId, Job>,
}

type Answer = Result<Timestamp, TimestampError>;

#[derive(Debug)]
struct Job {
    tenant: TenantId,
    signature: Signature,
    until: Deadline,
    tries: u32,
    answer: oneshot::Sender<Answer>,
}

impl Job {
    fn end(self, answer: Answer) {
        // Whoever has gone needs no answer.
        drop(self.answer.send(answer));
    }
}

impl Timestamps {
    /// An actor for this authority.
    pub fn new(parts: TimestampParts) -> Self {
        let circuit = Breaker::new(parts.policy.circuit);
        parts.observer.timestamp_circuit(false);
        Self {
            parts,
            circuit,
            running: 0,
            waiting: Turns::default(),
        }
    }

    /// Everyone else's turn comes first, if anyone waits.
    fn take_up(&mut self, job: Job, cx: &mut Cx<'_, Self>) {
        let tenant = job.tenant.clone();
        self.waiting.push(&tenant, job);
        self.take_turns(cx);
    }

    /// Whether a tenant has its share of those who wait.
    fn is_crowded(&self, tenant: &TenantId) -> bool {
        let left = self.parts.places.saturating_sub(self.waiting.len());
        self.has_no_room() && self.waiting.of(tenant) >= left
    }

    fn has_no_room(&self) -> bool {
        self.running >= self.parts.policy.concurrency.max(1)
    }

    fn run(&mut self, mut job: Job, cx: &mut Cx<'_, Self>) {
        if job.until.remaining().is_zero() {
            return job.end(Err(TimestampError::Unavailable));
        }
        let now = self.parts.clock.monotonic();
        // Whether it is asked again hangs on one question: who has no time for an answer would find out nothing.
        let is_due = self.circuit.due_for(now).is_some_and(|due| due < LEFT_TO_OTHERS);
        if is_due && job.until.remaining() < FAIR_TIME {
            return job.end(Err(TimestampError::Unavailable));
        }
        let Ok(leave) = self.circuit.ask(now) else {
            return job.end(Err(TimestampError::Unavailable));
        };
        let probe = leave == Leave::Probe;
        if probe {
            self.publish();
        }
        self.running = self.running.saturating_add(1);
        job.tries = job.tries.saturating_add(1);
        let begun = now;
        let (asked, until) = (
            self.parts.source.stamp(job.signature.clone()),
            job.until.instant(),
        );
        // `None`: no answer in the asker's time.
        let asked = async move { tokio::time::timeout_at(until, asked).await.ok() };
        let had = job.until.remaining();
        cx.run(Box::pin(asked), move |this, result, cx| {
            this.running = this.running.saturating_sub(1);
            let result = result.unwrap_or_else(|Panicked| {
                Some(Err(TimestampSourceError::Unusable(
                    "asking the authority panicked".into(),
                )))
            });
            // Who had no time left for an answer says nothing of the authority.
            let counts = probe || result.is_some() || had >= FAIR_TIME;
            let late = || Err(TimestampSourceError::Unavailable("no answer in time".into()));
            let result = result.unwrap_or_else(late);
            let elapsed = this.parts.clock.monotonic().saturating_sub(begun);
            if counts {
                let (now, chance) = (this.parts.clock.monotonic(), this.chance());
                this.circuit.told(result.is_ok(), leave, now, chance);
            }
            this.told(job, result, elapsed, cx);
            this.take_turns(cx);
        });
    }

    fn told(
        &mut self,
        job: Job,
        result: Result<Timestamp, TimestampSourceError>,
        elapsed: Duration,
        cx: &mut Cx<'_, Self>,
    ) {
        let outcome = match &result {
            Ok(_) => "granted",
            Err(TimestampSourceError::Unavailable(_)) => "unavailable",
            Err(TimestampSourceError::Unusable(_)) => "unusable",
        };
        self.parts.observer.timestamp(outcome, elapsed);
        let chance = self.chance();
        self.publish();
        match result {
            Ok(timestamp) => job.end(Ok(timestamp)),
            Err(error) => {
                slog::warn!(self.parts.log, "the timestamp authority gave no timestamp";
                    "reason" => %error, "try" => job.tries);
                let pause = PAUSE.saturating_mul(1 << job.tries.saturating_sub(1).min(8));
                let pause = pause.mul_f64(0.5 + chance / 2.0);
                let again = matches!(error, TimestampSourceError::Unavailable(_))
                    && job.tries < TRIES
                    && pause < job.until.remaining();
                if again {
                    cx.after(pause, move |this, cx| this.take_up(job, cx));
                } else {
                    job.end(Err(error.into()));
                }
            }
        }
    }

    /// Those who wait, as far as there is room.
    fn take_turns(&mut self, cx: &mut Cx<'_, Self>) {
        while !self.has_no_room() {
            let Some((_, job)) = self.waiting.next(|_| true, |_| true) else {
                return;
            };
            self.run(job, cx);
        }
    }

    /// From 0 to just under 1, by the random tail of an id (RFC 9562 §5.7, `rand_b`).
    fn chance(&self) -> f64 {
        let [.., a, b, c, d] = *self.parts.ids.uuid().as_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) / 4_294_967_296.0
    }

    fn publish(&self) {
        let health = TimestampHealth {
            refused_until: self.circuit.refuses_until(),
        };
        let open = health.refused_until.is_some();
        let before = self.parts.published.send_replace(health).refused_until.is_some();
        if open != before {
            self.parts.observer.timestamp_circuit(open);
            let told = if open {
                "is left alone for a while"
            } else {
                "is asked again"
            };
            slog::warn!(self.parts.log, "the timestamp authority {}", told);
        }
    }
}

impl ActorState for Timestamps {
    const NAME: &'static str = "timestamp";

    fn recover(&mut self) {
        self.waiting = Turns::default();
        self.circuit.close();
        self.publish();
    }
}

impl Serve<Obtain> for Timestamps {
    fn serve(&mut self, asked: Obtain, cx: &mut Cx<'_, Self>) -> Reply<Answer> {
        let Obtain {
            tenant,
            signature,
            until,
        } = asked;
        if self.is_crowded(&tenant) {
            return Reply::Now(Err(TimestampError::Crowded));
        }
        let (answer, receiver) = oneshot::channel();
        let job = Job {
            tenant,
            signature,
            until,
            tries: 0,
            answer,
        };
        self.take_up(job, cx);
        Reply::Later(receiver)
    }
}
