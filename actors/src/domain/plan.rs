//! What a plan allows.

use serde::{Deserialize, Serialize};

/// Limits of a tenant's plan, from the proof of entitlement (contract §4, `limits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanLimits {
    /// Sustained signatures per second.
    pub qps: u32,
    /// Signatures that may be taken at once after a pause; at least 1.
    pub burst: u32,
    /// Signatures in progress at once.
    pub concurrency: u32,
    /// Largest predicate, in bytes as received.
    pub max_artifact_bytes: u64,
}

impl PlanLimits {
    /// The narrower of both in every member: introspection may narrow what a token says, never widen it.
    pub fn narrowed_by(self, other: Self) -> Self {
        Self {
            qps: self.qps.min(other.qps),
            burst: self.burst.min(other.burst),
            concurrency: self.concurrency.min(other.concurrency),
            max_artifact_bytes: self.max_artifact_bytes.min(other.max_artifact_bytes),
        }
    }
}
