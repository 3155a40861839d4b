//! What is known of a scanner image: does it carry a signature by the release identity?

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::digest::ImageDigest;

/// The verdict about one image in one repository (contract §2.3). "Not established" is an error, not a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Enough signatures by release keys or identities hold.
    Trusted,
    /// There are signatures, and not enough of them pass.
    Untrusted,
    /// A complete listing shows no signature.
    Unsigned,
}

/// How a signature was stored (contract §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureFormat {
    /// Simple signing under the tag `sha256-<hex>.sig`.
    CosignLegacy,
    /// Simple signing with `subject`, found as a referrer.
    CosignOci11,
    /// Sigstore bundle v0.3 as a referrer.
    SigstoreBundle,
}

/// Where candidates were listed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListingSource {
    /// `GET /v2/<name>/referrers/<digest>` (OCI distribution-spec, Listing Referrers).
    ReferrersApi,
    /// The referrers tag `sha256-<hex>` (distribution-spec, Unavailable Referrers API).
    ReferrersTag,
    /// cosign's tag `sha256-<hex>.sig`.
    SignatureTag,
}

/// Who signed: a configured release key, or an identity certified by a configured root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ReleaseSigner {
    /// A release key.
    Key {
        /// base64 SHA-256 of the key's SPKI DER.
        #[serde(rename = "keyId")]
        key_id: String,
    },
    /// A certificate identity.
    Certificate {
        /// Subject alternative name.
        identity: String,
        /// OIDC issuer (Fulcio extension 1.3.6.1.4.1.57264.1.8 or .1).
        issuer: String,
    },
}

/// One candidate signature and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateSignature {
    /// Digest of the manifest that carries it.
    pub manifest_digest: String,
    /// How it is stored.
    pub format: SignatureFormat,
    /// True when it counts.
    pub verified: bool,
    /// Why it does not count.
    pub reason: Option<String>,
}

/// Everything a check of one image found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseReport {
    /// The image.
    pub digest: ImageDigest,
    /// The configured repository, `host/name`, the verdict is about.
    pub repository: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Who signed, when trusted.
    pub signer: Option<ReleaseSigner>,
    /// Calendar tag `YYYY.MM` from signed or digest-bound content only, when trusted and present.
    pub release_tag: Option<String>,
    /// Every candidate, in the order of listing.
    pub signatures: Vec<CandidateSignature>,
    /// Where candidates were listed from.
    pub sources: Vec<ListingSource>,
    /// When the registry was asked.
    pub checked_at: DateTime<Utc>,
}

impl ReleaseReport {
    /// One human-readable name of the signer for the response's `release.signer`.
    pub fn signer_name(&self) -> String {
        match (&self.signer, &self.release_tag) {
            (Some(_), Some(tag)) => format!("StellaOps Release {tag}"),
            (Some(ReleaseSigner::Key { key_id }), None) => format!("release key {key_id}"),
            (Some(ReleaseSigner::Certificate { identity, .. }), None) => identity.clone(),
            (None, _) => String::new(),
        }
    }
}
