//! The gates between a known caller and a signature, each asking its actor.

use std::sync::Arc;
use std::time::Duration;

use super::context::{Context, SignOptions};
use super::error::{AskedAt, At, Failure, Refusal, Stage};
use super::recent::{keep, recall};
use super::services::Services;
use super::signers::{BackendHandle, Signers};
use super::state::{Admitted, Authenticated, Entitled, Item, ReleaseVerified, Session};
use crate::domain::digest::ImageDigest;
use crate::domain::entitlement::Entitlement;
use crate::domain::release::{ReleaseReport, Verdict};
use crate::domain::statement::StatementDraft;
use crate::domain::tenant::TenantId;
use crate::entitlement::{
    EntitlementError, Poe, Resolution, Resolve, check_features, check_presenter, check_version,
};
use crate::evidence::{Grant, Principal, ReleaseEvidence};
use crate::quota::Admit;
use crate::referrer::{Check, Checked, ReferrerError};
use crate::runtime::AskError;
use crate::signer::{Lease, OpenKey, SignerError};

/// What the options ask for must be there: the backend they choose, and whether it is another than the default one.
pub(super) fn choose<'a>(
    services: &Services,
    signers: &'a Signers,
    options: &SignOptions,
) -> Result<(&'a BackendHandle, bool), Failure> {
    let mode = options.mode.unwrap_or(signers.defaults.mode);
    let chosen = signers.backend(mode, options.key.as_ref()).at(Stage::Shape)?;
    if options.timestamp == Some(true) && services.timestamps.is_none() {
        return Err(Failure::new(Stage::Shape, Refusal::TimestampNotConfigured));
    }
    Ok(chosen)
}

/// Proof of entitlement, tenant and installation, features and predicate type.
pub(super) async fn entitle(
    services: &Services,
    session: Session<Authenticated>,
    poe: Option<Poe>,
    backend: &BackendHandle,
    is_other_key: bool,
    draft: &StatementDraft,
    context: &Context,
) -> Result<Session<Entitled>, Failure> {
    timed(services, "entitlement", async {
        let entitlement = license(services, session.principal(), poe, context).await?;
        let grant = grant(services, &entitlement, backend, is_other_key, draft)?;
        Ok(session.entitled(grant))
    })
    .await
}

/// What the proof of entitlement says, if it is its presenter's.
pub(super) async fn license(
    services: &Services,
    principal: &Principal,
    poe: Option<Poe>,
    context: &Context,
) -> Result<Arc<Entitlement>, Failure> {
    let poe = poe.ok_or(EntitlementError::Required).at(Stage::Entitlement)?;
    // By tenant, so that one shard sees every proof of a licence.
    let tenant = principal.token().tenant.clone();
    let entitlement = facts_of(services, poe, tenant, context).await?;
    let (token, binding, now) = (principal.token(), principal.binding(), services.clock.now());
    check_presenter(&entitlement, token, binding, now).at(Stage::Entitlement)?;
    Ok(entitlement)
}

/// The facts of a proof: as told a moment ago, or as its actor says.
async fn facts_of(
    services: &Services,
    poe: Poe,
    tenant: TenantId,
    context: &Context,
) -> Result<Arc<Entitlement>, Failure> {
    let recent = services.recent.entitlements.as_ref();
    // The basis as of before asking: what is answered on a newer one is asked for once more.
    let key = services.licensing.basis().map(|basis| (poe.digest(), basis));
    if let Some(key) = key
        && let Some(facts) = recall(recent, &key, services)
    {
        return Ok(facts);
    }
    let shard = services.entitlement.of(tenant.as_str());
    let Resolution { facts, standing } = match shard.ask(Resolve { poe, tenant }, context.deadline).await {
        Err(AskError::Deadline) => Err(Failure::new(Stage::Entitlement, EntitlementError::Unavailable)),
        other => other.asked_at(Stage::Entitlement),
    }?;
    if let Some(key) = key {
        keep(recent, key, &facts, standing, services);
    }
    Ok(facts)
}

/// Whether that covers what is asked: mode, key, predicate type; and whether this service signs it at all.
pub(super) fn grant(
    services: &Services,
    entitlement: &Arc<Entitlement>,
    backend: &BackendHandle,
    is_other_key: bool,
    draft: &StatementDraft,
) -> Result<Grant, Failure> {
    let info = &backend.info;
    let key = is_other_key.then_some(&info.id);
    check_features(entitlement, info.mode, key, draft.predicate_type()).at(Stage::Entitlement)?;
    if !services.signs_predicate(draft.predicate_type()) {
        let what =
            "this service does not sign this predicateType: see its configuration signing.predicate_types";
        return Err(Failure::new(
            Stage::Entitlement,
            EntitlementError::Predicate(what.into()),
        ));
    }
    Ok(Grant::new(Arc::clone(entitlement), info.mode, info.id.clone()))
}

/// Rate, concurrency, size.
pub(super) async fn admit(
    services: &Services,
    session: Arc<Session<Entitled>>,
    draft: StatementDraft,
    context: &Context,
) -> Result<Item<Admitted>, Failure> {
    timed(services, "quota", async {
        let tenant = session.principal().token().tenant.clone();
        let limits = session.grant().entitlement().limits;
        let shard = services.quota.of(tenant.as_str());
        let ask = Admit {
            tenant,
            limits,
            artifact_bytes: draft.predicate_bytes(),
        };
        let (rate, admission) = shard.ask(ask, context.deadline).await.at(Stage::Quota)?;
        let admission = admission
            .at(Stage::Quota)
            .map_err(|failure| failure.with_rate(rate))?;
        Ok(Item::admitted(session, draft, admission.permit, rate))
    })
    .await
}

pub(super) async fn verify_item_release(
    services: &Services,
    item: Item<Admitted>,
    scanner: ImageDigest,
    context: &Context,
) -> Result<Item<ReleaseVerified>, Failure> {
    let evidence = timed(
        services,
        "release",
        verify_scanner(services, item.session(), scanner, context),
    )
    .await?;
    Ok(item.release_verified(evidence))
}

/// The scanner image: the one the token names, a trusted release, inside the plan's version window.
pub(super) async fn verify_scanner(
    services: &Services,
    session: &Session<Entitled>,
    scanner: ImageDigest,
    context: &Context,
) -> Result<ReleaseEvidence, Failure> {
    let attested = session.principal().token().scanner_image;
    let bound = check_scanner_claim(attested, scanner, services.policy.scanner_binding_required)
        .at(Stage::Release)?;
    let report = report_of(services, session.principal(), scanner, context).await?;
    if report.verdict != Verdict::Trusted || report.digest != scanner {
        return Err(Failure::new(Stage::Release, ReferrerError::Untrusted));
    }
    check_version(session.grant().entitlement(), report.release_tag.as_deref()).at(Stage::Release)?;
    Ok(ReleaseEvidence::new(report, bound))
}

/// The verdict about an image: as told a moment ago, or as the actor says.
async fn report_of(
    services: &Services,
    principal: &Principal,
    digest: ImageDigest,
    context: &Context,
) -> Result<Arc<ReleaseReport>, Failure> {
    let recent = services.recent.releases.as_ref();
    if let Some(report) = recall(recent, &digest, services) {
        return Ok(report);
    }
    let check = Check {
        tenant: principal.token().tenant.clone(),
        digest,
        repository: None,
    };
    let asked = services.referrer.ask(check, context.deadline).await;
    let Checked { report, standing, .. } = asked.asked_at(Stage::Release).map_err(|failure| match failure
        .refusal
    {
        // Absent is not trusted (contract §2.6).
        Refusal::Referrer(ReferrerError::NotFound) => Failure::new(Stage::Release, ReferrerError::Untrusted),
        _ => failure,
    })?;
    keep(recent, digest, &report, standing, services);
    Ok(report)
}

/// What the caller says of the scanner against what the Authority says (contract §6). True when the Authority said it.
fn check_scanner_claim(
    attested: Option<ImageDigest>,
    claimed: ImageDigest,
    required: bool,
) -> Result<bool, ReferrerError> {
    match attested {
        Some(attested) if attested == claimed => Ok(true),
        Some(_) => Err(ReferrerError::ScannerMismatch(
            "scannerImageDigest is not the scanner that the token was issued to",
        )),
        None if required => Err(ReferrerError::ScannerMismatch(
            "the token names no scanner image, and this service requires it to",
        )),
        None => Ok(false),
    }
}

/// The backend's open key: as published when it lives long enough, else from its actor.
pub(super) async fn lease(
    backend: &BackendHandle,
    min_life: Duration,
    services: &Services,
    context: &Context,
) -> Result<OpenKey, Failure> {
    let now = services.clock.now();
    if let Some(key) = backend
        .open_key()
        .filter(|key| !key.is_lost() && key.lives_for(min_life, now))
    {
        return Ok(key);
    }
    match backend.mailbox.ask(Lease { min_life }, context.deadline).await {
        Err(AskError::Deadline) => Err(Failure::new(Stage::Signing, SignerError::Unavailable)),
        other => other.asked_at(Stage::Signing),
    }
}

/// Tells how long a stage took, however it ended.
pub(super) async fn timed<T>(
    services: &Services,
    stage: &'static str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let begun = services.clock.monotonic();
    let result = work.await;
    services
        .observer
        .stage(stage, services.clock.monotonic().saturating_sub(begun));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_decides_about_the_scanner() {
        let image = |byte: u8| ImageDigest::from(crate::domain::digest::Sha256Digest([byte; 32]));
        assert_eq!(check_scanner_claim(Some(image(1)), image(1), true), Ok(true));
        assert_eq!(check_scanner_claim(None, image(1), false), Ok(false));
        assert!(check_scanner_claim(None, image(1), true).is_err());
        assert!(check_scanner_claim(Some(image(2)), image(1), false).is_err());
    }
}
