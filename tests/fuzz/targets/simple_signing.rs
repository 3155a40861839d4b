//! Payloads of simple signing: whatever is signed counts only for the image that it names, and only by the release key.
#![no_main]

use std::collections::BTreeMap;

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use signer_fuzz::fit;
use signer_fuzz::release::{IMAGE, KEYS, VERIFIER, image, other_image, sign};

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

fuzz_target!(|data: &[u8]| {
    let annotations = |value: String| BTreeMap::from([(SIGNATURE.to_owned(), value)]);
    let verify = |image, annotations: &_| VERIFIER.simple_signing(image, annotations, data, DateTime::UNIX_EPOCH);
    // By the release key: exactly what an independent reader takes for a signature of this image.
    let signed = annotations(sign(&KEYS[0], data));
    let document: Option<Value> = serde_json::from_slice(data).ok();
    let critical = document.as_ref().and_then(|document| document.get("critical"));
    let names_it = critical.is_some_and(|critical| {
        critical["image"]["docker-manifest-digest"] == IMAGE
            && critical["type"] == "cosign container image signature"
            && critical["identity"].is_object()
    });
    match verify(image(), &signed) {
        // serde also reads arrays as structs; they are signed bytes of the release key all the same.
        Ok(_) => assert!(names_it || !document.is_some_and(|d| objects(&d)), "counts for what it does not name"),
        Err(why) => fit(&why),
    }
    assert!(verify(other_image(), &signed).is_err(), "counts for an image that it does not name");
    // By nobody, by another key, or with the payload itself as signature.
    let text = String::from_utf8_lossy(data).into_owned();
    for unsigned in [String::new(), "AAAA".to_owned(), sign(&KEYS[1], data), sign(&KEYS[0], b"else"), text] {
        assert!(verify(image(), &annotations(unsigned)).is_err(), "counts without the release key");
    }
    assert!(verify(image(), &BTreeMap::new()).is_err());
});

fn objects(document: &Value) -> bool {
    document.is_object()
        && document["critical"].is_object()
        && document["critical"]["image"].is_object()
        && document["critical"]["identity"].is_object()
}
