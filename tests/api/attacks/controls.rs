//! Honest callers who look unusual: all of them must be served.

use serde_json::{Value, json};

use super::case::{Case, call, proof, token};
use super::keys::{CALLERS, KINDS, THIEF, by_kind};
use crate::support::{ORIGIN, SIGN, b64, now};

pub(crate) fn cases() -> Vec<Case> {
    [
        kinds(),
        clocks(),
        spellings(),
        tokens(),
        proofs(),
        credentials(),
        ids(),
    ]
    .into_iter()
    .flatten()
    .map(Case::accepted)
    .collect()
}

fn clock() -> f64 {
    chrono::Utc::now().timestamp_millis() as f64 / 1000.0
}

/// Every algorithm for tokens, for proofs, and for both (RFC 7518 §3.1, RFC 8037 §3.1).
fn kinds() -> Vec<Case> {
    let mut cases = Vec::new();
    for (alg, _) in KINDS.iter() {
        cases.push(token(format!("a token by {alg}"), move |token| {
            by_kind(token, alg)
        }));
    }
    for (alg, key) in CALLERS.iter() {
        cases.push(call(format!("a proof by {alg}"), move |call| call.by(key)));
        cases.push(call(
            format!("a proof by {alg}, key with its purpose"),
            move |call| {
                call.by(key).proof(move |proof| {
                    proof.header["jwk"]["use"] = json!("sig");
                    proof.header["jwk"]["alg"] = json!(alg);
                    proof.header["jwk"]["kid"] = json!("of the caller's own choice".replace(' ', "-"));
                })
            },
        ));
    }
    // RFC 9864 §2.2: `Ed25519` is what `EdDSA` with this curve is called now.
    cases.push(token("a token by Ed25519", |token| {
        by_kind(token, "EdDSA");
        token.header["alg"] = json!("Ed25519");
    }));
    cases.push(call("a proof by Ed25519", |call| {
        call.by(&CALLERS[2].1).proof(|proof| {
            proof.header["alg"] = json!("Ed25519");
            proof.header["jwk"]["alg"] = json!("Ed25519");
        })
    }));
    cases.push(call("two honest callers at once", |call| call.by(&THIEF)));
    cases
}

/// Inside of the bounds of contract §3, to the second.
fn clocks() -> Vec<Case> {
    let times = |name: &str, iat: f64, nbf: f64, exp: f64| {
        token(name, move |token| {
            let now = clock();
            token.claim("iat", now + iat);
            token.claim("nbf", now + nbf);
            token.claim("exp", now + exp);
        })
        .timely()
    };
    vec![
        times("a token that expired 29 s ago", -300.0, -300.0, -29.0),
        times("a token valid from 30 s from now", -1.0, 30.0, 300.0),
        times("a token issued 30 s from now", 30.0, 0.0, 300.0),
        times("a token of ten minutes", 0.0, 0.0, 600.0),
        times("a token of fractions of seconds", -0.25, -0.5, 99.75),
        proof("a proof of 30 s from now", |proof| {
            proof.claim("iat", clock() + 30.0)
        })
        .timely(),
        proof("a proof of fractions of a second", |proof| {
            proof.claim("iat", clock() + 0.625);
        }),
        token("a token with dates by exponent", |token| {
            let exp = now() + 200;
            token.claims["exp"] = json!("here");
            token.claims_text(move |claims| claims.replace("\"here\"", &format!("{exp}0e-1")));
        }),
    ]
}

/// RFC 3986 §6.2.2 and §6.2.3: spellings of one URL; RFC 9449 §4.3 step 9: without query and fragment.
fn spellings() -> Vec<Case> {
    [
        format!("{ORIGIN}{SIGN}?a=1"),
        format!("{ORIGIN}{SIGN}?"),
        format!("{ORIGIN}{SIGN}#part"),
        format!("{ORIGIN}{SIGN}?a=1#part"),
        format!("{ORIGIN}{SIGN}?url=https://thief.example/"),
        format!("HTTPS://signer.test{SIGN}"),
        format!("https://SIGNER.Test{SIGN}"),
        format!("https://signer.test:443{SIGN}"),
        format!("https://signer.test:{SIGN}"),
        format!("{ORIGIN}/api/v1/signer/sign/%64%73%73e"),
        format!("{ORIGIN}/%61pi/v1/signer/sign/dsse"),
        format!("{ORIGIN}/api/./v1/signer/sign/dsse"),
        format!("{ORIGIN}/api/v1/other/../signer/sign/dsse"),
        format!("{ORIGIN}/../api/v1/signer/sign/dsse"),
        format!("{ORIGIN}/api/v1/signer/sign/%2e/dsse"),
    ]
    .map(|htu| {
        proof(format!("htu {htu}"), move |proof| {
            proof.claim("htu", htu.as_str())
        })
    })
    .into()
}

fn tokens() -> Vec<Case> {
    let claim = |name: &str, member: &'static str, value: Value| {
        token(name, move |token| token.claims[member] = value.clone())
    };
    let header = |name: &str, member: &'static str, value: Value| {
        token(name, move |token| token.header[member] = value.clone())
    };
    vec![
        header("typ at+JWT", "typ", json!("at+JWT")),
        header("typ AT+JWT", "typ", json!("AT+JWT")),
        header("typ application/at+jwt", "typ", json!("application/at+jwt")),
        header("typ Application/At+Jwt", "typ", json!("Application/At+Jwt")),
        header("an unknown header member", "x-vendor", json!({ "a": [1] })),
        header("a header just within 2 KiB", "pad", json!("x".repeat(1400))),
        claim("aud as a list of one", "aud", json!(["signer"])),
        claim(
            "aud as a list of several",
            "aud",
            json!(["attestor", "signer", "scanner"]),
        ),
        claim("aud in a list twice", "aud", json!(["signer", "signer"])),
        claim("scope alone", "scope", json!("signer.sign")),
        claim(
            "scope among others",
            "scope",
            json!("openid signer.sign other:scope"),
        ),
        claim("unknown claims", "roles", json!([{ "name": "scanner" }])),
        claim("claims of OpenID Connect", "auth_time", json!(1)),
        claim("names of the full length", "sub", json!("s".repeat(256))),
        token("a token just within 8 KiB", |token| {
            token.claim("pad", "x".repeat(5300));
        }),
        token("claims with white space around", |token| {
            token.claims_text(|claims| format!(" \r\n\t{claims}\n "));
        }),
        token("claims by escapes", |token| {
            token.claims_text(|claims| claims.replace("\"acme\"", "\"\\u0061cme\""));
        }),
        token("no nbf", |token| token.claim("nbf", Value::Null)),
        token("no scanner image", |token| {
            token.claim("scanner_image", Value::Null);
        }),
    ]
}

fn proofs() -> Vec<Case> {
    let header = |name: &str, member: &'static str, value: Value| {
        proof(name, move |proof| proof.header[member] = value.clone())
    };
    vec![
        header("a proof of typ DPoP+JWT", "typ", json!("DPoP+JWT")),
        header("a proof with an unknown header member", "x-vendor", json!("a")),
        proof("a proof with unknown claims", |proof| {
            proof.claim("x-vendor", json!({ "a": 1 }));
        }),
        proof("a proof whose key has unknown members", |proof| {
            proof.header["jwk"]["x-vendor"] = json!("a");
        }),
        proof("a proof with a nonce that nobody asked for", |proof| {
            proof.claim("nonce", "of another server");
        }),
        proof("a proof with an id of one character", |proof| {
            proof.claim("jti", "j")
        }),
        proof("a proof with an id of 256 bytes", |proof| {
            proof.claim("jti", "j".repeat(256));
        }),
        proof("a proof with an id beyond ASCII", |proof| {
            proof.claim("jti", "\u{fc}\u{1F511}")
        }),
        proof("a proof with white space around its claims", |proof| {
            proof.claims_text(|claims| format!("\n{claims} "));
        }),
        call("a proof that names the body", |call| {
            let hash = b64(openssl::sha::sha256(&call.sent_body()));
            call.proof(move |proof| proof.claim("body_sha256", hash))
        }),
    ]
}

/// RFC 9110 §11.1 and §5.6.3.
fn credentials() -> Vec<Case> {
    vec![
        call("scheme dpop", |call| call.scheme("dpop")),
        call("scheme DPOP", |call| call.scheme("DPOP")),
        call("two spaces behind the scheme", |call| {
            let field = format!("DPoP  {}", call.sent_token());
            call.authorization(&[field])
        }),
        call("another Host", |call| call.host("host: 127.0.0.1\r\n")),
        call("forwarding fields", |call| {
            call.field("x-forwarded-host", "thief.example")
                .field("x-forwarded-proto", "http")
                .field("forwarded", "host=thief.example;proto=http")
        }),
        call("a query", |call| call.target(&format!("{SIGN}?x=1"))),
        call("cookies and whatever else browsers send", |call| {
            call.field("cookie", "session=1")
                .field("origin", "https://thief.example")
        }),
        call("a traceparent", |call| {
            call.field(
                "traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            )
        }),
    ]
}

/// RFC 9449 §11.1: an id is spent for its key and its URL alone.
fn ids() -> Vec<Case> {
    let named = |jti: &'static str| move |proof: &mut crate::support::Draft| proof.claim("jti", jti);
    vec![
        call("an id that another key has spent", move |call| {
            call.by(&CALLERS[0].1).proof(named("other-key"))
        })
        .after(move |call| call.proof(named("other-key"))),
        call("an id that was spent for another endpoint", move |call| {
            call.proof(named("other-endpoint"))
        })
        .after(move |call| {
            let world = call.world();
            let digest = format!("digest={}", world.mint.scanner);
            world.referrers(&digest).proof(named("other-endpoint"))
        }),
        call("an id in another case", move |call| call.proof(named("Case-1")))
            .after(move |call| call.proof(named("case-1"))),
        call("the same token again with another proof", move |call| {
            call.proof(named("next-2"))
        })
        .after(move |call| call.proof(named("next-1"))),
    ]
}
