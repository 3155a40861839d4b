//! What every answer carries, and how many fields a request may.

use reqwest::Method;

use crate::support::{Answer, Call, Raw, TestApp};

async fn plain(app: &TestApp, base: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = app.http.get(format!("{base}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap(), Vec::new()).await
}

#[actix::test]
async fn every_answer_names_its_request_and_is_stored_nowhere() {
    let app = TestApp::start().await;
    let base = app.base();
    for path in [
        "/livez",
        "/readyz",
        "/api/v1/signer/trust",
        "/api/v1/signer/trust/keys",
    ] {
        plain(&app, base, path, &[]).await.ok();
    }
    for path in [
        "/",
        "/metrics",
        "/api/v1/signer",
        "/api/v1/signer/",
        "/api/v2",
        "/%2e%2e/",
        "/favicon.ico",
    ] {
        plain(&app, base, path, &[])
            .await
            .refused(404, "not_found", "http");
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = plain(&app, &app.operations, path, &[]).await;
        answer.common();
        assert_eq!(answer.status, 200);
    }
}

#[actix::test]
async fn the_callers_own_id_is_used_if_it_is_one() {
    let app = TestApp::start().await;
    let longest = "x".repeat(128);
    for id in ["a", "A.b_c-9", &longest] {
        let answer = app.sign().field("x-correlation-id", id).send().await;
        answer.ok();
        assert_eq!(answer.header("x-correlation-id"), Some(id));
        let answer = app.sign().anonymous().field("x-correlation-id", id).send().await;
        let problem = answer.refused(401, "invalid_token", "authentication");
        assert_eq!(problem["correlationId"], id);
    }
    // W3C Trace Context §3.2.3.
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = app.sign().field("traceparent", trace).send().await;
    assert_eq!(
        answer.header("x-correlation-id"),
        Some("4bf92f3577b34da6a3ce929d0e0e4736")
    );
    let both = app
        .sign()
        .field("traceparent", trace)
        .field("x-correlation-id", "mine")
        .send()
        .await;
    assert_eq!(both.header("x-correlation-id"), Some("mine"));

    let too_long = "x".repeat(129);
    for bad in ["a b", "a/b", "<script>", &too_long] {
        let answer = app.sign().field("x-correlation-id", bad).send().await;
        answer.ok();
        let made = answer.header("x-correlation-id").unwrap().to_owned();
        // RFC 9562 §5.7: version 7.
        let uuid: uuid::Uuid = made.parse().unwrap();
        assert_eq!(uuid.get_version_num(), 7);
        let answer = app
            .sign()
            .field("x-correlation-id", bad)
            .field("traceparent", trace)
            .send()
            .await;
        assert_eq!(
            answer.header("x-correlation-id"),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
    }
}

#[actix::test]
async fn other_methods_are_told_the_right_one() {
    let app = TestApp::start().await;
    for (method, path, allowed) in [
        (Method::GET, "/api/v1/signer/sign/dsse", "POST"),
        (Method::PUT, "/api/v1/signer/sign/dsse", "POST"),
        (Method::OPTIONS, "/api/v1/signer/sign/dsse", "POST"),
        (Method::POST, "/api/v1/signer/verify/referrers", "GET"),
        (Method::DELETE, "/api/v1/signer/trust", "GET"),
        (Method::POST, "/livez", "GET"),
    ] {
        let answer = Call::new(&app, method, path).send().await;
        answer.refused(405, "method_not_allowed", "http");
        assert_eq!(answer.header("allow"), Some(allowed));
    }
}

#[actix::test]
async fn the_header_section_is_bounded_in_fields_and_bytes() {
    let app = TestApp::start().await;
    let long = app.sign().field("x-long", "y".repeat(33_000)).send().await;
    long.refused(431, "headers_too_large", "http");
    let fill = |count: usize| (0..count).fold(app.sign(), |call, n| call.field(&format!("x-{n}"), "1"));
    fill(70).send().await.refused(431, "headers_too_large", "http");
    fill(40).send().await.ok();
    // Far beyond what the parser takes: no request, and the connection ends.
    for (count, length) in [(1000, 1), (1, 1_000_000)] {
        let mut raw = Raw::connect(app.base()).await;
        let lines: Vec<String> = (0..count)
            .map(|n| format!("x-{n}: {}", "y".repeat(length)))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        raw.head(app.sign(), &lines).await;
        if let Some(answer) = raw.answer().await {
            assert!([400, 431].contains(&answer.status), "{}", answer.status);
        }
        assert!(raw.is_closed().await);
    }
}

#[actix::test]
async fn the_rate_fields_count_down() {
    let app = TestApp::start().await;
    let call = || app.sign().tenant("counting", [1, 5, 4, 1000]);
    let remaining = async || call().send().await.rate();
    let (q, first, _) = remaining().await;
    let (_, second, _) = remaining().await;
    assert_eq!((q, first), (5, 4));
    assert!(
        second == 3 || second == 4,
        "one less, but for what has come back in between"
    );
    // Before the rate gate there is nothing to tell.
    let answer = app.sign().anonymous().send().await;
    assert_eq!(answer.header("ratelimit"), None);
}
