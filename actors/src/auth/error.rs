//! Why a caller is not authenticated.

use super::replay::ReplayError;
use crate::domain::caller::Scope;
use crate::ports::{ProofRejection, TokenRejection};

/// Why a caller is not authenticated. Texts say what was wrong and what to do, and echo nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No credentials: the challenge carries no `error` (RFC 6750 §3.1).
    #[error("no credentials: send Authorization: DPoP <token> with a DPoP proof")]
    Missing,
    /// 401 `invalid_token`
    #[error("{0}")]
    Token(String),
    /// 401 `invalid_dpop_proof`
    #[error("{0}")]
    Proof(String),
    /// 401 `use_dpop_nonce`
    #[error("the proof needs a nonce of this server: use the value of the DPoP-Nonce field and try again")]
    NonceRequired,
    /// 403 `insufficient_scope`
    #[error("the token lacks the scope {}", .0.as_str())]
    Scope(Scope),
    /// 503 `authority_unavailable`
    #[error("the Authority's keys are not available: try again shortly")]
    AuthorityUnavailable,
    /// 503 `overloaded`: the replay store is full, for this tenant or altogether.
    #[error("too many proofs in the last minute and a half: try again shortly")]
    ReplayStoreFull,
    /// 503 `state_unavailable`: the store of spent proofs that replicas share was not reached, so nobody knows whether the
    /// proof was used.
    #[error("the state that replicas share is not available: try again shortly")]
    StateUnavailable,
}

impl From<TokenRejection> for AuthError {
    fn from(rejection: TokenRejection) -> Self {
        Self::Token(rejection.to_string())
    }
}

impl From<ProofRejection> for AuthError {
    fn from(rejection: ProofRejection) -> Self {
        match rejection {
            ProofRejection::Invalid(what) => Self::Proof(what),
            ProofRejection::WrongKey => Self::Token(rejection.to_string()),
            ProofRejection::NonceRequired => Self::NonceRequired,
        }
    }
}

impl From<ReplayError> for AuthError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Spent => {
                Self::Proof("the proof was used before: make a new one for every request".into())
            }
            ReplayError::Full => Self::ReplayStoreFull,
            ReplayError::OlderThanStore => Self::NonceRequired,
            ReplayError::Forgotten => Self::Proof(
                "the proof says it was made before the oldest that this server can tell from a used one: check the clocks, \
                 and make a new one for every request"
                    .into(),
            ),
        }
    }
}
