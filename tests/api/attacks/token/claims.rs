//! Claims of a token, each broken alone.

use serde_json::{Value, json};

use super::super::case::{Case, call, token};
use super::super::keys::{THIEF, by_kind};
use super::{ahead, caller, remove};
use crate::support::{AUTHORITY, now, thumbprint};

pub(super) fn cases() -> Vec<Case> {
    [
        dates(),
        lifetimes(),
        issuers(),
        audiences(),
        names(),
        scopes(),
        confirmations(),
        duplicates(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A claim with this value, `null` included.
fn claim(name: impl Into<String>, member: &'static str, value: Value) -> Case {
    token(name, move |token| token.claims[member] = value.clone())
}

fn without(member: &'static str) -> Case {
    token(format!("{member} missing"), move |token| {
        remove(&mut token.claims, member)
    })
}

/// RFC 7519 §2: a NumericDate is a JSON number.
fn dates() -> Vec<Case> {
    let mut cases = vec![without("exp"), without("iat")];
    for member in ["exp", "nbf", "iat"] {
        let seconds = if member == "exp" { 200 } else { -1 };
        let at = now() + seconds;
        for (what, value) in [
            ("as text", json!(at.to_string())),
            ("as a date in text", json!("2030-01-01T00:00:00Z")),
            ("as a bool", json!(true)),
            ("null", Value::Null),
            ("as a list", json!([at])),
            ("as an object", json!({ "value": at })),
            ("negative", json!(-1)),
            ("in milliseconds", json!(at * 1000)),
            ("beyond every year", json!(1e20)),
        ] {
            cases.push(claim(format!("{member} {what}"), member, value));
        }
        for (what, text) in [
            ("infinite by its exponent", "1e400"),
            ("not a number", "NaN"),
            ("infinite", "Infinity"),
            ("hexadecimal", "0x7fffffff"),
        ] {
            cases.push(token(format!("{member} {what}"), move |token| {
                token.claims[member] = json!("here");
                token.claims_text(move |claims| claims.replace("\"here\"", text));
            }));
        }
    }
    cases
}

/// Contract §3: at most 30 s of skew, at most 10 minutes of life.
fn lifetimes() -> Vec<Case> {
    let times = |name: &str, iat: i64, nbf: i64, exp: i64| {
        token(name, move |token| {
            token.claim("iat", ahead(iat));
            token.claim("nbf", ahead(nbf));
            token.claim("exp", ahead(exp));
        })
    };
    let exact = |name: &str, member: &'static str, seconds: f64| {
        token(name, move |token| {
            let now = chrono::Utc::now().timestamp_millis() as f64 / 1000.0;
            token.claim("exp", (now + 200.0).floor());
            token.claim(member, now + seconds);
        })
        .timely()
    };
    vec![
        times("expired at the edge of the skew", -300, -300, -30),
        times("expired long ago", -700, -700, -120),
        times("expired since yesterday", -86_700, -86_700, -86_400),
        times("not valid before two minutes from now", 0, 120, 300),
        times("issued two minutes from now", 120, 0, 300),
        exact("nbf a second beyond the skew", "nbf", 31.0),
        exact("iat a second beyond the skew", "iat", 31.0),
        times("exp is iat", 0, 0, 0),
        times("exp before iat", 20, 0, 10),
        times("a life of ten minutes and a second", 0, 0, 601),
        times(
            "a life of ten minutes and a second, half of it over",
            -300,
            -300,
            301,
        ),
        times("a life of a day", 0, 0, 86_400),
        times("a life of a century", 0, 0, 3_153_600_000),
    ]
}

fn issuers() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "https://authority.test/",
        "https://AUTHORITY.test",
        "http://authority.test",
        "https://authority.test.thief.example",
        "https://thief.example/https://authority.test",
        "https://thief.example",
        "https://licensing.test",
        "https://authority.tes",
        "https://authority.test ",
        "https://authority.test#",
        "https://authority.test:443",
        "https://x@authority.test",
        "",
    ]
    .into_iter()
    .map(|iss| claim(format!("iss {iss:?}"), "iss", json!(iss)))
    .collect();
    cases.extend([
        without("iss"),
        claim("iss null", "iss", Value::Null),
        claim("iss as a number", "iss", json!(1)),
        claim("iss as a list with the issuer", "iss", json!([AUTHORITY])),
        claim(
            "iss as a list of two",
            "iss",
            json!([AUTHORITY, "https://thief.example"]),
        ),
        claim("iss as an object", "iss", json!({ AUTHORITY: 1 })),
    ]);
    cases
}

fn audiences() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "attestor",
        "Signer",
        "SIGNER",
        "signer2",
        "signer.example",
        "signe",
        "other signer",
        "signer,other",
        " signer",
        "signer ",
        "*",
        "",
    ]
    .into_iter()
    .map(|aud| claim(format!("aud {aud:?}"), "aud", json!(aud)))
    .collect();
    for (what, aud) in [
        ("null", Value::Null),
        ("an empty list", json!([])),
        ("a list of others", json!(["attestor", "signer2"])),
        ("a list in a list", json!([["signer"]])),
        ("a list with more than text", json!(["signer", 1])),
        ("an object", json!({ "signer": true })),
        ("a number", json!(1)),
    ] {
        cases.push(claim(format!("aud is {what}"), "aud", aud));
    }
    cases.push(without("aud"));
    // The library that checks most tokens has no part in those of Ed25519.
    for (what, member, value) in [
        ("aud is a list with more than text", "aud", json!(["signer", 1])),
        ("iss is a list", "iss", json!([AUTHORITY])),
        ("exp is text", "exp", json!("9999999999")),
    ] {
        cases.push(token(format!("{what}, by Ed25519"), move |token| {
            by_kind(token, "EdDSA");
            token.claims[member] = value.clone();
        }));
    }
    cases
}

/// `sub`, `client_id`, `jti`: 1 to 256 visible characters.
fn names() -> Vec<Case> {
    let mut cases = Vec::new();
    for member in ["sub", "client_id", "jti"] {
        cases.push(without(member));
        for (what, value) in [
            ("empty", json!("")),
            ("null", Value::Null),
            ("as a number", json!(7)),
            ("as a list", json!(["a"])),
            ("too long", json!("a".repeat(257))),
            ("with a line break", json!("a\nb")),
            ("with a space", json!("a b")),
            ("beyond ASCII", json!("\u{430}cme")),
        ] {
            cases.push(claim(format!("{member} {what}"), member, value));
        }
    }
    cases
}

/// RFC 6749 §3.3: scope tokens separated by single spaces. What is one but not ours is a matter of `resource`.
fn scopes() -> Vec<Case> {
    let many: Vec<String> = (0..65).map(|n| format!("signer.sign{n}")).collect();
    let mut cases = vec![without("scope")];
    for (what, scope) in [
        ("null", Value::Null),
        ("empty", json!("")),
        ("a list", json!(["signer.sign"])),
        ("an object", json!({ "signer.sign": true })),
        ("separated by tabs", json!("signer.verify\tsigner.sign")),
        ("separated by line breaks", json!("signer.verify\nsigner.sign")),
        ("separated by two spaces", json!("signer.verify  signer.sign")),
        ("with a space in front", json!(" signer.sign")),
        ("with a space behind", json!("signer.sign ")),
        ("quoted", json!("\"signer.sign\"")),
        ("with a NUL", json!("signer.sign\0")),
        ("of 65 tokens", json!(many.join(" "))),
        (
            "of 5,000 characters",
            json!(format!("signer.sign {}", "x".repeat(5000))),
        ),
    ] {
        cases.push(claim(format!("scope {what}"), "scope", scope));
    }
    cases
}

/// RFC 7800 §3.1, RFC 9449 §6.1, RFC 8705 §3.1: what binds the token to its sender.
fn confirmations() -> Vec<Case> {
    let other = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let jkt = |name: &str, edit: fn(String) -> Value| {
        call(name, move |call| {
            let jkt = edit(caller(&call));
            call.token(|token| token.claims["cnf"] = json!({ "jkt": jkt }))
        })
    };
    let more = |name: &str, member: &'static str, value: Value| {
        token(name, move |token| token.claims["cnf"][member] = value.clone())
    };
    vec![
        without("cnf"),
        claim("cnf null", "cnf", Value::Null),
        claim("cnf empty", "cnf", json!({})),
        claim("cnf as text", "cnf", json!(other)),
        claim("cnf as a list", "cnf", json!([{ "jkt": other }])),
        claim("cnf with a kid alone", "cnf", json!({ "kid": "1" })),
        claim(
            "cnf by certificate alone, sent with a proof",
            "cnf",
            json!({ "x5t#S256": other }),
        ),
        call(
            "cnf by certificate alone, sent as bearer without TLS",
            move |call| {
                call.token(|token| token.claims["cnf"] = json!({ "x5t#S256": other }))
                    .scheme("Bearer")
                    .proofs(&[])
            },
        ),
        call("no cnf, sent as bearer", |call| {
            call.token(|token| token.claim("cnf", Value::Null))
                .scheme("Bearer")
                .proofs(&[])
        }),
        more(
            "cnf with a certificate that nobody shows",
            "x5t#S256",
            json!(other),
        ),
        more("cnf with a member that is not checked", "kid", json!("1")),
        more("cnf with a JWK beside", "jwk", json!({ "kty": "EC" })),
        more("cnf with an old certificate hash beside", "x5t", json!("AAAA")),
        more("cnf with a null certificate", "x5t#S256", Value::Null),
        claim("cnf of another key", "cnf", json!({ "jkt": other })),
        token("cnf of a thief, proof by the caller", |token| {
            token.claims["cnf"] = json!({ "jkt": thumbprint(&THIEF) });
        }),
        jkt("jkt a character short", |jkt| json!(jkt[..42])),
        jkt("jkt padded", |jkt| json!(format!("{jkt}="))),
        jkt("jkt with a space", |jkt| json!(format!("{jkt} "))),
        jkt("jkt with bits left over", |jkt| {
            json!(super::other_spelling(&jkt))
        }),
        jkt("jkt in upper case", |jkt| json!(jkt.to_uppercase())),
        jkt("jkt as a list", |jkt| json!([jkt])),
        jkt("jkt in hexadecimal", |jkt| {
            json!(hex::encode(crate::support::unb64(&jkt)))
        }),
        jkt("jkt empty", |_| json!("")),
        jkt("jkt null", |_| Value::Null),
        jkt("jkt as a number", |_| json!(1)),
        jkt("jkt as an object", |_| json!({})),
        call("jkt in another case of its name", |call| {
            let jkt = caller(&call);
            call.token(|token| token.claims["cnf"] = json!({ "JKT": jkt }))
        }),
    ]
}

/// RFC 7519 §4: two members of one name are refused, whichever parser would pick which.
fn duplicates() -> Vec<Case> {
    let mut cases = Vec::new();
    for (member, value) in [
        ("tid", json!("other")),
        ("scope", json!("signer.audit")),
        ("aud", json!("attestor")),
        ("exp", json!(1)),
        ("iss", json!("https://thief.example")),
        ("cnf", json!({ "jkt": thumbprint(&THIEF) })),
    ] {
        let text = format!("\"{member}\":{value}");
        let first = text.clone();
        cases.push(token(
            format!("{member} twice, the good one last"),
            move |token| {
                let text = first.clone();
                token.claims_text(move |claims| claims.replacen('{', &format!("{{{text},"), 1));
            },
        ));
        cases.push(token(
            format!("{member} twice, the good one first"),
            move |token| {
                let text = text.clone();
                token.claims_text(move |claims| format!("{},{text}}}", &claims[..claims.len() - 1]));
            },
        ));
    }
    cases.push(token("tid twice by another spelling", |token| {
        token.claims_text(|claims| claims.replacen('{', r#"{"\u0074id":"other","#, 1));
    }));
    cases.push(token("jkt twice", |token| {
        token.claims_text(|claims| claims.replace(r#"{"jkt":"#, r#"{"jkt":"AAAA","jkt":"#));
    }));
    cases
}
