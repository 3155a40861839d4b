//! Which endpoint under which name: proofs are for the configured origin and the requested path, never for what `Host`,
//! forwarding or override fields say; and scopes open their own doors only.

use serde_json::json;

use super::case::{Case, Expected, PROOF, call, token};
use crate::support::{Call, ORIGIN, REFERRERS, SIGN};

const NOT_FOUND: Expected = Expected::Refused(404, "not_found", "http");
const METHOD: Expected = Expected::Refused(405, "method_not_allowed", "http");
const SCOPE: Expected = Expected::Refused(403, "insufficient_scope", "authentication");

pub(crate) fn cases() -> Vec<Case> {
    [hosts(), targets(), methods(), scopes(), asking()]
        .into_iter()
        .flatten()
        .collect()
}

/// A proof for another origin, which the request's own fields claim to be this one.
fn hosts() -> Vec<Case> {
    let lied = |name: &str, edit: fn(Call<'_>) -> Call<'_>| {
        call(name, move |call| {
            edit(call).proof(|proof| proof.claim("htu", format!("https://thief.example{SIGN}")))
        })
        .expect(PROOF)
    };
    vec![
        lied("Host of a thief, proof for it", |call| {
            call.host("host: thief.example\r\n")
        }),
        lied("two Hosts, proof for the thief's", |call| {
            call.host("host: signer.test\r\nhost: thief.example\r\n")
        })
        // RFC 9112 §3.2.
        .unread(),
        lied("X-Forwarded-Host, proof for it", |call| {
            call.field("x-forwarded-host", "thief.example")
                .field("x-forwarded-proto", "https")
        }),
        lied("Forwarded, proof for it", |call| {
            call.field("forwarded", "for=10.0.0.1;host=thief.example;proto=https")
        }),
        lied("X-Host, proof for it", |call| {
            call.field("x-host", "thief.example")
        }),
        lied("X-Original-Host, proof for it", |call| {
            call.field("x-original-host", "thief.example")
        }),
        lied("an absolute target, proof for it", |call| {
            call.target(&format!("https://thief.example{SIGN}"))
                .host("host: thief.example\r\n")
        }),
        call("X-Forwarded-Proto http, proof for it", |call| {
            call.field("x-forwarded-proto", "http")
                .proof(|proof| proof.claim("htu", format!("http://signer.test{SIGN}")))
        })
        .expect(PROOF),
        call("X-Forwarded-Port, proof for it", |call| {
            call.field("x-forwarded-port", "8443")
                .proof(|proof| proof.claim("htu", format!("https://signer.test:8443{SIGN}")))
        })
        .expect(PROOF),
        call("X-Forwarded-Prefix, proof for it", |call| {
            call.field("x-forwarded-prefix", "/prefix")
                .proof(|proof| proof.claim("htu", format!("{ORIGIN}/prefix{SIGN}")))
        })
        .expect(PROOF),
        call("the listener's own Host, proof for it", |call| {
            let base = call.world().base.get().unwrap().clone();
            let host = format!("host: {}\r\n", base.trim_start_matches("http://"));
            call.host(&host)
                .proof(move |proof| proof.claim("htu", format!("{base}{SIGN}")))
        })
        .expect(PROOF),
    ]
}

/// A proof for the endpoint, sent elsewhere or by other spellings.
fn targets() -> Vec<Case> {
    let target = |path: &'static str| {
        call(format!("sent to {path:?}"), move |call| call.target(path)).expect(NOT_FOUND)
    };
    vec![
        target("/api/v1/signer/sign/dsse/"),
        target("/api/v1/signer/sign/DSSE"),
        call("sent to \"/api/v1/signer/sign/dsse/batch\"", |call| {
            call.target("/api/v1/signer/sign/dsse/batch")
        })
        .expect(PROOF),
        call("sent to \"/api/v1/signer/verify/dsse\"", |call| {
            call.target("/api/v1/signer/verify/dsse")
        })
        .expect(PROOF),
        target("/api/v1/signer/sign%2Fdsse"),
        target("/api/v1/signer/sign%252Fdsse"),
        target("//api/v1/signer/sign/dsse"),
        target("/api/v1/signer//sign/dsse"),
        target("/api/v1/signer/sign/dsse;x=1"),
        target("/api/v1/signer/x/../sign/dsse"),
        target("/api/v1/signer/./sign/dsse"),
        target("/api/v2/signer/sign/dsse"),
        target("/sign/dsse"),
        target("/metrics"),
        call("sent to a percent-encoded path, proof for it", |call| {
            call.target("/api/v1/signer/sign/%64sse")
        })
        .expect(Expected::Accepted),
        call("sent with X-Original-URL", |call| {
            call.target("/livez").field("x-original-url", SIGN)
        })
        .expect(METHOD),
        call("sent with X-Rewrite-URL", |call| {
            call.target("/livez").field("x-rewrite-url", SIGN)
        })
        .expect(METHOD),
    ]
}

fn methods() -> Vec<Case> {
    let line = |method: &'static str| {
        call(format!("method {method}"), move |call| {
            call.line(format!("{method} {SIGN} HTTP/1.1"))
        })
        .expect(METHOD)
    };
    let overridden = |field: &'static str| {
        call(format!("{field}, proof for POST"), move |call| {
            call.line(format!("PUT {SIGN} HTTP/1.1")).field(field, "POST")
        })
        .expect(METHOD)
    };
    vec![
        line("GET"),
        line("PUT"),
        line("PATCH"),
        line("DELETE"),
        line("OPTIONS"),
        line("TRACE"),
        line("post"),
        line("Post"),
        line("POSTER"),
        overridden("x-http-method-override"),
        overridden("x-http-method"),
        overridden("x-method-override"),
        call("a method in the query", |call| {
            call.line(format!("GET {SIGN}?_method=POST HTTP/1.1"))
        })
        .expect(METHOD),
    ]
}

/// RFC 6749 §3.3: scope tokens are compared whole and in their case.
fn scopes() -> Vec<Case> {
    [
        "signer.verify",
        "signer.audit",
        "signer",
        "sign",
        "signer.signs",
        "signer.signature signer.verify",
        "xsigner.sign",
        "signer.sign.x",
        "signer.sign/x",
        "signer.sign,signer.verify",
        "signer.sig",
        "SIGNER.SIGN",
        "Signer.Sign",
        "signer_sign",
        "signer.*",
        "*",
        "openid",
    ]
    .into_iter()
    .map(|scope| {
        token(format!("signing with scope {scope:?}"), move |token| {
            token.claim("scope", scope);
        })
        .expect(SCOPE)
    })
    .collect()
}

/// `GET /verify/referrers` asks for the same credentials.
fn asking() -> Vec<Case> {
    let ask = |name: &str, edit: fn(Call<'_>) -> Call<'_>| {
        call(name, move |call| {
            let world = call.world();
            edit(world.referrers(&format!("digest={}", world.mint.scanner)))
        })
    };
    vec![
        ask("asking", |call| call).accepted(),
        ask("asking with scope signer.verify", |call| {
            call.token(|token| token.claim("scope", "signer.verify"))
        })
        .accepted(),
        ask("asking with scope signer.sign", |call| {
            call.token(|token| token.claim("scope", "signer.sign"))
        })
        .accepted(),
        ask("asking with scope signer.audit", |call| {
            call.token(|token| token.claim("scope", "signer.audit"))
        })
        .expect(SCOPE),
        ask("asking without credentials", |call| call.anonymous()).expect(Expected::Unknown),
        ask("asking as a bearer", |call| call.scheme("Bearer").proofs(&[])),
        ask("asking without proof", |call| call.proofs(&[])).expect(PROOF),
        ask("asking with a proof for signing", |call| {
            call.proof(|proof| {
                proof.claim("htm", "POST");
                proof.claim("htu", format!("{ORIGIN}{SIGN}"));
            })
        })
        .expect(PROOF),
        ask("asking with a proof for POST", |call| {
            call.proof(|proof| proof.claim("htm", "POST"))
        })
        .expect(PROOF),
        ask("asking with a proof for HEAD", |call| {
            call.proof(|proof| proof.claim("htm", "HEAD"))
        })
        .expect(PROOF),
        ask("asking with a proof that names its query", |call| {
            call.proof(|proof| proof.claim("htu", format!("{ORIGIN}{REFERRERS}?digest=other")))
        })
        .accepted(),
        ask("asking twice with one proof", |call| {
            call.proof(|proof| proof.claim("jti", "asking-twice"))
        })
        .expect(PROOF)
        .after(|call| {
            let world = call.world();
            let asking = world.referrers(&format!("digest={}", world.mint.scanner));
            asking.proof(|proof| proof.claim("jti", "asking-twice"))
        }),
        ask("asking for a tenant of no grammar", |call| {
            call.token(|token| token.claims["tid"] = json!("a b"))
        }),
    ]
}
