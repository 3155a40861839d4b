//! Bodies of `POST /verify/dsse`: no panic; a fit detail, or a document that nobody has signed who is trusted.
#![no_main]

use std::sync::LazyLock;

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use signer::bundle::verify::{Options, Trust};
use signer::http::dto::verify_request::parse_verify_request;
use signer_fuzz::{fit, members};

/// A key that has signed nothing.
static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let group = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).expect("P-256");
    let key = openssl::ec::EcKey::generate(&group).expect("a key");
    let pem = key.public_key_to_pem().expect("PEM");
    Trust::parse(&pem).expect("trust")
});

fuzz_target!(|body: &[u8]| {
    let asked = match parse_verify_request(body) {
        Ok(asked) => asked,
        Err(error) => return fit(&error.detail),
    };
    let names = members(body).expect("an object");
    let known = ["dsse", "publicKey", "sigstoreBundle", "subjectDigest"];
    assert!(names.iter().all(|name| known.contains(&name.as_str())), "{names:?}");
    let options = Options {
        subject_digest: asked.subject_digest,
        public_key: asked.public_key,
        ..Options::at_present(DateTime::UNIX_EPOCH)
    };
    let report = asked.document.verify(Some(&TRUST), &options);
    assert!(!report.verified, "verified without the key");
    assert!(report.checks.iter().any(|check| !check.ok));
});
