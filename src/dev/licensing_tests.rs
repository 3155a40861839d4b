use super::*;

async fn introspected(licensing: &Licensing, credential: &str, token: &str) -> (u16, Value) {
    let answer = reqwest::Client::new()
        .post(licensing.introspection_url())
        .bearer_auth(credential)
        .form(&[("token", token)])
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[actix::test]
async fn issues_a_poe_that_is_active_until_its_licence_is_revoked() {
    let licensing = start().await.unwrap();
    let credential = licensing.credential.reveal();
    let issued: Value = reqwest::Client::new()
        .post(format!("{}/poe", licensing.running.base_url))
        .bearer_auth(credential)
        .json(&json!({ "tid": "acme", "inst": "inst-1" }))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let poe = issued["value"].as_str().unwrap();
    let jwks: Value = reqwest::get(licensing.jwks_uri())
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let token = Jws::parse(poe, Use::Token).unwrap();
    assert_eq!(token.typ(), "poe+jwt");
    let key = find_key(&jwks, token.kid().unwrap()).unwrap();
    assert!(token.verify(&key));

    let (status, active) = introspected(&licensing, credential, poe).await;
    assert_eq!((status, &active["active"]), (200, &json!(true)));
    for name in [
        "iss", "sub", "lic", "tid", "inst", "plan", "exp", "nbf", "iat", "jti",
    ] {
        assert_eq!(active.get(name), token.claims.get(name), "{name}");
    }
    assert_eq!(
        active["limits"],
        json!({ "qps": 100, "burst": 200, "concurrency": 16, "maxArtifactBytes": 104857600 })
    );
    assert_eq!(
        active["features"],
        json!(["mode:keyless", "mode:kms", "predicate:*"])
    );

    let url = issued["revokeUrl"].as_str().unwrap();
    let answer = reqwest::Client::new().post(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (status, inactive) = introspected(&licensing, credential, poe).await;
    assert_eq!((status, inactive), (200, json!({ "active": false })));
    // Another licence is untouched.
    let other = licensing.issue("acme", "inst-1").unwrap();
    let (_, active) = introspected(&licensing, credential, &other.poe).await;
    assert_eq!(active["active"], true);
}

#[actix::test]
async fn asks_for_a_credential_and_knows_its_own_tokens_only() {
    let licensing = start().await.unwrap();
    let credential = licensing.credential.reveal().to_owned();
    let issued = licensing.issue("acme", "inst-1").unwrap();
    assert_eq!(introspected(&licensing, "wrong", &issued.poe).await.0, 401);
    let foreign = start().await.unwrap().issue("acme", "inst-1").unwrap();
    for token in ["", "x", foreign.poe.as_str(), &issued.poe[..issued.poe.len() - 4]] {
        let (status, answer) = introspected(&licensing, &credential, token).await;
        assert_eq!((status, answer), (200, json!({ "active": false })));
    }
    let client = reqwest::Client::new();
    let base = &licensing.running.base_url;
    let poe = client
        .post(format!("{base}/poe"))
        .json(&json!({ "tid": "a", "inst": "b" }));
    assert_eq!(poe.send().await.unwrap().status(), 401);
}

#[actix::test]
async fn revoking_takes_the_secret_of_that_licence_or_the_credential() {
    let licensing = start().await.unwrap();
    let credential = licensing.credential.reveal().to_owned();
    let one = licensing.issue("acme", "inst-1").unwrap();
    let two = licensing.issue("acme", "inst-2").unwrap();
    let client = reqwest::Client::new();
    let crossed = one.revoke_url.replace(&one.licence, &two.licence);
    let plain = one.revoke_url.split_once("&key=").unwrap().0;
    for url in [crossed.as_str(), plain] {
        assert_eq!(client.post(url).send().await.unwrap().status(), 401, "{url}");
    }
    assert_eq!(
        introspected(&licensing, &credential, &one.poe).await.1["active"],
        true
    );
    let answer = client.post(plain).bearer_auth(&credential).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(
        introspected(&licensing, &credential, &one.poe).await.1["active"],
        false
    );
    assert_eq!(
        introspected(&licensing, &credential, &two.poe).await.1["active"],
        true
    );
}
