//! `GET /audit/checkpoint` and `GET /audit/{auditId}` (contract §2.5).

use actix_web::http::header::ACCEPT;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use signer_actors::domain::caller::Scope;
use signer_actors::domain::code::Code;
use signer_actors::domain::ids::AuditId;
use signer_actors::pipeline::{Context, Failure, Refusal, Stage, audit_records, tree_head};
use signer_actors::runtime::Deadline;
use uuid::Uuid;

use super::authenticate;
use crate::http::around::correlation;
use crate::http::dto::audit_response::{AuditRecordsResponse, CheckpointResponse};
use crate::http::problem::{Problem, insert_rate};
use crate::http::state::AppState;

/// Longest query, in bytes.
const MAX_QUERY: usize = 256;

/// The newest signed tree head, for anyone: JSON, or the signed note alone for who accepts `text/plain`.
pub async fn checkpoint(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let from = from(request.query_string())?;
    let context = Context {
        correlation: correlation(&request),
        deadline: Deadline::after(state.limits.request_timeout),
    };
    let head = tree_head(&state.services, from, &context).await?;
    let mut response = HttpResponse::Ok();
    if from.is_none() && accepts_text(&request) {
        // C2SP tlog-tiles: the content type of a checkpoint.
        response.content_type("text/plain; charset=utf-8");
        return Ok(response.body(head.note.to_string()));
    }
    Ok(response.json(CheckpointResponse::new(&head, from)))
}

/// The records of one audit id, each with the proof that it is in the trail; for its own tenant.
pub async fn record(
    state: Data<AppState>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    let (session, context) = authenticate(&state, &request, Scope::Audit).await?;
    if !request.query_string().is_empty() {
        let what = "the query has an unknown parameter: this question takes none";
        return Err(Problem::new(Code::InvalidRequest, Stage::Shape, what));
    }
    let no_such_record = || Problem::from(Failure::new(Stage::Shape, Refusal::NoSuchRecord));
    let id = audit_id(&id).ok_or_else(no_such_record)?;
    let (shown, rate) = audit_records(&state.services, &session, id, &context).await?;
    let mut response = HttpResponse::Ok();
    insert_rate(&mut response, &rate);
    Ok(response.json(AuditRecordsResponse::new(
        id,
        &state.services.audit_origin,
        &shown,
    )))
}

/// As responses spell it: hyphenated, lowercase.
fn audit_id(text: &str) -> Option<AuditId> {
    let id = Uuid::try_parse(text).ok()?;
    (id.to_string() == text).then_some(AuditId(id))
}

/// `from` at most once, a decimal number without leading zeros, nothing else.
fn from(query: &str) -> Result<Option<u64>, Problem> {
    let refuse = |what: &str| Problem::new(Code::InvalidRequest, Stage::Shape, what);
    if query.is_empty() {
        return Ok(None);
    }
    if query.len() > MAX_QUERY {
        return Err(refuse("the query is longer than 256 bytes"));
    }
    let Some(number) = query.strip_prefix("from=") else {
        return Err(refuse("the query has an unknown parameter: use from, once"));
    };
    let parsed = number.parse::<u64>().ok();
    match parsed.filter(|parsed| parsed.to_string() == number) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(refuse("from must be a number of records, in decimal")),
    }
}

fn accepts_text(request: &HttpRequest) -> bool {
    let fields = request.headers().get_all(ACCEPT);
    let mut kinds = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    kinds.any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/plain")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_strict() {
        assert_eq!(from("").ok(), Some(None));
        assert_eq!(from("from=0").ok(), Some(Some(0)));
        assert_eq!(from("from=18446744073709551615").ok(), Some(Some(u64::MAX)));
        for bad in [
            "from",
            "from=",
            "from=01",
            "from=-1",
            "from=+1",
            "from=1&from=2",
            "from=1&x=2",
            "x=1",
            "from=18446744073709551616",
            &format!("from={}", "1".repeat(300)),
        ] {
            assert_eq!(
                from(bad).map_err(|problem| problem.code()),
                Err(Code::InvalidRequest),
                "{bad}"
            );
        }
    }

    #[test]
    fn audit_ids_are_read_as_they_are_written() {
        let id = "01a20390-1f6a-7132-b4b8-87c2661c5cd7";
        assert_eq!(audit_id(id).map(|id| id.to_string()).as_deref(), Some(id));
        for bad in [
            "",
            "x",
            &id.to_uppercase(),
            &id.replace('-', ""),
            &format!("{{{id}}}"),
            &format!("{id}0"),
        ] {
            assert_eq!(audit_id(bad), None, "{bad}");
        }
    }
}
