//! Who else says when a signature was there (contract §2.6: after the signature, before the audit outcome).

use std::time::Duration;

use super::context::{Context, SignOptions};
use super::error::{AskedAt, At, Failure, Stage};
use super::gates::timed;
use super::records;
use super::services::{Services, TimestampHandle};
use super::signing::after_failure;
use super::state::{Item, Signed, Timestamped};
use crate::audit::Durability;
use crate::domain::signing::SigningIdentity;
use crate::ports::Timestamp;
use crate::runtime::AskError;
use crate::timestamp::{Obtain, TimestampError};

/// What is kept back of a request's time, so that the trail can be told how it ended.
const RESERVE: Duration = Duration::from_millis(500);

/// The authority to ask, if the request wants a timestamp. One that is left alone for now ends the request here, before
/// anything is signed in vain.
pub(super) fn authority<'a>(
    services: &'a Services,
    options: &SignOptions,
) -> Result<Option<&'a TimestampHandle>, Failure> {
    let wanted = services
        .timestamps
        .as_ref()
        .filter(|_| options.timestamp != Some(false));
    if let Some(authority) = wanted {
        let refused_until = authority.health.borrow().refused_until;
        let now = services.clock.monotonic();
        if refused_until.is_some_and(|until| now < until) {
            return Err(TimestampError::Unavailable).at(Stage::Timestamp);
        }
    }
    Ok(wanted)
}

/// Obtains the timestamp, if one is wanted. Without it the signature does not leave, and the trail says so,
/// this firmly.
pub(super) async fn timestamp(
    services: &Services,
    item: Item<Signed>,
    authority: Option<&TimestampHandle>,
    context: &Context,
    begun: Duration,
    failure_durability: Durability,
) -> Result<Item<Timestamped>, Failure> {
    let Some(authority) = authority else {
        return Ok(item.timestamped(None));
    };
    match timed(services, "timestamp", obtain(&item, authority, context)).await {
        Ok(timestamp) => Ok(item.timestamped(Some(timestamp))),
        Err(mut failure) => {
            let duration = services.clock.monotonic().saturating_sub(begun);
            let code = failure.refusal.code().as_str();
            let record = records::withheld(services, item.audit_id(), item.signature(), code, duration);
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

async fn obtain(
    item: &Item<Signed>,
    authority: &TimestampHandle,
    context: &Context,
) -> Result<Timestamp, Failure> {
    let until = context.deadline.sooner(RESERVE);
    let ask = Obtain {
        tenant: item.session().principal().token().tenant.clone(),
        signature: item.signature().clone(),
        until,
    };
    let timestamp = match authority.mailbox.ask(ask, until).await {
        Err(AskError::Deadline) => Err(TimestampError::Unavailable).at(Stage::Timestamp),
        other => other.asked_at(Stage::Timestamp),
    }?;
    if is_in_life(item.key().identity(), &timestamp) {
        Ok(timestamp)
    } else {
        Err(TimestampError::OutsideLife).at(Stage::Timestamp)
    }
}

/// Verifiers judge a certificate at the time of the timestamp.
fn is_in_life(identity: &SigningIdentity, timestamp: &Timestamp) -> bool {
    identity.not_before.is_none_or(|begin| begin <= timestamp.time)
        && identity.not_after.is_none_or(|end| timestamp.time < end)
}
