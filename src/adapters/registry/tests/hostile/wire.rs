//! What may be wrong below the documents: HTTP that is none, answers that never end or never begin.

use std::time::Duration;

use super::super::Expect::{Doubt, Timeout};
use super::super::World;
use super::super::fake::{Body, Reply};
use super::Row;

pub(super) fn rows() -> Vec<Row> {
    vec![
        (
            "listing that says nothing",
            |w| short(w, Reply::body(Body::Silence)),
            Timeout,
            "",
        ),
        (
            "listing byte by byte",
            |w| {
                let bytes = w.reply(&w.listing.clone()).bytes().to_vec();
                short(w, Reply::body(Body::Drip(bytes)));
            },
            Timeout,
            "",
        ),
        (
            "listing that stops after its head",
            |w| short(w, Reply::wire("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{")),
            Timeout,
            "",
        ),
        (
            "head that stops",
            |w| short(w, Reply::wire("HTTP/1.1 200 OK\r\nContent-Le")),
            Timeout,
            "",
        ),
        (
            "provisional answers without end",
            |w| {
                short(
                    w,
                    Reply::body(Body::Flood(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100))),
                )
            },
            Timeout,
            "",
        ),
        (
            "head without end",
            |w| {
                let fields = format!("X: {}\r\n", "a".repeat(4096)).repeat(250);
                listing(w, Reply::wire(format!("HTTP/1.1 200 OK\r\n{fields}")));
            },
            Doubt,
            "message head is too large",
        ),
        (
            "one field without end",
            |w| {
                listing(
                    w,
                    Reply::wire(format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(1 << 20))),
                )
            },
            Doubt,
            "message head is too large",
        ),
        (
            "a hundred fields too many",
            |w| {
                let fields: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
                listing(
                    w,
                    Reply::wire(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n")),
                );
            },
            Doubt,
            "message head is too large",
        ),
        (
            "two lengths",
            |w| {
                listing(
                    w,
                    Reply::wire("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
                )
            },
            Doubt,
            "invalid content-length",
        ),
        (
            "a negative length",
            |w| listing(w, Reply::wire("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}")),
            Doubt,
            "invalid content-length",
        ),
        (
            "a length beyond all numbers",
            |w| {
                listing(
                    w,
                    Reply::wire("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}"),
                )
            },
            Doubt,
            "invalid content-length",
        ),
        (
            "a chunk beyond all numbers",
            |w| {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                listing(w, Reply::wire(format!("{head}ffffffffffffffffff\r\n{{}}")));
            },
            Doubt,
            "breaks off its answer",
        ),
        (
            "a chunk of 200 MiB",
            |w| {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc800000\r\n";
                let filling = " ".repeat(2 * 1024 * 1024);
                listing(w, Reply::wire(format!("{head}{filling}")));
            },
            Doubt,
            "than the 1048576 bytes expected",
        ),
        (
            "chunk extensions without end",
            |w| {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;";
                listing(w, Reply::wire(format!("{head}{}", "x".repeat(100_000))));
            },
            Doubt,
            "breaks off its answer",
        ),
        (
            "an encoding of the transfer that nobody asked for",
            |w| {
                short(
                    w,
                    Reply::wire("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx"),
                )
            },
            Timeout,
            "",
        ),
        (
            "an answer that is broken off",
            |w| {
                listing(
                    w,
                    Reply::body(Body::Broken(b"{\"schemaVersion\":2,\"manifests\":[]}".to_vec())),
                )
            },
            Doubt,
            "breaks off its answer",
        ),
        (
            "another protocol",
            |w| listing(w, Reply::wire("SSH-2.0-OpenSSH_9.9\r\n")),
            Doubt,
            "invalid HTTP version",
        ),
        (
            "a body without a head",
            |w| listing(w, Reply::wire("{\"schemaVersion\":2,\"manifests\":[]}\r\n\r\n")),
            Doubt,
            "invalid HTTP version",
        ),
        (
            "a version of HTTP to come",
            |w| listing(w, Reply::wire("HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n")),
            Doubt,
            "invalid HTTP version",
        ),
        (
            "another protocol from here on",
            |w| {
                listing(
                    w,
                    Reply::wire("HTTP/1.1 101 X\r\nUpgrade: evil\r\nConnection: upgrade\r\n\r\n"),
                )
            },
            Doubt,
            "answers 101 for the listing",
        ),
        (
            "no answer",
            |w| listing(w, Reply::body(Body::Gone)),
            Doubt,
            "connection closed before",
        ),
        (
            "a line break in a field",
            |w| {
                listing(
                    w,
                    Reply::wire("HTTP/1.1 200 OK\r\nX: a\n b\r\nContent-Length: 0\r\n\r\n"),
                )
            },
            Doubt,
            "invalid HTTP header",
        ),
        (
            "zero bytes in a field",
            |w| {
                listing(
                    w,
                    Reply::wire("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
                )
            },
            Doubt,
            "invalid HTTP header",
        ),
        (
            "packed with gzip",
            |w| packed(w, "gzip"),
            Doubt,
            "content encoding that was not asked for",
        ),
        (
            "packed with deflate",
            |w| packed(w, "deflate"),
            Doubt,
            "content encoding that was not asked for",
        ),
        (
            "packed with br",
            |w| packed(w, "br"),
            Doubt,
            "content encoding that was not asked for",
        ),
        (
            "packed with zstd",
            |w| packed(w, "zstd"),
            Doubt,
            "content encoding that was not asked for",
        ),
        (
            "packed twice",
            |w| packed(w, "identity, gzip"),
            Doubt,
            "content encoding that was not asked for",
        ),
        (
            "packed, and nobody says so",
            // gzip of nothing (RFC 1952).
            |w| {
                listing(
                    w,
                    Reply::ok(*b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0"),
                )
            },
            Doubt,
            "not UTF-8",
        ),
        (
            "image that says nothing",
            |w| {
                w.settings.call_timeout = Duration::from_millis(300);
                let path = World::path(&format!("manifests/{}", w.digest));
                *w.reply(&path) = Reply::body(Body::Silence);
            },
            Timeout,
            "",
        ),
        (
            "blob byte by byte",
            |w| {
                w.settings.call_timeout = Duration::from_millis(300);
                let path = w.blob.clone();
                let bytes = w.reply(&path).bytes().to_vec();
                *w.reply(&path) = Reply::body(Body::Drip(bytes));
            },
            Timeout,
            "",
        ),
        (
            "every call nearly too slow",
            |w| {
                // No call takes its own time, all together take more than a check may.
                w.settings.timeout = Duration::from_millis(600);
                let empty = b"{\"schemaVersion\":2,\"manifests\":[]}".to_vec();
                let slow = Reply::body(Body::Drip(empty)).with("Link", "<?page=1>; rel=\"next\"");
                listing(w, slow.clone());
                w.routes.insert(format!("{}?page=1", w.listing), slow);
            },
            Timeout,
            "",
        ),
    ]
}

/// What the listing is answered with.
fn listing(world: &mut World, reply: Reply) {
    let path = world.listing.clone();
    *world.reply(&path) = reply;
}

/// The same, and little time for a call.
fn short(world: &mut World, reply: Reply) {
    world.settings.call_timeout = Duration::from_millis(300);
    listing(world, reply);
}

fn packed(world: &mut World, encoding: &str) {
    let reply = world.reply(&world.listing.clone()).clone();
    listing(world, reply.with("Content-Encoding", encoding));
}
