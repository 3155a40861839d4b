//! What changes while the service runs, and who may change it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::ArbiterHandle;
use tokio::sync::watch;

use crate::domain::ids::KeyId;
use crate::domain::signing::KeyState;
use crate::pipeline::{BackendHandle, Signers};
use crate::ports::{BackendInfo, Clock, ReleaseSource, SigningBackend};
use crate::referrer::{Referrers, Trust};
use crate::runtime::{AskError, Deadline, Mailbox, Vitals, start};
use crate::signer::{DisabledKeys, Lease, Signer, SignerError};

/// Replaces signers and the trust in releases. There is one of each service, and whoever has it is the only one who changes
/// anything; everyone else sees what is published.
pub struct Controls {
    pub(super) arbiter: ArbiterHandle,
    pub(super) vitals: Vitals,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) capacity: usize,
    pub(super) signers: watch::Sender<Arc<Signers>>,
    pub(super) referrer: Mailbox<Referrers>,
    pub(super) disabled: DisabledKeys,
}

impl fmt::Debug for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controls")
            .field("signers", &self.signers.borrow())
            .finish_non_exhaustive()
    }
}

/// A key that should sign could not be opened, or failed its self-test. Why is in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key {id} cannot be opened: {error}")]
pub struct Unopened {
    /// Which.
    pub id: KeyId,
    /// As callers would be told.
    pub error: SignerError,
}

impl Controls {
    /// Who signs now.
    pub fn signers(&self) -> Arc<Signers> {
        Arc::clone(&self.signers.borrow())
    }

    /// Whether a failed self-check has disabled this key, in the hands of any actor since the process began.
    pub fn is_disabled(&self, backend: &BackendInfo) -> bool {
        self.disabled.has(backend.key)
    }

    /// Starts the actor of a backend. One that is to sign must have opened its key, which tests it, before the deadline; a
    /// disabled key is not opened. Nothing is changed by that, and the actor ends with its handle.
    ///
    /// # Errors
    /// [`Unopened`].
    pub async fn start(
        &self,
        backend: &Arc<dyn SigningBackend>,
        deadline: Deadline,
    ) -> Result<BackendHandle, Unopened> {
        let handle = self.begin(backend);
        if handle.info.state == KeyState::Active && !self.is_disabled(&handle.info) {
            let min_life = Duration::ZERO;
            let opened = handle.mailbox.ask(Lease { min_life }, deadline).await;
            let opened = opened.unwrap_or(Err(SignerError::Unavailable));
            opened.map_err(|error| Unopened {
                id: handle.info.id.clone(),
                error,
            })?;
        }
        Ok(handle)
    }

    /// The same without waiting for its key: at the start of the service, which goes on without one.
    pub(super) fn begin(&self, backend: &Arc<dyn SigningBackend>) -> BackendHandle {
        let published = watch::Sender::new(None);
        let open = published.subscribe();
        let info = backend.info();
        let (backend, clock) = (Arc::clone(backend), Arc::clone(&self.clock));
        let (observer, log) = (Arc::clone(&self.vitals.observer), self.vitals.log.clone());
        let (disabled, known) = (self.disabled.clone(), self.disabled.clone());
        let mailbox = start(&self.arbiter, self.capacity, self.vitals.clone(), move || {
            Signer::new(backend, clock, observer, log, published).knowing(known)
        });
        BackendHandle {
            info,
            mailbox,
            open,
            disabled,
        }
    }

    /// From here on requests are signed by these. Those in progress end with what they began with; an actor that nobody uses
    /// any more ends.
    pub fn put_signers(&self, signers: Signers) {
        let before = self.signers.send_replace(Arc::new(signers));
        let now = self.signers();
        for gone in before.backends.iter().map(|backend| &backend.info.id) {
            let stays = now.backends.iter().any(|backend| backend.info.id == *gone);
            if !stays {
                self.vitals.observer.key_expiry(gone.as_str(), None);
            }
        }
    }

    /// From here on releases are judged by this source, of the same repositories; verdicts of before are forgotten.
    ///
    /// # Errors
    /// The actor did not answer in time, or has ended.
    pub async fn trust(&self, source: Arc<dyn ReleaseSource>, deadline: Deadline) -> Result<(), AskError> {
        self.referrer.insist(Trust(source), deadline).await
    }
}
