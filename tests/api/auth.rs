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
