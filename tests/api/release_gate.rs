//! How the release gate treats registries: asked once, asked in time, and left alone when they do not answer.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{SIGNER, TestApp, World};

fn query(digest: &str) -> String {
    format!("digest={digest}")
}

fn image(n: u32) -> String {
    format!("sha256:{n:064x}")
}

#[actix::test]
async fn five_hundred_requests_for_a_cold_digest_make_one_listing() {
    let generous = "release.verify_qps = 10000\nrelease.verify_burst = 10000";
    let alone = TestApp::with(generous).await;
    alone.referrers(&query(&alone.mint.scanner)).send().await.ok();
    let calls_of_one = alone.registry.seen();

    let app = TestApp::with(generous).await;
    let token = app.mint.token(|_| ());
    app.registry.hold();
    let ask = || {
        app.referrers(&query(&app.mint.scanner))
            .raw_token(token.clone())
            .send()
    };
    let all = join_all((0..500).map(|_| ask()));
    let release = async {
        let waiting = r#"signer_mailbox_in_use{actor="referrer"} 500"#;
        let all_wait = async {
            while !app.metrics().await.contains(waiting) {
                tokio::task::yield_now().await;
            }
        };
        // On a slow machine some come later, and find the verdict; the first must not be late meanwhile.
        let _ = tokio::time::timeout(Duration::from_secs(1), all_wait).await;
        app.registry.open();
    };
    let (answers, ()) = futures_util::future::join(all, release).await;
    for answer in answers {
        assert_eq!(answer.ok()["verdict"], "trusted");
    }
    assert_eq!(app.registry.seen(), calls_of_one);
}

#[actix::test]
async fn the_answer_has_the_members_of_the_contract_and_no_others() {
    let members =
        |value: &Value| -> BTreeSet<String> { value.as_object().unwrap().keys().cloned().collect() };
    let expected =
        |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let app = TestApp::start().await;
    let own = format!("{}&repository={}", query(&app.mint.scanner), app.repository());
    let verify_only = |app: &TestApp| app.mint.token(|token| token.claim("scope", "signer.verify"));
    let answer = app.referrers(&own).raw_token(verify_only(&app)).send().await;
    answer.rate();
    let answer = answer.ok();
    let names = [
        "digest",
        "repository",
        "verdict",
        "signer",
        "signatures",
        "sources",
        "checkedAt",
        "cached",
    ];
    assert_eq!(members(&answer), expected(&names));
    assert_eq!(
        members(&answer["signer"]),
        expected(&["kind", "keyId", "release"])
    );
    assert!(chrono::DateTime::parse_from_rfc3339(answer["checkedAt"].as_str().unwrap()).is_ok());
    for signature in answer["signatures"].as_array().unwrap() {
        assert_eq!(
            members(signature),
            expected(&["manifestDigest", "format", "verified", "reason"])
        );
        assert_eq!(
            signature["verified"] == json!(true),
            signature["reason"].is_null()
        );
    }
    // All repositories together are another question than one.
    let all = app.referrers(&query(&app.mint.scanner)).send().await.ok();
    assert_eq!(all["cached"], false);
    let none = app.mint.token(|token| token.claim("scope", "signer.audit"));
    let answer = app.referrers(&own).raw_token(none).send().await;
    answer.refused(403, "insufficient_scope", "authentication");
}

/// What does not come to pass in 20 s never does.
async fn in_time(work: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(20), work).await.unwrap();
}

/// A repository that refuses every connection, beside the world's own.
async fn with_a_dead_one(changes: &str) -> (TestApp, String) {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("{}/stellaops/scanner", held.local_addr().unwrap());
    drop(held);
    let world = World::new(changes).await;
    let own = world.repository();
    let host = dead.split_once('/').unwrap().0.to_owned();
    let app = TestApp::tuned(world, |settings| {
        settings.release.repositories = vec![dead.clone(), own];
        settings.release.plain_http.push(host);
    })
    .await;
    (app, dead)
}

#[actix::test]
async fn one_that_trusts_wins_over_one_that_is_dead() {
    let (app, dead) = with_a_dead_one("").await;
    let answer = app.referrers(&query(&app.mint.scanner)).send().await.ok();
    assert_eq!(answer["verdict"], "trusted");
    assert_eq!(answer["repository"], app.repository());
    app.sign().send().await.ok();
    let only = format!("{}&repository={dead}", query(&app.mint.scanner));
    app.referrers(&only)
        .send()
        .await
        .refused(502, "registry_error", "release");
    // Unsigned here, and unknown there: that is a doubt.
    let unsigned = app.neighbours.registry.unsigned_digest.clone();
    let answer = app.referrers(&query(&unsigned)).send().await;
    answer.refused(502, "registry_error", "release");
}

#[actix::test]
async fn a_registry_that_does_not_answer_is_left_alone_and_seen_to_be() {
    let app = TestApp::with("release.verify_qps = 1000\nrelease.verify_burst = 1000").await;
    app.sign().send().await.ok();
    app.registry.answers(503);
    let ask = |n: u32| app.referrers(&query(&image(n))).send();
    for n in 0..5 {
        let answer = ask(n).await;
        answer.refused(502, "registry_error", "release");
        assert_eq!(answer.header("retry-after"), None);
    }
    let open = format!(
        "signer_release_circuit_open{{repository=\"{}\"}} 1",
        app.repository()
    );
    let opens = async {
        while !app.metrics().await.contains(&open) {
            tokio::task::yield_now().await;
        }
    };
    in_time(opens).await;
    let seen = app.registry.seen();
    let answer = ask(100).await;
    answer.refused(502, "registry_error", "release");
    // Unless the machine is so slow that its time is over already.
    if app.registry.seen() == seen {
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    // Ready all the same, and operators see why it is not whole.
    let public = app
        .http
        .get(format!("{}/readyz", app.base()))
        .send()
        .await
        .unwrap();
    assert_eq!(public.status(), 200);
    assert_eq!(
        public.json::<Value>().await.unwrap(),
        json!({ "status": "ready" })
    );
    let detail = app
        .http
        .get(format!("{}/readyz", app.operations))
        .send()
        .await
        .unwrap();
    assert_eq!(detail.status(), 200);
    let detail: Value = detail.json().await.unwrap();
    let said = detail["checks"][format!("repository:{}", app.repository())].as_str();
    assert!(
        said.is_some_and(|said| said.starts_with("circuit open")),
        "{detail}"
    );
    // What is known is signed for.
    app.sign().send().await.ok();
    app.registry.open();
    let closes = async {
        for n in 200.. {
            let answer = ask(n).await;
            if answer.status == 404 {
                break;
            }
            answer.refused(502, "registry_error", "release");
        }
    };
    in_time(closes).await;
    assert!(app.metrics().await.contains(&open.replace(" 1", " 0")));
}

async fn check(world: &World, arguments: &[&str]) -> (Option<i32>, Value) {
    let mut command = Command::new(SIGNER);
    command.args(["check", "--json", "--config"]);
    command.arg(world.config_file()).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let found = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    (output.status.code(), found)
}

/// Level and detail of what is said about something.
fn said<'a>(found: &'a Value, what: &str) -> (&'a str, &'a str) {
    let findings = found["findings"].as_array().unwrap();
    let one = findings
        .iter()
        .find(|finding| finding["what"].as_str().unwrap().starts_with(what));
    let one = one.unwrap_or_else(|| panic!("nothing about {what} in {found}"));
    (one["level"].as_str().unwrap(), one["detail"].as_str().unwrap())
}

#[actix::test]
async fn signer_check_tells_what_it_sees_in_each_repository() {
    let world = World::new("").await;
    let repository = format!("repository {}", world.repository());
    let (code, found) = check(&world, &["--image", &world.mint.scanner]).await;
    assert_eq!(code, Some(0), "{found}");
    let expected = "answers without TLS, no authorization asked for, signatures by the Referrers API";
    assert_eq!(said(&found, &repository), ("ok", expected));
    let (level, detail) = said(&found, &format!("image {}", world.mint.scanner));
    assert_eq!(level, "ok");
    assert!(
        detail.starts_with("is trusted: StellaOps Release 2026.10 in "),
        "{detail}"
    );
    assert_eq!(said(&found, "signature sha256:"), ("ok", "counts"));

    let unsigned = world.neighbours.registry.unsigned_digest.clone();
    let (code, found) = check(&world, &["--image", &unsigned]).await;
    assert_eq!(code, Some(1));
    assert_eq!(
        said(&found, &format!("image {unsigned}")),
        ("failure", "is unsigned")
    );

    world.registry.answers(401);
    let (code, found) = check(&world, &[]).await;
    assert_eq!(code, Some(1));
    assert_eq!(said(&found, &repository).0, "failure");

    let foreign = World::new("release.keys = [\"foreign.pub\"]").await;
    let (code, found) = check(&foreign, &["--image", &foreign.mint.scanner]).await;
    assert_eq!(code, Some(1));
    let (level, reason) = said(&found, "signature sha256:");
    assert_eq!(level, "warning");
    assert!(reason.len() > 10, "{reason}");
}
