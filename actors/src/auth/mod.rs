//! AuthActor: the Authority's keys, and which proofs were used.
//!
//! Verifying a token or a proof is CPU work and happens on the worker, with a snapshot of the keys. What must be exact
//! is here: one key set for all, and the ids of spent proofs, sharded by tenant.

mod binding;
mod error;
mod messages;
mod replay;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub use binding::{check_binding, proof_required};
pub use error::AuthError;
pub use messages::{KeysFor, SpendProof};
pub use replay::{Moment, ReplayError, ReplayTable, TENANT_FRACTION};

use self::steps::Steps;
use crate::keyring::{Decision, KeyPolicy, Keyring, Knows, Snapshot};
use crate::ports::{
    AuthoritySource, Clock, Observer, ReplayStore, SourceUnavailable, Spend, Spent, StateUnavailable,
    TokenVerifier,
};
use crate::runtime::{ActorState, Cx, Panicked, Reply, Serve};

/// Most callers that wait for the fetch of a key id which current keys do not have. Such a token costs nothing to make,
/// and everyone who waits keeps a place in the mailbox that the proofs of honest callers need.
const WAITING_FOR_UNKNOWN: usize = 64;

/// A snapshot of the Authority's keys.
pub type AuthorityKeys = Snapshot<dyn TokenVerifier>;

/// Who waits for a fetch, and the key id it is missing.
type Waiter = (Option<String>, oneshot::Sender<Result<AuthorityKeys, AuthError>>);

/// State of one shard. The first one also owns the key set.
#[derive(Debug)]
pub struct Auth {
    source: Arc<dyn AuthoritySource>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    log: slog::Logger,
    ring: Keyring<dyn TokenVerifier>,
    published: watch::Sender<Option<AuthorityKeys>>,
    waiting: Vec<Waiter>,
    replay: ReplayTable,
    steps: Steps,
    shared: Option<SharedReplay>,
}

/// What an [`Auth`] needs.
#[derive(Debug)]
pub struct AuthParts {
    /// Where keys come from.
    pub source: Arc<dyn AuthoritySource>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Metrics.
    pub observer: Arc<dyn Observer>,
    /// Log.
    pub log: slog::Logger,
    /// How long keys are good for.
    pub policy: KeyPolicy,
    /// Where workers see the current keys without asking.
    pub published: watch::Sender<Option<AuthorityKeys>>,
    /// Most proof ids remembered by this shard.
    pub replay_capacity: usize,
    /// Where replicas remember spent proofs together; `None`: here.
    pub shared: Option<SharedReplay>,
}

/// Spent proofs that replicas share.
#[derive(Clone, Debug)]
pub struct SharedReplay {
    /// The store.
    pub store: Arc<dyn ReplayStore>,
    /// Most ids of one tenant in it.
    pub most: usize,
}

impl Auth {
    /// An actor without keys yet; the first request, or `started`, fetches them.
    pub fn new(parts: AuthParts) -> Self {
        let born = moment(&*parts.clock);
        Self {
            source: parts.source,
            clock: parts.clock,
            observer: parts.observer,
            log: parts.log,
            ring: Keyring::new(parts.policy),
            published: parts.published,
            waiting: Vec::new(),
            replay: ReplayTable::new(parts.replay_capacity, born.wall),
            steps: Steps::since(born),
            shared: parts.shared,
        }
    }

    /// Both clocks; says so when the wall clock has gone back since the last proof.
    fn look_at_the_clock(&mut self) -> Moment {
        let now = moment(&*self.clock);
        if let Some(by) = self.steps.back(now) {
            self.observer.clock_went_back();
            slog::warn!(self.log,
                "the clock went back: proofs no younger than those already forgotten are refused (runbook clock-skew)";
                "by_seconds" => by.as_secs());
        }
        now
    }

    fn fetch(&mut self, cx: &mut Cx<'_, Self>) {
        if self.ring.begin(self.clock.monotonic()) {
            cx.run(self.source.fetch(), Self::fetched);
        }
    }

    fn fetched(
        &mut self,
        result: Result<Result<Arc<dyn TokenVerifier>, SourceUnavailable>, Panicked>,
        _cx: &mut Cx<'_, Self>,
    ) {
        let keys = match result {
            Ok(Ok(keys)) => {
                self.observer.key_set("authority", self.clock.now());
                Some(keys)
            }
            Ok(Err(error)) => {
                slog::warn!(self.log, "the Authority's keys could not be fetched"; "reason" => %error);
                None
            }
            Err(Panicked) => None,
        };
        let fresh = keys.is_some();
        let now = self.clock.monotonic();
        self.ring.finish(keys, now);
        let usable = self.ring.usable(now).cloned();
        self.published.send_replace(usable.clone());
        for (missing, waiter) in std::mem::take(&mut self.waiting) {
            let lacks = |snapshot: &AuthorityKeys| {
                missing
                    .as_ref()
                    .filter(|kid| !Knows::knows(&*snapshot.keys, kid))
                    .cloned()
            };
            let answer = match (&usable, usable.as_ref().and_then(lacks)) {
                (None, _) => Err(AuthError::AuthorityUnavailable),
                // A key that could not be looked for is not an unknown one.
                (Some(_), Some(_)) if !fresh => Err(AuthError::AuthorityUnavailable),
                (Some(snapshot), lacking) => {
                    if let Some(kid) = lacking {
                        self.ring.note_unknown(&kid, now);
                    }
                    Ok(snapshot.clone())
                }
            };
            // A waiter that has gone needs no answer.
            drop(waiter.send(answer));
        }
    }
}

fn moment(clock: &dyn Clock) -> Moment {
    Moment {
        wall: clock.now(),
        monotonic: clock.monotonic(),
    }
}

impl ActorState for Auth {
    const NAME: &'static str = "auth";

    fn gathers(&self) -> bool {
        self.shared.is_none()
    }

    fn recover(&mut self) {
        // Spent proofs stay spent; a fetch under way may never report back.
        self.ring.recover();
        self.waiting.clear();
    }
}

impl Serve<KeysFor> for Auth {
    fn serve(
        &mut self,
        KeysFor { missing }: KeysFor,
        cx: &mut Cx<'_, Self>,
    ) -> Reply<Result<AuthorityKeys, AuthError>> {
        match self.ring.decide(missing.as_deref(), self.clock.monotonic()) {
            Decision::Use { snapshot, refresh } => {
                self.observer.cache("key_set", true);
                if refresh {
                    self.fetch(cx);
                }
                Reply::Now(Ok(snapshot))
            }
            Decision::Fetch if missing.is_some() && self.waiting.len() >= WAITING_FOR_UNKNOWN => {
                Reply::Now(Err(AuthError::AuthorityUnavailable))
            }
            Decision::Fetch => {
                self.observer.cache("key_set", false);
                let (sender, receiver) = oneshot::channel();
                self.waiting.push((missing, sender));
                self.fetch(cx);
                Reply::Later(receiver)
            }
            Decision::Unavailable => Reply::Now(Err(AuthError::AuthorityUnavailable)),
        }
    }
}

impl Serve<SpendProof> for Auth {
    fn serve(&mut self, proof: SpendProof, cx: &mut Cx<'_, Self>) -> Reply<Result<(), AuthError>> {
        let window = seconds(proof.window_seconds);
        let now = self.look_at_the_clock();
        let Some(shared) = &self.shared else {
            let (tenant, ahead) = (&proof.tenant, proof.ahead_seconds);
            let spent = self.replay.spend(tenant, &proof.proof, window, ahead, now);
            return Reply::Now(spent.map_err(AuthError::from));
        };
        // One that was young enough when it was checked, and waited since. The store's margins begin where this ends.
        let age = (now.wall - proof.proof.issued).to_std().unwrap_or_default();
        if age > window {
            return Reply::Now(Err(AuthError::Proof(
                "the proof became too old while it waited: make a new one for every request".into(),
            )));
        }
        let spend = Spend {
            tenant: proof.tenant,
            id: proof.proof.replay_id,
            issued: proof.proof.issued,
            now: now.wall,
            window,
            ahead: seconds(proof.ahead_seconds),
            nonce_epoch: proof.proof.nonce,
            most: shared.most,
        };
        let (sender, receiver) = oneshot::channel();
        cx.run(shared.store.spend(spend), move |_: &mut Self, outcome, _cx| {
            // Nobody is told who has gone.
            let _ = sender.send(judged(outcome));
        });
        Reply::Later(receiver)
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Only a proof that the store has recorded now passes.
fn judged(outcome: Result<Result<Spent, StateUnavailable>, Panicked>) -> Result<(), AuthError> {
    match outcome {
        Ok(Ok(Spent::Recorded)) => Ok(()),
        Ok(Ok(Spent::Replayed)) => Err(ReplayError::Spent.into()),
        Ok(Ok(Spent::OlderThanStore)) => Err(ReplayError::OlderThanStore.into()),
        Ok(Ok(Spent::Full)) => Err(ReplayError::Full.into()),
        Ok(Err(_)) | Err(Panicked) => Err(AuthError::StateUnavailable),
    }
}

#[cfg(test)]
mod tests;
