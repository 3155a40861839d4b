//! A token that somebody made, changed, stole a piece of, or obtained for something else.

use openssl::pkey::PKey;
use serde_json::{Value, json};

use super::case::{Case, Expected, call, token};
use super::keys::{THIEF, by_kind};
use crate::support::{Draft, SIGN, jwk, now, thumbprint};

mod claims;
mod signatures;

pub(crate) fn cases() -> Vec<Case> {
    [
        algorithms(),
        symmetric(),
        key_ids(),
        headers(),
        types(),
        other_tokens(),
        signatures::cases(),
        shapes(),
        claims::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn header(name: &str, member: &'static str, value: Value) -> Case {
    token(name, move |token| token.header[member] = value.clone())
}

/// RFC 8725 §3.1, §3.2: the algorithm is the key's.
fn algorithms() -> Vec<Case> {
    let named = |alg: &'static str| {
        // Only the word changes: what was signed says so too.
        token(format!("alg {alg}, signature kept"), move |token| {
            token.header_text(move |text| text.replace("\"ES256\"", &format!("\"{alg}\"")));
        })
    };
    let unsigned = |alg: &'static str| {
        token(format!("alg {alg}, no signature"), move |token| {
            token.header["alg"] = json!(alg);
            token.signature(|_| Vec::new());
        })
    };
    vec![
        unsigned("none"),
        unsigned("None"),
        unsigned("NONE"),
        unsigned("nOnE"),
        unsigned("ES256"),
        named("none"),
        named("None"),
        named("RS256"),
        named("PS256"),
        named("ES256K"),
        named("ES384"),
        named("ES512"),
        named("EdDSA"),
        named("es256"),
        named("ES256 "),
        named(""),
        header("alg as a list", "alg", json!(["ES256"])),
        header("alg as a number", "alg", json!(256)),
        header("alg null", "alg", Value::Null),
        token("alg missing", |token| remove(&mut token.header, "alg")),
        named("Ed25519"),
        token("alg Ed448 for an Ed25519 key", |token| {
            by_kind(token, "EdDSA");
            token.header["alg"] = json!("Ed448");
        }),
        token("alg ES256 for an Ed25519 key", |token| {
            by_kind(token, "EdDSA");
            token.header["alg"] = json!("ES256");
        }),
        token("an Ed25519 signature with a bit flipped", |token| {
            by_kind(token, "EdDSA");
            token.signature(|mut s| {
                s[3] ^= 4;
                s
            });
        }),
        token("alg of another key of the Authority", |token| {
            token.header["kid"] = json!("kinds-ES384");
            token.header["alg"] = json!("ES384");
        }),
    ]
}

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().unwrap().remove(name);
}

/// RFC 8725 §2.1: a public key is no shared secret.
fn symmetric() -> Vec<Case> {
    type Secret = fn(&Draft) -> Vec<u8>;
    let secrets: [(&str, Secret); 4] = [
        ("HS256 by the public key in PEM", |token| {
            token.key.public_key_to_pem().unwrap()
        }),
        ("HS256 by the public key in DER", |token| {
            token.key.public_key_to_der().unwrap()
        }),
        ("HS256 by the public JWK", |token| {
            jwk(&token.key).to_string().into_bytes()
        }),
        ("HS256 by the key's id", |_| b"authority-1".to_vec()),
    ];
    secrets
        .into_iter()
        .map(|(name, secret)| {
            token(name, move |token| {
                let secret = PKey::hmac(&secret(token)).unwrap();
                token.by(&secret);
            })
        })
        .collect()
}

fn key_ids() -> Vec<Case> {
    let kid = |name: &str, kid: &str| header(name, "kid", json!(kid));
    vec![
        token("kid missing", |token| remove(&mut token.header, "kid")),
        header("kid null", "kid", Value::Null),
        header("kid as a number", "kid", json!(1)),
        header("kid as a list", "kid", json!(["authority-1"])),
        kid("kid empty", ""),
        kid("kid unknown", "authority-2"),
        kid("kid in another case", "Authority-1"),
        kid("kid as a path", "../../authority-1"),
        kid("kid as a device", "/dev/null"),
        kid("kid with a space behind", "authority-1 "),
        kid("kid with a NUL behind", "authority-1\0"),
        kid("kid of another key", "kinds-ES384"),
        kid("kid of Licensing", "licensing-1"),
        kid("kid with an injection", "authority-1' OR '1'='1"),
        kid("kid too long", &"k".repeat(257)),
    ]
}

/// Members that would change how the token is read or which key is used.
fn headers() -> Vec<Case> {
    vec![
        header("jku", "jku", json!("https://thief.test/jwks.json")),
        header(
            "jku of the Authority",
            "jku",
            json!("https://authority.test/jwks"),
        ),
        header("x5u", "x5u", json!("https://thief.test/chain.pem")),
        header("x5c", "x5c", json!(["MIIB"])),
        header("jwk beside kid", "jwk", json!({ "kty": "EC" })),
        token("jwk of a thief who signed", |token| {
            token.header["jwk"] = jwk(&THIEF);
            token.by(&THIEF);
        }),
        token("jwk of a thief in place of kid", |token| {
            remove(&mut token.header, "kid");
            token.header["jwk"] = jwk(&THIEF);
            token.by(&THIEF);
        }),
        header("crit names a claim", "crit", json!(["exp"])),
        header("crit names an unknown", "crit", json!(["urn:example:unknown"])),
        header("crit empty", "crit", json!([])),
        header("crit as text", "crit", json!("exp")),
        token("b64 false, and critical", |token| {
            token.header["b64"] = json!(false);
            token.header["crit"] = json!(["b64"]);
        }),
        header("b64 false", "b64", json!(false)),
        token("alg twice, the good one last", |token| {
            token.header_text(|text| text.replacen('{', r#"{"alg":"none","#, 1));
        }),
        token("alg twice, the good one first", |token| {
            token.header_text(|text| text.replacen('}', r#","alg":"none"}"#, 1));
        }),
        token("kid twice by another spelling", |token| {
            token.header_text(|text| text.replacen('{', r#"{"\u006bid":"authority-2","#, 1));
        }),
        token("header is a list", |token| {
            token.header_text(|text| format!("[{text}]"));
        }),
        token("header with something behind it", |token| {
            token.header_text(|text| format!("{text}{{}}"));
        }),
        token("header with a byte order mark", |token| {
            token.header_text(|text| format!("\u{feff}{text}"));
        }),
        token("header of 2 KiB and more", |token| {
            token.header["pad"] = json!("x".repeat(1600));
        }),
    ]
}

/// RFC 8725 §3.11; RFC 9068 §4.
fn types() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "JWT",
        "dpop+jwt",
        "poe+jwt",
        "id_token+jwt",
        "logout+jwt",
        "secevent+jwt",
        "at+jwt ",
        "at+jwt; v=1",
        "xat+jwt",
        "at+jwtx",
        "application/application/at+jwt",
        "application/x/at+jwt",
        "text/at+jwt",
        "",
    ]
    .into_iter()
    .map(|typ| header(&format!("typ {typ:?}"), "typ", json!(typ)))
    .collect();
    cases.extend([
        header("typ null", "typ", Value::Null),
        header("typ as a list", "typ", json!(["at+jwt"])),
        token("typ missing", |token| remove(&mut token.header, "typ")),
    ]);
    cases
}

/// What is a token of another kind.
fn other_tokens() -> Vec<Case> {
    vec![
        call("a PoE as token", |call| {
            let poe = call.world().mint.poe(|_| ());
            call.raw_token(poe)
        }),
        call("a PoE that calls itself a token", |call| {
            let poe = call.world().mint.poe(|poe| {
                poe.header["typ"] = json!("at+jwt");
                poe.claim("iss", "https://authority.test");
            });
            call.raw_token(poe)
        }),
        call("a token by Licensing's key", |call| {
            let licensing = call.world().mint.licensing.clone();
            call.token(move |token| token.key = licensing)
        }),
        call("a proof as token", |call| {
            let proof = call.world().mint.proof("POST", SIGN, "", |_| ());
            call.raw_token(proof)
        }),
        call("a token by the caller's own key", |call| {
            let caller = call.world().mint.caller.clone();
            call.token(move |token| token.key = caller)
        }),
        token("a token by a thief's key", |token| token.key = THIEF.clone()),
        token("a token in a token", |token| {
            let inner = json!({ "iss": "https://authority.test" }).to_string();
            token.header["cty"] = json!("JWT");
            token.claims_text(move |claims| format!("eyJhbGciOiJub25lIn0.{inner}{claims}."));
        }),
        call("no token", |call| call.authorization(&["DPoP".into()])),
        call("an empty token", |call| call.authorization(&["DPoP ".into()])),
        call("two tokens in one field", |call| {
            let token = call.sent_token().to_owned();
            call.authorization(&[format!("DPoP {token}, DPoP {token}")])
        }),
        call("two fields", |call| {
            let field = format!("DPoP {}", call.sent_token());
            call.authorization(&[field.clone(), field])
        }),
        call("two fields, the other of a thief", |call| {
            let field = format!("DPoP {}", call.sent_token());
            call.authorization(&[field, "Bearer stolen".into()])
        }),
        call("the token in the query alone", |call| {
            let target = format!("{SIGN}?access_token={}", call.sent_token());
            call.target(&target).authorization(&[])
        })
        .expect(Expected::Unknown),
        call("no credentials", |call| call.anonymous()).expect(Expected::Unknown),
        call("another scheme", |call| call.scheme("Basic")).expect(Expected::Unknown),
        call("as a bearer token", |call| call.scheme("Bearer")),
        call("as a bearer token without proof", |call| {
            call.scheme("Bearer").proofs(&[])
        }),
        call("as a bearer token in capitals", |call| {
            call.scheme("BEARER").proofs(&[])
        }),
    ]
}

/// One part of a compact JWS replaced.
pub(super) fn replaced(jws: &str, part: usize, by: &str) -> String {
    let mut parts: Vec<&str> = jws.split('.').collect();
    parts[part] = by;
    parts.join(".")
}

/// Another last character with the same bits that count (RFC 4648 §3.5): 64 bytes leave four bits over.
pub(super) fn other_spelling(text: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = ALPHABET.find(text.chars().last().unwrap()).unwrap();
    format!("{}{}", &text[..text.len() - 1], &ALPHABET[last + 1..last + 2])
}

/// RFC 7515 §7.1 and §2.
fn shapes() -> Vec<Case> {
    let whole = |name: &str, edit: fn(String) -> String| token(name, move |token| token.whole(edit));
    vec![
        whole("two parts", |t| t.rsplit_once('.').unwrap().0.to_owned()),
        whole("four parts", |t| format!("{t}.AAAA")),
        whole("five parts, as if encrypted", |t| format!("{t}.AAAA.AAAA")),
        whole("a dot in front", |t| format!(".{t}")),
        whole("a dot behind", |t| format!("{t}.")),
        whole("dots alone", |_| "..".to_owned()),
        whole("one part", |_| "token".to_owned()),
        whole("padding", |t| format!("{t}==")),
        whole("a space inside", |t| t.replacen('.', ". ", 1)),
        whole("bits left over in the signature", |t| other_spelling(&t)),
        whole("JSON serialization", |t| {
            let parts: Vec<&str> = t.split('.').collect();
            json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string()
        }),
        whole("the standard alphabet", |t| t.replace(['-', '_'], "+") + "+"),
        whole("percent-encoded dots", |t| t.replace('.', "%2E")),
        whole("quoted", |t| format!("\"{t}\"")),
        token("a token of 8 KiB and more", |token| {
            token.claim("pad", "x".repeat(6200));
        }),
        token("a token of 20 KiB", |token| {
            token.claim("pad", "x".repeat(15_000));
        }),
        token("claims are a list", |token| {
            token.claims_text(|claims| format!("[{claims}]"));
        }),
        token("claims are text", |token| {
            token.payload(|_| b"\"claims\"".to_vec())
        }),
        token("claims are null", |token| token.payload(|_| b"null".to_vec())),
        token("claims are nothing", |token| token.payload(|_| Vec::new())),
        token("claims with a byte order mark", |token| {
            token.claims_text(|claims| format!("\u{feff}{claims}"));
        }),
        token("claims with something behind them", |token| {
            token.claims_text(|claims| format!("{claims} {{}}"));
        }),
        token("claims with a NUL behind them", |token| {
            token.claims_text(|claims| format!("{claims}\0"));
        }),
        token("claims that are no UTF-8", |token| {
            token.claim("note", "X");
            token.payload(|mut claims| {
                let at = claims.windows(3).position(|three| three == b"\"X\"").unwrap();
                claims[at + 1] = 0xe9;
                claims
            });
        }),
        token("claims with a comment", |token| {
            token.claims_text(|claims| claims.replacen('{', "{/* */", 1));
        }),
        token("claims in single quotes", |token| {
            token.claims_text(|claims| claims.replace('"', "'"));
        }),
    ]
}

/// The caller's own thumbprint, of whom every good token is.
pub(super) fn caller(call: &crate::support::Call<'_>) -> String {
    thumbprint(&call.world().mint.caller)
}

/// Seconds from now, in the token's own kind of number.
pub(super) fn ahead(seconds: i64) -> Value {
    json!(now() + seconds)
}
