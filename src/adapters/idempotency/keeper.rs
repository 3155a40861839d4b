//! The thread that has the file, and the attempts that are under way. Whatever has gathered while it was busy is done in
//! one transaction, made durable by one commit, and answered after it.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redb::Database;
use signer_actors::ports::{Claim, Claimed, Clock, End, Observer, Ownership, StateUnavailable};
use tokio::sync::{mpsc, oneshot};

use super::Settings;
use super::batch::{Attempts, Batch, Held};
use super::database;
use super::time::Time;

/// Most requests of one transaction.
const BATCH: usize = 512;
/// How often a file that could not be used is tried again.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Debug)]
pub(super) enum Op {
    Claim(Claim),
    Begin(Claim),
    Keep(Claim, Bytes),
    GiveUp(Claim, End),
    Tend,
}

/// What is answered.
#[derive(Debug)]
pub(super) enum Told {
    Claimed(Claimed),
    Owned(Ownership),
    Done,
}

pub(super) type Answer = Result<Told, StateUnavailable>;

/// A question, and where its answer goes.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) op: Op,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The state of the thread.
pub(super) struct Keeper {
    settings: Settings,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    log: slog::Logger,
    time: Time,
    /// `None` while the file cannot be used.
    database: Option<Database>,
    /// When it was last tried to be opened.
    tried: Duration,
    held: HashMap<[u8; 32], Held>,
}

impl Keeper {
    pub(super) fn open(
        settings: Settings,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        log: slog::Logger,
    ) -> Result<Self, String> {
        let (database, seen) = database::open(&settings.directory)?;
        let mut time = Time::new(Arc::clone(&clock));
        time.at_least(seen);
        observer.idempotency_up(true);
        Ok(Self {
            settings,
            tried: clock.monotonic(),
            clock,
            observer,
            log,
            time,
            database: Some(database),
            held: HashMap::new(),
        })
    }

    /// Serves until nobody can ask any more.
    pub(super) fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        while let Some(first) = asked.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(next) = asked.try_recv()
            {
                batch.push(next);
            }
            self.serve(batch);
        }
        // What this does not write, the next start takes for earlier than it is, by a minute at most.
        let now = self.time.now();
        let _ = self
            .database
            .as_ref()
            .map(|database| database::sweep(database, now));
    }

    fn serve(&mut self, batch: Vec<Ask>) {
        let (ops, askers): (Vec<Op>, Vec<_>) = batch.into_iter().map(|ask| (ask.op, ask.answer)).unzip();
        match self.work(&ops) {
            Ok(answers) => answers.into_iter().zip(askers).for_each(|(answer, asker)| {
                // Nobody is told who has gone.
                let _ = asker.send(answer);
            }),
            Err(why) => {
                // An attempt that has ended has ended, whatever the file knows of it.
                for op in &ops {
                    if let Op::GiveUp(claim, _) = op
                        && self
                            .held
                            .get(claim.key.id())
                            .is_some_and(|held| held.attempt == claim.attempt)
                    {
                        self.held.remove(claim.key.id());
                    }
                }
                for asker in askers {
                    let _ = asker.send(Err(StateUnavailable(why.clone())));
                }
            }
        }
    }

    fn work(&mut self, ops: &[Op]) -> Result<Vec<Answer>, String> {
        self.reopen()?;
        let now = self.time.now();
        let Some(database) = &self.database else {
            return Err("it is not open".to_owned());
        };
        let mut batch = Batch {
            attempts: Attempts {
                settled: &self.held,
                changed: HashMap::new(),
            },
            settings: &self.settings,
            now,
        };
        // Outside the runtime's guards, as it is on a thread of its own.
        let done = catch_unwind(AssertUnwindSafe(|| batch.run(database, ops)));
        let changed = batch.attempts.changed;
        match done {
            Ok(Ok((answers, entries))) => {
                for (id, held) in changed {
                    match held {
                        Some(held) => self.held.insert(id, held),
                        None => self.held.remove(&id),
                    };
                }
                if let Some(entries) = entries {
                    self.observer.idempotency_entries(entries);
                }
                Ok(answers)
            }
            Ok(Err(error)) => Err(self.gone(&error.to_string())),
            Err(_) => Err(self.gone("it panicked")),
        }
    }

    /// After an error the file is opened anew: what it holds in memory may not be what is on disk.
    fn gone(&mut self, why: &str) -> String {
        self.database = None;
        self.observer.idempotency_up(false);
        slog::error!(self.log, "idempotency keys cannot be kept: requests with one are refused until they can";
            "reason" => why);
        why.to_owned()
    }

    fn reopen(&mut self) -> Result<(), String> {
        if self.database.is_some() {
            return Ok(());
        }
        let now = self.clock.monotonic();
        if now.saturating_sub(self.tried) < TRY_EVERY {
            return Err("it could not be used a moment ago".to_owned());
        }
        self.tried = now;
        let (database, seen) = database::open(&self.settings.directory)?;
        self.time.at_least(seen);
        self.database = Some(database);
        self.observer.idempotency_up(true);
        slog::info!(self.log, "idempotency keys can be kept again");
        Ok(())
    }
}
