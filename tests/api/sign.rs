//! What a signature is, by anyone's arithmetic.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Verifier;
use openssl::x509::X509;
use serde_json::{Value, json};

use crate::support::{Answer, KEY, OTHER_KEY, TestApp, sha256_hex};

/// DSSE's pre-authentication encoding (dsse `protocol.md`), written anew.
pub(crate) fn pae(payload: &[u8]) -> Vec<u8> {
    let kind = "application/vnd.in-toto+json";
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Payload and signature of an answer.
pub(crate) fn envelope(answer: &Value) -> (Vec<u8>, Vec<u8>) {
    let dsse = &answer["bundle"]["dsse"];
    assert_eq!(dsse["payloadType"], "application/vnd.in-toto+json");
    let signatures = dsse["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), 1);
    assert_eq!(signatures[0].as_object().unwrap().len(), 1, "no keyid");
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    (decode(&dsse["payload"]), decode(&signatures[0]["sig"]))
}

/// OpenSSL's verdict on ECDSA with SHA-256, DER.
pub(crate) fn holds(public_pem: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let key = PKey::public_key_from_pem(public_pem).unwrap();
    let mut verifier = Verifier::new(MessageDigest::sha256(), &key).unwrap();
    verifier.verify_oneshot(signature, message).unwrap()
}

/// A published key, by id.
pub(crate) async fn published_key(app: &TestApp, id: &str) -> Value {
    let url = format!("{}/api/v1/signer/trust/keys", app.base());
    let response = app.http.get(url).send().await.unwrap();
    let keys = Answer::of(response, Vec::new()).await.ok();
    let keys = keys["keys"].as_array().unwrap().clone();
    let found: Vec<_> = keys.into_iter().filter(|key| key["id"] == id).collect();
    assert_eq!(found.len(), 1, "{id}");
    found[0].clone()
}

#[actix::test]
async fn the_payload_is_the_canonical_statement_and_openssl_verifies_it_by_the_published_key() {
    let app = TestApp::start().await;
    let answer = app.sign().send().await;
    let (q, r, _) = answer.rate();
    assert_eq!((q, r), (200, 199), "the plan's burst, less this request");
    let answer = answer.ok();
    let (payload, signature) = envelope(&answer);
    // RFC 8785 §3.2.3: members in order, no white space; contract §2.1: three annotations.
    let scanner = &app.mint.scanner;
    let digest = "ab".repeat(32);
    let expected = format!(
        concat!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{"finding":"predicate-canary-51"}},"#,
            r#""predicateType":"https://stella.ops/report/v1","subject":[{{"annotations":{{"#,
            r#""stella.ops/installation":"acme-1","stella.ops/scanner":"{}","stella.ops/tenant":"acme"}},"#,
            r#""digest":{{"sha256":"{}"}},"name":"app"}}]}}"#
        ),
        scanner, digest
    );
    assert_eq!(String::from_utf8(payload.clone()).unwrap(), expected);
    assert_eq!(
        answer["statementDigest"],
        json!({ "sha256": sha256_hex(expected.as_bytes()) })
    );

    let key = published_key(&app, KEY).await;
    assert_eq!(key["state"], "active");
    assert_eq!(key["algorithm"], "ecdsa-p256-sha256");
    let pem = key["publicKey"].as_str().unwrap_or_else(|| panic!("{key}"));
    assert!(holds(pem.as_bytes(), &pae(&payload), &signature));
    assert!(
        !holds(pem.as_bytes(), &payload, &signature),
        "what is signed is the PAE"
    );
    let identity = &answer["bundle"]["signingIdentity"];
    assert_eq!(identity["publicKey"], pem);
    assert_eq!(identity["algorithm"], "ecdsa-p256-sha256");
    assert_eq!(answer["bundle"]["mode"], "kms");
    assert_eq!(answer["bundle"]["certificateChain"], json!([]));
    assert_eq!(answer["bundle"]["timestamps"], json!([]));
    assert!(answer["bundle"].get("sigstoreBundle").is_none());
    assert_eq!(answer["policy"]["plan"], "pro");
    assert_eq!(answer["policy"]["qps"], 100);
    assert_eq!(answer["policy"]["burst"], 200);
    assert_eq!(answer["policy"]["concurrency"], 16);
    assert_eq!(answer["policy"]["maxArtifactBytes"], 1_000_000);
    assert_eq!(answer["release"]["verdict"], "trusted");
    assert_eq!(answer["release"]["bound"], true);
    assert_eq!(answer["release"]["releaseTag"], "2026.10");
    assert_eq!(answer["auditLog"], "signer.test/audit/1");
}

#[actix::test]
async fn a_keyless_signature_verifies_by_its_certificate_and_the_published_root() {
    let app = TestApp::start().await;
    let call = app
        .sign()
        .option("signingMode", "keyless")
        .option("returnBundle", "sigstore");
    let answer = call.send().await.ok();
    let (payload, signature) = envelope(&answer);
    assert_eq!(answer["bundle"]["mode"], "keyless");
    let chain: Vec<X509> = answer["bundle"]["certificateChain"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pem| X509::from_pem(pem.as_str().unwrap().as_bytes()).unwrap())
        .collect();
    let leaf = &chain[0];
    let pem = leaf.public_key().unwrap().public_key_to_pem().unwrap();
    assert!(holds(&pem, &pae(&payload), &signature));
    let (_, subject) = app.neighbours.signer_identity();
    let names = leaf.subject_alt_names().unwrap();
    let uris: Vec<_> = names.iter().filter_map(|name| name.uri()).collect();
    assert_eq!(uris, [subject]);

    // Every certificate by the next, the last by the root that /trust publishes.
    let url = format!("{}/api/v1/signer/trust", app.base());
    let trust: Value = app.http.get(url).send().await.unwrap().json().await.unwrap();
    let authority = &trust["certificateAuthorities"][0];
    let published: Vec<X509> = authority["certChain"]["certificates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|der| {
            let der = STANDARD.decode(der["rawBytes"].as_str().unwrap()).unwrap();
            X509::from_der(&der).unwrap()
        })
        .collect();
    let issuer = published[0].public_key().unwrap();
    assert!(
        leaf.verify(&issuer).unwrap(),
        "the leaf is issued by the published authority"
    );
    let root = published.last().unwrap().public_key().unwrap();
    assert!(published.last().unwrap().verify(&root).unwrap());
    assert!(published[0].verify(&published[1].public_key().unwrap()).unwrap());

    // The Sigstore bundle says the same thing again (bundle v0.3).
    let bundle = &answer["bundle"]["sigstoreBundle"];
    assert_eq!(
        bundle["mediaType"],
        "application/vnd.dev.sigstore.bundle.v0.3+json"
    );
    assert_eq!(
        bundle["dsseEnvelope"]["payload"],
        answer["bundle"]["dsse"]["payload"]
    );
    let raw = bundle["verificationMaterial"]["certificate"]["rawBytes"]
        .as_str()
        .unwrap();
    assert_eq!(STANDARD.decode(raw).unwrap(), leaf.to_der().unwrap());
}

#[actix::test]
async fn another_key_is_used_only_by_those_whose_plan_names_it() {
    let app = TestApp::start().await;
    let call = || app.sign().option("keyId", OTHER_KEY);
    call()
        .send()
        .await
        .refused(403, "mode_not_entitled", "entitlement");
    let features = ["mode:kms", "predicate:*", "key:other-2026"];
    let answer = call()
        .poe(|poe| poe.claim("features", features.as_slice()))
        .send()
        .await
        .ok();
    let (payload, signature) = envelope(&answer);
    let pem = |key: &Value| key["publicKey"].as_str().unwrap().to_owned();
    let other = pem(&published_key(&app, OTHER_KEY).await);
    let main = pem(&published_key(&app, KEY).await);
    assert!(holds(other.as_bytes(), &pae(&payload), &signature));
    assert!(!holds(main.as_bytes(), &pae(&payload), &signature));
}
