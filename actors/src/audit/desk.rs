//! Desk: where one worker's records are gathered on their way to the trail.
//!
//! A record for each step of each request would wake the trail's thread, and the worker again, for each of them. So each
//! worker has a desk on its own arbiter: records of one linger go to the trail as one message and come back as one answer.
//! It makes no promise of its own. Whoever waits is answered when the trail has answered for their record; what is under way
//! is only ever one message, so that no record can come into the trail before one it builds on, nor without it.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Append, AppendAll, Audit, AuditError, Durability, Flush, GROUP, Receipt, encode};
use crate::runtime::{ActorState, Cx, Deadline, Due, Mailbox, Reply, Serve, Take};

/// The trail answers in any case, unless its disk hangs for good; whoever waits here gives up long before.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// Records that may lie here while the disk hangs: as many as a worker's connections could have begun, and more.
const MOST: usize = 65_536;

/// By how much timers are late: they begin with the next millisecond.
const LATE: Duration = Duration::from_millis(1);

type Waiter = Due<Result<Receipt, AuditError>>;

/// State of one worker's desk.
#[derive(Debug)]
pub struct Desk {
    trail: Mailbox<Audit>,
    linger: Duration,
    /// Records in order, each with who waits for it.
    pending: VecDeque<(Vec<u8>, Option<Waiter>)>,
    /// When the oldest of them came.
    since: Instant,
    scheduled: bool,
    /// Who waits for the message that is under way; `None`: none is.
    sent: Option<Vec<Waiter>>,
    /// Who waits for an empty desk.
    emptying: Vec<oneshot::Sender<()>>,
    /// Raised by every failure: records accepted before it may be lost, so what builds on them is refused.
    epoch: u64,
}

impl Desk {
    /// A desk for this trail.
    pub fn new(trail: Mailbox<Audit>, linger: Duration) -> Self {
        let sooner = linger.saturating_sub(LATE);
        Self {
            trail,
            linger: if sooner.is_zero() { linger } else { sooner },
            pending: VecDeque::new(),
            since: Instant::now(),
            scheduled: false,
            sent: None,
            emptying: Vec::new(),
            epoch: 0,
        }
    }

    /// No record lies here for longer than its linger and the message before it.
    fn schedule(&mut self, cx: &mut Cx<'_, Self>) {
        if self.sent.is_some() {
            return;
        }
        let left = self.linger.saturating_sub(self.since.elapsed());
        if self.pending.len() >= GROUP || left.is_zero() || !self.emptying.is_empty() {
            self.send(cx);
        } else if !self.scheduled && !self.pending.is_empty() {
            self.scheduled = true;
            cx.after(left, |this, cx| {
                this.scheduled = false;
                this.schedule(cx);
            });
        }
    }

    fn send(&mut self, cx: &mut Cx<'_, Self>) {
        if self.sent.is_some() {
            return;
        }
        if self.pending.is_empty() {
            for waiter in self.emptying.drain(..) {
                let _ = waiter.send(());
            }
            return;
        }
        // More than a group: the rest follows at once.
        let group = self.pending.drain(..self.pending.len().min(GROUP));
        let (lines, waiters): (Vec<_>, Vec<_>) = group.unzip();
        self.sent = Some(waiters.into_iter().flatten().collect());
        let (trail, epoch) = (self.trail.clone(), self.epoch);
        let answer = async move { trail.ask(AppendAll(lines), Deadline::after(PATIENCE)).await };
        cx.run(Box::pin(answer), move |this, result, cx| {
            // A desk that was rebuilt meanwhile has answered those who waited.
            if this.epoch == epoch {
                let written = matches!(result, Ok(Ok(Ok(_))));
                this.answered(written);
                this.schedule(cx);
            }
        });
    }

    fn answered(&mut self, written: bool) {
        let sent = self.sent.take().unwrap_or_default();
        if written {
            let receipt = Receipt { epoch: self.epoch };
            for waiter in sent {
                waiter.tell(Ok(receipt));
            }
        } else {
            self.lost(sent);
        }
    }

    /// What was sent may or may not be in the trail; what lies here builds on it.
    fn lost(&mut self, sent: Vec<Waiter>) {
        self.epoch += 1;
        let lying = self.pending.drain(..).filter_map(|(_, waiter)| waiter);
        for waiter in sent.into_iter().chain(lying) {
            waiter.tell(Err(AuditError::Unavailable));
        }
    }
}

impl ActorState for Desk {
    const NAME: &'static str = "audit_desk";

    fn recover(&mut self) {
        let sent = self.sent.take().unwrap_or_default();
        self.lost(sent);
        self.scheduled = false;
    }
}

impl Take<Append> for Desk {
    fn take(&mut self, ask: Append, answer: Waiter, cx: &mut Cx<'_, Self>) {
        let lost = ask.after.is_some_and(|receipt| receipt.epoch != self.epoch);
        if lost || self.pending.len() >= MOST {
            return answer.tell(Err(AuditError::Unavailable));
        }
        let line = match encode(&ask.record) {
            Ok(line) => line,
            Err(error) => return answer.tell(Err(error)),
        };
        let waiter = match ask.durability {
            Durability::InOrder => {
                answer.tell(Ok(Receipt { epoch: self.epoch }));
                None
            }
            Durability::Durable => Some(answer),
        };
        if self.pending.is_empty() {
            self.since = Instant::now();
        }
        self.pending.push_back((line, waiter));
        self.schedule(cx);
    }
}

impl Serve<Flush> for Desk {
    fn serve(&mut self, _: Flush, cx: &mut Cx<'_, Self>) -> Reply<()> {
        let (sender, receiver) = oneshot::channel();
        self.emptying.push(sender);
        self.send(cx);
        Reply::Later(receiver)
    }
}

/// What lies at the desk of a worker that ends goes to the trail all the same, unless what was sent before may be lost.
impl Drop for Desk {
    fn drop(&mut self) {
        if self.sent.is_none() && !self.pending.is_empty() {
            let lines = self.pending.drain(..).map(|(line, _)| line).collect();
            self.trail.tell(AppendAll(lines));
        }
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
