//! Tokens bound to client certificates (RFC 8705 §3): the certificate of this very connection, from an authority that is
//! trusted, now.

mod people;
pub(super) mod proxy;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::sha::sha256;
use reqwest::{Certificate, Client, Identity};
use serde_json::{Value, json};

use self::people::{PEOPLE, Pair, People};
use super::case::{Case, Expected, POE, PROOF, call, judge};
use super::keys::THIEF;
use super::{caught, failures, report};
use crate::support::{Call, TestApp, World, b64, thumbprint};

/// A case, and who shows a certificate.
struct Shown {
    case: Case,
    by: Option<fn(&People) -> &Pair>,
}

fn shown(case: Case, by: fn(&People) -> &Pair) -> Shown {
    Shown { case, by: Some(by) }
}

fn hidden(case: Case) -> Shown {
    Shown { case, by: None }
}

fn caller(people: &People) -> &Pair {
    &people.caller
}

fn other(people: &People) -> &Pair {
    &people.other
}

/// With a token of this confirmation alone, sent as a bearer token.
fn bearer<'a>(call: Call<'a>, confirmation: Value) -> Call<'a> {
    call.token(|token| token.claims["cnf"] = confirmation)
        .scheme("Bearer")
        .proofs(&[])
}

fn certificate() -> Value {
    json!({ "x5t#S256": PEOPLE.caller.thumbprint() })
}

/// Of a token bound to the caller's certificate alone.
fn alone(name: &str) -> Case {
    call(name, |call| bearer(call, certificate()))
}

/// Of a token bound to certificate and proof key.
fn both(name: &str, edit: fn(Call<'_>) -> Call<'_>) -> Case {
    call(name, move |call| {
        edit(call.token(|token| {
            token.claims["cnf"]["x5t#S256"] = json!(PEOPLE.caller.thumbprint());
        }))
    })
}

fn cases() -> Vec<Shown> {
    let mut cases = certificates();
    cases.extend(bindings());
    cases.extend(confirmations());
    cases.extend(fields());
    cases
}

fn certificates() -> Vec<Shown> {
    vec![
        shown(alone("the certificate of the token").accepted(), caller),
        hidden(alone("no certificate for a token that is bound to one")),
        shown(alone("another certificate of the same authority"), other),
        shown(alone("the server's own certificate"), |people| &people.server),
        shown(alone("a certificate that has expired").unread(), |people| {
            &people.expired
        }),
        shown(alone("a certificate of tomorrow").unread(), |people| {
            &people.early
        }),
        shown(
            alone("a certificate of the same name by a strange authority").unread(),
            |people| &people.stranger,
        ),
        shown(
            alone("a certificate of the same name by its own key").unread(),
            |people| &people.self_made,
        ),
    ]
}

/// RFC 9449 §7.2 and contract §3: all that a token carries must hold.
fn bindings() -> Vec<Shown> {
    vec![
        shown(both("both bindings kept", |call| call).accepted(), caller),
        hidden(both("both bindings, no certificate", |call| call)),
        shown(both("both bindings, another certificate", |call| call), other),
        shown(
            both("both bindings, no proof", |call| call.proofs(&[])).expect(PROOF),
            caller,
        ),
        shown(
            both("both bindings, sent as bearer", |call| call.scheme("Bearer")),
            caller,
        ),
        shown(
            both("both bindings, sent as bearer without proof", |call| {
                call.scheme("Bearer").proofs(&[])
            }),
            caller,
        ),
        shown(
            both("both bindings, a thief's proof", |call| {
                call.proof(|proof| {
                    proof.header["jwk"] = crate::support::jwk(&THIEF);
                    proof.by(&THIEF);
                })
            }),
            caller,
        ),
        hidden(call("DPoP alone over TLS", |call| call).accepted()),
        shown(
            call("DPoP alone with a certificate beside", |call| call).accepted(),
            other,
        ),
        shown(
            call("DPoP alone, sent as bearer with a certificate", |call| {
                call.scheme("Bearer").proofs(&[])
            }),
            caller,
        ),
        shown(
            call("a token of a certificate, sent with a proof", |call| {
                call.token(|token| token.claims["cnf"] = certificate())
            }),
            caller,
        ),
        shown(
            call(
                "a token of a certificate, as bearer with a proof beside",
                |call| {
                    call.token(|token| token.claims["cnf"] = certificate())
                        .scheme("bearer")
                },
            )
            .accepted(),
            caller,
        ),
    ]
}

fn confirmations() -> Vec<Shown> {
    let bound = |name: &str, make: fn(&Pair) -> Value| {
        let confirmed = call(name, move |call| {
            bearer(call, json!({ "x5t#S256": make(&PEOPLE.caller) }))
        });
        shown(confirmed, caller)
    };
    let poe = |name: &str, make: fn(&People) -> Value| {
        call(name, move |call| {
            let confirmation = make(&PEOPLE);
            bearer(call, certificate()).poe(|poe| poe.claims["cnf"] = confirmation)
        })
    };
    vec![
        bound("the certificate's hash in hexadecimal", |pair| {
            json!(hex::encode(sha256(&pair.der())))
        }),
        bound("the certificate's hash padded", |pair| {
            json!(format!("{}=", pair.thumbprint()))
        }),
        bound("the certificate's hash with bits left over", |pair| {
            json!(super::token::other_spelling(&pair.thumbprint()))
        }),
        bound("the certificate's hash by SHA-1", |pair| {
            json!(b64(openssl::sha::sha1(&pair.der())))
        }),
        bound("the certificate's hash over its PEM", |pair| {
            json!(b64(sha256(&pair.pem())))
        }),
        bound("the hash of the certificate's key", |pair| {
            json!(b64(sha256(&pair.key.public_key_to_der().unwrap())))
        }),
        bound("the thumbprint of the certificate's key", |pair| {
            json!(thumbprint(&pair.key))
        }),
        bound("a null hash", |_| Value::Null),
        shown(
            call("the certificate's old hash", |call| {
                let old = b64(openssl::sha::sha1(&PEOPLE.caller.der()));
                bearer(call, json!({ "x5t": old }))
            }),
            caller,
        ),
        shown(
            call("a token bound to nothing, with a certificate", |call| {
                bearer(call, json!({}))
            }),
            caller,
        ),
        shown(
            poe("a PoE of the same certificate", |_| certificate()).accepted(),
            caller,
        ),
        shown(
            poe(
                "a PoE of another certificate",
                |people| json!({ "x5t#S256": people.other.thumbprint() }),
            )
            .expect(POE),
            caller,
        ),
        shown(
            poe(
                "a PoE of a proof key, sent by certificate",
                |people| json!({ "jkt": thumbprint(&people.caller.key) }),
            )
            .expect(POE),
            caller,
        ),
    ]
}

/// Certificates in fields, which nobody is believed (RFC 9440 §2.1 is for configured proxies).
fn fields() -> Vec<Shown> {
    let forged = |name: &str, field: &'static str, value: fn(&Pair) -> String| {
        call(name, move |call| {
            bearer(call, certificate()).field(field, value(&PEOPLE.caller))
        })
    };
    let quoted = |pair: &Pair| {
        let pem = String::from_utf8(pair.pem()).unwrap();
        pem.replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B")
    };
    let binary = |pair: &Pair| format!(":{}:", STANDARD.encode(pair.der()));
    vec![
        hidden(forged("Client-Cert forged", "client-cert", binary)),
        shown(
            forged("Client-Cert forged beside another", "client-cert", binary),
            other,
        ),
        hidden(forged("X-SSL-Client-Cert forged", "x-ssl-client-cert", quoted)),
        hidden(forged("X-Client-Cert forged", "x-client-cert", quoted)),
        hidden(forged("SSL-Client-Cert forged", "ssl-client-cert", quoted)),
        hidden(forged(
            "X-Forwarded-Client-Cert forged",
            "x-forwarded-client-cert",
            |pair| {
                let hash = hex::encode(sha256(&pair.der()));
                format!("Hash={hash};Subject=\"CN=caller\"")
            },
        )),
        hidden(forged(
            "X-SSL-Client-Verify forged",
            "x-ssl-client-verify",
            |_| "SUCCESS".to_owned(),
        )),
        hidden(forged(
            "X-SSL-Client-Fingerprint forged",
            "x-ssl-client-sha256",
            |pair| hex::encode(sha256(&pair.der())),
        )),
    ]
}

pub(crate) fn names() -> Vec<String> {
    cases().into_iter().map(|shown| shown.case.name).collect()
}

async fn start() -> TestApp {
    let changes = "[server.tls]\ncertificate = \"server.crt\"\nkey = \"file:server.key\"\n\
                   client_ca = \"clients.crt\"\nclient_auth = \"optional\"";
    let world = World::new(changes).await;
    world.write("server.crt", PEOPLE.server.pem());
    world.write("server.key", PEOPLE.server.key_pem());
    world.write("clients.crt", PEOPLE.authority.pem());
    TestApp::within(world).await
}

/// A client that shows this certificate on connections of its own.
fn client(by: Option<&Pair>) -> Client {
    let root = Certificate::from_pem(&PEOPLE.authority.pem()).unwrap();
    let client = Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .pool_max_idle_per_host(0);
    let client = match by {
        None => client,
        Some(pair) => client.identity(Identity::from_pkcs8_pem(&pair.pem(), &pair.key_pem()).unwrap()),
    };
    client.build().unwrap()
}

async fn check(app: &TestApp, shown: &Shown) {
    let client = client(shown.by.map(|by| by(&PEOPLE)));
    let call = shown.case.changed(app.sign());
    match call.try_send_by(&client, app.base()).await {
        Ok(answer) => judge(shown.case.expected, &answer),
        Err(error) => assert_eq!(shown.case.expected, Expected::Unread, "{error}"),
    }
}

#[actix::test]
async fn certificates_of_callers() {
    let app = start().await;
    let mut checked = Vec::new();
    let cases = cases();
    let count = cases.len();
    for shown in cases {
        let done = caught(check(&app, &shown)).await;
        checked.push((shown.case.name, done));
    }
    report("mtls", count, &failures("mtls", checked));
}
