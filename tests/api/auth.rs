//! Who is calling: what the tables of `attacks` do not say, because it takes several requests or a look at the answer.

use crate::support::{Answer, TestApp};

#[actix::test]
async fn nonces_are_asked_for_and_accepted() {
    let app = TestApp::with("auth.dpop.nonce = \"required\"").await;
    let answer = app.sign().send().await;
    answer.refused(401, "use_dpop_nonce", "authentication");
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();
    let with = |nonce: String| app.sign().proof(move |proof| proof.claim("nonce", nonce));
    with(nonce.clone()).send().await.ok();
    let (rest, last) = nonce.split_at(nonce.len() - 1);
    let another = if last == "A" { "B" } else { "A" };
    let answer = with(format!("{rest}{another}")).send().await;
    answer.refused(401, "use_dpop_nonce", "authentication");
    with("made-up".into())
        .send()
        .await
        .refused(401, "use_dpop_nonce", "authentication");
}

/// RFC 9449 §8.2: whoever uses nonces is told the next one along with the answer, whatever it is; nobody else is.
#[actix::test]
async fn nonces_are_renewed_before_they_run_out() {
    let app = TestApp::with("auth.dpop.nonce = \"required\"").await;
    let mut nonce = app.sign().send().await.header("dpop-nonce").unwrap().to_owned();
    let with = |nonce: &str| {
        let nonce = nonce.to_owned();
        app.sign().proof(move |proof| proof.claim("nonce", nonce))
    };
    for _ in 0..3 {
        let answer = with(&nonce).send().await;
        answer.ok();
        nonce = answer.header("dpop-nonce").unwrap().to_owned();
    }
    let refused = with(&nonce).json(|body| drop(body.as_object_mut().unwrap().remove("poe")));
    let answer = refused.send().await;
    answer.refused(403, "entitlement_required", "entitlement");
    assert!(answer.header("dpop-nonce").is_some());
    let answer = with(&nonce).bytes("{").send().await;
    answer.refused(400, "invalid_json", "body");
    assert!(answer.header("dpop-nonce").is_some());

    let app = TestApp::start().await;
    let answer = app.sign().send().await;
    answer.ok();
    assert_eq!(answer.header("dpop-nonce"), None);
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
