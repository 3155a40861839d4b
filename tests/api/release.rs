//! Whether the scanner is an untampered release.

use serde_json::json;

use crate::support::TestApp;

fn query(digest: &str) -> String {
    format!("digest={digest}")
}

#[actix::test]
async fn a_signed_release_is_trusted_and_remembered() {
    let app = TestApp::start().await;
    let digest = app.mint.scanner.clone();
    let answer = app.referrers(&query(&digest)).send().await;
    answer.rate();
    let first = answer.ok();
    assert_eq!(first["verdict"], "trusted");
    assert_eq!(first["digest"], digest);
    assert_eq!(first["repository"], app.repository());
    assert_eq!(first["signer"]["kind"], "key");
    assert_eq!(first["signer"]["release"], "2026.10");
    assert_eq!(first["cached"], false);
    let signatures = first["signatures"].as_array().unwrap();
    assert!(signatures.iter().any(|signature| signature["verified"] == true));
    assert!(
        first["sources"]
            .as_array()
            .unwrap()
            .contains(&json!("referrers-api"))
    );
    let asked = app.registry.seen();
    let second = app.referrers(&query(&digest)).send().await.ok();
    assert_eq!(second["cached"], true);
    assert_eq!(second["checkedAt"], first["checkedAt"]);
    assert_eq!(app.registry.seen(), asked, "nobody was asked again");
    // The same verdict serves those who sign.
    app.sign().send().await.ok();
    assert_eq!(app.registry.seen(), asked);
}

#[actix::test]
async fn what_is_not_trusted_is_told_apart_and_signs_nothing() {
    let app = TestApp::start().await;
    let unsigned = app.neighbours.registry.unsigned_digest.clone();
    let absent = format!("sha256:{}", "0".repeat(64));
    let answer = app.referrers(&query(&unsigned)).send().await.ok();
    assert_eq!(answer["verdict"], "unsigned");
    assert_eq!(answer["signer"], json!(null));
    assert_eq!(answer["signatures"], json!([]));
    let answer = app.referrers(&query(&absent)).send().await;
    answer.refused(404, "not_found", "release");

    let foreign = TestApp::with("release.keys = [\"foreign.pub\"]").await;
    let scanner = foreign.mint.scanner.clone();
    let answer = foreign.referrers(&query(&scanner)).send().await.ok();
    assert_eq!(answer["verdict"], "untrusted");
    let signatures = answer["signatures"].as_array().unwrap();
    assert!(!signatures.is_empty());
    assert!(signatures.iter().all(|signature| signature["verified"] == false));
    assert!(signatures.iter().all(|signature| signature["reason"].is_string()));

    for (app, digest) in [(&app, unsigned), (&app, absent), (&foreign, scanner)] {
        let call = app
            .sign()
            .token(|token| token.claim("scanner_image", digest.clone()));
        let call = call.json(|body| body["scannerImageDigest"] = json!(digest));
        call.send().await.refused(403, "release_untrusted", "release");
        assert!(app.audit().iter().all(|record| record["event"] != "intent"));
    }
}

#[actix::test]
async fn a_revoked_image_and_a_threshold_that_is_not_met_are_untrusted() {
    let two = "release.threshold = 2\nrelease.keys = [\"release.pub\", \"foreign.pub\"]";
    let app = TestApp::with(two).await;
    app.sign()
        .send()
        .await
        .refused(403, "release_untrusted", "release");

    let app = TestApp::start().await;
    let revoked = format!("release.revoked = [\"{}\"]", app.mint.scanner);
    let strict = TestApp::with(&revoked).await;
    // The image is built the same way each time, so its digest is, too.
    assert_eq!(strict.mint.scanner, app.mint.scanner);
    strict
        .sign()
        .send()
        .await
        .refused(403, "release_untrusted", "release");
}

#[actix::test]
async fn the_question_is_strict() {
    let app = TestApp::start().await;
    let digest = app.mint.scanner.clone();
    for (text, code) in [
        (String::new(), "invalid_request"),
        (format!("{}&x=1", query(&digest)), "invalid_request"),
        (format!("{0}&{0}", query(&digest)), "invalid_request"),
        (
            format!("{}&repository=registry.evil/x", query(&digest)),
            "invalid_request",
        ),
        (
            format!("{}&repository=127.0.0.1/stellaops/scanner", query(&digest)),
            "invalid_request",
        ),
        ("digest=latest".to_owned(), "invalid_digest"),
        (query(&digest.to_uppercase()), "invalid_digest"),
        (query(&format!("{digest}{}", "0".repeat(2000))), "invalid_request"),
    ] {
        println!("{text}");
        app.referrers(&text).send().await.refused(400, code, "shape");
    }
    assert_eq!(app.registry.seen(), 0);
    let own = format!("{}&repository={}", query(&digest), app.repository());
    app.referrers(&own).send().await.ok();
}

#[actix::test]
async fn any_doubt_refuses() {
    for status in [401, 403, 429, 500, 503, 302] {
        println!("{status}");
        let app = TestApp::start().await;
        app.registry.answers(status);
        app.sign().send().await.refused(502, "registry_error", "release");
        let answer = app.referrers(&query(&app.mint.scanner)).send().await;
        answer.refused(502, "registry_error", "release");
        // Doubt is not remembered.
        app.registry.open();
        app.sign().send().await.ok();
    }
    let app = TestApp::start().await;
    app.registry.babbles();
    app.sign().send().await.refused(502, "registry_error", "release");
}

#[actix::test]
async fn a_token_without_the_scanner_is_told_apart_or_refused() {
    let app = TestApp::start().await;
    let unbound = |app: &TestApp| app.mint.token(|token| token.claim("scanner_image", json!(null)));
    let answer = app.sign().raw_token(unbound(&app)).send().await.ok();
    assert_eq!(answer["release"]["bound"], false);
    let strict = TestApp::with("release.binding = \"required\"").await;
    let answer = strict.sign().raw_token(unbound(&strict)).send().await;
    answer.refused(403, "scanner_mismatch", "release");
    let answer = strict.sign().send().await.ok();
    assert_eq!(answer["release"]["bound"], true);
}

#[actix::test]
async fn versions_are_compared_as_numbers() {
    let app = TestApp::start().await;
    let call = |window: serde_json::Value| app.sign().poe(|poe| poe.claim("versionWindow", window));
    // The release is 2026.10.
    for good in [
        json!({ "min": "2026.9" }),
        json!({ "min": "2026.10", "max": "2026.10" }),
        json!({ "max": "2027.1" }),
        json!(null),
    ] {
        println!("{good}");
        let answer = call(good.clone()).send().await;
        // Tags are YYYY.MM; one with a single digit may be refused as unreadable, never misread.
        if good["min"] == "2026.9" || good["max"] == "2027.1" {
            assert!(
                answer.status == 200 || answer.json()["code"] == "entitlement_invalid",
                "{}",
                answer.text()
            );
        } else {
            answer.ok();
        }
    }
    for bad in [
        json!({ "min": "2026.11" }),
        json!({ "max": "2026.09" }),
        json!({ "min": "2027.01" }),
    ] {
        call(bad)
            .send()
            .await
            .refused(403, "version_not_entitled", "release");
    }
}

#[actix::test]
async fn the_rate_of_questions_is_its_own() {
    let app = TestApp::with("release.verify_qps = 1\nrelease.verify_burst = 2").await;
    let ask = || app.referrers(&query(&app.mint.scanner)).send();
    ask().await.ok();
    ask().await.ok();
    ask().await.refused(429, "rate_limited", "quota");
    app.sign().send().await.ok();
}

#[actix::test]
async fn images_that_nobody_knows_are_looked_up_at_a_rate() {
    let app = TestApp::with("release.lookup_qps = 1\nrelease.lookup_burst = 3").await;
    let unknown = |n: u32| app.referrers(&query(&format!("sha256:{n:064x}"))).send();
    app.referrers(&query(&app.mint.scanner)).send().await.ok();
    unknown(1).await.refused(404, "not_found", "release");
    unknown(2).await.refused(404, "not_found", "release");
    let seen = app.registry.seen();
    for n in 3..10 {
        let refused = unknown(n).await;
        assert_eq!(refused.header("retry-after"), Some("1"));
        refused.refused(429, "rate_limited", "release");
    }
    assert_eq!(app.registry.seen(), seen, "the registry was asked nevertheless");
    // What is remembered goes on.
    unknown(2).await.refused(404, "not_found", "release");
    app.sign().send().await.ok();
}
