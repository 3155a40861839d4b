//! What the QuotaActor is asked.

use super::{QuotaError, RateStatus};
use crate::domain::plan::PlanLimits;
use crate::domain::tenant::TenantId;
use crate::evidence::Permit;
use crate::runtime::Request;

/// Admits one signature: rate, then concurrency, then size. A token of the rate is charged whatever comes after it.
#[derive(Debug)]
pub struct Admit {
    /// The verified tenant.
    pub tenant: TenantId,
    /// Its plan, as of now: a change takes effect with this very answer.
    pub limits: PlanLimits,
    /// Size of the predicate as received, in bytes.
    pub artifact_bytes: u64,
}

/// An admitted signature.
#[derive(Debug)]
pub struct Admission {
    /// Gives the concurrency back when dropped.
    pub permit: Permit,
}

impl Request for Admit {
    /// The rate as it stands now, and the admission.
    type Answer = (Option<RateStatus>, Result<Admission, QuotaError>);
}

/// Which of a tenant's rates is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Signatures: for one that has its permit already, as all items of a batch but the first few have.
    Sign,
    /// Dry runs: a rate of their own equal to the plan's.
    DryRun,
    /// Replays of answers kept under an idempotency key: a rate of their own equal to the plan's.
    Replay,
    /// `verify/…` calls.
    Verify,
    /// Records of refusals: what a tenant is refused may not fill the audit trail.
    Refusal,
}

/// Charges one call to a rate; takes no permit.
#[derive(Debug)]
pub struct Charge {
    /// The verified tenant.
    pub tenant: TenantId,
    /// Its plan, or the service's limits where no plan is known.
    pub limits: PlanLimits,
    /// The rate.
    pub lane: Lane,
}

impl Request for Charge {
    type Answer = Result<RateStatus, QuotaError>;
}

/// Whether an [`Admit`] would pass now; charges nothing. For dry runs.
#[derive(Debug)]
pub struct Look {
    /// The verified tenant.
    pub tenant: TenantId,
    /// Its plan.
    pub limits: PlanLimits,
    /// Size of the predicate as received, in bytes.
    pub artifact_bytes: u64,
}

impl Request for Look {
    type Answer = Result<(), QuotaError>;
}
