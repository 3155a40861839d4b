//! Bodies of `POST /sign/dsse`: no panic; a canonical statement or a fit detail.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signer::http::dto::body::BodyError;
use signer::http::dto::sign_request::parse_sign_request;
use signer_actors::domain::canonical::canonicalize;
use signer_actors::domain::statement::{Statement, StatementDraft};

fuzz_target!(|body: &[u8]| {
    let result = statement(body);
    // The same in other words, which is read in another way when the name is that of the root's member.
    let respelt = String::from_utf8_lossy(body).replacen("\"predicate\"", "\"predicat\\u0065\"", 1);
    if std::str::from_utf8(body).is_ok() {
        match (&result, statement(respelt.as_bytes())) {
            (Ok(one), Ok(other)) => assert_eq!(one.payload, other.payload, "it matters how a name is spelt"),
            (Err(one), Err(other)) => assert_eq!(one.kind, other.kind, "it matters how a name is spelt"),
            (one, other) => panic!("it matters how a name is spelt: {one:?}, {other:?}"),
        }
    }
    match result {
        Ok(statement) => {
            let text = std::str::from_utf8(&statement.payload).expect("UTF-8");
            let mut again = Vec::new();
            canonicalize(text, 0, &mut again).expect("canonical JSON");
            assert_eq!(again, statement.payload, "the payload is not canonical");
        }
        Err(error) => {
            assert!(error.detail.len() < 400, "{}", error.detail);
            assert!(!error.detail.chars().any(char::is_control), "{}", error.detail);
        }
    }
});

fn statement(body: &[u8]) -> Result<Statement, BodyError> {
    let body = parse_sign_request(body)?;
    let draft = StatementDraft::new(body.subjects, body.predicate_type, body.predicate)?;
    Ok(draft.finish(None))
}
