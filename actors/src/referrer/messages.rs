//! What the ReferrerActor is asked.

use std::sync::Arc;

use super::ReferrerError;
use crate::domain::digest::ImageDigest;
use crate::domain::release::ReleaseReport;
use crate::domain::tenant::TenantId;
use crate::ports::ReleaseSource;
use crate::runtime::{Request, Standing};

/// The verdict about an image: cached, or established now. Concurrent requests for one image share one lookup.
#[derive(Debug)]
pub struct Check {
    /// Who asks: lookups are shared out between tenants.
    pub tenant: TenantId,
    /// The image.
    pub digest: ImageDigest,
    /// One configured repository, or all of them.
    pub repository: Option<Arc<str>>,
}

/// An established verdict.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What was found.
    pub report: Arc<ReleaseReport>,
    /// True when the registry was not asked for this answer.
    pub cached: bool,
    /// Whether it may be said again without asking.
    pub standing: Standing,
}

/// From here on verdicts come from this source, of the same repositories. Those of before are forgotten; who waits is answered by
/// the new one.
#[derive(Debug)]
pub struct Trust(pub Arc<dyn ReleaseSource>);

impl Request for Trust {
    type Answer = ();
}

impl Request for Check {
    type Answer = Result<Checked, ReferrerError>;
}
