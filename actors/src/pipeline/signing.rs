//! From a release that is trusted to a signature that may leave: intent, signature, outcome.

use std::time::Duration;

use super::context::Context;
use super::error::{AskedAt, At, Failure, Stage};
use super::gates::timed;
use super::idempotent::Attempt;
use super::records;
use super::services::Services;
use super::signers::BackendHandle;
use super::state::{Entitled, Item, Recorded, ReleaseVerified, Released, Session, Signed, Timestamped};
use crate::audit::Durability;
use crate::domain::digest::ImageDigest;
use crate::domain::envelope::PAYLOAD_TYPE;
use crate::domain::ids::AuditId;
use crate::domain::signing::{KeyState, Signature};
use crate::domain::statement::Stamp;
use crate::evidence::IntentReceipt;
use crate::runtime::{AskError, Deadline, Panicked, catch};
use crate::signer::{Disable, OpenKey, SignerError};

/// Time for the record of a failure, where the request's is over.
const FAILURE_TIME: Duration = Duration::from_secs(1);

/// Completes the statement and writes down what is about to be signed, durably where the backend is remote.
pub(super) async fn record_intent(
    services: &Services,
    item: Item<ReleaseVerified>,
    key: OpenKey,
    backend: &BackendHandle,
    attempt: Attempt,
    context: &Context,
) -> Result<Item<Recorded>, Failure> {
    not_revoked_meanwhile(services, backend)?;
    timed(services, "audit_intent", async {
        let (draft, pending) = item.take_draft();
        let scanner = pending.release().digest();
        let stamp = services.policy.stamp.then(|| stamp(pending.session(), scanner));
        let statement = draft.finish(stamp.as_ref());
        let Attempt { audit_id, retry_of } = attempt;
        let (session, release) = (pending.session(), pending.release());
        let record = records::intent(
            services,
            context,
            audit_id,
            session,
            release,
            &statement,
            key.identity(),
            retry_of,
        );
        let durability = if backend.info.remote {
            Durability::Durable
        } else {
            Durability::InOrder
        };
        let receipt = records::append(services, context, record, durability, None)
            .await
            .asked_at(Stage::Audit)?;
        Ok(pending.recorded(statement, key, IntentReceipt::new(audit_id), receipt))
    })
    .await
}

/// What is in progress goes on with the keys that it began with, but signs nothing with one that was revoked since.
fn not_revoked_meanwhile(services: &Services, backend: &BackendHandle) -> Result<(), Failure> {
    let now = services.signers();
    let same = now.backends.iter().find(|other| other.info.id == backend.info.id);
    match same.filter(|other| other.info.state == KeyState::Revoked) {
        Some(revoked) => revoked.check_active().at(Stage::Signing),
        None => Ok(()),
    }
}

/// What the gates say of a statement.
pub(super) fn stamp(session: &Session<Entitled>, scanner: ImageDigest) -> Stamp {
    let token = session.principal().token();
    Stamp {
        tenant: token.tenant.clone(),
        installation: token.installation.clone(),
        scanner,
    }
}

/// Makes the signature, verifies it where the contract asks for it, and records a failure as the outcome, this firmly.
pub(super) async fn make_signature(
    services: &Services,
    item: Item<Recorded>,
    backend: &BackendHandle,
    context: &Context,
    begun: Duration,
    failure_durability: Durability,
) -> Result<Item<Signed>, Failure> {
    let signed_from = services.clock.monotonic();
    let result = sign_and_check(services, &item, backend, context).await;
    let elapsed = services.clock.monotonic().saturating_sub(signed_from);
    services.observer.stage("sign", elapsed);
    services
        .observer
        .backend(backend.info.id.as_str(), "sign", elapsed, result.is_ok());
    match result {
        Ok(signature) => Ok(item.signed(signature)),
        Err(mut failure) => {
            let duration = services.clock.monotonic().saturating_sub(begun);
            let code = failure.refusal.code().as_str();
            let record = records::outcome(services, item.audit_id(), Err(code), duration);
            let after = Some(item.receipt());
            let context = after_failure(context);
            let appended = records::append(services, &context, record, failure_durability, after).await;
            if let Ok(Ok(_)) = appended {
                failure.audit_id = Some(item.audit_id());
            }
            Err(failure)
        }
    }
}

/// The request's own time may be over. Without a record of its failure the intent is closed as unknown at restart.
pub(super) fn after_failure(context: &Context) -> Context {
    Context {
        deadline: context.deadline.max(Deadline::after(FAILURE_TIME)),
        ..context.clone()
    }
}

async fn sign_and_check(
    services: &Services,
    item: &Item<Recorded>,
    backend: &BackendHandle,
    context: &Context,
) -> Result<Signature, Failure> {
    let key = item.key();
    // A backend that panics has failed, and its intent is closed like that of any other failure.
    let signing = catch(async { key.sign(item.warrant()).await });
    let signature = match tokio::time::timeout_at(context.deadline.instant(), signing).await {
        Ok(Ok(result)) => result.map_err(|error| {
            slog::warn!(services.log, "a backend did not sign";
                "backend" => %backend.info.id, "reason" => %error, "correlationId" => %context.correlation);
            Failure::new(Stage::Signing, SignerError::from(error))
        })?,
        Ok(Err(Panicked)) => return Err(Failure::new(Stage::Signing, AskError::Panicked)),
        Err(_) => return Err(Failure::new(Stage::Signing, AskError::Deadline)),
    };
    let sampled = is_sampled(item.audit_id(), services.policy.verify_sample);
    let must_verify = key.verify_always() || sampled;
    if must_verify && !key.verify(PAYLOAD_TYPE, &item.statement().payload, &signature) {
        // Whether the actor hears of it in time or not, this signature does not leave.
        let _ = backend.mailbox.insist(Disable, context.deadline).await;
        return Err(Failure::new(Stage::Signing, SignerError::SelfCheck));
    }
    Ok(signature)
}

/// One in `sample`, by the random tail of the audit id (RFC 9562 §5.7, `rand_b`).
fn is_sampled(audit_id: AuditId, sample: u8) -> bool {
    let [.., tail] = *audit_id.0.as_bytes();
    tail % sample.max(1) == 0
}

/// Makes the outcome durable, and only then lets the signature go.
pub(super) async fn release(
    services: &Services,
    item: Item<Timestamped>,
    context: &Context,
    begun: Duration,
) -> Result<Released, Failure> {
    timed(services, "audit_outcome", async {
        let duration = services.clock.monotonic().saturating_sub(begun);
        let record = records::outcome(services, item.audit_id(), Ok(item.signature()), duration);
        let after = Some(item.receipt());
        let appended = records::append(services, context, record, Durability::Durable, after).await;
        let outcome = appended.asked_at(Stage::Audit).map_err(|mut failure| {
            failure.audit_id = Some(item.audit_id());
            failure
        })?;
        Ok(item.released(outcome))
    })
    .await
}
