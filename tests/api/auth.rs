//! Who is calling: every condition on token and proof, each broken alone.

use openssl::pkey::PKey;
use openssl::sha::sha256;
use serde_json::{Value, json};

use crate::support::{Answer, Call, Draft, ORIGIN, TestApp, b64, p256};

fn ahead(draft: &mut Draft, name: &str, seconds: i64) {
    let at = chrono::Utc::now().timestamp() + seconds;
    draft.claim(name, at);
}

#[actix::test]
async fn a_token_that_breaks_one_condition_is_refused() {
    let app = TestApp::start().await;
    let foreign = p256();
    let thumbprint = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    type Edit<'a> = Box<dyn Fn(&mut Draft) + 'a>;
    let claim = |name: &'static str, value: Value| -> Edit<'_> {
        Box::new(move |draft: &mut Draft| draft.claim(name, value.clone()))
    };
    let header = |name: &'static str, value: Value| -> Edit<'_> {
        Box::new(move |draft: &mut Draft| draft.header[name] = value.clone())
    };
    let cases: Vec<(&str, Edit<'_>)> = vec![
        ("another audience", claim("aud", json!("attestor"))),
        ("no audience", claim("aud", Value::Null)),
        ("an audience in another case", claim("aud", json!("Signer"))),
        ("another issuer", claim("iss", json!("https://authority.test/"))),
        (
            "issuers in a list",
            claim("iss", json!(["https://authority.test"])),
        ),
        ("expired", Box::new(Draft::expired)),
        ("not yet valid", Box::new(|draft| ahead(draft, "nbf", 120))),
        (
            "issued in the future",
            Box::new(|draft| {
                ahead(draft, "iat", 120);
                ahead(draft, "exp", 300);
            }),
        ),
        ("too long a life", Box::new(|draft| ahead(draft, "exp", 601))),
        ("no expiry", claim("exp", Value::Null)),
        ("expiry as text", claim("exp", json!("9999999999"))),
        ("no tenant", claim("tid", Value::Null)),
        ("no installation", claim("inst", Value::Null)),
        ("no subject", claim("sub", Value::Null)),
        ("no client", claim("client_id", Value::Null)),
        ("no id", claim("jti", Value::Null)),
        ("no scope", claim("scope", Value::Null)),
        ("no binding", claim("cnf", Value::Null)),
        ("an empty binding", claim("cnf", json!({}))),
        ("an unknown binding", claim("cnf", json!({ "kid": "1" }))),
        (
            "bound to a certificate too",
            claim("cnf", json!({ "jkt": thumbprint, "x5t#S256": thumbprint })),
        ),
        (
            "bound to a certificate alone",
            claim("cnf", json!({ "x5t#S256": thumbprint })),
        ),
        ("an unknown key", header("kid", json!("authority-2"))),
        ("no algorithm", header("alg", json!("none"))),
        ("another algorithm", header("alg", json!("HS256"))),
        ("an algorithm of another curve", header("alg", json!("ES384"))),
        ("an identity token", header("typ", json!("JWT"))),
        ("a critical extension", header("crit", json!(["exp"]))),
        (
            "a foreign signature",
            Box::new(move |draft: &mut Draft| draft.key = foreign.clone()),
        ),
    ];
    for (what, edit) in cases {
        println!("{what}");
        let answer = app.sign().token(edit).send().await;
        answer.refused(401, "invalid_token", "authentication");
    }
    // RFC 9068 §2.1: with or without the prefix, in any case (RFC 7515 §4.1.9).
    let call = app
        .sign()
        .token(|token| token.header["typ"] = json!("Application/AT+JWT"));
    call.send().await.ok();
    let call = app
        .sign()
        .token(|token| token.claim("aud", vec!["other", "signer"]));
    call.send().await.ok();
}

#[actix::test]
async fn without_credentials_the_challenge_names_no_error() {
    let app = TestApp::start().await;
    // RFC 6750 §3.1; RFC 9449 §7.1.
    for answer in [
        app.sign().anonymous().send().await,
        app.sign().scheme("Basic").send().await,
        app.referrers("").anonymous().send().await,
    ] {
        answer.refused(401, "invalid_token", "authentication");
        let challenge = answer.header("www-authenticate").unwrap();
        assert_eq!(challenge, r#"DPoP algs="ES256 ES384 EdDSA Ed25519 PS256""#);
    }
}

#[actix::test]
async fn a_bound_token_is_no_bearer_token() {
    let app = TestApp::start().await;
    let answer = app.sign().scheme("Bearer").send().await;
    answer.refused(401, "invalid_token", "authentication");
    let answer = app.sign().scheme("Bearer").proofs(&[]).send().await;
    answer.refused(401, "invalid_token", "authentication");
    // Schemes have no case (RFC 9110 §11.1).
    app.sign().scheme("dpop").send().await.ok();
}

#[actix::test]
async fn each_field_occurs_once() {
    let app = TestApp::start().await;
    let token = app.mint.token(|_| ());
    let proof = || app.signing_proof(&token);
    let field = format!("DPoP {token}");
    let call = app.sign().raw_token(token.clone());
    let answer = call.authorization(&[field.clone(), field.clone()]).send().await;
    answer.refused(401, "invalid_token", "authentication");
    let call = app.sign().raw_token(token.clone());
    let answer = call.proofs(&[proof(), proof()]).send().await;
    answer.refused(401, "invalid_dpop_proof", "authentication");
    // One field with a list in it is no proof either.
    let list = format!("{}, {}", proof(), proof());
    let answer = app.sign().raw_token(token.clone()).proofs(&[list]).send().await;
    answer.refused(401, "invalid_dpop_proof", "authentication");
}

/// RFC 9449 §4.3, check by check.
#[actix::test]
async fn a_proof_that_breaks_one_condition_is_refused() {
    let app = TestApp::start().await;
    type Edit = fn(&mut Draft);
    let cases: &[(&str, Edit)] = &[
        ("2: no claims that count", |draft| draft.claim("jti", Value::Null)),
        ("3: no time", |draft| draft.claim("iat", Value::Null)),
        ("3: no method", |draft| draft.claim("htm", Value::Null)),
        ("4: typ", |draft| draft.header["typ"] = json!("jwt")),
        ("5: alg none", |draft| draft.header["alg"] = json!("none")),
        ("5: alg of another key", |draft| {
            draft.header["alg"] = json!("EdDSA")
        }),
        ("6: a signature by another key", |draft| draft.key = p256()),
        ("7: a private key", |draft| {
            draft.header["jwk"]["d"] = json!("AAAA")
        }),
        ("7: no key", |draft| draft.header["jwk"] = Value::Null),
        ("8: method", |draft| draft.claim("htm", "GET")),
        ("8: method in another case", |draft| draft.claim("htm", "post")),
        ("9: another path", |draft| {
            draft.claim("htu", format!("{ORIGIN}/api/v1/signer/trust"))
        }),
        ("9: another origin", |draft| {
            draft.claim("htu", "https://signer.evil/api/v1/signer/sign/dsse");
        }),
        ("9: the listener's own address", |draft| {
            draft.claim("htu", "http://127.0.0.1/api/v1/signer/sign/dsse");
        }),
        ("11: too old", |draft| ahead(draft, "iat", -62)),
        ("11: from the future", |draft| ahead(draft, "iat", 40)),
        ("12a: no ath", |draft| draft.claim("ath", Value::Null)),
        ("12a: the ath of another token", |draft| {
            draft.claim("ath", b64(sha256(b"other")))
        }),
    ];
    for (what, edit) in cases {
        println!("{what}");
        let answer = app.sign().proof(edit).send().await;
        answer.refused(401, "invalid_dpop_proof", "authentication");
    }
    // §4.3 check 9: query and fragment do not count; RFC 3986 §6.2 spellings are one.
    for htu in [
        "HTTPS://SIGNER.TEST:443/api/v1/signer/sign/dsse",
        "https://signer.test/api/v1/signer/sign/dsse?x=1#y",
    ] {
        app.sign()
            .proof(move |proof| proof.claim("htu", htu))
            .send()
            .await
            .ok();
    }
    app.sign()
        .proofs(&[])
        .send()
        .await
        .refused(401, "invalid_dpop_proof", "authentication");
}

#[actix::test]
async fn a_proof_by_a_key_that_the_token_is_not_bound_to_is_refused() {
    let app = TestApp::start().await;
    let thief = p256();
    let call = app.sign().proof(move |proof| {
        let ec = crate::support::Mint::jwks(&thief, "x")["keys"][0].clone();
        proof.header["jwk"] = json!({ "kty": "EC", "crv": "P-256", "x": ec["x"], "y": ec["y"] });
        proof.key = thief;
    });
    // Check 12b; RFC 9449 §7.1 shows this answer, and contract §2.6 calls it so.
    let answer = call.send().await;
    answer.refused(401, "invalid_token", "authentication");
}

#[actix::test]
async fn nonces_are_asked_for_and_accepted() {
    let app = TestApp::with("auth.dpop.nonce = \"required\"").await;
    let answer = app.sign().send().await;
    answer.refused(401, "use_dpop_nonce", "authentication");
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    let with = |nonce: String| app.sign().proof(move |proof| proof.claim("nonce", nonce));
    with(nonce.clone()).send().await.ok();
    let answer = with(format!("{}A", &nonce[..nonce.len() - 1])).send().await;
    answer.refused(401, "use_dpop_nonce", "authentication");
    with("made-up".into())
        .send()
        .await
        .refused(401, "use_dpop_nonce", "authentication");
}

#[actix::test]
async fn a_proof_that_names_the_body_is_good_for_that_body_alone() {
    let app = TestApp::start().await;
    let bound = |call: Call<'_>| -> String { b64(sha256(&call.sent_body())) };
    let poe = app.mint.poe(|_| ());
    let call = || app.sign().json(|body| body["poe"]["value"] = json!(poe));
    let hash = bound(call());
    let good = hash.clone();
    call()
        .proof(move |proof| proof.claim("body_sha256", good))
        .send()
        .await
        .ok();
    let changed = call().json(|body| body["subject"][0]["name"] = json!("another"));
    let answer = changed
        .proof(move |proof| proof.claim("body_sha256", hash))
        .send()
        .await;
    answer.refused(401, "invalid_dpop_proof", "body");

    let strict = TestApp::with("auth.dpop.body_hash = \"required\"").await;
    let answer = strict.sign().send().await;
    answer.refused(401, "invalid_dpop_proof", "authentication");
}

#[actix::test]
async fn scopes_open_their_own_doors() {
    let app = TestApp::start().await;
    let digest = format!("digest={}", app.mint.scanner);
    let verify = |scope: &'static str| app.referrers(&digest).token(|token| token.claim("scope", scope));
    verify("signer.verify").send().await.ok();
    verify("signer.sign").send().await.ok();
    let answer = verify("signer.audit").send().await;
    answer.refused(403, "insufficient_scope", "authentication");
    assert!(has_scope(&answer, "signer.verify"));
    for scope in ["signer.verify", "signer.signs", "SIGNER.SIGN"] {
        let answer = app.sign().token(|token| token.claim("scope", scope)).send().await;
        answer.refused(403, "insufficient_scope", "authentication");
        assert!(has_scope(&answer, "signer.sign"));
    }
}

fn has_scope(answer: &Answer, scope: &str) -> bool {
    let challenge = answer.header("www-authenticate").unwrap();
    challenge.contains(&format!(r#"scope="{scope}""#))
}

#[actix::test]
async fn ed25519_tokens_and_proofs_pass_when_their_keys_are_known() {
    // RFC 8037 §3.1, by a key that this test makes and the service only sees as a JWK.
    let app = TestApp::start().await;
    let key = PKey::generate_ed25519().unwrap();
    let x = b64(key.raw_public_key().unwrap());
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    let jkt = b64(sha256(canonical.as_bytes()));
    let token = app.mint.token(|token| token.claim("cnf", json!({ "jkt": jkt })));
    // RFC 9864 §2.2: `Ed25519` is what `EdDSA` with this curve is called now.
    for alg in ["EdDSA", "Ed25519"] {
        let header = json!({
            "typ": "dpop+jwt", "alg": alg, "jwk": { "kty": "OKP", "crv": "Ed25519", "x": x, "alg": alg },
        });
        let claims = json!({
            "jti": alg, "htm": "POST", "htu": format!("{ORIGIN}{}", crate::support::SIGN),
            "iat": chrono::Utc::now().timestamp(), "ath": b64(sha256(token.as_bytes())),
        });
        let input = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let mut signer = openssl::sign::Signer::new_without_digest(&key).unwrap();
        let signature = b64(signer.sign_oneshot_to_vec(input.as_bytes()).unwrap());
        let proof = format!("{input}.{signature}");
        app.sign()
            .raw_token(token.clone())
            .proofs(&[proof])
            .send()
            .await
            .ok();
    }
}
