//! The body: strict, bounded, and read only when it may be.

use serde_json::{Value, json};

use crate::support::{Raw, TestApp, until};

/// The body of a good request as text, to be spoilt.
fn good(app: &TestApp) -> String {
    String::from_utf8(app.sign().sent_body()).unwrap()
}

#[actix::test]
async fn what_is_no_strict_json_is_refused() {
    let app = TestApp::start().await;
    let good = good(&app);
    let with = |predicate: &str| good.replace(r#"{"finding":"predicate-canary-51"}"#, predicate);
    let nested = |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("white space", b"  ".to_vec()),
        ("half an object", good.as_bytes()[..40].to_vec()),
        ("something behind it", format!("{good} 1").into_bytes()),
        ("two of them", format!("{good}{good}").into_bytes()),
        ("a byte order mark", format!("\u{feff}{good}").into_bytes()),
        ("a comment", format!("/* */{good}").into_bytes()),
        ("a trailing comma", with(r#"{"a":1,}"#).into_bytes()),
        (
            "a duplicate member",
            good.replacen('{', r#"{"predicateType":"x","#, 1).into_bytes(),
        ),
        (
            "a duplicate in the predicate",
            with(r#"{"a":1,"b":{"c":1,"c":2}}"#).into_bytes(),
        ),
        (
            "a duplicate by another spelling",
            with(r#"{"a":1,"\u0061":2}"#).into_bytes(),
        ),
        ("too deep", with(&nested(64)).into_bytes()),
        ("far too deep", with(&nested(50_000)).into_bytes()),
        ("NaN", with(r#"{"a":NaN}"#).into_bytes()),
        ("infinity", with(r#"{"a":Infinity}"#).into_bytes()),
        ("a leading zero", with(r#"{"a":01}"#).into_bytes()),
        ("a lone surrogate", with(r#"{"a":"\ud800"}"#).into_bytes()),
        ("a control character", with("{\"a\":\"\u{1}\"}").into_bytes()),
        ("UTF-16", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
    ];
    for (what, body) in cases {
        println!("{what}");
        let mut call = app.sign().bytes(body.clone());
        if body.is_empty() {
            call = call.field("content-length", "0");
        }
        call.send().await.refused(400, "invalid_json", "body");
    }
    let mut latin = with(r#"{"a":"X"}"#).into_bytes();
    *latin.iter_mut().rfind(|byte| **byte == b'X').unwrap() = 0xe9;
    app.sign()
        .bytes(latin)
        .send()
        .await
        .refused(400, "invalid_json", "body");
    // Depth 64 counts from the root of the body: object, predicate, and 62 arrays.
    app.sign().bytes(with(&nested(62))).send().await.ok();
    app.sign()
        .bytes(with(&nested(63)))
        .send()
        .await
        .refused(400, "invalid_json", "body");
}

#[actix::test]
async fn numbers_that_canonical_json_would_change_are_refused() {
    let app = TestApp::start().await;
    let good = good(&app);
    let call = |number: &str| {
        let predicate = format!(r#"{{"n":{number}}}"#);
        app.sign()
            .bytes(good.replace(r#"{"finding":"predicate-canary-51"}"#, &predicate))
    };
    // RFC 8785 §3.2.2.3: numbers are IEEE 754 doubles.
    for number in [
        "1e400",
        "-1e400",
        "9007199254740993",
        "0.1000000000000000055511151231257827",
        "1e-400",
    ] {
        println!("{number}");
        call(number)
            .send()
            .await
            .refused(422, "invalid_predicate", "shape");
    }
    // Other spellings of an equal value.
    for (number, canonical) in [
        ("1.0", "1"),
        ("1E2", "100"),
        ("-0", "0"),
        ("1e21", "1e+21"),
        ("0.5e0", "0.5"),
    ] {
        let answer = call(number).send().await.ok();
        let (payload, _) = crate::sign::envelope(&answer);
        let payload = String::from_utf8(payload).unwrap();
        assert!(
            payload.contains(&format!(r#""predicate":{{"n":{canonical}}}"#)),
            "{payload}"
        );
    }
}

#[actix::test]
async fn what_makes_no_sense_is_refused() {
    let app = TestApp::start().await;
    type Edit = fn(&mut Value);
    let cases: &[(u16, &str, Edit)] = &[
        (400, "invalid_request", |body| body["extra"] = json!(1)),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "extra": 1 })
        }),
        (400, "invalid_request", |body| body["options"] = json!([])),
        (400, "invalid_request", |body| body["poe"]["extra"] = json!(1)),
        (400, "invalid_request", |body| {
            body["poe"]["format"] = json!("saml")
        }),
        (400, "invalid_request", |body| {
            body["poe"]["value"] = json!("x".repeat(17_000))
        }),
        (400, "invalid_request", |body| body["predicateType"] = json!(1)),
        (400, "invalid_request", |body| {
            body.as_object_mut().unwrap().remove("subject");
        }),
        (400, "invalid_request", |body| {
            body.as_object_mut().unwrap().remove("predicate");
        }),
        (400, "invalid_request", |body| {
            body.as_object_mut().unwrap().remove("predicateType");
        }),
        (400, "invalid_request", |body| {
            body.as_object_mut().unwrap().remove("scannerImageDigest");
        }),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "signingMode": "hsm" })
        }),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "signingMode": 1 })
        }),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "keyId": "absent" })
        }),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "keyId": "../x" })
        }),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "returnBundle": "zip" })
        }),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "expirySeconds": 0 })
        }),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "expirySeconds": -1 })
        }),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "expirySeconds": "60" })
        }),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "dryRun": "true" })
        }),
        (400, "invalid_request", |body| {
            body["options"] = json!({ "timestamp": true })
        }),
        (400, "invalid_digest", |body| {
            body["scannerImageDigest"] = json!("latest")
        }),
        (400, "invalid_digest", |body| {
            body["scannerImageDigest"] = json!(format!("sha256:{}", "AB".repeat(32)))
        }),
        (400, "invalid_digest", |body| {
            body["subject"][0]["digest"] = json!({ "sha256": "ab" })
        }),
        (400, "invalid_digest", |body| {
            body["subject"][0]["digest"] = json!({ "sha256": "AB".repeat(32) })
        }),
        (422, "invalid_subject", |body| body["subject"] = json!([])),
        (422, "invalid_subject", |body| body["subject"] = json!({})),
        (422, "invalid_subject", |body| {
            body["subject"][0]["digest"] = json!({})
        }),
        (422, "invalid_subject", |body| {
            body["subject"][0].as_object_mut().unwrap().remove("digest");
        }),
        (422, "invalid_subject", |body| {
            body["subject"][0]["name"] = json!(7)
        }),
        (422, "invalid_subject", |body| {
            body["subject"][0]["extra"] = json!(7)
        }),
        (422, "invalid_subject", |body| {
            body["subject"][0]["annotations"] = json!({ "stella.ops/tenant": "x" })
        }),
        (422, "invalid_subject", |body| {
            let subject = body["subject"][0].clone();
            body["subject"] = json!(vec![subject; 1025]);
        }),
        (422, "invalid_predicate", |body| body["predicate"] = json!([])),
        (422, "invalid_predicate", |body| {
            body["predicate"] = json!({ "n".repeat(1025): 1 })
        }),
    ];
    for (index, (status, code, edit)) in cases.iter().enumerate() {
        println!("case {index}");
        app.sign().json(edit).send().await.refused(*status, code, "shape");
    }
    for body in ["[]", "null", "1", "\"text\""] {
        let answer = app.sign().bytes(body).send().await;
        answer.refused(400, "invalid_request", "shape");
    }
}

#[actix::test]
async fn the_largest_request_that_is_allowed_passes() {
    let app = TestApp::start().await;
    let subject = json!({ "name": "app", "digest": { "sha256": "ab".repeat(32) } });
    let call = app.sign().json(|body| {
        body["subject"] = json!(vec![subject; 1024]);
        body["predicate"] = json!({ "n".repeat(1024): 1 });
    });
    let answer = call.send().await.ok();
    let records = app.audited(&answer["auditId"]);
    assert_eq!(records[0]["subjectCount"], 1024);
    assert_eq!(records[0]["subjects"].as_array().unwrap().len(), 256);
    // An absent option may be null.
    app.sign().option("keyId", Value::Null).send().await.ok();
}

#[actix::test]
async fn the_media_type_is_json_without_compression() {
    let app = TestApp::start().await;
    for bad in [
        Some("text/plain"),
        Some("application/jsonp"),
        Some("application/json; charset=latin1"),
        None,
    ] {
        let answer = app.sign().content_type(bad).send().await;
        answer.refused(415, "unsupported_media_type", "http");
    }
    for coding in ["gzip", "br", "identity"] {
        let answer = app.sign().field("content-encoding", coding).send().await;
        answer.refused(415, "unsupported_media_type", "http");
    }
    let answer = app.sign().field("content-type", "text/plain").send().await;
    answer.refused(415, "unsupported_media_type", "http");
    app.sign()
        .content_type(Some("application/json; charset=utf-8"))
        .send()
        .await
        .ok();
}

#[actix::test]
async fn a_body_beyond_the_limit_is_refused_by_its_length_and_by_its_bytes() {
    let app = TestApp::with("server.max_body_bytes = 4096").await;
    let mut raw = Raw::connect(app.base()).await;
    // By its word alone: nothing of the body is sent, and the proof is not spent.
    raw.head(app.sign(), &["content-length: 4097"]).await;
    let answer = raw.answer().await.unwrap();
    answer.refused(413, "artifact_too_large", "http");

    let mut raw = Raw::connect(app.base()).await;
    raw.head(app.sign(), &["transfer-encoding: chunked"]).await;
    for _ in 0..5 {
        let chunk = format!("400\r\n{}\r\n", " ".repeat(1024));
        raw.send(chunk.as_bytes()).await;
    }
    let answer = raw.answer().await.unwrap();
    answer.refused(413, "artifact_too_large", "http");
    is_left_alone(raw).await;

    // The same for every answer that does not wait for the body.
    let mut raw = Raw::connect(app.base()).await;
    raw.head(app.sign().anonymous(), &["transfer-encoding: chunked"])
        .await;
    let answer = raw.answer().await.unwrap();
    answer.refused(401, "invalid_token", "authentication");
    is_left_alone(raw).await;
}

/// What is left of the body is no next request, and nobody waits for its end.
async fn is_left_alone(mut raw: Raw) {
    let smuggled = "GET /livez HTTP/1.1\r\nhost: signer.test\r\n\r\n";
    let chunk = format!("{:x}\r\n{smuggled}\r\n", smuggled.len());
    raw.send(chunk.as_bytes()).await;
    assert!(raw.is_closed().await);
}

#[actix::test]
async fn a_chunked_body_within_the_limit_passes() {
    let app = TestApp::start().await;
    let mut raw = Raw::connect(app.base()).await;
    let body = raw.head(app.sign(), &["transfer-encoding: chunked"]).await;
    for chunk in body.chunks(100) {
        raw.send(format!("{:x}\r\n", chunk.len()).as_bytes()).await;
        raw.send(chunk).await;
        raw.send(b"\r\n").await;
    }
    raw.send(b"0\r\n\r\n").await;
    raw.answer().await.unwrap().ok();
}

#[actix::test]
async fn a_body_that_drips_is_given_up_in_time() {
    let app = TestApp::with("server.body_timeout = \"500ms\"").await;
    let mut raw = Raw::connect(app.base()).await;
    let body = raw.head(app.sign(), &["content-length: 4000"]).await;
    let begun = std::time::Instant::now();
    let dripping = async {
        for byte in &body {
            if !raw.send(&[*byte]).await || begun.elapsed().as_millis() > 700 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        raw.answer().await
    };
    let answer = dripping.await.expect("an answer");
    answer.refused(408, "request_timeout", "body");
    assert!(begun.elapsed().as_secs_f32() < 3.0);
}

#[actix::test]
async fn no_body_is_read_before_the_caller_is_known() {
    let app = TestApp::start().await;
    let mut raw = Raw::connect(app.base()).await;
    let call = app.sign().token(|token| token.claim("aud", "another"));
    raw.head(call, &["content-length: 900000"]).await;
    let answer = raw.answer().await.unwrap();
    answer.refused(401, "invalid_token", "authentication");
}

#[actix::test]
async fn broken_framing_is_no_request() {
    let app = TestApp::start().await;
    // RFC 9112 §6.1 and §6.3: what could be read in two ways is refused, and the connection ends.
    for lines in [
        &["content-length: 10", "transfer-encoding: chunked"][..],
        &["content-length: 10", "content-length: 20"],
        &["content-length: -1"],
        &["content-length: 1x"],
        &["transfer-encoding: chunked, identity"],
        &["transfer-encoding: gzip"],
        &["no colon here"],
        &["x y: 1"],
    ] {
        println!("{lines:?}");
        let mut raw = Raw::connect(app.base()).await;
        raw.head(app.sign(), lines).await;
        raw.send(b"0\r\n\r\n").await;
        if let Some(answer) = raw.answer().await {
            assert!(
                (400..=501).contains(&answer.status),
                "{lines:?}: {}",
                answer.status
            );
        }
        assert!(raw.is_closed().await, "{lines:?}");
    }
    let mut raw = Raw::connect(app.base()).await;
    raw.head(app.sign(), &["transfer-encoding: chunked"]).await;
    raw.send(b"zz\r\n{}\r\n0\r\n\r\n").await;
    if let Some(answer) = raw.answer().await {
        answer.refused(400, "invalid_request", "body");
    }
    assert!(signed(&app) == 0);
}

#[actix::test]
async fn a_body_that_breaks_off_signs_nothing() {
    let app = TestApp::start().await;
    let mut raw = Raw::connect(app.base()).await;
    let body = raw.head(app.sign(), &["content-length: 100000"]).await;
    raw.send(&body).await;
    drop(raw);
    // The service is as before.
    app.sign().send().await.ok();
    assert_eq!(signed(&app), 1);
}

fn signed(app: &TestApp) -> usize {
    app.audit()
        .iter()
        .filter(|record| record["event"] == "outcome")
        .count()
}

#[actix::test]
async fn bodies_held_at_once_are_bounded_over_all_requests() {
    let app = TestApp::with("server.max_body_bytes = 4096\nserver.max_body_bytes_in_flight = 4096").await;
    let mut slow = Raw::connect(app.base()).await;
    let mut body = slow.head(app.sign(), &["content-length: 3600"]).await;
    assert!((600..2000).contains(&body.len()));
    body.resize(3600, b' ');
    slow.send(&body[..3500]).await;
    let bodies = &app.service.as_ref().unwrap().state.bodies;
    until("those bytes to arrive", || (bodies.left() == 0).then_some(())).await;
    // There is no room for another body.
    app.sign().send().await.refused(503, "overloaded", "body");
    slow.send(&body[3500..]).await;
    slow.answer().await.unwrap().ok();
    until("the bytes to come back", || (bodies.left() == 4096).then_some(())).await;
    app.sign().send().await.ok();
}
