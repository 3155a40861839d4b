//! The flow. Each step names the gate it asks; what a step needs from the one before, its types demand.

use std::sync::Arc;
use std::time::Duration;

use super::context::{Context, SignRequest};
use super::error::{AskedAt, At, Failure, Refusal, Stage};
use super::records;
use super::services::{BackendHandle, Services};
use super::state::{
    Admitted, Authenticated, Entitled, Item, Recorded, ReleaseVerified, Released, Session, Signed, Unverified,
};
use crate::audit::Durability;
use crate::auth::{AuthError, AuthorityKeys, KeysFor, SpendProof, check_binding, proof_required};
use crate::domain::caller::{AccessToken, Scope};
use crate::domain::digest::ImageDigest;
use crate::domain::envelope::PAYLOAD_TYPE;
use crate::domain::ids::AuditId;
use crate::domain::release::Verdict;
use crate::domain::statement::{Stamp, StatementDraft};
use crate::entitlement::{EntitlementError, Resolve, check_grant, check_version};
use crate::evidence::{Grant, IntentReceipt, Principal, ReleaseEvidence};
use crate::ports::TokenRejection;
use crate::quota::{Admit, Charge, Lane, RateStatus};
use crate::referrer::{Check, Checked, ReferrerError};
use crate::runtime::{AskError, Panicked, catch};
use crate::signer::{Disable, Lease, OpenKey, SignerError};

/// How far a proof's `iat` may lie ahead of our clock (contract §3).
const PROOF_AHEAD_SECONDS: i64 = 30;

/// From the headers alone: token, sender binding, scope, and last the single use of the proof. Before this has passed,
/// no byte of a body is read.
pub async fn authenticate(
    services: &Services,
    session: Session<Unverified>,
    scope: Scope,
    context: &Context,
) -> Result<Session<Authenticated>, Failure> {
    timed(services, "authenticate", async {
        let now = services.clock.now();
        let credentials = session.credentials();
        let token = verify_token(services, &credentials.token, context).await?;
        let proof = if proof_required(&token, credentials).at(Stage::Authentication)? {
            let proof = services
                .proofs
                .verify(credentials, &token, now)
                .map_err(AuthError::from);
            Some(proof.at(Stage::Authentication)?)
        } else {
            None
        };
        let binding = check_binding(&token, credentials, proof.as_ref()).at(Stage::Authentication)?;
        // Who may sign may ask, too (contract §2.3).
        let implied = scope == Scope::Verify && token.has_scope(Scope::Sign);
        if !(token.has_scope(scope) || implied) {
            return Err(Failure::new(Stage::Authentication, AuthError::Scope(scope)));
        }
        let body = proof.as_ref().and_then(|proof| proof.body);
        if let Some(proof) = proof {
            let window_seconds = services.proofs.window_seconds();
            // Where no nonce can be asked for, a proof is taken at its word about its age.
            let ahead_seconds = if services.proofs.nonce(now).is_some() {
                PROOF_AHEAD_SECONDS
            } else {
                0
            };
            let spend = SpendProof {
                tenant: token.tenant.clone(),
                proof,
                window_seconds,
                ahead_seconds,
            };
            let shard = services.auth.of(token.tenant.as_str());
            let spent = shard
                .ask(spend, context.deadline)
                .await
                .asked_at(Stage::Authentication);
            spent.map_err(|failure| without_nonces(services, failure))?;
        }
        Ok(session.authenticated(Principal::new(Arc::new(token), binding, body)))
    })
    .await
}

/// A server that hands out no nonces cannot ask for one.
fn without_nonces(services: &Services, failure: Failure) -> Failure {
    let asks = failure.refusal == Refusal::Auth(AuthError::NonceRequired);
    if asks && services.proofs.nonce(services.clock.now()).is_none() {
        let what = "the proof is older than this server: make a new one for every request";
        return Failure::new(failure.stage, AuthError::Proof(what.into()));
    }
    failure
}

/// With the published keys; with freshly fetched ones when the token names a key that these do not have.
async fn verify_token(services: &Services, token: &str, context: &Context) -> Result<AccessToken, Failure> {
    let mut keys = authority_keys(services, None, context).await?;
    for fetched in [false, true] {
        match keys.keys.verify(token, services.clock.now()) {
            Ok(token) => return Ok(token),
            Err(TokenRejection::UnknownKey { kid }) if !fetched => {
                keys = authority_keys(services, Some(kid), context).await?;
            }
            Err(rejection) => return Err(Failure::new(Stage::Authentication, AuthError::from(rejection))),
        }
    }
    Err(Failure::new(
        Stage::Authentication,
        AuthError::Token("the token's key is not known".into()),
    ))
}

async fn authority_keys(
    services: &Services,
    missing: Option<String>,
    context: &Context,
) -> Result<AuthorityKeys, Failure> {
    if missing.is_none() {
        let age = |keys: &AuthorityKeys| services.clock.monotonic().saturating_sub(keys.fetched);
        let published = services.authority_keys.borrow().clone();
        if let Some(keys) = published.filter(|keys| age(keys) < services.policy.keys_refresh_after) {
            return Ok(keys);
        }
    }
    let asked = services
        .auth
        .first()
        .ask(KeysFor { missing }, context.deadline)
        .await;
    match asked {
        // The fetch has not come back in time: the Authority is what is missing, not this service's patience.
        Err(AskError::Deadline) => Err(Failure::new(
            Stage::Authentication,
            AuthError::AuthorityUnavailable,
        )),
        other => other.asked_at(Stage::Authentication),
    }
}

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
    match result {
        Err(mut failure) if failure.audit_id.is_none() => {
            failure.audit_id = records::note_refusal(services, context, caller, &failure, false).await;
            Err(failure)
        }
        other => other,
    }
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
    let mode = options.mode.unwrap_or(services.policy.default_mode);
    let (backend, is_other_key) = services.backend(mode, options.key.as_ref()).at(Stage::Shape)?;
    if options.timestamp == Some(true) {
        return Err(Failure::new(Stage::Shape, Refusal::TimestampNotConfigured));
    }
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

/// Proof of entitlement, tenant and installation, features and predicate type.
pub(super) async fn entitle(
    services: &Services,
    session: Session<Authenticated>,
    poe: Option<crate::entitlement::Poe>,
    backend: &BackendHandle,
    is_other_key: bool,
    draft: &StatementDraft,
    context: &Context,
) -> Result<Session<Entitled>, Failure> {
    timed(services, "entitlement", async {
        let poe = poe.ok_or(EntitlementError::Required).at(Stage::Entitlement)?;
        let shard = services.entitlement.of(&poe.digest().to_hex());
        let entitlement = match shard.ask(Resolve { poe }, context.deadline).await {
            Err(AskError::Deadline) => Err(Failure::new(Stage::Entitlement, EntitlementError::Unavailable)),
            other => other.asked_at(Stage::Entitlement),
        }?;
        let principal = session.principal();
        let info = &backend.info;
        let key = is_other_key.then_some(&info.id);
        let (token, binding, now) = (principal.token(), principal.binding(), services.clock.now());
        check_grant(&entitlement, token, binding, info.mode, key, draft.predicate_type(), now).at(Stage::Entitlement)?;
        Services::check_active(backend).at(Stage::Entitlement)?;
        if !services.signs_predicate(draft.predicate_type()) {
            let what = "this service does not sign this predicateType: see its configuration signing.predicate_types";
            return Err(Failure::new(Stage::Entitlement, EntitlementError::Predicate(what.into())));
        }
        let grant = Grant::new(entitlement, info.mode, info.id.clone());
        Ok(session.entitled(grant))
    })
    .await
}

/// Rate, concurrency, size.
async fn admit(
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

async fn verify_item_release(
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
    let asked = services
        .referrer
        .ask(
            Check {
                digest: scanner,
                repository: None,
            },
            context.deadline,
        )
        .await;
    let Checked { report, .. } = asked
        .asked_at(Stage::Release)
        .map_err(|failure| match failure.refusal {
            // Absent is not trusted (contract §2.6).
            Refusal::Referrer(ReferrerError::NotFound) => {
                Failure::new(Stage::Release, ReferrerError::Untrusted)
            }
            _ => failure,
        })?;
    if report.verdict != Verdict::Trusted || report.digest != scanner {
        return Err(Failure::new(Stage::Release, ReferrerError::Untrusted));
    }
    check_version(session.grant().entitlement(), report.release_tag.as_deref()).at(Stage::Release)?;
    Ok(ReleaseEvidence::new(report, bound))
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
    let published = backend.open.borrow().clone();
    if let Some(key) = published.filter(|key| key.lives_for(min_life, now)) {
        return Ok(key);
    }
    match backend.mailbox.ask(Lease { min_life }, context.deadline).await {
        Err(AskError::Deadline) => Err(Failure::new(Stage::Signing, SignerError::Unavailable)),
        other => other.asked_at(Stage::Signing),
    }
}

/// Completes the statement and writes down what is about to be signed, durably where the backend is remote.
async fn record_intent(
    services: &Services,
    item: Item<ReleaseVerified>,
    key: OpenKey,
    backend: &BackendHandle,
    context: &Context,
) -> Result<Item<Recorded>, Failure> {
    timed(services, "audit_intent", async {
        let (draft, pending) = item.take_draft();
        let token = pending.session().principal().token();
        let stamp = services.policy.stamp.then(|| Stamp {
            tenant: token.tenant.clone(),
            installation: token.installation.clone(),
            scanner: pending.release().digest(),
        });
        let statement = draft.finish(stamp.as_ref());
        let audit_id = AuditId(services.ids.uuid());
        let (session, release) = (pending.session(), pending.release());
        let record = records::intent(
            services,
            context,
            audit_id,
            session,
            release,
            &statement,
            key.identity(),
        );
        let durability = if backend.info.remote {
            Durability::Durable
        } else {
            Durability::InOrder
        };
        let receipt = records::append(&services.audit, context, record, durability, None)
            .await
            .asked_at(Stage::Audit)?;
        Ok(pending.recorded(statement, key, IntentReceipt::new(audit_id), receipt))
    })
    .await
}

/// Makes the signature, verifies it where the contract asks for it, and records a failure as the outcome.
async fn make_signature(
    services: &Services,
    item: Item<Recorded>,
    backend: &BackendHandle,
    context: &Context,
    begun: Duration,
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
            // Nothing leaves, so nothing waits for this record; without it the intent is closed as unknown at restart.
            if records::append(&services.audit, context, record, Durability::InOrder, after)
                .await
                .is_ok()
            {
                failure.audit_id = Some(item.audit_id());
            }
            Err(failure)
        }
    }
}

async fn sign_and_check(
    services: &Services,
    item: &Item<Recorded>,
    backend: &BackendHandle,
    context: &Context,
) -> Result<crate::domain::signing::Signature, Failure> {
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
        let _ = backend.mailbox.ask(Disable, context.deadline).await;
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
async fn release(
    services: &Services,
    item: Item<Signed>,
    context: &Context,
    begun: Duration,
) -> Result<Released, Failure> {
    timed(services, "audit_outcome", async {
        let duration = services.clock.monotonic().saturating_sub(begun);
        let record = records::outcome(services, item.audit_id(), Ok(item.signature()), duration);
        let after = Some(item.receipt());
        let appended = records::append(&services.audit, context, record, Durability::Durable, after).await;
        let outcome = appended.asked_at(Stage::Audit).map_err(|mut failure| {
            failure.audit_id = Some(item.audit_id());
            failure
        })?;
        Ok(item.released(outcome))
    })
    .await
}

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
        tenant,
        limits: services.policy.verify_limits,
        lane: Lane::Verify,
    };
    let rate = shard.ask(charge, context.deadline).await.asked_at(Stage::Quota)?;
    let asked = services
        .referrer
        .ask(Check { digest, repository }, context.deadline)
        .await;
    let checked = asked
        .asked_at(Stage::Release)
        .map_err(|failure| failure.with_rate(Some(rate)))?;
    Ok((checked, rate))
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
