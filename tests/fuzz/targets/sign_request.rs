//! Bodies of `POST /sign/dsse`: no panic; a canonical statement or a fit detail.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signer::http::dto::body::BodyError;
use signer::http::dto::sign_request::parse_sign_request;
use signer_actors::domain::canonical::canonicalize;
use signer_actors::domain::statement::{Statement, StatementDraft};

fuzz_target!(|body: &[u8]| {
    match statement(body) {
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
