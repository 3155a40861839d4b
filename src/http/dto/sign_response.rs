//! What `POST /sign/dsse` answers: a bundle, or the gates of a dry run (contract §2.1).

use std::fmt;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::entitlement::Entitlement;
use signer_actors::domain::envelope::PAYLOAD_TYPE;
use signer_actors::domain::ids::AuditId;
use signer_actors::domain::plan::PlanLimits;
use signer_actors::domain::release::{ReleaseReport, Verdict};
use signer_actors::domain::signing::{Signature, SigningMode};

use super::identity::IdentityTold;
use super::rfc3339;

/// 200 of a signature.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SignResponse<'a> {
    /// Envelope and what verifies it.
    pub bundle: Bundle<'a>,
    /// Digest of the payload's bytes.
    pub statement_digest: StatementDigest,
    /// What the plan allows.
    pub policy: Policy<'a>,
    /// What was found of the scanner image.
    pub release: Release,
    /// Names the signature in the audit trail.
    pub audit_id: AuditId,
    /// Origin of this replica's audit log.
    pub audit_log: &'a str,
}

/// An envelope and what verifies it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bundle<'a> {
    mode: SigningMode,
    dsse: Envelope<'a>,
    certificate_chain: &'a RawValue,
    signing_identity: &'a RawValue,
    timestamps: Vec<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sigstore_bundle: Option<&'a RawValue>,
}

impl<'a> Bundle<'a> {
    /// `payload`: what stands there, see [`told`](super::told). `timestamps`: each a DER `TimeStampResp` (RFC 3161 §2.4.2). `sigstore`: the Sigstore bundle, when asked for.
    pub fn new(
        identity: &'a IdentityTold,
        payload: &'a str,
        signature: &'a Signature,
        timestamps: &[&'a [u8]],
        sigstore: Option<&'a RawValue>,
    ) -> Self {
        Self {
            mode: identity.mode,
            dsse: Envelope {
                payload_type: PAYLOAD_TYPE,
                payload,
                signatures: [EnvelopeSignature {
                    sig: Base64(&signature.0),
                }],
            },
            certificate_chain: &identity.certificate_chain,
            signing_identity: &identity.signing_identity,
            timestamps: timestamps.iter().map(|token| Base64(token)).collect(),
            sigstore_bundle: sigstore,
        }
    }
}

/// DSSE `envelope.md`; no `keyid` (contract §7).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    payload_type: &'static str,
    payload: &'a str,
    signatures: [EnvelopeSignature<'a>; 1],
}

#[derive(Debug, Serialize)]
struct EnvelopeSignature<'a> {
    sig: Base64<'a>,
}

/// `statementDigest`
#[derive(Debug, Serialize)]
pub struct StatementDigest {
    sha256: String,
}

impl From<Sha256Digest> for StatementDigest {
    fn from(digest: Sha256Digest) -> Self {
        let sha256 = digest.to_hex();
        Self { sha256 }
    }
}

/// `policy`: the plan and its limits.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy<'a> {
    plan: &'a str,
    #[serde(flatten)]
    limits: PlanLimits,
    entitlement_expires: String,
}

impl<'a> From<&'a Entitlement> for Policy<'a> {
    fn from(entitlement: &'a Entitlement) -> Self {
        Self {
            plan: &entitlement.plan,
            limits: entitlement.limits,
            entitlement_expires: rfc3339(entitlement.expires),
        }
    }
}

/// `release`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    verdict: Verdict,
    bound: bool,
    signer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_tag: Option<String>,
}

impl Release {
    /// `bound`: the operational token itself named the image.
    pub fn new(report: &ReleaseReport, bound: bool) -> Self {
        Self {
            verdict: report.verdict,
            bound,
            signer: report.signer_name(),
            release_tag: report.release_tag.clone(),
        }
    }
}

/// 200 of a dry run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DryRunResponse<'a> {
    /// `quota`, `release`, `signing`, in this order.
    pub gates: Vec<GateReport>,
    /// What the plan allows.
    pub policy: Policy<'a>,
    /// Names the dry run in the audit trail.
    pub audit_id: AuditId,
    /// Origin of this replica's audit log.
    pub audit_log: &'a str,
}

/// What one gate would have said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GateReport {
    /// `quota`, `release` or `signing`.
    pub gate: &'static str,
    /// Its verdict.
    pub verdict: GateVerdict,
    /// The problem code it would have answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The problem's detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A gate's verdict in a dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GateVerdict {
    /// It would let the request pass.
    Pass,
    /// It would refuse it.
    Fail,
    /// It could not be asked, because of what an earlier one said.
    Skipped,
}

/// Bytes that are written as base64 (RFC 4648 §4, padded).
#[derive(Clone, Copy)]
struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

impl fmt::Debug for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;
