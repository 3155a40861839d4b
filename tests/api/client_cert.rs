//! `Client-Cert` from proxies (RFC 9440), and from everyone else.
//!
//! Proxies connect from 127.0.0.2, others from 127.0.0.1: the whole of 127.0.0.0/8 is this machine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::x509::X509;
use reqwest::{Client, ClientBuilder};
use serde_json::{Value, json};

use crate::support::{Answer, Call, Draft, TestApp};
use crate::tls::{Pair, Tls, tls};

const FROM_A_PROXY: [u8; 4] = [127, 0, 0, 2];
const FROM_ELSEWHERE: [u8; 4] = [127, 0, 0, 1];
const TRUSTED: &str = r#"trusted_proxies = ["127.0.0.2", "192.0.2.0/24"]"#;

/// The certificate of RFC 9440 Appendix A as a field, and its `x5t#S256` by `openssl dgst -sha256 -binary | basenc
/// --base64url`.
const EXAMPLE: &str = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:";
const EXAMPLE_X5T: &str = "v68ffgcPn6jdYpBfFY2nP4ShE2Yk-6_Mk5PI9yh6aes";

fn from(address: [u8; 4]) -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .local_address(std::net::IpAddr::from(address))
}

fn client(address: [u8; 4]) -> Client {
    from(address).build().unwrap()
}

/// As RFC 9440 §2.1 says.
fn field(certificate: &X509) -> String {
    format!(":{}:", STANDARD.encode(certificate.to_der().unwrap()))
}

async fn behind_a_proxy() -> TestApp {
    TestApp::with(&format!("[server]\n{TRUSTED}")).await
}

/// With a token bound to this certificate and nothing else.
fn bearer<'a>(app: &'a TestApp, x5t: &str) -> Call<'a> {
    let confirmation = json!({ "x5t#S256": x5t });
    let bind = move |draft: &mut Draft| draft.claim("cnf", confirmation);
    app.sign().token(bind).scheme("Bearer").proofs(&[])
}

async fn send(app: &TestApp, address: [u8; 4], call: Call<'_>) -> Answer {
    call.try_send_by(&client(address), app.base()).await.unwrap()
}

fn binding(app: &TestApp, answer: &Value) -> Value {
    app.audited(&answer["auditId"])[0]["caller"]["senderBinding"].clone()
}

async fn counted(app: &TestApp, result: &str) -> u64 {
    let line = format!("signer_client_cert_fields_total{{result=\"{result}\"}} ");
    let metrics = app.metrics().await;
    let value = metrics.lines().find_map(|found| found.strip_prefix(&line));
    value.expect("a counter").parse().unwrap()
}

#[actix::test]
async fn a_trusted_proxy_names_the_clients_certificate() {
    let app = behind_a_proxy().await;
    let (caller, other) = (Pair::new("caller"), Pair::new("other"));
    let call =
        |shown: &Pair| bearer(&app, &caller.thumbprint()).field("client-cert", field(&shown.certificate));
    let answer = send(&app, FROM_A_PROXY, call(&caller)).await.ok();
    assert_eq!(binding(&app, &answer), "mtls");
    // The RFC's own example, expired in 2021: chain and dates are the proxy's to judge.
    let example = bearer(&app, EXAMPLE_X5T).field("client-cert", EXAMPLE);
    send(&app, FROM_A_PROXY, example).await.ok();
    for (case, call) in [
        ("another", call(&other)),
        ("none", bearer(&app, &caller.thumbprint())),
        // The chain is nobody's certificate (RFC 9440 §2.3).
        (
            "in the chain alone",
            bearer(&app, &caller.thumbprint()).field("client-cert-chain", field(&caller.certificate)),
        ),
        (
            "under another name",
            bearer(&app, &caller.thumbprint()).field("x-client-cert", field(&caller.certificate)),
        ),
    ] {
        println!("{case}");
        send(&app, FROM_A_PROXY, call)
            .await
            .refused(401, "invalid_token", "authentication");
    }
    assert_eq!(counted(&app, "accepted").await, 3);
    assert_eq!(counted(&app, "ignored").await, 0);
}

#[actix::test]
async fn from_anyone_else_the_field_changes_nothing() {
    let app = behind_a_proxy().await;
    let caller = Pair::new("caller");
    let bound = || bearer(&app, &caller.thumbprint());
    let forged = field(&caller.certificate);
    let answer = send(&app, FROM_ELSEWHERE, bound().field("client-cert", &*forged)).await;
    let with = answer.refused(401, "invalid_token", "authentication");
    let without = send(&app, FROM_ELSEWHERE, bound()).await;
    let without = without.refused(401, "invalid_token", "authentication");
    assert_eq!(with["detail"], without["detail"]);
    // Forwarding headers make no proxy of anyone (RFC 7239 §8.1).
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.2"),
        ("forwarded", "for=127.0.0.2"),
        ("x-real-ip", "127.0.0.2"),
    ] {
        let call = bound().field("client-cert", &*forged).field(name, value);
        send(&app, FROM_ELSEWHERE, call)
            .await
            .refused(401, "invalid_token", "authentication");
    }
    // Malformed or twice, it is not even read: a request that needs no certificate is as good as ever.
    for values in [&["nonsense"][..], &["::"], &[&forged, &forged], &[""]] {
        let call = values
            .iter()
            .fold(app.sign(), |call, value| call.field("client-cert", *value));
        let answer = send(&app, FROM_ELSEWHERE, call).await.ok();
        assert_eq!(binding(&app, &answer), "dpop");
    }
    assert_eq!(counted(&app, "ignored").await, 8);
    assert_eq!(
        counted(&app, "malformed").await + counted(&app, "accepted").await,
        0
    );
}

#[actix::test]
async fn a_proxy_that_sends_nonsense_is_told_so() {
    let app = behind_a_proxy().await;
    let caller = Pair::new("caller");
    let der = caller.certificate.to_der().unwrap();
    let good = field(&caller.certificate);
    let other = field(&Pair::new("other").certificate);
    let pem = String::from_utf8(caller.certificate.to_pem().unwrap()).unwrap();
    let key = caller.key.public_key_to_der().unwrap();
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("nothing", vec![String::new()]),
        ("an empty sequence", vec!["::".into()]),
        ("two fields", vec![good.clone(), good.clone()]),
        ("two of different clients", vec![good.clone(), other.clone()]),
        ("a second that is empty", vec![good.clone(), String::new()]),
        ("a list", vec![format!("{good}, {other}")]),
        ("a list of one", vec![format!("{good},")]),
        ("a parameter", vec![format!("{good};verified=?1")]),
        ("no colons", vec![good.trim_matches(':').into()]),
        ("one colon", vec![good.trim_end_matches(':').into()]),
        ("base64url", vec![format!(":{}:", crate::support::b64(&der))]),
        ("white space within", vec![good.replacen('A', "A A", 1)]),
        ("PEM for URLs", vec![pem.replace('\n', "%0A").replace(' ', "%20")]),
        ("PEM in one line", vec![pem.replace('\n', " ")]),
        ("a token", vec!["certificate".into()]),
        ("a string", vec![format!("\"{}\"", good.trim_matches(':'))]),
        (
            "two certificates",
            vec![format!(":{}:", STANDARD.encode([&der[..], &der].concat()))],
        ),
        (
            "a byte more",
            vec![format!(":{}:", STANDARD.encode([&der[..], &[0]].concat()))],
        ),
        (
            "a byte less",
            vec![format!(":{}:", STANDARD.encode(&der[..der.len() - 1]))],
        ),
        ("a public key", vec![format!(":{}:", STANDARD.encode(key))]),
        (
            "Envoy's own format",
            vec![format!("Hash=abc;Cert=\"{}\"", pem.replace('\n', "%0A"))],
        ),
        ("too long", vec![format!(":{}:", "A".repeat(16_384))]),
    ];
    let count = cases.len() as u64;
    for (case, values) in cases {
        println!("{case}");
        // Whether the token needs a certificate or not.
        let call = values
            .iter()
            .fold(app.sign(), |call, value| call.field("client-cert", &**value));
        let problem = send(&app, FROM_A_PROXY, call)
            .await
            .refused(400, "invalid_request", "http");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("Client-Cert"), "{detail}");
        assert!(!detail.contains("MII"), "nothing of it is repeated: {detail}");
    }
    assert_eq!(counted(&app, "malformed").await, count);
    // Endpoints without credentials do not read it.
    let url = format!("{}/livez", app.base());
    let alive = client(FROM_A_PROXY).get(url).header("client-cert", "nonsense");
    assert!(alive.send().await.unwrap().status().is_success());
}

#[actix::test]
async fn a_huge_field_is_refused_whoever_sends_it() {
    let app = behind_a_proxy().await;
    for address in [FROM_A_PROXY, FROM_ELSEWHERE] {
        let call = app
            .sign()
            .field("client-cert", format!(":{}:", "A".repeat(40_000)));
        send(&app, address, call)
            .await
            .refused(431, "headers_too_large", "http");
    }
}

#[actix::test]
async fn every_binding_holds_behind_a_proxy_too() {
    let app = behind_a_proxy().await;
    let (caller, other) = (Pair::new("caller"), Pair::new("other"));
    let both = || {
        let x5t = caller.thumbprint();
        app.sign()
            .token(move |draft| draft.claims["cnf"]["x5t#S256"] = json!(x5t))
    };
    let answer = send(
        &app,
        FROM_A_PROXY,
        both().field("client-cert", field(&caller.certificate)),
    )
    .await;
    assert_eq!(binding(&app, &answer.ok()), "dpop+mtls");
    for call in [both(), both().field("client-cert", field(&other.certificate))] {
        send(&app, FROM_A_PROXY, call)
            .await
            .refused(401, "invalid_token", "authentication");
    }
    // DPoP alone needs none, and is not harmed by one.
    send(&app, FROM_A_PROXY, app.sign()).await.ok();
    let answer = send(
        &app,
        FROM_A_PROXY,
        app.sign().field("client-cert", field(&other.certificate)),
    )
    .await;
    assert_eq!(binding(&app, &answer.ok()), "dpop");
}

#[actix::test]
async fn a_proof_of_entitlement_is_compared_with_the_named_certificate() {
    let app = behind_a_proxy().await;
    let (caller, other) = (Pair::new("caller"), Pair::new("other"));
    let call = |poe: &Pair| {
        let confirmation = json!({ "x5t#S256": poe.thumbprint() });
        let call = bearer(&app, &caller.thumbprint()).poe(|draft| draft.claim("cnf", confirmation));
        call.field("client-cert", field(&caller.certificate))
    };
    send(&app, FROM_A_PROXY, call(&caller)).await.ok();
    send(&app, FROM_A_PROXY, call(&other))
        .await
        .refused(403, "entitlement_invalid", "entitlement");
}

/// A proxy that re-encrypts and shows a certificate of its own.
async fn re_encrypting() -> (Tls, Client, Client) {
    let tls = tls("optional", TRUSTED).await;
    let proxy = tls.client_of(from(FROM_A_PROXY), Some(&tls.other));
    let direct = tls.client_of(from(FROM_ELSEWHERE), Some(&tls.other));
    (tls, proxy, direct)
}

#[actix::test]
async fn a_proxys_own_certificate_is_nobodys() {
    let (tls, proxy, direct) = re_encrypting().await;
    let (caller, own) = (tls.caller.thumbprint(), tls.other.thumbprint());
    let app = &tls.app;
    // Twice: the second connection resumes the session of the first.
    for _ in 0..2 {
        tls.send(&proxy, bearer(app, &own))
            .await
            .refused(401, "invalid_token", "authentication");
        let call = bearer(app, &own).field("client-cert", field(&tls.caller.certificate));
        tls.send(&proxy, call)
            .await
            .refused(401, "invalid_token", "authentication");
        let call = bearer(app, &caller).field("client-cert", field(&tls.caller.certificate));
        tls.send(&proxy, call).await.ok();
    }
    let broken = bearer(app, &own).field("client-cert", "::");
    tls.send(&proxy, broken)
        .await
        .refused(400, "invalid_request", "http");
    // The same certificate from another address is its owner's, and the field is nothing.
    tls.send(&direct, bearer(app, &own)).await.ok();
    let call = bearer(app, &own).field("client-cert", field(&tls.caller.certificate));
    tls.send(&direct, call).await.ok();
    let call = bearer(app, &caller).field("client-cert", field(&tls.caller.certificate));
    tls.send(&direct, call)
        .await
        .refused(401, "invalid_token", "authentication");
}

#[actix::test]
async fn the_proxy_may_be_the_only_one_to_ask_for_certificates() {
    let tls = tls("off", TRUSTED).await;
    let proxy = tls.client_of(from(FROM_A_PROXY), None);
    let call = || {
        let bound = bearer(&tls.app, &tls.caller.thumbprint());
        bound.field("client-cert", field(&tls.caller.certificate))
    };
    tls.send(&proxy, call()).await.ok();
    let elsewhere = tls.client_of(from(FROM_ELSEWHERE), None);
    tls.send(&elsewhere, call())
        .await
        .refused(401, "invalid_token", "authentication");
}
