//! What can go wrong, and the exit code it becomes.

use std::fmt;

use serde::Deserialize;

/// The members of a problem document (RFC 9457) that people need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// The service's code (contract §2.6).
    pub code: String,
    /// What was wrong and what to do.
    pub detail: String,
    /// True when the same request may succeed later.
    pub retryable: bool,
    /// To find the request in logs.
    pub correlation_id: String,
    /// To find it in the audit trail.
    pub audit_id: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.status, self.detail)?;
        if !self.correlation_id.is_empty() {
            write!(f, "\n  correlation id: {}", self.correlation_id)?;
        }
        if let Some(audit_id) = &self.audit_id {
            write!(f, "\n  audit id: {audit_id}")?;
        }
        Ok(())
    }
}

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Wrong arguments, credentials file or input.
    #[error("{0}")]
    Usage(String),
    /// The Authority or the service does not know us: 401.
    #[error("{0}")]
    Authentication(Problem),
    /// 404.
    #[error("{0}")]
    NotFound(Problem),
    /// The service refuses, and would refuse again.
    #[error("{0}")]
    Refused(Problem),
    /// The service refuses now and may accept later; it was tried several times.
    #[error("{0}")]
    Retryable(Problem),
    /// No answer; it was tried several times.
    #[error("{0}")]
    Unreachable(String),
    /// An answer that is not of this service.
    #[error("{0}")]
    Protocol(String),
}

impl ClientError {
    /// Sorts a problem document.
    pub(super) fn of(problem: Problem) -> Self {
        match problem.status {
            401 => Self::Authentication(problem),
            404 => Self::NotFound(problem),
            // The answer to an earlier try is under way (contract §2.6, `Retry-After`).
            409 if problem.code == "idempotency_in_flight" => Self::Retryable(problem),
            _ if problem.retryable => Self::Retryable(problem),
            _ => Self::Refused(problem),
        }
    }

    /// Exit code of the command line (contract §9).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Protocol(_) => 1,
            Self::Usage(_) => 2,
            Self::Authentication(_) => 3,
            Self::NotFound(_) => 4,
            Self::Retryable(_) | Self::Unreachable(_) => 10,
        }
    }
}
