//! What can be verified: an envelope, a Sigstore bundle, or a whole answer of `POST /sign/dsse`.

use openssl::x509::X509;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bundle::envelope::{Envelope, few};
use crate::bundle::sigstore::{BundleSigner, SigstoreBundle};
use crate::x509::parse_chain_pem;

/// The longest document, in bytes: an answer with the largest predicate twice in base64.
pub const MAX_DOCUMENT_BYTES: usize = 512 * 1024 * 1024;

/// A document, taken apart.
#[derive(Debug)]
pub(super) struct Input {
    /// What the document is, for the report.
    pub(super) kind: &'static str,
    pub(super) envelope: Envelope,
    pub(super) signer: Signer,
    /// Further certificates that came along; helpers on the way to a root, never trusted.
    pub(super) helpers: Vec<X509>,
    /// The public key that the document names itself (PEM): good for integrity, not for trust.
    pub(super) own_key: Option<String>,
    /// Timestamps over the signature, base64 of TimeStampResp.
    pub(super) timestamps: Vec<String>,
    pub(super) log_entries: usize,
    /// SHA-256 of the payload as an answer claims it, hex.
    pub(super) claimed_digest: Option<String>,
    /// An answer holds two forms of one signature: false if they differ.
    pub(super) consistent: bool,
}

/// Who a document says has signed.
#[derive(Debug)]
pub(super) enum Signer {
    /// A bare envelope says nothing.
    Unnamed,
    /// A key by its hint.
    Key(String),
    /// A certificate.
    Certificate(Box<X509>),
}

/// Members that tell the three forms apart. Members that occur twice are refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    #[serde(borrow)]
    verification_material: Option<&'a RawValue>,
    #[serde(borrow)]
    bundle: Option<&'a RawValue>,
    #[serde(borrow)]
    payload_type: Option<&'a RawValue>,
}

/// The part of an answer that matters here (contract §2.1).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    bundle: AnswerBundle,
    statement_digest: Option<StatementDigest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerBundle {
    dsse: Envelope,
    #[serde(default)]
    certificate_chain: Vec<String>,
    signing_identity: Option<AnswerIdentity>,
    #[serde(default, deserialize_with = "few")]
    timestamps: Vec<String>,
    sigstore_bundle: Option<SigstoreBundle>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerIdentity {
    public_key: Option<String>,
}

#[derive(Deserialize)]
struct StatementDigest {
    sha256: String,
}

pub(super) fn parse(document: &[u8]) -> Result<Input, String> {
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(format!("the document is longer than {MAX_DOCUMENT_BYTES} bytes"));
    }
    let members: Members<'_> =
        serde_json::from_slice(document).map_err(|e| format!("the document is not strict JSON: {e}"))?;
    if members.verification_material.is_some() {
        return from_sigstore(SigstoreBundle::parse(document)?);
    }
    if members.bundle.is_some() {
        let answer = serde_json::from_slice(document);
        return from_answer(answer.map_err(|e| format!("the answer cannot be read: {e}"))?);
    }
    if members.payload_type.is_some() {
        let envelope = serde_json::from_slice(document);
        return Ok(bare(
            envelope.map_err(|e| format!("the envelope cannot be read: {e}"))?,
        ));
    }
    Err("the document is no DSSE envelope, no Sigstore bundle and no answer of the signer".into())
}

pub(super) fn bare(envelope: Envelope) -> Input {
    Input {
        kind: "DSSE envelope",
        envelope,
        signer: Signer::Unnamed,
        helpers: Vec::new(),
        own_key: None,
        timestamps: Vec::new(),
        log_entries: 0,
        claimed_digest: None,
        consistent: true,
    }
}

pub(super) fn from_sigstore(bundle: SigstoreBundle) -> Result<Input, String> {
    bundle.check_media_type()?;
    let signer = match bundle.signer()? {
        BundleSigner::Key(hint) => Signer::Key(hint),
        BundleSigner::Certificate(leaf) => Signer::Certificate(leaf),
    };
    let material = bundle.verification_material;
    let timestamps = material.timestamp_verification_data;
    let timestamps = timestamps.map_or_else(Vec::new, |data| data.rfc3161_timestamps);
    Ok(Input {
        kind: "Sigstore bundle v0.3",
        signer,
        timestamps: timestamps.into_iter().map(|t| t.signed_timestamp).collect(),
        log_entries: material.tlog_entries.len(),
        ..bare(bundle.dsse_envelope)
    })
}

fn from_answer(answer: Answer) -> Result<Input, String> {
    let bundle = answer.bundle;
    let mut chain = Vec::new();
    if !bundle.certificate_chain.is_empty() {
        chain = parse_chain_pem(bundle.certificate_chain.join("\n").as_bytes())?;
    }
    let mut chain = chain.into_iter();
    let signer = chain
        .next()
        .map_or(Signer::Unnamed, |leaf| Signer::Certificate(Box::new(leaf)));
    let consistent = match bundle.sigstore_bundle {
        Some(second) => {
            let second = from_sigstore(second)?;
            second.envelope == bundle.dsse
                && agrees(&signer, &second.signer)
                && second.timestamps == bundle.timestamps
        }
        None => true,
    };
    Ok(Input {
        kind: "signer's answer",
        signer,
        helpers: chain.collect(),
        own_key: bundle.signing_identity.and_then(|identity| identity.public_key),
        timestamps: bundle.timestamps,
        claimed_digest: answer.statement_digest.map(|digest| digest.sha256),
        consistent,
        ..bare(bundle.dsse)
    })
}

/// The two forms in one answer name the same signer.
fn agrees(answer: &Signer, bundle: &Signer) -> bool {
    match (answer, bundle) {
        (Signer::Certificate(a), Signer::Certificate(b)) => {
            matches!((a.to_der(), b.to_der()), (Ok(a), Ok(b)) if a == b)
        }
        (Signer::Unnamed, Signer::Key(_)) => true,
        _ => false,
    }
}
