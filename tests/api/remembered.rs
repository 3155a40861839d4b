//! Remembered tokens, seen from outside: a verification is saved, and what the Authority takes back is over.

use std::time::Duration;

use openssl::pkey::{PKey, Private};

use crate::support::{Answer, Mint, TestApp, World, p256};

/// A service that looks at the Authority's keys again after a moment, not after minutes.
async fn attentive() -> TestApp {
    let world = World::new("server.workers = 2").await;
    TestApp::tuned(world, |settings| {
        settings.auth.jwks_refresh = Duration::from_millis(20);
    })
    .await
}

fn publish(app: &TestApp, key: &PKey<Private>, kid: &str) {
    app.write("authority.json", Mint::jwks(key, kid).to_string());
}

async fn present(app: &TestApp, token: &str) -> Answer {
    app.sign().raw_token(token.to_owned()).send().await
}

/// Presents the token again and again, always with a good proof, until the service has seen the new keys.
async fn until_refused(app: &TestApp, token: &str) -> Answer {
    let presenting = async {
        loop {
            let answer = present(app, token).await;
            if answer.status != 200 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let refused = tokio::time::timeout(Duration::from_secs(20), presenting).await;
    refused.expect("the token outlives its key")
}

/// Of `signer_cache_requests_total{cache="token"}`.
async fn recalled(app: &TestApp, result: &str) -> u64 {
    let metrics = app.metrics().await;
    let series = format!(r#"signer_cache_requests_total{{cache="token",result="{result}"}} "#);
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap().parse().unwrap()
}

#[actix::test]
async fn a_token_is_recalled_and_its_proofs_are_not() {
    let app = TestApp::start().await;
    let token = app.mint.token(|_| ());
    for _ in 0..3 {
        present(&app, &token).await.ok();
    }
    assert_eq!(
        (recalled(&app, "hit").await, recalled(&app, "miss").await),
        (2, 1)
    );
    let proof = [app.signing_proof(&token)];
    let again = || app.sign().raw_token(token.clone()).proofs(&proof).send();
    again().await.ok();
    again().await.refused(401, "invalid_dpop_proof", "authentication");
    let thief = app
        .sign()
        .raw_token(token.clone())
        .proof(|proof| proof.key = p256());
    thief
        .send()
        .await
        .refused(401, "invalid_dpop_proof", "authentication");
    assert_eq!(recalled(&app, "miss").await, 1);

    let forgetful = TestApp::with("auth.remembered_tokens = 0").await;
    let token = forgetful.mint.token(|_| ());
    for _ in 0..2 {
        present(&forgetful, &token).await.ok();
    }
    let both = (
        recalled(&forgetful, "hit").await,
        recalled(&forgetful, "miss").await,
    );
    assert_eq!(both, (0, 0));
}

#[actix::test]
async fn a_remembered_token_dies_when_its_key_leaves_the_key_set() {
    let app = attentive().await;
    let (old, new) = (app.mint.token(|_| ()), p256());
    present(&app, &old).await.ok();
    present(&app, &old).await.ok();
    assert!(recalled(&app, "hit").await > 0);
    publish(&app, &new, "authority-2");
    let answer = until_refused(&app, &old).await;
    answer.refused(401, "invalid_token", "authentication");
    let fresh = app.mint.token(|token| {
        token.header["kid"] = "authority-2".into();
        token.key = new.clone();
    });
    present(&app, &fresh).await.ok();
    // For good, on every worker.
    for _ in 0..4 {
        let answer = present(&app, &old).await;
        answer.refused(401, "invalid_token", "authentication");
    }
}

#[actix::test]
async fn a_remembered_token_dies_when_its_key_id_names_another_key() {
    let app = attentive().await;
    let (old, new) = (app.mint.token(|_| ()), p256());
    present(&app, &old).await.ok();
    present(&app, &old).await.ok();
    assert!(recalled(&app, "hit").await > 0);
    publish(&app, &new, "authority-1");
    let answer = until_refused(&app, &old).await;
    answer.refused(401, "invalid_token", "authentication");
    let fresh = app.mint.token(|token| token.key = new.clone());
    for _ in 0..2 {
        present(&app, &fresh).await.ok();
    }
}
