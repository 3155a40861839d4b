//! Nonces of the service's own (RFC 9449 §8, §9), and what a thief can do with something stolen a while ago.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};

use super::case::{Case, Change, NONCE, PROOF, Shifted, TOKEN, Target, call, proof, token};
use super::{keys, run_at};
use crate::support::{Call, TestApp, World, b64, now, unb64};

pub(crate) fn names() -> Vec<String> {
    let cases = any().into_iter().chain(optional()).chain(required());
    let cases = cases.chain(later_nonces()).chain(later_replays());
    cases.map(|case| case.name).collect()
}

/// A service of that mode, with a nonce of it.
async fn start(mode: &str) -> (TestApp, Arc<Shifted>, Change) {
    let changes = format!("auth.jwks_file = \"kinds.json\"\nauth.dpop.nonce = \"{mode}\"");
    let world = World::new(&changes).await;
    world.write("kinds.json", keys::authority(&world).to_string());
    let clock = Arc::new(Shifted::default());
    let app = TestApp::at(world, Arc::clone(&clock) as _).await;
    // A challenge brings one, where there are any.
    let answer = app.sign().anonymous().send().await;
    let nonce = answer.header("dpop-nonce").map(str::to_owned);
    assert_eq!(nonce.is_none(), mode == "off");
    let good: Change = Rc::new(move |call: Call<'_>| {
        let nonce = nonce.clone();
        call.proof(move |proof| proof.claim("nonce", nonce))
    });
    (app, clock, good)
}

async fn attack(mode: &str, cases: Vec<Case>) {
    let (app, clock, good) = start(mode).await;
    let target = Target {
        world: &app,
        base: app.base(),
        clock: Some(&clock),
        good: &good,
    };
    run_at("nonce", &target, cases).await;
}

#[actix::test]
async fn nonces_that_are_optional() {
    attack("optional", any().into_iter().chain(optional()).collect()).await;
}

#[actix::test]
async fn nonces_that_are_required() {
    attack("required", required()).await;
}

#[actix::test]
async fn what_was_stolen_a_while_ago() {
    attack("required", later_nonces()).await;
    attack("off", later_replays()).await;
}

/// A nonce with this value, `null` included.
fn nonce(name: &str, value: Value) -> Case {
    proof(name, move |proof| proof.claims["nonce"] = value.clone()).expect(NONCE)
}

/// The good nonce changed.
fn changed(name: &str, edit: fn(String) -> String) -> Case {
    proof(name, move |proof| {
        let good = proof.claims["nonce"].as_str().unwrap().to_owned();
        proof.claim("nonce", edit(good));
    })
    .expect(NONCE)
}

fn clock() -> f64 {
    chrono::Utc::now().timestamp_millis() as f64 / 1000.0
}

fn any() -> Vec<Case> {
    let bytes = |name: &str, edit: fn(&mut Vec<u8>)| {
        proof(name, move |proof| {
            let mut bytes = unb64(proof.claims["nonce"].as_str().unwrap());
            edit(&mut bytes);
            proof.claim("nonce", b64(bytes));
        })
        .expect(NONCE)
    };
    let at = |name: &str, seconds: f64| proof(name, move |proof| proof.claim("iat", clock() + seconds));
    vec![
        call("a proof with a nonce", |call| call).accepted(),
        call("a nonce for the second time", |call| call).accepted(),
        nonce("a nonce made up", json!("made-up")),
        nonce("an empty nonce", json!("")),
        nonce("a nonce of another service", json!(b64([7; 24]))),
        nonce("a nonce as a number", json!(1)).expect(PROOF),
        nonce("a nonce as a list", json!(["a"])).expect(PROOF),
        nonce("a null nonce", Value::Null).expect(PROOF),
        changed("a nonce cut", |nonce| nonce[..31].to_owned()),
        changed("a nonce with something behind it", |nonce| format!("{nonce}A")),
        changed("a nonce padded", |nonce| format!("{nonce}=")),
        changed("a nonce in upper case", |nonce| nonce.to_uppercase()),
        changed("a nonce twice in one", |nonce| format!("{nonce}{nonce}")),
        bytes("a nonce for the next minute", |bytes| {
            bytes[7] = bytes[7].wrapping_add(1)
        }),
        bytes("a nonce for the last minute", |bytes| {
            bytes[7] = bytes[7].wrapping_sub(1)
        }),
        bytes("a nonce with a bit flipped", |bytes| bytes[23] ^= 1),
        bytes("a nonce without tag", |bytes| bytes.truncate(8)),
        bytes("a nonce with a tag of zeros", |bytes| bytes[8..].fill(0)),
        at("a proof of 59 s ago with a nonce", -59.0).timely().accepted(),
        at("a proof of 61 s ago with a nonce", -61.0),
        at("a proof of an hour ago with a nonce", -3600.0),
        at("a proof 30 s ahead with a nonce", 30.0).timely().accepted(),
        at("a proof 31 s ahead with a nonce", 31.0).timely(),
        at("a proof an hour ahead with a nonce", 3600.0),
        proof("a nonce twice in the proof", |proof| {
            proof.claims_text(|claims| claims.replacen('{', r#"{"nonce":"x","#, 1));
        }),
    ]
}

/// Without a nonce a proof must be younger than the store that would know of its use.
fn optional() -> Vec<Case> {
    let bare = |name: &str, seconds: f64| {
        proof(name, move |proof| {
            proof.claim("nonce", Value::Null);
            proof.claim("iat", clock() + seconds);
        })
    };
    vec![
        bare("a proof without nonce, of before the start", -20.0).expect(NONCE),
        bare("a proof without nonce, perhaps of before the start", 0.0).expect(NONCE),
        bare("a proof without nonce, surely of after the start", 30.0)
            .timely()
            .accepted(),
    ]
}

fn required() -> Vec<Case> {
    vec![
        proof("no nonce where one is required", |proof| {
            proof.claim("nonce", Value::Null);
        })
        .expect(NONCE),
        proof("no nonce where one is required, from the future", |proof| {
            proof.claim("nonce", Value::Null);
            proof.claim("iat", now() + 30);
        })
        .expect(NONCE),
        proof("a required nonce in the header", |proof| {
            let nonce = proof.claims["nonce"].clone();
            proof.claim("nonce", Value::Null);
            proof.header["nonce"] = nonce;
        })
        .expect(NONCE),
        call("a required nonce as a field", |call| {
            call.field("dpop-nonce", "x").proof(|proof| {
                proof.claim("nonce", Value::Null);
            })
        })
        .expect(NONCE),
    ]
}

/// A nonce that has grown old, in a proof that has not.
fn later_nonces() -> Vec<Case> {
    let fresh = |name: &str, seconds: i64| {
        call(name, move |call| {
            call.token(move |token| {
                token.claim("iat", now() - 200);
                token.claim("nbf", now() - 200);
            })
            .proof(move |proof| proof.claim("iat", now() + seconds))
        })
        .later(seconds)
    };
    vec![
        fresh("a nonce of a minute ago", 60).accepted(),
        fresh("a nonce of two minutes ago", 120).expect(NONCE),
        fresh("a nonce of four minutes ago", 240).expect(NONCE),
        fresh("a nonce of the next minute", -61).expect(NONCE),
    ]
}

/// The very same request a while later.
fn later_replays() -> Vec<Case> {
    let ahead = |name: &str, seconds: i64| {
        call(name, |call| call.proof(|proof| proof.claim("iat", now() + 30)))
            .again()
            .expect(PROOF)
            .later(seconds)
    };
    let short = |name: &str, seconds: i64| {
        token(name, |token| token.claim("exp", now() + 10))
            .again()
            .later(seconds)
    };
    vec![
        ahead("a proof again after half a minute", 30),
        ahead("a proof again after a minute", 61),
        ahead("a proof again after a minute and a half, in its last second", 88),
        ahead("a proof again after two minutes", 120),
        call("a proof again after 59 s", |call| call)
            .again()
            .expect(PROOF)
            .later(59),
        short("a token again, in the last seconds of the skew", 37).expect(PROOF),
        short("a token again, as soon as it has expired", 41).expect(TOKEN),
        short("a token again, long after it has expired", 400).expect(TOKEN),
    ]
}
