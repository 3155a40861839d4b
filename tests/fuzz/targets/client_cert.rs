//! Values of `Client-Cert` (RFC 9440): no panic; what is accepted is one certificate, named by the hash of its DER, and
//! is written back in one way.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use openssl::sha::sha256;
use openssl::x509::X509;
use signer::http::client_cert::{MAX_VALUE, thumbprint};

fuzz_target!(|value: &[u8]| {
    check(value);
    // Most bytes are no base64; as the content of a field they reach the certificate's parser.
    check(format!(":{}:", STANDARD.encode(value)).as_bytes());
});

fn check(value: &[u8]) {
    let Ok(digest) = thumbprint(value) else {
        return;
    };
    assert!(value.len() <= MAX_VALUE);
    let text = std::str::from_utf8(value).expect("ASCII").trim_matches(' ');
    let der = STANDARD.decode(text.trim_matches(':')).expect("base64");
    assert_eq!(text, format!(":{}:", STANDARD.encode(&der)), "two ways to write it");
    assert_eq!(digest.0, sha256(&der));
    X509::from_der(&der).expect("a certificate");
}
