//! Why nothing was signed.

use crate::ports::BackendError;

/// Why nothing was signed. Reasons of the backend are for the log, not for callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// 502 `signing_backend_error`
    #[error("the signing backend failed: try again shortly")]
    Backend,
    /// 503 `signing_backend_unavailable`
    #[error("the signing backend is not available: try again shortly")]
    Unavailable,
    /// 503 `signing_backend_unavailable`: no certificate lives as long as the request wants.
    #[error("no signing certificate lives that long: ask for a smaller expirySeconds")]
    TooShortLived,
    /// 503 `signing_backend_unavailable`: a signature of its own did not verify.
    #[error("the signing key was disabled after a failed self-check: the operator has to look at it")]
    Disabled,
    /// 502 `signing_backend_error`: this very signature did not verify; the key is disabled.
    #[error("the signature made does not verify and was discarded")]
    SelfCheck,
    /// 400 `invalid_request`: unknown key, or mode not configured.
    #[error("{0}")]
    NotConfigured(&'static str),
    /// 403 `mode_not_entitled`
    #[error("the key is retired and signs no more: leave keyId out for the default key")]
    Retired,
}

impl From<BackendError> for SignerError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::Failed(_) => Self::Backend,
            BackendError::Unavailable(_) => Self::Unavailable,
        }
    }
}
