//! What callers send never reaches logs, answers or the trail, but for what the contract records.

use openssl::sha::sha256;
use serde_json::{Value, json};

use crate::support::{Answer, Child, World, b64};

const CANARY: &str = "canary9f3e71";

/// A request with a canary in everything that a caller controls and the contract does not record.
async fn sing(world: &World, child: &Child) -> Vec<Answer> {
    let token = world
        .mint
        .token(|token| token.claim("jti", format!("{CANARY}-token")));
    let base = || {
        let call = world.sign().raw_token(token.clone());
        let call = call.proof(|proof| {
            let jti = format!("{CANARY}-{}", proof.claims["jti"].as_str().unwrap());
            proof.claim("jti", jti);
            proof.claim("extra", CANARY);
        });
        let call = call.poe(|poe| {
            let jti = format!("{CANARY}-{}", poe.claims["jti"].as_str().unwrap());
            poe.claim("jti", jti);
        });
        let call = call
            .field("user-agent", CANARY)
            .field("cookie", format!("session={CANARY}"));
        let call = call
            .field("x-forwarded-for", CANARY)
            .field("referer", format!("https://{CANARY}.example/"));
        call.json(|body| {
            body["predicate"] = json!({ CANARY: CANARY, "deep": [{ "x": CANARY }] });
            body["subject"][0]["name"] = json!(CANARY);
            body["subject"][0]["annotations"] = json!({ "note": CANARY });
        })
    };
    let spoil = |text: &str| {
        String::from_utf8(base().sent_body())
            .unwrap()
            .replace(r#""predicate":"#, text)
    };
    let long = format!("x-{CANARY}/{CANARY}");
    let calls = vec![
        base(),
        base().option("signingMode", "keyless"),
        base().option("dryRun", true),
        base().option("signingMode", CANARY),
        base().option("keyId", CANARY),
        base().option("keyId", "../canary9f3e71"),
        base().json(|body| body["scannerImageDigest"] = json!(CANARY)),
        base().json(|body| body["subject"][0]["digest"] = json!({ "sha256": CANARY })),
        base().json(|body| body["subject"][0]["digest"] = json!({ "sha256": 1, CANARY: 1 })),
        base().json(|body| body["subject"][0]["annotations"] = json!({ "stella.ops/x": CANARY })),
        base().json(|body| body["predicate"] = json!(CANARY)),
        base().json(|body| body[&long] = json!(CANARY)),
        base().json(|body| body["predicateType"] = json!(format!("https://{CANARY}.example/v1"))),
        base().json(|body| body["poe"]["value"] = json!(CANARY)),
        base().json(|body| body["poe"]["format"] = json!(CANARY)),
        base().bytes(spoil(r#""predicate":canary9f3e71"#)),
        base().bytes(CANARY),
        base().poe(|poe| poe.claim("tid", format!("{CANARY}-tenant"))),
        base().poe(|poe| poe.header["kid"] = json!(CANARY)),
        base().poe(|poe| poe.claim("plan", json!([CANARY]))),
        base().token(|token| token.header["kid"] = json!(CANARY)),
        base().token(|token| token.header["alg"] = json!(CANARY)),
        base().token(|token| token.claim("aud", CANARY)),
        base().token(|token| token.claim("scope", CANARY)),
        base().authorization(&[format!("DPoP {CANARY}")]),
        base().authorization(&[format!("{CANARY} {CANARY}")]),
        base().proofs(&[CANARY.to_owned()]),
        base().proof(|proof| proof.claim("htu", format!("https://{CANARY}.example/"))),
        base().proof(|proof| proof.claim("ath", b64(sha256(CANARY.as_bytes())))),
        base().content_type(Some("text/canary9f3e71")),
        base().field("content-encoding", CANARY),
        base().field("x-correlation-id", format!("{CANARY}/{CANARY}")),
        base().field("traceparent", CANARY),
        base().field("idempotency-key", CANARY),
        world.referrers(&format!("digest={CANARY}")),
        world.referrers(&format!("digest={}&repository={CANARY}", world.mint.scanner)),
        world.referrers(&format!("{CANARY}={CANARY}")),
        crate::support::Call::get(world, &format!("/{CANARY}"), CANARY),
    ];
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.try_send(&child.base).await.unwrap());
    }
    answers
}

#[actix::test]
async fn no_canary_comes_out() {
    let world = World::new("").await;
    let mut child = Child::serve(&world, "canaries");
    let answers = sing(&world, &child).await;
    let signed = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(signed >= 3, "{signed} of the requests were good");
    for (index, answer) in answers.iter().enumerate() {
        // What was signed is in the answer; that is what it is for.
        if answer.status != 200 {
            assert!(!answer.text().contains(CANARY), "{index}: {}", answer.text());
            answer.common();
        }
        for (name, value) in &answer.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            assert!(!value.contains(CANARY), "{index}: {name}: {value}");
        }
    }
    child.terminate();
    crate::support::until("the end", || child.ended()).await;
    let log = child.log();
    assert!(!log.contains(CANARY), "{log}");
    let mut requests = 0;
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        for name in ["ts", "level", "msg"] {
            assert!(line[name].is_string(), "{line}");
        }
        if line["msg"] == "request" {
            requests += 1;
            assert!(line["correlationId"].is_string(), "{line}");
            for name in ["route", "method", "status", "code"] {
                assert!(!line[name].is_null(), "{name}: {line}");
            }
        }
    }
    assert_eq!(requests, answers.len());
    let logged: Vec<&str> = answers
        .iter()
        .map(|answer| answer.header("x-correlation-id").unwrap())
        .collect();
    assert!(
        logged.iter().all(|id| log.contains(*id)),
        "every answer can be found in the log"
    );

    for record in world.audit() {
        // The predicate type is recorded; nothing else of this.
        let mut record = record;
        record["predicateType"] = json!(null);
        assert!(!record.to_string().contains(CANARY), "{record}");
    }
    for secret in [crate::support::CREDENTIAL, "PRIVATE KEY"] {
        assert!(!log.contains(secret));
    }
}
