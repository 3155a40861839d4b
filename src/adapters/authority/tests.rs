use serde_json::{Value, json};
use signer_actors::domain::caller::{AccessToken, PresentedToken, Scope};
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::ports::TokenRejection;

use url::Url;

use super::*;
use crate::adapters::jose::testkit::{self, Issuer, NOW, Reply, Server, TIMEOUT, at, jwk_with_kid};

const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

fn settings(issuer: &str, keys: KeysLocation) -> Settings {
    Settings {
        issuer: issuer.to_owned(),
        audience: "signer".to_owned(),
        keys,
        own_keys: crate::adapters::jose::source::OwnKeys::fixed([].into()),
        token_types: vec!["at+jwt".to_owned()],
        algorithms: JwsAlgorithm::ALL.to_vec(),
        max_token_lifetime: Duration::from_secs(600),
        clock_skew: Duration::from_secs(30),
        roots: None,
        timeout: TIMEOUT,
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://authority.example", "aud": ["signer"], "iat": NOW, "exp": NOW + 600, "sub": "user", "client_id": "ci",
        "jti": "t1", "tid": "acme", "inst": "eu/west-1", "scope": "signer.sign signer.verify", "cnf": { "jkt": JKT },
    })
}

fn verify(claims: &Value) -> Result<AccessToken, TokenRejection> {
    let issuer = Issuer::new();
    let policy = OpTokPolicy::new(&settings("https://authority.example", KeysLocation::Discovery));
    let verifier = OpTokVerifier::new(Arc::new(policy), issuer.key_set());
    assert!(verifier.knows("k1") && !verifier.knows("k2"));
    verifier.verify(&PresentedToken::of(&issuer.sign("at+jwt", claims)), at(NOW))
}

#[test]
fn a_token_is_read_as_it_says() {
    let issuer = Issuer::new();
    let policy = OpTokPolicy::new(&settings("https://authority.example", KeysLocation::Discovery));
    let verifier = OpTokVerifier::new(Arc::new(policy), issuer.key_set());
    let mut claims = claims();
    let image = format!("sha256:{}", "ab".repeat(32));
    claims["scanner_image"] = json!(image);
    claims["cnf"]["x5t#S256"] = json!(JKT);
    let jwt = issuer.sign("application/at+jwt", &claims);
    let token = verifier.verify(&PresentedToken::of(&jwt), at(NOW)).unwrap();
    assert_eq!(token.digest, Sha256Digest::of(jwt.as_bytes()));
    assert_eq!(token.key_id, "k1");
    assert_eq!(
        (
            token.subject.as_str(),
            token.client_id.as_str(),
            token.token_id.as_str()
        ),
        ("user", "ci", "t1")
    );
    assert_eq!(
        (token.tenant.as_str(), token.installation.as_str()),
        ("acme", "eu/west-1")
    );
    assert!(token.has_scope(Scope::Sign) && token.has_scope(Scope::Verify) && !token.has_scope(Scope::Audit));
    assert!(token.confirmation.jkt.is_some() && token.confirmation.jkt == token.confirmation.x5t_s256);
    assert_eq!(token.scanner_image.unwrap().to_string(), image);
    assert_eq!(token.validity.expires, at(NOW + 600));
}

#[test]
fn every_claim_must_be_exactly_right() {
    let cases = [
        (
            "sub",
            vec![
                json!(""),
                json!(1),
                json!(null),
                json!("a b"),
                json!("s".repeat(257)),
            ],
        ),
        ("client_id", vec![json!(""), json!(["ci"]), json!("c\u{7f}")]),
        ("jti", vec![json!(""), json!(1), json!("é")]),
        (
            "tid",
            vec![json!(""), json!("a b"), json!(1), json!("t".repeat(129))],
        ),
        ("inst", vec![json!(""), json!("a\"b"), json!(null)]),
        (
            "scope",
            vec![
                json!(""),
                json!(" signer.sign"),
                json!("signer.sign "),
                json!("signer.sign  signer.verify"),
                json!("signer.sign\tsigner.verify"),
                json!("a\"b"),
                json!("a\\b"),
                json!(["signer.sign"]),
                json!("a ".repeat(64) + "a"),
                json!("a".repeat(4097)),
            ],
        ),
        (
            "cnf",
            vec![
                json!({}),
                json!({ "jwk": {} }),
                json!({ "jkt": JKT, "kid": "x" }),
                json!(null),
            ],
        ),
        (
            "scanner_image",
            vec![json!("ab".repeat(32)), json!(null), json!("sha512:00"), json!(1)],
        ),
        ("exp", vec![json!(NOW + 601)]),
    ];
    assert!(verify(&claims()).is_ok());
    for (name, values) in cases {
        for value in values {
            let mut claims = claims();
            claims[name] = value.clone();
            let Err(TokenRejection::Invalid(why)) = verify(&claims) else {
                panic!("{name} {value} was accepted");
            };
            assert!(why.contains(&format!("`{name}`")), "{name} {value}: {why}");
        }
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(verify(&claims).is_ok(), name == "scanner_image", "without {name}");
    }
}

#[test]
fn an_unknown_key_is_told_from_a_bad_token() {
    let issuer = Issuer::new();
    let policy = OpTokPolicy::new(&settings("https://authority.example", KeysLocation::Discovery));
    let other = json!({ "keys": [jwk_with_kid(&testkit::p256(), "k9")] }).to_string();
    let verifier = OpTokVerifier::new(Arc::new(policy), KeySet::parse(other.as_bytes()).unwrap());
    let outcome = verifier.verify(&PresentedToken::of(&issuer.sign("at+jwt", &claims())), at(NOW));
    assert_eq!(outcome, Err(TokenRejection::UnknownKey { kid: "k1".to_owned() }));
}

async fn fetched(server: &Server, issuer: &str) -> Result<Arc<dyn TokenVerifier>, SourceUnavailable> {
    let issuer = issuer.replace("SELF", server.url.as_str().trim_end_matches('/'));
    AuthorityKeys::new(&settings(&issuer, KeysLocation::Discovery))
        .unwrap()
        .fetch()
        .await
}

#[tokio::test]
async fn keys_are_discovered_both_ways() {
    for well_known in [
        "GET /a/.well-known/openid-configuration ",
        "GET /.well-known/oauth-authorization-server/a ",
    ] {
        let jwks = Issuer::new().jwks();
        let server = Server::start(move |request, own| {
            if request.starts_with(well_known) {
                let metadata =
                    json!({ "issuer": format!("{own}a"), "jwks_uri": own.join("/keys").unwrap().as_str(), "x": 1 });
                Reply::json("200 OK", &metadata)
            } else if request.starts_with("GET /keys ") {
                Reply::json("200 OK", &jwks)
            } else {
                Reply::json("404 Not Found", &json!({}))
            }
        })
        .await;
        assert!(fetched(&server, "SELF/a").await.unwrap().knows("k1"));
    }
}

#[tokio::test]
async fn a_lying_or_broken_authority_is_unavailable() {
    let metadata = |own: &Url, issuer: &str, jwks_uri: &str| {
        let origin = own.as_str().trim_end_matches('/');
        let fill = |text: &str| text.replace("SELF", origin);
        Reply::json(
            "200 OK",
            &json!({ "issuer": fill(issuer), "jwks_uri": fill(jwks_uri) }),
        )
    };
    for (issuer, jwks_uri, expected) in [
        ("SELF/", "SELF/keys", "`issuer`"),
        ("https://authority.example", "SELF/keys", "`issuer`"),
        ("", "SELF/keys", "`issuer`"),
        ("SELF", "http://authority.example/keys", "`jwks_uri`"),
        ("SELF", "file:///etc/passwd", "`jwks_uri`"),
        ("SELF", "", "`jwks_uri`"),
        ("SELF", "SELF/redirect", "answered 302"),
        ("SELF", "SELF/empty", "no usable key"),
        ("SELF", "SELF/html", "no JSON"),
        ("SELF", "SELF/down", "answered 503"),
        ("SELF", "SELF/slow", "in time"),
    ] {
        let server = Server::start(move |request, own| match request.split(' ').nth(1).unwrap() {
            "/.well-known/openid-configuration" => metadata(own, issuer, jwks_uri),
            "/redirect" => Reply::redirect("/keys"),
            "/empty" => Reply::json("200 OK", &json!({ "keys": [] })),
            "/html" => Reply::with_type("200 OK", "text/html", b"<html>secret</html>"),
            "/slow" => Reply::Silence,
            "/keys" => Reply::json("200 OK", &Issuer::new().jwks()),
            _ => Reply::json("503 Service Unavailable", &json!({})),
        })
        .await;
        let text = fetched(&server, "SELF").await.unwrap_err().0;
        assert!(text.contains(expected), "{issuer} {jwks_uri}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn keys_come_from_a_uri_or_a_file() {
    let jwks = Issuer::new().jwks();
    let body = jwks.clone();
    let server = Server::start(move |_, _| Reply::json("200 OK", &body)).await;
    let from = |keys| AuthorityKeys::new(&settings("https://authority.example", keys)).unwrap();
    assert!(
        from(KeysLocation::Uri(server.at("/jwks")))
            .fetch()
            .await
            .unwrap()
            .knows("k1")
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, jwks.to_string()).unwrap();
    let source = from(KeysLocation::File(path.clone()));
    assert!(source.fetch().await.unwrap().knows("k1"));
    assert_eq!(source.fetch_key_set().await.unwrap().keys().count(), 1);
    std::fs::write(&path, "{}").unwrap();
    assert!(source.fetch().await.is_err());
}

#[test]
fn a_remembered_token_counts_while_its_very_key_is_there_and_its_times_hold() {
    let policy = OpTokPolicy::new(&settings("https://authority.example", KeysLocation::Discovery));
    let policy = Arc::new(policy);
    let with_keys = |keys: Value| {
        let document = json!({ "keys": keys }).to_string();
        OpTokVerifier::new(Arc::clone(&policy), KeySet::parse(document.as_bytes()).unwrap())
    };
    for key in testkit::one_key_of_each_kind() {
        let issuer = Issuer::with_key(key);
        let mut claims = claims();
        claims["nbf"] = json!(NOW + 10);
        let jwt = issuer.sign("at+jwt", &claims);
        let own = jwk_with_kid(&issuer.key, "k1");
        let other = jwk_with_kid(&testkit::p256(), "k2");
        let verifier = with_keys(json!([own]));
        let token = verifier.verify(&PresentedToken::of(&jwt), at(NOW)).unwrap();
        for (second, expected) in [(-21, false), (-20, true), (629, true), (630, false)] {
            let now = at(NOW + second);
            assert_eq!(verifier.still_accepts(&token, now), expected, "{second}");
            let anew = verifier.verify(&PresentedToken::of(&jwt), now);
            assert_eq!(
                anew.is_ok(),
                expected,
                "memory and verification agree at {second}"
            );
        }
        let still = |keys: Value| with_keys(keys).still_accepts(&token, at(NOW));
        assert!(still(json!([other, own])), "fetched anew, beside another");
        assert!(!still(json!([other])), "gone");
        assert!(
            !still(json!([jwk_with_kid(&issuer.key, "k3")])),
            "under another id"
        );
        for replacement in testkit::one_key_of_each_kind() {
            let replaced = json!([jwk_with_kid(&replacement, "k1"), jwk_with_kid(&issuer.key, "k3")]);
            assert!(!still(replaced), "the id names another key");
        }
    }
}
