//! The flow. Each step names the gate it asks; what a step needs from the one before, its types demand.

use std::sync::Arc;
use std::time::Duration;

use super::context::{Context, SignRequest};
use super::error::{Failure, Stage};
use super::gates::{admit, choose, entitle, lease, verify_item_release};
use super::records;
use super::services::Services;
use super::signing::{make_signature, record_intent, release};
use super::state::{Authenticated, Released, Session};
use crate::runtime::AskError;

/// Signs one request. Its refusals after authentication are recorded too.
///
/// The work is a task of its own: a caller that hangs up neither frees its permit early nor leaves an intent without
/// its outcome. It must be called on an arbiter (a worker's is one).
pub async fn sign(
    services: &Services,
    session: Session<Authenticated>,
    request: SignRequest,
    context: &Context,
) -> Result<Released, Failure> {
    let (services, context) = (services.clone(), context.clone());
    let work = actix::spawn(async move { run_recorded(&services, session, request, &context).await });
    match work.await {
        Ok(result) => result,
        // The panic hook has logged where.
        Err(_) => Err(Failure::new(Stage::Signing, AskError::Panicked)),
    }
}

async fn run_recorded(
    services: &Services,
    session: Session<Authenticated>,
    request: SignRequest,
    context: &Context,
) -> Result<Released, Failure> {
    let begun = services.clock.monotonic();
    let caller = records::caller(session.principal());
    let result = run(services, session, request, context, begun).await;
    records::recorded(services, context, caller, false, result).await
}

async fn run(
    services: &Services,
    session: Session<Authenticated>,
    request: SignRequest,
    context: &Context,
    begun: Duration,
) -> Result<Released, Failure> {
    let SignRequest {
        draft,
        scanner,
        poe,
        options,
    } = request;
    let (backend, is_other_key) = choose(services, &options)?;
    let session = entitle(services, session, poe, backend, is_other_key, &draft, context).await?;
    let item = admit(services, Arc::new(session), draft, context).await?;
    let rate = item.rate();
    let released = async {
        let item = verify_item_release(services, item, scanner, context).await?;
        let key = lease(backend, options.min_life, services, context).await?;
        let item = record_intent(services, item, key, backend, context).await?;
        let item = make_signature(services, item, backend, context, begun).await?;
        release(services, item, context, begun).await
    };
    released.await.map_err(|failure| failure.with_rate(rate))
}
