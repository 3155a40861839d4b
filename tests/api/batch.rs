//! Many statements in one request (contract §2.2).

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::{Either, select};
use serde_json::{Value, json};

use crate::quota::NothingRefills;
use crate::sign::{envelope, holds, pae, published_key};
use crate::support::{Answer, BATCH, Call, KEY, TestApp, World, sha256_hex};

fn item(n: usize) -> Value {
    json!({
        "subject": [{ "name": format!("app-{n}"), "digest": { "sha256": format!("{n:064x}") } }],
        "predicateType": "https://stella.ops/report/v1",
        "predicate": { "n": n },
    })
}

fn items(count: usize) -> Vec<Value> {
    (0..count).map(item).collect()
}

/// The results of a batch that was answered.
#[track_caller]
fn results(answer: &Answer) -> Vec<Value> {
    let body = answer.ok();
    assert_eq!(body.as_object().unwrap().len(), 1, "results and nothing else");
    let results = body["results"].as_array().unwrap().clone();
    for result in &results {
        if result["status"] != 200 {
            check_problem(answer, result);
        }
    }
    results
}

/// A refused item carries a problem document as a refused request does (contract §2.6).
#[track_caller]
fn check_problem(answer: &Answer, result: &Value) {
    let members: BTreeSet<&str> = result.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, BTreeSet::from(["status", "problem"]));
    let problem = &result["problem"];
    let code = problem["code"].as_str().unwrap();
    assert_eq!(problem["type"], format!("urn:stellaops:signer:problem:{code}"));
    assert_eq!(problem["status"], result["status"]);
    assert_eq!(
        problem["correlationId"].as_str(),
        answer.header("x-correlation-id")
    );
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 10));
    let status = result["status"].as_u64().unwrap();
    assert_eq!(problem["retryable"], [408, 429, 502, 503, 504].contains(&status));
}

/// Status and code of each result.
#[track_caller]
fn codes(answer: &Answer) -> Vec<String> {
    let code = |result: &Value| match result["status"].as_u64().unwrap() {
        200 => "ok".to_owned(),
        status => format!("{status} {}", result["problem"]["code"].as_str().unwrap()),
    };
    results(answer).iter().map(code).collect()
}

/// Whose buckets do not refill.
async fn frozen() -> TestApp {
    TestApp::at(World::new("").await, Arc::new(NothingRefills)).await
}

#[actix::test]
async fn items_are_answered_in_order_as_if_each_were_alone() {
    let app = frozen().await;
    let mut asked = items(5);
    asked[2]["options"] = json!({ "returnBundle": "sigstore" });
    let answer = Call::batch(&app, asked.clone()).send().await;
    let (q, r, _) = answer.rate();
    assert_eq!((q, r), (200, 195));
    let results = results(&answer);
    assert_eq!(results.len(), 5);
    let key = published_key(&app, KEY).await;
    let pem = key["publicKey"].as_str().unwrap().as_bytes();
    let mut ids = BTreeSet::new();
    for (n, result) in results.iter().enumerate() {
        let (payload, signature) = envelope(result);
        assert!(holds(pem, &pae(&payload), &signature));
        assert_eq!(result["statementDigest"]["sha256"], sha256_hex(&payload));
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(statement["predicate"]["n"], n);
        assert!(ids.insert(result["auditId"].as_str().unwrap().to_owned()));
        let records = app.audited(&result["auditId"]);
        assert_eq!(records.len(), 2, "intent and outcome");
        assert_eq!(records[1]["outcome"], "signed");
        // The key is deterministic: alone, it gets the same bytes.
        let call = app.sign().json(|body| {
            for (name, value) in asked[n].as_object().unwrap() {
                body[name] = value.clone();
            }
        });
        let mut alone = call.send().await.ok();
        alone["status"] = json!(200);
        alone["auditId"] = result["auditId"].clone();
        // Its proof of entitlement is another one, and may be of the next second.
        alone["policy"]["entitlementExpires"] = result["policy"]["entitlementExpires"].clone();
        assert_eq!(*result, alone);
        assert_eq!(result["bundle"].get("sigstoreBundle").is_some(), n == 2);
    }
}

#[actix::test]
async fn equal_items_get_equal_signatures_and_records_of_their_own() {
    let app = TestApp::start().await;
    let answer = Call::batch(&app, vec![item(7); 3]).send().await;
    let results = results(&answer);
    let ids: BTreeSet<String> = results
        .iter()
        .map(|result| result["auditId"].to_string())
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(
        results
            .iter()
            .all(|result| result["bundle"] == results[0]["bundle"])
    );
}

#[actix::test]
async fn an_item_that_is_refused_is_refused_alone() {
    let app = frozen().await;
    let with = |name: &str, value: Value| {
        let mut item = item(1);
        item[name] = value;
        item
    };
    let poe = app.sign().json(|_| ()).sent_body();
    let poe: Value = serde_json::from_slice(&poe).unwrap();
    let cases = [
        (item(0), "ok"),
        (json!("text"), "400 invalid_request"),
        (json!([1, 2]), "400 invalid_request"),
        (json!({}), "400 invalid_request"),
        (with("unknown", json!(1)), "400 invalid_request"),
        (with("poe", poe["poe"].clone()), "400 invalid_request"),
        (
            with("scannerImageDigest", json!(app.mint.scanner)),
            "400 invalid_request",
        ),
        (with("options", json!({ "dryRun": true })), "400 invalid_request"),
        (with("options", json!({ "dryRun": false })), "400 invalid_request"),
        (
            with("options", json!({ "keyId": "nobody" })),
            "400 invalid_request",
        ),
        (
            with("options", json!({ "keyId": "other-2026" })),
            "403 mode_not_entitled",
        ),
        (
            with("predicateType", json!("https://example.com/x")),
            "403 predicate_not_allowed",
        ),
        (with("predicateType", json!("cyclonedx")), "422 invalid_predicate"),
        (
            with("predicateType", json!("https://cyclonedx.org/bom")),
            "422 invalid_predicate",
        ),
        (with("predicate", json!({})), "422 invalid_predicate"),
        (with("predicate", json!([])), "422 invalid_predicate"),
        (with("subject", json!([])), "422 invalid_subject"),
        (
            with("subject", json!([{ "name": "a", "digest": { "sha256": "ab" } }])),
            "400 invalid_digest",
        ),
        (item(2), "ok"),
    ];
    let answer = Call::batch(&app, cases.iter().map(|(item, _)| item.clone()).collect());
    let answer = answer.tenant("mixed", [1, 3, 4, 1000]).send().await;
    let expected: Vec<&str> = cases.iter().map(|(_, code)| *code).collect();
    assert_eq!(codes(&answer), expected);
    let (_, remaining, _) = answer.rate();
    assert_eq!(
        remaining, 1,
        "what is not in shape or not entitled takes no token"
    );
}

#[actix::test]
async fn the_rate_ends_in_the_middle_and_stays_ended() {
    let app = frozen().await;
    let call = |count| Call::batch(&app, items(count)).tenant("spent", [5, 4, 2, 1000]);
    let answer = call(7).send().await;
    let mut expected = vec!["ok"; 4];
    expected.extend(["429 rate_limited"; 3]);
    assert_eq!(codes(&answer), expected);
    assert_eq!(answer.rate().1, 0);
    let single = app.sign().tenant("spent", [5, 4, 2, 1000]).send().await;
    single.refused(429, "rate_limited", "quota");
}

#[actix::test]
async fn items_beyond_the_concurrency_wait() {
    let app = TestApp::start().await;
    let call = Call::batch(&app, items(40)).tenant("narrow", [100, 100, 1, 1000]);
    assert_eq!(codes(&call.send().await), ["ok"; 40]);
    let single = app.sign().tenant("narrow", [100, 100, 1, 1000]);
    single.send().await.ok();
}

#[actix::test]
async fn the_size_limit_is_an_items_own() {
    let app = frozen().await;
    let mut asked = items(3);
    asked[1]["predicate"] = json!({ "text": "x".repeat(100) });
    let call = Call::batch(&app, asked).tenant("small", [10, 10, 4, 20]);
    let answer = call.send().await;
    assert_eq!(codes(&answer), ["ok", "413 artifact_too_large", "ok"]);
    assert_eq!(answer.rate().1, 7, "charged at admission");
}

#[actix::test]
async fn what_is_about_all_of_them_fails_them_all() {
    let app = TestApp::start().await;
    let call = || Call::batch(&app, items(3));
    let answer = call().anonymous().send().await;
    answer.refused(401, "invalid_token", "authentication");
    let answer = call()
        .token(|token| token.claim("scope", "signer.verify"))
        .send()
        .await;
    answer.refused(403, "insufficient_scope", "authentication");
    let answer = call()
        .json(|body| drop(body.as_object_mut().unwrap().remove("poe")))
        .send()
        .await;
    answer.refused(403, "entitlement_required", "entitlement");
    let answer = call().poe(|poe| poe.claim("tid", "globex")).send().await;
    answer.refused(403, "tenant_mismatch", "entitlement");
    let answer = call()
        .poe(|poe| {
            poe.claim("iat", 1_600_000_000);
            poe.claim("nbf", 1_600_000_000);
            poe.claim("exp", 1_700_000_000);
        })
        .send()
        .await;
    answer.refused(403, "entitlement_expired", "entitlement");
    let unsigned = app.neighbours.registry.unsigned_digest.clone();
    let answer = call()
        .json(|body| body["scannerImageDigest"] = json!(unsigned))
        .send()
        .await;
    answer.refused(403, "scanner_mismatch", "release");
    let unbound = call().token(|token| token.claim("scanner_image", json!(null)));
    let answer = unbound
        .json(|body| body["scannerImageDigest"] = json!(unsigned))
        .send()
        .await;
    answer.refused(403, "release_untrusted", "release");
    let intents = app
        .audit()
        .iter()
        .filter(|record| record["event"] == "intent")
        .count();
    assert_eq!(intents, 0);
}

#[actix::test]
async fn a_body_that_is_no_batch_is_refused_whole() {
    let app = TestApp::start().await;
    let call = || Call::batch(&app, items(2));
    let text = |from: &str, to: &str| {
        let good = String::from_utf8(call().sent_body()).unwrap();
        assert!(good.contains(from), "{good}");
        call().bytes(good.replacen(from, to, 1))
    };
    let cases = [
        (call().bytes("{"), "invalid_json", "body"),
        (call().bytes("null"), "invalid_request", "shape"),
        (
            text(r#"{"items""#, r#"{"items":[],"items""#),
            "invalid_json",
            "body",
        ),
        (
            text(r#"{"items""#, r#"{"dryRun":true,"items""#),
            "invalid_request",
            "shape",
        ),
        (
            text(r#"{"items""#, r#"{"subject":[],"items""#),
            "invalid_request",
            "shape",
        ),
        (text(r#"{"items""#, r#"{"item""#), "invalid_request", "shape"),
        // Not JSON at one place, so none at all.
        (text(r#"{"n":1}"#, r#"{"n":1,"n":2}"#), "invalid_json", "body"),
        (text(r#"{"n":1}"#, r#"{"n":01}"#), "invalid_json", "body"),
        (text(r#"{"n":1}"#, r#"{"n":"\ud800"}"#), "invalid_json", "body"),
        (
            text(r#""name":"app-1""#, r#""name":"app-1","name":"b""#),
            "invalid_json",
            "body",
        ),
        (
            text(
                r#"{"n":1}"#,
                &format!("{{\"n\":{}1{}}}", "[".repeat(64), "]".repeat(64)),
            ),
            "invalid_json",
            "body",
        ),
        (Call::batch(&app, Vec::new()), "invalid_request", "shape"),
        (
            Call::batch(&app, vec![json!(7); 1001]),
            "invalid_request",
            "shape",
        ),
        (
            call().json(|body| body["items"] = json!({ "0": item(0) })),
            "invalid_request",
            "shape",
        ),
        (
            call().json(|body| body["scannerImageDigest"] = json!("sha256:ab")),
            "invalid_digest",
            "shape",
        ),
        (
            call().json(|body| body["poe"] = json!("jwt")),
            "invalid_request",
            "shape",
        ),
        // It would be ignored in silence otherwise.
        (call().field("idempotency-key", "one"), "invalid_request", "shape"),
    ];
    for (call, code, stage) in cases {
        call.send().await.refused(400, code, stage);
    }
    let answer = call().content_type(Some("text/plain")).send().await;
    answer.refused(415, "unsupported_media_type", "http");
    let answer = call().bytes(vec![b' '; 1_000_001]).send().await;
    answer.refused(413, "artifact_too_large", "http");
    let answer = app
        .http
        .get(format!("{}{BATCH}", app.base()))
        .send()
        .await
        .unwrap();
    let answer = Answer::of(answer, Vec::new()).await;
    answer.refused(405, "method_not_allowed", "http");
    assert_eq!(answer.header("allow"), Some("POST"));
    // The proof is for this path, and for no shorter one.
    let other = Call::batch(&app, items(1)).proof(|proof| {
        proof.claim("htu", "https://signer.test/api/v1/signer/sign/dsse");
    });
    other
        .send()
        .await
        .refused(401, "invalid_dpop_proof", "authentication");
    call().send().await.ok();
}

#[actix::test]
async fn an_answer_has_its_bound() {
    let app = TestApp::start().await;
    // A hundred bytes of a subject gain more than two hundred when they are stamped.
    let subject = |n: usize| json!({ "name": "a", "digest": { "sha256": format!("{n:064x}") } });
    let subjects: Vec<Value> = (0..1024).map(subject).collect();
    let wide = |n: usize| {
        let mut item = item(n);
        item["subject"] = json!(subjects);
        item
    };
    Call::batch(&app, vec![wide(0), item(1)]).send().await.ok();
    let answer = Call::batch(&app, (0..9).map(wide).collect()).send().await;
    answer.refused(413, "artifact_too_large", "body");
}

#[actix::test]
async fn a_thousand_items_are_signed_and_nobody_waits_for_all_of_them() {
    let app = TestApp::start().await;
    let limits = [10_000, 10_000, 16, 1000];
    let batch = Call::batch(&app, items(1000)).tenant("many", limits).send();
    let others = async {
        let before = app.metrics().await;
        assert!(before.contains("signer_batch_items_count 0"), "{before}");
        for _ in 0..5 {
            app.sign().send().await.ok();
        }
    };
    let (batch, others) = (Box::pin(batch), Box::pin(others));
    let answer = match select(batch, others).await {
        Either::Right(((), batch)) => batch.await,
        Either::Left(_) => panic!("the others waited until the batch was over"),
    };
    let results = results(&answer);
    assert_eq!(results.len(), 1000);
    for (n, result) in results.iter().enumerate() {
        let (payload, _) = envelope(result);
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(statement["predicate"]["n"], n);
    }
    let metrics = app.metrics().await;
    for line in [
        "signer_batch_items_count 1",
        "signer_batch_items_sum 1000",
        r#"signer_batch_item_results_total{code="ok"} 1000"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    let signed = app
        .audit()
        .iter()
        .filter(|record| record["outcome"] == "signed")
        .count();
    assert_eq!(signed, 1005);
}

#[actix::test]
async fn items_may_differ_in_mode_and_key() {
    let app = TestApp::start().await;
    let mut asked = items(3);
    asked[0]["options"] = json!({ "signingMode": "keyless" });
    asked[1]["options"] = json!({ "signingMode": "kms", "keyId": KEY });
    let answer = Call::batch(&app, asked).send().await;
    let modes: Vec<Value> = results(&answer)
        .iter()
        .map(|result| result["bundle"]["mode"].clone())
        .collect();
    assert_eq!(modes, ["keyless", "kms", "kms"]);
}
