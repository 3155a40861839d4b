//! The answer of another: a key that is known or guessed gets nobody an answer that is not his own.

use serde_json::json;

use super::{Change, caught, failures, report};
use crate::support::{Answer, Call, TestApp};

/// What must come of a request whose key was used before.
#[derive(Clone, Copy)]
enum Then {
    /// The first answer.
    Same,
    /// An answer of its own.
    Own,
    /// 409
    Conflict,
    /// 400
    Malformed,
}

struct Row {
    name: &'static str,
    change: Change,
    then: Then,
}

fn row(name: &'static str, then: Then, change: impl for<'a> Fn(Call<'a>) -> Call<'a> + 'static) -> Row {
    Row {
        name,
        change: std::rc::Rc::new(change),
        then,
    }
}

fn rows() -> Vec<Row> {
    let mut all = vec![
        row("the same request", Then::Same, |call| call),
        row("with its default written out", Then::Same, |call| {
            call.option("expirySeconds", 60)
        }),
        row("with another proof of entitlement", Then::Same, |call| {
            call.poe(|poe| poe.claim("jti", "another"))
        }),
        row("of another tenant", Then::Own, |call| {
            call.tenant("globex", [100, 100, 10, 100_000])
        }),
        row("of another installation", Then::Own, |call| {
            call.token(|token| token.claim("inst", "acme-2"))
                .poe(|poe| poe.claim("inst", "acme-2"))
        }),
        row("of another client", Then::Own, |call| {
            call.token(|token| token.claim("client_id", "another"))
        }),
        row("of another subject", Then::Own, |call| {
            call.token(|token| token.claim("sub", "another"))
        }),
        row("of a subject and client that read the same", Then::Own, |call| {
            call.token(|token| {
                let whole = format!("{}{}", token.claims["client_id"], token.claims["sub"]).replace('"', "");
                token.claim("client_id", &whole[..whole.len() - 1]);
                token.claim("sub", &whole[whole.len() - 1..]);
            })
        }),
        row("with another predicate", Then::Conflict, |call| {
            call.json(|body| body["predicate"] = json!({ "finding": "other" }))
        }),
        row("with one member more", Then::Conflict, |call| {
            call.json(|body| body["predicate"]["more"] = json!(null))
        }),
        row("with another predicate type", Then::Conflict, |call| {
            call.json(|body| body["predicateType"] = json!("https://stella.ops/report/v2"))
        }),
        row("about another subject", Then::Conflict, |call| {
            call.json(|body| body["subject"][0]["digest"]["sha256"] = json!("cd".repeat(32)))
        }),
        row("about one subject more", Then::Conflict, |call| {
            call.json(|body| {
                let more = json!({ "name": "more", "digest": { "sha256": "cd".repeat(32) } });
                body["subject"].as_array_mut().unwrap().push(more);
            })
        }),
        row("with an annotation", Then::Conflict, |call| {
            call.json(|body| body["subject"][0]["annotations"] = json!({ "a": 1 }))
        }),
        row("in another mode", Then::Conflict, |call| {
            call.option("signingMode", "keyless")
        }),
        row("with a named key", Then::Conflict, |call| {
            call.option("keyId", crate::support::KEY)
        }),
        row("with another bundle", Then::Conflict, |call| {
            call.option("returnBundle", "sigstore")
        }),
        row("with another life", Then::Conflict, |call| {
            call.option("expirySeconds", 61)
        }),
        row("with a timestamp declined", Then::Conflict, |call| {
            call.option("timestamp", false)
        }),
    ];
    for (name, key) in [
        ("an empty key", ""),
        ("a key with a space", "a b"),
        ("a key with a tab", "a\tb"),
        ("a key beyond ASCII", "k\u{e9}y"),
    ] {
        all.push(row(name, Then::Malformed, move |call| {
            call.field("idempotency-key", key)
        }));
    }
    all.push(row("a key of 256 characters", Then::Malformed, |call| {
        call.field("idempotency-key", "k".repeat(256))
    }));
    all.push(row("the key twice", Then::Malformed, |call| {
        call.field("idempotency-key", "twice")
            .field("idempotency-key", "twice")
    }));
    all
}

pub(crate) fn names() -> Vec<String> {
    let of_rows = rows().into_iter().map(|row| row.name.to_owned());
    of_rows.chain(["many at once".to_owned()]).collect()
}

pub(crate) async fn run(app: &TestApp) {
    let mut checked = Vec::new();
    for (number, row) in rows().into_iter().enumerate() {
        let key = format!("row-{number}");
        let done = caught(check(app, &row, &key)).await;
        checked.push((row.name.to_owned(), done));
    }
    checked.push(("many at once".to_owned(), caught(at_once(app)).await));
    let count = checked.len();
    report("idempotency", count, &failures("idempotency", checked));
}

async fn check(app: &TestApp, row: &Row, key: &str) {
    if matches!(row.then, Then::Malformed) {
        let answer = (row.change)(app.sign()).send().await;
        answer.refused(400, "invalid_request", "shape");
        return;
    }
    let first = app.sign().field("idempotency-key", key).send().await;
    let id = |answer: &Answer| answer.ok()["auditId"].clone();
    let answer = (row.change)(app.sign().field("idempotency-key", key))
        .send()
        .await;
    match row.then {
        Then::Same => assert_eq!(answer.body, first.body),
        Then::Own => assert_ne!(id(&answer), id(&first)),
        Then::Conflict | Then::Malformed => {
            answer.refused(409, "idempotency_conflict", "idempotency");
        }
    }
    let again = app.sign().field("idempotency-key", key).send().await;
    assert_eq!(again.body, first.body, "the first answer is as it was");
}

async fn at_once(app: &TestApp) {
    let call = |_| {
        app.sign()
            .field("idempotency-key", "at-once")
            .option("signingMode", "keyless")
            .send()
    };
    let all = futures_util::future::join_all((0..24).map(call)).await;
    let mut answers = all.iter().filter(|answer| answer.status == 200);
    let first = answers.next().expect("one is signed");
    assert!(
        answers.all(|answer| answer.body == first.body),
        "one answer, however often"
    );
}
