//! AuditActor: the durable trail, written in groups.
//!
//! It owns the log and lives on an arbiter of its own, because `fdatasync` blocks. Records that arrive within one
//! linger become durable by one sync. Whoever asked to wait is answered after it; nobody is answered before.

mod desk;
mod error;
mod messages;
mod writing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub use desk::Desk;
pub use error::AuditError;
use messages::AppendAll;
pub use messages::{Append, Durability, Flush, Receipt};
pub use writing::Writing;

use crate::domain::audit::{AuditRecord, MAX_RECORD_BYTES, SCHEMA_VERSION, ServiceEvent};
use crate::ports::{AuditLog, Clock, Observer};
use crate::runtime::{ActorState, Cx, Reply, Serve};

/// Records that may wait for the next sync before it is made at once.
const GROUP: usize = 512;

/// About what a record of a signature has.
const RECORD_BYTES: usize = 1024;

/// How often a trail that could not be written is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// State of the actor.
#[derive(Debug)]
pub struct Audit {
    log: Box<dyn AuditLog>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    slog: slog::Logger,
    linger: Duration,
    pending: Vec<Vec<u8>>,
    waiting: Vec<oneshot::Sender<Result<Receipt, AuditError>>>,
    scheduled: bool,
    /// A flush comes as soon as the mailbox is empty.
    at_once: bool,
    /// Raised by every failure: records accepted before it may be lost, so what builds on them is refused.
    epoch: u64,
    healthy: watch::Sender<bool>,
    /// What tells a disk that hangs from one that is slow.
    writing: Writing,
}

impl Audit {
    /// An actor for this log.
    pub fn new(
        log: Box<dyn AuditLog>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        slog: slog::Logger,
        linger: Duration,
        healthy: watch::Sender<bool>,
        writing: Writing,
    ) -> Self {
        Self {
            log,
            clock,
            observer,
            slog,
            linger,
            pending: Vec::new(),
            waiting: Vec::new(),
            scheduled: false,
            at_once: false,
            epoch: 0,
            healthy,
            writing,
        }
    }

    /// Makes everything pending durable with one sync and answers who waits. Blocks: see the module.
    fn flush(&mut self) {
        self.scheduled = false;
        if self.pending.is_empty() {
            return;
        }
        let records = std::mem::take(&mut self.pending);
        let begun = self.clock.monotonic();
        self.writing.begin(begun);
        let result = self.log.append(&records).and_then(|()| self.log.sync());
        self.writing.end();
        let elapsed = self.clock.monotonic().saturating_sub(begun);
        let answer = match result {
            Ok(()) => {
                self.observer.audit_synced(records.len(), elapsed);
                Ok(Receipt { epoch: self.epoch })
            }
            Err(error) => {
                self.observer.audit_failed();
                slog::error!(self.slog, "the audit trail could not be written: nothing is signed until it can";
                    "reason" => %error, "records" => records.len());
                self.epoch += 1;
                Err(AuditError::Unavailable)
            }
        };
        self.healthy
            .send_if_modified(|healthy| std::mem::replace(healthy, answer.is_ok()) != answer.is_ok());
        for waiter in self.waiting.drain(..) {
            // A waiter that has gone needs no answer.
            let _ = waiter.send(answer);
        }
    }

    /// While the trail cannot be written, tries with a record that says so: a replica that was taken out of service gets no
    /// request that would try.
    fn look(&mut self, cx: &mut Cx<'_, Self>) {
        let healthy = *self.healthy.borrow();
        if !healthy && self.pending.is_empty() {
            let event = ServiceEvent {
                schema: SCHEMA_VERSION,
                time: self.clock.now(),
                what: "audit-recovered".to_owned(),
                facts: BTreeMap::new(),
            };
            // A record of fixed small size is always formed.
            self.pending
                .extend(encode(&AuditRecord::Service(Box::new(event))));
            self.flush();
        }
        cx.after(LOOK_EVERY, Self::look);
    }

    fn schedule(&mut self, cx: &mut Cx<'_, Self>) {
        if self.pending.len() >= GROUP || self.linger.is_zero() {
            self.flush();
        } else if !self.scheduled {
            self.scheduled = true;
            cx.after(self.linger, |this, _cx| this.flush());
        }
    }
}

impl ActorState for Audit {
    const NAME: &'static str = "audit";

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        cx.after(LOOK_EVERY, Self::look);
    }

    fn recover(&mut self) {
        // What was pending may or may not be on disk: whoever waits is told so by a dropped channel, and whoever
        // builds on it is refused by the epoch.
        self.epoch += 1;
        self.writing.end();
        self.pending.clear();
        self.waiting.clear();
        self.scheduled = false;
        self.at_once = false;
    }
}

/// A record as one line of JSON, without the line feed.
fn encode(record: &AuditRecord) -> Result<Vec<u8>, AuditError> {
    let mut line = Vec::with_capacity(RECORD_BYTES);
    serde_json::to_writer(&mut line, record).map_err(|_| AuditError::Record)?;
    if line.len() > MAX_RECORD_BYTES {
        return Err(AuditError::Record);
    }
    Ok(line)
}

impl Serve<Append> for Audit {
    fn serve(&mut self, ask: Append, cx: &mut Cx<'_, Self>) -> Reply<Result<Receipt, AuditError>> {
        if ask.after.is_some_and(|receipt| receipt.epoch != self.epoch) {
            return Reply::Now(Err(AuditError::Unavailable));
        }
        match encode(&ask.record) {
            Ok(line) => self.pending.push(line),
            Err(error) => return Reply::Now(Err(error)),
        }
        match ask.durability {
            Durability::InOrder => {
                let receipt = Receipt { epoch: self.epoch };
                self.schedule(cx);
                // A group that was full has been written by now, and may have failed.
                Reply::Now(if receipt.epoch == self.epoch {
                    Ok(receipt)
                } else {
                    Err(AuditError::Unavailable)
                })
            }
            Durability::Durable => {
                let (sender, receiver) = oneshot::channel();
                self.waiting.push(sender);
                self.schedule(cx);
                Reply::Later(receiver)
            }
        }
    }
}

impl Serve<AppendAll> for Audit {
    fn serve(
        &mut self,
        AppendAll(lines): AppendAll,
        cx: &mut Cx<'_, Self>,
    ) -> Reply<Result<Receipt, AuditError>> {
        // They have lingered at their desk. What other desks have sent meanwhile shares the sync.
        if self.pending.len() + lines.len() > GROUP {
            self.flush();
        }
        self.pending.extend(lines);
        let (sender, receiver) = oneshot::channel();
        self.waiting.push(sender);
        if !self.at_once {
            self.at_once = true;
            cx.when_idle(|this, _cx| {
                this.at_once = false;
                this.flush();
            });
        }
        Reply::Later(receiver)
    }
}

impl Serve<Flush> for Audit {
    fn serve(&mut self, _: Flush, _cx: &mut Cx<'_, Self>) -> Reply<()> {
        self.flush();
        Reply::Now(())
    }
}

#[cfg(test)]
mod tests;
