//! Whose request it is: tenant and installation of the token, and a proof of entitlement that is another's, another
//! sender's or forged.

use serde_json::{Value, json};

use super::case::{Case, call, poe, token};
use super::keys::{CALLERS, THIEF};
use super::token::{ahead, caller, other_spelling, replaced};
use crate::support::{LICENSING, SIGN, jwk, now, thumbprint};

const MISMATCH: (u16, &str, &str) = (403, "tenant_mismatch", "entitlement");

pub(crate) fn cases() -> Vec<Case> {
    [names(), foreign(), bound(), forged(), claims(), images()]
        .into_iter()
        .flatten()
        .collect()
}

/// `tid` and `inst` of the token: 1 to 128 characters of a small grammar.
fn names() -> Vec<Case> {
    let mut cases = Vec::new();
    for member in ["tid", "inst"] {
        let mut values = vec![
            ("missing", Value::Null),
            ("empty", json!("")),
            ("a number", json!(1)),
            ("a list", json!(["acme"])),
            ("an object", json!({ "id": "acme" })),
            ("of 129 characters", json!("a".repeat(129))),
        ];
        for (what, text) in [
            ("with a space", "ac me"),
            ("with a space behind", "acme "),
            ("with a line break", "acme\n"),
            ("with a NUL", "acme\0"),
            ("with an escape sequence", "acme\u{1b}[0m"),
            ("with a quote", "acme\""),
            ("with a comma", "acme,other"),
            ("with an asterisk", "*"),
            ("with a Cyrillic letter", "\u{430}cme"),
            ("with a zero-width space", "ac\u{200b}me"),
            ("with a combining mark", "acme\u{301}"),
            ("in full width", "\u{ff41}cme"),
        ] {
            values.push((what, json!(text)));
        }
        for (what, value) in values {
            cases.push(token(format!("{member} {what}"), move |token| {
                token.claim(member, value.clone());
            }));
        }
    }
    cases
}

/// A good token and a good PoE that do not belong together.
fn foreign() -> Vec<Case> {
    let (status, code, stage) = MISMATCH;
    let mut cases = Vec::new();
    for (member, mine) in [("tid", "acme"), ("inst", "acme-1")] {
        for other in [
            "other".to_owned(),
            mine.to_uppercase(),
            format!("{mine}2"),
            format!("{mine}/"),
            mine[..mine.len() - 1].to_owned(),
            format!("./{mine}"),
        ] {
            let of_token = other.clone();
            cases.push(token(format!("the token's {member} is {other}"), move |token| {
                token.claim(member, of_token.as_str());
            }));
            cases.push(poe(format!("the PoE's {member} is {other}"), move |poe| {
                poe.claim(member, other.as_str());
            }));
        }
    }
    cases.push(poe("the PoE has tenant and installation exchanged", |poe| {
        poe.claim("tid", "acme-1");
        poe.claim("inst", "acme");
    }));
    let mut cases: Vec<Case> = cases
        .into_iter()
        .map(|case| case.refused(status, code, stage))
        .collect();
    cases.push(
        call("a tenant of its own with its own PoE", |call| {
            call.tenant("other", [100, 200, 16, 1_000_000])
        })
        .accepted(),
    );
    // Facts of a PoE are remembered; whose they are is compared every time.
    cases.push(
        call("a remembered PoE of another tenant", |call| {
            call.poe(|poe| poe.claim("jti", "one-and-the-same"))
                .token(|token| token.claim("tid", "other"))
        })
        .refused(status, code, stage)
        .after(|call| call.poe(|poe| poe.claim("jti", "one-and-the-same"))),
    );
    cases
}

/// `cnf` of a PoE must be the sender's (contract §4).
fn bound() -> Vec<Case> {
    let jkt = |name: &str, edit: fn(String) -> Value| {
        call(name, move |call| {
            let jkt = edit(caller(&call));
            call.poe(|poe| poe.claims["cnf"] = jkt)
        })
        .expect(super::case::POE)
    };
    vec![
        jkt("a PoE bound to its caller", |jkt| json!({ "jkt": jkt })).accepted(),
        jkt(
            "a PoE of another sender",
            |_| json!({ "jkt": thumbprint(&THIEF) }),
        ),
        jkt(
            "a PoE of a certificate that nobody shows",
            |jkt| json!({ "x5t#S256": jkt }),
        ),
        jkt(
            "a PoE of caller and certificate",
            |jkt| json!({ "jkt": jkt, "x5t#S256": thumbprint(&THIEF) }),
        ),
        jkt("a PoE bound to nothing", |_| json!({})),
        jkt("a PoE bound by null", |_| Value::Null),
        jkt(
            "a PoE bound by what is not checked",
            |jkt| json!({ "jkt": jkt, "kid": "1" }),
        ),
        jkt("a PoE bound by a kid", |_| json!({ "kid": "1" })),
        jkt(
            "a PoE bound by half a thumbprint",
            |jkt| json!({ "jkt": jkt[..21] }),
        ),
        jkt(
            "a PoE bound with bits left over",
            |jkt| json!({ "jkt": other_spelling(&jkt) }),
        ),
        call("a stolen PoE with the thief's own token", |call| {
            let jkt = caller(&call);
            call.by(&THIEF)
                .poe(|poe| poe.claims["cnf"] = json!({ "jkt": jkt }))
        })
        .expect(super::case::POE),
    ]
}

/// What is no PoE of Licensing.
fn forged() -> Vec<Case> {
    let raw = |name: &str, make: fn(crate::support::Call<'_>) -> crate::support::Call<'_>| {
        call(name, make).expect(super::case::POE)
    };
    vec![
        poe("a PoE with alg none", |poe| poe.header["alg"] = json!("none")),
        poe("a PoE with alg None", |poe| {
            poe.header["alg"] = json!("None");
            poe.signature(|_| Vec::new());
        }),
        poe("a PoE with HS256 by the public key", |poe| {
            let secret = poe.key.public_key_to_pem().unwrap();
            poe.by(&openssl::pkey::PKey::hmac(&secret).unwrap());
        }),
        poe("a PoE by a thief", |poe| poe.key = THIEF.clone()),
        poe("a PoE that brings its key", |poe| {
            poe.header["jwk"] = jwk(&THIEF);
            poe.key = THIEF.clone();
        }),
        poe("a PoE with jku", |poe| {
            poe.header["jku"] = json!("https://thief.test/jwks")
        }),
        poe("a PoE with crit", |poe| poe.header["crit"] = json!(["exp"])),
        poe("a PoE of typ JWT", |poe| poe.header["typ"] = json!("JWT")),
        poe("a PoE of typ at+jwt", |poe| poe.header["typ"] = json!("at+jwt")),
        poe("a PoE without kid", |poe| {
            poe.header.as_object_mut().unwrap().remove("kid");
        }),
        poe("a PoE with the Authority's kid", |poe| {
            poe.header["kid"] = json!("authority-1");
        }),
        poe("a PoE without signature", |poe| poe.signature(|_| Vec::new())),
        poe("a PoE with a bit flipped", |poe| {
            poe.signature(|mut s| {
                s[1] ^= 1;
                s
            });
        }),
        raw("a PoE by the Authority", |call| {
            let authority = call.world().mint.authority.clone();
            call.poe(|poe| poe.key = authority)
        }),
        raw("a token as PoE", |call| {
            let token = call.sent_token().to_owned();
            call.json(|body| body["poe"]["value"] = json!(token))
        }),
        raw("a proof as PoE", |call| {
            let proof = call.world().mint.proof("POST", SIGN, "", |_| ());
            call.json(|body| body["poe"]["value"] = json!(proof))
        }),
        raw("a PoE with the claims of another", |call| {
            let richer = call.world().mint.poe(|poe| poe.claim("plan", "enterprise"));
            let claims = richer.split('.').nth(1).unwrap().to_owned();
            call.poe(move |poe| poe.whole(move |t| replaced(&t, 1, &claims)))
        }),
        poe("a PoE with its tenant twice", |poe| {
            poe.claims_text(|claims| claims.replacen('{', r#"{"tid":"other","#, 1));
        }),
        call("no PoE", |call| {
            call.json(|body| {
                body.as_object_mut().unwrap().remove("poe");
            })
        })
        .refused(403, "entitlement_required", "entitlement"),
    ]
}

fn claims() -> Vec<Case> {
    let claim = |name: &str, member: &'static str, value: Value| {
        poe(name, move |poe| poe.claims[member] = value.clone())
    };
    vec![
        claim("a PoE for another service", "aud", json!("attestor")),
        claim("a PoE for a service of a longer name", "aud", json!("signer2")),
        claim("a PoE for nobody", "aud", json!([])),
        claim("a PoE of the Authority", "iss", json!("https://authority.test")),
        claim(
            "a PoE of a longer issuer",
            "iss",
            json!(format!("{LICENSING}.thief.example")),
        ),
        claim("a PoE of several issuers", "iss", json!([LICENSING])),
        claim("a PoE whose expiry is text", "exp", json!("9999999999")),
        claim("a PoE from the future", "nbf", json!(now() + 3600)),
        claim("a PoE issued in the future", "iat", json!(now() + 600)),
        claim("a PoE without limits", "limits", Value::Null),
        claim("a PoE with a negative limit", "limits", json!({ "qps": -1 })),
        poe("a PoE with a misspelt limit", |poe| {
            poe.claims["limits"]["QPS"] = json!(100_000);
        }),
        poe("a PoE with its time over", |poe| {
            poe.claim("iat", ahead(-7200));
            poe.claim("nbf", ahead(-7200));
            poe.claim("exp", ahead(-60));
        })
        .refused(403, "entitlement_expired", "entitlement"),
    ]
}

/// The scanner image that the token attests (contract §6).
fn images() -> Vec<Case> {
    let other = format!("sha256:{}", "0".repeat(64));
    let image =
        |name: &str, value: Value| token(name, move |token| token.claims["scanner_image"] = value.clone());
    vec![
        image("a scanner image that is not the body's", json!(other)).refused(
            403,
            "scanner_mismatch",
            "release",
        ),
        image("a scanner image null", Value::Null),
        image("a scanner image as a number", json!(1)),
        image("a scanner image as a tag", json!("latest")),
        image(
            "a scanner image in upper case",
            json!(format!("sha256:{}", "AB".repeat(32))),
        ),
        image("a scanner image as a list", json!(["sha256:00"])),
        call("another caller of the same tenant", |call| call.by(&CALLERS[1].1)).accepted(),
    ]
}
