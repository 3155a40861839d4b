//! Licence files: nothing counts unsigned; of a payload that Licensing did sign, what is accepted says what an independent
//! reader finds in it, and lists each licence once.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use signer::adapters::jose::jwks::KeySet;
use signer::adapters::jose::jwt::Policy;
use signer::adapters::jose::mint;
use signer::adapters::licensing::licence::{LicenceFile, MAX_FILE, MAX_LICENCES, TYPE};
use signer_actors::domain::jws::JwsAlgorithm;
use signer_fuzz::release::KEYS;
use signer_fuzz::{b64url, fit, members};

const NOW: i64 = 1_800_000_000;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let types = [TYPE.to_owned()];
    let (issuer, skew) = ("https://licensing.example", Duration::from_secs(30));
    Policy::new(issuer, "signer", &types, &JwsAlgorithm::ALL, skew).up_to(MAX_FILE)
});

static TRUSTED: LazyLock<KeySet> = LazyLock::new(|| {
    let mut jwk = mint::jwk_of(&KEYS[0]).expect("a key");
    jwk["kid"] = json!("licensing");
    KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).expect("a set")
});

fuzz_target!(|data: &[u8]| {
    match read(data) {
        Ok(_) => panic!("counts without Licensing's key"),
        Err(why) => fit(&why),
    }
    let header = format!(r#"{{"alg":"ES256","typ":"{TYPE}","kid":"licensing"}}"#);
    let input = format!("{}.{}", b64url(header.as_bytes()), b64url(data));
    let signed = |key: usize| {
        let signature = mint::sign_bytes(input.as_bytes(), &KEYS[key]).expect("a signature");
        format!("{input}.{}", b64url(&signature))
    };
    assert!(read(signed(1).as_bytes()).is_err(), "counts by another key");
    match read(signed(0).as_bytes()) {
        Ok(file) => accepted(data, &file),
        Err(why) => fit(&why),
    }
});

fn read(bytes: &[u8]) -> Result<LicenceFile, String> {
    let now = DateTime::<Utc>::from_timestamp(NOW, 0).expect("a time");
    LicenceFile::read(bytes, &POLICY, &TRUSTED, now).map_err(|why| why.0)
}

fn accepted(payload: &[u8], file: &LicenceFile) {
    let names = members(payload).expect("an object");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "a member twice");
    let document: Value = serde_json::from_slice(payload).expect("JSON");
    assert_eq!(document["iss"], "https://licensing.example");
    assert_eq!(document["version"].as_u64(), Some(file.version));
    assert!(file.version > 0 && file.expires.timestamp() > NOW);
    let listed = document["licences"].as_array().expect("licences");
    assert!(listed.len() <= MAX_LICENCES && listed.len() == file.licences());
    let ids: BTreeSet<&str> = listed.iter().map(|licence| licence["lic"].as_str().expect("an id")).collect();
    assert_eq!(ids.len(), listed.len(), "a licence twice");
    let revoked = listed.iter().filter(|licence| licence["revoked"] == true).count();
    assert_eq!(revoked, file.revoked());
}
