//! What the caller is entitled to.

mod bad_days;
mod offline;

use serde_json::{Value, json};

use crate::support::{Draft, OTHER_KEY, RETIRED_KEY, Says, TestApp, p256};

#[actix::test]
async fn a_proof_of_entitlement_that_breaks_one_condition_is_refused() {
    let app = TestApp::start().await;
    let foreign = p256();
    type Edit<'a> = Box<dyn Fn(&mut Draft) + 'a>;
    let claim = |name: &'static str, value: Value| -> Edit<'_> {
        Box::new(move |draft: &mut Draft| draft.claim(name, value.clone()))
    };
    let header = |name: &'static str, value: Value| -> Edit<'_> {
        Box::new(move |draft: &mut Draft| draft.header[name] = value.clone())
    };
    let stranger = json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" });
    let limits = json!({ "qps": 1, "burst": 1, "concurrency": 1 });
    let extra = json!({ "qps": 1, "burst": 1, "concurrency": 1, "maxArtifactBytes": 9, "x": 1 });
    let zero = json!({ "qps": 0, "burst": 1, "concurrency": 1, "maxArtifactBytes": 9 });
    let cases: Vec<(&str, &str, Edit<'_>)> = vec![
        (
            "entitlement_invalid",
            "another audience",
            claim("aud", json!("attestor")),
        ),
        (
            "entitlement_invalid",
            "another issuer",
            claim("iss", json!("https://authority.test")),
        ),
        ("entitlement_invalid", "no licence", claim("lic", Value::Null)),
        ("entitlement_invalid", "no plan", claim("plan", Value::Null)),
        ("entitlement_invalid", "no tenant", claim("tid", Value::Null)),
        ("entitlement_invalid", "no id", claim("jti", Value::Null)),
        (
            "entitlement_invalid",
            "a limit is missing",
            claim("limits", limits),
        ),
        ("entitlement_invalid", "a limit too many", claim("limits", extra)),
        ("entitlement_invalid", "a limit of nothing", claim("limits", zero)),
        (
            "entitlement_invalid",
            "an unreadable window",
            claim("versionWindow", json!({ "min": "2026" })),
        ),
        (
            "entitlement_invalid",
            "features as text",
            claim("features", json!("mode:kms")),
        ),
        ("entitlement_invalid", "bound to another", claim("cnf", stranger)),
        ("entitlement_invalid", "bound to nothing", claim("cnf", json!({}))),
        (
            "entitlement_invalid",
            "an unknown key",
            header("kid", json!("licensing-2")),
        ),
        (
            "entitlement_invalid",
            "no algorithm",
            header("alg", json!("none")),
        ),
        (
            "entitlement_invalid",
            "an operational token",
            header("typ", json!("at+jwt")),
        ),
        (
            "entitlement_invalid",
            "by a foreign key",
            Box::new(move |draft: &mut Draft| draft.key = foreign.clone()),
        ),
        ("entitlement_expired", "expired", Box::new(Draft::expired)),
        ("tenant_mismatch", "another tenant", claim("tid", json!("globex"))),
        (
            "tenant_mismatch",
            "another installation",
            claim("inst", json!("acme-2")),
        ),
        (
            "mode_not_entitled",
            "another mode",
            claim("features", json!(["mode:keyless", "predicate:*"])),
        ),
        (
            "predicate_not_allowed",
            "no type",
            claim("features", json!(["mode:kms"])),
        ),
        (
            "predicate_not_allowed",
            "another type",
            claim("features", json!(["mode:kms", "predicate:https://spdx.dev/*"])),
        ),
    ];
    for (code, what, edit) in cases {
        println!("{what}");
        app.sign()
            .poe(edit)
            .send()
            .await
            .refused(403, code, "entitlement");
    }
    for text in ["x", "a.b.c", "..", &"x".repeat(9000)] {
        let answer = app
            .sign()
            .json(|body| body["poe"]["value"] = json!(text))
            .send()
            .await;
        answer.refused(403, "entitlement_invalid", "entitlement");
    }
    // A token of the Authority is no proof of entitlement.
    let token = app.mint.token(|_| ());
    let answer = app
        .sign()
        .json(|body| body["poe"]["value"] = json!(token))
        .send()
        .await;
    answer.refused(403, "entitlement_invalid", "entitlement");
    // Nobody was asked about any of the forged ones; a prefix covers what begins with it.
    let features = json!(["mode:kms", "predicate:https://stella.ops/*"]);
    app.sign()
        .poe(|poe| poe.claim("features", features))
        .send()
        .await
        .ok();
}

#[actix::test]
async fn a_forged_proof_of_entitlement_is_never_shown_to_licensing() {
    let app = TestApp::start().await;
    let foreign = p256();
    app.sign()
        .poe(|poe| poe.key = foreign)
        .send()
        .await
        .refused(403, "entitlement_invalid", "entitlement");
    assert_eq!(app.licensing.asked(), 0);
    app.sign().send().await.ok();
    assert_eq!(app.licensing.asked(), 1);
}

#[actix::test]
async fn a_bound_proof_of_entitlement_serves_its_holder() {
    let app = TestApp::start().await;
    let token = app.mint.token(|_| ());
    let claims = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&crate::support::unb64(claims)).unwrap();
    app.sign()
        .poe(|poe| poe.claim("cnf", claims["cnf"].clone()))
        .send()
        .await
        .ok();
}

#[actix::test]
async fn a_revoked_licence_signs_no_more_once_the_cache_is_cold() {
    let app = TestApp::with("entitlement.positive_ttl = \"0s\"\nentitlement.grace = \"1h\"").await;
    let poe = app.mint.poe(|_| ());
    let call = || app.sign().json(|body| body["poe"]["value"] = json!(poe));
    call().send().await.ok();
    app.licensing.says(Says::Inactive);
    call()
        .send()
        .await
        .refused(403, "entitlement_revoked", "entitlement");
    // Grace never covers a revoked licence, whatever befalls Licensing afterwards.
    app.licensing.says(Says::Status(503));
    let answer = call().send().await;
    assert_ne!(answer.status, 200);
}

#[actix::test]
async fn what_is_no_clear_answer_is_none() {
    let app = TestApp::start().await;
    for says in [
        Says::Status(500),
        Says::Status(401),
        Says::Status(302),
        Says::Raw("{}"),
        Says::Raw("[]"),
        Says::Raw(r#"{"active":"true"}"#),
        Says::Raw(r#"{"active":1}"#),
        Says::Raw(r#"{"active":true,"active":true}"#),
        Says::Raw("not json"),
        Says::With(json!({ "limits": { "qps": "many" } })),
    ] {
        println!("{says:?}");
        app.licensing.says(says);
        app.sign()
            .send()
            .await
            .refused(503, "entitlement_unavailable", "entitlement");
    }
    // An answer about someone else.
    for member in ["iss", "sub", "lic", "tid", "inst"] {
        app.licensing.says(Says::With(json!({ member: "other" })));
        app.sign()
            .send()
            .await
            .refused(403, "entitlement_invalid", "entitlement");
    }
}

#[actix::test]
async fn introspection_narrows_and_never_widens() {
    let app = TestApp::start().await;
    app.licensing.says(Says::With(json!({
        "limits": { "qps": 7, "burst": 1_000_000 },
        "features": ["mode:kms", "mode:keyless", "predicate:*", "key:other-2026"],
    })));
    let answer = app.sign().send().await.ok();
    assert_eq!(answer["policy"]["qps"], 7);
    assert_eq!(answer["policy"]["burst"], 200, "the token's own");
    let answer = app.sign().option("keyId", OTHER_KEY).send().await;
    answer.refused(403, "mode_not_entitled", "entitlement");
    app.licensing
        .says(Says::With(json!({ "features": ["mode:keyless"] })));
    app.sign()
        .send()
        .await
        .refused(403, "mode_not_entitled", "entitlement");
}

#[actix::test]
async fn one_question_serves_all_who_ask_at_once() {
    let app = TestApp::start().await;
    let poe = app.mint.poe(|_| ());
    let call = || app.sign().json(|body| body["poe"]["value"] = json!(poe)).send();
    let answers = futures_util::future::join_all((0..12).map(|_| call())).await;
    answers.iter().for_each(|answer| {
        answer.ok();
    });
    assert_eq!(app.licensing.asked(), 1);
}

#[actix::test]
async fn cached_facts_are_compared_on_every_request() {
    let app = TestApp::start().await;
    let poe = app.mint.poe(|_| ());
    let call = || app.sign().json(|body| body["poe"]["value"] = json!(poe));
    call().send().await.ok();
    let answer = call().token(|token| token.claim("tid", "globex")).send().await;
    answer.refused(403, "tenant_mismatch", "entitlement");
    let answer = call().option("keyId", RETIRED_KEY).send().await;
    answer.refused(403, "mode_not_entitled", "entitlement");
    assert_eq!(app.licensing.asked(), 1);
}
