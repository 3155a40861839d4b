//! Whether this service has signed an envelope.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::attacks::case::Shifted;
use crate::support::{Answer, Call, KEY, OTHER_KEY, TIMESTAMPS, TestApp, VERIFY, World, b64, now, p256};

fn asking<'a>(world: &'a World, body: &Value) -> Call<'a> {
    let body = body.to_string();
    Call::new(world, Method::POST, VERIFY)
        .content_type(Some("application/json"))
        .bytes(body)
}

async fn ask(world: &World, body: &Value) -> Value {
    let answer = asking(world, body).send().await;
    answer.rate();
    let told = answer.ok();
    let ok = told["checks"]
        .as_array()
        .unwrap()
        .iter()
        .all(|check| check["ok"] == true);
    assert_eq!(told["verified"], ok, "{told}");
    assert_eq!(told["statement"].is_null(), !ok, "{told}");
    told
}

/// Names of the checks that failed.
async fn failing(world: &World, body: &Value) -> Vec<String> {
    let told = ask(world, body).await;
    let checks = told["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|check| check["ok"] == false);
    failed
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect()
}

async fn signed(app: &TestApp, mode: &str) -> Value {
    let call = app
        .sign()
        .option("signingMode", mode)
        .option("returnBundle", "sigstore")
        .json(|body| body["predicate"] = json!({ "finding": "parrot" }));
    call.send().await.ok()["bundle"].clone()
}

fn public_pem(world: &World, key: &str) -> String {
    let pem = std::fs::read(world.folder.path().join(format!("{key}.pem"))).unwrap();
    let key = openssl::pkey::PKey::private_key_from_pem(&pem).unwrap();
    String::from_utf8(key.public_key_to_pem().unwrap()).unwrap()
}

#[actix::test]
async fn what_this_service_has_signed_is_verified() {
    let app = TestApp::start().await;
    let keyful = signed(&app, "kms").await;
    let digest = format!("sha256:{}", "ab".repeat(32));
    for body in [
        json!({ "dsse": keyful["dsse"] }),
        json!({ "dsse": keyful["dsse"], "subjectDigest": digest }),
        json!({ "dsse": keyful["dsse"], "publicKey": public_pem(&app, KEY) }),
        json!({ "sigstoreBundle": keyful["sigstoreBundle"] }),
        json!({ "sigstoreBundle": signed(&app, "keyless").await["sigstoreBundle"], "subjectDigest": digest }),
    ] {
        let told = ask(&app, &body).await;
        assert_eq!(told["verified"], true, "{told}");
        assert_eq!(told["statement"]["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(told["statement"]["predicate"]["finding"], "parrot");
    }
}

#[actix::test]
async fn what_it_has_not_signed_is_not() {
    let app = TestApp::start().await;
    let keyful = signed(&app, "kms").await;
    let keyless = signed(&app, "keyless").await;
    let dsse = |edit: fn(&mut Value)| {
        let mut dsse = keyful["dsse"].clone();
        edit(&mut dsse);
        json!({ "dsse": dsse })
    };
    let altered = STANDARD.encode(
        String::from_utf8(
            STANDARD
                .decode(keyful["dsse"]["payload"].as_str().unwrap())
                .unwrap(),
        )
        .unwrap()
        .replace("parrot", "canary"),
    );
    let mut other_payload = json!({ "dsse": keyful["dsse"] });
    other_payload["dsse"]["payload"] = json!(altered);
    let mut swapped = json!({ "sigstoreBundle": keyless["sigstoreBundle"] });
    swapped["sigstoreBundle"]["dsseEnvelope"] = keyful["dsse"].clone();
    let cases = [
        (other_payload, vec!["signature"]),
        (
            dsse(|dsse| dsse["payloadType"] = json!("application/json")),
            vec!["payloadType", "signature"],
        ),
        (dsse(|dsse| dsse["signatures"] = json!([])), vec!["envelope"]),
        (
            dsse(|dsse| {
                let one = dsse["signatures"][0].clone();
                dsse["signatures"] = json!([one, one]);
            }),
            vec!["envelope"],
        ),
        (
            dsse(|dsse| dsse["signatures"][0]["sig"] = json!("AAAA")),
            vec!["signature"],
        ),
        (swapped, vec!["signature"]),
        (json!({ "dsse": keyless["dsse"] }), vec!["signature"]),
        (
            json!({ "dsse": keyful["dsse"], "subjectDigest": format!("sha256:{}", "cd".repeat(32)) }),
            vec!["subjectDigest"],
        ),
        // Another key of the service's own: not the one that was meant.
        (
            json!({ "dsse": keyful["dsse"], "publicKey": public_pem(&app, OTHER_KEY) }),
            vec!["publicKey", "signature"],
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(failing(&app, &body).await, expected, "{body}");
    }
}

/// Whoever sends an envelope may send the key that made it, too: that proves nothing.
#[actix::test]
async fn a_key_that_comes_along_is_not_trusted() {
    let app = TestApp::start().await;
    let keyful = signed(&app, "kms").await;
    let payload = STANDARD
        .decode(keyful["dsse"]["payload"].as_str().unwrap())
        .unwrap();
    let forger = p256();
    // DSSE's pre-authentication encoding, `protocol.md`.
    let pae = [
        format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len()).as_bytes(),
        &payload,
    ]
    .concat();
    let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &forger).unwrap();
    let signature = STANDARD.encode(signer.sign_oneshot_to_vec(&pae).unwrap());
    let public = String::from_utf8(forger.public_key_to_pem().unwrap()).unwrap();
    let mut body = json!({ "dsse": keyful["dsse"], "publicKey": public });
    body["dsse"]["signatures"][0]["sig"] = json!(signature);
    let told = ask(&app, &body).await;
    assert_eq!(told["verified"], false);
    let check = |name: &str| {
        let checks = told["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap().clone()
    };
    assert_eq!(check("publicKey")["ok"], true);
    assert!(
        check("publicKey")["detail"]
            .as_str()
            .unwrap()
            .contains("does not say whose")
    );
    assert_eq!(check("key")["ok"], false);
    body.as_object_mut().unwrap().remove("publicKey");
    assert_eq!(failing(&app, &body).await, ["signature"]);
}

/// Seconds after which a certificate of ten minutes has ended.
const LATER: i64 = 900;

/// As [`failing`], with a token and a proof of that time.
async fn failing_later(world: &World, body: &Value) -> Vec<String> {
    let call = asking(world, body)
        .token(|token| {
            token.claim("iat", now() + LATER);
            token.claim("nbf", now() + LATER);
            token.claim("exp", now() + LATER + 60);
        })
        .proof(|proof| proof.claim("iat", now() + LATER));
    let told = call.send().await.ok();
    let checks = told["checks"].as_array().unwrap().clone();
    assert_eq!(told["verified"], checks.iter().all(|check| check["ok"] == true));
    let failed = checks.iter().filter(|check| check["ok"] == false);
    failed
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect()
}

#[actix::test]
async fn a_timestamp_outlives_the_certificate() {
    let clock = Arc::new(Shifted::default());
    let world = World::new(TIMESTAMPS).await;
    let app = TestApp::at(world, Arc::clone(&clock) as _).await;
    let with = signed(&app, "keyless").await["sigstoreBundle"].clone();
    let second = signed(&app, "keyless").await["sigstoreBundle"].clone();
    const DATA: &str = "timestampVerificationData";
    let mut without = with.clone();
    without["verificationMaterial"]
        .as_object_mut()
        .unwrap()
        .remove(DATA);
    let mut borrowed = with.clone();
    borrowed["verificationMaterial"][DATA] = second["verificationMaterial"][DATA].clone();
    let body = |bundle: &Value| json!({ "sigstoreBundle": bundle });
    for fresh in [&with, &without] {
        assert!(failing(&app, &body(fresh)).await.is_empty());
    }
    assert_eq!(failing(&app, &body(&borrowed)).await, ["timestamps"]);
    clock.put(LATER);
    assert!(failing_later(&app, &body(&with)).await.is_empty());
    assert_eq!(
        failing_later(&app, &body(&without)).await,
        ["certificateValidity"]
    );
    assert_eq!(
        failing_later(&app, &body(&borrowed)).await,
        ["certificateValidity", "timestamps"]
    );
}

#[actix::test]
async fn questions_are_authenticated_strict_and_rated() {
    let app = TestApp::start().await;
    let keyful = signed(&app, "kms").await;
    let body = json!({ "dsse": keyful["dsse"] });
    let refuse = |answer: Answer, status, code: &str, stage: &str| {
        answer.refused(status, code, stage);
    };
    let sends = |change: fn(Call<'_>) -> Call<'_>| change(asking(&app, &body)).send();
    refuse(
        sends(|call| call.anonymous()).await,
        401,
        "invalid_token",
        "authentication",
    );
    refuse(
        sends(|call| call.proofs(&[])).await,
        401,
        "invalid_dpop_proof",
        "authentication",
    );
    refuse(
        sends(|call| call.token(|token| token.claim("scope", "signer.sign"))).await,
        403,
        "insufficient_scope",
        "authentication",
    );
    refuse(
        sends(|call| call.content_type(Some("text/plain"))).await,
        415,
        "unsupported_media_type",
        "http",
    );
    refuse(
        sends(|call| call.proof(|proof| proof.claim("body_sha256", b64([0; 32])))).await,
        401,
        "invalid_dpop_proof",
        "body",
    );
    let get = Call::get(&app, VERIFY, "").send().await;
    assert_eq!(get.status, 405);
    for (bad, code) in [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        (r#"{"dsse":{},"dsse":{}}"#, "invalid_json"),
        ("{}", "invalid_request"),
        (r#"{"dsse":{}}"#, "invalid_request"),
        (r#"{"sigstoreBundle":{}}"#, "invalid_request"),
        (
            &format!(r#"{{"dsse":{},"trust":"me"}}"#, keyful["dsse"]),
            "invalid_request",
        ),
        (
            &format!(r#"{{"dsse":{},"subjectDigest":"x"}}"#, keyful["dsse"]),
            "invalid_digest",
        ),
    ] {
        let answer = asking(&app, &body).bytes(bad).send().await;
        let problem = answer.json();
        assert_eq!(
            (answer.status, &problem["code"]),
            (400, &json!(code)),
            "{bad}: {problem}"
        );
    }
    let mut unknown = keyful["sigstoreBundle"].clone();
    unknown["verificationMaterial"]["extra"] = json!(1);
    let answer = asking(&app, &json!({ "sigstoreBundle": unknown })).send().await;
    answer.refused(400, "invalid_request", "shape");

    let slow = TestApp::with("release.verify_qps = 1\nrelease.verify_burst = 1").await;
    asking(&slow, &body).send().await.ok();
    asking(&slow, &body)
        .send()
        .await
        .refused(429, "rate_limited", "quota");
}
