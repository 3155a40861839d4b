//! Why a key does not let a request pass.

/// Why a key does not let a request pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdempotencyError {
    /// 409 `idempotency_conflict`
    #[error("this Idempotency-Key was used for another request: use a new key for a new request")]
    Conflict,
    /// 409 `idempotency_in_flight`
    #[error("a request with this Idempotency-Key is in progress: repeat it in a second")]
    InFlight,
    /// 503 `overloaded`
    #[error("as many idempotency keys as may be are kept: try again later, or leave Idempotency-Key out")]
    Full,
    /// 503 `state_unavailable`
    #[error("the store of idempotency keys is not available: try again, or leave Idempotency-Key out")]
    Unavailable,
}

impl IdempotencyError {
    /// For metrics.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::InFlight => "in_flight",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
        }
    }
}
