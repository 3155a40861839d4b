//! Compact JWS and their headers: what is accepted has one spelling, and says what an independent reading of it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use signer::adapters::jose::b64url;
use signer::adapters::jose::header::{Compact, MAX_HEADER, MAX_KID, MAX_TOKEN, Use};
use signer_fuzz::{fit, members};

fuzz_target!(|data: &[u8]| {
    // As it is, and as the header of a token, or the fuzzer would have to learn base64url first.
    if let Ok(text) = std::str::from_utf8(data) {
        check(text);
    }
    check(&format!("{}.e30.AA", b64url(data)));
});

fn check(text: &str) {
    let outcomes = [Use::Token, Use::Proof].map(|used_as| {
        let outcome = Compact::parse(text, used_as);
        match &outcome {
            Ok(compact) => accepted(text, compact, used_as),
            Err(why) => fit(&why.0),
        }
        outcome.is_ok()
    });
    // A proof brings its key, a token must not (RFC 9449 §4.2, RFC 8725 §3.10).
    assert_ne!(outcomes, [true, true], "both a token and a proof");
}

fn accepted(text: &str, compact: &Compact<'_>, used_as: Use) {
    assert!(text.len() <= MAX_TOKEN);
    let (header, rest) = text.split_once('.').expect("a header");
    assert!(header.len() <= MAX_HEADER);
    // RFC 7515 §7.1, and RFC 4648 §3.5: every part has one spelling.
    assert_eq!(rest, format!("{}.{}", b64url(&compact.payload), b64url(&compact.signature)));
    assert_eq!(text, format!("{}.{}", compact.signing_input, b64url(&compact.signature)));

    let decoded = openssl::base64::decode_block(&padded(header)).expect("base64url");
    let names = members(&decoded).expect("a JSON object");
    let mut once = names.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), names.len(), "a member twice");
    for refused in ["crit", "b64", "jku", "x5u", "x5c"] {
        assert!(!names.iter().any(|name| name == refused), "{refused}");
    }
    let read: Value = serde_json::from_slice(&decoded).expect("JSON");
    assert_eq!(read["alg"], compact.header.algorithm.as_str());
    let typ = read["typ"].as_str().expect("a string").to_ascii_lowercase();
    let short = &compact.header.typ;
    assert!(typ == *short || typ == format!("application/{short}"), "{typ} is not {short}");
    assert_eq!(read.get("kid").and_then(Value::as_str), compact.header.kid.as_deref());
    assert_eq!(read.get("kid").is_some(), compact.header.kid.is_some());
    if let Some(kid) = &compact.header.kid {
        assert!((1..=MAX_KID).contains(&kid.len()) && kid.bytes().all(|b| b.is_ascii_graphic()));
    }
    assert_eq!(compact.header.jwk.is_some(), used_as == Use::Proof);
    assert_eq!(read.get("jwk"), compact.header.jwk.clone().map(Value::Object).as_ref());
}

fn padded(text: &str) -> String {
    let mut text = text.replace('-', "+").replace('_', "/");
    while text.len() % 4 != 0 {
        text.push('=');
    }
    text
}
