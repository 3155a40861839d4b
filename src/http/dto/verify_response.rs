//! What `GET /verify/referrers` answers (contract §2.3).

use serde::Serialize;
use signer_actors::domain::release::{
    CandidateSignature, ListingSource, ReleaseReport, ReleaseSigner, Verdict,
};

use super::rfc3339;

/// 200 of a release check.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReferrersResponse<'a> {
    digest: String,
    repository: &'a str,
    verdict: Verdict,
    /// `null` unless trusted.
    signer: Option<Signer<'a>>,
    signatures: &'a [CandidateSignature],
    sources: &'a [ListingSource],
    checked_at: String,
    cached: bool,
}

/// Who signed: `keyId` of a key, `identity` and `issuer` of a certificate; the others are left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Signer<'a> {
    #[serde(flatten)]
    signer: &'a ReleaseSigner,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<&'a str>,
}

impl<'a> VerifyReferrersResponse<'a> {
    /// `cached`: the report is from an earlier check.
    pub fn new(report: &'a ReleaseReport, cached: bool) -> Self {
        Self {
            digest: report.digest.to_string(),
            repository: &report.repository,
            verdict: report.verdict,
            signer: report.signer.as_ref().map(|signer| Signer {
                signer,
                release: report.release_tag.as_deref(),
            }),
            signatures: &report.signatures,
            sources: &report.sources,
            checked_at: rfc3339(report.checked_at),
            cached,
        }
    }
}
