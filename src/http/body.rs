//! Reads a body: bounded in bytes and time, after the headers said it may be read.

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use signer_actors::domain::code::Code;
use signer_actors::pipeline::Stage;

use super::budget::{HeldBytes, UsedUp};
use super::connection::Connection;
use super::problem::Problem;
use super::state::Limits;

/// What the headers say of the body, before anyone is authenticated and before a byte is read.
pub fn check_headers(request: &HttpRequest, limits: &Limits) -> Result<(), Problem> {
    let media_type = single(request, &CONTENT_TYPE);
    if !media_type.is_some_and(is_json) {
        let what = "the body must be application/json: set Content-Type";
        return Err(Problem::new(Code::UnsupportedMediaType, Stage::Http, what));
    }
    if request.headers().contains_key(CONTENT_ENCODING) {
        let what = "compressed bodies are not accepted: leave Content-Encoding out";
        return Err(Problem::new(Code::UnsupportedMediaType, Stage::Http, what));
    }
    match single(request, &CONTENT_LENGTH).map(str::parse::<u64>) {
        Some(Ok(length)) if length > limits.max_body_bytes as u64 => Err(too_large(limits)),
        _ => Ok(()),
    }
}

fn single<'a>(request: &'a HttpRequest, name: &actix_web::http::header::HeaderName) -> Option<&'a str> {
    let mut fields = request.headers().get_all(name);
    let first = fields.next()?.to_str().ok()?;
    fields.next().is_none().then_some(first)
}

/// `application/json`, with at most a `charset` of UTF-8 (RFC 8259 §11).
fn is_json(value: &str) -> bool {
    let mut parts = value.split(';').map(str::trim);
    let essence = parts
        .next()
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"));
    essence
        && parts.all(|parameter| {
            parameter.eq_ignore_ascii_case("charset=utf-8")
                || parameter.eq_ignore_ascii_case("charset=\"utf-8\"")
        })
}

fn too_large(limits: &Limits) -> Problem {
    let what = format!(
        "the body has more than {} bytes, which is this service's limit",
        limits.max_body_bytes
    );
    Problem::new(Code::ArtifactTooLarge, Stage::Http, what)
}

/// Reads the whole body, whose bytes are held out of the budget for as long as the second part of the answer lives.
pub async fn read(
    request: &HttpRequest,
    payload: Payload,
    limits: &Limits,
    held: HeldBytes,
) -> Result<(Bytes, HeldBytes), Problem> {
    if let Some(connection) = request.conn_data::<Connection>() {
        connection.invite_body();
    }
    let announced = single(request, &CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    let reading = collect(payload, announced.unwrap_or(0), limits, held);
    match actix_web::rt::time::timeout(limits.body_timeout, reading).await {
        Ok(result) => result,
        Err(_) => {
            let what = format!(
                "the body did not arrive within {} s",
                limits.body_timeout.as_secs_f32()
            );
            Err(Problem::new(Code::RequestTimeout, Stage::Body, what))
        }
    }
}

/// What is reserved on the word of a header alone, in bytes; more only as bytes arrive.
const TRUSTED_LENGTH: usize = 256 * 1024;

async fn collect(
    mut payload: Payload,
    announced: usize,
    limits: &Limits,
    mut held: HeldBytes,
) -> Result<(Bytes, HeldBytes), Problem> {
    let mut body = BytesMut::with_capacity(announced.min(TRUSTED_LENGTH).min(limits.max_body_bytes));
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| {
            Problem::new(
                Code::InvalidRequest,
                Stage::Body,
                "the body broke off or is not framed correctly",
            )
        })?;
        if body.len().saturating_add(chunk.len()) > limits.max_body_bytes {
            return Err(too_large(limits));
        }
        held.grow_to(body.len().saturating_add(chunk.len()))
            .map_err(|UsedUp| {
                let what = "the service holds as many bytes of bodies as it may, or as it may for one tenant: try again shortly";
                Problem::new(Code::Overloaded, Stage::Body, what)
            })?;
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), held))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::FromRequest;
    use actix_web::test::TestRequest;

    use super::*;
    use crate::http::budget::BodyBudget;

    const LIMITS: Limits = Limits {
        max_body_bytes: 4096,
        body_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(1),
        max_header_fields: 64,
        max_header_bytes: 4096,
    };

    async fn read_of(bytes: usize, budget: &BodyBudget) -> Result<(Bytes, HeldBytes), Code> {
        let request = TestRequest::default().set_payload(vec![b' '; bytes]);
        let (request, mut payload) = request.to_http_parts();
        let payload = Payload::from_request(&request, &mut payload)
            .await
            .expect("a payload");
        read(&request, payload, &LIMITS, budget.begin("acme"))
            .await
            .map_err(|problem| problem.code())
    }

    #[actix_web::test]
    async fn bodies_share_one_budget_and_are_refused_when_it_is_used_up() {
        let budget = BodyBudget::new(10 * 1024);
        assert_eq!(
            read_of(4097, &budget).await.map(drop),
            Err(Code::ArtifactTooLarge)
        );
        assert_eq!(budget.left(), 10 * 1024, "a refused body holds nothing");
        let first = read_of(4096, &budget).await.expect("room");
        assert_eq!(first.0.len(), 4096);
        assert_eq!(read_of(4096, &budget).await.map(drop), Err(Code::Overloaded));
        assert_eq!(budget.left(), 6 * 1024);
        assert!(read_of(1024, &budget).await.is_ok());
        drop(first);
        assert!(read_of(4096, &budget).await.is_ok());
        assert_eq!(budget.left(), 10 * 1024);
    }

    #[test]
    fn only_json_in_utf_8() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "text/json",
            "application/json; charset=utf-16",
            "application/jsonp",
            "application/json, text/html",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
