//! Signatures with the time of a timestamp authority (RFC 3161).

use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{TIMESTAMPS, TestApp, World, sha256_hex, until};

/// Standard base64 in any shape.
fn decoded(text: &Value) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text.as_str().unwrap())
        .unwrap()
}

/// OpenSSL's own verdict on a timestamp over these bytes.
fn openssl_accepts(world: &World, response: &[u8], data: &[u8]) -> bool {
    world.write("response.tsr", response);
    world.write("data", data);
    let path = |name: &str| world.folder.path().join(name);
    let verify = std::process::Command::new("openssl")
        .args(["ts", "-verify", "-in"])
        .arg(path("response.tsr"))
        .arg("-data")
        .arg(path("data"))
        .arg("-CAfile")
        .arg(path("timestamps.pem"))
        .output();
    verify.unwrap().status.success()
}

#[actix::test]
async fn an_answer_has_a_timestamp_over_its_signature() {
    let app = TestApp::with(TIMESTAMPS).await;
    for mode in ["kms", "keyless"] {
        let call = app
            .sign()
            .option("signingMode", mode)
            .option("returnBundle", "sigstore");
        let answer = call.send().await.ok();
        let bundle = &answer["bundle"];
        let timestamps = bundle["timestamps"].as_array().unwrap();
        assert_eq!(timestamps.len(), 1);
        let signature = decoded(&bundle["dsse"]["signatures"][0]["sig"]);
        let response = decoded(&timestamps[0]);
        assert!(openssl_accepts(&app, &response, &signature));
        assert!(!openssl_accepts(&app, &response, b"another"));
        let data = &bundle["sigstoreBundle"]["verificationMaterial"]["timestampVerificationData"];
        assert_eq!(
            *data,
            json!({ "rfc3161Timestamps": [{ "signedTimestamp": timestamps[0] }] })
        );
        let records = app.audited(&answer["auditId"]);
        assert_eq!(records.last().unwrap()["outcome"], "signed");
    }
    let metrics = app.metrics().await;
    assert!(metrics.contains("signer_timestamps_total{outcome=\"granted\"} 2"));
    assert!(metrics.contains("signer_stage_seconds_count{stage=\"timestamp\"} 2"));
}

#[actix::test]
async fn the_statement_stays_the_same_and_a_caller_may_do_without() {
    let app = TestApp::with(TIMESTAMPS).await;
    let with = app.sign().send().await.ok();
    let asked = app.timestamps.seen();
    let without = app.sign().option("timestamp", false).send().await.ok();
    assert_eq!(app.timestamps.seen(), asked);
    assert_eq!(without["bundle"]["timestamps"], json!([]));
    // The key is deterministic.
    assert_eq!(with["bundle"]["dsse"], without["bundle"]["dsse"]);
    let explicit = app.sign().option("timestamp", true).send().await.ok();
    assert_eq!(explicit["bundle"]["timestamps"].as_array().unwrap().len(), 1);

    let dry = app.sign().option("dryRun", true).send().await.ok();
    assert_eq!(dry["gates"].as_array().unwrap().len(), 3);
    assert_eq!(app.timestamps.seen(), asked + 1, "a dry run asks nobody");

    let none = TestApp::start().await;
    assert_eq!(none.sign().send().await.ok()["bundle"]["timestamps"], json!([]));
    let refused = none.sign().option("timestamp", true).send().await;
    refused.refused(400, "invalid_request", "shape");
}

#[actix::test]
async fn a_retry_gets_the_same_timestamp() {
    let app = TestApp::with(TIMESTAMPS).await;
    let call = || {
        app.sign()
            .field("idempotency-key", "k")
            .option("returnBundle", "sigstore")
    };
    let first = call().send().await;
    first.ok();
    let asked = app.timestamps.seen();
    let again = call().send().await;
    assert_eq!(first.body, again.body, "byte for byte");
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(app.timestamps.seen(), asked);
}

/// A signature was made and did not leave: the trail knows it, the caller gets 502 and may retry, with its key too.
#[actix::test]
async fn no_timestamp_no_signature() {
    type Spoil = fn(&World);
    let cases: [(&str, Spoil); 5] = [
        ("5xx", |world| world.timestamps.answers(503)),
        ("429", |world| world.timestamps.answers(429)),
        ("4xx", |world| world.timestamps.answers(404)),
        ("another type", |world| world.timestamps.babbles()),
        ("silence", |world| world.timestamps.hold()),
    ];
    for (name, spoil) in cases {
        let changes = format!("{TIMESTAMPS}server.request_timeout = \"2s\"");
        let app = TestApp::with(&changes).await;
        spoil(&app);
        let call = || app.sign().field("idempotency-key", "k");
        let answer = call().send().await;
        let problem = answer.refused(502, "timestamp_error", "timestamp");
        assert_eq!(problem["retryable"], true, "{name}");
        // Nothing left, so nothing waited for the outcome.
        let records = || app.audited(&problem["auditId"]).try_into().ok();
        let [intent, outcome]: [Value; 2] = until("the outcome", records).await;
        assert_eq!(intent["event"], "intent");
        assert_eq!(outcome["outcome"], "failed");
        assert_eq!(outcome["code"], "timestamp_error");
        app.timestamps.open();
        let answer = call().send().await.ok();
        // The key is deterministic: this is the signature that did not leave before.
        let signature = decoded(&answer["bundle"]["dsse"]["signatures"][0]["sig"]);
        assert_eq!(outcome["signatureDigest"], sha256_hex(&signature), "{name}");
        assert_ne!(answer["auditId"], problem["auditId"]);
    }
}

#[actix::test]
async fn an_authority_that_is_down_is_left_alone_and_told_of() {
    let app = TestApp::with(TIMESTAMPS).await;
    app.timestamps.answers(500);
    // Each asks three times; five failures in a row are enough.
    for _ in 0..2 {
        app.sign()
            .send()
            .await
            .refused(502, "timestamp_error", "timestamp");
    }
    let (asked, records) = (app.timestamps.seen(), app.audit().len());
    let began = std::time::Instant::now();
    app.sign()
        .send()
        .await
        .refused(502, "timestamp_error", "timestamp");
    assert!(began.elapsed() < Duration::from_millis(500), "at once");
    assert_eq!(app.timestamps.seen(), asked);
    let added = app.audit().split_off(records);
    assert!(
        added.iter().all(|record| record["event"] != "intent"),
        "{added:?}"
    );
    let ready = app
        .http
        .get(format!("{}/readyz", app.operations))
        .send()
        .await
        .unwrap();
    assert_eq!(ready.status(), 200, "others are no better off");
    let ready: Value = ready.json().await.unwrap();
    assert!(
        ready["checks"]["timestamp"]
            .as_str()
            .unwrap()
            .contains("circuit open")
    );
    assert!(app.metrics().await.contains("signer_timestamp_circuit_open 1"));
    // Who does without is served.
    app.sign().option("timestamp", false).send().await.ok();
    app.timestamps.open();
    let back = async {
        while app.sign().send().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.unwrap();
}

#[actix::test]
async fn the_trusted_root_names_the_timestamp_authority() {
    let app = TestApp::with(TIMESTAMPS).await;
    let url = format!("{}/api/v1/signer/trust", app.base());
    let root: Value = app.http.get(url).send().await.unwrap().json().await.unwrap();
    let authorities = root["timestampAuthorities"].as_array().unwrap();
    assert_eq!(authorities.len(), 1);
    let chain = authorities[0]["certChain"]["certificates"].as_array().unwrap();
    let pem = std::fs::read(app.folder.path().join("timestamps.pem")).unwrap();
    let configured = openssl::x509::X509::stack_from_pem(&pem).unwrap();
    let expected: Vec<Vec<u8>> = configured.iter().map(|c| c.to_der().unwrap()).collect();
    let found: Vec<Vec<u8>> = chain.iter().map(|c| decoded(&c["rawBytes"])).collect();
    assert_eq!(found, expected, "the authority's own first, the root last");
}
