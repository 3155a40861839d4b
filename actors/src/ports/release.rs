//! Registries: does a scanner image carry a release signature?

use std::fmt;
use std::sync::Arc;

use super::PortFuture;
use crate::domain::digest::ImageDigest;
use crate::domain::release::ReleaseReport;

/// Looks an image up in configured repositories and verifies what it finds there (contract §6).
pub trait ReleaseSource: Send + Sync + fmt::Debug {
    /// Configured repositories as `host/name`, in order.
    fn repositories(&self) -> Vec<Arc<str>>;

    /// Checks one image, in one configured repository or in all. Any repository that says trusted wins; else any doubt
    /// is doubt; else untrusted before unsigned before absent. Bounded in time, bytes and counts by the implementation.
    fn check(
        &self,
        digest: ImageDigest,
        repository: Option<Arc<str>>,
    ) -> PortFuture<Result<ReleaseReport, ReleaseError>>;
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The image is in none of the repositories asked: a fact, cached like a verdict.
    #[error("the image is in no configured repository")]
    NotFound,
    /// 502 `registry_error`: a registry could not be asked, or its answer leaves a doubt. The text names repository
    /// and reason for logs and operators; it holds no credential.
    #[error("{0}")]
    Doubt(String),
    /// 504 `deadline_exceeded`: no registry answer in time.
    #[error("the registry did not answer in time")]
    Timeout,
}
