//! Forms audit records from what the gates hand on.

use std::sync::Arc;
use std::time::Duration;

use super::context::Context;
use super::error::{Failure, Stage};
use super::services::Services;
use super::state::Session;
use crate::audit::{Append, AuditError, Durability, Receipt};
use crate::domain::audit::{
    AuditRecord, Caller, Intent, Outcome, OutcomeKind, Refusal as RefusalRecord, SCHEMA_VERSION,
};
use crate::domain::caller::{AccessToken, SenderBinding};
use crate::domain::code::Code;
use crate::domain::digest::Sha256Digest;
use crate::domain::ids::AuditId;
use crate::domain::signing::{Signature, SigningIdentity};
use crate::domain::statement::Statement;
use crate::evidence::{Principal, ReleaseEvidence};
use crate::pipeline::state::{Authenticated, Entitled};
use crate::quota::{Charge, Lane};
use crate::runtime::AskError;

/// Whom a record will name, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Who {
    token: Arc<AccessToken>,
    binding: SenderBinding,
}

impl Who {
    pub(super) fn of(principal: &Principal) -> Self {
        Self {
            token: principal.shared_token(),
            binding: principal.binding(),
        }
    }

    fn caller(&self) -> Caller {
        Caller {
            tenant: self.token.tenant.to_string(),
            installation: self.token.installation.to_string(),
            subject: self.token.subject.clone(),
            client_id: self.token.client_id.clone(),
            sender_binding: self.binding.kind().to_owned(),
        }
    }
}

#[allow(
    clippy::too_many_arguments,
    reason = "a record gathers what every gate has to say"
)]
pub(super) fn intent(
    services: &Services,
    context: &Context,
    audit_id: AuditId,
    session: &Session<Entitled>,
    release: &ReleaseEvidence,
    statement: &Statement,
    identity: &SigningIdentity,
    retry_of: Option<AuditId>,
) -> AuditRecord {
    let entitlement = session.grant().entitlement();
    AuditRecord::Intent(Box::new(Intent {
        schema: SCHEMA_VERSION,
        audit_id,
        correlation_id: context.correlation.to_string(),
        time: services.clock.now(),
        caller: Who::of(session.principal()).caller(),
        license: entitlement.license.clone(),
        plan: entitlement.plan.clone(),
        scanner_digest: release.digest().to_string(),
        release_tag: release.report().release_tag.clone(),
        scanner_bound: release.bound(),
        subjects: statement.listed_subjects.clone(),
        subject_count: statement.subject_count,
        subjects_digest: statement.subjects_digest.to_hex(),
        predicate_type: statement.predicate_type.clone(),
        payload_digest: statement.digest.to_hex(),
        backend: identity.backend.to_string(),
        key_id: identity.key_id.to_string(),
        certificate_serial: identity.certificate_serial.clone(),
        gates: ["authentication", "entitlement", "quota", "release"]
            .map(str::to_owned)
            .to_vec(),
        retry_of,
    }))
}

pub(super) fn outcome(
    services: &Services,
    audit_id: AuditId,
    result: Result<&Signature, &str>,
    duration: Duration,
) -> AuditRecord {
    AuditRecord::Outcome(Box::new(Outcome {
        schema: SCHEMA_VERSION,
        audit_id,
        time: services.clock.now(),
        outcome: if result.is_ok() {
            OutcomeKind::Signed
        } else {
            OutcomeKind::Failed
        },
        signature_digest: result
            .ok()
            .map(|signature| Sha256Digest::of(&signature.0).to_hex()),
        code: result.err().map(str::to_owned),
        duration_micros: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
    }))
}

/// The outcome of a signature that was made and does not leave: nobody has seen it, and its digest is in the trail in case
/// somebody does.
pub(super) fn withheld(
    services: &Services,
    audit_id: AuditId,
    signature: &Signature,
    code: &str,
    duration: Duration,
) -> AuditRecord {
    let mut record = outcome(services, audit_id, Err(code), duration);
    if let AuditRecord::Outcome(outcome) = &mut record {
        outcome.signature_digest = Some(Sha256Digest::of(&signature.0).to_hex());
    }
    record
}

/// The record of a refusal, or of a dry run that was answered (then without stage and code).
pub(super) fn refusal(
    services: &Services,
    context: &Context,
    audit_id: AuditId,
    who: &Who,
    dry_run: bool,
    why: Option<(&str, &str)>,
) -> AuditRecord {
    AuditRecord::Refusal(Box::new(RefusalRecord {
        schema: SCHEMA_VERSION,
        audit_id,
        correlation_id: context.correlation.to_string(),
        time: services.clock.now(),
        caller: who.caller(),
        dry_run,
        stage: why.map(|(stage, _)| stage.to_owned()),
        code: why.map(|(_, code)| code.to_owned()),
    }))
}

/// Appends a record, and waits for it no longer than anyone should have to.
pub(super) async fn append(
    services: &Services,
    context: &Context,
    record: AuditRecord,
    durability: Durability,
    after: Option<Receipt>,
) -> Result<Result<Receipt, AuditError>, AskError> {
    // Nothing new is begun on a disk that hangs. What has been begun is told to it in any case: it may come back.
    if after.is_none() && services.audit_stalls() {
        return Ok(Err(AuditError::Unavailable));
    }
    let deadline = context.deadline.or_after(services.policy.audit_patience);
    // A refusal stands for itself, and its record outlives its worker.
    let stands_alone = matches!(record, AuditRecord::Refusal(_));
    let append = Append {
        record,
        durability,
        after,
    };
    let answer = match services.desk.as_ref().filter(|_| !stands_alone) {
        Some(desk) => desk.ask(append, deadline).await,
        None => services.audit.ask(append, deadline).await,
    };
    match answer {
        // A trail that hangs is a trail that cannot be written (contract §8: a fast 503, never a hang).
        Err(AskError::Deadline) => Ok(Err(AuditError::Unavailable)),
        other => other,
    }
}

/// A result as it is, its failure recorded where nothing has recorded it yet.
pub(super) async fn recorded<T>(
    services: &Services,
    context: &Context,
    who: Who,
    dry_run: bool,
    result: Result<T, Failure>,
) -> Result<T, Failure> {
    match result {
        Err(mut failure) if failure.audit_id.is_none() => {
            let (stage, code) = (failure.stage, failure.refusal.code());
            failure.audit_id = note_refusal(services, context, &who, (stage, code), dry_run).await;
            Err(failure)
        }
        other => other,
    }
}

/// Records that a request of an authenticated caller was refused before the pipeline had it: for its body. Best effort;
/// answers the record's name, if there is one.
pub async fn note_refused(
    services: &Services,
    session: &Session<Authenticated>,
    stage: Stage,
    code: Code,
    context: &Context,
) -> Option<AuditId> {
    let who = Who::of(session.principal());
    note_refusal(services, context, &who, (stage, code), false).await
}

/// Records that an authenticated request was refused, at a bounded rate for each tenant: who is refused without end must
/// not fill the disk that the trail needs. Best effort: a refusal needs no durable trail to be safe.
async fn note_refusal(
    services: &Services,
    context: &Context,
    who: &Who,
    (stage, code): (Stage, Code),
    dry_run: bool,
) -> Option<AuditId> {
    let tenant = who.token.tenant.clone();
    let shard = services.quota.of(tenant.as_str());
    let charge = Charge {
        tenant,
        limits: services.policy.refusal_limits,
        lane: Lane::Refusal,
    };
    if let Ok(Err(_)) = shard.ask(charge, context.deadline).await {
        return None;
    }
    let audit_id = AuditId(services.ids.uuid());
    let why = (stage.as_str(), code.as_str());
    let record = refusal(services, context, audit_id, who, dry_run, Some(why));
    let appended = append(services, context, record, Durability::InOrder, None).await;
    matches!(appended, Ok(Ok(_))).then_some(audit_id)
}
