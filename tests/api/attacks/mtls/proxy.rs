//! Certificates that a proxy names (RFC 9440), and those that others would like to have named.
//!
//! The proxy connects from 127.0.0.2, everyone else from 127.0.0.1: the whole of 127.0.0.0/8 is this machine.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::json;

use super::super::case::{Case, Expected, call};
use super::super::{run, start};
use super::people::{PEOPLE, Pair};
use super::{bearer, certificate};
use crate::support::Call;

const PROXY: [u8; 4] = [127, 0, 0, 2];
const MALFORMED: Expected = Expected::Refused(400, "invalid_request", "http");

#[actix::test]
async fn certificates_that_proxies_name() {
    let app = start("server.trusted_proxies = [\"127.0.0.2\", \"192.0.2.0/24\"]").await;
    run("proxy", &app, cases()).await;
}

/// As RFC 9440 §2.1 says.
fn field(pair: &Pair) -> String {
    format!(":{}:", STANDARD.encode(pair.der()))
}

/// A token of the caller's certificate, with this field.
fn named(name: &str, value: fn(&Pair) -> String) -> Case {
    call(name, move |call| {
        bearer(call, certificate()).field("client-cert", value(&PEOPLE.caller))
    })
}

/// A token of the caller's certificate.
fn bound(name: &str, edit: fn(Call<'_>) -> Call<'_>) -> Case {
    call(name, move |call| edit(bearer(call, certificate())))
}

pub(in crate::attacks) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = by_the_proxy();
    cases.extend(malformed());
    let cases = cases.into_iter().map(|case| case.from(PROXY));
    cases.chain(by_others()).collect()
}

fn by_the_proxy() -> Vec<Case> {
    vec![
        named("the proxy names the certificate", field).accepted(),
        named("the proxy names it with spaces around", |pair| {
            format!(" {} ", field(pair))
        })
        .accepted(),
        named("the proxy names another certificate", |_| field(&PEOPLE.other)),
        bound("the proxy names none", |call| call),
        bound("the proxy names it in the chain alone", |call| {
            call.field("client-cert-chain", field(&PEOPLE.caller))
        }),
        bound("the proxy names it as X-Client-Cert", |call| {
            call.field("x-client-cert", field(&PEOPLE.caller))
        }),
        bound("the proxy names it as X-Forwarded-Client-Cert", |call| {
            call.field("x-forwarded-client-cert", field(&PEOPLE.caller))
        }),
        named("the proxy names it, sent by the scheme DPoP", field).but(|call| call.scheme("DPoP")),
        call("the proxy names it beside a proof", |call| {
            call.token(|token| token.claims["cnf"]["x5t#S256"] = json!(PEOPLE.caller.thumbprint()))
                .field("client-cert", field(&PEOPLE.caller))
        })
        .accepted(),
        call("the proxy names another beside a proof", |call| {
            call.token(|token| token.claims["cnf"]["x5t#S256"] = json!(PEOPLE.caller.thumbprint()))
                .field("client-cert", field(&PEOPLE.other))
        }),
        call("the proxy names it, and the token is of a proof key", |call| {
            call.field("client-cert", field(&PEOPLE.caller))
                .scheme("Bearer")
                .proofs(&[])
        }),
    ]
}

/// What a proxy in order never sends.
fn malformed() -> Vec<Case> {
    vec![
        named("the proxy names nothing", |_| String::new()),
        named("the proxy names an empty certificate", |_| "::".to_owned()),
        named("the proxy names it without colons", |pair| {
            STANDARD.encode(pair.der())
        }),
        named("the proxy names it in PEM", |pair| {
            String::from_utf8(pair.pem()).unwrap().replace('\n', " ")
        }),
        named("the proxy names it with the wrong padding", |pair| {
            // A certificate whose length needs none gets some.
            let encoded = STANDARD.encode(pair.der());
            let bare = encoded.trim_end_matches('=');
            let padding = if bare == encoded { "=" } else { "" };
            format!(":{bare}{padding}:")
        }),
        named("the proxy names it in another alphabet", |pair| {
            format!(":{}-_:", URL_SAFE.encode(pair.der()))
        }),
        named("the proxy names it with a parameter", |pair| {
            format!("{};verified=?0", field(pair))
        }),
        named("the proxy names two in one field", |pair| {
            format!("{}, {}", field(pair), field(&PEOPLE.other))
        }),
        named("the proxy names it with a byte behind", |pair| {
            format!(":{}:", STANDARD.encode([&pair.der()[..], &[0]].concat()))
        }),
        named("the proxy names it with another behind", |pair| {
            format!(":{}:", STANDARD.encode([pair.der(), PEOPLE.other.der()].concat()))
        }),
        named("the proxy names half of it", |pair| {
            format!(":{}:", STANDARD.encode(&pair.der()[..100]))
        }),
        named("the proxy names its key", |pair| {
            format!(":{}:", STANDARD.encode(pair.key.public_key_to_der().unwrap()))
        }),
        named("the proxy names its hash", |pair| {
            format!(":{}:", pair.thumbprint())
        }),
        bound("the proxy names it twice", |call| {
            call.field("client-cert", field(&PEOPLE.caller))
                .field("client-cert", field(&PEOPLE.caller))
        }),
        bound("the client's own field is left, the thief's first", |call| {
            call.field("client-cert", field(&PEOPLE.caller))
                .field("client-cert", field(&PEOPLE.other))
        }),
        bound("the client's own field is left, the thief's last", |call| {
            call.field("client-cert", field(&PEOPLE.other))
                .field("client-cert", field(&PEOPLE.caller))
        }),
    ]
    .into_iter()
    .map(|case| case.expect(MALFORMED))
    .collect()
}

/// Not from the proxy's address, whatever they say (RFC 7239 §8.1).
fn by_others() -> Vec<Case> {
    let forwarded = |name: &str, field_name: &'static str, value: &'static str| {
        named(name, field).but(move |call| call.field(field_name, value))
    };
    vec![
        named("somebody else names the certificate", field),
        named("somebody else at a neighbour's address names it", field).from([127, 0, 0, 3]),
        forwarded(
            "somebody says to be forwarded for the proxy",
            "x-forwarded-for",
            "127.0.0.2",
        ),
        forwarded(
            "somebody says to be forwarded by it",
            "forwarded",
            "for=127.0.0.2;by=127.0.0.2",
        ),
        forwarded(
            "somebody says that it is its real address",
            "x-real-ip",
            "127.0.0.2",
        ),
        forwarded("somebody says to be its client", "true-client-ip", "127.0.0.2"),
        call("nonsense for a certificate by somebody else", |call| {
            call.field("client-cert", "nonsense")
        })
        .accepted(),
    ]
}
