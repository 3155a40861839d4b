//! Why a plan does not cover a request.

use super::bucket::RateStatus;

/// Why a plan does not cover a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// 429 `rate_limited`
    #[error("the plan's rate is used up: wait {} s", .status.reset_seconds)]
    Rate {
        /// The rate as it stands.
        status: RateStatus,
    },
    /// 429 `concurrency_limited`
    #[error(
        "{limit} requests of this tenant are in progress already, which is all the plan allows: wait for one to end"
    )]
    Concurrency {
        /// The plan's concurrency.
        limit: u32,
    },
    /// 413 `artifact_too_large`
    #[error("the predicate has {bytes} bytes, the plan allows {limit}")]
    Size {
        /// The predicate as received.
        bytes: u64,
        /// The plan's limit.
        limit: u64,
    },
    /// 503 `state_unavailable`: the state that replicas share was not reached, so nobody knows what is left.
    #[error("the state that replicas share is not available: try again shortly")]
    StateUnavailable,
}

impl QuotaError {
    /// For metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rate { .. } => "rate",
            Self::Concurrency { .. } => "concurrency",
            Self::Size { .. } => "size",
            Self::StateUnavailable => "state",
        }
    }
}
