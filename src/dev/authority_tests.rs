use openssl::pkey::{PKey, Private};

use super::super::jws::{Jws, find_key, thumbprint};
use super::*;
use crate::adapters::jose::header::Use;
use crate::adapters::jose::jwk::PublicJwk;
use crate::adapters::jose::mint;
use crate::crypto::generate_p256;

async fn authority() -> Authority {
    start(Settings {
        client_id: "scanner".to_owned(),
        tenant: "acme".to_owned(),
        installation: "inst-1".to_owned(),
        scanner_image: Some(format!("sha256:{}", "a".repeat(64))),
        signer_subject: "https://stellaops.local/signer".to_owned(),
    })
    .await
    .unwrap()
}

struct Proof {
    key: PKey<Private>,
    header: Value,
    claims: Value,
}

impl Proof {
    fn new(authority: &Authority) -> Self {
        let key = generate_p256().unwrap();
        Self {
            header: json!({ "typ": "dpop+jwt", "jwk": mint::jwk_of(&key).unwrap() }),
            claims: json!({ "htm": "POST", "htu": authority.token_endpoint(),
                "iat": Utc::now().timestamp(), "jti": Uuid::now_v7().to_string() }),
            key,
        }
    }

    fn text(&self) -> String {
        mint::sign_compact(&self.header, &self.claims, &self.key).unwrap()
    }
}

async fn ask(
    authority: &Authority,
    client: (&str, &str),
    proofs: &[String],
    form: &[(&str, &str)],
) -> (u16, Value) {
    let mut request = reqwest::Client::new()
        .post(authority.token_endpoint())
        .basic_auth(client.0, Some(client.1))
        .form(form);
    for proof in proofs {
        request = request.header("DPoP", proof);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

const GRANT: &[(&str, &str)] = &[("grant_type", "client_credentials")];

#[actix::test]
async fn issues_a_token_bound_to_the_key_of_the_proof() {
    let authority = authority().await;
    let issuer = &authority.running.base_url;
    let found: Value = reqwest::get(format!("{issuer}/.well-known/openid-configuration"))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(found["issuer"], json!(issuer));
    assert_eq!(found["token_endpoint"], json!(authority.token_endpoint()));
    let jwks: Value = reqwest::get(found["jwks_uri"].as_str().unwrap())
        .await
        .unwrap()
        .json()
        .await
        .unwrap();

    let proof = Proof::new(&authority);
    let client = ("scanner", authority.client_secret.as_str());
    let (status, answer) = ask(&authority, client, &[proof.text()], GRANT).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["token_type"], "DPoP");
    assert_eq!(answer["expires_in"], 480);
    let token = Jws::parse(answer["access_token"].as_str().unwrap(), Use::Token).unwrap();
    assert_eq!(token.typ(), "at+jwt");
    let key = find_key(&jwks, token.kid().unwrap()).unwrap();
    assert!(token.verify(&key));
    for (name, value) in [
        ("iss", issuer.as_str()),
        ("aud", "signer"),
        ("sub", "scanner"),
        ("client_id", "scanner"),
        ("scope", "signer.sign signer.verify"),
        ("tid", "acme"),
        ("inst", "inst-1"),
    ] {
        assert_eq!(token.text(name), Some(value), "{name}");
    }
    let jwk = PublicJwk::parse(proof.header["jwk"].as_object().unwrap()).unwrap();
    let jkt = thumbprint(&jwk);
    assert_eq!(token.claims["cnf"], json!({ "jkt": jkt }));
    assert_eq!(
        token.number("exp").unwrap() - token.number("iat").unwrap(),
        TOKEN_LIFE
    );
    assert!(token.text("scanner_image").unwrap().starts_with("sha256:"));

    // The same proof again is a replay.
    let (status, answer) = ask(&authority, client, &[proof.text()], GRANT).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_dpop_proof")));
}

#[actix::test]
async fn refuses_wrong_clients_grants_and_scopes() {
    let authority = authority().await;
    let good = ("scanner", authority.client_secret.as_str());
    let code: &[(&str, &str)] = &[("grant_type", "authorization_code")];
    let audit: &[(&str, &str)] = &[("grant_type", "client_credentials"), ("scope", "signer.audit")];
    let both: &[(&str, &str)] = &[("grant_type", "client_credentials"), ("client_secret", "x")];
    for (client, form, status, error) in [
        (("scanner", "wrong"), GRANT, 401, "invalid_client"),
        (("other", good.1), GRANT, 401, "invalid_client"),
        (good, code, 400, "unsupported_grant_type"),
        (good, audit, 400, "invalid_scope"),
        (good, both, 400, "invalid_request"),
    ] {
        let proof = Proof::new(&authority).text();
        let (got, answer) = ask(&authority, client, &[proof], form).await;
        assert_eq!((got, answer["error"].as_str()), (status, Some(error)));
    }
}

#[actix::test]
async fn accepts_the_secret_in_the_form_and_narrows_the_scope() {
    let authority = authority().await;
    let proof = Proof::new(&authority).text();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "scanner"),
        ("client_secret", &authority.client_secret),
        ("scope", "signer.verify"),
    ];
    let answer = reqwest::Client::new()
        .post(authority.token_endpoint())
        .header("DPoP", proof)
        .form(&form)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["scope"], "signer.verify");
}

#[actix::test]
async fn refuses_every_broken_proof() {
    let authority = authority().await;
    let client = ("scanner", authority.client_secret.as_str());
    let now = Utc::now().timestamp();
    let changes: [(&str, &str, Value); 8] = [
        ("header", "typ", json!("JWT")),
        ("header", "jwk", mint::jwk_of(&generate_p256().unwrap()).unwrap()),
        ("claims", "htm", json!("GET")),
        ("claims", "htu", json!("http://127.0.0.1:1/token")),
        ("claims", "iat", json!(now - 120)),
        ("claims", "iat", json!(now + 120)),
        ("claims", "iat", json!(now.to_string())),
        ("claims", "jti", json!("")),
    ];
    for (part, name, value) in changes {
        let mut proof = Proof::new(&authority);
        match part {
            "header" => proof.header[name] = value,
            _ => proof.claims[name] = value,
        }
        let (status, answer) = ask(&authority, client, &[proof.text()], GRANT).await;
        let error = answer["error"].as_str();
        assert_eq!((status, error), (400, Some("invalid_dpop_proof")), "{name}");
    }
    let two = [Proof::new(&authority).text(), Proof::new(&authority).text()];
    for proofs in [&[][..], &two[..]] {
        let (status, answer) = ask(&authority, client, proofs, GRANT).await;
        assert_eq!(
            (status, answer["error"].as_str()),
            (400, Some("invalid_dpop_proof"))
        );
    }
}

#[actix::test]
async fn the_identity_token_speaks_of_the_signer() {
    let authority = authority().await;
    let text = authority.identity().token().unwrap();
    let token = Jws::parse(&text, Use::Token).unwrap();
    assert_eq!(token.text("aud"), Some("sigstore"));
    assert_eq!(token.text("sub"), Some("https://stellaops.local/signer"));
    assert_eq!(token.text("iss"), Some(authority.running.base_url.as_str()));
}
