//! What registries answer, read and verified without asking any: the parsers of a check one by one, for fuzz targets.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, HeaderValue, LINK};
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::{ReleaseSigner, SignatureFormat};
use url::Url;

use super::cosign::{Place, Policy};
use super::manifest::{self, Descriptor};
use super::referrers;
use super::settings::Settings;

/// A manifest, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manifest {
    /// An image manifest.
    Image {
        /// Its layers.
        layers: Vec<Entry>,
        /// What it refers to.
        subject: Option<Entry>,
        /// Its own annotations.
        annotations: BTreeMap<String, String>,
    },
    /// An index.
    Index {
        /// Its entries.
        manifests: Vec<Entry>,
        /// Its own annotations.
        annotations: BTreeMap<String, String>,
    },
}

/// A descriptor whose digest and size are in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Media type of its target.
    pub media_type: String,
    /// Digest of its target.
    pub digest: ImageDigest,
    /// Size of its target, in bytes.
    pub size: u64,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Reads a manifest whose descriptors are all in order.
///
/// # Errors
/// What is wrong with it, for the log.
pub fn manifest(bytes: &[u8]) -> Result<Manifest, String> {
    let all = |descriptors: &[Descriptor]| descriptors.iter().map(entry).collect::<Result<Vec<_>, _>>();
    Ok(match manifest::Manifest::parse(bytes)? {
        manifest::Manifest::Image(image) => Manifest::Image {
            layers: all(&image.layers)?,
            subject: image.subject.as_ref().map(entry).transpose()?,
            annotations: image.annotations,
        },
        manifest::Manifest::Index(index) => Manifest::Index {
            manifests: all(&index.manifests)?,
            annotations: index.annotations,
        },
    })
}

fn entry(descriptor: &Descriptor) -> Result<Entry, String> {
    let (digest, size) = manifest::target(descriptor)?;
    Ok(Entry {
        media_type: descriptor.media_type.clone(),
        digest,
        size,
        annotations: descriptor.annotations(),
    })
}

/// Reads a page of a listing: the digests and sizes that will be asked for, each digest once.
///
/// # Errors
/// What is wrong with it, for the log.
pub fn page(bytes: &[u8]) -> Result<Vec<(ImageDigest, u64)>, String> {
    referrers::page(bytes).map_err(|failure| failure.to_string())
}

/// Reads the `Link` of a page at `page`, of the registry at `origin`: where the listing goes on.
///
/// # Errors
/// What is wrong with it, for the log.
pub fn next_page(link: &HeaderValue, page: &Url, origin: &Url) -> Result<Option<Url>, String> {
    let headers: HeaderMap = [(LINK, link.clone())].into_iter().collect();
    referrers::next_page(&headers, page, origin).map_err(|failure| failure.to_string())
}

/// Release keys and identities that verify what was fetched.
#[derive(Debug)]
pub struct Verifier(Policy);

impl Verifier {
    /// Those of the settings.
    ///
    /// # Errors
    /// A text for the configuration report.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Policy::new(settings).map(Self)
    }

    /// Whose simple signature over this payload counts for this image.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn simple_signing(
        &self,
        image: ImageDigest,
        annotations: &BTreeMap<String, String>,
        payload: &[u8],
        now: DateTime<Utc>,
    ) -> Result<ReleaseSigner, String> {
        let place = Place {
            manifest_digest: String::new(),
            format: SignatureFormat::CosignOci11,
        };
        let finding = self.0.simple_signing(image, place, annotations, payload, now);
        finding.outcome.map(|signed| signed.signer)
    }

    /// Whose signature in this bundle counts for this image.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn bundle(
        &self,
        image: ImageDigest,
        bundle: &[u8],
        now: DateTime<Utc>,
    ) -> Result<ReleaseSigner, String> {
        let finding = self.0.bundle(image, String::new(), bundle, now);
        finding.outcome.map(|signed| signed.signer)
    }
}
