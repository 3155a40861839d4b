//! Step 7 and RFC 7517: the key in a proof's header. The token is bound to whatever key the proof shows, so that nothing
//! but the key itself is in the way.

use openssl::pkey::{PKey, Private};
use openssl::rsa::Padding;
use openssl::sign::RsaPssSaltlen;
use serde_json::{Value, json};

use super::super::case::{Case, PROOF, call, proof};
use super::super::keys::{self, CALLERS, THIEF};
use super::header;
use crate::support::{b64, jwk, thumbprint_of, unb64};

pub(super) fn cases() -> Vec<Case> {
    [absent(), private(), elliptic(), purposes(), rsa()]
        .into_iter()
        .flatten()
        .collect()
}

/// By this key, shown as this JWK, to which the token is bound.
fn shown(name: impl Into<String>, key: impl Fn() -> (PKey<Private>, Value) + 'static) -> Case {
    call(name, move |call| {
        let (key, jwk) = key();
        let jkt = thumbprint_of(&jwk);
        call.token(|token| token.claims["cnf"] = json!({ "jkt": jkt }))
            .proof(move |proof| {
                proof.header["jwk"] = jwk;
                proof.by(&key);
            })
    })
    .expect(PROOF)
}

/// A fresh P-256 key, shown changed.
fn changed(name: &str, edit: fn(&mut Value)) -> Case {
    shown(name, move || {
        let key = CALLERS[0].1.clone();
        let mut public = jwk(&key);
        edit(&mut public);
        (key, public)
    })
}

fn absent() -> Vec<Case> {
    vec![
        proof("no jwk", |proof| {
            proof.header.as_object_mut().unwrap().remove("jwk");
        }),
        header("jwk null", "jwk", Value::Null),
        header("jwk as text", "jwk", json!("{}")),
        header("jwk empty", "jwk", json!({})),
        header("jwk as a list", "jwk", json!([])),
        proof("a kid in place of jwk", |proof| {
            proof.header.as_object_mut().unwrap().remove("jwk");
            proof.header["kid"] = json!("authority-1");
        }),
    ]
}

/// Step 7: no private key; RFC 7518 §6.2.2, §6.3.2, §6.4.1.
fn private() -> Vec<Case> {
    let mut cases: Vec<Case> = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]
        .into_iter()
        .map(|member| {
            shown(format!("jwk with {member}"), move || {
                let key = CALLERS[0].1.clone();
                let mut public = jwk(&key);
                public[member] = json!("AAAA");
                (key, public)
            })
        })
        .collect();
    cases.push(shown("jwk with its true private key", || {
        let key = CALLERS[0].1.clone();
        let mut public = jwk(&key);
        public["d"] = json!(b64(key
            .ec_key()
            .unwrap()
            .private_key()
            .to_vec_padded(32)
            .unwrap()));
        (key, public)
    }));
    cases.push(shown("jwk with d null", || {
        let key = CALLERS[0].1.clone();
        let mut public = jwk(&key);
        public["d"] = Value::Null;
        (key, public)
    }));
    cases.push(shown("a symmetric jwk", || {
        let secret = PKey::hmac(b"0123456789abcdef0123456789abcdef").unwrap();
        (
            secret,
            json!({ "kty": "oct", "k": b64(b"0123456789abcdef0123456789abcdef") }),
        )
    }));
    cases
}

/// RFC 7518 §6.2.1: points as they must be.
fn elliptic() -> Vec<Case> {
    vec![
        changed("jwk of no type", |jwk| jwk["kty"] = Value::Null),
        changed("jwk of a type in lower case", |jwk| jwk["kty"] = json!("ec")),
        changed("jwk of type OKP", |jwk| jwk["kty"] = json!("OKP")),
        changed("jwk on no curve", |jwk| jwk["crv"] = Value::Null),
        changed("jwk on P-384 with coordinates of P-256", |jwk| {
            jwk["crv"] = json!("P-384");
        }),
        changed("jwk on secp256k1", |jwk| jwk["crv"] = json!("secp256k1")),
        changed("jwk on P-521", |jwk| jwk["crv"] = json!("P-521")),
        changed("jwk off its curve", |jwk| {
            let mut y = unb64(jwk["y"].as_str().unwrap());
            y[31] ^= 1;
            jwk["y"] = json!(b64(y));
        }),
        changed("jwk at infinity", |jwk| {
            jwk["x"] = json!(b64([0; 32]));
            jwk["y"] = json!(b64([0; 32]));
        }),
        changed("jwk beyond the field", |jwk| {
            jwk["x"] = json!(b64([0xff; 32]));
        }),
        changed("jwk without y", |jwk| {
            jwk.as_object_mut().unwrap().remove("y");
        }),
        changed("jwk with a compressed x", |jwk| {
            let x = unb64(jwk["x"].as_str().unwrap());
            jwk["x"] = json!(b64([&[2][..], &x].concat()));
        }),
        changed("jwk with a leading zero too many", |jwk| {
            let x = unb64(jwk["x"].as_str().unwrap());
            jwk["x"] = json!(b64([&[0][..], &x].concat()));
        }),
        shown("jwk with the leading zero of x missing", || {
            let key = keys::ZERO.clone();
            let mut public = jwk(&key);
            public["x"] = json!(b64(&unb64(public["x"].as_str().unwrap())[1..]));
            (key, public)
        }),
        changed("jwk with a padded x", |jwk| {
            jwk["x"] = json!(format!("{}=", jwk["x"].as_str().unwrap()));
        }),
        changed("jwk with bits left over in x", |jwk| {
            jwk["x"] = json!(super::super::token::other_spelling(jwk["x"].as_str().unwrap()));
        }),
        changed("jwk with x as a number", |jwk| jwk["x"] = json!(1)),
        shown("jwk of Ed25519 with 31 bytes", || {
            let key = CALLERS[2].1.clone();
            let mut public = jwk(&key);
            public["x"] = json!(b64(&unb64(public["x"].as_str().unwrap())[..31]));
            (key, public)
        }),
        shown("jwk of X25519", || {
            let key = CALLERS[2].1.clone();
            let mut public = jwk(&key);
            public["crv"] = json!("X25519");
            (key, public)
        }),
    ]
}

/// RFC 7517 §4.2 to §4.4.
fn purposes() -> Vec<Case> {
    vec![
        changed("jwk for encryption", |jwk| jwk["use"] = json!("enc")),
        changed("jwk that only signs", |jwk| jwk["key_ops"] = json!(["sign"])),
        changed("jwk for no operation", |jwk| jwk["key_ops"] = json!([])),
        changed("jwk for another algorithm", |jwk| jwk["alg"] = json!("ES384")),
        changed("jwk for no algorithm", |jwk| jwk["alg"] = json!("none")),
        shown("jwk of another key than signed", || {
            (THIEF.clone(), jwk(&CALLERS[0].1))
        }),
    ]
}

fn signed(name: &str, padding: Padding, salt: fn() -> RsaPssSaltlen) -> Case {
    call(name, move |call| {
        let key = &CALLERS[3].1;
        call.by(key)
            .proof(move |proof| proof.whole(move |t| keys::rsa_anew(&t, key, padding, salt())))
    })
    .expect(PROOF)
}

/// RFC 7518 §6.3.1 and §3.5.
fn rsa() -> Vec<Case> {
    let altered = |name: &str, member: &'static str, bytes: fn(Vec<u8>) -> Vec<u8>| {
        shown(name, move || {
            let key = CALLERS[3].1.clone();
            let mut public = jwk(&key);
            public[member] = json!(b64(bytes(unb64(public[member].as_str().unwrap()))));
            (key, public)
        })
    };
    vec![
        shown("an RSA key of 1024 bits", || {
            let key = keys::WEAK.clone();
            let public = jwk(&key);
            (key, public)
        }),
        shown("an RSA key with exponent 3", || {
            (keys::CUBIC.clone(), jwk(&keys::CUBIC))
        }),
        altered("an RSA key with exponent 1", "e", |_| vec![1]),
        altered("an RSA key with an even exponent", "e", |_| vec![1, 0, 2]),
        altered("an RSA key with a huge exponent", "e", |_| vec![0xff; 200]),
        altered("an RSA key with an exponent of nine bytes", "e", |_| {
            vec![1, 0, 0, 0, 0, 0, 0, 0, 1]
        }),
        altered("an RSA key with zeros before its exponent", "e", |e| {
            [&[0][..], &e].concat()
        }),
        altered("an RSA key with zeros before its modulus", "n", |n| {
            [&[0][..], &n].concat()
        }),
        altered("an RSA key with an even modulus", "n", |mut n| {
            *n.last_mut().unwrap() &= 0xfe;
            n
        }),
        altered("an RSA key of 8192 bits", "n", |n| {
            std::iter::repeat_n(n, 4).flatten().collect()
        }),
        altered("an RSA key without modulus", "n", |_| Vec::new()),
        signed("a proof of PS256 without salt", Padding::PKCS1_PSS, || {
            RsaPssSaltlen::custom(0)
        }),
        signed(
            "a proof of PS256 with the longest salt",
            Padding::PKCS1_PSS,
            || RsaPssSaltlen::MAXIMUM_LENGTH,
        ),
        signed("a proof of PS256 by PKCS #1 1.5", Padding::PKCS1, || {
            RsaPssSaltlen::custom(0)
        }),
        call("an RSA key for RS256", |call| {
            call.by(&CALLERS[3].1)
                .proof(|proof| proof.header["alg"] = json!("RS256"))
        })
        .expect(PROOF),
    ]
}
