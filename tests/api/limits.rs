//! What one connection may take, and what could be read in two ways.
//!
//! Waiting is what is tested here, so limits are short and every wait has a bound far above them.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::support::{Raw, TestApp};
use crate::tls::tls;

const QUICK: &str = "[server]\nhead_timeout = \"1s\"\nkeep_alive = \"1s\"";
const PING: &[u8] = b"GET /livez HTTP/1.1\r\nhost: signer.test\r\n\r\n";
/// A request that must not be answered: it lies where a proxy may not have seen one.
const SMUGGLED: &str = "GET /readyz HTTP/1.1\r\nhost: signer.test\r\n\r\n";

/// Sends one byte after the other until the connection ends; how long that took.
async fn drip(raw: &mut Raw, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    for byte in bytes.iter().cycle() {
        if !raw.send(&[*byte]).await || begun.elapsed() > Duration::from_secs(10) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    begun.elapsed()
}

async fn ping(raw: &mut Raw) {
    raw.send(PING).await;
    raw.answer().await.expect("an answer").ok();
}

#[actix::test]
async fn a_head_that_drips_is_given_up_on_a_new_connection_and_on_a_used_one() {
    let app = TestApp::with(QUICK).await;
    let mut new = Raw::connect(app.base()).await;
    let took = drip(&mut new, b"GET /livez?x").await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    let mut used = Raw::connect(app.base()).await;
    ping(&mut used).await;
    let took = drip(&mut used, b"GET /livez?x").await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    // Nor does one byte hold it.
    let mut used = Raw::connect(app.base()).await;
    ping(&mut used).await;
    used.send(b"G").await;
    let begun = Instant::now();
    assert!(used.is_closed().await);
    assert!(begun.elapsed() < Duration::from_secs(4));
    // A head in two parts is fine.
    let mut patient = Raw::connect(app.base()).await;
    for _ in 0..2 {
        let (first, second) = PING.split_at(20);
        patient.send(first).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        patient.send(second).await;
        patient.answer().await.expect("an answer").ok();
    }
}

#[actix::test]
async fn a_connection_that_says_nothing_is_closed() {
    let app = TestApp::with(QUICK).await;
    let begun = Instant::now();
    let mut silent = Raw::connect(app.base()).await;
    // RFC 9110 §15.5.9: some clients want to be told.
    let answer = silent.answer().await.expect("a word");
    answer.refused(408, "request_timeout", "http");
    assert!(silent.is_closed().await);
    assert!(begun.elapsed() < Duration::from_secs(4));

    let begun = Instant::now();
    let mut idle = Raw::connect(app.base()).await;
    ping(&mut idle).await;
    ping(&mut idle).await;
    assert!(idle.is_closed().await);
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(900) && took < Duration::from_secs(6),
        "{took:?}"
    );
}

#[actix::test]
async fn connections_are_not_kept_where_that_is_off() {
    let app = TestApp::with("server.keep_alive = \"0s\"").await;
    let mut raw = Raw::connect(app.base()).await;
    raw.send(PING).await;
    let answer = raw.answer().await.expect("an answer");
    answer.ok();
    assert!(raw.is_closed().await);
}

#[actix::test]
async fn callers_beyond_the_limit_wait_until_the_idle_and_the_slow_are_cut() {
    let app = TestApp::with(&format!("{QUICK}\nmax_connections = 2")).await;
    let (mut idle, mut slow) = (Raw::connect(app.base()).await, Raw::connect(app.base()).await);
    ping(&mut idle).await;
    ping(&mut slow).await;
    slow.send(b"POST /").await;
    // The others have used up all there is; whoever comes now waits for their end and no longer.
    let mut waiting = Raw::connect(app.base()).await;
    ping(&mut waiting).await;
    assert!(idle.is_closed().await && slow.is_closed().await);
    app.sign().send().await.ok();
}

#[actix::test]
async fn a_handshake_that_never_ends_is_given_up_and_holds_up_nobody() {
    let tls = tls("off", "head_timeout = \"1s\"").await;
    let address = tls.app.base().trim_start_matches("https://").to_owned();
    let begun = Instant::now();
    let mut stuck = Vec::new();
    for hello in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut raw = Raw::of(TcpStream::connect(&address).await.unwrap());
        raw.send(hello).await;
        stuck.push(raw);
    }
    let client = tls.client(None);
    let alive = client
        .get(format!("{}/livez", tls.app.base()))
        .send()
        .await
        .unwrap();
    assert!(alive.status().is_success());
    for mut raw in stuck {
        assert!(raw.is_closed().await);
    }
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[actix::test]
async fn the_target_counts_as_part_of_the_head() {
    let app = TestApp::start().await;
    for (length, status) in [(30_000, 404), (33_000, 431)] {
        let mut raw = Raw::connect(app.base()).await;
        let path = "x".repeat(length);
        raw.send(format!("GET /{path} HTTP/1.1\r\nhost: signer.test\r\n\r\n").as_bytes())
            .await;
        let answer = raw.answer().await.expect("an answer");
        let code = if status == 404 {
            "not_found"
        } else {
            "headers_too_large"
        };
        answer.refused(status, code, "http");
    }
    // Longer than the parser's own limit.
    let mut raw = Raw::connect(app.base()).await;
    raw.send(
        format!(
            "GET /{} HTTP/1.1\r\nhost: signer.test\r\n\r\n",
            "x".repeat(70_000)
        )
        .as_bytes(),
    )
    .await;
    if let Some(answer) = raw.answer().await {
        answer.refused(400, "invalid_request", "http");
    }
    assert!(raw.is_closed().await);
}

/// Sends all at once; the statuses of all answers until the connection ends. Every refusal is a document.
async fn statuses(app: &TestApp, bytes: &str) -> Vec<u16> {
    let mut raw = Raw::connect(app.base()).await;
    raw.send(bytes.as_bytes()).await;
    let mut seen = Vec::new();
    while let Some(answer) = raw.answer().await {
        answer.common();
        seen.push(answer.status);
    }
    seen
}

#[actix::test]
async fn what_could_be_read_in_two_ways_is_one_refusal_and_the_end() {
    let app = TestApp::with(QUICK).await;
    let length = SMUGGLED.len();
    let post = "POST /api/v1/signer/sign/dsse HTTP/1.1\r\nhost: signer.test\r\n";
    let get = "GET /livez HTTP/1.1\r\nhost: signer.test\r\n";
    // RFC 9112 §3.2, §5, §6.1 to §6.3, §7.1, §11.2. Each request is followed by one more.
    let cases = [
        // Two lengths, or none that can be trusted.
        format!("{post}content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n0\r\n\r\n"),
        format!("{post}content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}content-length: {length}\r\ncontent-length: 0\r\n\r\n"),
        format!("{post}content-length: 0\r\ncontent-length: 0\r\n\r\n"),
        format!("{post}content-length: 0, 0\r\n\r\n"),
        format!("{post}content-length: +0\r\n\r\n"),
        format!("{post}content-length: -0\r\n\r\n"),
        format!("{post}content-length: 0x0\r\n\r\n"),
        format!("{post}content-length: 1_0\r\n\r\n"),
        format!("{post}content-length: 1 0\r\n\r\n"),
        format!("{post}content-length:\r\n\r\n"),
        format!("{post}content-length: 18446744073709551616\r\n\r\n"),
        // Codings that end nowhere, or not where they seem to.
        format!("{post}transfer-encoding: identity\r\n\r\n"),
        format!("{post}transfer-encoding: gzip\r\n\r\n"),
        format!("{post}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding:\r\n\r\n"),
        format!("{post}transfer-encoding: \u{b}chunked\r\n\r\n0\r\n\r\n"),
        "POST /livez HTTP/1.0\r\nhost: signer.test\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        // Field names that some read as another.
        format!("{get}content-length : 0\r\n\r\n"),
        format!("{get}\u{b}content-length: 0\r\n\r\n"),
        format!("{get} content-length: 0\r\n\r\n"),
        format!("{get}x: y\r\n content-length: 0\r\n\r\n"),
        format!("{get}x: y\rcontent-length: 0\r\n\r\n"),
        format!("{get}x: y\0\r\n\r\n"),
        format!("{get}content-length\r\n\r\n"),
        // Whose it is.
        "GET /livez HTTP/1.1\r\n\r\n".to_owned(),
        format!("{get}host: other.test\r\n\r\n"),
        // Another version.
        "GET /livez HTTP/1.2\r\nhost: signer.test\r\n\r\n".to_owned(),
        "GET /livez HTTP/2.0\r\nhost: signer.test\r\n\r\n".to_owned(),
        "GET /livez\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "GET  /livez HTTP/1.1\r\nhost: signer.test\r\n\r\n".to_owned(),
        "GET /livez x HTTP/1.1\r\nhost: signer.test\r\n\r\n".to_owned(),
        // Tunnels: what follows would be content for us and a request for others (RFC 9110 §7.8, §9.3.6).
        format!("{get}upgrade: websocket\r\n\r\n"),
        format!("{get}upgrade: WebSocket\r\ncontent-length: 0\r\n\r\n"),
        format!("{get}connection: upgrade\r\nupgrade: h2c\r\nupgrade: websocket\r\n\r\n"),
        format!("{post}upgrade: websocket\r\ncontent-length: 2\r\n\r\n{{}}"),
        "CONNECT signer.test:443 HTTP/1.1\r\nhost: signer.test\r\n\r\n".to_owned(),
        // A body that nobody asked for is not the next request.
        format!("{get}content-length: {length}\r\n\r\n"),
    ];
    for case in cases {
        let seen = statuses(&app, &format!("{case}{SMUGGLED}")).await;
        let unread = case.starts_with("GET /livez HTTP/1.1") && case.contains(&format!("length: {length}"));
        match seen[..] {
            [status] if unread => assert_eq!(status, 200, "{case}"),
            [status] => assert_eq!(status, 400, "{case}"),
            _ => panic!("{seen:?}: {case}"),
        }
    }
    let mut raw = Raw::connect(app.base()).await;
    raw.head(app.sign(), &["upgrade: websocket", "content-length: 2"])
        .await;
    let answer = raw.answer().await.expect("an answer");
    answer.refused(400, "invalid_request", "http");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(raw.is_closed().await);
}

#[actix::test]
async fn requests_in_one_go_are_answered_in_order() {
    let app = TestApp::with(QUICK).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: signer.test\r\n\r\n");
    let all = [get("/livez"), get("/nowhere"), get("/readyz"), get("/nowhere")].concat();
    assert_eq!(statuses(&app, &all).await, [200, 404, 200, 404]);
    // What is no request gets its document behind others, too.
    assert_eq!(
        statuses(&app, &format!("{}\u{1}\r\n\r\n", all)).await,
        [200, 404, 200, 404, 400]
    );
    // A protocol that we do not speak is none that we change to (RFC 9110 §7.8).
    let offered = "GET /livez HTTP/1.1\r\nhost: signer.test\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(statuses(&app, offered).await, [200]);
    let mut raw = Raw::connect(app.base()).await;
    raw.send(offered.as_bytes()).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.header("upgrade"), None);
}

#[actix::test]
async fn nothing_follows_the_last_request_of_a_connection() {
    let app = TestApp::with(QUICK).await;
    // RFC 9112 §9.6: what comes after `close` is not processed.
    let last = "GET /livez HTTP/1.1\r\nhost: signer.test\r\nconnection: close\r\n\r\n";
    let old = "GET /livez HTTP/1.0\r\nhost: signer.test\r\n\r\n";
    for last in [last, old] {
        let seen = statuses(&app, &format!("{last}{SMUGGLED}")).await;
        assert!(seen == [200] || seen == [200, 400], "{seen:?}");
    }
    // Trailers with bare line feeds end sooner for some; so a chunked request is always the last.
    for end in [
        "0\r\n\r\n",
        "0\r\nx: y\r\n\r\n",
        "0\r\nx: y\n\n",
        "0;x=\"\\\"\r\n\r\n",
        "0\r\n\n",
    ] {
        let mut raw = Raw::connect(app.base()).await;
        let body = raw.head(app.sign(), &["transfer-encoding: chunked"]).await;
        let body = String::from_utf8(body).unwrap();
        let chunks = format!("{:x}\r\n{body}\r\n{end}{SMUGGLED}\r\n", body.len());
        raw.send(chunks.as_bytes()).await;
        let answer = raw.answer().await.expect("an answer");
        answer.ok();
        assert_eq!(answer.header("connection"), Some("close"), "{end:?}");
        if let Some(after) = raw.answer().await {
            assert_eq!(after.status, 400, "{end:?}");
        }
        assert!(raw.is_closed().await, "{end:?}");
    }
}

#[actix::test]
async fn nothing_follows_an_answer_that_says_close() {
    let app = TestApp::start().await;
    let begun = Instant::now();
    let sign = "POST /api/v1/signer/sign/dsse HTTP/1.1\r\nhost: signer.test\r\n";
    for (first, status) in [
        (
            "GET /livez HTTP/1.1\r\nhost: signer.test\r\nconnection: close\r\n\r\n".to_owned(),
            200,
        ),
        // Bodies that nobody reads, and that are there when the answer is made.
        (
            "GET /livez HTTP/1.1\r\nhost: signer.test\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
            200,
        ),
        (
            format!("{sign}content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"),
            401,
        ),
        (
            format!("{sign}content-type: text/plain\r\ncontent-length: 2\r\n\r\n{{}}"),
            415,
        ),
    ] {
        let mut raw = Raw::connect(app.base()).await;
        raw.send(format!("{first}{SMUGGLED}{SMUGGLED}").as_bytes()).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!(
            (answer.status, answer.header("connection")),
            (status, Some("close")),
            "{first}"
        );
        while let Some(after) = raw.answer().await {
            assert_eq!(
                (after.status, after.header("connection")),
                (400, Some("close")),
                "{first}"
            );
        }
    }
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "it is the end, not idleness"
    );
    // A body that was read is no reason to close.
    let mut raw = Raw::connect(app.base()).await;
    for _ in 0..2 {
        let length = app.sign().sent_body().len();
        let body = raw
            .head(app.sign(), &[&format!("content-length: {length}")])
            .await;
        raw.send(&body).await;
        let answer = raw.answer().await.expect("an answer");
        answer.ok();
        assert_eq!(answer.header("connection"), None);
    }
}

#[actix::test]
async fn http_1_0_is_never_answered_100() {
    let app = TestApp::start().await;
    // RFC 9110 §10.1.1, §15.2: the field is ignored, and interim answers are not sent.
    let (fields, body, _) = app.sign().into_parts();
    let mut head = String::from("POST /api/v1/signer/sign/dsse HTTP/1.0\r\nhost: signer.test\r\n");
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!(
        "expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    let mut raw = Raw::connect(app.base()).await;
    raw.send(head.as_bytes()).await;
    // The handler waits for it by now.
    tokio::time::sleep(Duration::from_millis(50)).await;
    raw.send(&body).await;
    raw.answer().await.expect("an answer").ok();
    assert!(raw.is_closed().await);
}

#[actix::test]
async fn handshakes_that_go_on_no_further_keep_nobody_out() {
    let tls = tls("optional", "workers = 1\nhead_timeout = \"30s\"").await;
    let address = tls.app.base().trim_start_matches("https://");
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let client = tls.client(None);
    let signing = tls.send(&client, tls.app.sign());
    let signed = tokio::time::timeout(Duration::from_secs(10), signing).await;
    signed.expect("an answer").ok();
    drop(silent);
}

#[actix::test]
async fn chunks_that_never_begin_are_given_up() {
    let app = TestApp::with("server.body_timeout = \"400ms\"").await;
    for begin in ["0", "1;", "1;x=\"", "a ", "1\r\nx\r\n0\r\nx: "] {
        let mut raw = Raw::connect(app.base()).await;
        raw.head(app.sign(), &["transfer-encoding: chunked"]).await;
        raw.send(begin.as_bytes()).await;
        let begun = Instant::now();
        let filler = begin
            .chars()
            .last()
            .filter(|c| *c == '0' || *c == ' ')
            .unwrap_or('x');
        let endless = filler.to_string().repeat(4096);
        while raw.send(endless.as_bytes()).await && begun.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{begin:?}");
    }
    for broken in [
        "10000000000000000\r\n",
        "ffffffffffffffff0\r\n",
        "-1\r\n",
        " 1\r\n",
        "0x1\r\n",
        "g\r\n",
        "\r\n",
        "1\n",
        "1\rx",
        "1\r\nxy",
        "1;a\n\r\n",
        "1\r\nx\n0\r\n\r\n",
    ] {
        let mut raw = Raw::connect(app.base()).await;
        raw.head(app.sign(), &["transfer-encoding: chunked"]).await;
        raw.send(broken.as_bytes()).await;
        println!("{broken:?}");
        // The parser hangs up, and a handler that waits for the body has its say before.
        if let Some(answer) = raw.answer().await {
            answer.refused(400, "invalid_request", "body");
        }
        assert!(raw.is_closed().await, "{broken:?}");
    }
    assert!(app.audit().iter().all(|record| record["event"] != "outcome"));
}

#[actix::test]
async fn a_body_is_invited_once_its_headers_are_in_order() {
    let app = TestApp::with("server.max_body_bytes = 4096").await;
    let expect = "expect: 100-continue";
    let mut raw = Raw::connect(app.base()).await;
    let length = app.sign().sent_body().len();
    let body = raw
        .head(app.sign(), &[expect, &format!("content-length: {length}")])
        .await;
    assert_eq!(raw.answer().await.expect("an invitation").status, 100);
    raw.send(&body).await;
    raw.answer().await.expect("an answer").ok();
    // RFC 9110 §10.1.1: what the headers decide is told at once, and the body need not come.
    let refusals = [
        (app.sign().anonymous(), 64, 401, "invalid_token", "authentication"),
        (
            app.sign().token(|token| token.claim("aud", "another")),
            64,
            401,
            "invalid_token",
            "authentication",
        ),
        (app.sign(), 4097, 413, "artifact_too_large", "http"),
        (
            app.sign().content_type(Some("text/plain")),
            64,
            415,
            "unsupported_media_type",
            "http",
        ),
        (
            app.sign().field("content-encoding", "gzip"),
            64,
            415,
            "unsupported_media_type",
            "http",
        ),
    ];
    for (call, length, status, code, stage) in refusals {
        let mut raw = Raw::connect(app.base()).await;
        raw.head(call, &[expect, &format!("content-length: {length}")])
            .await;
        let answer = raw.answer().await.expect("an answer");
        answer.refused(status, code, stage);
        assert!(raw.is_closed().await);
    }
    // A proof that was used before is no reason to send the body either.
    let token = app.mint.token(|_| ());
    let proof = app.signing_proof(&token);
    let call = || {
        app.sign()
            .raw_token(token.clone())
            .proofs(std::slice::from_ref(&proof))
    };
    call().send().await.ok();
    let mut raw = Raw::connect(app.base()).await;
    raw.head(call(), &[expect, "content-length: 64"]).await;
    let answer = raw.answer().await.expect("an answer");
    answer.refused(401, "invalid_dpop_proof", "authentication");
}
