//! The body: strict JSON, the one that the proof names, of the media type and length that were announced.

use serde_json::{Value, json};

use super::case::{Case, Expected, call};
use super::{run, start};
use crate::support::{b64, sha256_hex};

const JSON: Expected = Expected::Refused(400, "invalid_json", "body");
const REQUEST: Expected = Expected::Refused(400, "invalid_request", "shape");
const OTHER_BODY: Expected = Expected::Refused(401, "invalid_dpop_proof", "body");
const MEDIA: Expected = Expected::Refused(415, "unsupported_media_type", "http");

pub(crate) fn names() -> Vec<String> {
    let cases = cases().into_iter().chain(required());
    cases.map(|case| case.name).collect()
}

#[actix::test]
async fn bodies() {
    run("body", &start("").await, cases()).await;
}

#[actix::test]
async fn bodies_that_must_be_named() {
    let app = start("auth.dpop.body_hash = \"required\"").await;
    run("body", &app, required()).await;
}

fn cases() -> Vec<Case> {
    [texts(), members(), hashes(), media(), sizes()]
        .into_iter()
        .flatten()
        .collect()
}

/// The body's text changed; the proof says nothing of it.
fn text(name: &str, edit: impl Fn(String) -> Vec<u8> + 'static) -> Case {
    call(name, move |call| {
        let good = String::from_utf8(call.sent_body()).unwrap();
        call.bytes(edit(good))
    })
    .expect(JSON)
}

fn texts() -> Vec<Case> {
    let replaced = |name: &str, predicate: &'static str| {
        text(name, move |good| {
            good.replace(r#"{"finding":"predicate-canary-51"}"#, predicate)
                .into_bytes()
        })
    };
    vec![
        text("a body of nothing", |_| Vec::new()),
        text("a body of white space", |_| b" \n".to_vec()),
        text("a body cut in half", |good| {
            good.as_bytes()[..good.len() / 2].to_vec()
        }),
        text("a body with something behind it", |good| {
            format!("{good}x").into_bytes()
        }),
        text("two bodies in one", |good| format!("{good}{good}").into_bytes()),
        text("a body with a byte order mark", |good| {
            format!("\u{feff}{good}").into_bytes()
        }),
        text("a body with a NUL behind it", |good| {
            format!("{good}\0").into_bytes()
        }),
        text("a body in UTF-16", |good| {
            good.encode_utf16().flat_map(u16::to_le_bytes).collect()
        }),
        text("a body with an overlong slash", |good| {
            let mut bytes = good.into_bytes();
            let at = bytes.windows(7).position(|w| w == b"finding").unwrap();
            bytes.splice(at..=at, [0xc0, 0xaf]);
            bytes
        }),
        text("a form as body", |_| b"subject=app".to_vec()),
        text("subject twice in the body", |good| {
            good.replacen('{', r#"{"subject":[],"#, 1).into_bytes()
        }),
        text("poe twice in the body", |good| {
            good.replacen('{', r#"{"poe":{"format":"jwt","value":"x"},"#, 1)
                .into_bytes()
        }),
        text("poe twice by another spelling", |good| {
            good.replacen('{', r#"{"p\u006fe":{"format":"jwt","value":"x"},"#, 1)
                .into_bytes()
        }),
        text("scannerImageDigest twice in the body", |good| {
            good.replacen('{', r#"{"scannerImageDigest":"sha256:00","#, 1)
                .into_bytes()
        }),
        text("a digest twice in a subject", |good| {
            good.replacen(r#""digest":{"#, r#""digest":{"sha256":"00","#, 1)
                .into_bytes()
        }),
        replaced("a duplicate in the predicate", r#"{"a":1,"a":2}"#),
        replaced(
            "a duplicate deep in the predicate",
            r#"{"a":[{"b":{"c":1,"\u0063":2}}]}"#,
        ),
        replaced("a lone surrogate in the predicate", r#"{"a":"\udc00"}"#),
        replaced("a control character in the predicate", "{\"a\":\"\u{7}\"}"),
        replaced("a comment in the predicate", r#"{"a":1/**/}"#),
        replaced("a trailing comma in the predicate", r#"{"a":[1,]}"#),
        replaced("NaN in the predicate", r#"{"a":NaN}"#),
        text("a predicate of 100,000 brackets", |good| {
            good.replace(r#""predicate-canary-51""#, &"[".repeat(100_000))
                .into_bytes()
        }),
        replaced("a number that would be another", r#"{"a":9007199254740993}"#).refused(
            422,
            "invalid_predicate",
            "shape",
        ),
        replaced("an infinite number", r#"{"a":1e999}"#).refused(422, "invalid_predicate", "shape"),
    ]
}

fn members() -> Vec<Case> {
    let json = |name: &str, edit: fn(&mut Value)| call(name, move |call| call.json(edit)).expect(REQUEST);
    vec![
        json("an unknown member", |body| body["tenant"] = json!("other")),
        json("an unknown option", |body| {
            body["options"] = json!({ "force": true })
        }),
        json("options as a list", |body| body["options"] = json!([])),
        json("a body that is a list", |body| *body = json!([body.clone()])),
        json("a dry run by text", |body| {
            body["options"] = json!({ "dryRun": "false" })
        }),
        json("a key by its path", |body| {
            body["options"] = json!({ "keyId": "../main-2026" });
        }),
        json("an annotation of the gates' own", |body| {
            body["subject"][0]["annotations"] = json!({ "stella.ops/tenant": "other" });
        })
        .refused(422, "invalid_subject", "shape"),
        json("a release signature as statement", |body| {
            body["predicateType"] = json!("https://sigstore.dev/cosign/sign/v1");
        })
        .refused(403, "predicate_not_allowed", "entitlement"),
        json("a key of another plan", |body| {
            body["options"] = json!({ "keyId": crate::support::OTHER_KEY });
        })
        .refused(403, "mode_not_entitled", "entitlement"),
    ]
}

/// `body_sha256` of this claim made from the body.
fn hash(name: &str, make: fn(&[u8]) -> Value) -> Case {
    call(name, move |call| {
        let claim = make(&call.sent_body());
        call.proof(move |proof| proof.claims["body_sha256"] = claim)
    })
    .expect(super::case::PROOF)
}

fn digest(body: &[u8]) -> String {
    b64(openssl::sha::sha256(body))
}

/// Contract §3: if the proof names the body, it is good for that body alone.
fn hashes() -> Vec<Case> {
    vec![
        hash("body_sha256 of the body", |body| json!(digest(body))).accepted(),
        hash("body_sha256 of nothing", |_| json!(digest(b""))).expect(OTHER_BODY),
        hash("body_sha256 of the same body with a space behind", |body| {
            json!(digest(&[body, b" "].concat()))
        })
        .expect(OTHER_BODY),
        hash("body_sha256 with a bit flipped", |body| {
            let mut digest = openssl::sha::sha256(body);
            digest[31] ^= 1;
            json!(b64(digest))
        })
        .expect(OTHER_BODY),
        hash("body_sha256 in hexadecimal", |body| json!(sha256_hex(body))),
        hash("body_sha256 padded", |body| json!(format!("{}=", digest(body)))),
        hash("body_sha256 with bits left over", |body| {
            json!(super::token::other_spelling(&digest(body)))
        }),
        hash("body_sha256 cut", |body| json!(digest(body)[..40])),
        hash("body_sha256 empty", |_| json!("")),
        hash("body_sha256 null", |_| Value::Null),
        hash("body_sha256 as a number", |_| json!(1)),
        hash("body_sha256 as a list", |body| json!([digest(body)])),
        call("a stolen request with another body", |call| {
            let hash = digest(&call.sent_body());
            call.proof(move |proof| proof.claim("body_sha256", hash))
                .json(|body| body["subject"][0]["name"] = json!("of a thief"))
        })
        .expect(OTHER_BODY),
        call("a stolen request with its body in another order", |call| {
            let hash = digest(&call.sent_body());
            let body = String::from_utf8(call.sent_body()).unwrap();
            call.proof(move |proof| proof.claim("body_sha256", hash))
                .bytes(body.replacen('{', "{ ", 1))
        })
        .expect(OTHER_BODY),
    ]
}

fn required() -> Vec<Case> {
    vec![
        call("a body that must be named and is not", |call| call).expect(super::case::PROOF),
        hash("a body that must be named and is", |body| json!(digest(body))).accepted(),
        hash("a body that must be named and is another", |_| {
            json!(digest(b"{}"))
        })
        .expect(OTHER_BODY),
    ]
}

fn media() -> Vec<Case> {
    let mut cases: Vec<Case> = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json-patch+json",
        "application/json; charset=utf-16",
        "application/json, text/plain",
        "",
    ]
    .into_iter()
    .map(|media| {
        call(format!("a body of type {media:?}"), move |call| {
            call.content_type(Some(media))
        })
        .expect(MEDIA)
    })
    .collect();
    for coding in ["gzip", "deflate", "br", "zstd", "identity", "x", ""] {
        cases.push(
            call(format!("a body of coding {coding:?}"), move |call| {
                call.field("content-encoding", coding)
            })
            .expect(MEDIA),
        );
    }
    cases.push(call("a body of no type", |call| call.content_type(None)).expect(MEDIA));
    cases.push(
        call("a body of two types", |call| {
            call.field("content-type", "text/plain")
        })
        .expect(MEDIA),
    );
    cases
}

fn sizes() -> Vec<Case> {
    let large = Expected::Refused(413, "artifact_too_large", "http");
    vec![
        call("a length beyond the limit", |call| {
            call.framing("content-length: 1000001\r\n")
        })
        .expect(large),
        call("a length beyond every number", |call| {
            call.framing("content-length: 99999999999999999999999\r\n")
        })
        .unread(),
        text("a body beyond the limit", |good| {
            format!("{good}{}", " ".repeat(1_000_001)).into_bytes()
        })
        .expect(large),
        call("a plan for less than the predicate", |call| {
            call.poe(|poe| poe.claims["limits"]["maxArtifactBytes"] = json!(10))
        })
        .refused(413, "artifact_too_large", "quota"),
    ]
}
