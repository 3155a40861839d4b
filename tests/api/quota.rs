//! How much of it is left.

use serde_json::json;

use crate::support::{TestApp, until};

#[actix::test]
async fn the_rate_is_the_tenants_own() {
    let app = TestApp::start().await;
    let call = |tenant: &str| app.sign().tenant(tenant, [1, 3, 4, 1000]);
    for _ in 0..3 {
        call("one").send().await.ok();
    }
    let answer = call("one").send().await;
    answer.refused(429, "rate_limited", "quota");
    let (q, r, t) = answer.rate();
    assert_eq!((q, r), (3, 0));
    let retry: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(retry >= t && retry <= 3, "{retry} {t}");
    // Another tenant has lost nothing.
    call("two").send().await.ok();
    // The next token is there when it was promised.
    tokio::time::sleep(std::time::Duration::from_secs(retry)).await;
    call("one").send().await.ok();
}

#[actix::test]
async fn a_refused_request_has_cost_its_token() {
    let app = TestApp::start().await;
    let call = || app.sign().tenant("paying", [1, 2, 4, 8]);
    // Charged at admission, never refunded (contract §5).
    call().send().await.refused(413, "artifact_too_large", "quota");
    call().send().await.refused(413, "artifact_too_large", "quota");
    call().send().await.refused(429, "rate_limited", "quota");
}

#[actix::test]
async fn the_predicate_is_measured_as_received() {
    let app = TestApp::start().await;
    // {"finding":"predicate-canary-51"} has 33 bytes.
    let exact = r#"{"finding":"predicate-canary-51"}"#.len() as u64;
    assert_eq!(exact, 33);
    let call = |tenant: &str, limit: u64| app.sign().tenant(tenant, [100, 100, 4, limit]);
    call("fits", exact).send().await.ok();
    call("short", exact - 1)
        .send()
        .await
        .refused(413, "artifact_too_large", "quota");
    // White space counts: it had to be received.
    let body = call("fits", exact).sent_body();
    let spaced = String::from_utf8(body)
        .unwrap()
        .replace(r#""finding":"#, r#""finding": "#);
    let answer = call("fits", exact).bytes(spaced).send().await;
    answer.refused(413, "artifact_too_large", "quota");
}

#[actix::test]
async fn a_client_that_hangs_up_frees_nothing_early_and_leaks_nothing() {
    let app = TestApp::start().await;
    let call = || app.sign().tenant("rude", [100, 100, 1, 1000]);
    app.registry.hold();
    let gone = tokio::time::timeout(std::time::Duration::from_millis(500), call().send()).await;
    assert!(gone.is_err(), "the registry holds it");
    assert!(app.registry.seen() > 0);
    // The work goes on, and so does its permit.
    let answer = call().send().await;
    answer.refused(429, "concurrency_limited", "quota");
    assert_eq!(answer.header("retry-after"), Some("1"));
    app.registry.open();
    let service = app.service.as_ref().unwrap();
    until("the work to end", || (service.in_flight() == 0).then_some(())).await;
    call().send().await.ok();
    let signed = app
        .audit()
        .iter()
        .filter(|record| record["outcome"] == "signed")
        .count();
    assert_eq!(signed, 2, "the work of the one who hung up was recorded");
}

#[actix::test]
async fn a_dry_run_takes_no_permit_and_none_of_the_rate() {
    let app = TestApp::start().await;
    let call = || app.sign().tenant("careful", [1, 2, 1, 1000]);
    app.registry.hold();
    let signing = call().send();
    let looking = async {
        until("the registry to be asked", || {
            (app.registry.seen() > 0).then_some(())
        })
        .await;
        app.registry.open();
        // The only permit is out.
        call().option("dryRun", true).send().await
    };
    let (signed, looked) = futures_util::join!(signing, looking);
    signed.ok();
    looked.ok();
    call().option("dryRun", true).send().await.ok();
    // Its own rate is used up, the plan's is not.
    let answer = call().option("dryRun", true).send().await;
    answer.refused(429, "rate_limited", "quota");
    call().send().await.ok();
    call().send().await.refused(429, "rate_limited", "quota");
}

#[actix::test]
async fn a_dry_run_reports_every_gate() {
    let app = TestApp::start().await;
    let answer = app.sign().option("dryRun", true).send().await;
    answer.rate();
    let answer = answer.ok();
    let pass = |gate: &str| json!({ "gate": gate, "verdict": "pass" });
    assert_eq!(
        answer["gates"],
        json!([pass("quota"), pass("release"), pass("signing")])
    );
    assert!(answer.get("bundle").is_none());
    let records = app.audited(&answer["auditId"]);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["event"], "refusal");
    assert_eq!(records[0]["dryRun"], true);
    assert_eq!(records[0]["code"], json!(null));

    // All are evaluated, whatever the first says.
    let unsigned = app.neighbours.registry.unsigned_digest.clone();
    let call = app.sign().tenant("tight", [10, 10, 4, 8]).option("dryRun", true);
    let call = call.json(|body| body["scannerImageDigest"] = json!(unsigned));
    let answer = call.send().await.ok();
    let gates = answer["gates"].as_array().unwrap();
    assert_eq!(gates[0]["code"], "artifact_too_large");
    assert_eq!(gates[1]["verdict"], "fail");
    assert_eq!(gates[1]["code"], "scanner_mismatch");
    assert!(
        gates[1]["detail"]
            .as_str()
            .is_some_and(|detail| detail.len() > 10)
    );
    assert_eq!(gates[2]["verdict"], "pass");

    // Who is calling and what they are entitled to answer as usual.
    let call = || app.sign().option("dryRun", true);
    call()
        .anonymous()
        .send()
        .await
        .refused(401, "invalid_token", "authentication");
    let answer = call().poe(|poe| poe.claim("tid", "globex")).send().await;
    let problem = answer.refused(403, "tenant_mismatch", "entitlement");
    let audited = async || app.audited(&problem["auditId"]);
    let mut records = audited().await;
    while records.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        records = audited().await;
    }
    assert_eq!(records[0]["dryRun"], true);
    let signed = app
        .audit()
        .iter()
        .filter(|record| record["event"] == "intent")
        .count();
    assert_eq!(signed, 0);
}
