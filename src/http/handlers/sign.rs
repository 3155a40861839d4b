//! `POST /sign/dsse` (contract §2.1).

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{ContentType, HeaderMap, HeaderName};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use signer_actors::domain::caller::{Scope, SenderBinding};
use signer_actors::domain::code::Code;
use signer_actors::domain::idempotency::IdempotencyKey;
use signer_actors::domain::statement::{Predicate, StatementDraft};
use signer_actors::domain::subject::Subject;
use signer_actors::entitlement::Poe;
use signer_actors::pipeline::state::{Authenticated, Released, Session};
use signer_actors::pipeline::{
    Answer, Context, Failure, GateVerdict, Idempotent, Probe, Refusal, SignOptions, SignRequest, Stage,
    note_refused, probe, sign,
};
use signer_actors::runtime::Deadline;

use tokio::task::{JoinError, JoinHandle};

use super::authenticate;
use crate::bundle::envelope::Envelope;
use crate::bundle::sigstore::SigstoreBundle;
use crate::http::body;
use crate::http::budget::HeldBytes;
use crate::http::dto::body::{BodyError, BodyErrorKind};
use crate::http::dto::identity;
use crate::http::dto::sign_request::{self as dto_request, ReturnBundle, parse_sign_request};
use crate::http::dto::sign_response as dto;
use crate::http::dto::told::{place_of_payload, whole};
use crate::http::problem::{Outcome, Problem, insert_rate};
use crate::http::state::AppState;

/// Least remaining life of the signing certificate where the request names none (contract §2.1).
const DEFAULT_EXPIRY: Duration = Duration::from_secs(60);

/// About what an answer has besides payload, identity, timestamps and a Sigstore bundle.
const TOLD_BYTES: usize = 1024;

/// Signs a statement, or tells what would happen.
pub async fn sign_dsse(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    // In a box: the layers around a handler move its future several times before they poll it.
    Box::pin(answer(state, request, payload)).await
}

async fn answer(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let received = receive(&state, &request, payload).await?;
    let asked = match read(&state, &request, &received.bytes) {
        Ok(asked) => asked,
        Err(problem) => return Err(recorded(&state, &received.session, &received.context, problem).await),
    };
    let Received {
        session,
        context,
        bytes,
        held,
    } = received;
    drop(bytes);
    let context = Context {
        deadline: Deadline::after(state.limits.request_timeout),
        ..context
    };
    run_to_its_end(state, session, asked, context, held).await
}

/// What a body asks for.
fn read(state: &AppState, request: &HttpRequest, bytes: &[u8]) -> Result<Asked, Problem> {
    let mut asked = parse(state, bytes)?;
    if !asked.dry_run {
        let returned = asked.return_bundle.as_str();
        asked.request.idempotency =
            idempotency_key(request.headers())?.map(|key| Idempotent { key, returned });
    }
    Ok(asked)
}

/// A body, and whose it is.
pub(super) struct Received {
    pub(super) session: Session<Authenticated>,
    pub(super) context: Context,
    pub(super) bytes: Bytes,
    pub(super) held: HeldBytes,
}

/// Takes a request to sign in: its caller first, then its body.
pub(super) async fn receive(
    state: &AppState,
    request: &HttpRequest,
    payload: Payload,
) -> Result<Received, Problem> {
    body::check_headers(request, &state.limits)?;
    let (session, context) = authenticate(state, request, Scope::Sign).await?;
    match read_body(state, request, payload, &session).await {
        Ok((bytes, held)) => Ok(Received {
            session,
            context,
            bytes,
            held,
        }),
        Err(problem) => Err(recorded(state, &session, &context, problem).await),
    }
}

/// The refusal of a caller who is known, as it is recorded (contract §8).
pub(super) async fn recorded(
    state: &AppState,
    session: &Session<Authenticated>,
    context: &Context,
    problem: Problem,
) -> Problem {
    // Reading may have taken all the time there was.
    let context = Context {
        deadline: Deadline::after(state.limits.request_timeout),
        ..context.clone()
    };
    let (stage, code) = (problem.stage(), problem.code());
    problem.recorded_as(note_refused(&state.services, session, stage, code, &context).await)
}

/// The body, whole and as the proof names it.
async fn read_body(
    state: &AppState,
    request: &HttpRequest,
    payload: Payload,
    session: &Session<Authenticated>,
) -> Result<(Bytes, HeldBytes), Problem> {
    // Without a proof, over mTLS, there is nothing to name the body in; TLS keeps it whole.
    let proven = !matches!(session.principal().binding(), SenderBinding::Mtls(_));
    if state.body_hash_required && proven && session.principal().body().is_none() {
        return Err(Failure::new(Stage::Authentication, Refusal::BodyUnbound).into());
    }
    let held = state.bodies.begin(session.principal().token().tenant.as_str());
    let (bytes, held) = body::read(request, payload, &state.limits, held).await?;
    if !session.covers_body(&bytes) {
        return Err(Failure::new(Stage::Body, Refusal::BodyMismatch).into());
    }
    Ok((bytes, held))
}

/// The one `Idempotency-Key` (contract §2.1).
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut fields = headers.get_all(HeaderName::from_static("idempotency-key"));
    let wrong = |what| Err(Problem::new(Code::InvalidRequest, Stage::Shape, what));
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => wrong("there are several fields Idempotency-Key: send one"),
        (Some(value), _) => match IdempotencyKey::parse(value.as_bytes()) {
            Some(key) => Ok(Some(key)),
            None => wrong("Idempotency-Key must be 1 to 255 visible ASCII characters, without spaces"),
        },
    }
}

/// A request as its body says it.
struct Asked {
    request: SignRequest,
    return_bundle: ReturnBundle,
    dry_run: bool,
}

fn parse(state: &AppState, bytes: &[u8]) -> Result<Asked, Problem> {
    let body = parse_sign_request(bytes)?;
    let draft = draft_of(state, body.subjects, body.predicate_type, body.predicate)?;
    let options = body.options;
    Ok(Asked {
        return_bundle: options.return_bundle.unwrap_or_default(),
        dry_run: options.dry_run.unwrap_or(false),
        request: SignRequest {
            draft,
            scanner: body.scanner,
            poe: poe_of(body.poe),
            options: pipeline_options(options),
            idempotency: None,
        },
    })
}

/// The statement that is asked for, its predicate in the shape of its type.
pub(super) fn draft_of<'a>(
    state: &AppState,
    subjects: Vec<Subject>,
    predicate_type: String,
    predicate: impl Into<Predicate<'a>>,
) -> Result<StatementDraft, BodyError> {
    let draft = StatementDraft::new(subjects, predicate_type, predicate)?;
    if !state.services.policy.predicate_checks {
        return Ok(draft);
    }
    Ok(draft.of_its_shape()?)
}

pub(super) fn poe_of(poe: Option<dto_request::Poe>) -> Option<Poe> {
    poe.and_then(|poe| Poe::new(poe.as_str()))
}

pub(super) fn pipeline_options(options: dto_request::SignOptions) -> SignOptions {
    SignOptions {
        mode: options.mode,
        key: options.key_id,
        min_life: options.expiry.unwrap_or(DEFAULT_EXPIRY),
        timestamp: options.timestamp,
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let (code, stage) = match error.kind {
            BodyErrorKind::Json => (Code::InvalidJson, Stage::Body),
            BodyErrorKind::Request => (Code::InvalidRequest, Stage::Shape),
            BodyErrorKind::Digest => (Code::InvalidDigest, Stage::Shape),
            BodyErrorKind::Subject => (Code::InvalidSubject, Stage::Shape),
            BodyErrorKind::Predicate => (Code::InvalidPredicate, Stage::Shape),
        };
        Self::new(code, stage, error.detail)
    }
}

/// The work belongs to a task of its own: a client that hangs up frees nothing early and leaks nothing.
async fn run_to_its_end(
    state: Data<AppState>,
    session: Session<Authenticated>,
    asked: Asked,
    context: Context,
    held: HeldBytes,
) -> Result<HttpResponse, Problem> {
    let in_flight = state.lifecycle.begin();
    // In a box: a task holds its future by value and moves all of it, ten kilobytes, when it is made, begun and ended.
    let task = actix_web::rt::spawn(Box::pin(async move {
        let _in_flight = in_flight;
        if asked.dry_run {
            let probe = probe(&state.services, session, asked.request, &context).await?;
            Ok(dry_run_response(&state, &probe))
        } else {
            let (origin, returned) = (Arc::clone(&state.services.audit_origin), asked.return_bundle);
            let tell = move |released: &Released| tell(&origin, released, returned);
            let answer = sign(&state.services, session, asked.request, &context, tell).await?;
            let response = sign_response(&answer)?;
            // The answer repeats the payload.
            Ok(held.until_read(response))
        }
    }));
    outcome_of(task).await
}

/// A panic of the task goes on here, so that it is counted, logged with the correlation id and answered where every
/// handler's is: in [`around`](crate::http::around). The panic hook, which told where it happened, is not run again.
pub(super) async fn outcome_of<T>(task: JoinHandle<Result<T, Problem>>) -> Result<T, Problem> {
    match task.await.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Its worker is being stopped.
        Err(Err(_)) => Err(Problem::new(
            Code::ShuttingDown,
            Stage::Http,
            "the service is shutting down: try another replica",
        )),
    }
}

/// The answer without its payload. Only what the signature came with is in it, nothing of this attempt to get it.
pub(super) fn tell(origin: &str, released: &Released, return_bundle: ReturnBundle) -> Result<Bytes, Failure> {
    let unformed = |_| Failure::new(Stage::Signing, Refusal::Unformed);
    let (statement, key) = (released.statement(), released.key().identity());
    let payload = place_of_payload(released.audit_id());
    let timestamps: Vec<&[u8]> = released.timestamp().iter().map(|t| &t.response[..]).collect();
    let sigstore = match return_bundle {
        ReturnBundle::Dsse => None,
        ReturnBundle::Sigstore => {
            let envelope = Envelope {
                payload: payload.clone(),
                ..Envelope::new(&[], released.signature())
            };
            let bundle = SigstoreBundle::new(envelope, key, &timestamps);
            Some(serde_json::value::to_raw_value(&bundle).map_err(unformed)?)
        }
    };
    let identity = identity::told(key).map_err(unformed)?;
    let mut told = Vec::with_capacity(identity.bytes() + TOLD_BYTES);
    let response = dto::SignResponse {
        bundle: dto::Bundle::new(
            &identity,
            &payload,
            released.signature(),
            &timestamps,
            sigstore.as_deref(),
        ),
        statement_digest: statement.digest.into(),
        policy: released.session().grant().entitlement().into(),
        release: dto::Release::new(released.release().report(), released.release().bound()),
        audit_id: released.audit_id(),
        audit_log: origin,
    };
    serde_json::to_writer(&mut told, &response).map_err(unformed)?;
    Ok(Bytes::from(told))
}

/// The same bytes whenever it was told.
fn sign_response(answer: &Answer) -> Result<HttpResponse, Problem> {
    let audit_id = answer.audit_id();
    let body = whole(answer.told(), audit_id, answer.payload())
        .ok_or_else(|| Failure::new(Stage::Signing, Refusal::Unformed))?;
    let mut response = HttpResponse::Ok();
    response.content_type(ContentType::json());
    if let Some(rate) = answer.rate() {
        insert_rate(&mut response, &rate);
    }
    if answer.is_replay() {
        response.insert_header((HeaderName::from_static("idempotent-replayed"), "true"));
    }
    let mut response = response.body(body);
    response.extensions_mut().insert(Outcome {
        code: "ok",
        audit_id: Some(audit_id),
    });
    Ok(response)
}

fn dry_run_response(state: &AppState, probe: &Probe) -> HttpResponse {
    let gates = probe.gates.iter().map(|report| {
        let (verdict, code, detail) = match &report.verdict {
            GateVerdict::Pass => (dto::GateVerdict::Pass, None, None),
            GateVerdict::Fail(refusal) => (
                dto::GateVerdict::Fail,
                Some(refusal.code().as_str()),
                Some(refusal.to_string()),
            ),
        };
        dto::GateReport {
            gate: report.gate.as_str(),
            verdict,
            code,
            detail,
        }
    });
    let mut response = HttpResponse::Ok();
    insert_rate(&mut response, &probe.rate);
    let mut response = response.json(dto::DryRunResponse {
        gates: gates.collect(),
        policy: probe.session.grant().entitlement().into(),
        audit_id: probe.audit_id,
        audit_log: &state.services.audit_origin,
    });
    response.extensions_mut().insert(Outcome {
        code: "ok",
        audit_id: Some(probe.audit_id),
    });
    response
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt;

    use super::*;

    #[actix_web::test]
    async fn a_panic_of_the_work_is_the_handlers_own() {
        let work = actix_web::rt::spawn(async { Ok(1) });
        assert!(matches!(outcome_of::<u8>(work).await, Ok(1)));
        let work = actix_web::rt::spawn(async { panic!("boom") });
        let panicked = AssertUnwindSafe(outcome_of::<u8>(work)).catch_unwind().await;
        assert!(panicked.is_err());
        let work = actix_web::rt::spawn(std::future::pending());
        work.abort();
        let cancelled = outcome_of::<u8>(work).await.map_err(|problem| problem.code());
        assert!(matches!(cancelled, Err(Code::ShuttingDown)));
    }
}
