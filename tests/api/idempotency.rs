//! A client may retry anything at any time, and is neither charged nor signed for twice.

mod crash;

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::attacks::case::Shifted;
use crate::support::{Answer, Call, Child, Says, TestApp, World, now};

const KEY: &str = "idempotency-key";

fn keyed<'a>(world: &'a World, key: &str) -> Call<'a> {
    world.sign().field(KEY, key)
}

/// A signature that no other request can have, as the key is not deterministic.
fn keyless<'a>(world: &'a World, key: &str) -> Call<'a> {
    keyed(world, key).option("signingMode", "keyless")
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

#[track_caller]
fn assert_same(first: &Answer, again: &Answer) {
    first.ok();
    again.ok();
    assert_eq!(first.body, again.body, "byte for byte");
    assert!(is_replay(again) && !is_replay(first));
    assert_eq!(again.header("ratelimit"), None, "the rate gate was not asked");
    assert_eq!(first.header("content-type"), again.header("content-type"));
    assert_eq!(again.header("content-type"), Some("application/json"));
}

fn signatures(world: &World) -> usize {
    let signed = |record: &&Value| record["outcome"] == "signed";
    world.audit().iter().filter(signed).count()
}

async fn outcomes(app: &TestApp, outcome: &str) -> u64 {
    let metrics = app.metrics().await;
    let series = format!(r#"signer_idempotency_total{{outcome="{outcome}"}} "#);
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap().parse().unwrap()
}

#[actix::test]
async fn a_retry_gets_the_same_bytes_and_costs_nothing() {
    let app = TestApp::start().await;
    for (key, bundle) in [("k-dsse", "dsse"), ("k-sigstore", "sigstore")] {
        let call = || keyless(&app, key).option("returnBundle", bundle);
        let first = call().send().await;
        let (_, remaining, _) = first.rate();
        let before = app.audit().len();
        for _ in 0..3 {
            assert_same(&first, &call().send().await);
        }
        assert_eq!(app.audit().len(), before, "the trail has the signature already");
        let (_, after, _) = app.sign().send().await.rate();
        assert!(
            after + 1 >= remaining,
            "{remaining} tokens were left, and then {after}"
        );
    }
    assert_eq!(
        (outcomes(&app, "stored").await, outcomes(&app, "replayed").await),
        (2, 6)
    );
    assert_eq!(signatures(&app), 4);
}

#[actix::test]
async fn another_spelling_is_the_same_request() {
    let app = TestApp::start().await;
    let (scanner, digest) = (app.mint.scanner.clone(), "ab".repeat(32));
    let one = |poe: String| {
        format!(
            r#"{{"subject":[{{"name":"app","digest":{{"sha256":"{digest}"}}}}],"predicateType":"https://stella.ops/report/v1",
                "predicate":{{"b":[1,2.50,1e2],"a":"é"}},"scannerImageDigest":"{scanner}",
                "poe":{{"format":"jwt","value":"{poe}"}},"options":{{"signingMode":"keyless"}}}}"#
        )
    };
    let other = |poe: String| {
        format!(
            r#" {{"options":{{"dryRun":false,"expirySeconds":60,"returnBundle":"dsse","signingMode":"keyless"}},
                "poe":{{"value":"{poe}","format":"jwt"}},"scannerImageDigest":"{scanner}",
                "predicate":{{"a":"\u00e9","b":[1.0,2.5,100]}},"predicateType":"https:\/\/stella.ops\/report\/v1",
                "subject":[{{"digest":{{"sha256":"{digest}"}},"name":"a\u0070p"}}] }}"#
        )
    };
    let first = app
        .sign()
        .field(KEY, "k")
        .bytes(one(app.mint.poe(|_| ())))
        .send()
        .await;
    // With another proof of entitlement, too: it is not part of the request.
    let again = app
        .sign()
        .field(KEY, "k")
        .bytes(other(app.mint.poe(|_| ())))
        .send()
        .await;
    assert_same(&first, &again);
}

#[actix::test]
async fn of_many_at_once_one_is_signed_and_charged() {
    let app = TestApp::with("server.workers = 2").await;
    let limits = [1, 100, 100, 100_000];
    let call = || keyless(&app, "k").tenant("many", limits);
    let all = futures_util::future::join_all((0..64).map(|_| call().send())).await;
    let mut bodies: Vec<_> = Vec::new();
    for answer in &all {
        match answer.status {
            200 => bodies.push(answer.body.clone()),
            _ => {
                answer.refused(409, "idempotency_in_flight", "idempotency");
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
        }
    }
    assert!(!bodies.is_empty() && bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(
        all.iter()
            .filter(|answer| answer.status == 200 && !is_replay(answer))
            .count(),
        1
    );
    assert_eq!(signatures(&app), 1);
    let (burst, remaining, _) = app.sign().tenant("many", limits).send().await.rate();
    assert_eq!((burst, remaining >= 98), (100, true), "{remaining}");
    let again = call().send().await;
    assert!(is_replay(&again) && again.body == bodies[0]);
}

#[actix::test]
async fn another_request_with_the_key_is_a_conflict_and_leaves_the_answer_alone() {
    let app = TestApp::start().await;
    let first = keyed(&app, "k").send().await;
    let other = keyed(&app, "k").json(|body| body["predicate"] = json!({ "finding": 2 }));
    let conflict = other.send().await;
    let problem = conflict.refused(409, "idempotency_conflict", "idempotency");
    assert!(problem["auditId"].is_string(), "refusals are on record");
    assert_eq!(conflict.header("retry-after"), None);
    assert_same(&first, &keyed(&app, "k").send().await);
}

#[actix::test]
async fn refusals_are_not_kept() {
    let app = TestApp::start().await;
    let limits = [1, 1, 8, 100_000];
    app.sign().tenant("slow", limits).send().await.ok();
    let call = || keyed(&app, "k").tenant("slow", limits);
    call().send().await.refused(429, "rate_limited", "quota");
    let retrying = async {
        loop {
            let answer = call().send().await;
            if answer.status == 200 {
                return answer;
            }
            answer.refused(429, "rate_limited", "quota");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let first = tokio::time::timeout(std::time::Duration::from_secs(20), retrying)
        .await
        .unwrap();
    assert_same(&first, &call().send().await);
    // The key is kept of the second image alone.
    let untrusted = keyed(&app, "k-2").json(|body| {
        body["scannerImageDigest"] = json!(app.neighbours.registry.unsigned_digest);
    });
    let token = app.mint.token(|token| {
        token.claims.as_object_mut().unwrap().remove("scanner_image");
    });
    let refused = untrusted.raw_token(token.clone()).send().await;
    refused.refused(403, "release_untrusted", "release");
    keyed(&app, "k-2").raw_token(token).send().await.ok();
}

#[actix::test]
async fn who_is_not_entitled_any_more_gets_no_replay() {
    let app = TestApp::start().await;
    keyed(&app, "k").send().await.ok();
    app.licensing.says(Says::Inactive);
    let renewed = keyed(&app, "k").poe(|poe| poe.claim("jti", "renewed"));
    renewed
        .send()
        .await
        .refused(403, "entitlement_revoked", "entitlement");
    let expired = keyed(&app, "k").token(|token| token.claim("exp", now() - 120));
    expired
        .send()
        .await
        .refused(401, "invalid_token", "authentication");
}

#[actix::test]
async fn keys_are_one_field_of_visible_ascii() {
    let app = TestApp::start().await;
    for good in [
        "!",
        "~",
        "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
        &"k".repeat(255),
    ] {
        keyed(&app, good).send().await.ok();
    }
    for bad in ["", "a b", &"k".repeat(256), "a\tb", "\u{e9}"] {
        keyed(&app, bad)
            .send()
            .await
            .refused(400, "invalid_request", "shape");
    }
    let two = keyed(&app, "a").field(KEY, "a").send().await;
    two.refused(400, "invalid_request", "shape");
    // A dry run ignores it (contract §2.1), whatever it is.
    for ignored in ["k", "a b"] {
        let dry = || keyed(&app, ignored).option("dryRun", true).send();
        let (first, again) = (dry().await, dry().await);
        assert_ne!(first.ok()["auditId"], again.ok()["auditId"]);
    }
    assert!(!is_replay(&keyed(&app, "k").send().await));
}

#[actix::test]
async fn answers_end_with_their_time() {
    let clock = Arc::new(Shifted::default());
    let world = World::new("state.idempotency_ttl = \"60s\"").await;
    let app = TestApp::at(world, Arc::clone(&clock) as _).await;
    let call = |later: i64| keyed(&app, "k").proof(move |proof| proof.claim("iat", now() + later));
    let first = call(0).send().await;
    clock.put(58);
    assert_same(&first, &call(58).send().await);
    clock.put(61);
    let anew = call(61).send().await;
    assert_ne!(anew.ok()["auditId"], first.ok()["auditId"]);
}

#[actix::test]
async fn a_full_store_refuses_new_keys_and_knows_the_old_ones() {
    let app = TestApp::tuned(World::new("").await, |settings| {
        settings.state.idempotency_capacity = 4
    })
    .await;
    let first = keyed(&app, "k-0").send().await;
    keyed(&app, "k-1").send().await.ok();
    let full = keyed(&app, "k-2").send().await;
    full.refused(503, "overloaded", "idempotency");
    assert_same(&first, &keyed(&app, "k-0").send().await);
    app.sign().send().await.ok();
    // As many as are left free: the next tenant has room.
    keyed(&app, "k-2")
        .tenant("next", [10, 10, 10, 100_000])
        .send()
        .await
        .ok();
}

/// Everything in a folder, as it is on disk.
fn content(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .collect()
}

#[actix::test]
async fn the_store_holds_no_predicate_no_credential_and_no_text_of_the_caller() {
    let app = TestApp::start().await;
    let call = keyed(&app, "key-canary-77").token(|token| token.claim("sub", "subject-canary-78"));
    let answer = call
        .json(|body| body["subject"][0]["name"] = "name-canary-79".into())
        .send()
        .await;
    let audit_id = answer.ok()["auditId"].as_str().unwrap().to_owned();
    let bytes = content(&app.folder.path().join("state"));
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&audit_id), "the answer is there");
    let secrets = answer.secrets.iter().map(String::as_str);
    for canary in secrets.chain(["key-canary-77", "subject-canary-78", "name-canary-79"]) {
        assert!(!holds(canary), "{canary}");
    }
    let payload = answer.json()["bundle"]["dsse"]["payload"].as_str().unwrap()[..40].to_owned();
    assert!(!holds(&payload));
}

#[actix::test]
async fn a_second_process_cannot_have_the_folder() {
    let world = World::new("").await;
    let _child = Child::serve(&world, "first");
    let config = std::fs::read_to_string(world.config_file()).unwrap();
    let other = world.folder.path().join("other.toml");
    std::fs::write(
        &other,
        config.replace("directory = \"audit\"", "directory = \"audit-2\""),
    )
    .unwrap();
    let second = std::process::Command::new(crate::support::SIGNER)
        .args(["serve", "--config"])
        .arg(&other)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(
        said.contains("idempotency.redb") && said.contains("state.directory"),
        "{said}"
    );
    let checked = std::process::Command::new(crate::support::SIGNER)
        .args(["check", "--offline", "--config"])
        .arg(&other)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(said.contains("[warning] idempotency keys"), "{said}");
}
