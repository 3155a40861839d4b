//! The signatures of one image in one repository: the listing (distribution-spec, Listing Referrers, and its fallback
//! tag), cosign's own tag, and the fetching of what they name.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use oci_client::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LINK};
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::{ListingSource, SignatureFormat};
use url::Url;

use super::client::{MAX_BODY, MAX_CANDIDATES, Session};
use super::cosign::{
    BUNDLE_MEDIA_TYPE, Finding, PREDICATE_ANNOTATION, Place, Policy, SIGN_PREDICATE,
    SIMPLE_SIGNING_MEDIA_TYPE,
};
use super::failure::{Failure, doubt, refused};
use super::manifest::{Descriptor, ImageManifest, Index, Manifest, target};

/// Most pages of a listing.
const MAX_PAGES: usize = 32;

/// Candidates fetched at once from one registry.
const PARALLEL: usize = 4;

/// A registry says with this header that it left something out of a listing.
const FILTERS_APPLIED: &str = "oci-filters-applied";

/// Drafts of OCI 1.1 had an annotation of the listing instead, under either name; zot 1.4 answers so.
const FILTERED_LISTING: [&str; 2] = [
    "org.opencontainers.referrers.filtersApplied",
    "org.opencontainers.references.filtersApplied",
];

/// What is checked: by which policy, at which time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) policy: &'a Arc<Policy>,
    pub(super) image: ImageDigest,
    pub(super) now: DateTime<Utc>,
}

impl Check<'_> {
    /// Verifies all referrers of the image, in the order of listing.
    pub(super) async fn referrers(&self) -> Result<(Vec<Finding>, ListingSource), Failure> {
        let (listed, source) = self.list().await?;
        let found: Vec<Vec<Finding>> = stream::iter(listed)
            .map(|(digest, size)| self.referrer(digest, size))
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        Ok((found.into_iter().flatten().collect(), source))
    }

    /// Verifies the layers under cosign's tag `sha256-<hex>.sig`; none when there is no such tag.
    pub(super) async fn signature_tag(&self) -> Result<Vec<Finding>, Failure> {
        let tag = format!("sha256-{}.sig", self.image.sha256());
        let _turn = self.session.turn().await?;
        let Some((digest, bytes)) = self.session.tagged(&tag).await? else {
            return Ok(Vec::new());
        };
        let parsed = Manifest::parse(&bytes)?;
        drop(bytes);
        let Manifest::Image(manifest) = parsed else {
            return doubt("the signature tag names an index, not an image manifest");
        };
        self.simple_signing(&manifest, digest, SignatureFormat::CosignLegacy)
            .await
    }

    /// The complete listing: distinct digests with their sizes, unfiltered, as artifact types in listings are not
    /// reliable.
    async fn list(&self) -> Result<(Vec<(ImageDigest, u64)>, ListingSource), Failure> {
        let first = self.session.url(&format!("referrers/{}", self.image))?;
        if let Some(listed) = self.pages(first).await? {
            return Ok((listed, ListingSource::ReferrersApi));
        }
        // distribution-spec, Unavailable Referrers API.
        let tag = format!("sha256-{}", self.image.sha256());
        let listed = match self.session.tagged(&tag).await? {
            Some((_, bytes)) => page(&bytes)?,
            None => Vec::new(),
        };
        Ok((listed, ListingSource::ReferrersTag))
    }

    /// Follows the pages of the Referrers API; `None` when the registry has none (404 for the first page).
    async fn pages(&self, first: Url) -> Result<Option<Vec<(ImageDigest, u64)>>, Failure> {
        let mut listed = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some(first);
        while let Some(url) = next {
            if seen.len() >= MAX_PAGES {
                return doubt(format!("the listing has more than {MAX_PAGES} pages"));
            }
            if !seen.insert(url.to_string()) {
                return doubt("the listing's pages form a cycle");
            }
            let answer = self
                .session
                .get(&url, OCI_IMAGE_INDEX_MEDIA_TYPE, MAX_BODY)
                .await?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND if seen.len() == 1 => return Ok(None),
                status => return refused(status, "the listing of referrers"),
            }
            if answer.headers.contains_key(FILTERS_APPLIED) {
                return doubt("the registry filtered a listing that was asked for whole");
            }
            let page = index(&answer.body)?;
            if FILTERED_LISTING
                .iter()
                .any(|name| page.annotations.contains_key(*name))
            {
                return doubt("the registry filtered a listing that was asked for whole");
            }
            append(&mut listed, &page.manifests)?;
            next = next_page(&answer.headers, &url, self.session.origin())?;
        }
        Ok(Some(listed))
    }

    /// Fetches one referrer and verifies the signatures in it, if it carries any.
    async fn referrer(&self, digest: ImageDigest, size: u64) -> Result<Vec<Finding>, Failure> {
        let _turn = self.session.turn().await?;
        // The body is given back before more is asked for: whoever holds memory never waits for more.
        let parsed = Manifest::parse(&self.session.referrer(digest, size).await?)?;
        let manifest = match parsed {
            Manifest::Image(manifest) => manifest,
            // An index may refer to an image, too; no signature is stored as one.
            Manifest::Index(_) => return Ok(Vec::new()),
        };
        let mut found = self
            .simple_signing(&manifest, digest, SignatureFormat::CosignOci11)
            .await?;
        found.extend(self.bundle(&manifest, digest).await?);
        Ok(found)
    }

    async fn simple_signing(
        &self,
        manifest: &ImageManifest,
        digest: ImageDigest,
        format: SignatureFormat,
    ) -> Result<Vec<Finding>, Failure> {
        let layers = layers_of(manifest, SIMPLE_SIGNING_MEDIA_TYPE);
        self.session.count_candidates(layers.len())?;
        let place = Place {
            manifest_digest: digest.to_string(),
            format,
        };
        let other_subject = format == SignatureFormat::CosignOci11 && !self.is_subject(manifest);
        let mut found = Vec::with_capacity(layers.len());
        for layer in layers {
            if other_subject {
                found.push(other_image(place.clone()));
                continue;
            }
            let (digest, size) = target(layer)?;
            if size > MAX_BODY {
                found.push(too_long(place.clone(), size));
                continue;
            }
            let payload = self.session.blob(digest, size).await?;
            let (place, annotations) = (place.clone(), layer.annotations());
            let (policy, image, now) = (Arc::clone(self.policy), self.image, self.now);
            let verify = move || policy.simple_signing(image, place, &annotations, &payload, now);
            found.push(apart(verify).await?);
        }
        Ok(found)
    }

    async fn bundle(&self, manifest: &ImageManifest, digest: ImageDigest) -> Result<Vec<Finding>, Failure> {
        let layers = layers_of(manifest, BUNDLE_MEDIA_TYPE);
        let Some(layer) = layers.first() else {
            return Ok(Vec::new());
        };
        self.session.count_candidates(layers.len())?;
        let place = Place {
            manifest_digest: digest.to_string(),
            format: SignatureFormat::SigstoreBundle,
        };
        if layers.len() != 1 || manifest.layers.len() != 1 {
            let outcome = Err("the manifest does not carry exactly one bundle".to_owned());
            return Ok(vec![Finding { place, outcome }]);
        }
        if !self.is_subject(manifest) {
            return Ok(vec![other_image(place)]);
        }
        // SBOMs are attached as bundles, too, and may be large: what says it is no signature is not fetched.
        let declared = manifest
            .annotations
            .get(PREDICATE_ANNOTATION)
            .filter(|declared| *declared != SIGN_PREDICATE);
        if let Some(declared) = declared {
            return Ok(vec![Policy::other_attestation(place.manifest_digest, declared)]);
        }
        let (blob, size) = target(layer)?;
        if size > MAX_BODY {
            return Ok(vec![too_long(place, size)]);
        }
        let bytes = self.session.blob(blob, size).await?;
        let (policy, image, now) = (Arc::clone(self.policy), self.image, self.now);
        let verify = move || policy.bundle(image, place.manifest_digest, &bytes, now);
        Ok(vec![apart(verify).await?])
    }

    fn is_subject(&self, manifest: &ImageManifest) -> bool {
        manifest
            .subject
            .as_ref()
            .is_some_and(|subject| subject.names(self.image))
    }
}

/// Verifies on a thread of its own kind: a registry that offers many candidates must not keep the thread busy that the
/// other gates answer on.
async fn apart(verify: impl FnOnce() -> Finding + Send + 'static) -> Result<Finding, Failure> {
    let verified = tokio::task::spawn_blocking(verify).await;
    verified.or_else(|_| doubt("a signature could not be verified"))
}

/// The size is part of the carrier's digest, so no registry can lie about it; such a candidate counts for nothing.
fn too_long(place: Place, size: u64) -> Finding {
    let outcome = Err(format!(
        "it is {size} bytes long, a signature has at most {MAX_BODY}"
    ));
    Finding { place, outcome }
}

fn other_image(place: Place) -> Finding {
    Finding {
        place,
        outcome: Err("the manifest's subject is another image".to_owned()),
    }
}

fn layers_of<'m>(manifest: &'m ImageManifest, media_type: &str) -> Vec<&'m Descriptor> {
    manifest
        .layers
        .iter()
        .filter(|layer| layer.media_type == media_type)
        .collect()
}

fn index(bytes: &[u8]) -> Result<Index, Failure> {
    match Manifest::parse(bytes)? {
        Manifest::Index(index) => Ok(index),
        Manifest::Image(_) => doubt("the listing of referrers is not an index"),
    }
}

/// Adds a page's descriptors, each digest once.
fn append(listed: &mut Vec<(ImageDigest, u64)>, page: &[Descriptor]) -> Result<(), Failure> {
    for descriptor in page {
        let (digest, size) = target(descriptor)?;
        if listed.iter().any(|(known, _)| *known == digest) {
            continue;
        }
        if listed.len() >= MAX_CANDIDATES {
            return doubt(format!("the image has more than {MAX_CANDIDATES} referrers"));
        }
        listed.push((digest, size));
    }
    Ok(())
}

/// The distinct entries of one page.
pub(super) fn page(bytes: &[u8]) -> Result<Vec<(ImageDigest, u64)>, Failure> {
    let mut listed = Vec::new();
    append(&mut listed, &index(bytes)?.manifests)?;
    Ok(listed)
}

/// The target of `Link: <…>; rel="next"` (RFC 8288 §3), which must stay on the repository's own origin.
pub(super) fn next_page(headers: &HeaderMap, page: &Url, origin: &Url) -> Result<Option<Url>, Failure> {
    let mut links = headers.get_all(LINK).iter();
    let Some(link) = links.next() else { return Ok(None) };
    let malformed = || doubt("the listing's Link header is malformed");
    if links.next().is_some() {
        return malformed();
    }
    let Some(reference) = link.to_str().ok().and_then(next_reference) else {
        return malformed();
    };
    let Ok(url) = page.join(reference) else {
        return malformed();
    };
    if !super::network::same_origin(&url, origin) || !url.path().starts_with("/v2/") {
        return doubt(format!(
            "the listing continues at {}, away from the registry",
            super::network::authority(&url)
        ));
    }
    Ok(Some(url))
}

/// Reads one link with the relation `next`; anything else in a listing leaves a doubt about its end.
fn next_reference(link: &str) -> Option<&str> {
    let (reference, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let mut parameters = parameters.split(';').map(str::trim);
    if parameters.next() != Some("") {
        return None;
    }
    let (name, value) = parameters.next()?.split_once('=')?;
    let relation = value.trim().trim_matches('"');
    let next = name.trim().eq_ignore_ascii_case("rel") && relation.eq_ignore_ascii_case("next");
    (next && parameters.next().is_none() && !reference.is_empty()).then_some(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_strictly() {
        // distribution-spec, Listing Referrers: RFC 5988 with rel="next".
        assert_eq!(
            next_reference(r#"</v2/a/referrers/x?n=2>; rel="next""#),
            Some("/v2/a/referrers/x?n=2")
        );
        assert_eq!(next_reference("<?n=2>;rel=next"), Some("?n=2"));
        for bad in [
            "",
            "/v2/a",
            "</v2/a>",
            r#"<>; rel="next""#,
            r#"</v2/a>; rel="prev""#,
            r#"</v2/a>; rel="next", </v2/b>; rel="next""#,
            r#"</v2/a> x; rel="next""#,
        ] {
            assert_eq!(next_reference(bad), None, "{bad}");
        }
    }

    #[test]
    fn pages_stay_on_their_origin() {
        let origin: Url = "https://registry.example/".parse().unwrap();
        let page: Url = "https://registry.example/v2/a/referrers/x".parse().unwrap();
        let next = |reference: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LINK, format!("<{reference}>; rel=\"next\"").parse().unwrap());
            next_page(&headers, &page, &origin)
        };
        assert_eq!(
            next("?last=y").unwrap().unwrap().as_str(),
            "https://registry.example/v2/a/referrers/x?last=y"
        );
        for foreign in [
            "http://registry.example/v2/a",
            "https://registry.example:444/v2/a",
            "//evil.example/v2/a",
            "/admin",
        ] {
            assert!(next(foreign).is_err(), "{foreign}");
        }
        assert_eq!(next_page(&HeaderMap::new(), &page, &origin), Ok(None));
    }
}
