//! OCI registries: listing and verifying release signatures (contract §6).
//!
//! [`RegistryReleases`] asks every repository at once. `client` is the bounded transport, `network` decides what may be
//! connected to, `referrers` finds signatures, `cosign` verifies them without network, and this file combines
//! repositories into one report.

mod auth;
mod client;
mod cosign;
mod manifest;
mod network;
mod referrers;
mod settings;
#[cfg(test)]
mod tests;
mod trust;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::{ListingSource, ReleaseReport, Verdict};
use signer_actors::ports::{Clock, PortFuture, ReleaseError, ReleaseSource};
use tokio::time::Instant;

use self::client::{Failure, Session, Transport, doubt};
use self::cosign::{Finding, Policy, TagFinding};
use self::manifest::Manifest;
use self::referrers::Check;
pub use self::settings::{Credentials, PrivateNetwork, Repository, Settings};
pub use self::trust::{Identity, Life, Requirement, SignerKey, TransparencyLog};

/// Most configured repositories: every check may ask all of them at once.
const MAX_REPOSITORIES: usize = 16;

/// Longest time that a check may be given.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// The configured registries and the release policy, as the core's port.
pub struct RegistryReleases {
    inner: Arc<Inner>,
}

struct Inner {
    repositories: Vec<(Arc<str>, Repository)>,
    transport: Transport,
    policy: Policy,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for RegistryReleases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repositories: Vec<&str> = self.inner.repositories.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("RegistryReleases")
            .field("repositories", &repositories)
            .field("policy", &self.inner.policy)
            .finish_non_exhaustive()
    }
}

impl RegistryReleases {
    /// Checks the settings and prepares keys, roots and the client; connects to nothing.
    ///
    /// # Errors
    /// A text for the configuration report: what is wrong and what to do.
    pub fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        if settings.repositories.is_empty() || settings.repositories.len() > MAX_REPOSITORIES {
            return Err(format!(
                "release.repositories needs from 1 to {MAX_REPOSITORIES} entries"
            ));
        }
        let named = |repository: &Repository| (Arc::from(repository.to_string()), repository.clone());
        for (name, value) in [
            ("timeout", settings.timeout),
            ("call_timeout", settings.call_timeout),
        ] {
            if value.is_zero() || value > MAX_TIMEOUT {
                return Err(format!(
                    "release {name} must be more than nothing and at most {MAX_TIMEOUT:?}"
                ));
            }
        }
        Ok(Self {
            inner: Arc::new(Inner {
                repositories: settings.repositories.iter().map(named).collect(),
                transport: Transport::new(settings)?,
                policy: Policy::new(settings)?,
                timeout: settings.timeout,
                clock,
            }),
        })
    }
}

impl ReleaseSource for RegistryReleases {
    fn repositories(&self) -> Vec<Arc<str>> {
        self.inner
            .repositories
            .iter()
            .map(|(name, _)| Arc::clone(name))
            .collect()
    }

    fn check(
        &self,
        digest: ImageDigest,
        repository: Option<Arc<str>>,
    ) -> PortFuture<Result<ReleaseReport, ReleaseError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.check(digest, repository.as_deref()).await })
    }
}

/// What one repository says: a report, or that it does not have the image.
type Answer = Result<Option<ReleaseReport>, Failure>;

impl Inner {
    /// Asks the repositories at once; the first that trusts answers for all.
    async fn check(&self, image: ImageDigest, only: Option<&str>) -> Result<ReleaseReport, ReleaseError> {
        let deadline = Instant::now() + self.timeout;
        let asked = self.repositories.iter().enumerate();
        let mut running: FuturesUnordered<_> = asked
            .filter(|(_, (name, _))| only.is_none_or(|only| only == &**name))
            .map(|(order, (name, repository))| async move {
                (order, self.ask(image, name, repository, deadline).await)
            })
            .collect();
        if running.is_empty() {
            return Err(ReleaseError::Doubt(
                "the repository asked for is not configured".to_owned(),
            ));
        }
        let mut answers = Vec::with_capacity(running.len());
        while let Some((order, answer)) = running.next().await {
            match answer {
                Ok(Some(report)) if report.verdict == Verdict::Trusted => return Ok(report),
                answer => answers.push((order, answer)),
            }
        }
        answers.sort_by_key(|(order, _)| *order);
        combine(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// One repository, its name put before any doubt.
    async fn ask(
        &self,
        image: ImageDigest,
        name: &str,
        repository: &Repository,
        deadline: Instant,
    ) -> Answer {
        let asked = tokio::time::timeout_at(deadline, self.look_up(image, repository, deadline));
        match asked.await.unwrap_or(Err(Failure::Timeout)) {
            Err(Failure::Doubt(text)) => doubt(format!("{name}: {text}")),
            answer => answer,
        }
    }

    async fn look_up(&self, image: ImageDigest, repository: &Repository, deadline: Instant) -> Answer {
        let mut session = Session::new(&self.transport, repository, deadline)?;
        if !session.has_manifest(image).await? {
            return Ok(None);
        }
        let now = self.clock.now();
        let check = Check {
            session: &session,
            policy: &self.policy,
            image,
            now,
        };
        let (mut findings, source) = check.referrers().await?;
        let mut sources = vec![source];
        let mut conclusion = self.policy.conclude(&findings);
        if conclusion.verdict != Verdict::Trusted {
            findings.extend(check.signature_tag().await?);
            sources.push(ListingSource::SignatureTag);
            conclusion = self.policy.conclude(&findings);
        }
        let release_tag = match conclusion.tag {
            TagFinding::Signed(tag) => Some(tag),
            TagFinding::Absent if conclusion.verdict == Verdict::Trusted => {
                self.bound_tag(&session, image).await?
            }
            // Too few say so: the image itself, which all have signed, has to say the same.
            TagFinding::Partly(tag) => self
                .bound_tag(&session, image)
                .await?
                .filter(|bound| *bound == tag),
            TagFinding::Absent | TagFinding::Unusable => None,
        };
        Ok(Some(ReleaseReport {
            digest: image,
            repository: repository.to_string(),
            verdict: conclusion.verdict,
            signer: conclusion.signer,
            release_tag,
            signatures: findings.iter().map(Finding::report).collect(),
            sources,
            checked_at: now,
        }))
    }

    /// The tag in the image manifest's own annotations: the signature binds its digest, and its digest binds them.
    async fn bound_tag(&self, session: &Session<'_>, image: ImageDigest) -> Result<Option<String>, Failure> {
        if !self.policy.wants_tag() {
            return Ok(None);
        }
        let bytes = session.manifest(image, None).await?;
        Ok(self.policy.bound_tag(Manifest::parse(&bytes)?.annotations()))
    }
}

/// No repository trusts: any doubt is doubt, then no answer in time; else untrusted before unsigned before absent.
fn combine(answers: Vec<Answer>) -> Result<ReleaseReport, ReleaseError> {
    let mut best: Option<ReleaseReport> = None;
    let mut late = false;
    for answer in answers {
        match answer {
            Err(Failure::Doubt(text)) => return Err(ReleaseError::Doubt(text)),
            Err(Failure::Timeout) => late = true,
            Ok(Some(report)) => {
                let better = best.as_ref().is_none_or(|best| {
                    best.verdict == Verdict::Unsigned && report.verdict == Verdict::Untrusted
                });
                if better {
                    best = Some(report);
                }
            }
            Ok(None) => {}
        }
    }
    if late {
        return Err(ReleaseError::Timeout);
    }
    best.ok_or(ReleaseError::NotFound)
}
