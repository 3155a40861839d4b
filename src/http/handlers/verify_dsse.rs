//! `POST /verify/dsse` (contract §2.4).
//!
//! `verified` means that a key or an identity of this very service has signed, in its time. Nothing that comes along with a
//! request is trusted: a public key in it only says which key must have signed.

use std::sync::Arc;

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::value::RawValue;
use signer_actors::domain::caller::{Scope, SenderBinding};
use signer_actors::domain::tenant::TenantId;
use signer_actors::pipeline::{Context, Failure, Refusal, Stage, charge_question};
use signer_actors::places::TakePlace;
use signer_actors::runtime::{AskError, Deadline};
use tokio::sync::OwnedSemaphorePermit;

use super::authenticate;
use super::sign::outcome_of;
use crate::bundle::verify::{Check, Options, Report};
use crate::http::body;
use crate::http::dto::verify_request::parse_verify_request;
use crate::http::problem::{Problem, insert_rate};
use crate::http::state::AppState;

/// 200 of a verification.
#[derive(Debug, Serialize)]
struct VerifyDsseResponse {
    verified: bool,
    checks: Vec<Check>,
    /// `null` unless verified: what nobody vouches for is not shown as a statement.
    statement: Option<Box<RawValue>>,
}

impl From<Report> for VerifyDsseResponse {
    fn from(report: Report) -> Self {
        Self {
            verified: report.verified,
            checks: report.checks,
            statement: report.statement.filter(|_| report.verified),
        }
    }
}

/// Whether this service has signed an envelope.
pub async fn verify_dsse(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    body::check_headers(&request, &state.limits)?;
    let (session, context) = authenticate(&state, &request, Scope::VerifyEnvelopes).await?;
    // Without a proof, over mTLS, there is nothing to name the body in; TLS keeps it whole.
    let proven = !matches!(session.principal().binding(), SenderBinding::Mtls(_));
    if state.body_hash_required && proven && session.principal().body().is_none() {
        return Err(Failure::new(Stage::Authentication, Refusal::BodyUnbound).into());
    }
    let held = state.bodies.begin(session.principal().token().tenant.as_str());
    let (bytes, held) = body::read(&request, payload, &state.limits, held).await?;
    if !session.covers_body(&bytes) {
        return Err(Failure::new(Stage::Body, Refusal::BodyMismatch).into());
    }
    let context = Context {
        deadline: Deadline::after(state.limits.request_timeout),
        ..context
    };
    // Whoever asks beyond the rate takes no place.
    let rate = charge_question(&state.services, &session, &context).await?;
    let place = place(&state, session.principal().token().tenant.clone(), &context).await?;
    // A body may be as long as the largest predicate: all of this is work for another thread than the one that serves.
    let (place, asked) = beside(move || {
        let asked = parse_verify_request(&bytes);
        (place, asked)
    })
    .await?;
    let asked = asked?;
    let options = Options {
        subject_digest: asked.subject_digest,
        public_key: asked.public_key,
        ..Options::at_present(state.services.clock.now())
    };
    let trust = Arc::clone(&state.documents.borrow().trust);
    let told = beside(move || {
        let report = asked.document.verify(Some(&trust), &options);
        let told = serde_json::to_string(&VerifyDsseResponse::from(report));
        drop(place);
        told
    })
    .await?;
    let told = told.map_err(|_| Failure::new(Stage::Shape, Refusal::Unformed))?;
    let mut response = HttpResponse::Ok();
    insert_rate(&mut response, &rate);
    Ok(held.until_read(response.content_type("application/json").body(told)))
}

/// One of the few places for such work, tenants in turn; it is held until the work is done, whoever still waits for it.
async fn place(
    state: &AppState,
    tenant: TenantId,
    context: &Context,
) -> Result<OwnedSemaphorePermit, Problem> {
    let until = context.deadline;
    let asked = state
        .services
        .verifying
        .ask(TakePlace { tenant, until }, until)
        .await;
    let place = asked.and_then(|place| place.ok_or(AskError::Overloaded));
    place.map_err(|error| Failure::new(Stage::Shape, error).into())
}

/// On a thread of its own. A panic goes on here, as in a handler.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    outcome_of(tokio::task::spawn_blocking(move || Ok(work()))).await
}
