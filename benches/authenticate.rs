//! What it costs to know who asks: `cargo bench --bench authenticate`. Read in one run, top to bottom: bare signature
//! verifications with keys that are ready, then what the service makes of them. docs/reference/performance.md says what
//! to expect.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, System, SystemRunner};
use chrono::Utc;
use divan::{Bencher, black_box};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sha::Sha256;
use serde_json::{Value, json};
use signer::adapters::authority::dpop::{DpopSettings, DpopVerifier, NonceMode};
use signer::adapters::authority::{AuthorityKeys, Settings};
use signer::adapters::jose::jwk::PublicJwk;
use signer::adapters::jose::source::KeysLocation;
use signer::adapters::jose::{b64url, from_b64url, mint};
use signer_actors::domain::caller::{AccessToken, Credentials, PresentedToken, Scheme, Scope};
use signer_actors::domain::jws::JwsAlgorithm;
use signer_actors::pipeline::state::Session;
use signer_actors::pipeline::{Context, Services, authenticate};
use signer_actors::ports::{AuthoritySource, ProofVerifier, SystemClock, TokenVerifier};
use signer_actors::runtime::Deadline;
use signer_actors::system::{Placement, start_actors};
use signer_actors::testing::{self, Fakes};

fn main() {
    divan::main();
}

const ISSUER: &str = "https://authority.example";
const ORIGIN: &str = "https://signer.example";
const PATH: &str = "/api/v1/signer/sign/dsse";

/// An Authority, a caller with a token of it, and what verifies both.
struct Bench {
    caller: PKey<Private>,
    token: String,
    keys: Arc<dyn TokenVerifier>,
    proofs: Arc<DpopVerifier>,
    count: Cell<u64>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let (authority, caller) = (p256(), p256());
        let folder = done(tempfile::tempdir());
        let file = folder.path().join("jwks.json");
        let mut jwk = done(mint::jwk_of(&authority));
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".into(), json!("k1"));
        }
        done(std::fs::write(&file, json!({ "keys": [jwk] }).to_string()));
        let issuer = done(AuthorityKeys::new(&Settings {
            issuer: ISSUER.into(),
            audience: "signer".into(),
            keys: KeysLocation::File(file),
            own_keys: signer::adapters::jose::source::OwnKeys::fixed([].into()),
            token_types: vec!["at+jwt".into()],
            algorithms: JwsAlgorithm::ALL.to_vec(),
            max_token_lifetime: Duration::from_secs(3600),
            clock_skew: Duration::from_secs(30),
            roots: None,
            timeout: Duration::from_secs(1),
        }));
        let proofs = done(DpopVerifier::new(&DpopSettings {
            public_origin: done(ORIGIN.parse()),
            algorithms: JwsAlgorithm::ALL.to_vec(),
            nonce: NonceMode::Off,
            nonce_key: None,
            epoch: Default::default(),
        }));
        Self {
            token: token(&authority, &caller),
            keys: done(issuer.fetch().await),
            proofs: Arc::new(proofs),
            caller,
            count: Cell::new(0),
            _folder: folder,
        }
    }

    /// A proof that was never used before.
    fn credentials(&self) -> Credentials {
        self.count.set(self.count.get() + 1);
        let header = json!({ "typ": "dpop+jwt", "jwk": done(mint::jwk_of(&self.caller)) });
        let claims = json!({
            "jti": format!("0192f0e4-7b5c-7f3e-9d1a-{:012x}", self.count.get()), "htm": "POST",
            "htu": format!("{ORIGIN}{PATH}"), "iat": Utc::now().timestamp() + 1,
            "ath": b64url(&sha256(self.token.as_bytes())),
        });
        Credentials {
            scheme: Scheme::Dpop,
            token: self.token.clone(),
            proof: Some(done(mint::sign_compact(&header, &claims, &self.caller))),
            client_certificate: None,
            method: "POST".into(),
            path: PATH.into(),
        }
    }

    fn verified(&self) -> AccessToken {
        done(self.keys.verify(&PresentedToken::of(&self.token), Utc::now()))
    }

    /// The actors, all on this thread, as a worker meets its own: what a wake-up of another thread costs is not measured
    /// here.
    fn services(&self, remembering: bool) -> Services {
        let here = Arbiter::current();
        let placement = Placement {
            state: here.clone(),
            more_state: Vec::new(),
            audit: here,
        };
        let mut parts = Fakes::default().parts();
        parts.authority = Arc::new(Source(Arc::clone(&self.keys)));
        parts.proofs = Arc::clone(&self.proofs) as _;
        parts.clock = Arc::new(SystemClock::default());
        let mut tuning = testing::tuning();
        tuning.replay_capacity = 8_000_000;
        let services = start_actors(parts, tuning, &placement);
        match NonZeroUsize::new(1000).filter(|_| remembering) {
            Some(tokens) => services.on_worker(Some(tokens)),
            None => services,
        }
    }
}

/// An Authority whose keys are there at once.
#[derive(Debug)]
struct Source(Arc<dyn TokenVerifier>);

impl AuthoritySource for Source {
    fn fetch(
        &self,
    ) -> signer_actors::ports::PortFuture<
        Result<Arc<dyn TokenVerifier>, signer_actors::ports::SourceUnavailable>,
    > {
        let keys = Arc::clone(&self.0);
        Box::pin(async move { Ok(keys) })
    }
}

fn token(authority: &PKey<Private>, caller: &PKey<Private>) -> String {
    let jwk = done(mint::jwk_of(caller));
    let jkt = done(PublicJwk::parse(jwk.as_object().unwrap_or(&Default::default()))).thumbprint();
    let now = Utc::now().timestamp();
    let claims = json!({
        "iss": ISSUER, "aud": "signer", "iat": now, "nbf": now, "exp": now + 3600, "sub": "scanner-7", "client_id": "scanner",
        "jti": "0192f0e4-7b5c-7f3e-9d1a-5a7d2c9b1e00", "tid": "acme", "inst": "eu-west-1",
        "scope": "signer.sign signer.verify", "cnf": { "jkt": b64url(&jkt.0) },
        "scanner_image": format!("sha256:{}", "ab".repeat(32)),
    });
    let header: Value = json!({ "typ": "at+jwt", "kid": "k1" });
    done(mint::sign_compact(&header, &claims, authority))
}

/// A signature as verified with nothing around it: digest, r and s, and a key that is ready.
struct Bare {
    key: EcKey<openssl::pkey::Public>,
    input: String,
    signature: Vec<u8>,
}

impl Bare {
    fn of(jws: &str, key: &PKey<Private>) -> Self {
        let (input, signature) = jws.rsplit_once('.').unwrap_or_default();
        let key = done(key.ec_key());
        Self {
            key: done(EcKey::from_public_key(key.group(), key.public_key())),
            input: input.to_owned(),
            signature: from_b64url(signature).unwrap_or_default(),
        }
    }

    fn holds(&self) -> bool {
        let (r, s) = self.signature.split_at(32);
        let signature =
            EcdsaSig::from_private_components(done(BigNum::from_slice(r)), done(BigNum::from_slice(s)));
        done(done(signature).verify(&sha256(self.input.as_bytes()), &self.key))
    }
}

fn with(run: impl FnOnce(&SystemRunner, &Bench)) {
    let system = System::new();
    let bench = system.block_on(Bench::new());
    run(&system, &bench);
}

/// One signature: what a request with a remembered token cannot avoid.
#[divan::bench]
fn a_bare_verification_of_the_proof(bencher: Bencher<'_, '_>) {
    with(|_, bench| {
        let bare = Bare::of(&bench.credentials().proof.unwrap_or_default(), &bench.caller);
        assert!(bare.holds());
        bencher.bench_local(|| black_box(&bare).holds());
    });
}

/// Two: what a request with a token that was never seen cannot avoid.
#[divan::bench]
fn b_bare_verifications_of_token_and_proof(bencher: Bencher<'_, '_>) {
    with(|_, bench| {
        let first = Bare::of(&bench.credentials().proof.unwrap_or_default(), &bench.caller);
        let second = Bare::of(&bench.credentials().proof.unwrap_or_default(), &bench.caller);
        bencher.bench_local(|| black_box(&first).holds() & black_box(&second).holds());
    });
}

#[divan::bench]
fn c_proof(bencher: Bencher<'_, '_>) {
    with(|_, bench| {
        let token = bench.verified();
        bencher
            .with_inputs(|| bench.credentials())
            .bench_local_values(|credentials| bench.proofs.verify(&credentials, &token, Utc::now()).is_ok());
    });
}

#[divan::bench]
fn d_token(bencher: Bencher<'_, '_>) {
    with(|_, bench| {
        bencher.bench_local(|| {
            let presented = PresentedToken::of(black_box(&bench.token));
            bench.keys.verify(&presented, Utc::now()).is_ok()
        });
    });
}

/// A look into the worker's memory that finds the token.
#[divan::bench]
fn e_recall(bencher: Bencher<'_, '_>) {
    with(|system, bench| {
        let services = system.block_on(async {
            let services = bench.services(true);
            once(&services, bench.credentials()).await;
            services
        });
        bencher.bench_local(|| {
            let digest = PresentedToken::of(black_box(&bench.token)).digest();
            let now = services.clock.now();
            let tokens = services.tokens.as_ref();
            let found = tokens.and_then(|own| own.ask(|tokens| tokens.recall(&digest, &*bench.keys, now)));
            assert!(found.flatten().is_some());
        });
    });
}

/// The harness itself: an empty task.
#[divan::bench]
fn f_nothing(bencher: Bencher<'_, '_>) {
    with(|system, _| bencher.bench_local(|| system.block_on(async { black_box(()) })));
}

async fn once(services: &Services, credentials: Credentials) {
    let context = Context {
        deadline: Deadline::after(Duration::from_secs(5)),
        ..testing::context()
    };
    let session = authenticate(services, Session::new(credentials), Scope::Sign, &context).await;
    assert!(session.is_ok(), "{session:?}");
}

/// The whole first gate, replay store included.
#[divan::bench(args = [true, false])]
fn g_authenticate_remembered(bencher: Bencher<'_, '_>, remembered: bool) {
    with(|system, bench| {
        let services = system.block_on(async {
            let services = bench.services(remembered);
            once(&services, bench.credentials()).await;
            services
        });
        bencher
            .with_inputs(|| bench.credentials())
            .bench_local_values(|credentials| system.block_on(once(&services, credentials)));
    });
}

fn p256() -> PKey<Private> {
    let group = done(EcGroup::from_curve_name(Nid::X9_62_PRIME256V1));
    done(PKey::from_ec_key(done(EcKey::generate(&group))))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    hasher.finish()
}

fn done<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => unreachable!("a bench cannot be set up: {error:?}"),
    }
}
