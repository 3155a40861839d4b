//! Against a token that signs as told, gets lost, hangs or lies. A real module judges in the interop lane.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cryptoki::context::Function;
use cryptoki::error::{Error, Result, RvError};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use signer_actors::domain::ids::KeyId;
use signer_actors::ports::{BackendError, SigningBackend as _};
use signer_actors::testing::{Dial, FakeClock};
use zeroize::Zeroizing;

use super::encode::{KeyKind, Scheme};
use super::library::{KeyTraits, Started, TokenSession, TokenState};
use super::*;
use crate::backends::remote::{Input, RemoteSession};

pub(super) const PIN: &str = "271828";

/// A module with one token, and what it does.
#[derive(Clone)]
pub(super) struct Fake(pub(super) Arc<Dials>);

pub(super) struct Dials {
    key: EcKey<Private>,
    pub(super) pin: Dial<&'static str>,
    /// How often the token is listed.
    tokens: Dial<usize>,
    pub(super) state: Dial<TokenState>,
    /// Further tokens, in the slots after that.
    pub(super) others: Dial<Vec<TokenState>>,
    traits: Dial<KeyTraits>,
    keys: Dial<usize>,
    /// What this function says instead.
    pub(super) says: Dial<Option<(Function, RvError)>>,
    /// The module does not notice tokens that come, until it is started anew.
    blind: Dial<bool>,
    /// Signing hangs while false.
    pub(super) up: Dial<bool>,
    /// Logging in to the token in the first slot hangs while false.
    pub(super) logs_in: Dial<bool>,
    /// Somebody else in this process started the module.
    pub(super) of_others: Dial<bool>,
    /// Sessions of this number and below are over.
    pub(super) dead: AtomicUsize,
    pub(super) sessions: AtomicUsize,
    pub(super) open: AtomicUsize,
    pub(super) log_ins: AtomicUsize,
    pub(super) starts: AtomicUsize,
    pub(super) ends: AtomicUsize,
    pub(super) inside: AtomicUsize,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

fn said(code: RvError) -> Error {
    Error::Pkcs11(code, Function::Sign)
}

impl Fake {
    pub(super) fn new() -> Self {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        Self(Arc::new(Dials {
            key: EcKey::generate(&group).unwrap(),
            pin: Dial::new(PIN),
            tokens: Dial::new(1),
            state: Dial::new(TokenState {
                label: "Signer".into(),
                serial: "0123".into(),
                ..TokenState::default()
            }),
            others: Dial::new(Vec::new()),
            traits: Dial::new(KeyTraits {
                kind: KeyKind::Ec,
                curve: None,
                signs: true,
                sensitive: true,
                extractable: false,
                always_authenticate: false,
            }),
            keys: Dial::new(1),
            says: Dial::new(None),
            blind: Dial::new(false),
            up: Dial::new(true),
            logs_in: Dial::new(true),
            of_others: Dial::new(false),
            dead: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            log_ins: AtomicUsize::new(0),
            starts: AtomicUsize::new(0),
            ends: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
        }))
    }

    fn at(&self, function: Function) -> Result<()> {
        match self.0.says.get() {
            Some((at, code)) if at as u32 == function as u32 => Err(said(code)),
            _ => Ok(()),
        }
    }

    /// The token is pulled: all sessions are over.
    fn pull(&self) {
        self.0.tokens.set(0);
        self.0
            .dead
            .store(self.0.sessions.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn put_back(&self) {
        self.0.tokens.set(1);
    }

    pub(super) fn count(&self, what: fn(&Dials) -> &AtomicUsize) -> usize {
        what(&self.0).load(Ordering::SeqCst)
    }
}

impl Library for Fake {
    type Slot = u64;
    type Key = u64;
    type Session = FakeSession;

    fn initialize(&self) -> Result<Started> {
        self.at(Function::Initialize)?;
        self.0.starts.fetch_add(1, Ordering::SeqCst);
        self.0.blind.set(false);
        Ok(if self.0.of_others.get() {
            Started::ByOthers
        } else {
            Started::ByUs
        })
    }

    fn finalize(&self) -> Result<()> {
        self.0.ends.fetch_add(1, Ordering::SeqCst);
        self.0
            .dead
            .store(self.0.sessions.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(())
    }

    fn tokens(&self) -> Result<Vec<(u64, TokenState)>> {
        self.at(Function::GetSlotList)?;
        let count = if self.0.blind.get() {
            0
        } else {
            self.0.tokens.get()
        };
        let states = std::iter::repeat_n(self.0.state.get(), count).chain(self.0.others.get());
        Ok((0..).zip(states).collect())
    }

    fn token(&self, slot: u64) -> Result<TokenState> {
        let states = std::iter::repeat_n(self.0.state.get(), self.0.tokens.get()).chain(self.0.others.get());
        (0..)
            .zip(states)
            .find_map(|(at, state)| (at == slot).then_some(state))
            .ok_or(said(RvError::TokenNotPresent))
    }

    fn open(&self, slot: u64) -> Result<FakeSession> {
        self.at(Function::OpenSession)?;
        if self.0.tokens.get() == 0 {
            return Err(said(RvError::TokenNotPresent));
        }
        self.0.open.fetch_add(1, Ordering::SeqCst);
        let number = self.0.sessions.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(FakeSession(self.clone(), number, slot))
    }
}

pub(super) struct FakeSession(Fake, usize, u64);

impl FakeSession {
    fn alive(&self) -> Result<()> {
        if self.1 <= self.0.0.dead.load(Ordering::SeqCst) {
            return Err(said(RvError::SessionHandleInvalid));
        }
        Ok(())
    }
}

impl TokenSession for FakeSession {
    type Key = u64;

    fn log_in(&self, pin: &str) -> Result<()> {
        self.alive()?;
        self.0.0.log_ins.fetch_add(1, Ordering::SeqCst);
        while self.2 == 0 && !self.0.0.logs_in.get() {
            std::thread::yield_now();
        }
        self.0.at(Function::Login)?;
        if pin == self.0.0.pin.get() {
            Ok(())
        } else {
            Err(said(RvError::PinIncorrect))
        }
    }

    fn find(&self, name: &KeyName) -> Result<Vec<u64>> {
        self.alive()?;
        assert_eq!(name.label.as_deref(), Some("release"));
        Ok((0..self.0.0.keys.get() as u64).collect())
    }

    fn traits(&self, _: u64) -> Result<KeyTraits> {
        Ok(self.0.0.traits.get())
    }

    fn sign(&self, scheme: Scheme, _: u64, data: &[u8]) -> Result<Vec<u8>> {
        let dials = &self.0.0;
        assert_eq!((scheme, data.len()), (Scheme::Ecdsa, 32));
        dials.inside.fetch_add(1, Ordering::SeqCst);
        while !dials.up.get() {
            std::thread::yield_now();
        }
        dials.inside.fetch_sub(1, Ordering::SeqCst);
        self.alive()?;
        self.0.at(Function::Sign)?;
        let signature = EcdsaSig::sign(data, &dials.key).unwrap();
        let part = |number: &openssl::bn::BigNumRef| number.to_vec_padded(32).unwrap();
        Ok([part(signature.r()), part(signature.s())].concat())
    }

    fn close(self) {
        self.0.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn settings() -> Settings {
    Settings {
        module: "/nowhere/module.so".into(),
        token: TokenName {
            label: Some("Signer".into()),
            serial: None,
        },
        pin: CredentialSource::Static(Zeroizing::new(PIN.into())),
        key_label: Some("release".into()),
        key_id: None,
        allow_extractable: false,
    }
}

fn common(fake: &Fake, concurrency: usize) -> remote::Settings {
    let key = PKey::from_ec_key(fake.0.key.clone()).unwrap();
    remote::Settings {
        id: KeyId::parse("release-hsm").unwrap(),
        kind: KIND,
        algorithm: Algorithm::EcdsaP256Sha256,
        public_key_pem: key.public_key_to_pem().unwrap(),
        timeout: Duration::from_millis(500),
        concurrency,
    }
}

fn backend_of(fake: &Fake, settings: Settings) -> RemoteBackend {
    let module = Arc::new(Module::new(fake.clone()));
    let load = move || Ok(Arc::clone(&module));
    remote_backend(common(fake, 2), settings, Arc::new(FakeClock::default()), load).unwrap()
}

/// The signer without the frame around it, which has tests of its own.
pub(super) fn hsm(fake: &Fake, pin: &str, module: &Arc<Module<Fake>>) -> Hsm<Fake> {
    let module = Arc::clone(module);
    let key = Key {
        token: settings().token,
        name: KeyName {
            label: Some("release".into()),
            id: None,
        },
        algorithm: Algorithm::EcdsaP256Sha256,
        allow_extractable: false,
    };
    Hsm {
        key: Arc::new(key),
        pin: CredentialSource::Static(Zeroizing::new(pin.into())),
        load: Arc::new(move || Ok(Arc::clone(&module))),
        threads: Arc::new(Threads::new(common(fake, 2).concurrency)),
    }
}

fn alone(fake: &Fake) -> Hsm<Fake> {
    hsm(fake, PIN, &Arc::new(Module::new(fake.clone())))
}

pub(super) async fn begin(hsm: &Hsm<Fake>) -> std::result::Result<Arc<dyn RemoteSession>, RemoteError> {
    hsm.begin().await.map(|begun| begun.session)
}

pub(super) fn digest() -> Input {
    Input::Digest(vec![7; 32])
}

/// Of what was said; the kind is compared, too.
pub(super) fn text_of(error: &RemoteError, kind: fn(String) -> RemoteError) -> String {
    let (RemoteError::Failed(text) | RemoteError::Unavailable(text) | RemoteError::Ended(text)) = error;
    assert_eq!(*error, kind(text.clone()));
    text.clone()
}

#[tokio::test]
async fn a_token_signs_with_few_sessions() {
    let fake = Fake::new();
    let backend = backend_of(&fake, settings());
    backend.open().await.unwrap();
    let hsm = alone(&fake);
    let session = begin(&hsm).await.unwrap();
    let before = fake.count(|dials| &dials.sessions);
    for signatures in [1, 20] {
        let all = futures_util::future::join_all((0..signatures).map(|_| session.sign(digest()))).await;
        for signature in all {
            let signature = EcdsaSig::from_der(&signature.unwrap()).unwrap();
            assert!(signature.verify(&[7; 32], &fake.0.key).unwrap());
        }
    }
    assert!(
        fake.count(|dials| &dials.sessions) - before <= 2,
        "one for each thread"
    );
    assert_eq!(
        fake.count(|dials| &dials.starts),
        2,
        "one for each module of this test"
    );
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once() {
    let fake = Fake::new();
    let module = Arc::new(Module::new(fake.clone()));
    let wrong = hsm(&fake, "000000", &module);
    let text = text_of(&begin(&wrong).await.unwrap_err(), RemoteError::Failed);
    assert!(
        text.contains("PinIncorrect") && !text.contains("000000"),
        "{text}"
    );
    // Neither by this backend nor by another on the same token.
    for again in [&wrong, &hsm(&fake, "000000", &module)] {
        let text = text_of(&begin(again).await.unwrap_err(), RemoteError::Failed);
        assert!(text.contains("not tried again"), "{text}");
    }
    assert_eq!(fake.count(|dials| &dials.log_ins), 1);
    assert!(!format!("{wrong:?}").contains("000000"));
    // Another PIN is.
    begin(&hsm(&fake, PIN, &module)).await.unwrap();
    assert_eq!(fake.count(|dials| &dials.log_ins), 2);
}

#[tokio::test]
async fn the_last_try_is_not_ours() {
    for (final_try, pin_locked, expected) in [(true, false, "locks the token"), (false, true, "is locked")] {
        let fake = Fake::new();
        let state = TokenState {
            final_try,
            pin_locked,
            ..fake.0.state.get()
        };
        fake.0.state.set(state);
        let text = text_of(&begin(&alone(&fake)).await.unwrap_err(), RemoteError::Failed);
        assert!(text.contains(expected), "{text}");
        assert_eq!(fake.count(|dials| &dials.log_ins), 0);
        assert_eq!(fake.count(|dials| &dials.open), 0, "its session is closed");
    }
}

#[tokio::test]
async fn a_token_that_is_pulled_and_put_back_signs_again() {
    let fake = Fake::new();
    let hsm = alone(&fake);
    let session = begin(&hsm).await.unwrap();
    session.sign(digest()).await.unwrap();
    fake.pull();
    text_of(&session.sign(digest()).await.unwrap_err(), RemoteError::Ended);
    let text = text_of(&begin(&hsm).await.unwrap_err(), RemoteError::Unavailable);
    assert!(text.contains("not there"), "{text}");
    // Many modules do not notice by themselves.
    fake.0.blind.set(true);
    fake.put_back();
    let starts = fake.count(|dials| &dials.starts);
    let again = begin(&hsm).await.unwrap();
    assert_eq!(fake.count(|dials| &dials.starts), starts + 1);
    again.sign(digest()).await.unwrap();
    // What is left of the first is of another start, and touches nothing.
    let before = fake.count(|dials| &dials.sessions);
    let text = text_of(&session.sign(digest()).await.unwrap_err(), RemoteError::Ended);
    assert!(text.contains("started anew"), "{text}");
    assert_eq!(fake.count(|dials| &dials.sessions), before);
}

#[tokio::test]
async fn a_module_is_not_started_anew_under_others() {
    let fake = Fake::new();
    let module = Arc::new(Module::new(fake.clone()));
    let session = begin(&hsm(&fake, PIN, &module)).await.unwrap();
    let missing = Hsm {
        key: Arc::new(Key {
            token: TokenName {
                label: Some("another".into()),
                serial: None,
            },
            name: KeyName::default(),
            algorithm: Algorithm::EcdsaP256Sha256,
            allow_extractable: false,
        }),
        ..hsm(&fake, PIN, &module)
    };
    text_of(&begin(&missing).await.unwrap_err(), RemoteError::Unavailable);
    assert_eq!(fake.count(|dials| &dials.starts), 1);
    session.sign(digest()).await.unwrap();
}

#[tokio::test]
async fn a_session_that_ended_alone_costs_no_request() {
    let fake = Fake::new();
    let hsm = alone(&fake);
    let session = begin(&hsm).await.unwrap();
    session.sign(digest()).await.unwrap();
    fake.0
        .dead
        .store(fake.count(|dials| &dials.sessions), Ordering::SeqCst);
    session.sign(digest()).await.unwrap();
    assert_eq!(fake.count(|dials| &dials.log_ins), 1);
}

#[tokio::test]
async fn what_hangs_is_bounded_and_goes_on() {
    let fake = Fake::new();
    let backend = alone(&fake);
    let session = begin(&backend).await.unwrap();
    fake.0.up.set(false);
    for _ in 0..10 {
        let hung = tokio::time::timeout(Duration::from_millis(10), session.sign(digest())).await;
        assert!(hung.is_err());
    }
    // Two threads are inside; the others wait for theirs, and signing in does, too.
    assert_eq!(fake.count(|dials| &dials.inside), 2);
    let late = tokio::time::timeout(Duration::from_millis(10), begin(&backend)).await;
    assert!(late.is_err());
    fake.0.up.set(true);
    session.sign(digest()).await.unwrap();
    begin(&backend).await.unwrap();
}

#[tokio::test]
async fn through_the_frame_a_hang_is_unavailable() {
    let fake = Fake::new();
    let backend = backend_of(&fake, settings());
    fake.0.up.set(false);
    let late = backend.open().await;
    assert!(
        matches!(&late, Err(BackendError::Unavailable(text)) if text.contains("in time")),
        "{late:?}"
    );
    fake.0.up.set(true);
    backend.open().await.unwrap();
}

#[tokio::test]
async fn only_one_key_that_should_sign_is_opened() {
    type Change = fn(&Fake);
    let cases: [(&str, Change); 9] = [
        ("no private key", |fake| fake.0.keys.set(0)),
        ("more than one private key", |fake| fake.0.keys.set(2)),
        ("more than one token", |fake| fake.0.tokens.set(2)),
        ("another type", |fake| {
            change(fake, |traits| traits.kind = KeyKind::Rsa)
        }),
        ("another curve", |fake| {
            change(fake, |traits| {
                traits.curve = Some(vec![0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22])
            })
        }),
        ("may not sign", |fake| change(fake, |traits| traits.signs = false)),
        ("for every signature", |fake| {
            change(fake, |traits| traits.always_authenticate = true)
        }),
        ("can be read", |fake| {
            change(fake, |traits| traits.sensitive = false)
        }),
        ("allow_extractable", |fake| {
            change(fake, |traits| traits.extractable = true)
        }),
    ];
    for (expected, change) in cases {
        let fake = Fake::new();
        change(&fake);
        let text = text_of(&begin(&alone(&fake)).await.unwrap_err(), RemoteError::Failed);
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(fake.count(|dials| &dials.open), 0, "its session is closed");
    }
    let fake = Fake::new();
    change(&fake, |traits| traits.extractable = true);
    let allowed = Settings {
        allow_extractable: true,
        ..settings()
    };
    backend_of(&fake, allowed).open().await.unwrap();
}

fn change(fake: &Fake, change: fn(&mut KeyTraits)) {
    let mut traits = fake.0.traits.get();
    change(&mut traits);
    fake.0.traits.set(traits);
}

#[tokio::test]
async fn sessions_are_closed_with_their_key() {
    let fake = Fake::new();
    let hsm = alone(&fake);
    let session = begin(&hsm).await.unwrap();
    session.sign(digest()).await.unwrap();
    assert_eq!(fake.count(|dials| &dials.open), 2);
    drop(session);
    // Another thread closes them.
    until(&fake, |fake| fake.count(|dials| &dials.open) == 0).await;
}

/// Polls what other threads do.
pub(super) async fn until(fake: &Fake, wanted: fn(&Fake) -> bool) {
    let reached = async {
        while !wanted(fake) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_the_module_says_is_passed_on() {
    for (function, code, kind) in [
        (
            Function::Sign,
            RvError::MechanismInvalid,
            RemoteError::Failed as fn(String) -> RemoteError,
        ),
        (Function::Sign, RvError::FunctionFailed, RemoteError::Unavailable),
        (Function::Sign, RvError::DeviceRemoved, RemoteError::Ended),
        (
            Function::OpenSession,
            RvError::SessionCount,
            RemoteError::Unavailable,
        ),
    ] {
        let fake = Fake::new();
        let session = begin(&alone(&fake)).await.unwrap();
        fake.0.says.set(Some((function, code)));
        let text = text_of(&session.sign(digest()).await.unwrap_err(), kind);
        assert!(text.contains(&format!("{code:?}")), "{text}");
        fake.0.says.set(None);
        session.sign(digest()).await.unwrap();
    }
}

#[test]
fn a_library_that_is_none_says_so() {
    let missing = module::load("/nowhere/libsofthsm2.so".as_ref()).unwrap_err();
    assert!(text_of(&missing, RemoteError::Failed).contains("loading the PKCS #11 module"));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let fake = Fake::new();
    let make = |change: fn(&mut Settings)| {
        let mut settings = settings();
        change(&mut settings);
        backend(common(&fake, 2), settings, Arc::new(FakeClock::default())).map(drop)
    };
    assert_eq!(make(|_| {}), Ok(()));
    assert!(make(|s| s.module = "libsofthsm2.so".into()).is_err());
    assert!(make(|s| s.token = TokenName::default()).is_err());
    assert!(make(|s| s.key_label = None).is_err());
    assert!(!format!("{:?}", settings()).contains(PIN));
}
