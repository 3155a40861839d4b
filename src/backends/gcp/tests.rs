//! Against a scripted Cloud KMS on loopback, which signs as the real one does or answers as each test asks. A server made
//! of Google's own messages judges in the interop lane.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Verifier;
use serde_json::{Value, json};
use signer_actors::ports::{BackendError, SigningBackend as _};
use signer_actors::testing::{Dial, FakeClock, NOW};

use super::super::remote::Input;
use super::super::testkit::{ALGORITHMS, common, failed, key_for, open, secret, sign, unavailable};
use super::crc32c::crc32c;
use super::*;
use crate::adapters::jose::testkit::{Reply, Server, nowhere};

const NAME: &str = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/release/cryptoKeyVersions/1";
const TOKEN: &str = "ya29.c.0123456789abcdef";
const SECRETS: &[&str] = &[TOKEN, "PRIVATE KEY"];

#[derive(Clone)]
struct Kms {
    key: PKey<Private>,
    algorithm: Algorithm,
    account: PKey<Private>,
    /// Instead of the real answer, for requests that contain this.
    instead: Dial<Option<(&'static str, Reply)>>,
}

fn ok(body: &Value) -> Reply {
    Reply::json("200 OK", body)
}

fn granted() -> Value {
    json!({ "access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer" })
}

impl Kms {
    fn new(algorithm: Algorithm) -> Self {
        Self {
            key: key_for(algorithm),
            algorithm,
            account: key_for(Algorithm::RsaPkcs1Sha256),
            instead: Dial::new(None),
        }
    }

    fn answers(&self, asked: &'static str, status: &str, body: &Value) {
        self.instead.set(Some((asked, Reply::json(status, body))));
    }

    fn answer(&self, request: &str, own: &Url) -> Reply {
        if let Some((asked, reply)) = self.instead.get()
            && request.contains(asked)
        {
            return reply;
        }
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut line = head.split(' ');
        match (line.next().unwrap(), line.next().unwrap()) {
            ("POST", "/token") => self.grant(body, own),
            ("GET", "/computeMetadata/v1/instance/service-accounts/default/token") => {
                assert!(head.contains("metadata-flavor: Google"), "{head}");
                ok(&granted())
            }
            (method, path) => {
                assert!(head.contains(&format!("authorization: Bearer {TOKEN}")), "{head}");
                match (
                    method,
                    path.strip_prefix("/v1/").unwrap().strip_prefix(NAME).unwrap(),
                ) {
                    ("GET", "/publicKey") => ok(&self.shown()),
                    ("POST", ":asymmetricSign") => ok(&self.sign(&serde_json::from_str(body).unwrap())),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// As <https://developers.google.com/identity/protocols/oauth2/service-account#httprest> describes it.
    fn grant(&self, body: &str, own: &Url) -> Reply {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes())
            .into_owned()
            .collect();
        assert_eq!(form[0].1, "urn:ietf:params:oauth:grant-type:jwt-bearer");
        let (input, signature) = form[1].1.rsplit_once('.').unwrap();
        let mut verifier = Verifier::new(MessageDigest::sha256(), &self.account).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert!(verifier.verify_oneshot(&signature, input.as_bytes()).unwrap());
        let part = |at: usize| -> Value {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(input.split('.').nth(at).unwrap()).unwrap())
                .unwrap()
        };
        assert_eq!(part(0), json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
        let now = NOW().timestamp();
        let expected = json!({
            "iss": "signer@p.iam.gserviceaccount.com", "scope": "https://www.googleapis.com/auth/cloudkms",
            "aud": own.join("token").unwrap().as_str(), "iat": now, "exp": now + 300,
        });
        assert_eq!(part(1), expected);
        ok(&granted())
    }

    fn shown(&self) -> Value {
        let pem = String::from_utf8(self.key.public_key_to_pem().unwrap()).unwrap();
        let algorithm = match self.algorithm {
            Algorithm::EcdsaP256Sha256 => "EC_SIGN_P256_SHA256",
            Algorithm::EcdsaP384Sha384 => "EC_SIGN_P384_SHA384",
            Algorithm::Ed25519 => "EC_SIGN_ED25519",
            Algorithm::RsaPssSha256 => "RSA_SIGN_PSS_2048_SHA256",
            Algorithm::RsaPkcs1Sha256 => "RSA_SIGN_PKCS1_2048_SHA256",
        };
        let crc = crc32c(pem.as_bytes()).to_string();
        json!({ "pem": pem, "algorithm": algorithm, "pemCrc32c": crc, "name": NAME, "protectionLevel": "HSM" })
    }

    fn sign(&self, body: &Value) -> Value {
        let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let (input, crc, verified) = match self.algorithm {
            Algorithm::Ed25519 => (bytes(&body["data"]), &body["dataCrc32c"], "verifiedDataCrc32c"),
            Algorithm::EcdsaP384Sha384 => (
                bytes(&body["digest"]["sha384"]),
                &body["digestCrc32c"],
                "verifiedDigestCrc32c",
            ),
            _ => (
                bytes(&body["digest"]["sha256"]),
                &body["digestCrc32c"],
                "verifiedDigestCrc32c",
            ),
        };
        assert_eq!(crc, &json!(crc32c(&input).to_string()));
        let signature = sign(&self.key, self.algorithm, &input);
        json!({
            "signature": STANDARD.encode(&signature), "signatureCrc32c": crc32c(&signature).to_string(),
            verified: true, "name": NAME, "protectionLevel": "HSM",
        })
    }

    async fn start(&self) -> Server {
        let this = self.clone();
        Server::start(move |request, own| this.answer(request, own)).await
    }

    fn backend(&self, settings: Settings) -> RemoteBackend {
        let common = common(KIND, self.algorithm, self.key.public_key_to_pem().unwrap());
        backend(common, settings, Arc::new(FakeClock::default())).unwrap()
    }

    async fn opened(&self, change: impl FnOnce(&mut Settings)) -> Result<Option<i64>, BackendError> {
        let server = self.start().await;
        let mut settings = settings(&server.url);
        change(&mut settings);
        open(&self.backend(settings)).await
    }

    /// The file that Google's console gives.
    fn account_key(&self, token_uri: &str) -> Value {
        let pem = String::from_utf8(self.account.private_key_to_pem_pkcs8().unwrap()).unwrap();
        json!({
            "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": pem,
            "client_email": "signer@p.iam.gserviceaccount.com", "client_id": "1",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth", "token_uri": token_uri,
        })
    }
}

fn settings(url: &Url) -> Settings {
    Settings {
        key: NAME.to_owned(),
        endpoint: url.clone(),
        roots_pem: None,
        login: Login::Token(secret(TOKEN)),
    }
}

fn says(status: &str, words: &str) -> Value {
    json!({ "error": { "code": 1, "status": status, "message": words } })
}

#[tokio::test]
async fn every_algorithm_opens_and_signs() {
    for algorithm in ALGORITHMS {
        let kms = Kms::new(algorithm);
        assert_eq!(kms.opened(|_| ()).await, Ok(None), "{algorithm}");
    }
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let server = kms.start().await;
    assert_eq!(kms.backend(settings(&server.url)).info().kind, "gcp-kms");
}

#[tokio::test]
async fn service_accounts_and_machines_sign_in() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let server = kms.start().await;
    let with = |login| {
        let mut settings = settings(&server.url);
        settings.login = login;
        kms.backend(settings)
    };
    let uri = server.at("token").to_string();
    let account = |key: Value| Login::AccountKey(secret(&format!("{key:#}\n")));
    assert_eq!(open(&with(account(kms.account_key(&uri)))).await, Ok(Some(2399)));
    let machine = || Login::Metadata {
        metadata: server.url.clone(),
    };
    assert_eq!(open(&with(machine())).await, Ok(Some(2399)));
    for (member, value, expected) in [
        ("type", json!("authorized_user"), "service_account"),
        ("private_key", json!("PRIVATE KEY"), "no RSA key"),
        (
            "private_key",
            json!(String::from_utf8(kms.key.private_key_to_pem_pkcs8().unwrap()).unwrap()),
            "no RSA key",
        ),
        ("token_uri", json!("http://accounts.example/token"), "https"),
        ("token_uri", json!("x"), "https"),
        ("client_email", Value::Null, "JSON"),
    ] {
        let mut key = kms.account_key(&uri);
        key[member] = value;
        failed(open(&with(account(key))).await, expected, SECRETS);
    }
    for (status, body, expected, away) in [
        (
            "400 Bad Request",
            json!({ "error": "invalid_grant", "error_description": "Invalid JWT Signature." }),
            "invalid_grant: Invalid JWT",
            false,
        ),
        ("503 Service Unavailable", json!({}), "status 503", true),
        ("429 Too Many Requests", json!({}), "status 429", true),
        (
            "400 Bad Request",
            json!({ "error": "temporarily_unavailable" }),
            "temporarily",
            true,
        ),
        ("200 OK", json!({}), "no bearer token", false),
        (
            "200 OK",
            json!({ "access_token": "a b", "expires_in": 1, "token_type": "Bearer" }),
            "no bearer token",
            false,
        ),
        (
            "200 OK",
            json!({ "access_token": "a", "expires_in": 0, "token_type": "Bearer" }),
            "no bearer token",
            false,
        ),
        (
            "200 OK",
            json!({ "access_token": "a", "token_type": "Bearer" }),
            "no bearer token",
            false,
        ),
        (
            "200 OK",
            json!({ "access_token": "a", "expires_in": 1, "token_type": "DPoP" }),
            "no bearer token",
            false,
        ),
    ] {
        kms.answers("POST /token", status, &body);
        let came = open(&with(account(kms.account_key(&uri)))).await;
        if away {
            unavailable(came, expected, SECRETS);
        } else {
            failed(came, expected, SECRETS);
        }
    }
}

#[tokio::test]
async fn the_key_there_must_be_the_pinned_one() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let other = Kms::new(Algorithm::EcdsaP256Sha256);
    kms.answers("publicKey", "200 OK", &other.shown());
    failed(
        kms.opened(|_| ()).await,
        "has not the configured public_key",
        SECRETS,
    );
    for (member, value, expected) in [
        ("name", json!(NAME.replace("/1", "/2")), "another key"),
        ("pemCrc32c", json!("1"), "checksum"),
        ("pemCrc32c", Value::Null, "promises"),
        ("pem", json!("x"), "checksum"),
        ("algorithm", json!("EC_SIGN_P384_SHA384"), "configured algorithm"),
        (
            "algorithm",
            json!("EC_SIGN_SECP256K1_SHA256"),
            "configured algorithm",
        ),
    ] {
        let mut shown = kms.shown();
        shown[member] = value;
        kms.answers("publicKey", "200 OK", &shown);
        failed(kms.opened(|_| ()).await, expected, SECRETS);
    }
    let body = json!({ "digest": { "sha256": STANDARD.encode([7; 32]) }, "digestCrc32c": crc32c(&[7; 32]).to_string() });
    kms.answers("asymmetricSign", "200 OK", &other.sign(&body));
    failed(kms.opened(|_| ()).await, "public_key verifies", SECRETS);
}

#[tokio::test]
async fn an_answer_is_about_what_was_asked_and_arrived_whole() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let body = json!({ "digest": { "sha256": STANDARD.encode([7; 32]) }, "digestCrc32c": crc32c(&[7; 32]).to_string() });
    for (member, value, expected) in [
        ("name", json!(NAME.replace("/1", "/2")), "another key"),
        ("verifiedDigestCrc32c", json!(false), "with its checksum"),
        ("signatureCrc32c", json!("1"), "does not have its checksum"),
        ("signatureCrc32c", Value::Null, "promises"),
        ("signature", json!("AAAA"), "does not have its checksum"),
        ("signature", json!("!"), "does not have its checksum"),
        // A signature of another digest.
        ("x", Value::Null, "public_key verifies"),
    ] {
        let mut answer = kms.sign(&body);
        answer[member] = value;
        kms.answers("asymmetricSign", "200 OK", &answer);
        failed(kms.opened(|_| ()).await, expected, SECRETS);
    }
    let mut unsaid = kms.sign(&body);
    unsaid.as_object_mut().unwrap().remove("verifiedDigestCrc32c");
    // Of data, when a digest was sent.
    unsaid["verifiedDataCrc32c"] = json!(true);
    kms.answers("asymmetricSign", "200 OK", &unsaid);
    failed(kms.opened(|_| ()).await, "with its checksum", SECRETS);
    kms.instead.set(Some(("asymmetricSign", Reply::Endless)));
    failed(kms.opened(|_| ()).await, "longer than", SECRETS);
}

#[tokio::test]
async fn each_refusal_has_its_meaning() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    for (status, kind, words, expected, away) in [
        (
            "403 Forbidden",
            "PERMISSION_DENIED",
            "Permission denied",
            "PERMISSION_DENIED",
            false,
        ),
        ("404 Not Found", "NOT_FOUND", "not found", "NOT_FOUND", false),
        (
            "400 Bad Request",
            "FAILED_PRECONDITION",
            "is not enabled",
            "is not enabled",
            false,
        ),
        (
            "429 Too Many Requests",
            "RESOURCE_EXHAUSTED",
            "Quota",
            "RESOURCE_EXHAUSTED",
            true,
        ),
        ("503 Service Unavailable", "UNAVAILABLE", "", "UNAVAILABLE", true),
        (
            "401 Unauthorized",
            "UNAUTHENTICATED",
            "expired",
            "UNAUTHENTICATED",
            true,
        ),
        (
            "400 Bad Request",
            "INVALID_ARGUMENT",
            TOKEN,
            "words that repeat a credential",
            false,
        ),
    ] {
        kms.answers("asymmetricSign", status, &says(kind, words));
        let came = kms.opened(|_| ()).await;
        if away {
            unavailable(came, expected, SECRETS);
        } else {
            failed(came, expected, SECRETS);
        }
    }
    kms.answers("publicKey", "401 Unauthorized", &says("UNAUTHENTICATED", "x"));
    failed(kms.opened(|_| ()).await, "UNAUTHENTICATED", SECRETS);
}

#[tokio::test]
async fn what_is_away_or_slow_is_unavailable_and_nothing_goes_in_clear() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let away = settings(&nowhere().await);
    unavailable(open(&kms.backend(away)).await, "cannot be reached", SECRETS);
    kms.instead.set(Some(("asymmetricSign", Reply::Silence)));
    let server = kms.start().await;
    let common = || common(KIND, kms.algorithm, kms.key.public_key_to_pem().unwrap());
    let mut short = common();
    short.timeout = Duration::from_millis(300);
    let slow = backend(short, settings(&server.url), Arc::new(FakeClock::default())).unwrap();
    unavailable(open(&slow).await, "in time", SECRETS);
    let clear = settings(&Url::parse("http://cloudkms.example").unwrap());
    assert!(!format!("{clear:?}").contains(TOKEN));
    let refused = backend(common(), clear, Arc::new(FakeClock::default()));
    assert!(refused.unwrap_err().contains("https"));
}

#[tokio::test]
async fn a_token_that_ended_ends_the_session() {
    let kms = Kms::new(Algorithm::Ed25519);
    let server = kms.start().await;
    let inner = Inner {
        api: Api::new(Wire::new("Cloud KMS", None).unwrap(), server.url.clone(), NAME).unwrap(),
        tokens: Wire::new("tokens", None).unwrap(),
        algorithm: kms.algorithm,
        public: PublicKey::new(
            parse_public_pem(&kms.key.public_key_to_pem().unwrap()).unwrap(),
            kms.algorithm,
        )
        .unwrap(),
        settings: settings(&server.url),
        clock: Arc::new(FakeClock::default()),
    };
    let begun = Session::begin(Arc::new(inner)).await.unwrap();
    assert!(!format!("{begun:?}").contains(TOKEN));
    assert!(begun.session.sign(Input::Message(vec![7; 65536])).await.is_ok());
    let long = begun.session.sign(Input::Message(vec![7; 65537])).await;
    assert!(
        matches!(&long, Err(RemoteError::Failed(text)) if text.contains("65536")),
        "{long:?}"
    );
    for (status, ended) in [("401 Unauthorized", true), ("403 Forbidden", false)] {
        kms.answers("asymmetricSign", status, &says("X", "x"));
        let came = begun.session.sign(Input::Message(b"m".to_vec())).await;
        assert_eq!(matches!(came, Err(RemoteError::Ended(_))), ended, "{came:?}");
    }
}
