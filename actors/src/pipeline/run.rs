//! The flow. Each step names the gate it asks; what a step needs from the one before, its types demand.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::answer::{Answer, Tell};
use super::context::{Context, SignRequest};
use super::error::{At, Failure, Stage};
use super::gates::{admit, choose, entitle, lease, verify_item_release};
use super::idempotent::{Todo, begin, keep, repeat, take_turn};
use super::records;
use super::services::Services;
use super::signing::{make_signature, record_intent, release};
use super::state::{Authenticated, Released, Session};
use super::timestamping::{authority, timestamp};
use crate::domain::signing::KeyState;
use crate::runtime::{AskError, Panicked, catch};

/// Signs one request, or answers as it was answered before. Its refusals after authentication are recorded too. `tell`
/// forms the answer without its payload, which is all that is kept of it.
///
/// To be called in a task of its own, on an arbiter (a worker's is one), that runs to its end whoever still waits: then a
/// caller that hangs up neither frees its permit early nor leaves an intent without its outcome.
pub async fn sign(
    services: &Services,
    session: Session<Authenticated>,
    request: SignRequest,
    context: &Context,
    tell: impl FnOnce(&Released) -> Result<Bytes, Failure> + 'static,
) -> Result<Answer, Failure> {
    match catch(run_recorded(services, session, request, context, tell)).await {
        Ok(result) => result,
        // The panic hook has logged where.
        Err(Panicked) => Err(Failure::new(Stage::Signing, AskError::Panicked)),
    }
}

async fn run_recorded(
    services: &Services,
    session: Session<Authenticated>,
    request: SignRequest,
    context: &Context,
    tell: impl Tell,
) -> Result<Answer, Failure> {
    let begun = services.clock.monotonic();
    let who = records::Who::of(session.principal());
    let result = run(services, session, request, context, tell, begun).await;
    records::recorded(services, context, who, false, result).await
}

async fn run(
    services: &Services,
    session: Session<Authenticated>,
    request: SignRequest,
    context: &Context,
    tell: impl Tell,
    begun: Duration,
) -> Result<Answer, Failure> {
    let SignRequest {
        draft,
        scanner,
        poe,
        options,
        idempotency,
    } = request;
    let signers = services.signers();
    let (backend, is_other_key) = choose(services, &signers, &options)?;
    let session = entitle(services, session, poe, backend, is_other_key, &draft, context).await?;
    // A key that was retired meanwhile signs no more, but what it has answered is answered again.
    let keyed = idempotency.is_some();
    if !keyed || backend.info.state == KeyState::Revoked {
        backend.check_active().at(Stage::Entitlement)?;
    }
    let asked = (&draft, scanner, &options);
    let mut held = match take_turn(services, &session, idempotency, asked, context).await? {
        Todo::Sign(held) => held,
        Todo::Repeat(audit_id, kept) => return repeat(&session, draft, scanner, audit_id, kept),
    };
    backend.check_active().at(Stage::Entitlement)?;
    let item = admit(services, Arc::new(session), draft, context).await?;
    let rate = item.rate();
    let answered = async {
        let item = verify_item_release(services, item, scanner, context).await?;
        let key = lease(backend, options.min_life, services, context).await?;
        let timestamps = authority(services, &options)?;
        let attempt = begin(services, &mut held, context).await?;
        let item = record_intent(services, item, key, backend, attempt, context).await?;
        let durability = held.failure_durability();
        let signed = make_signature(services, item, backend, context, begun, durability).await;
        let item = signed.inspect_err(|failure| held.failed(failure))?;
        let timestamped = timestamp(services, item, timestamps, context, begun, durability).await;
        let item = timestamped.inspect_err(|failure| held.failed(failure))?;
        let released = release(services, item, context, begun).await?;
        let told = tell(&released)?;
        keep(services, held, released, told, context).await
    };
    answered.await.map_err(|failure| failure.with_rate(rate))
}
