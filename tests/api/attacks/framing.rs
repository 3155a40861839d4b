//! HTTP itself: requests that two readers would read differently (RFC 9112 §6.3, §11.2), and fields that are none.
//!
//! What is refused here ends its connection: nothing behind it is taken for a next request.

use super::case::{Case, call};
use crate::support::{SIGN, b64};

/// A request that would be answered if it were taken for one.
const SMUGGLED: &str = "GET /livez HTTP/1.1\r\nhost: signer.test\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    [lengths(), chunks(), lines(), fields(), stolen()]
        .into_iter()
        .flatten()
        .collect()
}

/// These lines in place of `Content-Length`, where `{}` is the body's length.
fn framed(name: &str, lines: &'static str) -> Case {
    call(name, move |call| {
        let length = call.sent_body().len().to_string();
        call.framing(&lines.replace("{}", &length))
    })
    .unread()
}

fn lengths() -> Vec<Case> {
    vec![
        framed(
            "length and chunks",
            "content-length: {}\r\ntransfer-encoding: chunked\r\n",
        ),
        framed(
            "chunks and length",
            "transfer-encoding: chunked\r\ncontent-length: {}\r\n",
        ),
        framed(
            "length zero and chunks",
            "content-length: 0\r\ntransfer-encoding: chunked\r\n",
        ),
        framed(
            "two lengths that differ",
            "content-length: {}\r\ncontent-length: 0\r\n",
        ),
        framed(
            "two lengths that differ, the other way",
            "content-length: 0\r\ncontent-length: {}\r\n",
        ),
        framed("two lengths in one field", "content-length: {}, 0\r\n"),
        framed("a negative length", "content-length: -1\r\n"),
        framed("a length with a plus", "content-length: +{}\r\n"),
        framed("a length in hexadecimal", "content-length: 0x10\r\n"),
        framed("a length with a letter", "content-length: {}x\r\n"),
        framed("a length of nothing", "content-length: \r\n"),
        framed("a length with a space in its name", "content-length : {}\r\n"),
        framed("a length on two lines", "content-length:\r\n {}\r\n"),
    ]
}

fn chunks() -> Vec<Case> {
    let body = |name: &str, lines: &'static str, body: &'static str| {
        call(name, move |call| call.bytes(body).framing(lines)).unread()
    };
    let chunked = "transfer-encoding: chunked\r\n";
    vec![
        framed(
            "chunked twice",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        ),
        framed(
            "chunked twice in one field",
            "transfer-encoding: chunked, chunked\r\n",
        ),
        framed(
            "chunked, then identity",
            "transfer-encoding: chunked, identity\r\n",
        ),
        framed("identity", "transfer-encoding: identity\r\n"),
        framed("gzip", "transfer-encoding: gzip\r\n"),
        framed("gzip and chunked", "transfer-encoding: gzip, chunked\r\n"),
        framed("an unknown coding", "transfer-encoding: xchunked\r\n"),
        framed(
            "chunked with a vertical tab",
            "transfer-encoding: \u{b}chunked\r\n",
        ),
        framed(
            "chunked with a space in its name",
            "transfer-encoding : chunked\r\n",
        ),
        framed(
            "chunked behind another line",
            "x: y\r\n transfer-encoding: chunked\r\n",
        ),
        body("a chunk of no size", chunked, "zz\r\n{}\r\n0\r\n\r\n"),
        body("a chunk of negative size", chunked, "-2\r\n{}\r\n0\r\n\r\n"),
        body("a chunk of a size with 0x", chunked, "0x2\r\n{}\r\n0\r\n\r\n"),
        body(
            "a chunk beyond every number",
            chunked,
            "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        ),
        body(
            "a chunk that is longer than its size",
            chunked,
            "1\r\n{}\r\n0\r\n\r\n",
        ),
        call("chunks that are a body", |call| {
            let body = call.sent_body();
            let text = String::from_utf8(body).unwrap();
            let (a, b) = text.split_at(100);
            let chunks = format!("64\r\n{a}\r\n{:X};x=y\r\n{b}\r\n0\r\n\r\n", b.len());
            call.bytes(chunks).framing("transfer-encoding: chunked\r\n")
        })
        .accepted(),
    ]
}

fn lines() -> Vec<Case> {
    let line = |name: &str, line: String| call(name, move |call| call.line(line.clone())).unread();
    vec![
        line("HTTP/1.0", format!("POST {SIGN} HTTP/1.0")).accepted(),
        call("HTTP/1.0 in chunks", |call| {
            call.line(format!("POST {SIGN} HTTP/1.0"))
                .framing("transfer-encoding: chunked\r\n")
        })
        .unread(),
        call("no Host", |call| call.host("")).unread(),
        line("HTTP/0.9", format!("POST {SIGN}")),
        line("HTTP/2 in text", format!("POST {SIGN} HTTP/2.0")),
        line("HTTP/1.2", format!("POST {SIGN} HTTP/1.2")),
        line("a version in lower case", format!("POST {SIGN} http/1.1")),
        line("no method", format!("{SIGN} HTTP/1.1")),
        line("a method with a colon", format!("PO:ST {SIGN} HTTP/1.1")),
        line("a tab for a space", format!("POST\t{SIGN}\tHTTP/1.1")),
        line("a space in the target", format!("POST {SIGN} x HTTP/1.1")),
        line("a NUL in the target", format!("POST {SIGN}\0 HTTP/1.1")),
        line("no target", "POST  HTTP/1.1".to_owned()),
        line("a line break in the target", format!("POST {SIGN}\n HTTP/1.1")),
    ]
}

fn fields() -> Vec<Case> {
    let host = |name: &str, lines: &'static str| call(name, move |call| call.host(lines)).unread();
    vec![
        host(
            "a field without a colon",
            "host: signer.test\r\nno colon here\r\n",
        ),
        host("a field without a name", "host: signer.test\r\n: value\r\n"),
        host("a name with a space", "host: signer.test\r\nx y: value\r\n"),
        host("a name with a NUL", "host: signer.test\r\nx\0y: value\r\n"),
        host("a value with a NUL", "host: signer.test\r\nx: a\0b\r\n"),
        host("a space before the colon", "host : signer.test\r\n"),
        host("a folded field", "host: signer.test\r\nx: a\r\n b\r\n"),
        host("a space before the first field", " host: signer.test\r\n"),
        host("a carriage return alone", "host: signer.test\r\nx: a\rb\r\n"),
    ]
}

/// A second request inside of the first one's body is never answered.
fn stolen() -> Vec<Case> {
    vec![
        call("a request behind a refused one", |call| {
            call.anonymous()
                .bytes(SMUGGLED)
                .framing("transfer-encoding: chunked\r\n")
        })
        .expect(super::case::Expected::Unknown),
        call("credentials in a trailer", |call| {
            let token = call.sent_token().to_owned();
            let body = String::from_utf8(call.sent_body()).unwrap();
            let chunks = format!(
                "{:x}\r\n{body}\r\n0\r\nauthorization: DPoP {token}\r\n\r\n",
                body.len()
            );
            call.authorization(&[])
                .bytes(chunks)
                .framing("transfer-encoding: chunked\r\n")
        })
        .expect(super::case::Expected::Unknown),
        call("a field of 40 KiB", |call| {
            call.field("x-large", b64(vec![0; 30_000]))
        })
        .refused(431, "headers_too_large", "http"),
        call("a hundred fields", |call| {
            (0..100).fold(call, |call, n| call.field(&format!("x-{n}"), "1"))
        })
        .unread(),
    ]
}
