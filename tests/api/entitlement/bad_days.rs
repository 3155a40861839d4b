//! What Licensing may do to us, and what callers hear of it: each with and without a confirmation to fall back on.

use std::time::Duration;

use serde_json::json;

use crate::support::{Answer, Call, Says, TestApp, until};

/// The code for one who was never confirmed, and for one inside grace.
struct Case {
    what: &'static str,
    says: Says,
    fresh: &'static str,
    known: &'static str,
}

fn no_answer(what: &'static str, says: Says) -> Case {
    let (fresh, known) = ("entitlement_unavailable", "ok");
    Case {
        what,
        says,
        fresh,
        known,
    }
}

fn verdict(what: &'static str, says: Says, code: &'static str) -> Case {
    let (fresh, known) = (code, code);
    Case {
        what,
        says,
        fresh,
        known,
    }
}

fn json_body(body: impl Into<Vec<u8>>) -> Says {
    Says::Exactly(200, vec![("content-type", "application/json")], body.into())
}

#[track_caller]
fn expect(answer: &Answer, code: &str) {
    match code {
        "ok" => drop(answer.ok()),
        "entitlement_unavailable" => drop(answer.refused(503, code, "entitlement")),
        code => drop(answer.refused(403, code, "entitlement")),
    }
}

fn cases() -> Vec<Case> {
    let html = b"<html>login</html>".to_vec();
    let active = json!({ "active": true }).to_string();
    let big = json!({ "active": true, "padding": "x".repeat(1 << 20) }).to_string();
    let typed = |kind| Says::Exactly(200, vec![("content-type", kind)], active.clone().into());
    let redirect = Says::Exactly(307, vec![("location", "/introspect")], Vec::new());
    vec![
        no_answer("down, as a proxy says it", Says::Status(502)),
        no_answer(
            "a page",
            Says::Exactly(200, vec![("content-type", "text/html")], html.clone()),
        ),
        no_answer("a page called JSON", json_body(html)),
        no_answer("active as a string", Says::Raw(r#"{"active":"true"}"#)),
        no_answer("inactive as a string", Says::Raw(r#"{"active":"false"}"#)),
        no_answer("active as a number", Says::Raw(r#"{"active":1}"#)),
        no_answer("no active", Says::Raw("{}")),
        no_answer("both", Says::Raw(r#"{"active":true,"active":false}"#)),
        no_answer("a redirect to itself", redirect),
        no_answer("a megabyte", json_body(big)),
        no_answer("cut off", Says::Truncated),
        no_answer("nothing", json_body("")),
        no_answer("plain text", typed("text/plain")),
        no_answer("another type", typed("application/token-introspection+jwt")),
        no_answer("our credential is refused", Says::Status(401)),
        no_answer("no content", Says::Status(204)),
        no_answer(
            "an unreadable limit",
            Says::With(json!({ "limits": { "qps": -1 } })),
        ),
        verdict("revoked", Says::Inactive, "entitlement_revoked"),
        verdict(
            "another licence",
            Says::With(json!({ "lic": "lic-9" })),
            "entitlement_invalid",
        ),
        verdict(
            "ended by Licensing",
            Says::With(json!({ "exp": 1 })),
            "entitlement_expired",
        ),
        verdict(
            "narrowed",
            Says::With(json!({ "features": ["mode:keyless"] })),
            "mode_not_entitled",
        ),
        verdict("good", Says::Active, "ok"),
    ]
}

#[actix::test]
async fn every_bad_answer_has_its_code_with_and_without_grace() {
    // Asked for every request, so that each case is seen by a proof that is known.
    let app = TestApp::with(
        "entitlement.positive_ttl = \"0s\"\nentitlement.negative_ttl = \"0s\"\nentitlement.grace = \"1h\"",
    )
    .await;
    for case in cases() {
        println!("{}", case.what);
        let known = app.mint.poe(|_| ());
        let call = || -> Call<'_> { app.sign().json(|body| body["poe"]["value"] = json!(known)) };
        app.licensing.says(Says::Active);
        call().send().await.ok();
        app.licensing.says(case.says);
        expect(&app.sign().send().await, case.fresh);
        expect(&call().send().await, case.known);
        if case.what == "revoked" {
            // Revoked inside grace stays revoked, whatever befalls Licensing, and so do other proofs of the licence.
            app.licensing.says(Says::Status(503));
            expect(&call().send().await, "entitlement_unavailable");
        }
    }
}

#[actix::test]
async fn a_licensing_that_throttles_is_left_alone_for_as_long_as_it_says() {
    let app = TestApp::with(
        "entitlement.positive_ttl = \"0s\"\nentitlement.negative_ttl = \"0s\"\nentitlement.grace = \"1h\"",
    )
    .await;
    let known = app.mint.poe(|_| ());
    let call = || -> Call<'_> { app.sign().json(|body| body["poe"]["value"] = json!(known)) };
    call().send().await.ok();
    app.licensing
        .says(Says::Exactly(429, vec![("retry-after", "2")], Vec::new()));
    let asked = app.licensing.asked();
    expect(&app.sign().send().await, "entitlement_unavailable");
    app.licensing.says(Says::Active);
    let begun = tokio::time::Instant::now();
    while app.licensing.asked() == asked + 1 {
        // A confirmation in grace counts, an unknown proof has none.
        expect(&call().send().await, "ok");
        // A plan has its rate.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(begun.elapsed() < Duration::from_secs(20), "left alone for ever");
    }
    assert!(
        begun.elapsed() > Duration::from_millis(1500),
        "asked after {:?}",
        begun.elapsed()
    );
    app.sign().send().await.ok();
}

#[actix::test]
async fn a_proof_that_ends_in_the_cache_or_in_grace_is_expired() {
    let app = TestApp::with("entitlement.grace = \"1h\"").await;
    for (ttl_says, what) in [(Says::Active, "cache"), (Says::Status(503), "grace")] {
        let poe = app.mint.poe(|poe| poe.claim("exp", crate::support::now() + 2));
        let call = || app.sign().json(|body| body["poe"]["value"] = json!(poe));
        app.licensing.says(Says::Active);
        call().send().await.ok();
        app.licensing.says(ttl_says);
        let mut last = call().send().await;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while last.status != 403 && tokio::time::Instant::now() < deadline {
            last = call().send().await;
        }
        println!("{what}");
        last.refused(403, "entitlement_expired", "entitlement");
    }
}

#[actix::test]
async fn a_silent_licensing_costs_its_timeout_and_no_more() {
    let app = TestApp::with("entitlement.timeout = \"200ms\"").await;
    let warm = app.mint.poe(|_| ());
    let known = || app.sign().json(|body| body["poe"]["value"] = json!(warm));
    known().send().await.ok();
    app.licensing.says(Says::Silence);
    expect(&app.sign().send().await, "entitlement_unavailable");
    known().send().await.ok();
    app.licensing.says(Says::Active);
    app.sign().send().await.ok();
}

#[actix::test]
async fn a_licensing_that_is_not_there_is_unavailable() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let app = TestApp::with(&format!(
        "entitlement.introspection_url = \"http://{nowhere}/introspect\""
    ))
    .await;
    expect(&app.sign().send().await, "entitlement_unavailable");
}

#[actix::test]
async fn a_cold_stampede_of_500_asks_once() {
    let app = TestApp::with("entitlement.timeout = \"30s\"\nserver.request_timeout = \"60s\"").await;
    let limits = json!({ "qps": 1000, "burst": 1000, "concurrency": 1000, "maxArtifactBytes": 1_000_000 });
    let poe = app.mint.poe(|poe| poe.claim("limits", limits));
    app.licensing.says(Says::Silence);
    let calls = (0..500).map(|_| app.sign().json(|body| body["poe"]["value"] = json!(poe)).send());
    let all = futures_util::future::join_all(calls);
    let release = async {
        // All of them wait for the one question.
        let mut waiting = 0;
        while waiting < 500 {
            let metrics = app.metrics().await;
            let line = metrics.lines().find_map(|line| {
                line.strip_prefix("signer_cache_requests_total{cache=\"entitlement\",result=\"miss\"} ")
            });
            waiting = line.map_or(0, |count| count.parse::<u64>().unwrap());
        }
        app.licensing.says(Says::Active);
    };
    let (answers, ()) = futures_util::future::join(all, release).await;
    answers.iter().for_each(|answer| drop(answer.ok()));
    assert_eq!(app.licensing.asked(), 1);
}

#[actix::test]
async fn a_licence_revoked_through_one_proof_signs_no_more_through_another() {
    let app = TestApp::with("entitlement.positive_ttl = \"120s\"\nentitlement.grace = \"1h\"").await;
    let (one, other) = (app.mint.poe(|_| ()), app.mint.poe(|_| ()));
    let call = |poe: &String| app.sign().json(|body| body["poe"]["value"] = json!(poe));
    call(&one).send().await.ok();
    call(&other).send().await.ok();
    assert_eq!(app.licensing.asked(), 2);
    app.licensing.says(Says::Inactive);
    expect(&app.sign().send().await, "entitlement_revoked");
    app.licensing.says(Says::Status(503));
    for poe in [&one, &other] {
        expect(&call(poe).send().await, "entitlement_unavailable");
    }
    until("no request is left", || {
        (app.service.as_ref()?.in_flight() == 0).then_some(())
    })
    .await;
}
