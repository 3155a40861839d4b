//! Tokens that are bound to a client certificate (RFC 8705 §3).

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sha::sha256;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Name, X509NameBuilder};
use serde_json::json;

use crate::support::{Answer, Call, TestApp, World, b64, p256};

/// A certificate with its key.
struct Holder {
    certificate: X509,
    key: PKey<Private>,
}

fn name(common: &str) -> X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", common).unwrap();
    name.build()
}

/// Issued by another, or by itself.
fn issue(common: &str, serial: u32, issuer: Option<&Holder>) -> Holder {
    let key = p256();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(serial).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name(common)).unwrap();
    let issuer_name = issuer.map_or_else(|| name(common), |_| name("clients"));
    builder.set_issuer_name(&issuer_name).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(1).unwrap())
        .unwrap();
    builder.set_pubkey(&key).unwrap();
    if issuer.is_none() {
        let constraints = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(constraints).unwrap();
    } else {
        let address = SubjectAlternativeName::new()
            .ip("127.0.0.1")
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(address).unwrap();
        let usage = ExtendedKeyUsage::new()
            .server_auth()
            .client_auth()
            .build()
            .unwrap();
        builder.append_extension(usage).unwrap();
    }
    let signer = issuer.map_or(&key, |issuer| &issuer.key);
    builder.sign(signer, MessageDigest::sha256()).unwrap();
    Holder {
        certificate: builder.build(),
        key,
    }
}

impl Holder {
    fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }

    /// RFC 8705 §3.1.
    fn thumbprint(&self) -> String {
        b64(sha256(&self.certificate.to_der().unwrap()))
    }
}

/// A client that shows this certificate, or none.
fn client(authority: &Holder, shows: Option<&Holder>) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(&authority.pem()).unwrap();
    let mut builder = reqwest::Client::builder().no_proxy().tls_certs_merge([root]);
    if let Some(holder) = shows {
        let identity = reqwest::Identity::from_pkcs8_pem(&holder.pem(), &holder.key_pem()).unwrap();
        builder = builder.identity(identity);
    }
    builder.build().unwrap()
}

async fn send(app: &TestApp, client: &reqwest::Client, call: Call<'_>) -> Answer {
    call.try_send_by(client, app.base()).await.unwrap()
}

#[actix::test]
async fn a_certificate_bound_token_needs_its_certificate() {
    let authority = issue("clients", 1, None);
    let (server, holder, other) = (
        issue("server", 2, Some(&authority)),
        issue("scanner", 3, Some(&authority)),
        issue("thief", 4, Some(&authority)),
    );
    let tls = "
        [server.tls]
        certificate = \"server.pem\"
        key = \"file:server.key\"
        client_ca = \"clients.pem\"
        client_auth = \"optional\"
    ";
    let world = World::new(tls).await;
    world.write("server.pem", server.pem());
    world.write("server.key", server.key_pem());
    world.write("clients.pem", authority.pem());
    let app = TestApp::within(world).await;

    let (with, without, thief) = (
        client(&authority, Some(&holder)),
        client(&authority, None),
        client(&authority, Some(&other)),
    );
    let bound = json!({ "x5t#S256": holder.thumbprint() });
    let call = || {
        let call = app.sign().token(|token| token.claim("cnf", bound.clone()));
        call.scheme("Bearer").proofs(&[])
    };
    let answer = send(&app, &with, call()).await.ok();
    let intent = app.audited(&answer["auditId"]).remove(0);
    assert_eq!(intent["caller"]["senderBinding"], "mtls");
    for client in [&without, &thief] {
        let answer = send(&app, client, call()).await;
        answer.refused(401, "invalid_token", "authentication");
    }
    // A field that claims a certificate is worth nothing from a stranger (RFC 9440 §4).
    let der = holder.certificate.to_der().unwrap();
    let field = format!(":{}:", openssl::base64::encode_block(&der).replace('\n', ""));
    let answer = send(&app, &without, call().field("client-cert", field)).await;
    answer.refused(401, "invalid_token", "authentication");

    // A token with both bindings needs both.
    let jkt = crate::support::thumbprint(&app.mint.caller);
    let both = json!({ "x5t#S256": holder.thumbprint(), "jkt": jkt });
    let call = || app.sign().token(|token| token.claim("cnf", both.clone()));
    let answer = send(&app, &with, call()).await.ok();
    let intent = app.audited(&answer["auditId"]).remove(0);
    assert_eq!(intent["caller"]["senderBinding"], "dpop+mtls");
    send(&app, &without, call())
        .await
        .refused(401, "invalid_token", "authentication");
    let answer = send(&app, &with, call().scheme("Bearer").proofs(&[])).await;
    answer.refused(401, "invalid_token", "authentication");
    // A DPoP token needs no certificate.
    send(&app, &without, app.sign()).await.ok();
}
