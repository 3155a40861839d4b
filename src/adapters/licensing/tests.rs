use serde_json::{Value, json};
use signer_actors::domain::entitlement::{CalendarTag, VersionWindow};
use signer_actors::domain::plan::PlanLimits;
use signer_actors::ports::PoeRejection;

use super::*;
use crate::adapters::jose::testkit::{Issuer, NOW, Reply, Server, TIMEOUT, at, nowhere};

const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const SECRET: &str = "licensing-credential-1";

fn settings(url: Url, keys: KeysLocation) -> Settings {
    Settings {
        issuer: "https://licensing.example".to_owned(),
        audience: "signer".to_owned(),
        algorithms: JwsAlgorithm::ALL.to_vec(),
        keys,
        own_keys: crate::adapters::jose::source::OwnKeys::fixed([].into()),
        introspection: Some(IntrospectionSettings {
            url,
            credential: Credential::new(SECRET).unwrap(),
        }),
        roots: None,
        timeout: TIMEOUT,
        clock_skew: Duration::from_secs(30),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://licensing.example", "sub": "installation-7", "aud": "signer", "lic": "L-1", "tid": "acme", "inst": "eu",
        "plan": "pro", "iat": NOW, "nbf": NOW, "exp": NOW + 3600, "jti": "p1",
        "limits": { "qps": 100, "burst": 200, "concurrency": 16, "maxArtifactBytes": 104857600 },
        "versionWindow": { "min": "2026.04", "max": "2026.10" },
        "features": ["mode:kms", "predicate:https://stella.ops/*"],
    })
}

fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn verify_with(issuer: &Issuer, claims: &Value, now: i64) -> Result<Entitlement, PoeRejection> {
    let settings = settings(Url::parse("https://l.example").unwrap(), KeysLocation::Discovery);
    let verifier = LicensePoeVerifier::new(Arc::new(policy(&settings)), issuer.key_set());
    verifier.verify(&issuer.sign("poe+jwt", claims), at(now))
}

fn verify(claims: &Value) -> Result<Entitlement, PoeRejection> {
    verify_with(&Issuer::new(), claims, NOW)
}

fn tag(value: &str) -> Option<CalendarTag> {
    Some(CalendarTag::parse(value).unwrap())
}

#[test]
fn a_poe_is_read_as_it_says() {
    let facts = verify(&claims()).unwrap();
    assert_eq!((facts.license.as_str(), facts.plan.as_str()), ("L-1", "pro"));
    assert_eq!(
        (facts.tenant.as_str(), facts.installation.as_str()),
        ("acme", "eu")
    );
    assert_eq!(facts.expires, at(NOW + 3600));
    assert_eq!(facts.confirmation, None);
    let limits = PlanLimits {
        qps: 100,
        burst: 200,
        concurrency: 16,
        max_artifact_bytes: 104_857_600,
    };
    assert_eq!(facts.limits, limits);
    let window = VersionWindow {
        min: tag("2026.4"),
        max: tag("2026.10"),
    };
    assert_eq!(facts.versions, Some(window));
    assert_eq!(
        facts.features.iter().collect::<Vec<_>>(),
        ["mode:kms", "predicate:https://stella.ops/*"]
    );
    let bare = without(without(without(claims(), "versionWindow"), "features"), "nbf");
    let facts = verify(&bare).unwrap();
    assert_eq!((facts.versions, facts.features.iter().count()), (None, 0));
    let mut bound = claims();
    bound["cnf"] = json!({ "jkt": JKT });
    assert!(verify(&bound).unwrap().confirmation.unwrap().jkt.is_some());
}

#[test]
fn every_claim_must_be_exactly_right() {
    let limits = |name: &str, value: Value| {
        let mut limits = claims()["limits"].clone();
        limits[name] = value;
        limits
    };
    let cases = [
        ("lic", vec![json!(""), json!(1), json!("l".repeat(257))]),
        ("sub", vec![json!(""), json!(null)]),
        ("jti", vec![json!(""), json!(1)]),
        ("tid", vec![json!("a b"), json!(null)]),
        ("inst", vec![json!("")]),
        (
            "plan",
            vec![
                json!(""),
                json!(" pro"),
                json!("p\n"),
                json!(1),
                json!("p".repeat(129)),
            ],
        ),
        (
            "iss",
            vec![
                json!("https://licensing.example/"),
                json!(["https://licensing.example"]),
            ],
        ),
        ("aud", vec![json!("other"), json!([])]),
        ("cnf", vec![json!({}), json!({ "jwk": {} }), json!(null)]),
        (
            "limits",
            vec![
                json!(null),
                json!([]),
                json!({}),
                json!({ "qps": 1, "burst": 1, "concurrency": 1 }),
                limits("qps", json!(0)),
                limits("qps", json!(-1)),
                limits("qps", json!(1.5)),
                limits("qps", json!("100")),
                limits("qps", json!(true)),
                limits("burst", json!(1u64 << 32)),
                limits("concurrency", json!(null)),
                limits("maxArtifactBytes", json!(0)),
                limits("maxArtifactBytes", json!(1u64 << 53)),
                limits("max_artifact_bytes", json!(1)),
            ],
        ),
        (
            "versionWindow",
            vec![
                json!(null),
                json!("2026.04"),
                json!({ "min": "2026" }),
                json!({ "min": 2026.04 }),
                json!({ "max": null }),
                json!({ "Min": "2026.04" }),
            ],
        ),
        (
            "features",
            vec![
                json!(null),
                json!("mode:kms"),
                json!([1]),
                json!([""]),
                json!(["a b"]),
                json!(["f".repeat(257)]),
                json!(vec!["f"; 257]),
            ],
        ),
    ];
    for (name, values) in cases {
        for value in values {
            let mut claims = claims();
            claims[name] = value.clone();
            let Err(PoeRejection::Invalid(why)) = verify(&claims) else {
                panic!("{name} {value} was accepted");
            };
            assert!(why.contains(&format!("`{name}`")), "{name} {value}: {why}");
        }
    }
    for name in [
        "iss", "sub", "aud", "lic", "tid", "inst", "plan", "iat", "exp", "jti", "limits",
    ] {
        assert!(
            matches!(verify(&without(claims(), name)), Err(PoeRejection::Invalid(_))),
            "without {name}"
        );
    }
}

#[test]
fn expiry_and_unknown_keys_have_answers_of_their_own() {
    let issuer = Issuer::new();
    assert!(verify_with(&issuer, &claims(), NOW + 3629).is_ok());
    assert_eq!(
        verify_with(&issuer, &claims(), NOW + 3630),
        Err(PoeRejection::Expired)
    );
    let settings = settings(Url::parse("https://l.example").unwrap(), KeysLocation::Discovery);
    let verifier = LicensePoeVerifier::new(Arc::new(policy(&settings)), issuer.key_set());
    assert!(verifier.knows("k1") && !verifier.knows("k2"));
    let header = json!({ "typ": "poe+jwt", "kid": "k2" });
    let token = crate::adapters::jose::mint::sign_compact(&header, &claims(), &issuer.key).unwrap();
    assert_eq!(
        verifier.verify(&token, at(NOW)),
        Err(PoeRejection::UnknownKey { kid: "k2".to_owned() })
    );
    // An operational token is no PoE.
    assert!(
        verifier
            .verify(&issuer.sign("at+jwt", &claims()), at(NOW))
            .is_err()
    );
}

async fn introspect(url: Url, facts: Entitlement, poe: &str) -> Result<Introspection, SourceUnavailable> {
    let licensing = Licensing::new(&settings(url, KeysLocation::Discovery)).unwrap();
    licensing.introspect(Arc::from(poe), facts).await
}

async fn answered(reply: Reply) -> (Result<Introspection, SourceUnavailable>, Entitlement) {
    let issuer = Issuer::new();
    let facts = verify_with(&issuer, &claims(), NOW).unwrap();
    let server = Server::start(move |_, _| reply.clone()).await;
    let poe = issuer.sign("poe+jwt", &claims());
    (
        introspect(server.at("/introspect"), facts.clone(), &poe).await,
        facts,
    )
}

async fn active(mut members: Value) -> (Result<Introspection, SourceUnavailable>, Entitlement) {
    members["active"] = json!(true);
    answered(Reply::json("200 OK", &members)).await
}

#[tokio::test]
async fn the_request_is_that_of_rfc_7662() {
    let issuer = Issuer::new();
    let facts = verify_with(&issuer, &claims(), NOW).unwrap();
    let mut server = Server::start(|_, _| Reply::json("200 OK", &json!({ "active": false }))).await;
    let poe = issuer.sign("poe+jwt", &claims());
    let outcome = introspect(server.at("/license/introspect"), facts, &poe).await;
    assert_eq!(outcome, Ok(Introspection::Revoked));
    let request = server.requests.recv().await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /license/introspect HTTP/1.1\r\n"),
        "{head}"
    );
    for field in [
        format!("authorization: Bearer {SECRET}"),
        "accept: application/json".to_owned(),
        "content-type: application/x-www-form-urlencoded".to_owned(),
    ] {
        assert!(head.lines().any(|line| line == field), "{field}: {head}");
    }
    assert_eq!(body, format!("token={poe}"));
}

#[tokio::test]
async fn an_active_answer_only_narrows() {
    let (outcome, facts) = active(json!({})).await;
    assert_eq!(outcome, Ok(Introspection::Active(Box::new(facts))));

    let wider = json!({
        "exp": NOW + 999_999, "limits": { "qps": 1000, "burst": 1000, "concurrency": 1000, "maxArtifactBytes": 1u64 << 40 },
        "versionWindow": { "min": "2020.01", "max": "2030.01" },
        "features": ["mode:kms", "mode:keyless", "predicate:https://stella.ops/*"],
    });
    let (outcome, facts) = active(wider).await;
    assert_eq!(outcome, Ok(Introspection::Active(Box::new(facts))));

    let narrower = json!({
        "exp": NOW + 10, "limits": { "qps": 5 }, "versionWindow": { "max": "2026.06" }, "features": ["mode:kms"], "plan": "basic",
        "iss": "https://licensing.example", "sub": "installation-7", "lic": "L-1", "tid": "acme", "inst": "eu", "unknown": 1,
    });
    let (outcome, facts) = active(narrower).await;
    let Ok(Introspection::Active(narrowed)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(narrowed.expires, at(NOW + 10));
    assert_eq!((narrowed.limits.qps, narrowed.limits.burst), (5, 200));
    let window = VersionWindow {
        min: tag("2026.04"),
        max: tag("2026.06"),
    };
    assert_eq!(narrowed.versions, Some(window));
    assert_eq!(narrowed.features.iter().collect::<Vec<_>>(), ["mode:kms"]);
    assert_eq!(narrowed.plan, "basic");
    assert_eq!((narrowed.tenant, narrowed.license), (facts.tenant, facts.license));
}

#[tokio::test]
async fn an_answer_about_someone_else_is_a_mismatch() {
    for (name, value) in [
        ("iss", json!("https://other.example")),
        ("sub", json!("installation-8")),
        ("lic", json!("L-2")),
        ("tid", json!("other")),
        ("inst", json!("us")),
        ("inst", json!(null)),
        ("cnf", json!({ "jkt": JKT })),
    ] {
        assert_eq!(
            active(json!({ name: value })).await.0,
            Ok(Introspection::Mismatch),
            "{name}"
        );
    }
}

#[tokio::test]
async fn whatever_is_no_clear_answer_is_unavailable() {
    let html = b"<html>licensing-credential-1</html>";
    let big = format!("{{\"active\":true,\"x\":\"{}\"}}", "x".repeat(fetch::MAX_BODY));
    let json_type = "application/json";
    for (reply, expected) in [
        (Reply::json("200 OK", &json!({})), "`active`"),
        (Reply::json("200 OK", &json!({ "active": "true" })), "`active`"),
        (Reply::json("200 OK", &json!({ "active": 1 })), "`active`"),
        (Reply::json("200 OK", &json!({ "active": null })), "`active`"),
        (Reply::json("200 OK", &json!([true])), "no JSON object"),
        (
            Reply::with_type("200 OK", json_type, br#"{"active":false,"active":true}"#),
            "twice",
        ),
        (Reply::with_type("200 OK", json_type, html), "no JSON"),
        (
            Reply::with_type("200 OK", "text/html", html),
            "not application/json",
        ),
        (
            Reply::with_type("200 OK", "text/plain", br#"{"active":true}"#),
            "not application/json",
        ),
        (Reply::with_type("200 OK", json_type, big.as_bytes()), "64 KiB"),
        (
            Reply::json("200 OK", &json!({ "active": true, "limits": { "qps": "5" } })),
            "`limits`",
        ),
        (
            Reply::json("200 OK", &json!({ "active": true, "exp": "soon" })),
            "`exp`",
        ),
        (
            Reply::json("200 OK", &json!({ "active": true, "features": "mode:kms" })),
            "`features`",
        ),
        (
            Reply::json("201 Created", &json!({ "active": true })),
            "answered 201",
        ),
        (
            Reply::json("401 Unauthorized", &json!({ "active": true })),
            "answered 401",
        ),
        (
            Reply::with_type("500 Internal Server Error", "text/html", html),
            "answered 500",
        ),
        (Reply::redirect("/elsewhere"), "answered 302"),
        (Reply::Silence, "in time"),
        (Reply::Stall, "in time"),
        (Reply::Endless, "64 KiB"),
    ] {
        let text = answered(reply).await.0.unwrap_err().0;
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(!text.contains(SECRET), "{text}");
    }
    let issuer = Issuer::new();
    let facts = verify_with(&issuer, &claims(), NOW).unwrap();
    let poe = issuer.sign("poe+jwt", &claims());
    let text = introspect(nowhere().await, facts, &poe).await.unwrap_err().0;
    assert!(text.contains("no connection") && !text.contains(&poe), "{text}");
}

#[tokio::test]
async fn who_asks_to_be_left_alone_is() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let later = "retry-after: Sun, 06 Nov 1994 08:50:07 GMT";
    let secs = Duration::from_secs;
    for (status, headers, expected) in [
        ("429 Too Many Requests", String::new(), Some(secs(1))),
        ("429 Too Many Requests", "retry-after: 17".into(), Some(secs(17))),
        ("429 Too Many Requests", "retry-after: -17".into(), Some(secs(1))),
        ("429 Too Many Requests", "retry-after: soon".into(), Some(secs(1))),
        (
            "429 Too Many Requests",
            format!("retry-after: {}", "9".repeat(40)),
            Some(Duration::MAX),
        ),
        (
            "429 Too Many Requests",
            format!("date: {date}\r\n{later}"),
            Some(secs(30)),
        ),
        // Past, by its own clock.
        (
            "429 Too Many Requests",
            format!("date: Mon, 07 Nov 1994 08:49:37 GMT\r\n{later}"),
            Some(secs(1)),
        ),
        ("429 Too Many Requests", later.into(), Some(secs(1))),
        ("503 Service Unavailable", "retry-after: 5".into(), Some(secs(5))),
        ("503 Service Unavailable", String::new(), None),
        ("500 Internal Server Error", "retry-after: 5".into(), None),
    ] {
        let fields = if headers.is_empty() {
            String::new()
        } else {
            format!("{headers}\r\n")
        };
        let reply = format!("HTTP/1.1 {status}\r\n{fields}content-length: 0\r\nconnection: close\r\n\r\n");
        let answer = answered(Reply::Raw(reply.into_bytes())).await.0;
        match expected {
            Some(pause) => assert_eq!(answer, Ok(Introspection::Later(pause)), "{status} {headers}"),
            None => assert!(answer.is_err(), "{status} {headers}"),
        }
    }
}

#[tokio::test]
async fn keys_come_from_a_file_and_offline_there_is_no_introspection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let issuer = Issuer::new();
    std::fs::write(&path, issuer.jwks().to_string()).unwrap();
    let mut settings = settings(Url::parse("https://l.example").unwrap(), KeysLocation::File(path));
    settings.introspection = None;
    let licensing = Licensing::new(&settings).unwrap();
    let verifier = licensing.fetch_keys().await.unwrap();
    let poe = issuer.sign("poe+jwt", &claims());
    let facts = verifier.verify(&poe, at(NOW)).unwrap();
    assert!(licensing.introspect(Arc::from(poe), facts).await.is_err());
}

#[test]
fn the_credential_is_never_printed_and_goes_nowhere_in_clear() {
    let settings = settings(
        Url::parse("http://licensing.example").unwrap(),
        KeysLocation::Discovery,
    );
    assert!(!format!("{settings:?}").contains(SECRET));
    assert!(Licensing::new(&settings).is_err());
    for bad in ["", "a b", "a\n", "é"] {
        assert!(Credential::new(bad).is_none(), "{bad:?}");
    }
}
