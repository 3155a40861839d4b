//! Public keys and key sets: OpenSSL agrees with what is accepted, and a second hand computes the same thumbprint.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::Rsa;
use serde_json::{Map, Value};
use signer::adapters::jose::jwk::PublicJwk;
use signer::adapters::jose::jwks::{KeySet, MAX_DOCUMENT, MAX_KEYS};
use signer::adapters::jose::{from_b64url, json};
use signer_fuzz::{b64url, fit, members};

fuzz_target!(|data: &[u8]| {
    set(data);
    let Ok(object) = json::parse_object(data) else {
        return;
    };
    let usable = match PublicJwk::parse(&object) {
        Ok(jwk) => key(&object, &jwk),
        Err(why) => {
            fit(&why.0);
            None
        }
    };
    // Alone in a set it is kept exactly if it is usable and has a name.
    let alone = [b"{\"keys\":[", data, b"]}"].concat();
    if alone.len() <= MAX_DOCUMENT {
        assert_eq!(KeySet::parse(&alone).is_ok(), usable.flatten().is_some());
    }
});

/// What an accepted key must be; its `kid` if OpenSSL takes it.
fn key(object: &Map<String, Value>, jwk: &PublicJwk) -> Option<Option<String>> {
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"] {
        assert!(!object.contains_key(private), "{private}");
    }
    assert!(object.get("use").is_none_or(|purpose| purpose == "sig"));
    assert!(object.get("alg").is_none_or(|alg| alg == jwk.algorithm().as_str()));
    assert_eq!(object.get("kid").and_then(Value::as_str), jwk.kid());
    assert_eq!(jwk.thumbprint().0, thumbprint(object));
    // No key takes a signature of nothing, and none panics over it.
    assert!(!jwk.verify(b"input", b""));
    let (ours, theirs) = (jwk.pkey().ok(), build(object));
    match (&ours, &theirs) {
        (Some(ours), Some(theirs)) => assert!(ours.public_eq(theirs), "another key"),
        (None, None) => return None,
        _ => panic!("OpenSSL says {}, we say {}", theirs.is_some(), ours.is_some()),
    }
    Some(jwk.kid().map(str::to_owned))
}

/// RFC 7638 §3.2 and §3.3, from the text as received.
fn thumbprint(object: &Map<String, Value>) -> [u8; 32] {
    let names: &[&str] = match object["kty"].as_str() {
        Some("EC") => &["crv", "kty", "x", "y"],
        Some("OKP") => &["crv", "kty", "x"],
        Some("RSA") => &["e", "kty", "n"],
        other => panic!("accepted {other:?}"),
    };
    let members: Vec<String> = names
        .iter()
        .map(|name| format!("\"{name}\":\"{}\"", object[*name].as_str().expect("a string")))
        .collect();
    openssl::sha::sha256(format!("{{{}}}", members.join(",")).as_bytes())
}

/// The same key by another way through OpenSSL.
fn build(object: &Map<String, Value>) -> Option<PKey<Public>> {
    let text = |name: &str| object[name].as_str().expect("a string");
    let bytes = |name: &str| {
        let bytes = from_b64url(text(name)).expect("base64url");
        assert_eq!(b64url(&bytes), text(name), "two spellings");
        bytes
    };
    let number = |name: &str| BigNum::from_slice(&bytes(name)).expect("a number");
    let ec = |nid, length| {
        assert_eq!((bytes("x").len(), bytes("y").len()), (length, length));
        let group = EcGroup::from_curve_name(nid).expect("a curve");
        let key = EcKey::from_public_key_affine_coordinates(&group, &number("x"), &number("y")).ok()?;
        key.check_key().ok()?;
        PKey::from_ec_key(key).ok()
    };
    let key = match (text("kty"), object.get("crv").and_then(Value::as_str)) {
        ("EC", Some("P-256")) => ec(Nid::X9_62_PRIME256V1, 32),
        ("EC", Some("P-384")) => ec(Nid::SECP384R1, 48),
        ("OKP", Some("Ed25519")) => PKey::public_key_from_raw_bytes(&bytes("x"), Id::ED25519).ok(),
        ("RSA", _) => {
            let (n, e) = (number("n"), number("e"));
            assert!((2048..=4096).contains(&n.num_bits()), "{} bits", n.num_bits());
            assert!(n.is_bit_set(0) && e.is_bit_set(0), "an even number");
            assert!(e.num_bits() >= 2, "an exponent of 1");
            PKey::from_rsa(Rsa::from_public_components(n, e).ok()?).ok()
        }
        other => panic!("accepted {other:?}"),
    };
    // What was refused must not surface in a later call on this thread.
    drop(openssl::error::ErrorStack::get());
    key
}

fn set(data: &[u8]) {
    let keys = match KeySet::parse(data) {
        Ok(keys) => keys,
        Err(why) => return fit(&why.0),
    };
    assert!(data.len() <= MAX_DOCUMENT);
    let names = members(data).expect("a JSON object");
    assert_eq!(names.iter().filter(|name| *name == "keys").count(), 1);
    let document: Value = serde_json::from_slice(data).expect("JSON");
    let listed = document["keys"].as_array().expect("an array");
    assert!(listed.len() <= MAX_KEYS);
    let mut kids: Vec<&str> = listed.iter().filter_map(|jwk| jwk.get("kid")?.as_str()).collect();
    kids.sort_unstable();
    let all = kids.len();
    kids.dedup();
    assert_eq!(kids.len(), all, "a name twice");
    // Exactly the usable ones with a name.
    let mut expected: Vec<String> = listed
        .iter()
        .filter_map(Value::as_object)
        .filter_map(|object| key(object, &PublicJwk::parse(object).ok()?).flatten())
        .collect();
    let mut kept: Vec<String> = keys.keys().filter_map(|jwk| jwk.kid().map(str::to_owned)).collect();
    expected.sort();
    kept.sort();
    assert_eq!(kept, expected);
    assert!(!kept.is_empty());
    assert!(kept.iter().all(|kid| keys.contains(kid)));
}
