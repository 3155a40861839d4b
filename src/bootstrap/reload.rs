//! What SIGHUP does: keys and the trust in releases are changed while requests go on.
//!
//! All of it or nothing. What is new is made and tried beside what serves; then the change is recorded in the audit trail; only
//! then it takes the place of the old, each part at once. Why it is so: `docs/adr/0019-reload.md`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use signer_actors::audit::AuditError;
use signer_actors::domain::signing::KeyState;
use signer_actors::pipeline::{BackendHandle, Defaults, Services, Signers};
use signer_actors::ports::{ReleaseSource, SigningBackend};
use signer_actors::runtime::{AskError, Deadline};
use signer_actors::system::{Controls, Unopened};
use tokio::sync::watch;

use super::{backends, parts, record};
use crate::adapters::jose::source::OwnKeys;
use crate::adapters::registry::RegistryReleases;
use crate::config::{Backend, ConfigError, Settings};
use crate::http::state::Documents;
use crate::telemetry::metrics::{Metrics, Reload};

/// How long all new keys together may take to be opened.
const OPEN_TIME: Duration = Duration::from_secs(15);
/// How long the actor of release verdicts may take to hear of another trust.
const TRUST_TIME: Duration = Duration::from_secs(5);

/// Changes keys and trust of one service.
#[derive(Debug)]
pub struct Reloader {
    pub(super) controls: Controls,
    pub(super) services: Services,
    pub(super) metrics: Arc<Metrics>,
    pub(super) documents: watch::Sender<Documents>,
    pub(super) own_keys: watch::Sender<Arc<[Vec<u8>]>>,
    /// The same, beside the keys that neighbours publish.
    pub(super) seen_keys: OwnKeys,
    /// As it runs: what takes a restart is as it was at the start.
    pub(super) settings: Settings,
    /// A change of the trust in releases was given up: which one counts is not known.
    pub(super) trust_unknown: bool,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys were added, removed or changed, or another one is the default.
    pub keys: bool,
    /// Releases are judged by another policy.
    pub release_trust: bool,
    /// Keys of the configuration that were changed since the start, and are not applied.
    pub needs_restart: Vec<String>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// A backend, or the release policy, cannot be made of the configuration.
    #[error("{0}")]
    Unusable(String),
    /// A key would have two uses in what runs after the reload.
    #[error("{0}, as the service runs: a key has one use; what was changed there takes a restart first")]
    Shared(String),
    /// A new key cannot sign.
    #[error("{0}: give it what it needs, or take it out")]
    Unopened(#[from] Unopened),
    /// The change cannot be recorded.
    #[error("the change cannot be recorded in the audit trail: {0}")]
    Audit(#[from] AuditError),
    /// The actor of release verdicts does not answer.
    #[error("the release gate does not take another trust: {0}")]
    Release(#[from] AskError),
}

/// What signs a request that does not choose.
pub(super) fn defaults(settings: &Settings) -> Defaults {
    Defaults {
        mode: settings.signing.default_mode,
        key: settings.signing.default_key.clone(),
    }
}

/// Each backend with its state.
fn states(backends: &[Arc<dyn SigningBackend>]) -> String {
    let state = |backend: &Arc<dyn SigningBackend>| {
        let info = backend.info();
        let state = match info.state {
            KeyState::Active => "active",
            KeyState::Retired => "retired",
            KeyState::Revoked => "revoked",
        };
        format!("{}={state}", info.id)
    };
    backends.iter().map(state).collect::<Vec<_>>().join(" ")
}

impl Reloader {
    /// A configuration with errors changes nothing; each is logged.
    pub fn refuse(&self, errors: &[ConfigError]) {
        for error in errors {
            slog::error!(self.services.log, "the configuration has an error: nothing was changed"; "reason" => %error);
        }
        self.metrics.reloaded(Reload::Refused, self.services.clock.now());
    }

    /// Changes over to these settings, as far as a running service can; says so in log, metrics and audit trail.
    ///
    /// # Errors
    /// [`ReloadError`]; then nothing was changed.
    pub async fn apply(&mut self, settings: &Settings) -> Result<Reloaded, ReloadError> {
        let result = self.change(settings).await;
        // Those of before, or the new ones: while it was not decided, both were.
        self.own_keys.send_replace(parts::own_keys(&self.settings));
        let log = &self.services.log;
        match &result {
            Ok(done) => {
                let any = done.keys || done.release_trust;
                let result = if any { Reload::Applied } else { Reload::Unchanged };
                self.metrics.reloaded(result, self.services.clock.now());
                slog::info!(log, "the configuration was read again";
                    "keysChanged" => done.keys, "releaseTrustChanged" => done.release_trust);
                for key in &done.needs_restart {
                    slog::warn!(log, "a changed key of the configuration takes a restart"; "key" => key);
                }
            }
            Err(error) => {
                self.metrics.reloaded(Reload::Refused, self.services.clock.now());
                slog::error!(log, "the configuration could not be applied: nothing was changed"; "reason" => %error);
            }
        }
        result
    }

    async fn change(&mut self, wanted: &Settings) -> Result<Reloaded, ReloadError> {
        let next = self.settings.reloaded(wanted);
        let done = Reloaded {
            keys: !next.signing.signs_alike(&self.settings.signing),
            release_trust: self.trust_unknown || !next.release.judges_alike(&self.settings.release),
            needs_restart: self.settings.written.needs_restart(&wanted.written),
        };
        if !done.keys && !done.release_trust {
            self.settings = next;
            return Ok(done);
        }
        self.check_uses(&next)?;
        let built = self.build(&next)?;
        let releases = if done.release_trust {
            Some(self.releases(&next)?)
        } else {
            None
        };
        let signers = Signers {
            backends: self.start(&next, &built.all).await?,
            defaults: defaults(&next),
        };
        let mut facts = parts::facts(&next, &built.documents);
        facts.insert("keyStates".to_owned(), states(&built.all));
        record(&self.services, "reloaded", self.changes(&next, facts)).await?;
        if let Some(releases) = releases {
            let deadline = Deadline::after(TRUST_TIME);
            if let Err(error) = self.controls.trust(releases, deadline).await {
                // It may still take it, late: the next reload says again what counts.
                self.trust_unknown = true;
                // The record before this one would say otherwise.
                record(&self.services, "reload-failed", BTreeMap::new()).await?;
                return Err(error.into());
            }
        }
        self.trust_unknown = false;
        // Verifiers can know a key before it has signed anything.
        self.documents.send_replace(built.documents);
        self.controls.put_signers(signers);
        self.warn_of_replaced(&next);
        self.warn_of_late(&next);
        self.settings = next;
        Ok(done)
    }

    /// Each key has one use, in what will run: what takes a restart goes on as it was started, whatever the file says of it, and
    /// neighbours' key sets as they were fetched.
    fn check_uses(&self, next: &Settings) -> Result<(), ReloadError> {
        let shared = next.shared();
        if !shared.is_empty() {
            return Err(ReloadError::Shared(shared.join("; ")));
        }
        let (old, new) = (parts::own_keys(&self.settings), parts::own_keys(next));
        let added: Vec<Vec<u8>> = new.iter().filter(|key| !old.contains(key)).cloned().collect();
        self.own_keys
            .send_replace(old.iter().chain(&added).cloned().collect());
        match self.seen_keys.find_theirs(&added) {
            Ok(None) => Ok(()),
            Ok(Some(theirs)) => Err(ReloadError::Shared(format!(
                "signing.backends: a new key is {theirs}"
            ))),
            Err(why) => Err(ReloadError::Unusable(format!("signing.backends: {why}"))),
        }
    }

    /// The backends, and what verifiers are told of them; the timestamp authority is the one of the start.
    fn build(&self, next: &Settings) -> Result<backends::Backends, ReloadError> {
        let clock = &self.services.clock;
        let timestamps = parts::timestamps(next, clock);
        let timestamps = timestamps.map_err(|error| ReloadError::Unusable(error.to_string()))?;
        let named = next.timestamp.as_ref().zip(timestamps.as_ref());
        let named = named.map(|(configured, source)| (configured.url.as_str(), source));
        backends::build(&next.signing.backends, named, clock).map_err(ReloadError::Unusable)
    }

    fn releases(&self, next: &Settings) -> Result<Arc<dyn ReleaseSource>, ReloadError> {
        let unusable = |why: String| ReloadError::Unusable(format!("release: {why}"));
        let settings =
            parts::registry_settings(&next.release).map_err(|error| unusable(error.to_string()))?;
        let releases =
            RegistryReleases::new(&settings, Arc::clone(&self.services.clock)).map_err(unusable)?;
        Ok(Arc::new(releases))
    }

    /// The actors of the backends: those that are as before stay, with their open keys. New ones have opened theirs, but for keys
    /// that a failed self-check has disabled, which stay so.
    async fn start(
        &self,
        next: &Settings,
        built: &[Arc<dyn SigningBackend>],
    ) -> Result<Vec<BackendHandle>, ReloadError> {
        let deadline = Deadline::after(OPEN_TIME);
        let (now, before) = (self.controls.signers(), &self.settings.signing.backends);
        let mut handles = Vec::with_capacity(built.len());
        for (configured, backend) in next.signing.backends.iter().zip(built) {
            let same = before.contains(configured);
            let running = now
                .backends
                .iter()
                .find(|running| same && running.info.id == *configured.id());
            handles.push(match running {
                Some(running) => running.clone(),
                None => {
                    self.warn_of_disabled(backend);
                    self.controls.start(backend, deadline).await?
                }
            });
        }
        Ok(handles)
    }

    /// The facts of a start, and which keys are not as they were.
    fn changes(&self, next: &Settings, mut facts: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let (old, new) = (&self.settings.signing.backends, &next.signing.backends);
        let id = |backend: &Backend| backend.id().to_string();
        let missing_in =
            |others: &[Backend], backend: &Backend| others.iter().all(|other| other.id() != backend.id());
        let join = |ids: Vec<String>| ids.join(" ");
        let added = new.iter().filter(|backend| missing_in(old, backend)).map(id);
        let removed = old.iter().filter(|backend| missing_in(new, backend)).map(id);
        let changed = new
            .iter()
            .filter(|backend| !missing_in(old, backend) && !old.contains(backend))
            .map(id);
        let lists = [
            ("keysAdded", join(added.collect())),
            ("keysRemoved", join(removed.collect())),
            ("keysChanged", join(changed.collect())),
        ];
        let some = lists.into_iter().filter(|(_, ids)| !ids.is_empty());
        facts.extend(some.map(|(name, ids)| (name.to_owned(), ids)));
        facts
    }

    /// Another table does not heal a key.
    fn warn_of_disabled(&self, backend: &Arc<dyn SigningBackend>) {
        let info = backend.info();
        if info.state == KeyState::Active && self.controls.is_disabled(&info) {
            slog::warn!(self.services.log, "a key that a failed self-check has disabled stays disabled: it takes another key, or a \
                restart"; "backend" => %info.id);
        }
    }

    /// Signatures in progress at the change may have timestamps of after it.
    fn warn_of_late(&self, next: &Settings) {
        let (now, patience) = (self.services.clock.now(), self.settings.server.request_timeout);
        for backend in next
            .signing
            .backends
            .iter()
            .filter(|backend| !backend.is_active())
        {
            let before = &self.settings.signing.backends;
            let signed = before
                .iter()
                .any(|before| before.id() == backend.id() && before.is_active());
            if signed && backend.retired_from().is_some_and(|from| from < now + patience) {
                slog::warn!(self.services.log, "a key was retired from a time at which requests may still have ended with it: those \
                    signatures do not verify; give a time of server.request_timeout after the reload"; "backend" => %backend.id());
            }
        }
    }

    /// Another key under an id that verifiers know leaves them without the one that made the signatures they have.
    fn warn_of_replaced(&self, next: &Settings) {
        for backend in &next.signing.backends {
            let before = &self.settings.signing.backends;
            let before = before.iter().find(|before| before.id() == backend.id());
            if before.is_some_and(|before| before.public_key_der() != backend.public_key_der()) {
                slog::warn!(self.services.log, "an id has another key now: verifiers do not find the one that signed before; \
                    give each key an id of its own, and keep the old one as retired"; "backend" => %backend.id());
            }
        }
    }
}
