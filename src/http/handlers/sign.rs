//! `POST /sign/dsse` (contract §2.1).

use std::time::Duration;

use actix_web::http::header::HeaderName;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use signer_actors::domain::caller::{Scope, SenderBinding};
use signer_actors::domain::code::Code;
use signer_actors::domain::statement::StatementDraft;
use signer_actors::entitlement::Poe;
use signer_actors::pipeline::state::{Authenticated, Released, Session};
use signer_actors::pipeline::{
    Context, Failure, GateVerdict, Probe, Refusal, SignOptions, SignRequest, Stage, probe, sign,
};
use signer_actors::runtime::Deadline;

use tokio::task::{JoinError, JoinHandle};

use super::authenticate;
use crate::bundle::envelope::Envelope;
use crate::bundle::sigstore::SigstoreBundle;
use crate::http::body;
use crate::http::budget::HeldBytes;
use crate::http::dto::body::{BodyError, BodyErrorKind};
use crate::http::dto::sign_request::{ReturnBundle, parse_sign_request};
use crate::http::dto::sign_response as dto;
use crate::http::problem::{Outcome, Problem, insert_rate};
use crate::http::state::AppState;

/// Least remaining life of the signing certificate where the request names none (contract §2.1).
const DEFAULT_EXPIRY: Duration = Duration::from_secs(60);

/// Signs a statement, or tells what would happen.
pub async fn sign_dsse(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    body::check_headers(&request, &state.limits)?;
    let (session, context) = authenticate(&state, &request, Scope::Sign).await?;
    // Without a proof, over mTLS, there is nothing to name the body in; TLS keeps it whole.
    let proven = !matches!(session.principal().binding(), SenderBinding::Mtls(_));
    if state.body_hash_required && proven && session.principal().body().is_none() {
        return Err(Failure::new(Stage::Authentication, Refusal::BodyUnbound).into());
    }
    let (bytes, held) = body::read(&request, payload, &state.limits, &state.bodies).await?;
    if !session.covers_body(&bytes) {
        return Err(Failure::new(Stage::Body, Refusal::BodyMismatch).into());
    }
    let asked = parse(&bytes)?;
    drop(bytes);
    if !asked.dry_run
        && request
            .headers()
            .contains_key(HeaderName::from_static("idempotency-key"))
    {
        let what = "this version does not keep idempotency keys: leave Idempotency-Key out";
        return Err(Problem::new(Code::InvalidRequest, Stage::Shape, what));
    }
    let context = Context {
        deadline: Deadline::after(state.limits.request_timeout),
        ..context
    };
    run_to_its_end(state, session, asked, context, held).await
}

/// A request as its body says it.
struct Asked {
    request: SignRequest,
    return_bundle: ReturnBundle,
    dry_run: bool,
}

fn parse(bytes: &[u8]) -> Result<Asked, Problem> {
    let body = parse_sign_request(bytes)?;
    let draft =
        StatementDraft::new(body.subjects, body.predicate_type, body.predicate).map_err(BodyError::from)?;
    let options = body.options;
    Ok(Asked {
        request: SignRequest {
            draft,
            scanner: body.scanner,
            poe: body.poe.and_then(|poe| Poe::new(poe.as_str())),
            options: SignOptions {
                mode: options.mode,
                key: options.key_id,
                min_life: options.expiry.unwrap_or(DEFAULT_EXPIRY),
                timestamp: options.timestamp,
            },
        },
        return_bundle: options.return_bundle.unwrap_or_default(),
        dry_run: options.dry_run.unwrap_or(false),
    })
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
    let task = actix_web::rt::spawn(async move {
        let _in_flight = in_flight;
        if asked.dry_run {
            let probe = probe(&state.services, session, asked.request, &context).await?;
            Ok(dry_run_response(&state, &probe))
        } else {
            let released = sign(&state.services, session, asked.request, &context).await?;
            let response = sign_response(&state, &released, asked.return_bundle)?;
            // The answer repeats the payload.
            Ok(held.until_read(response))
        }
    });
    outcome_of(task).await
}

/// A panic of the task goes on here, so that it is counted, logged with the correlation id and answered where every
/// handler's is: in [`around`](crate::http::around). The panic hook, which told where it happened, is not run again.
async fn outcome_of<T>(task: JoinHandle<Result<T, Problem>>) -> Result<T, Problem> {
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

fn sign_response(
    state: &AppState,
    released: &Released,
    return_bundle: ReturnBundle,
) -> Result<HttpResponse, Problem> {
    let (statement, identity) = (released.statement(), released.key().identity());
    let sigstore = match return_bundle {
        ReturnBundle::Dsse => None,
        ReturnBundle::Sigstore => {
            let envelope = Envelope::new(&statement.payload, released.signature());
            let bundle = serde_json::value::to_raw_value(&SigstoreBundle::new(envelope, identity, &[]));
            Some(bundle.map_err(|_| {
                Problem::new(
                    Code::Internal,
                    Stage::Signing,
                    "the bundle could not be formed: report the correlation id",
                )
            })?)
        }
    };
    let mut response = HttpResponse::Ok();
    if let Some(rate) = released.rate() {
        insert_rate(&mut response, &rate);
    }
    let mut response = response.json(dto::SignResponse {
        bundle: dto::Bundle::new(
            identity,
            &statement.payload,
            released.signature(),
            &[],
            sigstore.as_deref(),
        ),
        statement_digest: statement.digest.into(),
        policy: released.session().grant().entitlement().into(),
        release: dto::Release::new(released.release().report(), released.release().bound()),
        audit_id: released.audit_id(),
        audit_log: &state.services.audit_origin,
    });
    response.extensions_mut().insert(Outcome {
        code: "ok",
        audit_id: Some(released.audit_id()),
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
