//! Against a scripted Vault on loopback, which signs as the real one does or answers as each test asks. The real one
//! judges in the interop lane.

use std::sync::Arc;
use std::time::Duration;

use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use serde_json::{Value, json};
use signer_actors::domain::ids::KeyId;
use signer_actors::ports::{BackendError, SigningBackend as _};
use signer_actors::testing::{Dial, FakeClock};
use zeroize::Zeroizing;

use super::*;
use crate::adapters::jose::testkit::{Reply, Server, nowhere};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const TOKEN: &str = "s.0123456789abcdef";
const SECRET: &str = "7b5a1c5e-secret-id";

/// What the fake is and says.
#[derive(Clone)]
struct Vault {
    /// Versions from 1 on.
    keys: Vec<PKey<Private>>,
    algorithm: Algorithm,
    /// Instead of the real answer, for paths that end like this.
    instead: Dial<Option<(&'static str, Reply)>>,
    ttl: u64,
    renewable: bool,
}

fn json_reply(status: &str, body: &Value) -> Reply {
    Reply::json(status, body)
}

fn p256() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

impl Vault {
    fn new(algorithm: Algorithm, keys: Vec<PKey<Private>>) -> Self {
        Self {
            keys,
            algorithm,
            instead: Dial::new(None),
            ttl: 3600,
            renewable: true,
        }
    }

    fn answers(&self, path: &'static str, status: &str, body: &Value) {
        self.instead.set(Some((path, Reply::json(status, body))));
    }

    fn answer(&self, request: &str) -> Reply {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut line = head.split(' ');
        let (method, path) = (line.next().unwrap(), line.next().unwrap());
        if let Some((end, reply)) = self.instead.get()
            && path.ends_with(end)
        {
            return reply;
        }
        let head = head.to_ascii_lowercase();
        assert!(head.contains("x-vault-request: true"));
        let with_token = head.contains(&format!("x-vault-token: {TOKEN}"));
        let ok = |body: &Value| json_reply("200 OK", body);
        match (method, path) {
            ("POST", "/v1/auth/approle/login") => {
                let body: Value = serde_json::from_str(body).unwrap();
                assert_eq!(body, json!({ "role_id": "signer", "secret_id": SECRET }));
                ok(
                    &json!({ "auth": { "client_token": TOKEN, "lease_duration": self.ttl, "renewable": true } }),
                )
            }
            _ if !with_token => json_reply("403 Forbidden", &json!({ "errors": ["permission denied"] })),
            ("GET", "/v1/auth/token/lookup-self") => {
                ok(&json!({ "data": { "ttl": self.ttl, "renewable": self.renewable } }))
            }
            ("POST", "/v1/auth/token/renew-self") => {
                ok(&json!({ "auth": { "client_token": TOKEN, "lease_duration": 7200, "renewable": true } }))
            }
            ("GET", "/v1/team/transit/keys/release") => ok(&json!({ "data": { "keys": self.versions() } })),
            ("POST", "/v1/team/transit/sign/release") => ok(&self.sign(&serde_json::from_str(body).unwrap())),
            _ => json_reply("404 Not Found", &json!({ "errors": [] })),
        }
    }

    fn versions(&self) -> Value {
        let shown = |key: &PKey<Private>| match self.algorithm {
            Algorithm::Ed25519 => STANDARD.encode(key.raw_public_key().unwrap()),
            _ => String::from_utf8(key.public_key_to_pem().unwrap()).unwrap(),
        };
        let each = self.keys.iter().enumerate();
        each.map(|(index, key)| ((index + 1).to_string(), json!({ "public_key": shown(key) })))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn sign(&self, body: &Value) -> Value {
        let version = body["key_version"].as_u64().unwrap();
        let key = &self.keys[version as usize - 1];
        let input = STANDARD.decode(body["input"].as_str().unwrap()).unwrap();
        let prehashed = body["prehashed"].as_bool().unwrap();
        let signature = if self.algorithm == Algorithm::Ed25519 {
            assert!(!prehashed);
            Signer::new_without_digest(key)
                .unwrap()
                .sign_oneshot_to_vec(&input)
                .unwrap()
        } else {
            assert!(
                prehashed && body["marshaling_algorithm"] == "asn1" && body["hash_algorithm"] == "sha2-256"
            );
            EcdsaSig::sign(&input, &key.ec_key().unwrap())
                .unwrap()
                .to_der()
                .unwrap()
        };
        json!({ "data": { "signature": format!("vault:v{version}:{}", STANDARD.encode(signature)) } })
    }

    async fn start(&self) -> Server {
        let this = self.clone();
        Server::start(move |request, _| this.answer(request)).await
    }
}

fn token() -> Login {
    Login::Token(CredentialSource::Static(Zeroizing::new(TOKEN.to_owned())))
}

fn settings(url: Url, login: Login) -> Settings {
    Settings {
        url,
        roots_pem: None,
        namespace: String::new(),
        mount: "team/transit".to_owned(),
        key: "release".to_owned(),
        key_version: None,
        login,
    }
}

fn pinned(vault: &Vault, version: usize, settings: Settings) -> RemoteBackend {
    let common = remote::Settings {
        id: KeyId::parse("release-2026").unwrap(),
        kind: KIND,
        algorithm: vault.algorithm,
        public_key_pem: vault.keys[version - 1].public_key_to_pem().unwrap(),
        timeout: Duration::from_secs(5),
        concurrency: 4,
    };
    backend(common, settings, Arc::new(FakeClock::default())).unwrap()
}

async fn opened(vault: &Vault, change: impl FnOnce(&mut Settings)) -> Result<Option<i64>, BackendError> {
    let server = vault.start().await;
    let mut settings = settings(server.url.clone(), token());
    change(&mut settings);
    let key = pinned(vault, 1, settings).open().await?;
    let begun = signer_actors::testing::NOW();
    Ok(key.replace_at().map(|at| (at - begun).num_seconds()))
}

fn failed<T: std::fmt::Debug>(came: Result<T, BackendError>, expected: &str) {
    match came {
        Err(BackendError::Failed(text)) => {
            assert!(text.contains(expected), "{expected}: {text}");
            assert!(!text.contains(TOKEN) && !text.contains(SECRET), "{text}");
        }
        other => panic!("{expected}: {other:?}"),
    }
}

#[tokio::test]
async fn it_finds_the_pinned_version_and_signs_with_it() {
    for version in 1..=3 {
        let vault = Vault::new(Algorithm::EcdsaP256Sha256, vec![p256(), p256(), p256()]);
        let mut server = vault.start().await;
        let backend = pinned(&vault, version, settings(server.url.clone(), token()));
        assert_eq!(backend.info().kind, "vault-transit");
        backend.open().await.unwrap();
        let mut last = String::new();
        while let Ok(request) = server.requests.try_recv() {
            last = request;
        }
        assert!(last.starts_with("POST /v1/team/transit/sign/release "), "{last}");
        assert!(last.contains(&format!("\"key_version\":{version}")), "{last}");
    }
}

#[tokio::test]
async fn ed25519_signs_the_message_itself() {
    let vault = Vault::new(Algorithm::Ed25519, vec![PKey::generate_ed25519().unwrap()]);
    opened(&vault, |_| ()).await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_not_the_pinned_one_does_not_open() {
    let mut vault = Vault::new(Algorithm::EcdsaP256Sha256, vec![p256()]);
    let server = vault.start().await;
    let pinned_to_old = pinned(&vault, 1, settings(server.url.clone(), token()));
    drop(pinned_to_old);
    // The service was told of another key.
    vault.keys.insert(0, p256());
    let told = vault.clone();
    vault.keys.remove(0);
    let server = vault.start().await;
    failed(
        pinned(&told, 1, settings(server.url.clone(), token()))
            .open()
            .await
            .map(|_| ()),
        "no version of the key",
    );
    // With a version it does not look; the signature tells.
    let mut by_version = settings(server.url.clone(), token());
    by_version.key_version = NonZeroU32::new(1);
    failed(
        pinned(&told, 1, by_version).open().await.map(|_| ()),
        "public_key",
    );
}

#[tokio::test]
async fn tokens_are_renewed_and_their_life_bounds_the_session() {
    let mut vault = Vault::new(Algorithm::EcdsaP256Sha256, vec![p256()]);
    assert_eq!(
        opened(&vault, |_| ()).await,
        Ok(Some(4800)),
        "two thirds of what renewal gave"
    );
    vault.answers(
        "renew-self",
        "403 Forbidden",
        &json!({ "errors": ["permission denied"] }),
    );
    assert_eq!(opened(&vault, |_| ()).await, Ok(Some(2400)), "of what is left");
    vault.instead.set(None);
    vault.renewable = false;
    assert_eq!(opened(&vault, |_| ()).await, Ok(Some(2400)));
    vault.ttl = 0;
    assert_eq!(opened(&vault, |_| ()).await, Ok(None), "a root token has no end");
}

#[tokio::test]
async fn an_approle_signs_in() {
    let vault = Vault::new(Algorithm::EcdsaP256Sha256, vec![p256()]);
    let approle = || Login::AppRole {
        mount: "approle".to_owned(),
        role_id: "signer".to_owned(),
        secret_id: CredentialSource::Static(Zeroizing::new(SECRET.to_owned())),
    };
    assert!(!format!("{:?}", approle()).contains(SECRET));
    assert_eq!(opened(&vault, |it| it.login = approle()).await, Ok(Some(2400)));
    let refused = json!({ "errors": [format!("invalid secret id {SECRET}")] });
    vault.answers("login", "400 Bad Request", &refused);
    let came = opened(&vault, |it| it.login = approle()).await;
    assert!(
        matches!(&came, Err(BackendError::Failed(text)) if text.contains("status 400")),
        "{came:?}"
    );
    for bad in [
        json!({}),
        json!({ "auth": null }),
        json!({ "auth": { "client_token": "", "lease_duration": 1 } }),
    ] {
        vault.answers("login", "200 OK", &bad);
        assert!(matches!(
            opened(&vault, |it| it.login = approle()).await,
            Err(BackendError::Failed(_))
        ));
    }
}

#[tokio::test]
async fn the_namespace_is_named() {
    let vault = Vault::new(Algorithm::EcdsaP256Sha256, vec![p256()]);
    let mut server = vault.start().await;
    let mut settings = settings(server.url.clone(), token());
    settings.namespace = "team/signing".to_owned();
    pinned(&vault, 1, settings).open().await.unwrap();
    let request = server.requests.recv().await.unwrap().to_ascii_lowercase();
    assert!(request.contains("x-vault-namespace: team/signing"), "{request}");
}

#[tokio::test]
async fn each_answer_has_its_meaning() {
    let vault = Vault::new(Algorithm::EcdsaP256Sha256, vec![p256()]);
    let says = |what: &str| json!({ "errors": [what] });
    for (path, status, body, unavailable) in [
        (
            "sign/release",
            "503 Service Unavailable",
            says("Vault is sealed"),
            true,
        ),
        (
            "lookup-self",
            "503 Service Unavailable",
            says("Vault is sealed"),
            true,
        ),
        (
            "sign/release",
            "429 Too Many Requests",
            says("request limit exceeded"),
            true,
        ),
        ("sign/release", "502 Bad Gateway", json!("a proxy"), true),
        ("sign/release", "473 Standby", Value::Null, true),
        // Another session may do: unavailable until it was tried.
        ("sign/release", "403 Forbidden", says("permission denied"), true),
        ("lookup-self", "403 Forbidden", says("permission denied"), false),
        ("keys/release", "403 Forbidden", says("permission denied"), false),
        ("keys/release", "404 Not Found", says("no such key"), false),
        ("sign/release", "400 Bad Request", says("unsupported hash"), false),
        ("sign/release", "500 Internal Server Error", says("oops"), false),
        ("sign/release", "302 Found", Value::Null, false),
        ("sign/release", "200 OK", json!({}), false),
        (
            "sign/release",
            "200 OK",
            json!({ "data": { "signature": "vault:v2:AAAA" } }),
            false,
        ),
        (
            "sign/release",
            "200 OK",
            json!({ "data": { "signature": "vault:v1:" } }),
            false,
        ),
        (
            "sign/release",
            "200 OK",
            json!({ "data": { "signature": "vault:v1:!" } }),
            false,
        ),
        (
            "sign/release",
            "200 OK",
            json!({ "data": { "signature": "AAAA" } }),
            false,
        ),
        (
            "keys/release",
            "200 OK",
            json!({ "data": { "keys": { "1": "x", "y": {} } } }),
            false,
        ),
        ("lookup-self", "200 OK", json!({ "data": { "ttl": -1 } }), false),
    ] {
        vault.answers(path, status, &body);
        let came = opened(&vault, |_| ()).await;
        match &came {
            Err(BackendError::Unavailable(_)) if unavailable => {}
            Err(BackendError::Failed(_)) if !unavailable => {}
            other => panic!("{path} {status} {body}: {other:?}"),
        }
    }
    vault.instead.set(Some(("sign/release", Reply::Endless)));
    failed(opened(&vault, |_| ()).await, "longer than");
    let gone = settings(nowhere().await, token());
    let came = pinned(&vault, 1, gone).open().await.map(|_| ());
    assert!(matches!(came, Err(BackendError::Unavailable(_))), "{came:?}");
}

#[tokio::test]
async fn a_token_goes_nowhere_in_clear_and_is_never_shown() {
    let vault = Vault::new(Algorithm::EcdsaP256Sha256, vec![p256()]);
    let common = remote::Settings {
        id: KeyId::parse("release-2026").unwrap(),
        kind: KIND,
        algorithm: vault.algorithm,
        public_key_pem: vault.keys[0].public_key_to_pem().unwrap(),
        timeout: Duration::from_secs(5),
        concurrency: 4,
    };
    let settings = settings(Url::parse("http://vault.example").unwrap(), token());
    assert!(!format!("{settings:?}").contains(TOKEN));
    let refused = backend(common, settings, Arc::new(FakeClock::default()));
    assert!(refused.unwrap_err().contains("https"));
}
