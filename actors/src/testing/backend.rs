//! A signing backend.

use super::*;

/// A backend whose signature is SHA-256 over the PAE: enough to see what was signed.
#[derive(Clone, Debug)]
pub struct FakeBackend {
    /// What it is.
    pub info: BackendInfo,
    /// What opening yields: how long the key lives (`None`: for ever), or an error.
    pub open: Dial<Result<Option<Duration>, BackendError>>,
    /// What signing yields instead of a signature.
    pub refuse: Dial<Option<BackendError>>,
    /// Whether signatures come out wrong.
    pub corrupt: Dial<bool>,
    /// Whether every signature is verified.
    pub verify_always: bool,
    /// Times opened.
    pub opened: Arc<AtomicU32>,
    /// Times signed.
    pub signed: Arc<AtomicU32>,
    /// Makes opening panic.
    pub bomb: Bomb,
    /// Makes signing panic.
    pub sign_bomb: Bomb,
    /// Opening is held back while false.
    pub open_up: Dial<bool>,
    /// Keys opened before this was raised are lost.
    pub losses: Arc<AtomicU32>,
    /// Signing is held back while false.
    pub sign_open: Dial<bool>,
    clock: FakeClock,
}

/// What stands for the public key of every backend.
const PUBLIC_KEY: &[u8] = &[0x30];

impl FakeBackend {
    /// A keyful backend with this id.
    pub fn new(id: &str, mode: SigningMode, clock: &FakeClock) -> Self {
        Self {
            info: BackendInfo {
                id: KeyId::parse(id).unwrap_or_else(|| panic!("{id} is not a key id")),
                kind: "fake",
                mode,
                algorithm: Algorithm::EcdsaP256Sha256,
                key: (mode == SigningMode::Kms).then(|| Sha256Digest::of(PUBLIC_KEY)),
                state: KeyState::Active,
                revoked_from: None,
                remote: false,
            },
            open: Dial::new(Ok(None)),
            refuse: Dial::new(None),
            corrupt: Dial::new(false),
            verify_always: true,
            opened: Arc::default(),
            signed: Arc::default(),
            bomb: Bomb::default(),
            sign_bomb: Bomb::default(),
            open_up: Dial::new(true),
            losses: Arc::default(),
            sign_open: Dial::new(true),
            clock: clock.clone(),
        }
    }
}

impl SigningBackend for FakeBackend {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn open(&self) -> PortFuture<Result<Arc<dyn SigningKey>, BackendError>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.bomb.tick();
        let this = self.clone();
        Box::pin(async move {
            this.open_up.until(|up| *up).await;
            let life = this.open.get()?;
            let not_after = life.map(|life| this.clock.now() + life);
            let id = this.info.id.clone();
            let pem = "-----BEGIN PUBLIC KEY-----";
            let identity = SigningIdentity {
                mode: this.info.mode,
                not_after,
                ..SigningIdentity::keyful(id, this.info.algorithm, PUBLIC_KEY, pem)
            };
            let replace_at = life.map(|life| this.clock.now() + life / 2);
            Ok(Arc::new(FakeKey {
                identity,
                replace_at,
                losses: this.losses.load(Ordering::SeqCst),
                backend: this,
            }) as Arc<dyn SigningKey>)
        })
    }
}

#[derive(Debug)]
struct FakeKey {
    identity: SigningIdentity,
    replace_at: Option<DateTime<Utc>>,
    losses: u32,
    backend: FakeBackend,
}

impl SigningKey for FakeKey {
    fn identity(&self) -> &SigningIdentity {
        &self.identity
    }

    fn replace_at(&self) -> Option<DateTime<Utc>> {
        self.replace_at
    }

    fn is_lost(&self) -> bool {
        self.backend.losses.load(Ordering::SeqCst) > self.losses
    }

    fn sign(&self, warrant: Arc<SigningWarrant>) -> PortFuture<Result<Signature, BackendError>> {
        self.backend.signed.fetch_add(1, Ordering::SeqCst);
        self.backend.sign_bomb.tick();
        let (refuse, corrupt) = (self.backend.refuse.get(), self.backend.corrupt.get());
        let gate = self.backend.sign_open.clone();
        Box::pin(async move {
            gate.until(|open| *open).await;
            match refuse {
                Some(error) => Err(error),
                None if corrupt => Ok(Signature(vec![0; 32])),
                None => Ok(Signature(warrant.pae_sha256().0.to_vec())),
            }
        })
    }

    fn verify(&self, payload_type: &str, payload: &[u8], signature: &Signature) -> bool {
        crate::domain::envelope::pae_sha256(payload_type, payload).0 == *signature.0
    }

    fn verify_always(&self) -> bool {
        self.backend.verify_always
    }
}
