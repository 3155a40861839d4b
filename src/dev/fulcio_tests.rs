use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::Private;
use openssl::sign::Signer;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509, X509PurposeId, X509StoreContext};

use super::super::authority::{self, Authority};
use super::super::keys::TokenKey;
use super::*;
use crate::crypto::generate_p256;

const SUBJECT: &str = "https://stellaops.local/signer";

struct Lane {
    authority: Authority,
    fulcio: Fulcio,
    key: PKey<Private>,
}

async fn lane() -> Lane {
    let authority = authority::start(authority::Settings {
        client_id: "scanner".to_owned(),
        tenant: "acme".to_owned(),
        installation: "inst-1".to_owned(),
        scanner_image: None,
        signer_subject: SUBJECT.to_owned(),
    })
    .await
    .unwrap();
    let fulcio = start(Settings {
        issuer: authority.running.base_url.clone(),
        audience: "sigstore".to_owned(),
        subject_domain: "https://stellaops.local".to_owned(),
    })
    .await
    .unwrap();
    Lane {
        authority,
        fulcio,
        key: generate_p256().unwrap(),
    }
}

impl Lane {
    fn request(&self, token: &str, signed: &str) -> Value {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).unwrap();
        let proof = signer.sign_oneshot_to_vec(signed.as_bytes()).unwrap();
        let pem = String::from_utf8(self.key.public_key_to_pem().unwrap()).unwrap();
        json!({
            "credentials": { "oidcIdentityToken": token },
            "publicKeyRequest": {
                "publicKey": { "algorithm": "ECDSA", "content": pem },
                "proofOfPossession": STANDARD.encode(proof),
            }
        })
    }

    async fn post(&self, body: &Value) -> (u16, Value) {
        let url = format!("{}/api/v2/signingCert", self.fulcio.running.base_url);
        let answer = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.fulcio.running.base_url);
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }
}

#[actix::test]
async fn certifies_a_key_for_ten_minutes() {
    let lane = lane().await;
    let token = lane.authority.identity().token().unwrap();
    let (status, answer) = lane.post(&lane.request(&token, SUBJECT)).await;
    assert_eq!(status, 200, "{answer}");
    let answer = &answer["signedCertificateDetachedSct"];
    assert_eq!(answer["signedCertificateTimestamp"], "");
    let chain: Vec<X509> = answer["chain"]["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pem| X509::from_pem(pem.as_str().unwrap().as_bytes()).unwrap())
        .collect();
    assert_eq!(chain.len(), 3);
    let leaf = &chain[0];
    assert!(leaf.public_key().unwrap().public_eq(&lane.key));
    assert_eq!(leaf.subject_name().entries().count(), 0);
    let names = leaf.subject_alt_names().unwrap();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].uri(), Some(SUBJECT));
    let life = leaf.not_before().diff(leaf.not_after()).unwrap();
    assert_eq!((life.days, life.secs), (0, 600));
    assert!(leaf.not_before() <= Asn1Time::days_from_now(0).unwrap());

    // Both forms of the issuer, as bytes: the raw string, and the UTF8String (tag 12) in its OCTET STRING (tag 4).
    let der = leaf.to_der().unwrap();
    let issuer = lane.authority.running.base_url.as_bytes();
    let length = u8::try_from(issuer.len()).unwrap();
    let raw = [&[4, length][..], issuer].concat();
    let utf8 = [&[4, length + 2, 12, length][..], issuer].concat();
    for part in [raw, utf8] {
        assert!(der.windows(part.len()).any(|window| window == part));
    }
    // The SAN is critical because the subject is empty (RFC 5280 §4.2.1.6): OID 2.5.29.17, TRUE.
    let critical = [0x06, 0x03, 0x55, 0x1d, 0x11, 0x01, 0x01, 0xff];
    assert!(der.windows(critical.len()).any(|window| window == critical));
    verify_for_code_signing(&lane.fulcio, &chain);
}

/// OpenSSL's own path validation, with the purpose code signing.
fn verify_for_code_signing(fulcio: &Fulcio, chain: &[X509]) {
    let mut param = X509VerifyParam::new().unwrap();
    param.set_purpose(X509PurposeId::CODE_SIGN).unwrap();
    let mut store = X509StoreBuilder::new().unwrap();
    store.set_param(&param).unwrap();
    store
        .add_cert(X509::from_pem(fulcio.root_pem.as_bytes()).unwrap())
        .unwrap();
    let mut untrusted = Stack::new().unwrap();
    untrusted.push(chain[1].clone()).unwrap();
    let mut context = X509StoreContext::new().unwrap();
    let (valid, error) = context
        .init(&store.build(), &chain[0], &untrusted, |context| {
            Ok((context.verify_cert()?, context.error()))
        })
        .unwrap();
    assert!(valid, "{error}");
}

#[actix::test]
async fn refuses_bad_tokens_and_bad_proofs_as_fulcio_does() {
    let lane = lane().await;
    let good = lane.authority.identity().token().unwrap();
    let foreign = TokenKey::generate().unwrap();
    let now = Utc::now().timestamp();
    let claims = json!({ "iss": lane.authority.running.base_url, "sub": SUBJECT, "aud": "sigstore",
        "iat": now, "exp": now + 600 });
    let forged = foreign.mint("JWT", &claims).unwrap();
    let mut request = lane.request(&good, SUBJECT);
    request["publicKeyRequest"]["publicKey"]["content"] = json!("no key");
    let mut other_key = lane.request(&good, SUBJECT);
    let pem = generate_p256().unwrap().public_key_to_pem().unwrap();
    other_key["publicKeyRequest"]["publicKey"]["content"] = json!(String::from_utf8(pem).unwrap());
    for (name, body) in [
        ("forged", lane.request(&forged, SUBJECT)),
        ("no token", lane.request("x", SUBJECT)),
        (
            "proof over something else",
            lane.request(&good, "https://stellaops.local/other"),
        ),
        ("no key", request),
        ("proof by another key", other_key),
        ("nothing", json!({})),
    ] {
        let (status, answer) = lane.post(&body).await;
        assert_eq!((status, &answer["code"]), (400, &json!(3)), "{name}");
        assert!(
            answer["message"].is_string() && answer["details"].is_array(),
            "{name}"
        );
    }
}

#[actix::test]
async fn refuses_tokens_for_others_and_out_of_time() {
    // The issuer here is a stand-in whose key the test holds, so that the claims can be anything.
    let key = TokenKey::generate().unwrap();
    let bound = Bound::any_port().unwrap();
    let issuer = bound.base_url.clone();
    let (jwks, found) = (
        key.jwks().clone(),
        json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") }),
    );
    let _issuer = bound
        .serve(move |routes| {
            let (jwks, found) = (jwks.clone(), found.clone());
            let answer =
                |body: Value| web::get().to(move || std::future::ready(HttpResponse::Ok().json(&body)));
            routes.route("/jwks", answer(jwks));
            routes.route("/.well-known/openid-configuration", answer(found));
        })
        .unwrap();
    let mut lane = lane().await;
    lane.fulcio = start(Settings {
        issuer: issuer.clone(),
        audience: "sigstore".to_owned(),
        subject_domain: "https://stellaops.local".to_owned(),
    })
    .await
    .unwrap();
    let now = Utc::now().timestamp();
    let good = json!({ "iss": issuer, "sub": SUBJECT, "aud": "sigstore", "iat": now, "exp": now + 600 });
    let token = key.mint("JWT", &good).unwrap();
    assert_eq!(lane.post(&lane.request(&token, SUBJECT)).await.0, 200);
    for (name, value) in [
        ("iss", json!("https://elsewhere.example")),
        ("aud", json!("signer")),
        ("exp", json!(now - 1)),
        ("exp", json!(now + 7200)),
        ("exp", json!("soon")),
        ("iat", json!(now + 120)),
        ("sub", json!("https://elsewhere.example/signer")),
        ("sub", json!("someone@stellaops.local")),
    ] {
        let mut claims = good.clone();
        claims[name] = value;
        let signed = claims["sub"].as_str().unwrap().to_owned();
        let token = key.mint("JWT", &claims).unwrap();
        let (status, answer) = lane.post(&lane.request(&token, &signed)).await;
        assert_eq!((status, &answer["code"]), (400, &json!(3)), "{name}");
    }
}

#[actix::test]
async fn says_how_it_is_configured_and_what_to_trust() {
    let lane = lane().await;
    let configuration = lane.get("/api/v2/configuration").await;
    let issuer = &configuration["issuers"][0];
    assert_eq!(issuer["issuerUrl"], json!(lane.authority.running.base_url));
    assert_eq!(
        (&issuer["audience"], &issuer["challengeClaim"]),
        (&json!("sigstore"), &json!("sub"))
    );
    let bundle = lane.get("/api/v2/trustBundle").await;
    let chain = json!([lane.fulcio.intermediate_pem, lane.fulcio.root_pem]);
    assert_eq!(bundle["chains"][0]["certificates"], chain);
}
