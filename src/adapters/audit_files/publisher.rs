//! Publishes the trail beside the AuditActor, on a thread of its own, and shows what is published.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use signer_actors::domain::audit::AuditRecord;
use signer_actors::domain::ids::AuditId;
use signer_actors::ports::{
    AuditTrail, Observer, PortFuture, ShownRecord, ShownRecords, TrailError, TreeHead,
};
use tokio::sync::{Semaphore, oneshot, watch};

use super::check::read_record;
use super::reader::Published;
use super::storage::Storage;
use super::tree::{Head, Tree};
use crate::tlog::{TileNodes, TlogProof, consistency_proof, inclusion_proof, leaf_hash, verify_inclusion};

/// Questions that may wait for the publisher.
const QUEUE: usize = 64;
/// Questions of tenants about their records that read the disk at once; more are turned away.
const READERS: usize = 8;
/// The same for proofs that anyone may ask for. Places of their own: strangers must not keep auditors out.
const ANYONE: usize = 4;
/// Who asks has something published at most this often, whatever the interval: one costs some ten syncs.
const ASKED_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Command {
    /// Publish now, and say when that is done, well or not.
    Publish(oneshot::Sender<()>),
    Stop,
}

/// The publishing thread. When this is dropped, a last checkpoint is published and the thread has ended.
#[derive(Debug)]
pub(super) struct Publisher {
    commands: SyncSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Starts the thread; its first deed is a checkpoint.
    pub(super) fn start(
        tree: Tree,
        durable: watch::Receiver<u64>,
        interval: Duration,
        observer: Arc<dyn Observer>,
        log: slog::Logger,
    ) -> Result<(Self, Trail), String> {
        let (commands, received) = sync_channel(QUEUE);
        let published = watch::Sender::new(tree.head().cloned());
        let trail = Trail {
            storage: Arc::clone(tree.storage()),
            published: published.subscribe(),
            durable: durable.clone(),
            commands: commands.clone(),
            readers: Arc::new(Semaphore::new(READERS)),
            anyone: Arc::new(Semaphore::new(ANYONE)),
            log: log.clone(),
        };
        let mut work = Work {
            tree,
            durable,
            published,
            observer,
            log,
            failing: false,
        };
        let thread = std::thread::Builder::new()
            .name("audit-publisher".into())
            .spawn(move || work.run(&received, interval))
            .map_err(|e| format!("cannot start the publisher of the audit trail: {e}"))?;
        let thread = Some(thread);
        Ok((Self { commands, thread }, trail))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // A thread that has ended hears nothing, and a panic of it has been logged.
        let _ = self.commands.send(Command::Stop);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Work {
    tree: Tree,
    durable: watch::Receiver<u64>,
    published: watch::Sender<Option<Head>>,
    observer: Arc<dyn Observer>,
    log: slog::Logger,
    failing: bool,
}

impl Work {
    fn run(&mut self, commands: &Receiver<Command>, interval: Duration) {
        let pause = interval.min(ASKED_PAUSE);
        // Until when it is no use to ask.
        let mut paused = None;
        loop {
            let begun = Instant::now();
            if self.publish() {
                paused = begun.checked_add(pause);
            }
            let (waiting, stop) = Self::wait(commands, Instant::now() + interval, paused);
            if stop || !waiting.is_empty() {
                paused = Instant::now().checked_add(pause);
                self.publish();
            }
            for waiter in waiting {
                // Who has gone needs no answer.
                let _ = waiter.send(());
            }
            if stop {
                return;
            }
        }
    }

    /// Until it is time to publish: regularly, or as soon as someone asks and the pause is over. Answers who asked, and
    /// whether it is the last time.
    fn wait(
        commands: &Receiver<Command>,
        regular: Instant,
        paused: Option<Instant>,
    ) -> (Vec<oneshot::Sender<()>>, bool) {
        let mut waiting = Vec::new();
        loop {
            let now = Instant::now();
            let until = match paused {
                _ if waiting.is_empty() => regular,
                Some(paused) => regular.min(paused),
                None => now,
            };
            match commands.recv_timeout(until.saturating_duration_since(now)) {
                // More than may wait are turned away: their sender is dropped.
                Ok(Command::Publish(waiter)) if waiting.len() < QUEUE => waiting.push(waiter),
                Ok(Command::Publish(_)) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return (waiting, true),
                Err(RecvTimeoutError::Timeout) => return (waiting, false),
            }
        }
    }

    /// Answers whether there was anything to publish, well or not.
    fn publish(&mut self) -> bool {
        let (begun, size) = (Instant::now(), *self.durable.borrow());
        let before = self.tree.head().map(|head| head.checkpoint.size);
        let anything = before != Some(size);
        match self.tree.publish(size) {
            Ok(()) => {
                if self.failing {
                    slog::info!(self.log, "the audit trail is published again"; "size" => size);
                }
                self.failing = false;
            }
            Err(reason) => {
                self.observer.audit_publish_failed();
                if !self.failing {
                    slog::warn!(self.log, "the audit trail could not be published: signatures go on, its checkpoint stays behind";
                        "reason" => reason, "size" => size);
                }
                self.failing = true;
            }
        }
        if let Some(head) = self
            .tree
            .head()
            .filter(|head| Some(head.checkpoint.size) != before)
        {
            self.observer
                .audit_published(head.checkpoint.size, begun.elapsed());
            self.published.send_replace(Some(head.clone()));
        }
        anything
    }
}

/// What is published, for those who ask.
#[derive(Clone, Debug)]
pub struct Trail {
    storage: Arc<dyn Storage>,
    published: watch::Receiver<Option<Head>>,
    durable: watch::Receiver<u64>,
    commands: SyncSender<Command>,
    readers: Arc<Semaphore>,
    anyone: Arc<Semaphore>,
    log: slog::Logger,
}

impl Trail {
    fn head(&self) -> Result<Head, TrailError> {
        self.published.borrow().clone().ok_or(TrailError::Unavailable)
    }

    /// Waits until it has been published once more, well or not.
    async fn catch_up(&self) -> Result<(), TrailError> {
        let (done, published) = oneshot::channel();
        let asked = self.commands.try_send(Command::Publish(done));
        asked.map_err(|_| TrailError::Busy)?;
        published.await.map_err(|_| TrailError::Busy)
    }

    /// Reads the disk off the workers, a few at once.
    async fn read<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        read: impl FnOnce(&dyn Storage) -> Result<T, String> + Send + 'static,
    ) -> Result<T, TrailError> {
        let reader = Arc::clone(places).try_acquire_owned();
        let reader = reader.map_err(|_| TrailError::Busy)?;
        let storage = Arc::clone(&self.storage);
        let done = tokio::task::spawn_blocking(move || {
            let result = read(storage.as_ref());
            drop(reader);
            result
        });
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(reason)) => {
                slog::error!(self.log, "the audit trail cannot be read"; "reason" => reason);
                Err(TrailError::Unavailable)
            }
            Err(_) => Err(TrailError::Unavailable),
        }
    }

    async fn found(&self, head: &Head, id: AuditId) -> Result<Vec<(u64, Vec<u8>)>, TrailError> {
        let size = head.checkpoint.size;
        self.read(&self.readers, move |storage| {
            Published::new(storage).find(id, size)
        })
        .await
    }
}

impl AuditTrail for Trail {
    fn head(&self, from: Option<u64>) -> PortFuture<Result<TreeHead, TrailError>> {
        let this = self.clone();
        Box::pin(async move {
            let head = Trail::head(&this)?;
            let size = head.checkpoint.size;
            let consistency = match from {
                None => None,
                Some(from) if from > size => return Err(TrailError::Beyond { size }),
                Some(from) => Some(
                    this.read(&this.anyone, move |storage| {
                        let nodes = TileNodes::new(Published::new(storage), size);
                        consistency_proof(&nodes, from, size)
                    })
                    .await?,
                ),
            };
            Ok(TreeHead {
                origin: head.checkpoint.origin.as_str().into(),
                size,
                root: head.checkpoint.root,
                note: head.note,
                consistency,
            })
        })
    }

    fn records(&self, id: AuditId) -> PortFuture<Result<ShownRecords, TrailError>> {
        let this = self.clone();
        Box::pin(async move {
            // Whatever was acknowledged before this question is among these.
            let durable = *this.durable.borrow();
            let mut head = Trail::head(&this)?;
            let mut found = this.found(&head, id).await?;
            // The rest may be durable and not published yet.
            if !tells_the_end(&found) && head.checkpoint.size < durable {
                this.catch_up().await?;
                head = Trail::head(&this)?;
                found = this.found(&head, id).await?;
                // That there is no such record cannot be said as long as some are not looked at.
                if !tells_the_end(&found) && head.checkpoint.size < durable {
                    return Err(TrailError::Unavailable);
                }
            }
            this.read(&this.readers, move |storage| show(storage, &head, found))
                .await
        })
    }
}

/// Whether nothing more can come of an audit id: its outcome is there, or a record that stands alone.
fn tells_the_end(found: &[(u64, Vec<u8>)]) -> bool {
    let is_intent = |entry: &[u8]| matches!(read_record(entry), Ok(AuditRecord::Intent(_)));
    found.iter().any(|(_, entry)| !is_intent(entry))
}

fn show(storage: &dyn Storage, head: &Head, found: Vec<(u64, Vec<u8>)>) -> Result<ShownRecords, String> {
    let (size, root) = (head.checkpoint.size, head.checkpoint.root);
    let nodes = TileNodes::new(Published::new(storage), size);
    let shown = found.into_iter().map(|(index, entry)| {
        let path = inclusion_proof(&nodes, index, size)?;
        // What does not verify is not shown: the directory was altered.
        if !verify_inclusion(&leaf_hash(&entry), index, size, &path, &root) {
            return Err(format!(
                "record {index} is not the one in the tree: run signer audit verify"
            ));
        }
        let record = read_record(&entry)?;
        let proof = TlogProof {
            index,
            path,
            checkpoint: head.note.to_string(),
        };
        let (path, proof) = (proof.path.clone(), proof.to_string());
        Ok(ShownRecord {
            index,
            entry,
            record,
            path,
            proof,
        })
    });
    Ok(ShownRecords {
        records: shown.collect::<Result<_, String>>()?,
        note: Arc::clone(&head.note),
    })
}

#[cfg(test)]
mod tests;
