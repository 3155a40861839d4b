//! Sigstore bundles: no text is trusted without the release key; what is read is written as the same; a statement that the
//! key did sign counts only for the image that it names and as the type that signs images.
#![no_main]

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use signer::bundle::sigstore::SigstoreBundle;
use signer_fuzz::fit;
use signer_fuzz::release::{IMAGE, KEYS, VERIFIER, image, other_image, sign};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fuzz_target!(|data: &[u8]| {
    text(data);
    statement(data);
});

fn verify(image: signer_actors::domain::digest::ImageDigest, bundle: &[u8]) -> Result<(), String> {
    VERIFIER.bundle(image, bundle, DateTime::UNIX_EPOCH).map(drop)
}

/// The input as a bundle.
fn text(data: &[u8]) {
    match verify(image(), data) {
        Ok(()) => panic!("trusted without the release key"),
        Err(why) => fit(&why),
    }
    let Ok(bundle) = SigstoreBundle::parse(data) else { return };
    assert!(bundle.verification_material.tlog_entries.len() <= 64);
    let written = serde_json::to_vec(&bundle).expect("JSON");
    let again = SigstoreBundle::parse(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).expect("JSON"), written);
    let (ours, theirs): (Value, Value) = (
        serde_json::from_slice(&written).expect("JSON"),
        serde_json::from_slice(data).expect("JSON"),
    );
    if let (Some(a), Some(b)) = (theirs["dsseEnvelope"].as_object(), ours["dsseEnvelope"].as_object()) {
        assert_eq!((&a["payload"], &a["payloadType"]), (&b["payload"], &b["payloadType"]));
    }
    drop(bundle.signer());
}

/// The input as a statement that the release key signs (secure-systems-lab/dsse, protocol.md).
fn statement(data: &[u8]) {
    let kind = "application/vnd.in-toto+json";
    let pae = [format!("DSSEv1 {} {kind} {} ", kind.len(), data.len()).as_bytes(), data].concat();
    let bundle = |key: usize| {
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": { "publicKey": { "hint": "any" } },
            "dsseEnvelope": {
                "payload": openssl::base64::encode_block(data),
                "payloadType": kind,
                "signatures": [{ "sig": sign(&KEYS[key], &pae) }],
            },
        })
        .to_string()
    };
    let good = bundle(0);
    match verify(image(), good.as_bytes()) {
        Ok(()) => counts(data),
        Err(why) => fit(&why),
    }
    assert!(verify(other_image(), good.as_bytes()).is_err(), "counts for an image that it does not name");
    assert!(verify(image(), bundle(1).as_bytes()).is_err(), "counts by another key");
}

fn counts(statement: &[u8]) {
    let document: Value = serde_json::from_slice(statement).expect("JSON");
    // serde also reads arrays as structs; they are signed bytes of the release key all the same.
    if !document.is_object() {
        return;
    }
    assert_eq!(document["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(document["predicateType"], "https://sigstore.dev/cosign/sign/v1");
    let subjects = document["subject"].as_array().expect("subjects");
    let named = |subject: &Value| !subject.is_object() || Some(IMAGE) == digest(subject).as_deref();
    assert!(subjects.iter().any(named), "counts for what it does not name");
}

fn digest(subject: &Value) -> Option<String> {
    Some(format!("sha256:{}", subject["digest"]["sha256"].as_str()?))
}
