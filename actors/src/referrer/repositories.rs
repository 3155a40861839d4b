//! The configured repositories with their circuits, and how others see them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::ask::Asked;
use super::circuit::{Circuit, Outcome, Purpose};
use super::memory::Jitter;
use crate::domain::digest::ImageDigest;
use crate::ports::Observer;
use crate::runtime::CircuitPolicy;

/// How a repository is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryHealth {
    /// `host/name`, as configured.
    pub name: Arc<str>,
    /// Its circuit is open: it has not answered for a while, and is left alone but for a question now and then.
    pub open: bool,
}

/// Where the actor publishes how its repositories are doing.
pub type PublishedHealth = watch::Sender<Arc<[RepositoryHealth]>>;

/// All repositories, in configured order.
#[derive(Debug)]
pub(super) struct Repositories {
    all: Vec<(Arc<str>, Circuit)>,
    observer: Arc<dyn Observer>,
    log: slog::Logger,
    published: PublishedHealth,
}

impl Repositories {
    pub(super) fn new(
        names: Vec<Arc<str>>,
        policy: CircuitPolicy,
        observer: Arc<dyn Observer>,
        log: slog::Logger,
        published: PublishedHealth,
    ) -> Self {
        for name in &names {
            observer.release_circuit(name, false);
        }
        let this = Self {
            all: names
                .into_iter()
                .map(|name| (name, Circuit::new(policy)))
                .collect(),
            observer,
            log,
            published,
        };
        this.publish();
        this
    }

    fn concerned(&self, only: Option<&str>) -> impl Iterator<Item = &(Arc<str>, Circuit)> {
        self.all
            .iter()
            .filter(move |(name, _)| only.is_none_or(|only| only == &**name))
    }

    /// Whether there is such a repository.
    pub(super) fn knows(&self, only: Option<&str>) -> bool {
        self.concerned(only).next().is_some()
    }

    /// How long until one of them may be asked; `None`: now.
    pub(super) fn wait(&self, only: Option<&str>, now: Duration) -> Option<Duration> {
        let mut waits = self.concerned(only).map(|(_, circuit)| circuit.wait(now));
        waits.try_fold(Duration::MAX, |least, wait| Some(least.min(wait?)))
    }

    /// Takes leave to ask those that may be asked now, and tells how long until the first of the others may be.
    pub(super) fn ask(&mut self, only: Option<&str>, now: Duration) -> (Vec<Asked>, Option<Duration>) {
        let (mut asked, mut skipped) = (Vec::new(), None);
        for (index, (name, circuit)) in self.all.iter_mut().enumerate() {
            if only.is_some_and(|only| only != &**name) {
                continue;
            }
            match circuit.ask(now) {
                Ok(purpose) => asked.push(Asked {
                    index,
                    name: Arc::clone(name),
                    purpose,
                }),
                Err(wait) => skipped = Some(skipped.map_or(wait, |least: Duration| least.min(wait))),
            }
        }
        (asked, skipped)
    }

    /// What came of asking one. `Some`: ask it about this witness.
    pub(super) fn told(
        &mut self,
        asked: &Asked,
        image: ImageDigest,
        outcome: Outcome,
        now: Duration,
        jitter: Jitter,
    ) -> Option<(Asked, ImageDigest)> {
        let (name, circuit) = self.all.get_mut(asked.index)?;
        let before = circuit.is_open();
        let witness = circuit.told(asked.purpose, image, outcome, now, jitter);
        let after = circuit.is_open();
        let again = Asked {
            purpose: Purpose::Witness,
            ..asked.clone()
        };
        if before != after {
            let name = Arc::clone(name);
            self.turned(&name, after);
        }
        witness.map(|witness| (again, witness))
    }

    fn turned(&self, name: &str, open: bool) {
        self.observer.release_circuit(name, open);
        if open {
            slog::warn!(self.log, "a repository has not answered for a while and is left alone"; "repository" => name);
        } else {
            slog::info!(self.log, "a repository answers again"; "repository" => name);
        }
        self.publish();
    }

    fn publish(&self) {
        let health = self.all.iter().map(|(name, circuit)| RepositoryHealth {
            name: Arc::clone(name),
            open: circuit.is_open(),
        });
        self.published.send_replace(health.collect());
    }

    /// After a panic: all may be asked.
    pub(super) fn recover(&mut self) {
        for (name, circuit) in &mut self.all {
            circuit.recover();
            self.observer.release_circuit(name, false);
        }
        self.publish();
    }
}
