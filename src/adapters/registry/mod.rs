//! OCI registries: listing and verifying release signatures (contract §6).
//!
//! [`RegistryReleases`] looks an image up in a repository. `client` is the bounded transport (`budget` its memory),
//! `network` and `resolver` decide what may be connected to, `referrers` finds signatures, `cosign` verifies them without
//! network, and this file makes one report of it.

mod auth;
mod budget;
mod client;
mod cosign;
mod failure;
mod manifest;
mod network;
mod probe;
pub mod reading;
mod referrers;
mod resolver;
mod settings;
#[cfg(test)]
mod tests;
mod trust;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::{ListingSource, ReleaseReport, Verdict};
use signer_actors::ports::{Clock, PortFuture, ReleaseError, ReleaseSource, combine};
use tokio::time::Instant;

use self::client::{Session, Transport};
use self::cosign::{Finding, Policy, TagFinding};
use self::failure::Failure;
use self::manifest::Manifest;
pub use self::probe::{Listing, Seen};
use self::referrers::Check;
pub use self::settings::{Credentials, PrivateNetwork, Repository, Settings};
pub use self::trust::{CertificateLog, Identity, Life, Requirement, SignerKey, TransparencyLog};

/// Most configured repositories: every check may ask all of them at once.
const MAX_REPOSITORIES: usize = 16;

/// Longest time that a check may be given.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest reason for a doubt, in characters.
const MAX_REASON: usize = 300;

/// The configured registries and the release policy, as the core's port.
pub struct RegistryReleases {
    inner: Arc<Inner>,
}

struct Inner {
    repositories: Vec<(Arc<str>, Repository)>,
    transport: Transport,
    policy: Arc<Policy>,
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
                policy: Arc::new(Policy::new(settings)?),
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

    fn look_up(
        &self,
        digest: ImageDigest,
        repository: Arc<str>,
    ) -> PortFuture<Result<ReleaseReport, ReleaseError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move { inner.ask(digest, &repository).await })
    }
}

impl RegistryReleases {
    /// One answer for an image, of one configured repository or of all, which are asked at once: for tools that have no
    /// actor to ask.
    ///
    /// # Errors
    /// As [`combine`].
    pub async fn check(
        &self,
        digest: ImageDigest,
        repository: Option<Arc<str>>,
    ) -> Result<ReleaseReport, ReleaseError> {
        let asked = match repository {
            Some(repository) => vec![repository],
            None => self.repositories(),
        };
        let answers = asked.into_iter().map(|name| self.look_up(digest, name));
        combine(join_all(answers).await)
    }
}

impl Inner {
    /// Asks one repository, its name put before any doubt.
    async fn ask(&self, image: ImageDigest, name: &str) -> Result<ReleaseReport, ReleaseError> {
        let mut configured = self.repositories.iter();
        let Some((_, repository)) = configured.find(|(configured, _)| &**configured == name) else {
            return Err(ReleaseError::Doubt(
                "the repository asked for is not configured".to_owned(),
            ));
        };
        let deadline = Instant::now() + self.timeout;
        let asked = tokio::time::timeout_at(deadline, self.look_up(image, repository, deadline));
        match asked.await.unwrap_or(Err(Failure::Timeout)) {
            Ok(Some(report)) => Ok(report),
            Ok(None) => Err(ReleaseError::NotFound),
            Err(Failure::Doubt(text)) => Err(ReleaseError::Doubt(told(name, &text))),
            Err(Failure::Unavailable(text)) => Err(ReleaseError::Unavailable(told(name, &text))),
            Err(Failure::Timeout) => Err(ReleaseError::Timeout),
        }
    }

    /// `None`: it does not have the image.
    async fn look_up(
        &self,
        image: ImageDigest,
        repository: &Repository,
        deadline: Instant,
    ) -> Result<Option<ReleaseReport>, Failure> {
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
        let bytes = session.image(image).await?;
        Ok(self.policy.bound_tag(Manifest::parse(&bytes)?.annotations()))
    }
}

/// A reason for the log: parts of it may be the registry's words.
fn told(name: &str, text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let shortened: String = text.chars().take(MAX_REASON).map(printable).collect();
    format!("{name}: {shortened}")
}
