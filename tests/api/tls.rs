//! TLS by OpenSSL, and tokens bound to a client certificate (RFC 8705 §3).

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sha::sha256;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use reqwest::{Certificate, Client, ClientBuilder, Identity};
use serde_json::{Value, json};
use signer::client::files::write_private;

use crate::support::{Answer, Call, Draft, TestApp, World, b64, p256};

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
}

impl Pair {
    /// Signed by its own key, for 127.0.0.1; also its own authority.
    pub(crate) fn new(name: &str) -> Self {
        let key = p256();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap();
        builder.set_serial_number(&serial).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(&subject).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder
            .set_not_before(&Asn1Time::days_from_now(0).unwrap())
            .unwrap();
        builder
            .set_not_after(&Asn1Time::days_from_now(1).unwrap())
            .unwrap();
        builder
            .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
            .unwrap();
        let context = builder.x509v3_context(None, None);
        let address = SubjectAlternativeName::new()
            .ip("127.0.0.1")
            .build(&context)
            .unwrap();
        builder.append_extension(address).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self {
            certificate: builder.build(),
            key,
        }
    }

    fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }

    /// `x5t#S256` (RFC 8705 §3.1).
    pub(crate) fn thumbprint(&self) -> String {
        b64(sha256(&self.certificate.to_der().unwrap()))
    }
}

/// A service that ends TLS, and two certificates that it accepts connections with.
pub(crate) struct Tls {
    pub(crate) app: TestApp,
    base: String,
    server: Pair,
    pub(crate) caller: Pair,
    pub(crate) other: Pair,
}

/// With these lines in `[server]`.
pub(crate) async fn tls(client_auth: &str, more: &str) -> Tls {
    let (server, caller, other) = (Pair::new("server"), Pair::new("caller"), Pair::new("other"));
    let changes = format!(
        "[server]\n{more}\n[server.tls]\ncertificate = \"server.crt\"\nkey = \"file:server.key\"\nclient_ca = \"clients.crt\"\nclient_auth = \"{client_auth}\""
    );
    let world = World::new(&changes).await;
    let folder = world.folder.path();
    write_private(&folder.join("server.crt"), &server.pem()).unwrap();
    write_private(&folder.join("server.key"), &server.key_pem()).unwrap();
    write_private(&folder.join("clients.crt"), &[caller.pem(), other.pem()].concat()).unwrap();
    let app = TestApp::within(world).await;
    let base = app.base().replace("http://", "https://");
    Tls {
        app,
        base,
        server,
        caller,
        other,
    }
}

impl Tls {
    /// A client that shows this certificate; one connection for each request, so that sessions are resumed.
    pub(crate) fn client(&self, shown: Option<&Pair>) -> Client {
        self.client_of(Client::builder().no_proxy(), shown)
    }

    /// The same, begun by the caller.
    pub(crate) fn client_of(&self, client: ClientBuilder, shown: Option<&Pair>) -> Client {
        let root = Certificate::from_pem(&self.server.pem()).unwrap();
        let client = client.tls_certs_only([root]).pool_max_idle_per_host(0);
        let client = match shown {
            None => client,
            Some(pair) => client.identity(Identity::from_pkcs8_pem(&pair.pem(), &pair.key_pem()).unwrap()),
        };
        client.build().unwrap()
    }

    pub(crate) async fn send(&self, client: &Client, call: Call<'_>) -> Answer {
        let (fields, body, secrets) = call.into_parts();
        let mut request = client
            .post(format!("{}/api/v1/signer/sign/dsse", self.base))
            .body(body);
        for (name, value) in fields {
            request = request.header(name, value);
        }
        Answer::of(request.send().await.unwrap(), secrets).await
    }

    /// A request with a token bound to this alone, sent as a bearer token.
    fn bearer(&self, confirmation: Value) -> Call<'_> {
        let bind = |draft: &mut Draft| draft.claim("cnf", confirmation);
        self.app.sign().token(bind).scheme("Bearer").proofs(&[])
    }
}

#[actix::test]
async fn a_token_bound_to_a_certificate_needs_that_very_certificate() {
    let tls = tls("optional", "").await;
    let bound = || json!({ "x5t#S256": tls.caller.thumbprint() });
    let caller = tls.client(Some(&tls.caller));
    // The second connection may resume the first one's session, and the certificate counts there too.
    for connection in 1..=2 {
        let answer = tls.send(&caller, tls.bearer(bound())).await.ok();
        let intent = &tls.app.audited(&answer["auditId"])[0];
        assert_eq!(
            intent["caller"]["senderBinding"], "mtls",
            "connection {connection}"
        );
    }
    for (case, shown) in [("none", None), ("another", Some(&tls.other))] {
        let answer = tls.send(&tls.client(shown), tls.bearer(bound())).await;
        assert_eq!(
            answer.refused(401, "invalid_token", "authentication")["retryable"],
            false,
            "{case}"
        );
    }
    // Whoever shows a certificate in a header is believed nothing (RFC 9440 §2.1 is for configured proxies).
    let der = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        tls.caller.certificate.to_der().unwrap(),
    );
    let forged = tls.bearer(bound()).field("client-cert", format!(":{der}:"));
    tls.send(&tls.client(None), forged)
        .await
        .refused(401, "invalid_token", "authentication");
}

#[actix::test]
async fn every_binding_that_a_token_carries_must_hold() {
    let tls = tls("optional", "").await;
    let both = || {
        let thumbprint = tls.caller.thumbprint();
        let call = tls.app.sign();
        call.token(|draft| draft.claims["cnf"]["x5t#S256"] = json!(thumbprint))
    };
    let (with, without) = (tls.client(Some(&tls.caller)), tls.client(None));
    let answer = tls.send(&with, both()).await.ok();
    assert_eq!(
        tls.app.audited(&answer["auditId"])[0]["caller"]["senderBinding"],
        "dpop+mtls"
    );
    tls.send(&without, both())
        .await
        .refused(401, "invalid_token", "authentication");
    // DPoP alone needs no certificate.
    tls.send(&without, tls.app.sign()).await.ok();
    // RFC 9449 §7.2: bound to a proof key, it is no bearer token, certificate or not.
    let as_bearer = both().scheme("Bearer").proofs(&[]);
    tls.send(&with, as_bearer)
        .await
        .refused(401, "invalid_token", "authentication");
}

/// Without a proof there is nothing to name the body in, and nothing but TLS could change it.
#[actix::test]
async fn a_certificate_alone_needs_no_proof_of_the_body() {
    let tls = tls("optional", "[auth.dpop]\nbody_hash = \"required\"").await;
    let caller = tls.client(Some(&tls.caller));
    let bound = json!({ "x5t#S256": tls.caller.thumbprint() });
    tls.send(&caller, tls.bearer(bound)).await.ok();
    tls.send(&caller, tls.app.sign())
        .await
        .refused(401, "invalid_dpop_proof", "authentication");
}

/// RFC 9449 §7.2, figures 17 and 18: both schemes are named, and the one that was used tells the error.
#[actix::test]
async fn where_certificates_count_both_schemes_are_named() {
    let tls = tls("optional", "").await;
    let url = format!("{}/api/v1/signer/sign/dsse", tls.base);
    let (dpop, bearer) = (
        r#"DPoP algs="ES256 ES384 EdDSA Ed25519 PS256""#,
        r#"Bearer realm="signer""#,
    );
    let challenge = async |authorization: &[&str]| {
        let mut request = tls
            .client(None)
            .post(&url)
            .header("content-type", "application/json");
        for field in authorization {
            request = request.header("authorization", *field);
        }
        let answer = Answer::of(request.body("{}").send().await.unwrap(), Vec::new()).await;
        answer.header("www-authenticate").unwrap().to_owned()
    };
    let told =
        |scheme: &str, what: &str| format!(r#"{scheme} error="invalid_token", error_description="{what}""#);
    let unreadable = "the token is not accepted: a part is not base64url without padding";
    let twice = "there are several Authorization fields: send one";
    let algs = r#"algs="ES256 ES384 EdDSA Ed25519 PS256""#;
    for (authorization, expected) in [
        (&[][..], format!("{dpop}, {bearer}")),
        (&["Basic eDp5"], format!("{dpop}, {bearer}")),
        (
            &["bearer a.b.c"],
            format!("{dpop}, {}", told("Bearer", unreadable)),
        ),
        (
            &["DPoP a.b.c"],
            format!("{}, {algs}, {bearer}", told("DPoP", unreadable)),
        ),
        (
            &["DPoP a.b.c", "Bearer a.b.c"],
            format!("{}, {algs}, {}", told("DPoP", twice), told("Bearer", twice)),
        ),
    ] {
        assert_eq!(challenge(authorization).await, expected, "{authorization:?}");
    }
}

#[actix::test]
async fn required_client_certificates_are_required_by_the_handshake() {
    let tls = tls("required", "").await;
    let url = format!("{}/livez", tls.base);
    assert!(tls.client(None).get(&url).send().await.is_err());
    let stranger = Pair::new("stranger");
    assert!(tls.client(Some(&stranger)).get(&url).send().await.is_err());
    assert!(
        tls.client(Some(&tls.caller))
            .get(&url)
            .send()
            .await
            .unwrap()
            .status()
            .is_success()
    );
}

#[actix::test]
async fn other_protocols_are_refused_by_the_handshake() {
    let tls = tls("off", "").await;
    let address = tls.app.base().trim_start_matches("https://").to_owned();
    // RFC 7301 §3.2: no protocol in common is an alert; a client that offers none gets HTTP/1.1 unsaid.
    for (offered, expected) in [
        (&b"\x02h2\x08http/1.1"[..], Some(Some(b"http/1.1".to_vec()))),
        (b"\x08http/1.1", Some(Some(b"http/1.1".to_vec()))),
        (b"", Some(None)),
        (b"\x02h2", None),
        (b"\x08http/1.0", None),
        (b"\x03ftp", None),
    ] {
        let (address, offered) = (address.clone(), offered.to_vec());
        let name = String::from_utf8_lossy(&offered).into_owned();
        let agreed = tokio::task::spawn_blocking(move || {
            let mut client = SslConnector::builder(SslMethod::tls_client()).unwrap();
            client.set_verify(SslVerifyMode::NONE);
            if !offered.is_empty() {
                client.set_alpn_protos(&offered).unwrap();
            }
            let stream = std::net::TcpStream::connect(address).unwrap();
            let stream = client.build().connect("signer.test", stream).ok()?;
            Some(stream.ssl().selected_alpn_protocol().map(<[u8]>::to_vec))
        });
        assert_eq!(agreed.await.unwrap(), expected, "{name}");
    }
}
