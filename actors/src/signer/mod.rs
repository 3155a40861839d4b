//! SignerActor, one per backend: keeps a key open and replaces it in time.
//!
//! Signing itself is CPU work (or a call of the backend) and happens with the lease of the open key on the worker that
//! accepted the request; what must be exact is here: one key per backend, opened by one flight, disabled for good
//! when a signature of its own does not verify.

mod disabled;
mod error;
mod messages;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub use disabled::DisabledKeys;
pub use error::SignerError;
pub use messages::{Disable, Lease};

use crate::domain::digest::Sha256Digest;
use crate::domain::signing::KeyState;
use crate::ports::{BackendError, Clock, Observer, SigningBackend, SigningKey};
use crate::runtime::{ActorState, Cx, Panicked, Reply, Serve};

/// Least time between two attempts to open a key after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A key younger than this is not replaced on demand: callers that want longer lives cannot make us hammer a CA.
const YOUNG: Duration = Duration::from_secs(30);
/// How often the open key is looked at, so that it is replaced ahead of need.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A key that is open.
pub type OpenKey = Arc<dyn SigningKey>;

#[derive(Debug)]
struct Waiter {
    min_life: Duration,
    sender: oneshot::Sender<Result<OpenKey, SignerError>>,
}

/// State of one backend's actor.
#[derive(Debug)]
pub struct Signer {
    backend: Arc<dyn SigningBackend>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    log: slog::Logger,
    published: watch::Sender<Option<OpenKey>>,
    open: Option<OpenKey>,
    opened_at: Option<Duration>,
    opening: bool,
    waiting: Vec<Waiter>,
    failed: Option<(Duration, SignerError)>,
    /// This actor's key is of no use, or no key of it ever will be.
    disabled: bool,
    /// Digest of the public key; `None`: keys are made anew for every certificate.
    key: Option<Sha256Digest>,
    /// Keys that are of no use in any actor.
    disabled_keys: DisabledKeys,
}

impl Signer {
    /// An actor for this backend; it opens its key as soon as it starts.
    pub fn new(
        backend: Arc<dyn SigningBackend>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
        log: slog::Logger,
        published: watch::Sender<Option<OpenKey>>,
    ) -> Self {
        // A retired or revoked key is known and never opened.
        let info = backend.info();
        let disabled = info.state != KeyState::Active;
        Self {
            backend,
            clock,
            observer,
            log,
            published,
            open: None,
            opened_at: None,
            opening: false,
            waiting: Vec::new(),
            failed: None,
            disabled,
            key: info.key,
            disabled_keys: DisabledKeys::default(),
        }
    }

    /// The same, which shares what other actors know of keys that are disabled, and tells them.
    #[must_use]
    pub fn knowing(self, disabled_keys: DisabledKeys) -> Self {
        Self {
            disabled_keys,
            ..self
        }
    }

    fn is_disabled(&self) -> bool {
        self.disabled || self.disabled_keys.has(self.key)
    }

    fn cooling_down(&self) -> Option<SignerError> {
        let (at, error) = self.failed.as_ref()?;
        (self.clock.monotonic().saturating_sub(*at) < RETRY_AFTER).then(|| error.clone())
    }

    fn open(&mut self, cx: &mut Cx<'_, Self>) {
        if self.opening || self.is_disabled() || self.cooling_down().is_some() {
            return;
        }
        self.opening = true;
        let begun = self.clock.monotonic();
        cx.run(self.backend.open(), move |this, result, _cx| {
            let result = result
                .unwrap_or_else(|Panicked| Err(BackendError::Failed("opening the key panicked".into())));
            let elapsed = this.clock.monotonic().saturating_sub(begun);
            this.observer
                .backend(this.backend.info().id.as_str(), "open", elapsed, result.is_ok());
            this.opened(result);
        });
    }

    fn opened(&mut self, result: Result<OpenKey, BackendError>) {
        self.opening = false;
        match result {
            Ok(key) if !self.is_disabled() => {
                let not_after = key.identity().not_after;
                self.observer
                    .key_expiry(self.backend.info().id.as_str(), not_after);
                self.failed = None;
                self.opened_at = Some(self.clock.monotonic());
                self.open = Some(Arc::clone(&key));
                self.published.send_replace(Some(key));
            }
            Ok(_) => {}
            Err(error) => {
                slog::warn!(self.log, "a signing key could not be opened";
                    "backend" => %self.backend.info().id, "reason" => %error);
                self.failed = Some((self.clock.monotonic(), SignerError::from(error)));
            }
        }
        for waiter in std::mem::take(&mut self.waiting) {
            let answer = self.live(waiter.min_life).ok_or_else(|| self.why_not());
            // A waiter that has gone needs no answer.
            drop(waiter.sender.send(answer));
        }
    }

    /// A key that can sign no more for now is taken back: opening another is the circuit's probe. So is one that was disabled
    /// in the hands of another actor.
    fn withdraw_lost(&mut self) {
        if self.open.is_some() && self.is_disabled() {
            self.withdraw();
        }
        if self.open.as_ref().is_some_and(|key| key.is_lost()) {
            slog::warn!(self.log, "a signing key was lost and is opened anew"; "backend" => %self.backend.info().id);
            self.opened_at = None;
            self.withdraw();
        }
    }

    fn withdraw(&mut self) {
        self.open = None;
        self.published.send_replace(None);
    }

    fn live(&self, min_life: Duration) -> Option<OpenKey> {
        let now = self.clock.now();
        self.open
            .as_ref()
            .filter(|key| !self.is_disabled() && key.lives_for(min_life, now))
            .cloned()
    }

    fn why_not(&self) -> SignerError {
        if self.is_disabled() {
            return SignerError::Disabled;
        }
        self.failed
            .as_ref()
            .map_or(SignerError::TooShortLived, |(_, error)| error.clone())
    }

    /// A key that is due the moment it is opened must not make every request open another one.
    fn is_due(&self) -> bool {
        let now = self.clock.now();
        self.open
            .as_ref()
            .is_none_or(|key| !self.is_young() && key.replace_at().is_some_and(|at| at <= now))
    }

    fn is_young(&self) -> bool {
        let now = self.clock.monotonic();
        self.open.is_some() && self.opened_at.is_some_and(|at| now.saturating_sub(at) < YOUNG)
    }

    fn look(&mut self, cx: &mut Cx<'_, Self>) {
        self.withdraw_lost();
        if self.is_due() {
            self.open(cx);
        }
        cx.after(LOOK_EVERY, Self::look);
    }
}

impl ActorState for Signer {
    const NAME: &'static str = "signer";

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        self.look(cx);
    }

    fn recover(&mut self) {
        // A disabled key stays disabled.
        self.open = None;
        self.opening = false;
        self.waiting.clear();
        self.published.send_replace(None);
    }
}

impl Serve<Lease> for Signer {
    fn serve(
        &mut self,
        Lease { min_life }: Lease,
        cx: &mut Cx<'_, Self>,
    ) -> Reply<Result<OpenKey, SignerError>> {
        self.withdraw_lost();
        // While a backend that failed is tried again, nobody but who caused that waits for it.
        let probing = self.opening && self.failed.is_some();
        if self.is_due() {
            self.open(cx);
        }
        if let Some(key) = self.live(min_life) {
            return Reply::Now(Ok(key));
        }
        // The open key is too old for this request: only a fresh one can serve it.
        if !self.is_young() {
            self.open(cx);
        }
        if !self.opening || probing {
            return Reply::Now(Err(self.why_not()));
        }
        let (sender, receiver) = oneshot::channel();
        self.waiting.push(Waiter { min_life, sender });
        Reply::Later(receiver)
    }
}

impl Serve<Disable> for Signer {
    fn serve(&mut self, _: Disable, _cx: &mut Cx<'_, Self>) -> Reply<()> {
        slog::crit!(self.log, "a signature of our own does not verify: the key is disabled until restart";
            "backend" => %self.backend.info().id);
        self.disabled = true;
        if let Some(key) = self.key {
            self.disabled_keys.add(key);
        }
        self.withdraw();
        Reply::Now(())
    }
}

#[cfg(test)]
mod tests;
