//! Against a scripted vault and Entra on loopback, which answer as the documentation has it, or as each test asks.

use std::sync::Arc;
use std::time::Duration;

use openssl::bn::BigNumContext;
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::{PKey, Private};
use serde_json::{Value, json};
use signer_actors::ports::{BackendError, SigningBackend as _};
use signer_actors::testing::{Dial, FakeClock};

use super::super::remote::Input;
use super::super::testkit::{common, failed, key_for, open, secret, sign, unavailable};
use super::*;
use crate::adapters::jose::testkit::{Reply, Server, nowhere};
use crate::adapters::jose::{b64url, from_b64url};

const KID: &str = "https://example.vault.azure.net/keys/release/0123456789abcdef";
const TOKEN: &str = "eyJ0eXAiOiJKV1QifQ.access.token";
const SECRET: &str = "8Q~client-secret";
const ASSERTION: &str = "eyJhbGciOiJSUzI1NiJ9.federated.c2ln";
const SECRETS: &[&str] = &[TOKEN, SECRET, ASSERTION];
const ALGORITHMS: [(Algorithm, &str); 4] = [
    (Algorithm::EcdsaP256Sha256, "ES256"),
    (Algorithm::EcdsaP384Sha384, "ES384"),
    (Algorithm::RsaPssSha256, "PS256"),
    (Algorithm::RsaPkcs1Sha256, "RS256"),
];

#[derive(Clone)]
struct Vault {
    key: PKey<Private>,
    algorithm: Algorithm,
    name: &'static str,
    /// Instead of the real answer, for requests that contain this.
    instead: Dial<Option<(&'static str, Reply)>>,
}

fn ok(body: &Value) -> Reply {
    Reply::json("200 OK", body)
}

impl Vault {
    fn new(algorithm: Algorithm) -> Self {
        let name = ALGORITHMS.iter().find(|it| it.0 == algorithm).unwrap().1;
        Self {
            key: key_for(algorithm),
            algorithm,
            name,
            instead: Dial::new(None),
        }
    }

    fn answers(&self, asked: &'static str, status: &str, body: &Value) {
        self.instead.set(Some((asked, Reply::json(status, body))));
    }

    fn answer(&self, request: &str) -> Reply {
        if let Some((asked, reply)) = self.instead.get()
            && request.contains(asked)
        {
            return reply;
        }
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let with_token = head.contains(&format!("authorization: Bearer {TOKEN}"));
        let mut line = head.split(' ');
        match (line.next().unwrap(), line.next().unwrap()) {
            ("POST", "/tenant-1/oauth2/v2.0/token") => {
                let proof = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=eyJ";
                assert!(body.starts_with("grant_type=client_credentials&client_id=app-1&scope=https%3A%2F%2Fvault.azure.net%2F.default&"), "{body}");
                assert!(
                    body.contains("client_secret=8Q") || body.contains(proof),
                    "{body}"
                );
                ok(
                    &json!({ "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": TOKEN }),
                )
            }
            // Of the metadata service: numbers as text.
            (
                "GET",
                "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net&client_id=app-1",
            ) => {
                assert!(head.contains("metadata: true"), "{head}");
                ok(&json!({
                    "access_token": TOKEN, "expires_in": "86399", "expires_on": "1", "not_before": "1", "resource": "x",
                    "token_type": "Bearer", "client_id": "app-1",
                }))
            }
            ("GET", "/keys/release/0123456789abcdef?api-version=7.4") if with_token => ok(&self.shown()),
            ("POST", "/keys/release/0123456789abcdef/sign?api-version=7.4") if with_token => {
                ok(&self.sign(&serde_json::from_str(body).unwrap()))
            }
            other => panic!("{other:?}"),
        }
    }

    fn shown(&self) -> Value {
        let mut key = json!({ "kid": KID, "key_ops": ["sign", "verify"] });
        if let Ok(rsa) = self.key.rsa() {
            key["kty"] = json!("RSA-HSM");
            key["n"] = json!(b64url(&rsa.n().to_vec()));
            key["e"] = json!("AQAB");
        } else {
            let (ec, mut context) = (self.key.ec_key().unwrap(), BigNumContext::new().unwrap());
            let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
            let point = ec.public_key().to_bytes(ec.group(), form, &mut context).unwrap();
            let (x, y) = point[1..].split_at(point.len() / 2);
            key["kty"] = json!("EC");
            key["crv"] = json!(if x.len() == 32 { "P-256" } else { "P-384" });
            key["x"] = json!(b64url(x));
            key["y"] = json!(b64url(y));
        }
        json!({ "key": key, "attributes": { "enabled": true, "created": 1, "updated": 1, "exportable": false } })
    }

    fn sign(&self, body: &Value) -> Value {
        assert_eq!(body["alg"], self.name);
        let digest = from_b64url(body["value"].as_str().unwrap()).unwrap();
        let signature = sign(&self.key, self.algorithm, &digest);
        let value = match self.algorithm {
            Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha384 => {
                let half = if self.name == "ES256" { 32 } else { 48 };
                let signature = EcdsaSig::from_der(&signature).unwrap();
                let (r, s) = (
                    signature.r().to_vec_padded(half),
                    signature.s().to_vec_padded(half),
                );
                [r.unwrap(), s.unwrap()].concat()
            }
            _ => signature,
        };
        json!({ "kid": KID, "value": b64url(&value) })
    }

    async fn start(&self) -> Server {
        let this = self.clone();
        Server::start(move |request, _| this.answer(request)).await
    }

    fn backend(&self, settings: Settings) -> RemoteBackend {
        let common = common(KIND, self.algorithm, self.key.public_key_to_pem().unwrap());
        backend(common, settings, Arc::new(FakeClock::default())).unwrap()
    }

    async fn opened(&self) -> Result<Option<i64>, BackendError> {
        let server = self.start().await;
        open(&self.backend(settings(&server.url))).await
    }
}

fn application(url: &Url, proof: Proof) -> Login {
    Login::Application {
        authority: url.clone(),
        tenant: "tenant-1".to_owned(),
        client_id: "app-1".to_owned(),
        proof,
    }
}

fn settings(url: &Url) -> Settings {
    Settings {
        vault: url.clone(),
        key: "release".to_owned(),
        key_version: "0123456789abcdef".to_owned(),
        resource: "https://vault.azure.net".to_owned(),
        roots_pem: None,
        login: application(url, Proof::Secret(secret(SECRET))),
    }
}

fn says(code: &str, words: &str) -> Value {
    json!({ "error": { "code": code, "message": words, "innererror": { "code": "x" } } })
}

#[tokio::test]
async fn every_algorithm_opens_and_signs() {
    for (algorithm, name) in ALGORITHMS {
        let vault = Vault::new(algorithm);
        assert_eq!(vault.opened().await, Ok(Some(2399)), "{name}");
        let server = vault.start().await;
        assert_eq!(vault.backend(settings(&server.url)).info().kind, "azure-kv");
    }
}

#[tokio::test]
async fn applications_and_machines_sign_in() {
    let vault = Vault::new(Algorithm::EcdsaP256Sha256);
    let server = vault.start().await;
    let with = |login| {
        let mut settings = settings(&server.url);
        settings.login = login;
        vault.backend(settings)
    };
    let federated = || application(&server.url, Proof::Assertion(secret(ASSERTION)));
    assert_eq!(open(&with(federated())).await, Ok(Some(2399)));
    let machine = Login::ManagedIdentity {
        metadata: server.url.clone(),
        client_id: Some("app-1".to_owned()),
    };
    assert_eq!(open(&with(machine)).await, Ok(Some(57_599)));
    let error =
        |error: &str| json!({ "error": error, "error_description": format!("AADSTS7000215: {ASSERTION}") });
    for (status, body, expected, away) in [
        (
            "401 Unauthorized",
            error("invalid_client"),
            "invalid_client: (words",
            false,
        ),
        (
            "400 Bad Request",
            json!({ "error": "invalid_grant", "error_description": "AADSTS700024" }),
            "AADSTS700024",
            false,
        ),
        ("503 Service Unavailable", json!({}), "status 503", true),
    ] {
        vault.answers("/oauth2/v2.0/token", status, &body);
        let came = open(&with(federated())).await;
        if away {
            unavailable(came, expected, SECRETS);
        } else {
            failed(came, expected, SECRETS);
        }
    }
}

#[tokio::test]
async fn the_key_there_must_be_the_pinned_one() {
    let vault = Vault::new(Algorithm::EcdsaP256Sha256);
    let other = Vault::new(Algorithm::EcdsaP256Sha256);
    vault.answers("GET /keys/", "200 OK", &other.shown());
    failed(vault.opened().await, "has not the configured public_key", SECRETS);
    for (table, member, value, expected) in [
        ("key", "kid", json!(format!("{KID}0")), "another key"),
        (
            "key",
            "kid",
            json!(KID.replace("release", "other")),
            "another key",
        ),
        (
            "key",
            "kid",
            json!("/keys/release/0123456789abcdef"),
            "another key",
        ),
        ("key", "kty", json!("RSA"), "public_key"),
        ("key", "crv", json!("P-384"), "public_key"),
        ("key", "y", Value::Null, "public_key"),
        ("key", "key_ops", json!(["verify"]), "operation sign"),
        ("key", "key_ops", Value::Null, "promises"),
        ("attributes", "enabled", json!(false), "disabled"),
        ("attributes", "enabled", Value::Null, "promises"),
    ] {
        let mut shown = vault.shown();
        shown[table][member] = value;
        vault.answers("GET /keys/", "200 OK", &shown);
        failed(vault.opened().await, expected, SECRETS);
    }
    let signed = other.sign(&json!({ "alg": "ES256", "value": b64url(&[7; 32]) }));
    vault.answers("/sign", "200 OK", &signed);
    failed(vault.opened().await, "public_key verifies", SECRETS);
}

#[tokio::test]
async fn an_answer_is_about_what_was_asked() {
    let vault = Vault::new(Algorithm::EcdsaP256Sha256);
    let good = || vault.sign(&json!({ "alg": "ES256", "value": b64url(&[7; 32]) }));
    let der = b64url(&sign(&vault.key, vault.algorithm, &[7; 32]));
    for (member, value, expected) in [
        ("kid", json!(format!("{KID}0")), "another key"),
        ("value", json!(""), "no signature"),
        ("value", json!("!"), "no signature"),
        ("value", json!(b64url(&[1; 63])), "no signature"),
        ("value", json!(b64url(&[1; 96])), "no signature"),
        ("value", json!(der), "no signature"),
        ("value", json!(b64url(&[0; 64])), "public_key verifies"),
        ("value", Value::Null, "promises"),
        // A signature of another digest.
        ("x", Value::Null, "public_key verifies"),
    ] {
        let mut answer = good();
        answer[member] = value;
        vault.answers("/sign", "200 OK", &answer);
        failed(vault.opened().await, expected, SECRETS);
    }
    vault.instead.set(Some(("/sign", Reply::Endless)));
    failed(vault.opened().await, "longer than", SECRETS);
}

#[tokio::test]
async fn each_refusal_has_its_meaning() {
    let vault = Vault::new(Algorithm::EcdsaP256Sha256);
    for (status, code, words, expected, away) in [
        (
            "403 Forbidden",
            "Forbidden",
            "Caller is not authorized",
            "not authorized",
            false,
        ),
        (
            "403 Forbidden",
            "Forbidden",
            "Operation sign is not allowed on a disabled key.",
            "disabled",
            false,
        ),
        ("404 Not Found", "KeyNotFound", "x", "KeyNotFound", false),
        ("429 Too Many Requests", "Throttled", "x", "Throttled", true),
        ("500 Internal Server Error", "", "", "status 500", true),
        (
            "401 Unauthorized",
            "Unauthorized",
            "AKV10022: Invalid audience",
            "AKV10022",
            true,
        ),
        (
            "400 Bad Request",
            "BadParameter",
            TOKEN,
            "words that repeat a credential",
            false,
        ),
    ] {
        vault.answers("/sign", status, &says(code, words));
        let came = vault.opened().await;
        if away {
            unavailable(came, expected, SECRETS);
        } else {
            failed(came, expected, SECRETS);
        }
    }
    vault.answers("GET /keys/", "401 Unauthorized", &says("Unauthorized", "x"));
    failed(vault.opened().await, "Unauthorized", SECRETS);
}

#[tokio::test]
async fn a_token_that_ended_ends_the_session() {
    let vault = Vault::new(Algorithm::EcdsaP256Sha256);
    let server = vault.start().await;
    let settings = settings(&server.url);
    let inner = Inner {
        api: Api::new(Wire::new("Azure Key Vault", None).unwrap(), &settings).unwrap(),
        tokens: Wire::new("Entra", None).unwrap(),
        name: "ES256",
        algorithm: vault.algorithm,
        public: PublicKey::new(
            parse_public_pem(&vault.key.public_key_to_pem().unwrap()).unwrap(),
            vault.algorithm,
        )
        .unwrap(),
        settings,
    };
    let begun = Session::begin(Arc::new(inner)).await.unwrap();
    assert!(!format!("{begun:?}").contains(TOKEN) && !format!("{begun:?}").contains(SECRET));
    for (status, ended) in [("401 Unauthorized", true), ("403 Forbidden", false)] {
        vault.answers("/sign", status, &says("X", "x"));
        let came = begun.session.sign(Input::Digest(vec![7; 32])).await;
        assert_eq!(matches!(came, Err(RemoteError::Ended(_))), ended, "{came:?}");
    }
}

#[tokio::test]
async fn what_is_away_or_slow_is_unavailable_and_nothing_goes_in_clear() {
    let vault = Vault::new(Algorithm::EcdsaP256Sha256);
    let away = settings(&nowhere().await);
    unavailable(open(&vault.backend(away)).await, "cannot be reached", SECRETS);
    vault.instead.set(Some(("/sign", Reply::Silence)));
    let server = vault.start().await;
    let common = || common(KIND, vault.algorithm, vault.key.public_key_to_pem().unwrap());
    let mut short = common();
    short.timeout = Duration::from_millis(300);
    let slow = backend(short, settings(&server.url), Arc::new(FakeClock::default())).unwrap();
    unavailable(open(&slow).await, "in time", SECRETS);
    let (clear, good) = (
        Url::parse("http://vault.example").unwrap(),
        Url::parse("https://vault.example").unwrap(),
    );
    let mut both = [settings(&clear), settings(&good)];
    both[1].login = application(&clear, Proof::Secret(secret(SECRET)));
    for settings in both {
        assert!(!format!("{settings:?}").contains(SECRET));
        let refused = backend(common(), settings, Arc::new(FakeClock::default()));
        assert!(refused.unwrap_err().contains("https"));
    }
}

#[test]
fn there_are_no_ed25519_keys() {
    let key = key_for(Algorithm::Ed25519).public_key_to_pem().unwrap();
    let settings = settings(&Url::parse("https://vault.example").unwrap());
    let common = common(KIND, Algorithm::Ed25519, key);
    let refused = backend(common, settings, Arc::new(FakeClock::default()));
    assert!(refused.unwrap_err().contains("no Ed25519"));
}
