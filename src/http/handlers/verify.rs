//! `GET /verify/referrers` (contract §2.3).

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use signer_actors::domain::caller::Scope;
use signer_actors::domain::code::Code;
use signer_actors::domain::digest::ImageDigest;
use signer_actors::pipeline::{Stage, verify_release};

use super::authenticate;
use crate::http::dto::verify_response::VerifyReferrersResponse;
use crate::http::problem::{Problem, insert_rate};
use crate::http::state::AppState;

/// Longest query, in bytes.
const MAX_QUERY: usize = 1024;

/// What is known of a scanner image.
pub async fn referrers(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (session, context) = authenticate(&state, &request, Scope::Verify).await?;
    let query = query(request.query_string())?;
    let (checked, rate) = verify_release(
        &state.services,
        &session,
        query.digest,
        query.repository.as_deref(),
        &context,
    )
    .await?;
    let mut response = HttpResponse::Ok();
    insert_rate(&mut response, &rate);
    Ok(response.json(VerifyReferrersResponse::new(&checked.report, checked.cached)))
}

#[derive(Debug, PartialEq, Eq)]
struct Query {
    digest: ImageDigest,
    repository: Option<String>,
}

/// `digest` once, `repository` at most once, nothing else.
fn query(text: &str) -> Result<Query, Problem> {
    let refuse = |what: &str| Problem::new(Code::InvalidRequest, Stage::Shape, what);
    if text.len() > MAX_QUERY {
        return Err(refuse("the query is longer than 1024 bytes"));
    }
    let (mut digest, mut repository) = (None, None);
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        let slot = match &*name {
            "digest" => &mut digest,
            "repository" => &mut repository,
            _ => {
                return Err(refuse(
                    "the query has an unknown parameter: use digest and repository",
                ));
            }
        };
        if slot.replace(value.into_owned()).is_some() {
            return Err(refuse("a query parameter occurs twice"));
        }
    }
    let digest = digest.ok_or_else(|| refuse("the query parameter digest is missing"))?;
    let digest = ImageDigest::parse(&digest).ok_or_else(|| {
        Problem::new(
            Code::InvalidDigest,
            Stage::Shape,
            "digest must be sha256: and 64 lowercase hexadecimal digits",
        )
    })?;
    Ok(Query { digest, repository })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_strict() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let good = query(&format!("digest={digest}&repository=r.example%2Fa")).expect("valid");
        assert_eq!(good.digest.to_string(), digest);
        assert_eq!(good.repository.as_deref(), Some("r.example/a"));
        assert!(query(&format!("digest={}", digest.replace(':', "%3A"))).is_ok());
        let code = |text: &str| query(text).map(drop).map_err(|problem| problem.code());
        for bad in [
            "",
            "repository=a",
            &format!("digest={digest}&digest={digest}"),
            &format!("digest={digest}&x=1"),
        ] {
            assert_eq!(code(bad), Err(Code::InvalidRequest), "{bad}");
        }
        for bad in ["digest=", "digest=sha256:ab", "digest=latest"] {
            assert_eq!(code(bad), Err(Code::InvalidDigest), "{bad}");
        }
    }
}
