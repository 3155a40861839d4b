//! A proof is good for one request: whatever became of it, however many try at once, wherever they are served.

use std::time::Duration;

use serde_json::Value;
use signer::shutdown::drain;
use tokio::sync::Barrier;

use crate::support::{Answer, Call, ORIGIN, REFERRERS, Raw, SIGN, TestApp};

/// Uses of one proof at once.
const AT_ONCE: usize = 64;
/// Times that they are tried.
const ROUNDS: usize = 3;

/// A request that is complete but for its last bytes.
struct Prepared {
    head: String,
    rest: Vec<u8>,
}

fn prepared(method: &str, target: &str, call: Call<'_>) -> Prepared {
    let (fields, body, _) = call.into_parts();
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: signer.test\r\n");
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n", body.len()));
    let rest = [b"\r\n", body.as_slice()].concat();
    Prepared { head, rest }
}

fn to_sign(app: &TestApp, token: &str, proof: &str) -> Prepared {
    let call = app.sign().raw_token(token.to_owned()).proofs(&[proof.to_owned()]);
    prepared("POST", SIGN, call)
}

fn to_look_up(app: &TestApp, token: &str, proof: &str) -> Prepared {
    let query = format!("digest={}", app.mint.scanner);
    let call = app
        .referrers(&query)
        .raw_token(token.to_owned())
        .proofs(&[proof.to_owned()]);
    prepared("GET", &format!("{REFERRERS}?{query}"), call)
}

/// Sends all of them over connections that are open, and served, already: each but for its end, then all ends together.
async fn together(app: &TestApp, requests: Vec<Prepared>) -> Vec<Answer> {
    let barrier = Barrier::new(requests.len());
    let one = async |request: Prepared| {
        let mut connection = Raw::connect(app.base()).await;
        connection
            .send(b"GET /livez HTTP/1.1\r\nhost: signer.test\r\n\r\n")
            .await;
        assert_eq!(connection.answer().await.unwrap().status, 200);
        assert!(connection.send(request.head.as_bytes()).await);
        barrier.wait().await;
        assert!(connection.send(&request.rest).await);
        connection.answer().await.unwrap()
    };
    futures_util::future::join_all(requests.into_iter().map(one)).await
}

/// One was accepted, and all others were told why not.
#[track_caller]
fn one_passed(answers: &[Answer]) {
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(passed, 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        let problem = answer.refused(401, "invalid_dpop_proof", "authentication");
        assert!(problem["detail"].as_str().unwrap().contains("used before"));
    }
}

async fn app(workers: usize, shards: usize) -> TestApp {
    TestApp::with(&format!("server.workers = {workers}\nstate.shards = {shards}")).await
}

#[actix::test]
async fn of_64_uses_of_one_proof_at_once_one_passes() {
    for (workers, shards) in [(1, 1), (4, 1), (1, 4), (4, 4)] {
        let app = app(workers, shards).await;
        for round in 0..ROUNDS {
            println!("{workers} workers, {shards} shards, round {round}");
            let token = app.mint.token(|_| ());
            let proof = app.signing_proof(&token);
            let uses = (0..AT_ONCE).map(|_| to_sign(&app, &token, &proof)).collect();
            one_passed(&together(&app, uses).await);
        }
        let token = app.mint.token(|_| ());
        let proof = app.mint.proof("GET", REFERRERS, &token, |_| ());
        let uses = (0..AT_ONCE).map(|_| to_look_up(&app, &token, &proof)).collect();
        one_passed(&together(&app, uses).await);
    }
}

#[actix::test]
async fn of_many_spellings_of_one_url_at_once_one_passes() {
    let app = app(4, 1).await;
    // RFC 3986 §6.2.2, §6.2.3: all the same.
    let spellings = [
        format!("{ORIGIN}{SIGN}"),
        format!("HTTPS://SIGNER.TEST:443{SIGN}"),
        format!("{ORIGIN}/api/v1/signer/./sign/%64sse"),
        format!("{ORIGIN}/api/v1/x/../signer/sign/dsse?again#again"),
    ];
    for round in 0..ROUNDS {
        let token = app.mint.token(|_| ());
        let proofs = spellings.each_ref().map(|htu| {
            app.mint.proof("POST", SIGN, &token, |proof| {
                proof.claim("jti", format!("one-and-the-same-{round}"));
                proof.claim("htu", htu.as_str());
            })
        });
        let uses = proofs.iter().cycle().take(AT_ONCE);
        let uses = uses.map(|proof| to_sign(&app, &token, proof)).collect();
        one_passed(&together(&app, uses).await);
    }
}

#[actix::test]
async fn a_proof_is_for_its_endpoint_and_not_spent_at_another() {
    let app = app(4, 4).await;
    let token = app.mint.token(|_| ());
    let proof = app.signing_proof(&token);
    let half = || (0..AT_ONCE / 2).map(|_| ());
    let uses = half()
        .map(|()| to_sign(&app, &token, &proof))
        .chain(half().map(|()| to_look_up(&app, &token, &proof)))
        .collect();
    let answers = together(&app, uses).await;
    let (signed, looked_up) = answers.split_at(AT_ONCE / 2);
    one_passed(signed);
    for answer in looked_up {
        let problem = answer.refused(401, "invalid_dpop_proof", "authentication");
        assert!(!problem["detail"].as_str().unwrap().contains("used before"));
    }
    // The wrong endpoint first.
    let proof = [app.signing_proof(&token)];
    let answer = app
        .referrers("")
        .raw_token(token.clone())
        .proofs(&proof)
        .send()
        .await;
    answer.refused(401, "invalid_dpop_proof", "authentication");
    app.sign().raw_token(token).proofs(&proof).send().await.ok();
}

#[actix::test]
async fn a_proof_is_good_for_one_request_whatever_became_of_it() {
    let app = TestApp::start().await;
    let token = app.mint.token(|_| ());
    let proof = [app.signing_proof(&token)];
    let call = || app.sign().raw_token(token.clone()).proofs(&proof);
    // Spent on a request that fails later: no body is read before the proof is spent (contract §2.6).
    let answer = call().bytes("{").send().await;
    answer.refused(400, "invalid_json", "body");
    call()
        .send()
        .await
        .refused(401, "invalid_dpop_proof", "authentication");
}

#[actix::test]
async fn a_full_share_of_the_store_refuses_its_tenant_alone_and_forgets_nothing() {
    // One tenant holds at most an eighth of its shard's part (contract §3); 1024 is the least capacity.
    for (shards, share) in [(1, 128), (4, 32)] {
        println!("{shards} shards");
        let app = TestApp::with(&format!(
            "auth.dpop.replay_capacity = 1024\nstate.shards = {shards}"
        ))
        .await;
        let token = app.mint.token(|_| ());
        let look_up = |proof: &str| {
            let call = app.referrers("").raw_token(token.clone());
            call.proofs(&[proof.to_owned()]).send()
        };
        let proofs: Vec<String> = (0..share)
            .map(|_| app.mint.proof("GET", REFERRERS, &token, |_| ()))
            .collect();
        for proof in &proofs {
            look_up(proof).await.refused(400, "invalid_request", "shape");
        }
        for _ in 0..3 {
            let answer = app.sign().send().await;
            let problem = answer.refused(503, "overloaded", "authentication");
            assert_eq!(problem["retryable"], Value::Bool(true));
            assert!(answer.header("retry-after").is_some());
        }
        // Whoever hopes that an old id made room for a new one.
        for proof in [&proofs[0], &proofs[share - 1]] {
            look_up(proof)
                .await
                .refused(401, "invalid_dpop_proof", "authentication");
        }
        for tenant in ["other", "another", "one-more", "the-last"] {
            app.sign().tenant(tenant, [10, 10, 1, 1000]).send().await.ok();
        }
    }
}

#[actix::test]
async fn tenants_are_served_by_every_shard_and_a_drain_ends_all_of_them() {
    for shards in [1, 4, 8] {
        let mut app = app(2, shards).await;
        for n in 0..16 {
            let call = app.sign().tenant(&format!("tenant-{n}"), [1, 1, 1, 1000]);
            call.send().await.ok();
            // Its quota is on its shard and nowhere else.
            let call = app.sign().tenant(&format!("tenant-{n}"), [1, 1, 1, 1000]);
            call.send().await.refused(429, "rate_limited", "quota");
        }
        let service = app.service.take().unwrap();
        assert_eq!(drain(service, Duration::from_secs(20)).await, 0);
        assert_eq!(app.audit().last().unwrap()["what"], "stopped");
    }
}
