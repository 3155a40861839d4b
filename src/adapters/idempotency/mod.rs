//! Idempotency keys of a replica that is alone: attempts under way in memory, answers in a file in `state.directory`.
//!
//! The file is a redb database, which one thread has to itself (`keeper`); whoever asks waits for
//! its answer. Why it is so: `docs/adr/0015-idempotency-keys.md`.

mod batch;
mod database;
mod entry;
mod keeper;
mod time;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use signer_actors::ports::{
    Claim, Claimed, Clock, End, IdempotencyStore, Observer, Ownership, PortFuture, StateUnavailable,
};
use tokio::sync::{mpsc, oneshot};

pub use self::database::Inspected;
use self::keeper::{Ask, Keeper, Op, Told};

/// Most requests that wait for the thread; actors ask no more at once.
const WAITING: usize = 8192;

/// What the service is told about the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the file; made if it is not there.
    pub directory: PathBuf,
    /// How long answers are kept.
    pub ttl: Duration,
    /// Most keys. A tenant may hold at most as many as are left free.
    pub capacity: u64,
}

impl Settings {
    fn ttl_millis(&self) -> u64 {
        u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The store, as the core asks it. The file is closed when the last clone is dropped.
#[derive(Clone)]
pub struct EmbeddedKeys {
    // The order counts: the thread ends when nobody can ask it any more.
    asks: mpsc::Sender<Ask>,
    thread: Arc<Thread>,
}

struct Thread(Option<JoinHandle<()>>);

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // A panic in it has been logged.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for EmbeddedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbeddedKeys({})", Arc::strong_count(&self.thread))
    }
}

impl EmbeddedKeys {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// It is in use, damaged, of another version, or cannot be written; the text names it and the remedy.
    pub fn open(
        settings: Settings,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        log: slog::Logger,
    ) -> Result<Self, String> {
        let keeper = Keeper::open(settings, clock, observer, log)?;
        let (asks, asked) = mpsc::channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("idempotency".to_owned())
            .spawn(move || keeper.run(asked))
            .map_err(|error| format!("no thread for idempotency keys: {error}"))?;
        Ok(Self {
            asks,
            thread: Arc::new(Thread(Some(thread))),
        })
    }

    fn ask<T>(
        &self,
        op: Op,
        read: impl FnOnce(Told) -> Option<T> + Send + 'static,
    ) -> PortFuture<Result<T, StateUnavailable>> {
        let (answer, told) = oneshot::channel();
        let asked = self.asks.try_send(Ask { op, answer });
        Box::pin(async move {
            asked.map_err(|_| StateUnavailable("too many wait for it".to_owned()))?;
            let gone = || StateUnavailable("its thread has ended".to_owned());
            let told = told.await.map_err(|_| gone())??;
            read(told).ok_or_else(gone)
        })
    }
}

fn owned(told: Told) -> Option<Ownership> {
    match told {
        Told::Owned(ownership) => Some(ownership),
        Told::Claimed(_) | Told::Done => None,
    }
}

impl IdempotencyStore for EmbeddedKeys {
    fn claim(&self, claim: Claim) -> PortFuture<Result<Claimed, StateUnavailable>> {
        self.ask(Op::Claim(claim), |told| match told {
            Told::Claimed(claimed) => Some(claimed),
            Told::Owned(_) | Told::Done => None,
        })
    }

    fn begin(&self, claim: Claim) -> PortFuture<Result<Ownership, StateUnavailable>> {
        self.ask(Op::Begin(claim), owned)
    }

    fn keep(&self, claim: Claim, answer: Bytes) -> PortFuture<Result<Ownership, StateUnavailable>> {
        self.ask(Op::Keep(claim, answer), owned)
    }

    fn give_up(&self, claim: Claim, end: End) -> PortFuture<Result<(), StateUnavailable>> {
        self.ask(Op::GiveUp(claim, end), |_| Some(()))
    }

    fn tend(&self) -> PortFuture<()> {
        let tended = self.ask(Op::Tend, |_| Some(()));
        Box::pin(async move {
            // What is wrong has been logged, and is tried again.
            let _ = tended.await;
        })
    }

    fn claim_life(&self) -> Option<Duration> {
        None
    }
}

/// Looks at the file, for `signer check`. Changes nothing.
///
/// # Errors
/// As [`EmbeddedKeys::open`], but for a file that is in use or was not closed.
pub fn inspect(directory: &Path) -> Result<Inspected, String> {
    database::inspect(directory)
}

#[cfg(test)]
mod tests;
