//! Fakes of every port, for tests of this crate and of the service. They answer as told, count what they were asked,
//! and panic or fail on request.

#![allow(clippy::panic, reason = "a fake that cannot be made is a fault of the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use crate::domain::caller::{AccessToken, Confirmation, Credentials, Scheme, VerifiedProof};
use crate::domain::digest::{ImageDigest, Sha256Digest};
use crate::domain::entitlement::{Entitlement, Features};
use crate::domain::ids::{CorrelationId, KeyId};
use crate::domain::plan::PlanLimits;
use crate::domain::release::{ReleaseReport, ReleaseSigner, Verdict};
use crate::domain::signing::{Algorithm, KeyState, Signature, SigningIdentity, SigningMode};
use crate::domain::tenant::{InstallationId, TenantId};
use crate::evidence::SigningWarrant;
use crate::keyring::KeyPolicy;
use crate::pipeline::{Context, Policy};
use crate::ports::{
    AuditLog, AuditLogError, AuthoritySource, BackendError, BackendInfo, Clock, Ids, Introspection,
    LicensingSource, PoeRejection, PoeVerifier, PortFuture, ProofRejection, ProofVerifier, ReleaseError,
    ReleaseSource, SigningBackend, SigningKey, SourceUnavailable, TokenRejection, TokenVerifier, Unobserved,
};
use crate::runtime::{Deadline, Vitals, Watchdog};
use crate::system::{Parts, Tuning};

/// Thumbprint of the key that fake tokens are bound to.
pub const KEY: Sha256Digest = Sha256Digest([1; 32]);

/// The instant at which fake clocks start: 2026-10-01T00:00:00Z.
#[allow(
    non_snake_case,
    reason = "reads as the constant it would be if chrono's constructors were const"
)]
pub fn NOW() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_812_800, 0).unwrap_or_default()
}

/// A clock that stands still until told to move. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct FakeClock {
    moved: Arc<AtomicI64>,
    jumped: Arc<AtomicI64>,
}

impl FakeClock {
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.moved
            .fetch_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the wall clock forward, as an operator may; the other one stands still.
    pub fn jump(&self, by: Duration) {
        self.jumped
            .fetch_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> DateTime<Utc> {
        NOW()
            + chrono::Duration::nanoseconds(
                self.moved.load(Ordering::SeqCst) + self.jumped.load(Ordering::SeqCst),
            )
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.moved.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// Identifiers that count.
#[derive(Debug, Default)]
pub struct FakeIds(AtomicU64);

impl Ids for FakeIds {
    fn uuid(&self) -> Uuid {
        Uuid::from_u64_pair(
            0x0192_0000_0000_7000,
            0x8000_0000_0000_0000 | self.0.fetch_add(1, Ordering::SeqCst),
        )
    }
}

/// How a fake behaves now; changed while it runs.
#[derive(Clone, Debug)]
pub struct Dial<T: Clone>(Arc<watch::Sender<T>>);

impl<T: Clone> Dial<T> {
    /// At this position.
    pub fn new(value: T) -> Self {
        Self(Arc::new(watch::Sender::new(value)))
    }

    /// Sets it.
    pub fn set(&self, value: T) {
        self.0.send_replace(value);
    }

    /// Resolves once it stands so.
    pub async fn until(&self, wanted: impl FnMut(&T) -> bool) {
        let mut receiver = self.0.subscribe();
        // The sender lives in `self`.
        drop(receiver.wait_for(wanted).await);
    }

    /// Where it stands.
    pub fn get(&self) -> T {
        self.0.borrow().clone()
    }
}

/// A switch that makes the next call panic.
#[derive(Clone, Debug, Default)]
pub struct Bomb(Arc<AtomicBool>);

impl Bomb {
    /// The next call panics.
    pub fn arm(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn tick(&self) {
        assert!(!self.0.swap(false, Ordering::SeqCst), "a fake was told to panic");
    }
}

/// A verified token of tenant `acme`.
pub fn access_token() -> AccessToken {
    AccessToken {
        digest: Sha256Digest::of(b"token"),
        key_id: "k1".into(),
        subject: "scanner-1".into(),
        client_id: "scanner".into(),
        token_id: "t-1".into(),
        tenant: tenant("acme"),
        installation: installation(),
        scopes: vec!["signer.sign".into()],
        confirmation: Confirmation {
            jkt: Some(KEY),
            x5t_s256: None,
        },
        scanner_image: Some(image()),
        expires: NOW() + chrono::Duration::minutes(5),
    }
}

/// Credentials that fakes accept.
pub fn credentials() -> Credentials {
    Credentials {
        scheme: Scheme::Dpop,
        token: "token".into(),
        proof: Some("proof".into()),
        client_certificate: None,
        method: "POST".into(),
        path: "/api/v1/signer/sign/dsse".into(),
    }
}

/// A verified proof by [`KEY`].
pub fn proof() -> VerifiedProof {
    VerifiedProof {
        thumbprint: KEY,
        replay_id: Sha256Digest::of(b"jti"),
        issued: NOW(),
        has_nonce: false,
        body: None,
    }
}

/// A tenant.
pub fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap_or_else(|| panic!("{name} is not a tenant"))
}

/// The installation of fake tokens.
pub fn installation() -> InstallationId {
    InstallationId::parse("acme-1").unwrap_or_else(|| panic!("not an installation"))
}

/// The scanner image of fake tokens.
pub fn image() -> ImageDigest {
    ImageDigest::from(Sha256Digest([7; 32]))
}

/// A generous entitlement of tenant `acme`.
pub fn entitlement() -> Entitlement {
    Entitlement {
        license: "lic-1".into(),
        tenant: tenant("acme"),
        installation: installation(),
        plan: "pro".into(),
        expires: NOW() + chrono::Duration::hours(1),
        confirmation: None,
        limits: PlanLimits {
            qps: 100,
            burst: 200,
            concurrency: 16,
            max_artifact_bytes: 1 << 20,
        },
        versions: None,
        features: Features::new(
            ["mode:kms", "mode:keyless", "predicate:*"]
                .map(str::to_owned)
                .to_vec(),
        ),
    }
}

/// A trusted report about [`image`].
pub fn report(verdict: Verdict) -> ReleaseReport {
    ReleaseReport {
        digest: image(),
        repository: "registry.example/scanner".into(),
        verdict,
        signer: (verdict == Verdict::Trusted).then(|| ReleaseSigner::Key { key_id: "k".into() }),
        release_tag: (verdict == Verdict::Trusted).then(|| "2026.10".into()),
        signatures: Vec::new(),
        sources: Vec::new(),
        checked_at: NOW(),
    }
}

/// A context with five seconds.
pub fn context() -> Context {
    Context {
        correlation: CorrelationId::parse("test").unwrap_or_else(|| panic!("not a correlation id")),
        deadline: Deadline::after(Duration::from_secs(5)),
    }
}

/// An Authority that publishes the keys it is told to.
#[derive(Clone, Debug)]
pub struct FakeAuthority {
    /// Key ids published; `None`: down.
    pub published: Dial<Option<Vec<String>>>,
    /// What verifying yields, with a known key.
    pub token: Dial<Result<AccessToken, TokenRejection>>,
    /// `kid` of tokens.
    pub kid: Dial<String>,
    /// Times the keys were fetched.
    pub fetches: Arc<AtomicU32>,
    /// Makes a fetch panic.
    pub bomb: Bomb,
}

impl Default for FakeAuthority {
    fn default() -> Self {
        Self {
            published: Dial::new(Some(vec!["k1".into()])),
            token: Dial::new(Ok(access_token())),
            kid: Dial::new("k1".into()),
            fetches: Arc::default(),
            bomb: Bomb::default(),
        }
    }
}

#[derive(Debug)]
struct FakeKeys {
    kids: Vec<String>,
    authority: FakeAuthority,
}

impl AuthoritySource for FakeAuthority {
    fn fetch(&self) -> PortFuture<Result<Arc<dyn TokenVerifier>, SourceUnavailable>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.bomb.tick();
        let authority = self.clone();
        Box::pin(async move {
            let kids = authority
                .published
                .get()
                .ok_or_else(|| SourceUnavailable("down".into()))?;
            Ok(Arc::new(FakeKeys { kids, authority }) as Arc<dyn TokenVerifier>)
        })
    }
}

impl TokenVerifier for FakeKeys {
    fn knows(&self, kid: &str) -> bool {
        self.kids.iter().any(|known| known == kid)
    }

    fn verify(&self, _token: &str, _now: DateTime<Utc>) -> Result<AccessToken, TokenRejection> {
        let kid = self.authority.kid.get();
        if !self.knows(&kid) {
            return Err(TokenRejection::UnknownKey { kid });
        }
        self.authority.token.get()
    }
}

/// Accepts proofs; each is new unless told otherwise.
#[derive(Clone, Debug)]
pub struct FakeProofs {
    /// What verifying yields; a fresh replay id is put in when `fresh`.
    pub proof: Dial<Result<VerifiedProof, ProofRejection>>,
    /// Whether every proof has an id of its own.
    pub fresh: Dial<bool>,
    /// The nonce handed out.
    pub nonce: Dial<Option<String>>,
    count: Arc<AtomicU64>,
}

impl Default for FakeProofs {
    fn default() -> Self {
        Self {
            proof: Dial::new(Ok(proof())),
            fresh: Dial::new(true),
            nonce: Dial::new(None),
            count: Arc::default(),
        }
    }
}

impl ProofVerifier for FakeProofs {
    fn verify(
        &self,
        _: &Credentials,
        _: &AccessToken,
        _: DateTime<Utc>,
    ) -> Result<VerifiedProof, ProofRejection> {
        let mut proof = self.proof.get()?;
        if self.fresh.get() {
            proof.replay_id = Sha256Digest::of(&self.count.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        }
        Ok(proof)
    }

    fn nonce(&self, _now: DateTime<Utc>) -> Option<String> {
        self.nonce.get()
    }

    fn window_seconds(&self) -> i64 {
        90
    }
}

/// A Licensing that says what it is told to.
#[derive(Clone, Debug)]
pub struct FakeLicensing {
    /// What local verification yields.
    pub local: Dial<Result<Entitlement, PoeRejection>>,
    /// What introspection yields; `None` inside `Ok`: whatever the token said.
    pub online: Dial<Result<Option<Introspection>, SourceUnavailable>>,
    /// Whether keys can be fetched.
    pub keys_up: Dial<bool>,
    /// Held back while false, to let requests pile up.
    pub open: Dial<bool>,
    /// Times introspected.
    pub introspections: Arc<AtomicU32>,
    /// Times the keys were fetched.
    pub fetches: Arc<AtomicU32>,
    /// Makes introspection panic.
    pub bomb: Bomb,
}

impl Default for FakeLicensing {
    fn default() -> Self {
        Self {
            local: Dial::new(Ok(entitlement())),
            online: Dial::new(Ok(None)),
            keys_up: Dial::new(true),
            open: Dial::new(true),
            introspections: Arc::default(),
            fetches: Arc::default(),
            bomb: Bomb::default(),
        }
    }
}

impl LicensingSource for FakeLicensing {
    fn fetch_keys(&self) -> PortFuture<Result<Arc<dyn PoeVerifier>, SourceUnavailable>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let this = self.clone();
        Box::pin(async move {
            if !this.keys_up.get() {
                return Err(SourceUnavailable("down".into()));
            }
            Ok(Arc::new(FakePoeKeys(this)) as Arc<dyn PoeVerifier>)
        })
    }

    fn introspect(
        &self,
        _: Arc<str>,
        facts: Entitlement,
    ) -> PortFuture<Result<Introspection, SourceUnavailable>> {
        self.introspections.fetch_add(1, Ordering::SeqCst);
        self.bomb.tick();
        let this = self.clone();
        Box::pin(async move {
            this.open.until(|open| *open).await;
            this.online
                .get()
                .map(|answer| answer.unwrap_or_else(|| Introspection::Active(Box::new(facts))))
        })
    }
}

#[derive(Debug)]
struct FakePoeKeys(FakeLicensing);

impl PoeVerifier for FakePoeKeys {
    fn knows(&self, kid: &str) -> bool {
        kid == "p1"
    }

    fn verify(&self, _: &str, _: DateTime<Utc>) -> Result<Entitlement, PoeRejection> {
        self.0.local.get()
    }
}

/// A registry that says what it is told to.
#[derive(Clone, Debug)]
pub struct FakeReleases {
    /// The answer.
    pub answer: Dial<Result<ReleaseReport, ReleaseError>>,
    /// Held back while false.
    pub open: Dial<bool>,
    /// Times asked.
    pub checks: Arc<AtomicU32>,
    /// Makes a check panic.
    pub bomb: Bomb,
}

impl Default for FakeReleases {
    fn default() -> Self {
        Self {
            answer: Dial::new(Ok(report(Verdict::Trusted))),
            open: Dial::new(true),
            checks: Arc::default(),
            bomb: Bomb::default(),
        }
    }
}

impl ReleaseSource for FakeReleases {
    fn repositories(&self) -> Vec<Arc<str>> {
        vec!["registry.example/scanner".into()]
    }

    fn check(&self, _: ImageDigest, _: Option<Arc<str>>) -> PortFuture<Result<ReleaseReport, ReleaseError>> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        let this = self.clone();
        Box::pin(async move {
            this.bomb.tick();
            this.open.until(|open| *open).await;
            this.answer.get()
        })
    }
}

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
    /// Signing is held back while false.
    pub sign_open: Dial<bool>,
    clock: FakeClock,
}

impl FakeBackend {
    /// A keyful backend with this id.
    pub fn new(id: &str, mode: SigningMode, clock: &FakeClock) -> Self {
        Self {
            info: BackendInfo {
                id: KeyId::parse(id).unwrap_or_else(|| panic!("{id} is not a key id")),
                kind: "fake",
                mode,
                algorithm: Algorithm::EcdsaP256Sha256,
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
            let life = this.open.get()?;
            let not_after = life.map(|life| this.clock.now() + life);
            let identity = SigningIdentity {
                backend: this.info.id.clone(),
                key_id: this.info.id.clone(),
                mode: this.info.mode,
                algorithm: this.info.algorithm,
                public_key_der: vec![0x30],
                public_key_pem: "-----BEGIN PUBLIC KEY-----".into(),
                issuer: None,
                subject: None,
                certificate_chain: Vec::new(),
                leaf_der: None,
                certificate_serial: None,
                not_before: None,
                not_after,
            };
            let replace_at = life.map(|life| this.clock.now() + life / 2);
            Ok(Arc::new(FakeKey {
                identity,
                replace_at,
                backend: this,
            }) as Arc<dyn SigningKey>)
        })
    }
}

#[derive(Debug)]
struct FakeKey {
    identity: SigningIdentity,
    replace_at: Option<DateTime<Utc>>,
    backend: FakeBackend,
}

impl SigningKey for FakeKey {
    fn identity(&self) -> &SigningIdentity {
        &self.identity
    }

    fn replace_at(&self) -> Option<DateTime<Utc>> {
        self.replace_at
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

/// A log in memory.
#[derive(Clone, Debug)]
pub struct FakeLog {
    /// Whether writing works.
    pub works: Dial<bool>,
    /// Whether syncing works.
    pub syncs_work: Dial<bool>,
    /// Every record that is durable.
    pub durable: Dial<Vec<Vec<u8>>>,
    /// Syncs made.
    pub syncs: Arc<AtomicU32>,
    /// Makes the next append panic.
    pub bomb: Bomb,
    written: Vec<Vec<u8>>,
}

impl Default for FakeLog {
    fn default() -> Self {
        Self {
            works: Dial::new(true),
            syncs_work: Dial::new(true),
            durable: Dial::new(Vec::new()),
            syncs: Arc::default(),
            bomb: Bomb::default(),
            written: Vec::new(),
        }
    }
}

impl AuditLog for FakeLog {
    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), AuditLogError> {
        self.bomb.tick();
        if !self.works.get() {
            return Err(AuditLogError("disk full".into()));
        }
        self.written.extend_from_slice(records);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AuditLogError> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if !self.syncs_work.get() {
            self.written.clear();
            return Err(AuditLogError("disk gone".into()));
        }
        let mut durable = self.durable.get();
        durable.append(&mut self.written);
        self.durable.set(durable);
        Ok(())
    }

    fn head(&self) -> (u64, String) {
        (self.durable.get().len() as u64, String::new())
    }
}

/// All fakes of one service.
#[derive(Clone, Debug)]
pub struct Fakes {
    /// Time.
    pub clock: FakeClock,
    /// The Authority.
    pub authority: FakeAuthority,
    /// Proofs.
    pub proofs: FakeProofs,
    /// Licensing.
    pub licensing: FakeLicensing,
    /// Registries.
    pub releases: FakeReleases,
    /// The keyful backend `file`.
    pub keyful: FakeBackend,
    /// The keyless backend `fulcio`.
    pub keyless: FakeBackend,
    /// The trail.
    pub log: FakeLog,
}

impl Default for Fakes {
    fn default() -> Self {
        let clock = FakeClock::default();
        Self {
            authority: FakeAuthority::default(),
            proofs: FakeProofs::default(),
            licensing: FakeLicensing::default(),
            releases: FakeReleases::default(),
            keyful: FakeBackend::new("file", SigningMode::Kms, &clock),
            keyless: FakeBackend::new("fulcio", SigningMode::Keyless, &clock),
            log: FakeLog::default(),
            clock,
        }
    }
}

impl Fakes {
    /// As the parts of a system.
    pub fn parts(&self) -> Parts {
        Parts {
            authority: Arc::new(self.authority.clone()),
            proofs: Arc::new(self.proofs.clone()),
            licensing: Arc::new(self.licensing.clone()),
            releases: Arc::new(self.releases.clone()),
            backends: vec![Arc::new(self.keyful.clone()), Arc::new(self.keyless.clone())],
            audit: Box::new(self.log.clone()),
            audit_origin: "test/audit".into(),
            clock: Arc::new(self.clock.clone()),
            ids: Arc::new(FakeIds::default()),
            observer: Arc::new(Unobserved),
            log: slog::Logger::root(slog::Discard, slog::o!()),
        }
    }
}

/// Nobody watches.
pub fn vitals() -> Vitals {
    Vitals {
        observer: Arc::new(Unobserved),
        log: slog::Logger::root(slog::Discard, slog::o!()),
        watchdog: Watchdog::default(),
    }
}

/// Lets other tasks of this arbiter run until something holds. Panics when it does not come to hold.
pub async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("what was waited for did not happen");
}

/// Settings for tests: everything allowed, caches as in production, no linger.
pub fn tuning() -> Tuning {
    let thousand = std::num::NonZeroUsize::MIN.saturating_add(999);
    Tuning {
        policy: Policy {
            default_mode: SigningMode::Kms,
            default_key: None,
            stamp: true,
            predicate_types: vec!["https://cyclonedx.org/bom".into(), "https://stella.ops/*".into()],
            scanner_binding_required: false,
            verify_limits: PlanLimits {
                qps: 10,
                burst: 20,
                concurrency: 1,
                max_artifact_bytes: 0,
            },
            keys_refresh_after: Duration::from_secs(240),
            verify_sample: 16,
        },
        keys: KeyPolicy::default(),
        entitlement: crate::entitlement::EntitlementPolicy {
            positive_ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(5),
            grace: Duration::ZERO,
            capacity: thousand,
            keys: KeyPolicy::default(),
        },
        referrer: crate::referrer::ReferrerPolicy {
            positive_ttl: Duration::from_secs(600),
            negative_ttl: Duration::from_secs(10),
            capacity: thousand,
            concurrency: 8,
        },
        replay_capacity: 1000,
        audit_linger: Duration::ZERO,
        mailbox_capacity: 256,
    }
}
