//! A key of which only the public half is left: it is known by its id, published, and signs no more.

use std::future::ready;
use std::sync::Arc;

use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::{Algorithm, KeyLife, KeyState, SigningIdentity, SigningMode};
use signer_actors::ports::{BackendError, BackendInfo, PortFuture, SigningBackend, SigningKey};

use crate::crypto::{PublicKey, parse_public_pem};

/// A retired or revoked key without its private half.
#[derive(Debug)]
pub struct PublishedKey {
    info: BackendInfo,
    identity: SigningIdentity,
}

impl PublishedKey {
    /// Reads the public key (SPKI, PEM). The state must not be active.
    pub fn new(id: KeyId, public_pem: &[u8], algorithm: Algorithm, life: KeyLife) -> Result<Self, String> {
        if life.state == KeyState::Active {
            return Err(format!("key {id} is active and has no private key"));
        }
        let key = PublicKey::new(parse_public_pem(public_pem)?, algorithm)?;
        let mode = SigningMode::Kms;
        let identity = SigningIdentity::keyful(id.clone(), algorithm, key.der(), key.pem());
        let info = BackendInfo {
            id,
            kind: "file",
            mode,
            algorithm,
            key: identity.key_digest(),
            state: life.state,
            revoked_from: life.revoked_from,
            remote: false,
        };
        Ok(Self { info, identity })
    }

    /// The public half and its names.
    pub fn identity(&self) -> &SigningIdentity {
        &self.identity
    }
}

impl SigningBackend for PublishedKey {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn open(&self) -> PortFuture<Result<Arc<dyn SigningKey>, BackendError>> {
        Box::pin(ready(Err(BackendError::Unavailable(
            "the key signs no more".into(),
        ))))
    }
}
