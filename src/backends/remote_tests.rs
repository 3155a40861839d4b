use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt;
use futures_util::future::join_all;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use signer_actors::testing::{Dial, FakeClock, NOW};

use super::*;

/// A key service that signs as told.
#[derive(Clone, Debug)]
struct Fake(Arc<Dials>);

struct Dials {
    key: Dial<EcKey<Private>>,
    lives: Dial<Option<Duration>>,
    /// What signing says from now on instead of a signature.
    says: Dial<Option<RemoteError>>,
    /// Signing waits while false.
    up: Dial<bool>,
    at_once: AtomicUsize,
    most: AtomicUsize,
}

impl fmt::Debug for Dials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dials")
    }
}

fn p256() -> EcKey<Private> {
    EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap()
}

fn backend(concurrency: usize) -> (Fake, FakeClock, RemoteBackend) {
    let key = p256();
    let public_key_pem = PKey::from_ec_key(key.clone())
        .unwrap()
        .public_key_to_pem()
        .unwrap();
    let fake = Fake(Arc::new(Dials {
        key: Dial::new(key),
        lives: Dial::new(None),
        says: Dial::new(None),
        up: Dial::new(true),
        at_once: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    }));
    let clock = FakeClock::default();
    let settings = Settings {
        id: KeyId::parse("release-2026").unwrap(),
        kind: "fake",
        algorithm: Algorithm::EcdsaP256Sha256,
        public_key_pem,
        timeout: Duration::from_secs(5),
        concurrency,
    };
    let backend = RemoteBackend::new(settings, Arc::new(fake.clone()), Arc::new(clock.clone())).unwrap();
    (fake, clock, backend)
}

impl RemoteSigner for Fake {
    fn begin(&self) -> PortFuture<Result<Begun, RemoteError>> {
        let session = Arc::new(self.clone());
        Box::pin(async move {
            let lives = session.0.lives.get();
            Ok(Begun { session, lives })
        })
    }
}

impl RemoteSession for Fake {
    fn sign(&self, input: Input) -> PortFuture<Result<Vec<u8>, RemoteError>> {
        let fake = Arc::clone(&self.0);
        Box::pin(async move {
            let now = fake.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            fake.most.fetch_max(now, Ordering::SeqCst);
            fake.up.until(|up| *up).await;
            fake.at_once.fetch_sub(1, Ordering::SeqCst);
            if let Some(error) = fake.says.get() {
                return Err(error);
            }
            let Input::Digest(digest) = input else {
                panic!("ECDSA signs digests")
            };
            Ok(EcdsaSig::sign(&digest, &fake.key.get())
                .unwrap()
                .to_der()
                .unwrap())
        })
    }
}

/// The open key itself: warrants are not made outside the core.
async fn open(backend: &RemoteBackend) -> Open {
    let begun = backend.shared.open().await.unwrap();
    Open {
        shared: Arc::clone(&backend.shared),
        session: begun.session,
        replace_at: None,
        troubles: AtomicU32::new(0),
        lost: AtomicBool::new(false),
    }
}

const PAE: Pae<'_> = Pae {
    payload_type: "t",
    payload: b"p",
};

#[tokio::test]
async fn an_open_key_signs_and_is_known_by_its_pinned_half() {
    let (_, _, backend) = backend(8);
    let info = backend.info();
    assert_eq!((info.mode, info.remote), (SigningMode::Kms, true));
    let key = backend.open().await.unwrap();
    assert_eq!(key.identity(), backend.identity());
    assert!(key.verify_always() && !key.is_lost());
    assert_eq!(key.replace_at(), None);
    let signature = open(&backend).await.sign(&PAE).await.unwrap();
    assert!(key.verify("t", b"p", &signature));
    assert!(!key.verify("t", b"q", &signature));
}

#[tokio::test]
async fn another_key_behind_the_name_does_not_open() {
    let (fake, _, backend) = backend(8);
    fake.0.key.set(p256());
    let Err(BackendError::Failed(text)) = backend.open().await else {
        panic!("it opened")
    };
    assert!(text.contains("public_key"), "{text}");
}

#[tokio::test]
async fn a_session_is_replaced_after_two_thirds_of_its_life() {
    let (fake, _, backend) = backend(8);
    fake.0.lives.set(Some(Duration::from_secs(3600)));
    let key = backend.open().await.unwrap();
    assert_eq!(key.replace_at(), Some(NOW() + TimeDelta::seconds(2400)));
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_unavailable_in_time() {
    let (fake, _, backend) = backend(8);
    let open = open(&backend).await;
    fake.0.up.set(false);
    assert!(matches!(backend.open().await, Err(BackendError::Unavailable(_))));
    let begun = tokio::time::Instant::now();
    assert!(matches!(open.sign(&PAE).await, Err(RemoteError::Unavailable(_))));
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn places_are_bounded_and_waiting_for_one_is_no_trouble_of_the_backend() {
    let (fake, _, backend) = backend(2);
    let open = open(&backend).await;
    fake.0.up.set(false);
    let mut all = Box::pin(join_all((0..6).map(|_| open.sign(&PAE))));
    assert!((&mut all).now_or_never().is_none());
    assert_eq!(fake.0.most.load(Ordering::SeqCst), 2);
    fake.0.up.set(true);
    assert!(all.await.iter().all(Result::is_ok));
    assert_eq!(fake.0.most.load(Ordering::SeqCst), 2);
    // Two hang to the end; the others never had a place.
    fake.0.up.set(false);
    let came = join_all((0..12).map(|_| open.sign(&PAE))).await;
    let text = |it: &Result<_, RemoteError>| format!("{it:?}");
    assert_eq!(
        came.iter().filter(|it| text(it).contains("every place")).count(),
        10
    );
    assert!(!open.lost.load(Ordering::SeqCst));
    assert_eq!(open.troubles.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn five_troubles_in_a_row_lose_the_key_and_an_end_at_once() {
    use RemoteError::{Ended, Failed, Unavailable};
    let (down, bad, over) = (
        || Some(Unavailable("down".into())),
        || Some(Failed("bad".into())),
        || Some(Ended("over".into())),
    );
    for (script, lost) in [
        (vec![down(), down(), down(), down(), down()], true),
        (vec![down(), down(), down(), down()], false),
        // An answer in between, good or bad, shows that it is there.
        (vec![down(), down(), None, down(), down(), down()], false),
        (vec![down(), down(), down(), bad(), down(), down()], false),
        (vec![bad(), bad(), bad(), bad(), bad(), bad()], false),
        (vec![None, over()], true),
    ] {
        let (fake, _, backend) = backend(8);
        let open = open(&backend).await;
        for says in script.clone() {
            fake.0.says.set(says.clone());
            assert_eq!(open.sign(&PAE).await.err(), says);
        }
        let key = RemoteKey(Arc::new(open));
        assert_eq!(key.is_lost(), lost, "{script:?}");
        // For good: another opening proves the backend.
        fake.0.says.set(None);
        assert!(key.0.sign(&PAE).await.is_ok());
        assert_eq!(key.is_lost(), lost);
    }
}

#[test]
fn what_is_sent_is_the_hash_of_the_algorithm_or_for_ed25519_everything() {
    let of = |algorithm| Input::of(algorithm, b"abc".as_slice()).unwrap();
    // FIPS 180-4's example "abc".
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for algorithm in [
        Algorithm::EcdsaP256Sha256,
        Algorithm::RsaPssSha256,
        Algorithm::RsaPkcs1Sha256,
    ] {
        assert_eq!(of(algorithm), Input::Digest(hex::decode(sha256).unwrap()));
    }
    let sha384 = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
                  8086072ba1e7cc2358baeca134c825a7";
    assert_eq!(
        of(Algorithm::EcdsaP384Sha384),
        Input::Digest(hex::decode(sha384).unwrap())
    );
    assert_eq!(of(Algorithm::Ed25519), Input::Message(b"abc".to_vec()));
}
