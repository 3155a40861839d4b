//! Keys that another process or a device holds: what all such backends have in common.
//!
//! The configuration pins the public key: whoever puts another key behind the same name is noticed when the key is
//! opened, and by every signature after that. Opening signs in and proves the key by a signature; what it yields lives
//! until it is replaced ahead of its end, ends, or fails so often that another opening has to prove the backend first.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use openssl::rand::rand_bytes;
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::{Algorithm, KeyState, Signature, SigningIdentity, SigningMode};
use signer_actors::evidence::SigningWarrant;
use signer_actors::ports::{BackendError, BackendInfo, Clock, PortFuture, SigningBackend, SigningKey};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::crypto::{self, Message, Pae, PublicKey, parse_public_pem};

/// So many signatures in a row that the backend did not make, and the key counts as lost.
const MAX_TROUBLES: u32 = 5;

/// What is signed when a key is opened, before random bytes: no DSSE pre-authentication encoding begins like this.
const SELF_TEST: &[u8] = b"stellaops-signer self-test\n";

/// A way to sign with keys elsewhere.
pub(super) trait RemoteSigner: Send + Sync + fmt::Debug {
    /// Signs in and makes sure that the key is there and can sign.
    fn begin(&self) -> PortFuture<Result<Begun, RemoteError>>;
}

/// A session that can sign.
#[derive(Debug)]
pub(super) struct Begun {
    /// It.
    pub(super) session: Arc<dyn RemoteSession>,
    /// How long it is good for; `None`: until it fails.
    pub(super) lives: Option<Duration>,
}

/// Signs with one key, many at once.
pub(super) trait RemoteSession: Send + Sync + fmt::Debug {
    /// The signature in the form that leaves the service: ECDSA as DER.
    fn sign(&self, input: Input) -> PortFuture<Result<Vec<u8>, RemoteError>>;
}

/// What the other side is given to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The hash of the algorithm (ECDSA, RSA): the statement itself stays here.
    Digest(Vec<u8>),
    /// Everything (Ed25519, which hashes twice: RFC 8032 §5.1.6).
    Message(Vec<u8>),
}

impl Input {
    /// Of what an algorithm signs.
    pub(super) fn of<M: Message + ?Sized>(algorithm: Algorithm, message: &M) -> Result<Self, RemoteError> {
        if algorithm == Algorithm::Ed25519 {
            return Ok(Self::Message(message.bytes().into_owned()));
        }
        let digest = crypto::digest(algorithm, message);
        digest
            .map(Self::Digest)
            .map_err(|_| RemoteError::Failed("the digest could not be made".into()))
    }
}

/// Why the other side did not sign. Texts are for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RemoteError {
    /// It answered, and the answer is an error or unusable: 502 `signing_backend_error`.
    Failed(String),
    /// Not there, sealed, throttled, too slow: 503 `signing_backend_unavailable`.
    Unavailable(String),
    /// The session is over; a new one may do: 503 for this request.
    Ended(String),
}

impl From<RemoteError> for BackendError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Failed(text) => Self::Failed(text),
            RemoteError::Unavailable(text) | RemoteError::Ended(text) => Self::Unavailable(text),
        }
    }
}

/// What every such backend needs to know.
#[derive(Debug)]
pub struct Settings {
    /// `signing.backends[].id`
    pub id: KeyId,
    /// `signing.backends[].kind`
    pub kind: &'static str,
    /// The pinned algorithm.
    pub algorithm: Algorithm,
    /// The pinned public key: SubjectPublicKeyInfo, PEM.
    pub public_key_pem: Vec<u8>,
    /// How long one signature may take, waiting for a place included, and how long signing in.
    pub timeout: Duration,
    /// Signatures at once.
    pub concurrency: usize,
}

/// One key elsewhere.
#[derive(Debug)]
pub struct RemoteBackend {
    info: BackendInfo,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    identity: SigningIdentity,
    public: PublicKey,
    signer: Arc<dyn RemoteSigner>,
    places: Semaphore,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl RemoteBackend {
    /// Reads the pinned key; asks nothing yet.
    pub(super) fn new(
        settings: Settings,
        signer: Arc<dyn RemoteSigner>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let public = PublicKey::new(parse_public_pem(&settings.public_key_pem)?, settings.algorithm)?;
        let identity = SigningIdentity::keyful(
            settings.id.clone(),
            settings.algorithm,
            public.der(),
            public.pem(),
        );
        let info = BackendInfo {
            id: settings.id,
            kind: settings.kind,
            mode: SigningMode::Kms,
            algorithm: settings.algorithm,
            key: identity.key_digest(),
            state: KeyState::Active,
            revoked_from: None,
            remote: true,
        };
        let shared = Shared {
            identity,
            public,
            signer,
            places: Semaphore::new(settings.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            timeout: settings.timeout,
            clock,
        };
        Ok(Self {
            info,
            shared: Arc::new(shared),
        })
    }

    /// The public half and its names.
    pub fn identity(&self) -> &SigningIdentity {
        &self.shared.identity
    }
}

impl SigningBackend for RemoteBackend {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn open(&self) -> PortFuture<Result<Arc<dyn SigningKey>, BackendError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let opened = timeout(shared.timeout, shared.open()).await;
            let begun = opened.unwrap_or_else(|_| Err(late("open the key")))?;
            let lives = begun.lives.and_then(|lives| TimeDelta::from_std(lives).ok());
            let now = shared.clock.now();
            let open = Open {
                session: begun.session,
                replace_at: lives.and_then(|lives| now.checked_add_signed(lives / 3 * 2)),
                troubles: AtomicU32::new(0),
                lost: AtomicBool::new(false),
                shared,
            };
            Ok(Arc::new(RemoteKey(Arc::new(open))) as Arc<dyn SigningKey>)
        })
    }
}

impl Shared {
    async fn open(&self) -> Result<Begun, RemoteError> {
        let begun = self.signer.begin().await?;
        let mut challenge = [SELF_TEST, &[0; 32]].concat();
        rand_bytes(challenge.split_at_mut(SELF_TEST.len()).1)
            .map_err(|_| RemoteError::Failed("no random bytes".into()))?;
        let input = Input::of(self.public.algorithm(), challenge.as_slice())?;
        let signature = begun.session.sign(input).await?;
        if self.public.verify(challenge.as_slice(), &signature) {
            Ok(begun)
        } else {
            let text = "the key does not make signatures that public_key verifies: compare key, algorithm and public_key";
            Err(RemoteError::Failed(text.into()))
        }
    }
}

/// An open key.
#[derive(Debug)]
struct RemoteKey(Arc<Open>);

#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    session: Arc<dyn RemoteSession>,
    replace_at: Option<DateTime<Utc>>,
    /// Signatures in a row that were not made.
    troubles: AtomicU32,
    lost: AtomicBool,
}

impl Open {
    async fn sign<M: Message + Sync>(&self, message: &M) -> Result<Signature, RemoteError> {
        let started = Instant::now();
        let place = timeout(self.shared.timeout, self.shared.places.acquire()).await;
        let left = self.shared.timeout.saturating_sub(started.elapsed());
        let (Ok(Ok(_place)), false) = (place, left.is_zero()) else {
            // No trouble of the backend by itself: those who hold the places tell of that.
            let text = "every place for a signature is taken";
            return Err(RemoteError::Unavailable(text.into()));
        };
        let input = Input::of(self.shared.public.algorithm(), message)?;
        let signed = timeout(left, self.session.sign(input)).await;
        let signed = signed.unwrap_or_else(|_| Err(late("sign")));
        self.note(&signed);
        signed.map(Signature)
    }

    /// An answer, even one that is an error, shows that the backend is there.
    fn note(&self, signed: &Result<Vec<u8>, RemoteError>) {
        match signed {
            Ok(_) | Err(RemoteError::Failed(_)) => self.troubles.store(0, Ordering::Relaxed),
            Err(RemoteError::Unavailable(_)) => {
                if self.troubles.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_TROUBLES {
                    self.lost.store(true, Ordering::Relaxed);
                }
            }
            Err(RemoteError::Ended(_)) => self.lost.store(true, Ordering::Relaxed),
        }
    }
}

impl SigningKey for RemoteKey {
    fn identity(&self) -> &SigningIdentity {
        &self.0.shared.identity
    }

    fn replace_at(&self) -> Option<DateTime<Utc>> {
        self.0.replace_at
    }

    fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }

    fn sign(&self, warrant: Arc<SigningWarrant>) -> PortFuture<Result<Signature, BackendError>> {
        let open = Arc::clone(&self.0);
        Box::pin(async move { Ok(open.sign(&*warrant).await?) })
    }

    fn verify(&self, payload_type: &str, payload: &[u8], signature: &Signature) -> bool {
        let pae = Pae {
            payload_type,
            payload,
        };
        self.0.shared.public.verify(&pae, &signature.0)
    }

    fn verify_always(&self) -> bool {
        true
    }
}

fn late(what: &str) -> RemoteError {
    RemoteError::Unavailable(format!("the backend did not {what} in time"))
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
