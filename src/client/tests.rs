//! The client against the embedded authority and a stand-in for the service that checks proofs and plays a script.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::adapters::jose::from_b64url;
use crate::dev::authority::{self, Authority};
use crate::dev::listener::{Bound, Running};

/// What one request carried.
#[derive(Debug)]
struct Seen {
    claims: Value,
    authorization: String,
    body: Vec<u8>,
    key: Option<String>,
}

/// Status, nonce to offer, Retry-After, body.
type Step = (u16, Option<&'static str>, Option<u32>, Value);

struct Lane {
    client: Client,
    seen: mpsc::UnboundedReceiver<Seen>,
    base: String,
    _running: (Authority, Running),
}

fn problem(status: u16, code: &str, retryable: bool) -> Value {
    json!({ "status": status, "code": code, "detail": "d", "retryable": retryable, "correlationId": "c-1" })
}

fn answer() -> Value {
    json!({
        "bundle": { "mode": "keyless", "dsse": { "payload": "cGF5" },
            "signingIdentity": { "algorithm": "ecdsa-p256-sha256", "publicKey": "PEM", "subject": "https://s" },
            "sigstoreBundle": { "mediaType": "m" } },
        "statementDigest": { "sha256": "00" }, "policy": { "plan": "pro" },
        "release": { "signer": "r", "releaseTag": "2026.10" }, "auditId": "a-1"
    })
}

async fn lane(script: Vec<Step>) -> Lane {
    let authority = authority::start(authority::Settings {
        client_id: "scanner".to_owned(),
        tenant: "acme".to_owned(),
        installation: "inst-1".to_owned(),
        scanner_image: None,
        signer_subject: "https://stellaops.local/signer".to_owned(),
    })
    .await
    .unwrap();
    let (tell, seen) = mpsc::unbounded_channel();
    let (steps, mut queue) = mpsc::unbounded_channel::<tokio::sync::oneshot::Sender<Step>>();
    actix_rt::spawn(async move {
        let mut script = script.into_iter();
        while let Some(reply) = queue.recv().await {
            let step = script.next().unwrap_or((200, None, None, answer()));
            let _ = reply.send(step);
        }
    });
    let running = Bound::any_port()
        .unwrap()
        .serve(move |routes| {
            let (tell, steps) = (tell.clone(), steps.clone());
            let handler = move |request: HttpRequest, body: web::Bytes| {
                let _ = tell.send(observe(&request, &body));
                let steps = steps.clone();
                async move {
                    let (reply, step) = tokio::sync::oneshot::channel();
                    steps.send(reply).unwrap();
                    let (status, nonce, after, body) = step.await.unwrap();
                    let mut answer = HttpResponse::build(StatusCode::from_u16(status).unwrap());
                    if let Some(nonce) = nonce {
                        answer.insert_header(("DPoP-Nonce", nonce));
                    }
                    if let Some(after) = after {
                        answer.insert_header(("Retry-After", after.to_string()));
                    }
                    answer.json(body)
                }
            };
            routes.default_service(web::to(handler));
        })
        .unwrap();
    let credentials = Credentials {
        base_url: running.base_url.clone(),
        token_endpoint: authority.token_endpoint(),
        client_id: "scanner".to_owned(),
        client_secret: authority.client_secret.clone(),
        access_token: String::new(),
        dpop_private_jwk: DpopKey::generate().unwrap().private_jwk().unwrap(),
        poe: "p".to_owned(),
        scanner_image_digest: format!("sha256:{}", "a".repeat(64)),
        revoke_url: None,
        trust_url: None,
    };
    Lane {
        client: Client::new(credentials).unwrap(),
        seen,
        base: running.base_url.clone(),
        _running: (authority, running),
    }
}

fn observe(request: &HttpRequest, body: &[u8]) -> Seen {
    let text = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    let proof = text("DPoP").unwrap_or_default();
    let claims = proof.split('.').nth(1).and_then(from_b64url).unwrap_or_default();
    Seen {
        claims: serde_json::from_slice(&claims).unwrap_or_default(),
        authorization: text("Authorization").unwrap_or_default(),
        body: body.to_vec(),
        key: text("Idempotency-Key"),
    }
}

impl Lane {
    async fn sign(&mut self) -> Result<Signed, ClientError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.bin");
        std::fs::write(&path, "abc").unwrap();
        self.client.sign(&path, &SignOptions::default()).await
    }

    fn requests(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }
}

#[actix::test]
async fn all_tries_have_one_key_and_each_file_another() {
    let in_flight = problem(409, "idempotency_in_flight", false);
    let unavailable = problem(503, "overloaded", true);
    let mut lane = lane(vec![
        (503, None, Some(0), unavailable),
        (409, None, Some(0), in_flight),
    ])
    .await;
    lane.sign().await.unwrap();
    let keys: Vec<_> = lane
        .requests()
        .into_iter()
        .map(|seen| seen.key.unwrap())
        .collect();
    assert!(
        keys.len() == 3 && keys.iter().all(|key| *key == keys[0]),
        "{keys:?}"
    );
    lane.sign().await.unwrap();
    assert_ne!(lane.requests()[0].key.as_ref(), Some(&keys[0]));
    let conflict = problem(409, "idempotency_conflict", false);
    assert!(ClientError::of(serde_json::from_value(conflict).unwrap()).exit_code() == 1);
}

#[actix::test]
async fn obtains_a_token_and_proves_each_request() {
    let mut lane = lane(vec![]).await;
    let signed = lane.sign().await.unwrap();
    assert_eq!(signed.envelope.get(), r#"{"payload":"cGF5"}"#);
    assert_eq!(signed.summary.release_tag, "2026.10");
    let token = lane.client.credentials().access_token.clone();
    let [seen] = &lane.requests()[..] else {
        panic!("one request");
    };
    assert_eq!(seen.authorization, format!("DPoP {token}"));
    let url = format!("{}/api/v1/signer/sign/dsse", lane.base);
    assert_eq!(
        (&seen.claims["htm"], &seen.claims["htu"]),
        (&json!("POST"), &json!(url))
    );
    let digest = |bytes: &[u8]| openssl::base64::encode_block(&openssl::sha::sha256(bytes));
    let plain = |value: &Value| value.as_str().unwrap().replace('-', "+").replace('_', "/") + "=";
    assert_eq!(plain(&seen.claims["ath"]), digest(token.as_bytes()));
    assert_eq!(plain(&seen.claims["body_sha256"]), digest(&seen.body));
    // A token with life left is kept.
    assert!(!lane.client.ensure_token().await.unwrap());

    let directory = tempfile::tempdir().unwrap();
    signed.write(directory.path(), b"{}").unwrap();
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(read("bundle.sigstore.json"), r#"{"mediaType":"m"}"#);
    assert_eq!(read("public-key.pem"), "PEM");
    assert_eq!(read("trusted_root.json"), "{}");
    assert_eq!(read("response.json").into_bytes(), signed.response);
}

#[actix::test]
async fn answers_a_nonce_and_keeps_it() {
    let refusal = problem(401, "use_dpop_nonce", true);
    let mut lane = lane(vec![(401, Some("n-1"), None, refusal)]).await;
    lane.sign().await.unwrap();
    lane.sign().await.unwrap();
    let nonces: Vec<_> = lane
        .requests()
        .iter()
        .map(|seen| seen.claims["nonce"].clone())
        .collect();
    assert_eq!(nonces, [Value::Null, json!("n-1"), json!("n-1")]);
}

#[actix::test]
async fn retries_what_is_retryable_with_a_new_proof() {
    let busy = (503, None, Some(0), problem(503, "overloaded", true));
    let mut lane = lane(vec![busy.clone(), busy]).await;
    lane.sign().await.unwrap();
    let seen = lane.requests();
    assert_eq!(seen.len(), 3);
    assert_ne!(seen[0].claims["jti"], seen[1].claims["jti"]);
}

#[actix::test]
async fn does_not_wait_longer_than_its_patience() {
    let busy = (429, None, Some(3600), problem(429, "rate_limited", true));
    let mut lane = lane(vec![busy]).await;
    let error = tokio::time::timeout(Duration::from_secs(5), lane.sign())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.exit_code(), 10);
    assert_eq!(lane.requests().len(), 1);
}

#[actix::test]
async fn exit_codes_follow_the_answer() {
    for (status, code, exit) in [
        (403, "release_untrusted", 1),
        (422, "invalid_subject", 1),
        (401, "invalid_dpop_proof", 3),
        (404, "not_found", 4),
    ] {
        let mut lane = lane(vec![(status, None, None, problem(status, code, false))]).await;
        let error = lane.sign().await.unwrap_err();
        assert_eq!(error.exit_code(), exit, "{code}");
        assert_eq!(
            error.to_string(),
            format!("{code} ({status}): d\n  correlation id: c-1")
        );
        assert_eq!(lane.requests().len(), 1, "{code}");
    }
}

#[actix::test]
async fn a_refused_token_is_renewed_once() {
    let refusal = (401, None, None, problem(401, "invalid_token", false));
    let mut lane = lane(vec![
        (200, None, None, answer()),
        refusal.clone(),
        (200, None, None, answer()),
    ])
    .await;
    lane.sign().await.unwrap();
    let first = lane.client.credentials().access_token.clone();
    lane.sign().await.unwrap();
    assert_ne!(lane.client.credentials().access_token, first);
    assert_eq!(lane.requests().len(), 3);
}

#[actix::test]
async fn a_wrong_secret_and_a_dead_service_are_told_apart() {
    let mut lane = lane(vec![]).await;
    let mut credentials = lane.client.credentials().clone();
    credentials.client_secret = "wrong".to_owned();
    lane.client = Client::new(credentials).unwrap();
    let error = lane.sign().await.unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().starts_with("invalid_client (401)"), "{error}");
}

#[test]
fn credentials_without_tls_are_refused() {
    let text = json!({
        "baseUrl": "http://signer.example", "tokenEndpoint": "https://a.example/token", "clientId": "c",
        "clientSecret": "s", "accessToken": "t", "dpopPrivateJwk": {}, "poe": "p", "scannerImageDigest": "d"
    });
    let error = Client::new(serde_json::from_value(text).unwrap()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().starts_with("baseUrl"), "{error}");
}
