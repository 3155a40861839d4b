//! Questions that sign nothing.

use std::sync::Arc;

use super::context::Context;
use super::error::{AskedAt, At, Failure, Refusal, Stage};
use super::services::Services;
use super::state::{Authenticated, Session};
use crate::domain::digest::ImageDigest;
use crate::domain::ids::AuditId;
use crate::ports::{ShownRecords, TrailError, TreeHead};
use crate::quota::{Charge, Lane, RateStatus};
use crate::referrer::{Check, Checked, ReferrerError};

/// What is known of a scanner image (contract §2.3), at a rate of its own.
pub async fn verify_release(
    services: &Services,
    session: &Session<Authenticated>,
    digest: ImageDigest,
    repository: Option<&str>,
    context: &Context,
) -> Result<(Checked, RateStatus), Failure> {
    let repository = match repository {
        None => None,
        Some(name) => {
            let configured = services
                .repositories
                .iter()
                .find(|configured| ***configured == *name);
            Some(Arc::clone(
                configured
                    .ok_or(ReferrerError::ForeignRepository)
                    .at(Stage::Shape)?,
            ))
        }
    };
    let rate = charge_question(services, session, context).await?;
    let check = Check {
        tenant: session.principal().token().tenant.clone(),
        digest,
        repository,
    };
    let asked = services.referrer.ask(check, context.deadline).await;
    let checked = asked
        .asked_at(Stage::Release)
        .map_err(|failure| failure.with_rate(Some(rate)))?;
    Ok((checked, rate))
}

/// At the rate of questions, which all of a tenant share.
pub async fn charge_question(
    services: &Services,
    session: &Session<Authenticated>,
    context: &Context,
) -> Result<RateStatus, Failure> {
    let tenant = session.principal().token().tenant.clone();
    let shard = services.quota.of(tenant.as_str());
    let charge = Charge {
        tenant,
        limits: services.policy.verify_limits,
        lane: Lane::Verify,
    };
    shard.ask(charge, context.deadline).await.asked_at(Stage::Quota)
}

/// The newest signed tree head of the trail, with a consistency proof if one is asked for (contract §2.5). For anyone.
pub async fn tree_head(
    services: &Services,
    from: Option<u64>,
    context: &Context,
) -> Result<TreeHead, Failure> {
    let head = services.trail.head(from);
    let answer = tokio::time::timeout(context.deadline.remaining(), head).await;
    answer.unwrap_or(Err(TrailError::Unavailable)).map_err(|error| {
        let stage = match error {
            TrailError::Beyond { .. } => Stage::Shape,
            TrailError::Busy | TrailError::Unavailable => Stage::Audit,
        };
        Failure::new(stage, error)
    })
}

/// The records of one audit id with their proofs (contract §2.5), at the rate of questions. Another tenant's are as if
/// there were none.
pub async fn audit_records(
    services: &Services,
    session: &Session<Authenticated>,
    id: AuditId,
    context: &Context,
) -> Result<(ShownRecords, RateStatus), Failure> {
    let rate = charge_question(services, session, context).await?;
    let asked = tokio::time::timeout(context.deadline.remaining(), services.trail.records(id)).await;
    let shown = asked
        .unwrap_or(Err(TrailError::Unavailable))
        .at(Stage::Audit)
        .map_err(|failure| failure.with_rate(Some(rate)))?;
    let own = |tenant: &str| *tenant == *session.principal().token().tenant.as_str();
    // Whose it is, the first record says: an outcome names its intent alone.
    let first = shown.records.first().and_then(|first| first.record.caller());
    let mut callers = shown.records.iter().filter_map(|shown| shown.record.caller());
    if first.is_some() && callers.all(|caller| own(&caller.tenant)) {
        Ok((shown, rate))
    } else {
        Err(Failure::new(Stage::Audit, Refusal::NoSuchRecord).with_rate(Some(rate)))
    }
}
