//! Proofs (RFC 9449 §4.3): forged, replayed, or made for something else.

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::PKey;
use openssl::sha::sha256;
use serde_json::{Value, json};

use super::case::{Case, PROOF, call, proof};
use super::keys::THIEF;
use super::token::replaced;
use crate::support::{b64, jwk, now};

mod htu;
mod keys_in_header;
mod replay;

pub(crate) fn cases() -> Vec<Case> {
    [
        fields(),
        headers(),
        keys_in_header::cases(),
        methods(),
        htu::cases(),
        times(),
        ids(),
        hashes(),
        duplicates(),
        signatures(),
        replay::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn header(name: impl Into<String>, member: &'static str, value: Value) -> Case {
    proof(name, move |proof| proof.header[member] = value.clone())
}

/// A claim with this value, `null` included.
fn claim(name: impl Into<String>, member: &'static str, value: Value) -> Case {
    proof(name, move |proof| proof.claims[member] = value.clone())
}

fn without(member: &'static str) -> Case {
    proof(format!("{member} missing in the proof"), move |proof| {
        proof.claim(member, Value::Null);
    })
}

fn good(call: &crate::support::Call<'_>) -> String {
    call.world().signing_proof(call.sent_token())
}

/// Step 1 and 2: one field, one JWT in it.
fn fields() -> Vec<Case> {
    let fields = |name: &str, make: fn(String, String) -> Vec<String>| {
        call(name, move |call| {
            let made = make(good(&call), good(&call));
            call.proofs(&made)
        })
        .expect(PROOF)
    };
    let whole = |name: &str, edit: fn(String) -> String| proof(name, move |proof| proof.whole(edit));
    vec![
        fields("no proof", |_, _| vec![]),
        fields("an empty proof", |_, _| vec![String::new()]),
        fields("two proofs in two fields", |a, b| vec![a, b]),
        fields("one proof in two fields", |a, _| vec![a.clone(), a]),
        fields("a good proof and a bad one", |a, _| vec![a, "x".into()]),
        fields("a bad proof and a good one", |a, _| vec!["x".into(), a]),
        fields("two proofs with a comma between", |a, b| vec![format!("{a},{b}")]),
        fields("two proofs with comma and space between", |a, b| {
            vec![format!("{a}, {b}")]
        }),
        fields("two proofs with a space between", |a, b| vec![format!("{a} {b}")]),
        fields("a proof and a comma", |a, _| vec![format!("{a},")]),
        fields("a proof in quotes", |a, _| vec![format!("\"{a}\"")]),
        fields("a proof with the scheme in front", |a, _| {
            vec![format!("DPoP {a}")]
        }),
        whole("a proof in two parts", |t| {
            t.rsplit_once('.').unwrap().0.to_owned()
        }),
        whole("a proof in four parts", |t| format!("{t}.AAAA")),
        whole("a proof with padding", |t| format!("{t}==")),
        whole("a proof with bits left over", |t| {
            super::token::other_spelling(&t)
        }),
        proof("a proof of 8 KiB and more", |proof| {
            proof.claim("pad", "x".repeat(6200));
        }),
        proof("a proof with a header of 2 KiB and more", |proof| {
            proof.header["pad"] = json!("x".repeat(1500));
        }),
        proof("a proof whose claims are a list", |proof| {
            proof.claims_text(|claims| format!("[{claims}]"));
        }),
        proof("a proof whose claims are nothing", |proof| {
            proof.payload(|_| Vec::new());
        }),
        call("the token as its proof", |call| {
            let token = call.sent_token().to_owned();
            call.proofs(&[token])
        })
        .expect(PROOF),
        call("a PoE as proof", |call| {
            let poe = call.world().mint.poe(|_| ());
            call.proofs(&[poe])
        })
        .expect(PROOF),
    ]
}

/// Steps 4 and 5.
fn headers() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "jwt",
        "JWT",
        "at+jwt",
        "poe+jwt",
        "dpop",
        "dpop+jwt ",
        "text/dpop+jwt",
        "",
    ]
    .into_iter()
    .map(|typ| header(format!("a proof of typ {typ:?}"), "typ", json!(typ)))
    .collect();
    let unsigned = |alg: &'static str| {
        proof(format!("a proof with alg {alg}, no signature"), move |proof| {
            proof.header["alg"] = json!(alg);
            proof.signature(|_| Vec::new());
        })
    };
    let named = |alg: &'static str| header(format!("a proof with alg {alg}"), "alg", json!(alg));
    cases.extend([
        header("a proof of typ null", "typ", Value::Null),
        unsigned("none"),
        unsigned("None"),
        unsigned("ES256"),
        named("RS256"),
        named("ES384"),
        named("ES256K"),
        named("EdDSA"),
        named("es256"),
        header("a proof with a list of algs", "alg", json!(["ES256"])),
        header("a proof with alg null", "alg", Value::Null),
        proof("a proof with HS256 by its own public key", |proof| {
            let secret = proof.key.public_key_to_pem().unwrap();
            proof.by(&PKey::hmac(&secret).unwrap());
        }),
        header("a proof with crit", "crit", json!(["htu"])),
        header("a proof with an empty crit", "crit", json!([])),
        proof("a proof with b64 false", |proof| {
            proof.header["b64"] = json!(false);
            proof.header["crit"] = json!(["b64"]);
        }),
        header("a proof with x5c", "x5c", json!(["MIIB"])),
        header("a proof with jku", "jku", json!("https://thief.test/jwks")),
        proof("a proof with alg twice", |proof| {
            proof.header_text(|text| text.replacen('{', r#"{"alg":"none","#, 1));
        }),
    ]);
    cases
}

/// Step 8: methods have cases (RFC 9110 §9.1).
fn methods() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "GET", "PUT", "post", "Post", "POST ", " POST", "POST,GET", "*", "",
    ]
    .into_iter()
    .map(|htm| claim(format!("htm {htm:?}"), "htm", json!(htm)))
    .collect();
    cases.extend([
        without("htm"),
        claim("htm null", "htm", Value::Null),
        claim("htm as a list", "htm", json!(["POST"])),
        claim("htm as a number", "htm", json!(1)),
    ]);
    cases
}

/// Step 11, and contract §3: from 60 s ago to 30 s from now. What an old proof needs besides is in `nonce`.
fn times() -> Vec<Case> {
    let ahead = |name: &str, seconds: i64| proof(name, move |proof| proof.claim("iat", now() + seconds));
    let mut cases = vec![
        without("iat"),
        ahead("a proof of 61 s ago", -61),
        ahead("a proof of five minutes ago", -300),
        ahead("a proof of yesterday", -86_400),
        ahead("a proof of a minute from now", 60),
        ahead("a proof of tomorrow", 86_400),
        proof("a proof a second too far ahead", |proof| {
            let now = chrono::Utc::now().timestamp_millis() as f64 / 1000.0;
            proof.claim("iat", now + 31.0);
        })
        .timely(),
    ];
    for (what, value) in [
        ("null", Value::Null),
        ("as text", json!(now().to_string())),
        ("as a bool", json!(true)),
        ("as a list", json!([now()])),
        ("negative", json!(-1)),
        ("zero", json!(0)),
        ("in milliseconds", json!(now() * 1000)),
    ] {
        cases.push(claim(format!("the proof's iat {what}"), "iat", value));
    }
    cases.push(proof("the proof's iat infinite", |proof| {
        proof.claims["iat"] = json!("here");
        proof.claims_text(|claims| claims.replace("\"here\"", "1e400"));
    }));
    cases
}

fn ids() -> Vec<Case> {
    vec![
        without("jti"),
        claim("the proof's jti null", "jti", Value::Null),
        claim("the proof's jti empty", "jti", json!("")),
        claim("the proof's jti as a number", "jti", json!(1)),
        claim("the proof's jti as a list", "jti", json!(["a"])),
        claim("the proof's jti of 257 bytes", "jti", json!("j".repeat(257))),
    ]
}

/// Step 12: `ath`.
fn hashes() -> Vec<Case> {
    let ath = |name: &str, make: fn(&str) -> Value| {
        call(name, move |call| {
            let made = make(call.sent_token());
            call.proof(move |proof| proof.claims["ath"] = made)
        })
        .expect(PROOF)
    };
    vec![
        without("ath"),
        ath("ath null", |_| Value::Null),
        ath("ath empty", |_| json!("")),
        ath("ath as a number", |_| json!(1)),
        ath("ath of another token", |_| json!(b64(sha256(b"other")))),
        ath("ath of nothing", |_| json!(b64(sha256(b"")))),
        ath("ath is the token", |token| json!(token)),
        ath("ath in hexadecimal", |token| {
            json!(hex::encode(sha256(token.as_bytes())))
        }),
        ath("ath padded", |token| {
            json!(format!("{}=", b64(sha256(token.as_bytes()))))
        }),
        ath("ath cut in half", |token| {
            json!(b64(&sha256(token.as_bytes())[..16]))
        }),
        ath("ath with bits left over", |token| {
            json!(super::token::other_spelling(&b64(sha256(token.as_bytes()))))
        }),
        ath("ath of the field", |token| {
            json!(b64(sha256(format!("DPoP {token}").as_bytes())))
        }),
        ath("ath of the signature alone", |token| {
            json!(b64(sha256(token.rsplit('.').next().unwrap().as_bytes())))
        }),
        ath("ath as a list", |token| json!([b64(sha256(token.as_bytes()))])),
        ath("ath by SHA-384", |token| {
            json!(b64(openssl::sha::sha384(token.as_bytes())))
        }),
    ]
}

fn duplicates() -> Vec<Case> {
    let mut cases = Vec::new();
    for (member, value) in [
        ("htm", json!("GET")),
        ("htu", json!("https://thief.test/")),
        ("jti", json!("another")),
        ("iat", json!(1)),
        ("ath", json!("AAAA")),
    ] {
        let text = format!("\"{member}\":{value}");
        let first = text.clone();
        cases.push(proof(
            format!("{member} twice in the proof, the good one last"),
            move |proof| {
                let text = first.clone();
                proof.claims_text(move |claims| claims.replacen('{', &format!("{{{text},"), 1));
            },
        ));
        cases.push(proof(
            format!("{member} twice in the proof, the good one first"),
            move |proof| {
                let text = text.clone();
                proof.claims_text(move |claims| format!("{},{text}}}", &claims[..claims.len() - 1]));
            },
        ));
    }
    cases.push(proof("jwk twice, the thief's last", |proof| {
        let thief = jwk(&THIEF);
        proof.header_text(move |text| format!("{},\"jwk\":{thief}}}", &text[..text.len() - 1]));
    }));
    cases
}

/// Step 6.
fn signatures() -> Vec<Case> {
    let signature = |name: &str, edit: fn(Vec<u8>) -> Vec<u8>| {
        proof(format!("the proof's {name}"), move |proof| proof.signature(edit))
    };
    vec![
        signature("signature empty", |_| Vec::new()),
        signature("signature cut", |s| s[..63].to_vec()),
        signature("signature longer", |s| [&s[..], &[0]].concat()),
        signature("signature all zero", |_| vec![0; 64]),
        signature("signature all ones", |_| vec![0xff; 64]),
        signature("signature with r zero", |s| [&[0; 32], &s[32..]].concat()),
        signature("signature with s zero", |s| [&s[..32], &[0; 32]].concat()),
        signature("signature exchanged", |s| [&s[32..], &s[..32]].concat()),
        signature("signature with a bit flipped", |mut s| {
            s[9] ^= 0x80;
            s
        }),
        signature("signature in DER", |s| {
            let number = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
            let pair = EcdsaSig::from_private_components(number(&s[..32]), number(&s[32..]));
            pair.unwrap().to_der().unwrap()
        }),
        proof("a proof signed by a thief under the caller's key", |proof| {
            proof.key = THIEF.clone();
        }),
        call("a proof with the claims of another", |call| {
            let other = good(&call);
            let claims = other.split('.').nth(1).unwrap().to_owned();
            call.proof(move |proof| proof.whole(move |t| replaced(&t, 1, &claims)))
        })
        .expect(PROOF),
    ]
}
