//! Against a scripted KMS on loopback, which signs as the real one does or answers as each test asks. That signatures of
//! requests are right, an independent implementation judges in the interop lane.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::pkey::{PKey, Private};
use serde_json::{Value, json};
use signer_actors::ports::{BackendError, SigningBackend as _};
use signer_actors::testing::{Dial, FakeClock};

use super::super::testkit::{ALGORITHMS, common, failed, key_for, open, secret, sign, unavailable};
use super::*;
use crate::adapters::jose::testkit::{Reply, Server, nowhere};
use crate::backends::remote::Input;

const ARN: &str = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "IQoJb3JpZ2luX2Vj-session";
const IDENTITY: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln";
const SECRETS: &[&str] = &[SECRET, TOKEN, IDENTITY];

#[derive(Clone)]
struct Kms {
    key: PKey<Private>,
    algorithm: Algorithm,
    /// Instead of the real answer, for requests that contain this.
    instead: Dial<Option<(&'static str, Reply)>>,
}

fn ok(body: &Value) -> Reply {
    Reply::json("200 OK", body)
}

impl Kms {
    fn new(algorithm: Algorithm) -> Self {
        Self {
            key: key_for(algorithm),
            algorithm,
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
        if head.starts_with("PUT /latest/api/token ") {
            assert!(head.contains("x-aws-ec2-metadata-token-ttl-seconds: 60"));
            return Reply::with_type("200 OK", "text/plain", b"metadata-token");
        }
        if head.starts_with("GET /latest/meta-data/iam/security-credentials/") {
            assert!(head.contains("x-aws-ec2-metadata-token: metadata-token"));
            return match head.split(' ').nth(1).unwrap().rsplit('/').next() {
                Some("signer-role") => ok(&json!({
                    "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": ID, "SecretAccessKey": SECRET, "Token": TOKEN,
                    "Expiration": "2099-01-01T00:00:00Z", "LastUpdated": "2026-01-01T00:00:00Z",
                })),
                _ => Reply::with_type("200 OK", "text/plain", b"signer-role\n"),
            };
        }
        if head.contains("application/x-www-form-urlencoded") {
            return self.assume(head, body);
        }
        assert!(head.starts_with("POST / "), "{head}");
        assert!(
            head.contains("content-type: application/x-amz-json-1.1"),
            "{head}"
        );
        let body: Value = serde_json::from_str(body).unwrap();
        if head.contains("x-amz-target: TrentService.GetPublicKey") {
            return ok(&self.shown());
        }
        assert!(head.contains("x-amz-target: TrentService.Sign"), "{head}");
        ok(&self.sign(&body))
    }

    /// As the documentation of `AssumeRoleWithWebIdentity` shows it.
    fn assume(&self, head: &str, body: &str) -> Reply {
        assert!(!head.contains("authorization"), "{head}");
        for part in [
            "Action=AssumeRoleWithWebIdentity",
            "Version=2011-06-15",
            "RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fsigner",
            "RoleSessionName=stellaops-signer",
            &format!("WebIdentityToken={IDENTITY}"),
        ] {
            assert!(body.contains(part), "{part}: {body}");
        }
        Reply::with_type("200 OK", "text/xml", assumed("2099-01-01T00:00:00Z").as_bytes())
    }

    fn shown(&self) -> Value {
        json!({
            "KeyId": ARN, "KeyUsage": "SIGN_VERIFY", "KeySpec": "X", "CustomerMasterKeySpec": "X",
            "PublicKey": STANDARD.encode(self.key.public_key_to_der().unwrap()),
            "SigningAlgorithms": ["ECDSA_SHA_256", "ECDSA_SHA_384", "ED25519_SHA_512", "RSASSA_PSS_SHA_256", "RSASSA_PKCS1_V1_5_SHA_256"],
        })
    }

    fn sign(&self, body: &Value) -> Value {
        assert_eq!(body["KeyId"], ARN);
        let (name, kind) = match self.algorithm {
            Algorithm::EcdsaP256Sha256 => ("ECDSA_SHA_256", "DIGEST"),
            Algorithm::EcdsaP384Sha384 => ("ECDSA_SHA_384", "DIGEST"),
            Algorithm::Ed25519 => ("ED25519_SHA_512", "RAW"),
            Algorithm::RsaPssSha256 => ("RSASSA_PSS_SHA_256", "DIGEST"),
            Algorithm::RsaPkcs1Sha256 => ("RSASSA_PKCS1_V1_5_SHA_256", "DIGEST"),
        };
        assert_eq!(
            (&body["SigningAlgorithm"], &body["MessageType"]),
            (&json!(name), &json!(kind))
        );
        let input = STANDARD.decode(body["Message"].as_str().unwrap()).unwrap();
        let signature = sign(&self.key, self.algorithm, &input);
        json!({ "KeyId": ARN, "SigningAlgorithm": name, "Signature": STANDARD.encode(signature) })
    }

    async fn start(&self) -> Server {
        let this = self.clone();
        Server::start(move |request, _| this.answer(request)).await
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
}

fn assumed(expiration: &str) -> String {
    format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n\
         <AssumeRoleWithWebIdentityResult><SubjectFromWebIdentityToken>x</SubjectFromWebIdentityToken>\n\
         <AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/signer/s</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>\n\
         <Credentials><SessionToken>{TOKEN}</SessionToken><SecretAccessKey>{SECRET}</SecretAccessKey>\n\
         <Expiration>{expiration}</Expiration><AccessKeyId>{ID}</AccessKeyId></Credentials>\n\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    )
}

fn access_key(session_token: Option<&str>) -> Login {
    Login::AccessKey {
        id: secret(ID),
        secret: secret(SECRET),
        session_token: session_token.map(secret),
    }
}

fn settings(url: &Url) -> Settings {
    Settings {
        region: "eu-central-1".to_owned(),
        key: ARN.to_owned(),
        endpoint: Some(url.clone()),
        roots_pem: None,
        login: access_key(None),
    }
}

fn role(url: &Url) -> Login {
    Login::WebIdentity {
        role_arn: "arn:aws:iam::111122223333:role/signer".to_owned(),
        token: secret(IDENTITY),
        endpoint: Some(url.clone()),
    }
}

fn says(kind: &str, words: &str) -> Value {
    json!({ "__type": kind, "message": words })
}

#[tokio::test]
async fn every_algorithm_opens_and_the_request_is_bound_to_what_is_asked() {
    for algorithm in ALGORITHMS {
        let kms = Kms::new(algorithm);
        let mut server = kms.start().await;
        let backend = kms.backend(settings(&server.url));
        assert_eq!((backend.info().kind, open(&backend).await), (KIND, Ok(None)));
        let mut signed = 0;
        while let Ok(request) = server.requests.try_recv() {
            let head = request.split_once("\r\n\r\n").unwrap().0;
            // The time is that of the clock, the one of the tests' world.
            let time = signer_actors::testing::NOW();
            let (day, second) = (time.format("%Y%m%d"), time.format("%Y%m%dT%H%M%SZ"));
            assert!(head.contains(&format!("x-amz-date: {second}")), "{head}");
            let authorization = format!(
                "authorization: AWS4-HMAC-SHA256 Credential={ID}/{day}/eu-central-1/kms/aws4_request, \
                 SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature="
            );
            assert!(head.contains(&authorization), "{head}");
            signed += 1;
        }
        assert_eq!(signed, 2, "reading the key, and the signature that proves it");
    }
}

#[tokio::test]
async fn a_session_token_travels_signed() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let mut server = kms.start().await;
    let mut settings = settings(&server.url);
    settings.login = access_key(Some(TOKEN));
    open(&kms.backend(settings)).await.unwrap();
    let request = server.requests.recv().await.unwrap();
    assert!(
        request.contains(&format!("x-amz-security-token: {TOKEN}")),
        "{request}"
    );
    assert!(
        request.contains("SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target"),
        "{request}"
    );
}

#[tokio::test]
async fn the_key_there_must_be_the_pinned_one() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let other = Kms::new(Algorithm::EcdsaP256Sha256);
    let mut shown = other.shown();
    kms.answers("GetPublicKey", "200 OK", &shown);
    failed(
        kms.opened(|_| ()).await,
        "has not the configured public_key",
        SECRETS,
    );
    for (member, value, expected) in [
        ("KeyUsage", json!("ENCRYPT_DECRYPT"), "SIGN_VERIFY"),
        ("SigningAlgorithms", json!(["ECDSA_SHA_384"]), "key spec"),
        ("SigningAlgorithms", json!([]), "key spec"),
        ("PublicKey", json!("AAAA"), "public_key"),
        ("PublicKey", json!("!"), "public_key"),
        ("PublicKey", Value::Null, "promises"),
        (
            "KeyId",
            json!("arn:aws:kms:eu-central-1:111122223333:key/another"),
            "another key",
        ),
        (
            "KeyId",
            json!("1234abcd-12ab-34cd-56ef-1234567890ab"),
            "another key",
        ),
        ("KeyId", json!(ARN.replace(":key/", ":alias/")), "another key"),
    ] {
        shown = kms.shown();
        shown[member] = value;
        kms.answers("GetPublicKey", "200 OK", &shown);
        failed(kms.opened(|_| ()).await, expected, SECRETS);
    }
    // What the pinned one is shown for, another signs.
    let signed = other.sign(&json!({
        "KeyId": ARN, "SigningAlgorithm": "ECDSA_SHA_256", "MessageType": "DIGEST", "Message": STANDARD.encode([7; 32]),
    }));
    kms.answers("TrentService.Sign", "200 OK", &signed);
    failed(kms.opened(|_| ()).await, "public_key verifies", SECRETS);
}

#[tokio::test]
async fn a_key_is_named_by_arn_id_or_alias() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    for (name, opens) in [
        (ARN, true),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", true),
        ("alias/release", true),
        ("arn:aws:kms:eu-central-1:111122223333:alias/release", true),
        ("1234abcd", false),
        (
            "arn:aws:kms:eu-central-1:999999999999:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            false,
        ),
    ] {
        let came = kms.opened(|it| it.key = name.to_owned()).await;
        assert_eq!(came.is_ok(), opens, "{name}: {came:?}");
    }
}

#[tokio::test]
async fn an_answer_is_about_what_was_asked() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let good = || {
        kms.sign(&json!({
            "KeyId": ARN, "SigningAlgorithm": "ECDSA_SHA_256", "MessageType": "DIGEST", "Message": STANDARD.encode([7; 32]),
        }))
    };
    for (member, value, expected) in [
        ("KeyId", json!(format!("{ARN}2")), "another key or algorithm"),
        (
            "SigningAlgorithm",
            json!("ECDSA_SHA_384"),
            "another key or algorithm",
        ),
        ("Signature", json!(""), "no signature"),
        ("Signature", json!("!"), "no signature"),
        ("Signature", json!("AAAA"), "public_key verifies"),
        ("Signature", Value::Null, "promises"),
        // A signature of another digest.
        ("X", Value::Null, "public_key verifies"),
    ] {
        let mut answer = good();
        answer[member] = value;
        kms.answers("TrentService.Sign", "200 OK", &answer);
        failed(kms.opened(|_| ()).await, expected, SECRETS);
    }
    kms.answers("TrentService.Sign", "200 OK", &json!([]));
    failed(kms.opened(|_| ()).await, "promises", SECRETS);
    kms.instead.set(Some(("TrentService.Sign", Reply::Endless)));
    failed(kms.opened(|_| ()).await, "longer than", SECRETS);
    kms.instead.set(Some((
        "TrentService.Sign",
        Reply::redirect("https://elsewhere.example/"),
    )));
    failed(kms.opened(|_| ()).await, "status 302", SECRETS);
}

#[tokio::test]
async fn each_refusal_has_its_meaning() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let late = "Signature expired: 20260101T000000Z is now earlier than 20260101T005500Z";
    for (status, kind, words, expected, away) in [
        (
            "400 Bad Request",
            "AccessDeniedException",
            "not authorized to perform: kms:Sign",
            "kms:Sign",
            false,
        ),
        (
            "400 Bad Request",
            "NotFoundException",
            "Key does not exist",
            "NotFoundException",
            false,
        ),
        (
            "400 Bad Request",
            "DisabledException",
            "is disabled",
            "DisabledException",
            false,
        ),
        (
            "400 Bad Request",
            "com.amazonaws.kms#KMSInvalidStateException",
            "pending deletion",
            ", KMSInvalidStateException: pend",
            false,
        ),
        (
            "400 Bad Request",
            "ThrottlingException",
            "Rate exceeded",
            "Rate exceeded",
            true,
        ),
        (
            "500 Internal Server Error",
            "KMSInternalException",
            "x",
            "KMSInternalException",
            true,
        ),
        ("503 Service Unavailable", "", "", "status 503", true),
        (
            "403 Forbidden",
            "InvalidSignatureException",
            "does not match",
            "does not match",
            true,
        ),
        (
            "400 Bad Request",
            "ExpiredTokenException",
            "expired",
            "ExpiredToken",
            true,
        ),
        (
            "400 Bad Request",
            "UnrecognizedClientException",
            "invalid",
            "Unrecognized",
            true,
        ),
        (
            "403 Forbidden",
            "InvalidSignatureException",
            late,
            "compare the clock",
            true,
        ),
        (
            "403 Forbidden",
            "InvalidSignatureException",
            "Signature not yet current: x",
            "compare the clock",
            true,
        ),
        (
            "400 Bad Request",
            "RequestExpired",
            "x",
            "compare the clock",
            true,
        ),
        (
            "400 Bad Request",
            "ValidationException",
            SECRET,
            "words that repeat a credential",
            false,
        ),
    ] {
        kms.answers("TrentService.Sign", status, &says(kind, words));
        let came = kms.opened(|_| ()).await;
        if away {
            unavailable(came, expected, SECRETS);
        } else {
            failed(came, expected, SECRETS);
        }
    }
    // Credentials that are wrong from the beginning are no matter of waiting; a clock is.
    for (words, away) in [("does not match", false), (late, true)] {
        kms.answers(
            "GetPublicKey",
            "403 Forbidden",
            &says("InvalidSignatureException", words),
        );
        let came = kms.opened(|_| ()).await;
        assert_eq!(
            matches!(came, Err(BackendError::Unavailable(_))),
            away,
            "{came:?}"
        );
    }
}

#[tokio::test]
async fn credentials_that_ended_end_the_session_and_are_read_again() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let server = kms.start().await;
    let inner = Arc::new(Inner {
        api: Api::new(&settings(&server.url), Arc::new(FakeClock::default())).unwrap(),
        sts: sts(&settings(&server.url)).unwrap(),
        algorithm: kms.algorithm,
        public: PublicKey::new(
            parse_public_pem(&kms.key.public_key_to_pem().unwrap()).unwrap(),
            kms.algorithm,
        )
        .unwrap(),
        settings: settings(&server.url),
        clock: Arc::new(FakeClock::default()),
    });
    let begun = Session::begin(inner).await.unwrap();
    assert!(!format!("{begun:?}").contains(SECRET));
    for (kind, ended) in [
        ("ExpiredTokenException", true),
        ("UnrecognizedClientException", true),
        ("InvalidSignatureException", true),
        ("AccessDeniedException", false),
        ("DisabledException", false),
    ] {
        kms.answers("TrentService.Sign", "400 Bad Request", &says(kind, "x"));
        let came = begun.session.sign(Input::Digest(vec![7; 32])).await;
        assert_eq!(
            matches!(came, Err(RemoteError::Ended(_))),
            ended,
            "{kind}: {came:?}"
        );
    }
}

#[tokio::test]
async fn roles_are_assumed_and_replaced_ahead_of_their_end() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let mut server = kms.start().await;
    let with_role = |url: &Url| {
        let mut settings = settings(url);
        settings.login = role(url);
        settings
    };
    let in_an_hour = assumed(&(signer_actors::testing::NOW() + chrono::TimeDelta::hours(1)).to_rfc3339());
    let xml = |status: &str, text: &str| {
        Some((
            "WebIdentity",
            Reply::with_type(status, "text/xml", text.as_bytes()),
        ))
    };
    kms.instead.set(xml("200 OK", &in_an_hour));
    assert_eq!(open(&kms.backend(with_role(&server.url))).await, Ok(Some(2400)));
    let _assumed = server.requests.recv().await.unwrap();
    let request = server.requests.recv().await.unwrap();
    assert!(
        request.contains(&format!("x-amz-security-token: {TOKEN}")),
        "{request}"
    );
    kms.instead.set(None);
    assert!(open(&kms.backend(with_role(&server.url))).await.is_ok());
    let error = |code: &str| {
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>of {IDENTITY}</Message></Error></ErrorResponse>"
        )
    };
    for (status, body, expected, away) in [
        (
            "400 Bad Request",
            error("InvalidIdentityToken"),
            "InvalidIdentityToken",
            false,
        ),
        (
            "400 Bad Request",
            error("ExpiredTokenException"),
            "ExpiredTokenException",
            false,
        ),
        ("403 Forbidden", error("AccessDenied"), "AccessDenied", false),
        (
            "400 Bad Request",
            error("IDPCommunicationError"),
            "IDPCommunicationError",
            true,
        ),
        ("400 Bad Request", error("Throttling"), "Throttling", true),
        ("503 Service Unavailable", String::new(), "status 503", true),
        ("200 OK", String::new(), "promises", false),
        ("200 OK", in_an_hour.replace(ID, ""), "no credentials", false),
        (
            "200 OK",
            in_an_hour.replace("Expiration", "Expired"),
            "promises",
            false,
        ),
        ("200 OK", in_an_hour.replace(ID, "A&amp;B"), "promises", false),
        ("200 OK", format!("{in_an_hour}{in_an_hour}"), "promises", false),
        (
            "200 OK",
            assumed("2001-01-01T00:00:00Z"),
            "compare the clock",
            true,
        ),
    ] {
        kms.instead.set(xml(status, &body));
        let came = open(&kms.backend(with_role(&server.url))).await;
        if away {
            unavailable(came, expected, SECRETS);
        } else {
            failed(came, expected, SECRETS);
        }
    }
}

#[tokio::test]
async fn an_instance_has_a_role() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let instance = |settings: &mut Settings| {
        settings.login = Login::Instance {
            metadata: settings.endpoint.clone().unwrap(),
        };
    };
    assert!(kms.opened(instance).await.unwrap().is_some());
    for (asked, reply, expected) in [
        (
            "latest/api/token",
            Reply::with_type("403 Forbidden", "text/plain", b""),
            "status 403",
        ),
        (
            "security-credentials/ ",
            Reply::with_type("404 Not Found", "text/plain", b""),
            "status 404",
        ),
        (
            "security-credentials/ ",
            Reply::with_type("200 OK", "text/plain", b"../../other"),
            "no role",
        ),
        (
            "security-credentials/ ",
            Reply::with_type("200 OK", "text/plain", b".."),
            "no role",
        ),
        (
            "security-credentials/ ",
            Reply::with_type("200 OK", "text/plain", b"a\nb"),
            "no role",
        ),
        ("signer-role", ok(&json!({ "Code": "Failed" })), "no credentials"),
    ] {
        kms.instead.set(Some((asked, reply)));
        failed(kms.opened(instance).await, expected, SECRETS);
    }
}

#[tokio::test]
async fn what_is_away_or_slow_is_unavailable() {
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let away = settings(&nowhere().await);
    unavailable(open(&kms.backend(away)).await, "cannot be reached", SECRETS);
    for reply in [Reply::Silence, Reply::Stall] {
        kms.instead.set(Some(("TrentService.Sign", reply)));
        let server = kms.start().await;
        let mut common = common(KIND, kms.algorithm, kms.key.public_key_to_pem().unwrap());
        common.timeout = Duration::from_millis(300);
        let backend = backend(common, settings(&server.url), Arc::new(FakeClock::default())).unwrap();
        unavailable(open(&backend).await, "in time", SECRETS);
    }
}

#[tokio::test]
async fn a_statement_too_long_for_ed25519_is_not_sent() {
    let kms = Kms::new(Algorithm::Ed25519);
    let server = kms.start().await;
    let backend = kms.backend(settings(&server.url));
    open(&backend).await.unwrap();
    let long = session::request(kms.algorithm, ARN, &Input::Message(vec![b'x'; 4097]));
    assert!(
        matches!(&long, Err(RemoteError::Failed(text)) if text.contains("4096")),
        "{long:?}"
    );
    assert!(session::request(kms.algorithm, ARN, &Input::Message(vec![b'x'; 4096])).is_ok());
}

#[test]
fn addresses_are_those_of_the_region_and_never_in_clear() {
    let url = |service, region| regional(service, region).unwrap().to_string();
    assert_eq!(
        url("kms", "eu-central-1"),
        "https://kms.eu-central-1.amazonaws.com/"
    );
    assert_eq!(
        url("sts", "cn-north-1"),
        "https://sts.cn-north-1.amazonaws.com.cn/"
    );
    let kms = Kms::new(Algorithm::EcdsaP256Sha256);
    let clear = Url::parse("http://kms.example").unwrap();
    let good = Url::parse("https://kms.example").unwrap();
    let mut both = [settings(&clear), settings(&good)];
    both[1].login = role(&clear);
    for settings in both {
        assert!(
            !SECRETS
                .iter()
                .any(|secret| format!("{settings:?}").contains(secret))
        );
        let common = common(KIND, kms.algorithm, kms.key.public_key_to_pem().unwrap());
        let refused = backend(common, settings, Arc::new(FakeClock::default()));
        assert!(refused.unwrap_err().contains("https"));
    }
}
