//! What verifiers are told, and what operators see.

use openssl::pkey::PKey;
use serde_json::Value;

use crate::support::{Answer, KEY, OTHER_KEY, RETIRED_KEY, TestApp};

async fn document(app: &TestApp, path: &str) -> Value {
    let response = app
        .http
        .get(format!("{}{path}", app.base()))
        .send()
        .await
        .unwrap();
    let answer = Answer::of(response, Vec::new()).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.ok()
}

#[actix::test]
async fn the_trusted_root_names_the_authority_of_keyless_certificates() {
    let app = TestApp::start().await;
    let root = document(&app, "/api/v1/signer/trust").await;
    assert_eq!(
        root["mediaType"],
        "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
    );
    assert_eq!(root["certificateAuthorities"].as_array().unwrap().len(), 1);
    let chain = &root["certificateAuthorities"][0]["certChain"]["certificates"];
    assert_eq!(chain.as_array().unwrap().len(), 2, "issuing certificate and root");
}

#[actix::test]
async fn the_published_keys_are_public_and_all_of_them() {
    let app = TestApp::start().await;
    let keys = document(&app, "/api/v1/signer/trust/keys").await;
    assert!(!keys.to_string().contains("PRIVATE"));
    let keys = keys["keys"].as_array().unwrap();
    let ids: Vec<_> = keys.iter().map(|key| key["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [KEY, OTHER_KEY, RETIRED_KEY]);
    for key in keys {
        let pem = key["publicKey"].as_str().unwrap();
        PKey::public_key_from_pem(pem.as_bytes()).unwrap();
        assert_eq!(key["algorithm"], "ecdsa-p256-sha256");
    }
}

#[actix::test]
async fn the_api_listener_tells_nobody_why_it_is_not_ready() {
    let changes = "auth.jwks_file = \"\"\nauth.jwks_uri = \"http://127.0.0.1:1/jwks\"";
    let app = TestApp::with(changes).await;
    let response = app
        .http
        .get(format!("{}/readyz", app.base()))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    let outside: Value = response.json().await.unwrap();
    assert_eq!(outside.as_object().unwrap().len(), 1, "status only: {outside}");
    let response = app
        .http
        .get(format!("{}/readyz", app.operations))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
    let inside: Value = response.json().await.unwrap();
    assert_ne!(inside["checks"]["authority"], "ok");
    // Alive all the same.
    assert_eq!(
        app.http
            .get(format!("{}/livez", app.base()))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

#[actix::test]
async fn metrics_count_requests_and_name_no_tenant() {
    let app = TestApp::start().await;
    app.sign()
        .tenant("canary-tenant", [10, 10, 1, 1000])
        .send()
        .await
        .ok();
    app.sign()
        .anonymous()
        .send()
        .await
        .refused(401, "invalid_token", "authentication");
    let metrics = app.metrics().await;
    assert!(!metrics.contains("canary-tenant"));
    let counted = |code: &str, status: &str| {
        metrics.lines().any(|line| {
            line.starts_with("signer_http_requests_total{")
                && line.contains(&format!(r#"code="{code}""#))
                && line.contains(&format!(r#"status="{status}""#))
                && line.contains("/sign/dsse")
                && line.ends_with(" 1")
        })
    };
    assert!(counted("ok", "200"), "{metrics}");
    assert!(counted("invalid_token", "401"));
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("signer_"), "{line}");
    }
}
