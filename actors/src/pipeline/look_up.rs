//! Questions that sign nothing.

use std::sync::Arc;

use super::context::Context;
use super::error::{AskedAt, At, Failure, Stage};
use super::services::Services;
use super::state::{Authenticated, Session};
use crate::domain::digest::ImageDigest;
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
    let tenant = session.principal().token().tenant.clone();
    let shard = services.quota.of(tenant.as_str());
    let charge = Charge {
        tenant: tenant.clone(),
        limits: services.policy.verify_limits,
        lane: Lane::Verify,
    };
    let rate = shard.ask(charge, context.deadline).await.asked_at(Stage::Quota)?;
    let check = Check {
        tenant,
        digest,
        repository,
    };
    let asked = services.referrer.ask(check, context.deadline).await;
    let checked = asked
        .asked_at(Stage::Release)
        .map_err(|failure| failure.with_rate(Some(rate)))?;
    Ok((checked, rate))
}
