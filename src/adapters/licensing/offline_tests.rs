use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde_json::{Value, json};
use signer_actors::domain::jws::JwsAlgorithm;
use signer_actors::testing::{self, FakeClock};

use super::*;
use crate::adapters::jose::from_b64url;
use crate::adapters::jose::mint::sign_compact;
use crate::adapters::jose::testkit::{Issuer, TIMEOUT, jwk_with_kid, p256};
use crate::adapters::licensing::licence::TYPE;

#[derive(Debug, Default)]
struct Seen {
    version: AtomicU64,
    refused: AtomicU32,
}

impl Observer for Seen {
    fn licence_file(&self, version: u64, _: DateTime<Utc>) {
        self.version.store(version, Ordering::SeqCst);
    }

    fn licence_file_refused(&self) {
        self.refused.fetch_add(1, Ordering::SeqCst);
    }
}

/// A folder with keys and a licence file, and time under control.
struct Site {
    folder: tempfile::TempDir,
    issuer: Issuer,
    clock: FakeClock,
    seen: Arc<Seen>,
    last_record: Option<DateTime<Utc>>,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer: Issuer::new(),
            clock: FakeClock::default(),
            seen: Arc::default(),
            last_record: None,
        };
        site.keys(&site.issuer.jwks());
        site
    }

    fn keys(&self, jwks: &Value) {
        std::fs::write(self.folder.path().join("jwks.json"), jwks.to_string()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("licence.jwt")
    }

    /// Puts a file there as one should: at once.
    fn put(&self, content: &str) {
        let beside = self.folder.path().join("new");
        std::fs::write(&beside, content).unwrap();
        std::fs::rename(beside, self.file()).unwrap();
    }

    /// A file of this version that lives for a day from now and revokes these licences.
    fn issue(&self, version: u64, revoked: &[&str]) -> String {
        let now = self.clock.now().timestamp();
        let licences: Value = ["lic-1", "lic-2"]
            .iter()
            .map(|lic| json!({ "lic": lic, "tid": "acme", "inst": "*", "revoked": revoked.contains(lic) }))
            .collect();
        let payload = json!({
            "iss": "https://licensing.example", "aud": "signer", "version": version, "iat": now, "exp": now + 86_400,
            "licences": licences,
        });
        self.issuer.sign(TYPE, &payload)
    }

    fn settings(&self) -> Settings {
        Settings {
            issuer: "https://licensing.example".to_owned(),
            audience: "signer".to_owned(),
            algorithms: JwsAlgorithm::ALL.to_vec(),
            keys: KeysLocation::File(self.folder.path().join("jwks.json")),
            own_keys: crate::adapters::jose::source::OwnKeys::fixed([].into()),
            introspection: None,
            roots: None,
            timeout: TIMEOUT,
            clock_skew: Duration::from_secs(30),
        }
    }

    fn licence(&self) -> LicenceSettings {
        LicenceSettings {
            file: self.file(),
            state_directory: self.folder.path().join("state"),
            last_record: self.last_record,
        }
    }

    fn surroundings(&self) -> Surroundings {
        Surroundings {
            clock: Arc::new(self.clock.clone()),
            observer: Arc::clone(&self.seen) as Arc<dyn Observer>,
            log: slog::Logger::root(slog::Discard, slog::o!()),
        }
    }

    async fn open(&self) -> Result<(OfflineLicensing, Poll), String> {
        let opened = Shelf::open(&self.settings(), &self.licence(), self.surroundings()).await;
        let (shelf, poll) = opened.map_err(|error| error.0)?;
        let shelf = Arc::new(shelf);
        Ok((OfflineLicensing { shelf }, poll))
    }

    async fn ask(&self, licensing: &OfflineLicensing) -> Result<Introspection, String> {
        let poe = self.issuer.sign("poe+jwt", &json!({ "sub": "s" }));
        let asked = licensing.introspect(Arc::from(poe), testing::entitlement()).await;
        asked.map_err(|error| error.0)
    }

    fn refused(&self) -> u32 {
        self.seen.refused.load(Ordering::SeqCst)
    }

    fn version(&self) -> u64 {
        self.seen.version.load(Ordering::SeqCst)
    }
}

fn active() -> Result<Introspection, String> {
    Ok(Introspection::Active(Box::new(testing::entitlement())))
}

fn days(n: u64) -> Duration {
    Duration::from_secs(86_400 * n)
}

#[tokio::test]
async fn a_new_file_takes_the_place_of_the_old_one() {
    let site = Site::new();
    site.put(&site.issue(1, &[]));
    let (licensing, mut poll) = site.open().await.unwrap();
    let first = licensing.basis();
    assert!(first.is_some());
    assert_eq!(site.ask(&licensing).await, active());
    licensing.shelf.look(&mut poll).await;
    assert_eq!(licensing.basis(), first, "nothing has changed");
    site.put(&site.issue(2, &["lic-1"]));
    licensing.shelf.look(&mut poll).await;
    assert_eq!(site.ask(&licensing).await, Ok(Introspection::Revoked));
    assert!(licensing.basis() > first, "what was said before is void");
    assert_eq!((site.version(), site.refused()), (2, 0));
}

#[tokio::test]
async fn a_file_that_does_not_hold_changes_nothing_until_the_old_one_ends() {
    let site = Site::new();
    site.put(&site.issue(2, &[]));
    let (licensing, mut poll) = site.open().await.unwrap();
    let basis = licensing.basis();
    let older = site.issue(1, &[]);
    let another = site.issue(2, &["lic-1"]);
    let foreign = Issuer::with_key(p256()).sign(TYPE, &json!({}));
    let mut count = 0;
    for bad in [older.as_str(), &another, &foreign, "", "half a fi"] {
        site.put(bad);
        for _ in 0..3 {
            licensing.shelf.look(&mut poll).await;
        }
        count += 1;
        assert_eq!(
            (licensing.basis(), site.refused()),
            (basis, count),
            "told once: {:?}",
            poll.trouble
        );
        assert_eq!(site.ask(&licensing).await, active());
    }
    std::fs::remove_file(site.file()).unwrap();
    licensing.shelf.look(&mut poll).await;
    assert_eq!((licensing.basis(), site.refused()), (basis, count + 1));
    site.clock.advance(days(1) - Duration::from_millis(1));
    assert_eq!(licensing.basis(), basis);
    site.clock.advance(Duration::from_millis(1));
    assert_eq!(licensing.basis(), None, "to the instant, without anyone looking");
    assert!(site.ask(&licensing).await.unwrap_err().contains("expired"));
    site.put(&site.issue(3, &[]));
    licensing.shelf.look(&mut poll).await;
    assert_eq!(site.ask(&licensing).await, active());
    assert_eq!(poll.trouble, None);
}

#[tokio::test]
async fn a_start_needs_a_file_that_holds_now_and_is_not_older() {
    let site = Site::new();
    let cannot = |expected: &'static str| {
        let site = &site;
        async move {
            let why = site.open().await.expect_err("a refusal");
            assert!(why.contains(expected), "{expected}: {why}");
        }
    };
    cannot("No such file").await;
    site.put("garbage");
    cannot("compact JWS").await;
    let first = site.issue(1, &[]);
    site.put(&first);
    site.open().await.unwrap();
    site.put(&site.issue(2, &[]));
    site.open().await.unwrap();
    site.put(&first);
    cannot("older than 2").await;
    site.put(&site.issue(3, &[]));
    site.clock.advance(days(2));
    cannot("expired").await;
    site.put(&site.issue(3, &[]));
    std::fs::write(site.folder.path().join("state/licence-version.json"), "{").unwrap();
    cannot("restore it from a backup").await;
    std::fs::remove_file(site.folder.path().join("state/licence-version.json")).unwrap();
    site.open().await.unwrap();
}

#[tokio::test]
async fn a_clock_set_back_is_noticed_at_the_start_and_while_running() {
    let mut site = Site::new();
    site.put(&site.issue(1, &[]));
    site.last_record = Some(testing::NOW() + TimeDelta::minutes(6));
    let why = site.open().await.expect_err("a refusal");
    assert!(why.contains("the clock is 360 s behind"), "{why}");
    site.last_record = Some(testing::NOW() + TimeDelta::minutes(5));
    let (licensing, mut poll) = site.open().await.unwrap();
    let basis = licensing.basis();
    assert!(basis.is_some());
    site.clock.advance(days(1) - Duration::from_secs(60));
    assert_eq!(licensing.basis(), basis);
    // One minute before the file ends, someone turns the clock back.
    site.clock.set_back(Duration::from_secs(3600));
    assert_eq!(licensing.basis(), None);
    assert!(
        site.ask(&licensing)
            .await
            .unwrap_err()
            .contains("the clock is 3600 s behind")
    );
    licensing.shelf.look(&mut poll).await;
    assert_eq!(site.refused(), 1);
    site.clock.jump(Duration::from_secs(3600));
    assert_eq!(licensing.basis(), basis, "right again");
    // Behind the file's own `iat`, whatever the trail says.
    site.last_record = None;
    site.clock.advance(days(1));
    site.put(&site.issue(2, &[]));
    site.clock.set_back(days(1));
    let why = site.open().await.expect_err("a refusal");
    assert!(why.contains("`iat`"), "{why}");
}

#[tokio::test]
async fn a_withdrawn_key_takes_what_it_signed_with_it() {
    let site = Site::new();
    site.put(&site.issue(1, &[]));
    let (licensing, mut poll) = site.open().await.unwrap();
    let basis = licensing.basis();
    site.keys(&json!({}));
    licensing.shelf.look(&mut poll).await;
    assert_eq!(
        licensing.basis(),
        basis,
        "keys that cannot be read withdraw nothing"
    );
    let other = jwk_with_kid(&p256(), "k2");
    site.keys(&json!({ "keys": [other, jwk_with_kid(&site.issuer.key, "k1")] }));
    licensing.shelf.look(&mut poll).await;
    assert_eq!((licensing.basis(), &poll.trouble), (basis, &None));
    site.keys(&json!({ "keys": [other] }));
    licensing.shelf.look(&mut poll).await;
    assert_eq!((licensing.basis(), site.version()), (None, 0));
    assert!(
        site.ask(&licensing)
            .await
            .unwrap_err()
            .contains("no licence file is in use")
    );
}

#[tokio::test]
async fn a_file_signed_anew_hangs_on_its_new_key() {
    let site = Site::new();
    let (old, new) = (jwk_with_kid(&site.issuer.key, "k1"), p256());
    let signed = site.issue(1, &[]);
    site.put(&signed);
    let (licensing, mut poll) = site.open().await.unwrap();
    let basis = licensing.basis();
    let payload = signed.split('.').nth(1).and_then(from_b64url).unwrap();
    let payload = serde_json::from_slice(&payload).unwrap();
    site.keys(&json!({ "keys": [old, jwk_with_kid(&new, "k2")] }));
    site.put(&sign_compact(&json!({ "typ": TYPE, "kid": "k2" }), &payload, &new).unwrap());
    licensing.shelf.look(&mut poll).await;
    assert_eq!((licensing.basis(), &poll.trouble), (basis, &None));
    // The old key goes, and someone spoils the file.
    site.keys(&json!({ "keys": [jwk_with_kid(&new, "k2")] }));
    site.put("spoilt");
    licensing.shelf.look(&mut poll).await;
    assert!(poll.trouble.is_some());
    assert_eq!(licensing.basis(), basis);
}

#[tokio::test]
async fn an_inspection_says_what_a_start_would_and_writes_nothing() {
    let site = Site::new();
    let inspected = async || inspect(&site.settings(), &site.licence(), site.surroundings()).await;
    site.put(&site.issue(4, &["lic-2"]));
    let file = inspected().await.unwrap();
    assert_eq!((file.version, file.licences(), file.revoked()), (4, 2, 1));
    assert!(!site.folder.path().join("state").exists());
    site.open().await.unwrap();
    site.put(&site.issue(3, &[]));
    assert!(inspected().await.unwrap_err().0.contains("older than 4"));
}

#[tokio::test]
async fn nobody_looks_after_the_file_once_the_service_has_ended() {
    let site = Site::new();
    site.put(&site.issue(1, &[]));
    let licensing = OfflineLicensing::open(&site.settings(), &site.licence(), site.surroundings()).await;
    let licensing = licensing.unwrap();
    let mut changes = licensing.changes();
    assert_eq!(changes.borrow().as_deref().map(|file| file.version), Some(1));
    drop(licensing);
    assert!(changes.changed().await.is_err());
}
