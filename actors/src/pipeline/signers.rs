//! Who signs. Immutable: a reload puts another in its place, and a request goes on with the one that it began with.

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::ids::KeyId;
use crate::domain::signing::{KeyState, SigningMode};
use crate::ports::BackendInfo;
use crate::runtime::Mailbox;
use crate::signer::{DisabledKeys, OpenKey, Signer, SignerError};

/// One backend's actor.
#[derive(Clone, Debug)]
pub struct BackendHandle {
    /// What it is.
    pub info: BackendInfo,
    /// The actor.
    pub mailbox: Mailbox<Signer>,
    /// The open key as the actor last published it.
    pub open: watch::Receiver<Option<OpenKey>>,
    /// Keys that are disabled, whichever actor found out.
    pub disabled: DisabledKeys,
}

impl BackendHandle {
    /// The open key, unless it is disabled: its actor may not have heard of it yet.
    pub(super) fn open_key(&self) -> Option<OpenKey> {
        let open = self.open.borrow().clone();
        open.filter(|_| !self.disabled.has(self.info.key))
    }

    /// A retired or revoked key signs no more.
    pub(super) fn check_active(&self) -> Result<(), SignerError> {
        match self.info.state {
            KeyState::Active => Ok(()),
            KeyState::Retired | KeyState::Revoked => Err(SignerError::Retired),
        }
    }
}

/// What signs a request that does not choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Mode of a request that names none.
    pub mode: SigningMode,
    /// Keyful backend of a request that names none.
    pub key: Option<KeyId>,
}

/// Backends, in configured order, and which of them is whose.
#[derive(Clone, Debug)]
pub struct Signers {
    /// The backends.
    pub backends: Vec<BackendHandle>,
    /// For requests that do not choose.
    pub defaults: Defaults,
}

/// As it is now, and as it will be.
pub type PublishedSigners = watch::Receiver<Arc<Signers>>;

impl Signers {
    /// The backend for a mode and an optional key id, and whether the key is another than the default one.
    pub(super) fn backend(
        &self,
        mode: SigningMode,
        key: Option<&KeyId>,
    ) -> Result<(&BackendHandle, bool), SignerError> {
        if mode == SigningMode::Keyless && key.is_some() {
            return Err(SignerError::NotConfigured(
                "keyless signing has no keyId: leave keyId out or use signingMode kms",
            ));
        }
        let default = self.defaults.key.as_ref();
        let of_mode = |backend: &&BackendHandle| backend.info.mode == mode;
        let Some(first) = self.backends.iter().find(of_mode) else {
            return Err(SignerError::NotConfigured(
                "this signingMode is not configured here",
            ));
        };
        let wanted = key.or(if mode == SigningMode::Kms { default } else { None });
        let backend = match wanted {
            Some(id) => self
                .backends
                .iter()
                .filter(of_mode)
                .find(|backend| backend.info.id == *id),
            None => Some(first),
        };
        let backend = backend.ok_or(SignerError::NotConfigured(
            "this keyId is not known: see /trust/keys",
        ))?;
        let is_default =
            backend.info.id == *default.unwrap_or(&first.info.id) || mode == SigningMode::Keyless;
        Ok((backend, !is_default))
    }
}
