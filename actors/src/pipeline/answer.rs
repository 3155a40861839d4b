//! What a request to sign is answered with.

use bytes::Bytes;

use super::error::Failure;
use super::state::Released;
use crate::domain::ids::AuditId;
use crate::domain::statement::Statement;
use crate::quota::RateStatus;

/// Forms an answer without its payload. Whatever it depends on is in it: a replay tells the same bytes.
pub(super) trait Tell: FnOnce(&Released) -> Result<Bytes, Failure> {}

impl<T: FnOnce(&Released) -> Result<Bytes, Failure>> Tell for T {}

/// A signature that may leave: its records are durable, and so is the answer where a retry should find it.
#[derive(Debug)]
pub enum Answer {
    /// Made for this request.
    Signed {
        /// What was signed.
        released: Released,
        /// The answer without its payload.
        told: Bytes,
    },
    /// Made for an earlier attempt at the same request.
    Replayed {
        /// What was signed, rebuilt from this attempt.
        statement: Statement,
        /// Name of the signature in the trail.
        audit_id: AuditId,
        /// The answer without its payload, as it was told then.
        told: Bytes,
    },
}

impl Answer {
    /// The answer without its payload.
    pub fn told(&self) -> &Bytes {
        match self {
            Self::Signed { told, .. } | Self::Replayed { told, .. } => told,
        }
    }

    /// The payload.
    pub fn payload(&self) -> &Bytes {
        match self {
            Self::Signed { released, .. } => &released.statement().payload,
            Self::Replayed { statement, .. } => &statement.payload,
        }
    }

    /// Name of the signature in the trail.
    pub fn audit_id(&self) -> AuditId {
        match self {
            Self::Signed { released, .. } => released.audit_id(),
            Self::Replayed { audit_id, .. } => *audit_id,
        }
    }

    /// How the tenant's rate stands; a replay never asks.
    pub fn rate(&self) -> Option<RateStatus> {
        match self {
            Self::Signed { released, .. } => released.rate(),
            Self::Replayed { .. } => None,
        }
    }

    /// Whether nothing was signed now.
    pub fn is_replay(&self) -> bool {
        matches!(self, Self::Replayed { .. })
    }
}
