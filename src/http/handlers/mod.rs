//! One file per kind of endpoint.

pub mod audit;
pub mod batch;
pub mod health;
pub mod reference;
pub mod sign;
pub mod trust;
pub mod unknown;
pub mod verify;
pub mod verify_dsse;

use actix_web::{HttpMessage, HttpRequest};
use signer_actors::domain::caller::Scope;
use signer_actors::pipeline::state::{Authenticated, Session};
use signer_actors::pipeline::{Context, note_stranger};
use signer_actors::runtime::Deadline;

use super::around::{UsesNonces, correlation};
use super::credentials::credentials;
use super::problem::Problem;
use super::state::AppState;

/// Authenticates a request from its headers alone. That a stranger was refused is recorded, and not waited for.
async fn authenticate(
    state: &AppState,
    request: &HttpRequest,
    scope: Scope,
) -> Result<(Session<Authenticated>, Context), Problem> {
    let context = Context {
        correlation: correlation(request),
        deadline: Deadline::after(state.limits.request_timeout),
    };
    let authenticated = match credentials(request, state) {
        Ok(credentials) => {
            let session = Session::new(credentials);
            let asked = signer_actors::pipeline::authenticate(&state.services, session, scope, &context);
            asked.await.map_err(Problem::from)
        }
        Err(problem) => Err(problem),
    };
    let session = authenticated.inspect_err(|problem| {
        let (stage, code) = (problem.stage(), problem.code());
        note_stranger(&state.services, &context.correlation, scope, stage, code);
    })?;
    if session.principal().uses_nonces() {
        request.extensions_mut().insert(UsesNonces);
    }
    Ok((session, context))
}
