//! How much of it is left.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::json;
use signer_actors::ports::Clock;

use crate::support::{TestApp, World, until};

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

/// The day goes on, but no bucket refills.
#[derive(Debug)]
pub(crate) struct NothingRefills;

impl Clock for NothingRefills {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// A tenant that is refused costs the service no more than finding that out: nothing behind the gate hears of it.
#[actix::test]
async fn what_the_plan_refuses_reaches_nothing_behind_the_gate() {
    let app = TestApp::at(World::new("").await, Arc::new(NothingRefills)).await;
    let (lasting, held) = ([1000, 1000, 1, 1000], "held");
    // An image that nobody has asked about: whoever gets as far as the release gate asks the registry.
    let call = |tenant: &str, limits: [u64; 4], image: u8| {
        let image = format!("sha256:{}", hex::encode([image; 32]));
        let call = app.sign().tenant(tenant, limits).token(|token| {
            token.claim("tid", tenant);
            token.claim("scanner_image", json!(null));
        });
        call.json(move |body| body["scannerImageDigest"] = json!(image))
    };
    let first = call("spent", [1, 1, 4, 1000], 1).send().await;
    first.refused(403, "release_untrusted", "release");
    app.registry.hold();
    let before_held = app.registry.seen();
    let holding = call(held, lasting, 2).send();
    let refused = async {
        until("the registry to be asked", || {
            (app.registry.seen() > before_held).then_some(())
        })
        .await;
        let before = (app.registry.seen(), stages_behind_the_gate(&app).await);
        for image in 3..8 {
            let answer = call("spent", [1, 1, 4, 1000], image).send().await;
            answer.refused(429, "rate_limited", "quota");
            let answer = call(held, lasting, image).send().await;
            answer.refused(429, "concurrency_limited", "quota");
            let answer = call("small", [1000, 1000, 4, 8], image).send().await;
            answer.refused(413, "artifact_too_large", "quota");
        }
        assert_eq!((app.registry.seen(), stages_behind_the_gate(&app).await), before);
        app.registry.open();
    };
    futures_util::join!(holding, refused)
        .0
        .refused(403, "release_untrusted", "release");
    let intents = app
        .audit()
        .iter()
        .filter(|record| record["event"] == "intent")
        .count();
    assert_eq!(intents, 0);
    // The counters that were compared do count.
    let before = stages_behind_the_gate(&app).await;
    app.sign().send().await.ok();
    let after = stages_behind_the_gate(&app).await;
    assert_eq!((before.len(), after.len()), (4, 4));
    for (before, after) in before.iter().zip(&after) {
        assert_ne!(before, after);
    }
}

/// How often each stage was entered that comes after the quota gate.
async fn stages_behind_the_gate(app: &TestApp) -> Vec<String> {
    let metrics = app.metrics().await;
    let stages = ["release", "audit_intent", "sign", "audit_outcome"];
    let counts = stages.map(|stage| format!("signer_stage_seconds_count{{stage=\"{stage}\"}} "));
    let lines = metrics
        .lines()
        .filter(|line| counts.iter().any(|count| line.starts_with(count)));
    lines.map(str::to_owned).collect()
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
