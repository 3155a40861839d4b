//! The client against a scripted Fulcio on loopback, whose authority is honest or not as each test asks.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openssl::pkey::{PKey, Public};
use serde_json::{Value, json};
use signer_actors::ports::SystemClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

use super::*;
use crate::backends::credential::CredentialSource;
use crate::crypto::{PublicKey, algorithms_of};
use crate::x509::test_pki::{Change, ISSUER, LeafSpec, Name, SUBJECT, TestCa};

const CONFIGURATION: &str =
    r#"{"issuers":[{"issuerUrl":"https://authority.example","challengeClaim":"sub"}]}"#;

pub(super) fn token() -> String {
    let payload =
        r#"{"iss":"https://authority.example","sub":"signer-service","email":"signer@stellaops.example"}"#;
    format!(
        "eyJhbGciOiJFUzI1NiJ9.{}.dGhlIHNpZ25hdHVyZSBvZiB0aGUgdG9rZW4",
        URL_SAFE_NO_PAD.encode(payload)
    )
}

/// A request as the fake saw it.
struct Seen {
    line: String,
    body: Vec<u8>,
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        let head_end = bytes.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(end) = head_end {
            let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")
                    .map(str::to_owned)
            });
            let length: usize = length.map_or(0, |l| l.parse().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(Seen {
                    line: head.lines().next()?.to_owned(),
                    body: bytes[end + 4..].to_vec(),
                });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Answers `configuration` by itself and leaves `signingCert` to the script: status line with headers, and body. No
/// answer at all if the script gives none, and a connection that breaks off if the status line is empty.
pub(super) async fn fake<F>(script: F) -> Url
where
    F: Fn(Value) -> Option<(&'static str, Vec<u8>)> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(seen) = read_request(&mut stream).await else {
                continue;
            };
            let answer = match seen.line.as_str() {
                "GET /api/v2/configuration HTTP/1.1" => Some(("200 OK", CONFIGURATION.into())),
                "POST /api/v2/signingCert HTTP/1.1" => script(serde_json::from_slice(&seen.body).unwrap()),
                _ => Some(("404 Not Found", Vec::new())),
            };
            match answer {
                Some(("", _)) => drop(stream),
                Some((head, body)) => {
                    let length = body.len();
                    let head =
                        format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                    let _ = stream.write_all(&[head.into_bytes(), body].concat()).await;
                }
                None => held.push(stream),
            }
        }
    });
    Url::parse(&url).unwrap()
}

pub(super) fn settings(url: Url, roots_pem: Vec<u8>) -> Settings {
    Settings {
        id: KeyId::parse("keyless").unwrap(),
        url,
        roots_pem,
        identity: Identity::Credential(CredentialSource::Static(Zeroizing::new(token()))),
        expect_issuer: ISSUER.into(),
        expect_subject: SUBJECT.into(),
        ct_keys: Vec::new(),
        require_sct: false,
        certificate_reuse: Duration::from_secs(300),
        timeout: Duration::from_secs(10),
        tls_roots_pem: Vec::new(),
    }
}

pub(super) async fn open(settings: Settings) -> Result<Arc<dyn SigningKey>, BackendError> {
    FulcioBackend::new(settings, Arc::new(SystemClock::default()))
        .unwrap()
        .open()
        .await
}

/// The public key of a request, its proof of possession verified.
pub(super) fn requested_key(request: &Value) -> PKey<Public> {
    assert_eq!(request["credentials"]["oidcIdentityToken"], token());
    let public = &request["publicKeyRequest"];
    assert_eq!(public["publicKey"]["algorithm"], "ECDSA");
    let pem = public["publicKey"]["content"].as_str().unwrap();
    let pkey = PKey::public_key_from_pem(pem.as_bytes()).unwrap();
    assert_eq!(algorithms_of(&pkey), [Algorithm::EcdsaP256Sha256]);
    let key = PublicKey::new(pkey.clone(), Algorithm::EcdsaP256Sha256).unwrap();
    let proof = STANDARD
        .decode(public["proofOfPossession"].as_str().unwrap())
        .unwrap();
    assert!(
        key.verify(b"signer-service".as_slice(), &proof),
        "the proof is over the challenge claim"
    );
    pkey
}

pub(super) fn answer(form: &str, certificates: &[X509]) -> Vec<u8> {
    let pems: Vec<String> = certificates.iter().map(|c| to_pem(c).unwrap()).collect();
    json!({ form: { "chain": { "certificates": pems } } })
        .to_string()
        .into_bytes()
}

/// A Fulcio that verifies the proof and issues what the change makes of an honest leaf.
async fn issuing(ca: TestCa, form: &'static str, change: fn(&mut LeafSpec)) -> Url {
    fake(move |request| {
        let key = requested_key(&request);
        let mut spec = LeafSpec::at(Utc::now());
        change(&mut spec);
        let chain = [vec![ca.issue(&key, &spec)], ca.chain.clone()].concat();
        Some(("201 Created", answer(form, &chain)))
    })
    .await
}

#[tokio::test]
async fn an_honest_fulcio_gives_a_key_that_signs() {
    for form in ["signedCertificateEmbeddedSct", "signedCertificateDetachedSct"] {
        let ca = TestCa::with_intermediate();
        let url = issuing(ca.clone(), form, |_| {}).await;
        let before = Utc::now();
        let key = open(settings(url, ca.root_pem())).await.unwrap();
        let identity = key.identity();
        assert_eq!(
            (identity.backend.as_str(), identity.mode),
            ("keyless", SigningMode::Keyless)
        );
        assert_eq!(
            (identity.issuer.as_deref(), identity.subject.as_deref()),
            (Some(ISSUER), Some(SUBJECT))
        );
        assert_eq!(identity.key_id.as_str().len(), 32);
        let chain = &identity.certificate_chain;
        assert_eq!(chain.len(), 3);
        let leaf = X509::from_pem(chain[0].as_bytes()).unwrap();
        assert_eq!(Some(leaf.to_der().unwrap()), identity.leaf_der);
        assert_eq!(
            leaf.public_key().unwrap().public_key_to_der().unwrap(),
            identity.public_key_der
        );
        assert!(!key.verify_always());
        let replace_at = key.replace_at().unwrap();
        assert!(replace_at >= before + TimeDelta::seconds(300));
        assert!(replace_at <= Utc::now() + TimeDelta::seconds(300));
        assert!(key.lives_for(Duration::from_secs(500), Utc::now()));
    }
}

#[tokio::test]
async fn two_openings_have_two_keys() {
    let ca = TestCa::root();
    let url = issuing(ca.clone(), "signedCertificateDetachedSct", |_| {}).await;
    let first = open(settings(url.clone(), ca.root_pem())).await.unwrap();
    let second = open(settings(url, ca.root_pem())).await.unwrap();
    assert_ne!(first.identity().public_key_der, second.identity().public_key_der);
}

#[tokio::test]
async fn the_last_minute_of_a_certificate_is_not_used() {
    let ca = TestCa::root();
    let url = issuing(ca.clone(), "signedCertificateDetachedSct", |_| {}).await;
    let mut long = settings(url, ca.root_pem());
    long.certificate_reuse = Duration::from_secs(3600);
    let key = open(long).await.unwrap();
    assert_eq!(
        key.replace_at(),
        key.identity().not_after.map(|end| end - TimeDelta::seconds(60))
    );
}

async fn refused(url: Url, roots: Vec<u8>) -> String {
    match open(settings(url, roots)).await {
        Err(BackendError::Failed(text)) => text,
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_with_any_fault_is_refused() {
    let cases: [(&str, Change); 9] = [
        ("another subject", |s| {
            s.names = vec![Name::Uri("https://stellaops.example/other".into())]
        }),
        ("exactly one", |s| {
            s.names.push(Name::Uri("https://stellaops.example/other".into()))
        }),
        ("exactly one", |s| {
            s.names = vec![Name::Dns("stellaops.example".into())]
        }),
        ("another issuer", |s| {
            (s.issuer_v1, s.issuer_v2) = (
                Some("https://evil.example".into()),
                Some("https://evil.example".into()),
            )
        }),
        ("no issuer", |s| (s.issuer_v1, s.issuer_v2) = (None, None)),
        ("not for code signing", |s| s.code_signing = false),
        ("expired", |s| {
            (s.not_before, s.not_after) = (
                Utc::now() - TimeDelta::hours(1),
                Utc::now() - TimeDelta::minutes(50),
            )
        }),
        ("not yet valid", |s| {
            (s.not_before, s.not_after) = (Utc::now() + TimeDelta::hours(1), Utc::now() + TimeDelta::hours(2))
        }),
        ("too short-lived", |s| {
            s.not_after = Utc::now() + TimeDelta::seconds(59)
        }),
    ];
    for (expected, change) in cases {
        let ca = TestCa::root();
        let url = issuing(ca.clone(), "signedCertificateDetachedSct", change).await;
        let text = refused(url, ca.root_pem()).await;
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test]
async fn a_foreign_root_or_a_foreign_key_is_refused() {
    let url = issuing(TestCa::root(), "signedCertificateDetachedSct", |_| {}).await;
    let text = refused(url, TestCa::root().root_pem()).await;
    assert!(text.contains("no valid path"), "{text}");

    let ca = TestCa::root();
    let roots = ca.root_pem();
    let url = fake(move |_| {
        let other = PrivateKey::generate_p256().unwrap();
        let leaf = ca.issue(other.public().pkey(), &LeafSpec::at(Utc::now()));
        Some(("200 OK", answer("signedCertificateDetachedSct", &[leaf])))
    })
    .await;
    let text = refused(url, roots).await;
    assert!(text.contains("over another key"), "{text}");
}

#[tokio::test]
async fn statuses_tell_what_may_pass_by_itself() {
    let cases = [
        ("400 Bad Request", false),
        ("401 Unauthorized", false),
        ("404 Not Found", false),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", false),
        ("429 Too Many Requests", true),
        ("500 Internal Server Error", true),
        ("503 Service Unavailable", true),
    ];
    for (head, passing) in cases {
        let echo = format!(r#"{{"code":3,"message":"bad token {}","details":[]}}"#, token());
        let body = if passing {
            r#"{"code":13,"message":"signer is busy"}"#.to_owned()
        } else {
            echo
        };
        let url = fake(move |_| Some((head, body.clone().into_bytes()))).await;
        let code = &head[..3];
        match open(settings(url, TestCa::root().root_pem())).await {
            Err(BackendError::Unavailable(text)) if passing => {
                assert_eq!(text, format!("Fulcio answered {code}: signer is busy"));
            }
            Err(BackendError::Failed(text)) if !passing => {
                assert_eq!(text, format!("Fulcio answered {code}"))
            }
            other => panic!("{head}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn answers_that_are_no_certificates_are_refused() {
    let pem = String::from_utf8(TestCa::root().root_pem()).unwrap();
    let form = "signedCertificateDetachedSct";
    let bodies: [(&str, Vec<u8>); 7] = [
        ("not the JSON", b"<!doctype html><title>Sign in</title>".to_vec()),
        ("not the JSON", Vec::new()),
        ("holds no certificate", b"{}".to_vec()),
        ("holds no certificate", answer(form, &[])),
        (
            "cannot be read",
            json!({ form: { "chain": { "certificates": ["nonsense"] } } })
                .to_string()
                .into(),
        ),
        (
            "too many",
            json!({ form: { "chain": { "certificates": vec![&pem; 9] } } })
                .to_string()
                .into(),
        ),
        ("too long", vec![b' '; 200 * 1024]),
    ];
    for (expected, body) in bodies {
        let url = fake(move |_| Some(("200 OK", body.clone()))).await;
        let text = refused(url, TestCa::root().root_pem()).await;
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test]
async fn silence_and_absence_are_unavailable() {
    let silent = fake(|_| None).await;
    let mut hasty = settings(silent, TestCa::root().root_pem());
    hasty.timeout = Duration::from_millis(200);
    let late = open(hasty).await;
    assert!(
        matches!(&late, Err(BackendError::Unavailable(text)) if text.contains("in time")),
        "{late:?}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let absent = open(settings(gone, TestCa::root().root_pem())).await;
    assert!(
        matches!(&absent, Err(BackendError::Unavailable(text)) if text.contains("reached")),
        "{absent:?}"
    );
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let make = |url: &str, change: fn(&mut Settings)| {
        let mut settings = settings(Url::parse(url).unwrap(), TestCa::root().root_pem());
        change(&mut settings);
        FulcioBackend::new(settings, Arc::new(SystemClock::default())).map(|_| ())
    };
    for good in [
        "https://fulcio.example",
        "http://127.0.0.1:5555",
        "http://[::1]:5555",
        "http://localhost:5555",
    ] {
        assert_eq!(make(good, |_| {}), Ok(()), "{good}");
    }
    assert!(make("http://fulcio.example", |_| {}).is_err());
    assert!(make("http://10.0.0.1", |_| {}).is_err());
    assert!(make("https://fulcio.example", |s| s.expect_subject.clear()).is_err());
    assert!(make("https://fulcio.example", |s| s.expect_issuer.clear()).is_err());
    assert!(make("https://fulcio.example", |s| s.roots_pem.clear()).is_err());
    assert!(
        make("https://fulcio.example", |s| s.tls_roots_pem =
            b"-----BEGIN CERTIFICATE-----\nx".to_vec())
        .is_err()
    );
}
