//! A key in a PEM file: for development and air-gapped sites (contract §7).

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::{Algorithm, KeyState, Signature, SigningIdentity, SigningMode};
use signer_actors::evidence::SigningWarrant;
use signer_actors::ports::{BackendError, BackendInfo, PortFuture, SigningBackend, SigningKey};
use zeroize::Zeroizing;

use crate::crypto::{Message, Nonce, Pae, PrivateKey};

/// What a file backend needs to know.
pub struct Settings {
    /// `signing.backends[].id`
    pub id: KeyId,
    /// The private key, PEM.
    pub key_pem: Zeroizing<Vec<u8>>,
    /// What decrypts it, if it is encrypted.
    pub passphrase: Option<Zeroizing<Vec<u8>>>,
    /// The pinned algorithm.
    pub algorithm: Algorithm,
    /// RFC 6979 nonces: equal requests give equal signatures.
    pub deterministic: bool,
    /// A retired or revoked key is published, and never opened.
    pub state: KeyState,
    /// For a revoked key: nothing signed from here on is to be trusted.
    pub revoked_from: Option<DateTime<Utc>>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .field("deterministic", &self.deterministic)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// One key file, parsed once.
#[derive(Debug)]
pub struct FileBackend {
    info: BackendInfo,
    key: Arc<FileKey>,
}

impl FileBackend {
    /// Parses the key and checks that it fits the pinned algorithm. The settings' copy of the key is wiped.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let nonce = if settings.deterministic {
            Nonce::Deterministic
        } else {
            Nonce::Random
        };
        let passphrase = settings.passphrase.as_ref().map(|p| p.as_slice());
        let key = PrivateKey::from_pem(&settings.key_pem, passphrase, settings.algorithm, nonce)?;
        let public = key.public();
        let identity = SigningIdentity::keyful(
            settings.id.clone(),
            settings.algorithm,
            public.der(),
            public.pem(),
        );
        let info = BackendInfo {
            id: settings.id,
            kind: "file",
            mode: SigningMode::Kms,
            algorithm: settings.algorithm,
            key: identity.key_digest(),
            state: settings.state,
            revoked_from: settings.revoked_from,
            remote: false,
        };
        Ok(Self {
            info,
            key: Arc::new(FileKey { key, identity }),
        })
    }

    /// The public half and its names: for `/trust/keys`, whatever the key's state.
    pub fn identity(&self) -> &SigningIdentity {
        &self.key.identity
    }

    fn open_now(&self) -> Result<Arc<dyn SigningKey>, BackendError> {
        if self.info.state != KeyState::Active {
            let id = &self.info.id;
            return Err(BackendError::Unavailable(format!(
                "key {id} is retired or revoked and signs no more"
            )));
        }
        self.key.key.self_test().map_err(BackendError::Failed)?;
        Ok(Arc::clone(&self.key) as Arc<dyn SigningKey>)
    }
}

impl SigningBackend for FileBackend {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn open(&self) -> PortFuture<Result<Arc<dyn SigningKey>, BackendError>> {
        Box::pin(ready(self.open_now()))
    }
}

/// The open key.
#[derive(Debug)]
struct FileKey {
    key: PrivateKey,
    identity: SigningIdentity,
}

impl SigningKey for FileKey {
    fn identity(&self) -> &SigningIdentity {
        &self.identity
    }

    fn replace_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    fn sign(&self, warrant: Arc<SigningWarrant>) -> PortFuture<Result<Signature, BackendError>> {
        Box::pin(ready(sign(&self.key, &*warrant)))
    }

    fn verify(&self, payload_type: &str, payload: &[u8], signature: &Signature) -> bool {
        let pae = Pae {
            payload_type,
            payload,
        };
        self.key.public().verify(&pae, &signature.0)
    }

    fn verify_always(&self) -> bool {
        // A fault in a deterministic signature gives the key away: two signatures of one message, one of them faulty,
        // share a nonce (RFC 6979 §4; contract §7).
        self.key.nonce() == Nonce::Deterministic
    }
}

fn sign<M: Message>(key: &PrivateKey, message: &M) -> Result<Signature, BackendError> {
    key.sign(message).map(Signature).map_err(BackendError::Failed)
}

#[cfg(test)]
mod tests {
    use openssl::pkey::PKey;

    use super::*;

    fn settings(deterministic: bool, state: KeyState) -> Settings {
        let pem = PKey::ec_gen("prime256v1")
            .unwrap()
            .private_key_to_pem_pkcs8()
            .unwrap();
        Settings {
            id: KeyId::parse("release-2026").unwrap(),
            key_pem: Zeroizing::new(pem),
            passphrase: None,
            algorithm: Algorithm::EcdsaP256Sha256,
            deterministic,
            state,
            revoked_from: None,
        }
    }

    fn open(backend: &FileBackend) -> Result<Arc<dyn SigningKey>, BackendError> {
        futures_util::FutureExt::now_or_never(backend.open()).expect("a file key opens at once")
    }

    #[test]
    fn an_open_key_names_itself_and_verifies_its_own() {
        for deterministic in [true, false] {
            let backend = FileBackend::new(settings(deterministic, KeyState::Active)).unwrap();
            let info = backend.info();
            assert_eq!(
                (info.kind, info.mode, info.remote),
                ("file", SigningMode::Kms, false)
            );
            let key = open(&backend).unwrap();
            assert_eq!(key.verify_always(), deterministic);
            assert_eq!(key.replace_at(), None);
            assert_eq!(key.identity().key_id.as_str(), "release-2026");
            assert!(
                key.identity()
                    .public_key_pem
                    .starts_with("-----BEGIN PUBLIC KEY-----")
            );

            let pae = Pae {
                payload_type: "t",
                payload: b"p",
            };
            let first = sign(&backend.key.key, &pae).unwrap();
            let second = sign(&backend.key.key, &pae).unwrap();
            assert_eq!(first == second, deterministic);
            assert!(key.verify("t", b"p", &first));
            assert!(!key.verify("t", b"q", &first));
            assert!(!key.verify("u", b"p", &first));
        }
    }

    #[test]
    fn a_retired_key_does_not_open() {
        for state in [KeyState::Retired, KeyState::Revoked] {
            let backend = FileBackend::new(settings(true, state)).unwrap();
            assert!(matches!(open(&backend), Err(BackendError::Unavailable(_))));
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let mut wrong = settings(false, KeyState::Active);
        wrong.algorithm = Algorithm::Ed25519;
        assert!(
            FileBackend::new(wrong)
                .unwrap_err()
                .contains("does not fit ed25519")
        );
    }
}
