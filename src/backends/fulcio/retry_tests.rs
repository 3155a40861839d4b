//! Tries, deadlines and promises of logs, against the scripted Fulcio.

use std::sync::atomic::{AtomicU32, Ordering};

use openssl::pkey::{PKey, Private};
use serde_json::{Value, json};
use signer_actors::ports::SystemClock;

use super::tests::{answer, fake, open, requested_key, settings};
use super::*;
use crate::x509::sct::tests::answer_of;
use crate::x509::test_pki::{LeafSpec, TestCa};

const FORM: &str = "signedCertificateDetachedSct";

/// Counts requests for certificates.
#[derive(Clone, Default)]
struct Asked(Arc<AtomicU32>);

impl Asked {
    fn times(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }

    fn again(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// A Fulcio that answers so the first times, and issues then.
async fn at_first(ca: &TestCa, head: &'static str, times: u32) -> (Url, Asked) {
    let (ca, asked) = (ca.clone(), Asked::default());
    let count = asked.clone();
    let url = fake(move |request| {
        if count.again() <= times {
            return Some((head, b"{}".to_vec()));
        }
        let leaf = ca.issue(&requested_key(&request), &LeafSpec::at(Utc::now()));
        Some((
            "201 Created",
            answer(FORM, &[vec![leaf], ca.chain.clone()].concat()),
        ))
    })
    .await;
    (url, asked)
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let ca = TestCa::root();
    for head in [
        "",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Service Unavailable",
    ] {
        let (url, asked) = at_first(&ca, head, 2).await;
        assert!(open(settings(url, ca.root_pem())).await.is_ok(), "{head}");
        assert_eq!(asked.times(), 3, "{head}");
    }
}

#[tokio::test]
async fn five_times_at_most() {
    let ca = TestCa::root();
    let (url, asked) = at_first(&ca, "503 Service Unavailable", u32::MAX).await;
    let came = open(settings(url, ca.root_pem())).await;
    assert!(
        matches!(&came, Err(BackendError::Unavailable(text)) if text.contains("503")),
        "{came:?}"
    );
    assert_eq!(asked.times(), 5);
}

#[tokio::test]
async fn what_lasts_is_asked_once() {
    let ca = TestCa::root();
    for head in [
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
    ] {
        let (url, asked) = at_first(&ca, head, u32::MAX).await;
        let came = open(settings(url, ca.root_pem())).await;
        assert!(matches!(came, Err(BackendError::Failed(_))), "{head}: {came:?}");
        assert_eq!(asked.times(), 1, "{head}");
    }
    // Nor is a certificate of a foreign authority asked for again.
    let (url, asked) = at_first(&ca, "", 0).await;
    let came = open(settings(url, TestCa::root().root_pem())).await;
    assert!(matches!(came, Err(BackendError::Failed(_))), "{came:?}");
    assert_eq!(asked.times(), 1);
}

#[tokio::test]
async fn the_deadline_holds_for_all_tries() {
    let ca = TestCa::root();
    for head in ["", "503 Service Unavailable"] {
        let (url, asked) = at_first(&ca, head, u32::MAX).await;
        let mut hasty = settings(url, ca.root_pem());
        hasty.timeout = Duration::from_millis(120);
        let begun = Instant::now();
        let came = open(hasty).await;
        assert!(matches!(came, Err(BackendError::Unavailable(_))), "{came:?}");
        // Five tries wait for 750 ms at least.
        assert!(
            begun.elapsed() < Duration::from_millis(700),
            "{:?}",
            begun.elapsed()
        );
        assert!(asked.times() < 5);
    }
}

#[tokio::test]
async fn who_asks_to_be_left_alone_is_waited_for() {
    let ca = TestCa::root();
    let (url, asked) = at_first(&ca, "429 Too Many Requests\r\nRetry-After: 1", 1).await;
    let begun = Instant::now();
    assert!(open(settings(url, ca.root_pem())).await.is_ok());
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(asked.times(), 2);
}

#[tokio::test]
async fn who_asks_to_be_left_alone_for_longer_is_not_asked_meanwhile() {
    let ca = TestCa::root();
    let (url, asked) = at_first(&ca, "503 Service Unavailable\r\nRetry-After: 30", 1).await;
    let backend = FulcioBackend::new(settings(url, ca.root_pem()), Arc::new(SystemClock::default())).unwrap();
    for expected in ["503", "left alone", "left alone"] {
        let came = backend.open().await;
        assert!(
            matches!(&came, Err(BackendError::Unavailable(text)) if text.contains(expected)),
            "{expected}: {came:?}"
        );
        assert_eq!(asked.times(), 1);
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    assert!(backend.open().await.is_ok());
    assert_eq!(asked.times(), 2);
}

/// What a Fulcio passes on beside the certificate (DER).
type Beside = fn(&PKey<Private>, &[u8]) -> Value;

/// Opens with a log configured or not.
async fn with_log(beside: Option<Beside>, known: bool, required: bool) -> Result<(), String> {
    let ca = TestCa::root();
    let log = crate::crypto::generate_p256().unwrap();
    let (issuing, writing) = (ca.clone(), log.clone());
    let url = fake(move |request| {
        let leaf = issuing.issue(&requested_key(&request), &LeafSpec::at(Utc::now()));
        let mut body: Value = serde_json::from_slice(&answer(FORM, std::slice::from_ref(&leaf))).unwrap();
        if let Some(beside) = beside {
            let sct = beside(&writing, &leaf.to_der().unwrap());
            body[FORM]["signedCertificateTimestamp"] =
                json!(openssl::base64::encode_block(sct.to_string().as_bytes()));
        }
        Some(("201 Created", body.to_string().into_bytes()))
    })
    .await;
    let mut settings = settings(url, ca.root_pem());
    if known {
        settings.ct_keys = vec![log.public_key_to_pem().unwrap()];
    }
    settings.require_sct = required;
    match open(settings).await {
        Ok(_) => Ok(()),
        Err(BackendError::Failed(text)) => Err(text),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn promises_of_logs_must_hold() {
    let honest: Beside = |log, leaf| answer_of(log, leaf, Utc::now());
    let altered: Beside = |log, leaf| answer_of(log, &[leaf, &[0]].concat(), Utc::now());
    let foreign: Beside = |_, leaf| answer_of(&crate::crypto::generate_p256().unwrap(), leaf, Utc::now());
    let early: Beside = |log, leaf| answer_of(log, leaf, Utc::now() + TimeDelta::minutes(1));
    let nonsense: Beside = |_, _| json!({ "sct_version": 0 });
    for required in [false, true] {
        assert_eq!(with_log(Some(honest), true, required).await, Ok(()));
        for (beside, expected) in [
            (altered, "does not hold"),
            (foreign, "a log that is not configured"),
            (early, "in the future"),
            (nonsense, "malformed"),
        ] {
            let refused = with_log(Some(beside), true, required).await.unwrap_err();
            assert!(refused.contains(expected), "{expected}: {refused}");
        }
    }
    let refused = with_log(None, true, true).await.unwrap_err();
    assert!(refused.contains("require_sct"), "{refused}");
    assert_eq!(
        with_log(None, true, false).await,
        Ok(()),
        "a Fulcio without a log"
    );
    for beside in [altered, foreign, nonsense] {
        assert_eq!(
            with_log(Some(beside), false, false).await,
            Ok(()),
            "no log is configured"
        );
    }
}

#[test]
fn promises_cannot_be_required_without_logs() {
    let mut settings = settings(
        Url::parse("https://fulcio.example").unwrap(),
        TestCa::root().root_pem(),
    );
    settings.require_sct = true;
    let refused = FulcioBackend::new(settings, Arc::new(SystemClock::default())).unwrap_err();
    assert!(refused.contains("ct_keys"), "{refused}");
}
