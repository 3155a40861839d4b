//! One file per kind of endpoint.

pub mod audit;
pub mod batch;
pub mod health;
pub mod sign;
pub mod trust;
pub mod unknown;
pub mod verify;

use actix_web::{HttpMessage, HttpRequest};
use signer_actors::domain::caller::Scope;
use signer_actors::pipeline::Context;
use signer_actors::pipeline::state::{Authenticated, Session};
use signer_actors::runtime::Deadline;

use super::around::{UsesNonces, correlation};
use super::credentials::credentials;
use super::problem::Problem;
use super::state::AppState;

/// Authenticates a request from its headers alone.
async fn authenticate(
    state: &AppState,
    request: &HttpRequest,
    scope: Scope,
) -> Result<(Session<Authenticated>, Context), Problem> {
    let context = Context {
        correlation: correlation(request),
        deadline: Deadline::after(state.limits.request_timeout),
    };
    let credentials = credentials(request, state)?;
    let session =
        signer_actors::pipeline::authenticate(&state.services, Session::new(credentials), scope, &context)
            .await?;
    if session.principal().uses_nonces() {
        request.extensions_mut().insert(UsesNonces);
    }
    Ok((session, context))
}
