//! Who is calling: what the tables of `attacks` do not say, because it takes several requests or a look at the answer.

use crate::support::{Answer, ORIGIN, TestApp};

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
    // Another spelling of the same URL is no other use.
    let jti = "one-and-the-same";
    let first = app
        .sign()
        .raw_token(token.clone())
        .proof(move |p| p.claim("jti", jti));
    first.send().await.ok();
    let again = app.sign().raw_token(token.clone()).proof(move |p| {
        p.claim("jti", jti);
        p.claim("htu", format!("{ORIGIN}/api/v1/signer/./sign/dsse"));
    });
    again
        .send()
        .await
        .refused(401, "invalid_dpop_proof", "authentication");
}

#[actix::test]
async fn of_many_requests_with_one_proof_at_once_one_passes() {
    let app = TestApp::with("server.workers = 4").await;
    let token = app.mint.token(|_| ());
    let proof = [app.signing_proof(&token)];
    let call = || app.sign().raw_token(token.clone()).proofs(&proof).send();
    let answers = futures_util::future::join_all((0..24).map(|_| call())).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(passed, 1);
    let refused = answers.iter().filter(|answer| answer.status != 200);
    refused.for_each(|answer| {
        answer.refused(401, "invalid_dpop_proof", "authentication");
    });
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
