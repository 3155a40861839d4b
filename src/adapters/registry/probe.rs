//! What a repository is able to do, for `signer check`: asked by the very client that looks images up.

use reqwest::StatusCode;
use reqwest::header::DATE;
use signer_actors::domain::digest::{ImageDigest, Sha256Digest};
use signer_actors::ports::ReleaseError;
use tokio::time::Instant;

use super::RegistryReleases;
use super::client::{MAX_BODY, Session};
use super::failure::{Failure, refused};
use super::manifest::ACCEPT_ANY;

/// How a repository lists what refers to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// By the Referrers API.
    Api,
    /// By tags: it answers 404 for an image that it has.
    Tags,
    /// It answers 404 for an image that it does not have: no Referrers API, or none for what is not there.
    Unknown,
}

/// What was seen of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// It is asked over TLS.
    pub tls: bool,
    /// It wanted authorization, and got it.
    pub authorized: bool,
    /// The image that was asked about is there.
    pub has_image: bool,
    /// How it lists signatures.
    pub listing: Listing,
    /// Its clock: field `Date` (RFC 9110 §6.6.1), as it came.
    pub date: Option<String>,
}

impl RegistryReleases {
    /// Asks a configured repository for this image, or for one that nobody has.
    ///
    /// # Errors
    /// As a lookup: the texts are for operators.
    pub async fn probe(&self, repository: &str, image: Option<ImageDigest>) -> Result<Seen, ReleaseError> {
        let deadline = Instant::now() + self.inner.timeout;
        let seen = tokio::time::timeout_at(deadline, self.look_at(repository, image, deadline));
        Ok(seen.await.unwrap_or(Err(Failure::Timeout))?)
    }

    async fn look_at(
        &self,
        name: &str,
        image: Option<ImageDigest>,
        deadline: Instant,
    ) -> Result<Seen, Failure> {
        let mut configured = self.inner.repositories.iter();
        let Some((_, repository)) = configured.find(|(configured, _)| &**configured == name) else {
            return Err(Failure::Doubt("the repository is not configured".to_owned()));
        };
        let image = image.unwrap_or(ImageDigest::from(Sha256Digest::of(b"signer check")));
        let mut session = Session::new(&self.inner.transport, repository, deadline)?;
        let has_image = session.has_manifest(image).await?;
        let url = session.url(&format!("referrers/{image}"))?;
        let answer = session.get(&url, ACCEPT_ANY, MAX_BODY).await?;
        let listing = match answer.status {
            StatusCode::OK => Listing::Api,
            StatusCode::NOT_FOUND if has_image => Listing::Tags,
            StatusCode::NOT_FOUND => Listing::Unknown,
            status => return refused(status, "the listing of referrers"),
        };
        let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
        Ok(Seen {
            tls: url.scheme() == "https",
            authorized: session.is_authorized(),
            has_image,
            listing,
            date: date.map(str::to_owned),
        })
    }
}
