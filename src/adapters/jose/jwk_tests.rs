use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::rsa::Padding;
use openssl::sign::RsaPssSaltlen;
use serde_json::json;

use super::*;
use crate::adapters::jose::json::parse_object;
use crate::adapters::jose::{mint, testkit};

fn parse(jwk: &Value) -> Result<PublicJwk, Refused> {
    PublicJwk::parse(&parse_object(jwk.to_string().as_bytes()).unwrap())
}

/// RFC 7517 appendix A.1, first key, without its `use` of encryption.
fn ec_example() -> Value {
    json!({
        "kty": "EC", "crv": "P-256", "kid": "1",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    })
}

/// RFC 7517 appendix A.1, second key; also RFC 7638 §3.1.
fn rsa_example() -> Value {
    json!({
        "kty": "RSA", "e": "AQAB", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    })
}

/// RFC 8037 appendix A.2.
fn okp_example() -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
}

#[test]
fn thumbprints_of_the_examples() {
    // RFC 7638 §3.1; RFC 8037 appendix A.3.
    for (jwk, expected) in [
        (rsa_example(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
        (okp_example(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
    ] {
        assert_eq!(b64url(&parse(&jwk).unwrap().thumbprint().0), expected);
    }
}

#[test]
fn a_proof_key_of_each_kind_verifies_what_it_signed_and_nothing_else() {
    for key in testkit::one_key_of_each_kind() {
        let jwk = parse(&mint::jwk_of(&key).unwrap()).unwrap();
        let signature = mint::sign_bytes(b"input", &key).unwrap();
        assert_eq!(jwk.algorithm().as_str(), mint::algorithm_of(&key).unwrap());
        assert!(jwk.pkey().unwrap().public_eq(&key));
        assert!(jwk.verify(b"input", &signature));
        assert!(!jwk.verify(b"Input", &signature));
        let mut flipped = signature.clone();
        flipped[10] ^= 1;
        let zeros = vec![0; signature.len()];
        let longer = [&signature[..], &[0]].concat();
        for bad in [&flipped[..], &zeros, &longer, &signature[1..], &[]] {
            assert!(!jwk.verify(b"input", bad), "{:?}", jwk.algorithm());
        }
    }
}

/// A little-endian sum of 32 bytes; what overflows is dropped.
fn plus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0u16;
    let add = |(a, b): (&u8, &u8)| {
        carry = u16::from(*a) + u16::from(*b) + (carry >> 8);
        carry as u8
    };
    a.iter().zip(b).map(add).collect()
}

#[test]
fn an_ed25519_signature_has_one_spelling() {
    // RFC 8032 §5.1.7: S is below the order L = 2^252 + 27742317777372353535851937790883648493.
    let order = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let key = PKey::generate_ed25519().unwrap();
    let jwk = parse(&mint::jwk_of(&key).unwrap()).unwrap();
    let signature = mint::sign_bytes(b"input", &key).unwrap();
    let (r, s) = signature.split_at(32);
    assert!(jwk.verify(b"input", &signature));
    assert!(!jwk.verify(b"input", &[r, &plus(s, &order)].concat()));
}

#[test]
fn ecdsa_numbers_are_in_range_or_refused() {
    // The order of P-256 (FIPS 186-4 D.1.2.3).
    let order =
        BigNum::from_hex_str("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551").unwrap();
    let order = order.to_vec();
    let key = testkit::p256();
    let jwk = parse(&mint::jwk_of(&key).unwrap()).unwrap();
    let signature = mint::sign_bytes(b"input", &key).unwrap();
    let (r, s) = signature.split_at(32);
    let zero = [0; 32];
    let mut one = zero;
    one[31] = 1;
    for bad in [
        [&zero[..], s],
        [r, &zero],
        [&zero, &zero],
        [&order, s],
        [r, &order],
        [&order, &order],
        [&one, &zero],
    ] {
        assert!(!jwk.verify(b"input", &bad.concat()), "{bad:?}");
    }
    // The other of the two valid spellings (r, n − s): no new proof, as single use hangs on key, URL and `jti`.
    let mut other = BigNum::new().unwrap();
    let order = BigNum::from_slice(&order).unwrap();
    other
        .checked_sub(&order, &BigNum::from_slice(s).unwrap())
        .unwrap();
    let other = other.to_vec_padded(32).unwrap();
    assert!(jwk.verify(b"input", &[r, &other].concat()));
}

#[test]
fn a_pss_salt_of_another_length_is_refused() {
    let key = testkit::rsa();
    let mut signer = openssl::sign::Signer::new(MessageDigest::sha256(), &key).unwrap();
    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
    signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(20)).unwrap();
    let signature = signer.sign_oneshot_to_vec(b"input").unwrap();
    assert!(
        !parse(&mint::jwk_of(&key).unwrap())
            .unwrap()
            .verify(b"input", &signature)
    );
}

#[test]
fn a_der_signature_is_no_jws_signature() {
    let key = testkit::p256();
    let der = EcdsaSig::sign(&Sha256Digest::of(b"input").0, &*key.ec_key().unwrap()).unwrap();
    let jwk = parse(&mint::jwk_of(&key).unwrap()).unwrap();
    assert!(!jwk.verify(b"input", &der.to_der().unwrap()));
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

#[test]
fn purposes_that_agree_are_accepted() {
    for jwk in [
        ec_example(),
        with(ec_example(), "use", json!("sig")),
        with(ec_example(), "alg", json!("ES256")),
        with(ec_example(), "key_ops", json!(["verify"])),
        with(ec_example(), "ext", json!(true)),
        with(rsa_example(), "alg", json!("PS256")),
        // RFC 9864 §2.2: both name the same.
        with(okp_example(), "alg", json!("EdDSA")),
        with(okp_example(), "alg", json!("Ed25519")),
    ] {
        assert!(parse(&jwk).is_ok(), "{jwk}");
    }
}

#[test]
fn refuses_keys_that_are_not_exactly_right() {
    let long = format!("AA{}", ec_example()["x"].as_str().unwrap());
    let rsa = |bits: u32| mint::jwk_of(&testkit::rsa_of(bits)).unwrap();
    let mut cases = vec![
        with(ec_example(), "crv", json!("P-384")),
        with(ec_example(), "crv", json!("P-521")),
        with(ec_example(), "crv", json!("secp256k1")),
        with(ec_example(), "crv", json!("p-256")),
        with(ec_example(), "crv", json!(null)),
        with(ec_example(), "kty", json!("OKP")),
        with(ec_example(), "kty", json!("RSA")),
        with(ec_example(), "kty", json!("ec")),
        with(ec_example(), "kty", json!(null)),
        with(ec_example(), "x", json!(long)),
        with(ec_example(), "x", json!("AA")),
        with(ec_example(), "x", json!("")),
        with(ec_example(), "x", json!(1)),
        with(ec_example(), "y", json!(null)),
        with(ec_example(), "use", json!("enc")),
        with(ec_example(), "use", json!(null)),
        with(ec_example(), "alg", json!("ES384")),
        with(ec_example(), "alg", json!("ECDH-ES")),
        with(ec_example(), "alg", json!("none")),
        with(rsa_example(), "alg", json!("RS256")),
        with(okp_example(), "alg", json!("Ed448")),
        with(okp_example(), "alg", json!(["Ed25519"])),
        with(ec_example(), "key_ops", json!(["sign"])),
        with(ec_example(), "key_ops", json!("verify")),
        with(ec_example(), "key_ops", json!(["verify", "verify"])),
        with(ec_example(), "key_ops", json!(["verify", 1])),
        with(ec_example(), "key_ops", json!([])),
        // RFC 7518 §6.2.1.2: exactly as long as the curve's coordinates, zeros and all.
        with(ec_example(), "y", json!(b64url(&[1; 31]))),
        with(ec_example(), "y", json!(b64url(&[1; 33]))),
        with(rsa_example(), "e", json!("")),
        with(rsa_example(), "n", json!("")),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": b64url(&[0; 32]) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "x": b64url(&[1; 31]) }),
        json!({ "kty": "OKP", "crv": "Ed448", "x": b64url(&[9; 57]) }),
        json!({ "kty": "OKP", "crv": "X25519", "x": b64url(&[9; 32]) }),
        json!({ "kty": "EC", "crv": "Ed25519", "x": b64url(&[9; 32]), "y": b64url(&[9; 32]) }),
        with(ec_example(), "kid", json!(1)),
        with(ec_example(), "kid", json!("a b")),
        with(rsa_example(), "e", json!("Aw")),
        with(rsa_example(), "e", json!("AQAC")),
        with(rsa_example(), "e", json!("AAEAAQ")),
        with(rsa_example(), "e", json!("AQAAAAAAAAAB")),
        with(
            rsa_example(),
            "n",
            json!(format!("AAAA{}", rsa_example()["n"].as_str().unwrap())),
        ),
        rsa(1024),
        json!({ "kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ" }),
        json!({}),
    ];
    for member in PRIVATE_MEMBERS {
        cases.push(with(ec_example(), member, json!("AA")));
        cases.push(with(rsa_example(), member, json!(null)));
    }
    for jwk in cases {
        assert!(parse(&jwk).is_err(), "{jwk}");
    }
    assert!(parse(&rsa(2048)).is_ok());
}

#[test]
fn a_point_off_its_curve_is_refused() {
    // The example's x with its y changed in the last bit but one; then x beyond the field's prime.
    let off = with(
        ec_example(),
        "y",
        json!("4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyE"),
    );
    let beyond = with(ec_example(), "x", json!(b64url(&[0xff; 32])));
    let zero = with(
        with(ec_example(), "x", json!(b64url(&[0; 32]))),
        "y",
        json!(b64url(&[0; 32])),
    );
    for jwk in [off, beyond, zero] {
        let key = parse(&jwk).unwrap();
        assert!(key.pkey().is_err(), "{jwk}");
        assert!(!key.verify(b"input", &[1; 64]));
    }
    assert!(parse(&ec_example()).unwrap().pkey().is_ok());
}

#[test]
fn a_refused_signature_leaves_no_error_behind() {
    for key in testkit::one_key_of_each_kind() {
        let jwk = mint::jwk_of(&key).unwrap();
        let jwk = parse(&jwk).unwrap();
        // r and s out of range, a wrong length, nothing: OpenSSL has something to say about each.
        for signature in [
            vec![0xff; 64],
            vec![0xff; 96],
            vec![0xff; 256],
            vec![0; 64],
            Vec::new(),
        ] {
            assert!(!jwk.verify(b"input", &signature));
            assert!(
                crate::openssl_errors::was_empty(),
                "{:?}, {} bytes",
                jwk.algorithm(),
                signature.len()
            );
        }
    }
    let mut off_curve = mint::jwk_of(&testkit::p256()).unwrap();
    off_curve["x"] = off_curve["y"].clone();
    assert!(parse(&off_curve).unwrap().pkey().is_err());
    assert!(!parse(&off_curve).unwrap().verify(b"input", &[1; 64]));
    assert!(crate::openssl_errors::was_empty());
}
