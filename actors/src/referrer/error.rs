//! Why a scanner image is not taken for a release.

use crate::ports::ReleaseError;

/// Why a scanner image is not taken for a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferrerError {
    /// The image is in no configured repository: 403 `release_untrusted` when signing, 404 `not_found` when asked.
    #[error(
        "the scanner image is in no configured repository: push and sign it, or correct scannerImageDigest"
    )]
    NotFound,
    /// 403 `release_untrusted`
    #[error(
        "the scanner image is not a trusted release: it is unsigned, signed by someone else, revoked, or nowhere to be found"
    )]
    Untrusted,
    /// 403 `scanner_mismatch`
    #[error("{0}")]
    ScannerMismatch(&'static str),
    /// 400 `invalid_request`
    #[error("repository is not one of the configured ones")]
    ForeignRepository,
    /// 502 `registry_error`
    #[error(
        "the registry left a doubt about the scanner image, which therefore counts as untrusted: try again shortly"
    )]
    Registry,
    /// 502 `registry_error` at once, with `Retry-After`: a registry has not answered for a while.
    #[error(
        "the registry has not answered for a while, so the scanner image counts as untrusted: try again after Retry-After"
    )]
    CircuitOpen {
        /// Seconds until it is asked again; at least 1.
        retry_after: u64,
    },
    /// 429 `rate_limited`: the tenant names images faster than they may be looked up.
    #[error(
        "too many images that are not known yet were named for this tenant: name the one that runs, and wait {retry_after} s"
    )]
    TooManyImages {
        /// Seconds until another may be looked up; at least 1.
        retry_after: u64,
    },
    /// 503 `overloaded`: too many wait for a registry.
    #[error("too many requests wait for a registry: try again shortly")]
    Overloaded,
    /// 504 `deadline_exceeded`
    #[error("the registry did not answer in time: try again shortly")]
    Timeout,
}

impl From<ReleaseError> for ReferrerError {
    fn from(error: ReleaseError) -> Self {
        match error {
            ReleaseError::NotFound => Self::NotFound,
            ReleaseError::Doubt(_) | ReleaseError::Unavailable(_) => Self::Registry,
            ReleaseError::Timeout => Self::Timeout,
        }
    }
}
