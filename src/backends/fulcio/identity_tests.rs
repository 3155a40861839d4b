//! Against a scripted token endpoint on loopback.

use serde_json::{Value, json};

use super::*;
use crate::adapters::jose::testkit::{Reply, Server, nowhere};
use crate::backends::testkit::secret;

const SECRET: &str = "s3cret value+1";

fn endpoint(url: Url) -> Endpoint {
    Endpoint {
        url,
        client_id: "signer:eu".into(),
        client_secret: secret(&SECRET.replace(' ', "_")),
        scope: String::new(),
        audience: String::new(),
        resource: String::new(),
    }
}

fn tokens(url: Url) -> Tokens {
    Tokens::new(Identity::Endpoint(endpoint(url))).unwrap()
}

/// An endpoint that answers with numbered tokens of this life.
async fn counting(expires_in: Value) -> Server {
    let count = std::sync::atomic::AtomicU32::new(0);
    Server::start(move |_, _| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        let mut body = json!({ "access_token": format!("head.{number}.signature"), "token_type": "Bearer" });
        if !expires_in.is_null() {
            body["expires_in"] = expires_in.clone();
        }
        Reply::json("200 OK", &body)
    })
    .await
}

async fn passes(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

#[tokio::test]
async fn it_is_asked_as_the_specification_says() {
    let mut server = counting(json!(300)).await;
    let mut endpoint = endpoint(server.at("/token"));
    (endpoint.scope, endpoint.audience) = ("openid sign".into(), "sigstore".into());
    endpoint.resource = "https://fulcio.example".into();
    let shown = format!("{endpoint:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let tokens = Tokens::new(Identity::Endpoint(endpoint)).unwrap();
    assert_eq!(tokens.get().await.unwrap().as_str(), "head.1.signature");
    let request = server.requests.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /token HTTP/1.1\r\n"), "{head}");
    // RFC 6749 §2.3.1: both as a form writes them, then RFC 7617.
    let expected = STANDARD.encode("signer%3Aeu:s3cret_value%2B1");
    assert!(
        head.contains(&format!("authorization: Basic {expected}\r\n")),
        "{head}"
    );
    assert!(
        head.contains("content-type: application/x-www-form-urlencoded"),
        "{head}"
    );
    assert_eq!(
        body,
        "grant_type=client_credentials&scope=openid+sign&audience=sigstore&resource=https%3A%2F%2Ffulcio.example"
    );
}

#[tokio::test]
async fn a_token_is_used_until_shortly_before_its_end() {
    // (life, the last second in which it is used)
    for (life, last) in [(300, 239), (120, 59), (20, 9)] {
        let server = counting(json!(life)).await;
        let tokens = tokens(server.url.clone());
        assert_eq!(tokens.get().await.unwrap().as_str(), "head.1.signature");
        passes(Duration::from_secs(last)).await;
        assert_eq!(tokens.get().await.unwrap().as_str(), "head.1.signature", "{life}");
        passes(Duration::from_secs(1)).await;
        assert_eq!(tokens.get().await.unwrap().as_str(), "head.2.signature", "{life}");
    }
}

#[tokio::test]
async fn a_token_of_unknown_life_or_that_was_refused_is_not_used_again() {
    let server = counting(Value::Null).await;
    let unknown = tokens(server.url.clone());
    assert_eq!(unknown.get().await.unwrap().as_str(), "head.1.signature");
    assert_eq!(unknown.get().await.unwrap().as_str(), "head.2.signature");
    let server = counting(json!(300)).await;
    let refused = tokens(server.url.clone());
    assert_eq!(refused.get().await.unwrap().as_str(), "head.1.signature");
    refused.forget().await;
    assert_eq!(refused.get().await.unwrap().as_str(), "head.2.signature");
}

async fn trouble(reply: Reply) -> Trouble {
    let server = Server::start(move |_, _| reply.clone()).await;
    let trouble = tokens(server.url.clone()).get().await.unwrap_err();
    let shown = format!("{trouble:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert_eq!(trouble.after, None);
    trouble
}

#[tokio::test]
async fn refusals_say_what_lasts() {
    for (status, body, expected, passes) in [
        (
            "401 Unauthorized",
            json!({ "error": "invalid_client" }),
            "answered 401: invalid_client",
            false,
        ),
        (
            "400 Bad Request",
            json!({ "error": "invalid_scope", "error_description": SECRET }),
            "answered 400: invalid_scope",
            false,
        ),
        (
            "403 Forbidden",
            json!({ "error": "no s3cret" }),
            "answered 403",
            false,
        ),
        ("302 Found", json!({}), "answered 302", false),
        ("429 Too Many Requests", json!({}), "answered 429", true),
        ("503 Service Unavailable", json!(null), "answered 503", true),
    ] {
        let trouble = trouble(Reply::json(status, &body)).await;
        assert_eq!(trouble.passes, passes, "{status}");
        let text = trouble.error.to_string();
        assert!(text.ends_with(expected), "{expected}: {text}");
    }
}

#[tokio::test]
async fn answers_without_a_token_are_refused() {
    for body in [
        json!({}),
        json!([]),
        json!({ "access_token": "" }),
        json!({ "access_token": "opaque", "expires_in": 300 }),
        json!({ "access_token": "a.b.c\n", "expires_in": 300 }),
        json!({ "access_token": "a.b.c", "expires_in": -1 }),
        json!({ "access_token": format!("a.b.{}", "c".repeat(MAX_TOKEN)), "expires_in": 300 }),
        json!({ "id_token": "a.b.c" }),
    ] {
        let trouble = trouble(Reply::json("200 OK", &body)).await;
        assert!(!trouble.passes, "{body}");
        assert!(
            trouble.error.to_string().contains("no token that can be used"),
            "{body}"
        );
    }
    assert!(!trouble(Reply::Endless).await.passes);
}

#[tokio::test]
async fn an_endpoint_that_is_down_may_come_back() {
    let down = tokens(nowhere().await).get().await.unwrap_err();
    assert!(
        down.passes && down.error.to_string().contains("cannot be reached"),
        "{down:?}"
    );
}

#[test]
fn the_secret_travels_in_private_alone() {
    let make = |url: &str| Tokens::new(Identity::Endpoint(endpoint(url.parse().unwrap()))).map(drop);
    assert!(make("http://authority.example/token").is_err());
    assert!(make("https://authority.example/token").is_ok());
}

/// Through the backend: a token endpoint that hangs, and one whose token Fulcio refuses.
mod through_the_backend {
    use std::sync::Arc;

    use signer_actors::ports::{BackendError, SigningBackend as _, SystemClock};

    use super::super::super::tests::{answer, fake, requested_key, settings, token};
    use super::super::super::{FulcioBackend, Settings};
    use super::*;
    use crate::x509::test_pki::{LeafSpec, TestCa};

    fn backend(settings: Settings) -> FulcioBackend {
        FulcioBackend::new(settings, Arc::new(SystemClock::default())).unwrap()
    }

    #[tokio::test]
    async fn one_that_hangs_is_named_and_bounded() {
        let server = Server::start(|_, _| Reply::Silence).await;
        let mut hasty = settings("http://127.0.0.1:1".parse().unwrap(), TestCa::root().root_pem());
        hasty.identity = Identity::Endpoint(endpoint(server.url.clone()));
        hasty.timeout = Duration::from_millis(200);
        let begun = Instant::now();
        let came = backend(hasty).open().await;
        assert!(
            matches!(&came, Err(BackendError::Unavailable(text)) if text.contains("in time")),
            "{came:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_token_that_fulcio_refuses_is_fetched_anew() {
        let ca = TestCa::root();
        let roots = ca.root_pem();
        let mut server = Server::start(|_, _| {
            Reply::json("200 OK", &json!({ "access_token": token(), "expires_in": 3600 }))
        })
        .await;
        let refuses = std::sync::atomic::AtomicBool::new(true);
        let url = fake(move |request| {
            if refuses.swap(false, std::sync::atomic::Ordering::SeqCst) {
                return Some(("401 Unauthorized", b"{}".to_vec()));
            }
            let leaf = ca.issue(&requested_key(&request), &LeafSpec::at(chrono::Utc::now()));
            Some(("201 Created", answer("signedCertificateDetachedSct", &[leaf])))
        })
        .await;
        let mut settings = settings(url, roots);
        settings.identity = Identity::Endpoint(endpoint(server.url.clone()));
        let backend = backend(settings);
        let refused = backend.open().await;
        assert!(matches!(refused, Err(BackendError::Failed(_))), "{refused:?}");
        for _ in 0..3 {
            assert!(backend.open().await.is_ok());
        }
        let mut fetched = 0;
        while server.requests.try_recv().is_ok() {
            fetched += 1;
        }
        assert_eq!(fetched, 2, "once before it was refused, once after");
    }
}
