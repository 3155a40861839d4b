//! What may be wrong with challenges, realms and tokens.

use std::time::Duration;

use zeroize::Zeroizing;

use super::super::super::Credentials;
use super::super::Expect::{Doubt, Timeout};
use super::super::fake::{Body, Reply};
use super::super::{NAME, World};
use super::Row;

pub(super) fn rows() -> Vec<Row> {
    vec![
        (
            "foreign realm",
            |w| realm(w, "https://evil.example/token"),
            Doubt,
            "list it in extra_hosts",
        ),
        (
            "realm at an internal address",
            |w| realm(w, "http://169.254.169.254/token"),
            Doubt,
            "list it in extra_hosts",
        ),
        (
            "realm at another port",
            |w| realm(w, &format!("http://127.0.0.1:{}/token", w.trap.port)),
            Doubt,
            "list it in extra_hosts",
        ),
        (
            "realm at a trusted name that resolves to loopback",
            |w| {
                w.settings.trusted_hosts = vec![format!("localhost:{}", w.trap.port)];
                realm(w, &format!("https://localhost:{}/token", w.trap.port));
            },
            Doubt,
            "has no public address",
        ),
        (
            "realm with credentials",
            |w| realm(w, &format!("http://user:secret@{}/token", w.host)),
            Doubt,
            "carries credentials",
        ),
        (
            "realm without a host",
            |w| realm(w, "/token"),
            Doubt,
            "challenge is malformed",
        ),
        (
            "realm that is a file",
            |w| realm(w, "file:///etc/passwd"),
            Doubt,
            "a url without a host",
        ),
        (
            "realm that asks for another scope",
            |w| {
                let host = w.host.clone();
                realm(
                    w,
                    &format!("http://{host}/token?scope=repository:other:push,pull"),
                );
            },
            Doubt,
            "challenge is malformed",
        ),
        (
            "realm in two versions",
            |w| {
                let host = w.host.clone();
                challenge(
                    w,
                    &format!("Bearer realm=\"http://{host}/token\",realm=\"http://{host}/other\""),
                );
            },
            Doubt,
            "challenge is malformed",
        ),
        (
            "realm of no value",
            |w| challenge(w, "Bearer"),
            Doubt,
            "challenge is malformed",
        ),
        (
            "challenges without end",
            |w| challenge(w, &["Digest realm=\"r\""; 100].join(", ")),
            Doubt,
            "challenge is malformed",
        ),
        (
            "unknown scheme",
            |w| challenge(w, "Negotiate"),
            Doubt,
            "neither Bearer nor Basic",
        ),
        (
            "challenge that cannot be read",
            |w| challenge(w, "Bearer realm=\"x"),
            Doubt,
            "challenge is malformed",
        ),
        (
            "no challenge",
            |w| {
                let path = World::path(&format!("manifests/{}", w.digest));
                w.routes.insert(path, Reply::status(401));
            },
            Doubt,
            "neither Bearer nor Basic",
        ),
        (
            "Basic, and no credentials",
            |w| challenge(w, "Basic realm=\"r\""),
            Doubt,
            "none are configured for it",
        ),
        (
            "Basic, and credentials for another registry",
            |w| {
                credentials(w, "127.0.0.1", None);
                challenge(w, "Basic realm=\"r\"");
            },
            Doubt,
            "none are configured for it",
        ),
        (
            "Basic, and credentials for another repository",
            |w| {
                credentials(w, &w.host.clone(), Some("stellaops/other"));
                challenge(w, "Basic realm=\"r\"");
            },
            Doubt,
            "none are configured for it",
        ),
        (
            "Basic credentials not accepted",
            |w| {
                credentials(w, &w.host.clone(), None);
                challenge(w, "Basic realm=\"r\"");
                let path = World::path(&format!("manifests/{}", w.digest));
                let again = Reply::status(401).with("WWW-Authenticate", "Basic realm=\"r\"");
                w.routes.insert(format!("auth {path}"), again);
            },
            Doubt,
            "answers 401 for the manifest",
        ),
        (
            "realm refuses",
            |w| local(w, Reply::status(403)),
            Doubt,
            "answers 403 for a token",
        ),
        (
            "realm challenges",
            |w| local(w, Reply::status(401).with("WWW-Authenticate", "Basic")),
            Doubt,
            "answers 401 for a token",
        ),
        (
            "realm redirects",
            |w| local(w, Reply::status(307).with("Location", "/elsewhere")),
            Doubt,
            "answers 307 for a token",
        ),
        (
            "realm throttles",
            |w| local(w, Reply::status(429)),
            Doubt,
            "answers 429 for a token",
        ),
        (
            "realm without token",
            |w| local(w, Reply::ok("{}")),
            Doubt,
            "holds no token",
        ),
        (
            "realm without JSON",
            |w| local(w, Reply::ok("token")),
            Doubt,
            "token realm's answer is malformed",
        ),
        (
            "realm without end",
            |w| local(w, Reply::body(Body::Endless)),
            Doubt,
            "than the 65536 bytes expected",
        ),
        (
            "realm says nothing",
            |w| {
                w.settings.call_timeout = Duration::from_millis(300);
                local(w, Reply::body(Body::Silence));
            },
            Timeout,
            "",
        ),
        (
            "realm with a packed answer",
            |w| local(w, Reply::ok(r#"{"token":"t"}"#).with("Content-Encoding", "gzip")),
            Doubt,
            "content encoding that was not asked for",
        ),
        (
            "token of two words",
            |w| local(w, Reply::ok(r#"{"token":"t, Basic eDp5"}"#)),
            Doubt,
            "holds no usable token",
        ),
        (
            "token with a line break",
            |w| local(w, Reply::ok(r#"{"token":"t\r\nX-Evil: 1"}"#)),
            Doubt,
            "holds no usable token",
        ),
        (
            "token of twenty thousand bytes",
            |w| local(w, Reply::ok(format!(r#"{{"token":"{}"}}"#, "a".repeat(20_000)))),
            Doubt,
            "holds no usable token",
        ),
        (
            "token twice",
            |w| local(w, Reply::ok(r#"{"token":"a","token":"b"}"#)),
            Doubt,
            "token realm's answer is malformed",
        ),
        (
            "token not accepted",
            |w| {
                local(w, Reply::ok(r#"{"token":"t"}"#));
                let path = World::path(&format!("manifests/{}", w.digest));
                w.routes.insert(format!("auth {path}"), Reply::status(401));
            },
            Doubt,
            "answers 401 for the manifest",
        ),
        (
            "token accepted for the image alone",
            |w| {
                local(w, Reply::ok(r#"{"token":"t"}"#));
                *w.reply(&w.listing.clone()) = Reply::status(401);
            },
            Doubt,
            "answers 401 for the listing",
        ),
    ]
}

fn credentials(world: &mut World, host: &str, name: Option<&str>) {
    world.settings.credentials = vec![Credentials {
        host: host.to_owned(),
        name: name.map(str::to_owned),
        username: "robot".into(),
        password: Zeroizing::new("secret".into()),
    }];
}

/// A realm and a token that are in order.
pub(super) fn honest(world: &mut World) {
    local(world, Reply::ok(r#"{"token":"t"}"#));
}

/// The image is there for those who answer this challenge.
fn challenge(world: &mut World, value: &str) {
    let path = World::path(&format!("manifests/{}", world.digest));
    let good = world.routes[&path].clone();
    world.routes.insert(format!("auth {path}"), good);
    world
        .routes
        .insert(path, Reply::status(401).with("WWW-Authenticate", value));
}

fn realm(world: &mut World, realm: &str) {
    challenge(world, &format!("Bearer realm=\"{realm}\",service=\"fake\""));
}

/// A realm of the registry's own, with this answer.
fn local(world: &mut World, reply: Reply) {
    let url = format!("http://{}/token", world.host);
    realm(world, &url);
    let scope = format!("repository%3A{}%3Apull", NAME.replace('/', "%2F"));
    world
        .routes
        .insert(format!("/token?service=fake&scope={scope}"), reply);
}
