//! What every response has in common: correlation id, `no-store`, a log line, metrics, and no panic.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use futures_util::FutureExt;
use signer_actors::domain::caller::Scheme;
use signer_actors::domain::code::Code;
use signer_actors::domain::ids::CorrelationId;
use signer_actors::pipeline::Stage;

use super::challenge::Schemes;
use super::connection::Connection;
use super::credentials::scheme_used;
use super::problem::{DPOP_NONCE, Outcome, Problem};
use super::state::AppState;
use super::unread::Unread;
use crate::telemetry::metrics::RouteMetrics;

static CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");

/// Wraps every handler.
pub async fn around<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<AppState>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let begun = state.services.clock.monotonic();
    let correlation = correlation_of(&request, &state);
    request.extensions_mut().insert(correlation.clone());
    let used = scheme_used(request.headers());
    let method = request.method().clone();
    let connection = request.conn_data::<Connection>().cloned();
    let _entered = connection.as_ref().map(Connection::enter);
    let refused = refuse_early(&request, &state);
    // What follows the last request is refused, and ends the connection as well.
    let mut last = is_last(&request) || connection.as_ref().is_some_and(Connection::is_closing);
    let unread = Unread::of(&mut request);
    let _in_flight = state.routes.enter();
    let handled = match refused {
        Some(problem) => Ok(request.into_response(render(&state, &correlation, used, &problem))),
        None => {
            let handled = AssertUnwindSafe(next.call(request)).catch_unwind().await;
            settle(&state, &correlation, used, handled)
        }
    };
    last |= unread.as_ref().is_some_and(|unread| !unread.has_ended());
    if let (true, Some(connection)) = (last, &connection) {
        connection.close();
    }
    let elapsed = state.services.clock.monotonic().saturating_sub(begun);
    let close = |response: &mut HttpResponse| {
        if last {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
    };
    match handled {
        Ok(mut response) => {
            close(response.response_mut());
            renew_nonce(&state, &mut response);
            let route = state.routes.of(response.request().match_pattern().as_deref());
            finish(
                &state,
                method.as_str(),
                route,
                &correlation,
                response.response_mut(),
                elapsed,
            );
            Ok(match unread {
                Some(unread) => response.map_body(|_, body| unread.held_by(body)),
                None => response,
            })
        }
        Err(mut response) => {
            close(&mut response);
            let route = state.routes.of(None);
            finish(
                &state,
                method.as_str(),
                route,
                &correlation,
                &mut response,
                elapsed,
            );
            let response = match unread {
                Some(unread) => response.map_body(|_, body| unread.held_by(body)),
                None => response,
            };
            Err(InternalError::from_response("refused", response).into())
        }
    }
}

/// The request's own id if it fits the grammar, else its trace id, else a new one (contract §2).
fn correlation_of(request: &ServiceRequest, state: &AppState) -> CorrelationId {
    let field = |name: &HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    field(&CORRELATION)
        .and_then(CorrelationId::parse)
        .or_else(|| field(&HeaderName::from_static("traceparent")).and_then(CorrelationId::from_traceparent))
        .unwrap_or_else(|| CorrelationId::from_uuid(state.services.ids.uuid()))
}

/// What is refused before anything is looked up: what could be read in two ways, too much of a head, and all else during
/// the drain.
fn refuse_early(request: &ServiceRequest, state: &AppState) -> Option<Problem> {
    let refuse = |code, what: &str| Some(Problem::new(code, Stage::Http, what));
    if request
        .conn_data::<Connection>()
        .is_some_and(Connection::is_closing)
    {
        let what = "the request before this one ended the connection: send it on another";
        return refuse(Code::InvalidRequest, what);
    }
    if is_tunnel(request) {
        let what = "this service changes to no other protocol: leave Upgrade out, and do not use CONNECT";
        return refuse(Code::InvalidRequest, what);
    }
    let headers = request.headers();
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if headers.len() > state.limits.max_header_fields || bytes + target > state.limits.max_header_bytes {
        let what = format!(
            "the head of a request is limited to {} fields, and to {} bytes of target, names and values",
            state.limits.max_header_fields, state.limits.max_header_bytes
        );
        return refuse(Code::HeadersTooLarge, &what);
    }
    let serves_api = request.path().starts_with("/api/");
    if serves_api && state.lifecycle.is_draining() {
        let what = "the service is shutting down: try another replica";
        return refuse(Code::ShuttingDown, what);
    }
    None
}

/// What actix-http takes for a tunnel, all that follows being its content whatever `Content-Length` says: a proxy that
/// does not would send the next caller's request into it (RFC 9110 §7.8, RFC 9112 §11.2).
fn is_tunnel(request: &ServiceRequest) -> bool {
    let websocket = |value: &HeaderValue| {
        let value = value.as_bytes().trim_ascii();
        value.eq_ignore_ascii_case(b"websocket")
    };
    request.method() == Method::CONNECT || request.headers().get_all(UPGRADE).any(websocket)
}

/// Whether the connection ends with this request: its caller says so, or where its body ends is more than a number. Of
/// chunks and trailers actix-http reads more than RFC 9112 §7.1 writes, and what a proxy takes for the next request must
/// not be a trailer here.
fn is_last(request: &ServiceRequest) -> bool {
    request.headers().contains_key(TRANSFER_ENCODING)
        || is_tunnel(request)
        || request.head().connection_type() != ConnectionType::KeepAlive
}

type Handled<B> = Result<Result<ServiceResponse<B>, Error>, Box<dyn std::any::Any + Send>>;

/// A response, or one for a request that a panic has taken with it.
#[allow(
    clippy::result_large_err,
    reason = "once a request, and the large one is the rare one"
)]
fn settle<B: MessageBody + 'static>(
    state: &AppState,
    correlation: &CorrelationId,
    used: Option<Scheme>,
    handled: Handled<B>,
) -> Result<ServiceResponse<BoxBody>, HttpResponse> {
    match handled {
        Ok(Ok(response)) => Ok(settle_response(state, correlation, used, response)),
        Ok(Err(error)) => {
            let problem = error
                .as_error::<Problem>()
                .map(|problem| render(state, correlation, used, problem));
            Err(problem.unwrap_or_else(|| {
                render(
                    state,
                    correlation,
                    used,
                    &of_status(error.error_response().status()),
                )
            }))
        }
        Err(_) => {
            state.services.observer.actor_panicked("http");
            slog::error!(state.services.log, "a handler panicked"; "correlationId" => %correlation);
            Err(render(
                state,
                correlation,
                used,
                &of_status(StatusCode::INTERNAL_SERVER_ERROR),
            ))
        }
    }
}

/// Handlers' errors become problem documents here, because only here the correlation id is at hand.
fn settle_response<B: MessageBody + 'static>(
    state: &AppState,
    correlation: &CorrelationId,
    used: Option<Scheme>,
    response: ServiceResponse<B>,
) -> ServiceResponse<BoxBody> {
    let Some(error) = response.response().error() else {
        return response.map_into_boxed_body();
    };
    let rendered = match error.as_error::<Problem>() {
        Some(problem) => render(state, correlation, used, problem),
        None => render(state, correlation, used, &of_status(response.status())),
    };
    response.into_response(rendered)
}

/// An error of actix-web's own making.
fn of_status(status: StatusCode) -> Problem {
    let (code, what) = match status.as_u16() {
        404 => (Code::NotFound, "there is nothing here"),
        405 => (Code::MethodNotAllowed, "the method is not allowed here"),
        400..=499 => (Code::InvalidRequest, "the request could not be read"),
        _ => (
            Code::Internal,
            "an internal error occurred: report the correlation id",
        ),
    };
    Problem::new(code, Stage::Http, what)
}

fn render(
    state: &AppState,
    correlation: &CorrelationId,
    used: Option<Scheme>,
    problem: &Problem,
) -> HttpResponse {
    let schemes = Schemes {
        algorithms: &state.algorithms,
        bearer: state.certificates,
    };
    problem.response(correlation, schemes, used, || nonce(state))
}

/// The nonce for the next proof, where nonces are on.
fn nonce(state: &AppState) -> Option<String> {
    state.services.proofs.nonce(state.services.clock.now())
}

/// Put into a request whose proof carried a nonce of ours.
#[derive(Clone, Copy, Debug)]
pub struct UsesNonces;

/// Whoever uses nonces learns the next one before the old one runs out, so that nobody who asks at least once a minute
/// is answered `use_dpop_nonce` for that (RFC 9449 §8.2, §9). Nobody else is told one unasked: from then on they would have
/// to use nonces.
fn renew_nonce(state: &AppState, response: &mut ServiceResponse<BoxBody>) {
    if !response.request().extensions().contains::<UsesNonces>() {
        return;
    }
    if let Some(nonce) = nonce(state).and_then(|nonce| HeaderValue::from_str(&nonce).ok()) {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
}

/// Headers that every response has, one log line, metrics.
fn finish(
    state: &AppState,
    method: &str,
    route: &RouteMetrics,
    correlation: &CorrelationId,
    response: &mut HttpResponse,
    elapsed: Duration,
) {
    if let Ok(value) = HeaderValue::from_str(correlation.as_str()) {
        response.headers_mut().insert(CORRELATION.clone(), value);
    }
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let outcome = response.extensions().get::<Outcome>().copied();
    let code = outcome.map_or("ok", |outcome| outcome.code);
    let status = response.status().as_u16();
    route.answered(code, status, elapsed);
    let audit_id = outcome
        .and_then(|outcome| outcome.audit_id)
        .map(|id| id.to_string());
    slog::info!(state.services.log, "request";
        "route" => route.name(), "method" => method, "status" => status, "code" => code,
        "micros" => u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        "auditId" => audit_id, "correlationId" => %correlation);
}

/// The answer to what the parser refuses, as every refusal is answered: the bytes to write before the connection ends.
pub fn unparsed(state: &AppState, status: u16) -> Option<Bytes> {
    let (code, what) = match status {
        400 => (
            Code::InvalidRequest,
            "this is not HTTP/1.1 that can be read in one way only: check framing and header fields",
        ),
        408 => (
            Code::RequestTimeout,
            "the head of the request did not arrive in time",
        ),
        431 => (
            Code::HeadersTooLarge,
            "the head of the request is far larger than it may be",
        ),
        _ => return None,
    };
    let correlation = CorrelationId::from_uuid(state.services.ids.uuid());
    let mut response = render(state, &correlation, None, &Problem::new(code, Stage::Http, what));
    let route = state.routes.of(None);
    finish(state, "-", route, &correlation, &mut response, Duration::ZERO);
    let mut head = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().ok()?));
    }
    let body = response.into_body().try_into_bytes().ok()?;
    head.push_str(&format!(
        "connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    ));
    Some([head.as_bytes(), &body].concat().into())
}

/// The correlation id that [`around`] has put into the request.
pub fn correlation(request: &HttpRequest) -> CorrelationId {
    let held = request.extensions().get::<CorrelationId>().cloned();
    held.unwrap_or_else(|| CorrelationId::from_uuid(uuid::Uuid::now_v7()))
}
