//! What every response has in common: correlation id, `no-store`, a log line, metrics, and no panic.

use std::panic::AssertUnwindSafe;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest};
use futures_util::FutureExt;
use signer_actors::domain::code::Code;
use signer_actors::domain::ids::CorrelationId;
use signer_actors::pipeline::Stage;

use super::problem::{Outcome, Problem};
use super::state::AppState;

static CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");

/// Wraps every handler.
pub async fn around<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<AppState>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let begun = state.services.clock.monotonic();
    let correlation = correlation_of(&request, &state);
    request.extensions_mut().insert(correlation.clone());
    let _in_flight = state.metrics.http_in_flight();
    let head = request.request().clone();
    let refused = refuse_early(&request, &state);
    let mut response = match refused {
        Some(problem) => render(&state, &head, &correlation, &problem),
        None => {
            let handled = AssertUnwindSafe(next.call(request)).catch_unwind().await;
            settle(&state, &head, &correlation, handled)
        }
    };
    if let Ok(value) = HeaderValue::from_str(correlation.as_str()) {
        response.headers_mut().insert(CORRELATION.clone(), value);
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let elapsed = state.services.clock.monotonic().saturating_sub(begun);
    note(&state, &head, &response, &correlation, elapsed);
    Ok(response)
}

/// The request's own id if it fits the grammar, else its trace id, else a new one (contract §2).
fn correlation_of(request: &ServiceRequest, state: &AppState) -> CorrelationId {
    let field = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    field(&CORRELATION)
        .and_then(CorrelationId::parse)
        .or_else(|| field(&HeaderName::from_static("traceparent")).and_then(CorrelationId::from_traceparent))
        .unwrap_or_else(|| CorrelationId::from_uuid(state.services.ids.uuid()))
}

/// Limits of the header section, and the drain.
fn refuse_early(request: &ServiceRequest, state: &AppState) -> Option<Problem> {
    let headers = request.headers();
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > state.limits.max_header_fields || bytes > state.limits.max_header_bytes {
        let what = format!(
            "the header section is limited to {} fields and {} bytes",
            state.limits.max_header_fields, state.limits.max_header_bytes
        );
        return Some(Problem::new(Code::HeadersTooLarge, Stage::Http, what));
    }
    let serves_api = request.path().starts_with("/api/");
    (serves_api && state.lifecycle.is_draining())
        .then(|| Problem::new(Code::ShuttingDown, Stage::Http, "the service is shutting down: try another replica"))
}

type Handled<B> = Result<Result<ServiceResponse<B>, Error>, Box<dyn std::any::Any + Send>>;

fn settle<B: MessageBody + 'static>(
    state: &AppState,
    head: &HttpRequest,
    correlation: &CorrelationId,
    handled: Handled<B>,
) -> ServiceResponse<BoxBody> {
    let internal = || Problem::new(Code::Internal, Stage::Http, "an internal error occurred: report the correlation id");
    match handled {
        Ok(Ok(response)) => match response.response().error().and_then(|error| error.as_error::<Problem>()) {
            Some(problem) => render(state, head, correlation, problem),
            None if response.response().error().is_some() => render(state, head, correlation, &foreign(&response)),
            None => response.map_into_boxed_body(),
        },
        Ok(Err(error)) => match error.as_error::<Problem>() {
            Some(problem) => render(state, head, correlation, problem),
            None => render(state, head, correlation, &internal()),
        },
        Err(_) => {
            state.metrics.http_panicked();
            slog::error!(state.services.log, "a handler panicked"; "correlationId" => %correlation);
            render(state, head, correlation, &internal())
        }
    }
}

/// An error of actix-web's own making.
fn foreign<B>(response: &ServiceResponse<B>) -> Problem {
    let (code, what) = match response.status().as_u16() {
        404 => (Code::NotFound, "there is nothing here"),
        405 => (Code::MethodNotAllowed, "the method is not allowed here"),
        400..=499 => (Code::InvalidRequest, "the request could not be read"),
        _ => (Code::Internal, "an internal error occurred: report the correlation id"),
    };
    Problem::new(code, Stage::Http, what)
}

fn render(
    state: &AppState,
    head: &HttpRequest,
    correlation: &CorrelationId,
    problem: &Problem,
) -> ServiceResponse<BoxBody> {
    let nonce = state.services.proofs.nonce(state.services.clock.now());
    let response = problem.response(correlation, &state.algorithms, nonce.as_deref());
    ServiceResponse::new(head.clone(), response)
}

fn note(
    state: &AppState,
    head: &HttpRequest,
    response: &ServiceResponse<BoxBody>,
    correlation: &CorrelationId,
    elapsed: std::time::Duration,
) {
    let route = head.match_pattern().unwrap_or_else(|| "other".to_owned());
    let outcome = response.response().extensions().get::<Outcome>().copied();
    let code = outcome.map_or("ok", |outcome| outcome.code);
    let status = response.status().as_u16();
    state.metrics.http_request(&route, code, status, elapsed);
    let audit_id = outcome.and_then(|outcome| outcome.audit_id).map(|id| id.to_string());
    slog::info!(state.services.log, "request";
        "route" => route, "method" => head.method().as_str(), "status" => status, "code" => code,
        "micros" => u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        "auditId" => audit_id, "correlationId" => %correlation);
}

/// The correlation id that [`around`] has put into the request.
pub fn correlation(request: &HttpRequest) -> CorrelationId {
    let held = request.extensions().get::<CorrelationId>().cloned();
    held.unwrap_or_else(|| CorrelationId::from_uuid(uuid::Uuid::now_v7()))
}
