//! The dry run: every check of [`run`](super::run), no signature, no permit, no charge of the plan's rate.

use super::context::{Context, SignRequest};
use super::error::{AskedAt, At, Failure, Refusal, Stage};
use super::gates::{choose, entitle, lease, verify_scanner};
use super::records;
use super::services::Services;
use super::state::{Authenticated, Entitled, Session};
use crate::audit::Durability;
use crate::domain::ids::AuditId;
use crate::quota::{Charge, Lane, Look, RateStatus};

/// The gates that a dry run reports on (contract §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Rate, concurrency, size.
    Quota,
    /// Scanner image and version.
    Release,
    /// Whether the backend could sign now.
    Signing,
}

impl Gate {
    /// The name in the response.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Release => "release",
            Self::Signing => "signing",
        }
    }
}

/// What a gate would have said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateVerdict {
    /// It would have passed.
    Pass,
    /// It would have refused, for this reason.
    Fail(Refusal),
}

/// One gate's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateReport {
    /// The gate.
    pub gate: Gate,
    /// Its verdict.
    pub verdict: GateVerdict,
}

/// What a dry run found.
#[derive(Debug)]
pub struct Probe {
    /// All gates, each evaluated whatever the others said.
    pub gates: Vec<GateReport>,
    /// Whose it was, under which plan.
    pub session: Session<Entitled>,
    /// The rate of dry runs.
    pub rate: RateStatus,
    /// Its name in the trail.
    pub audit_id: AuditId,
}

/// Runs every gate without consequences. Failures of token, proof of entitlement and shape answer as when signing.
pub async fn probe(
    services: &Services,
    session: Session<Authenticated>,
    request: SignRequest,
    context: &Context,
) -> Result<Probe, Failure> {
    let who = records::Who::of(session.principal());
    let result = run(services, session, request, context).await;
    records::recorded(services, context, who, true, result).await
}

async fn run(
    services: &Services,
    session: Session<Authenticated>,
    request: SignRequest,
    context: &Context,
) -> Result<Probe, Failure> {
    let SignRequest {
        draft,
        scanner,
        poe,
        options,
        idempotency: _,
    } = request;
    let signers = services.signers();
    let (backend, is_other_key) = choose(services, &signers, &options)?;
    let session = entitle(services, session, poe, backend, is_other_key, &draft, context).await?;
    backend.check_active().at(Stage::Entitlement)?;
    let tenant = session.principal().token().tenant.clone();
    let limits = session.grant().entitlement().limits;
    let shard = services.quota.of(tenant.as_str());
    let charge = Charge {
        tenant: tenant.clone(),
        limits,
        lane: Lane::DryRun,
    };
    let rate = shard.ask(charge, context.deadline).await.asked_at(Stage::Quota)?;

    let look = Look {
        tenant,
        limits,
        artifact_bytes: draft.predicate_bytes(),
    };
    let quota = shard.ask(look, context.deadline).await.asked_at(Stage::Quota);
    let release = verify_scanner(services, &session, scanner, context)
        .await
        .map(drop);
    let signing = lease(backend, options.min_life, services, context)
        .await
        .map(drop);
    let gates = [
        (Gate::Quota, quota),
        (Gate::Release, release),
        (Gate::Signing, signing),
    ]
    .map(|(gate, result)| GateReport {
        gate,
        verdict: verdict(result),
    })
    .to_vec();

    let audit_id = AuditId(services.ids.uuid());
    let why = gates.iter().find_map(|report| match &report.verdict {
        GateVerdict::Pass => None,
        GateVerdict::Fail(refusal) => Some((report.gate.as_str(), refusal.code().as_str())),
    });
    let record = records::refusal(
        services,
        context,
        audit_id,
        &records::Who::of(session.principal()),
        true,
        why,
    );
    records::append(services, context, record, Durability::Durable, None)
        .await
        .asked_at(Stage::Audit)
        .map_err(|failure| failure.with_rate(Some(rate)))?;
    Ok(Probe {
        gates,
        session,
        rate,
        audit_id,
    })
}

fn verdict(result: Result<(), Failure>) -> GateVerdict {
    match result {
        Ok(()) => GateVerdict::Pass,
        Err(failure) => GateVerdict::Fail(failure.refusal),
    }
}
