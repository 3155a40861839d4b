//! Release signatures, verified without network: formats of cosign, keys and certificate identities, the policy that
//! turns signatures into a verdict.
//!
//! *Architecture Invariant:* nothing here reads from a network or a file, and nothing that is not covered by a
//! verified signature or by the image's digest ends up in the verdict or in the release tag.

mod bundle;
mod evidence;
mod keys;
mod policy;
mod rekor;
mod sct;
mod signers;
mod simple_signing;
#[cfg(test)]
mod tests;
mod witness;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signer_actors::domain::release::{CandidateSignature, ReleaseSigner, SignatureFormat};

pub(super) use bundle::{BUNDLE_MEDIA_TYPE, PREDICATE_ANNOTATION, SIGN_PREDICATE};
pub(super) use policy::{Policy, TagFinding};
pub(super) use simple_signing::SIMPLE_SIGNING_MEDIA_TYPE;

/// Where a candidate was found.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Digest of the manifest that carries it.
    pub(super) manifest_digest: String,
    /// How it is stored.
    pub(super) format: SignatureFormat,
}

/// One candidate and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// Where it was found.
    pub(super) place: Place,
    /// Who signed and what else the signature covers, or why it does not count.
    pub(super) outcome: Result<Signed, String>,
}

impl Finding {
    /// The candidate as it is reported.
    pub(super) fn report(&self) -> CandidateSignature {
        CandidateSignature {
            manifest_digest: self.place.manifest_digest.clone(),
            format: self.place.format,
            verified: self.outcome.is_ok(),
            reason: self.outcome.as_ref().err().map(|reason| plain(reason)),
        }
    }
}

/// A signature that holds: by whom, over which annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub(super) signer: ReleaseSigner,
    /// Annotations inside the signed bytes.
    pub(super) annotations: BTreeMap<String, String>,
}

/// A signature as it is judged.
#[derive(Clone, Copy, Debug)]
struct Signature<'a> {
    /// The bytes that it is over.
    message: &'a [u8],
    /// The envelope's payload, where the message is a DSSE PAE around one.
    payload: Option<&'a [u8]>,
    /// The signature itself.
    bytes: &'a [u8],
}

/// What made a signature that was verified.
#[derive(Clone, Copy, Debug)]
struct Maker<'a> {
    /// The key: SPKI in DER.
    key: &'a [u8],
    /// The certificate in DER, where it is what counts.
    certificate: Option<&'a [u8]>,
}

/// Longest reason, in characters.
const MAX_REASON: usize = 600;

/// A reason as it leaves: bounded, and without control characters whatever it quotes.
fn plain(reason: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    reason.chars().take(MAX_REASON).map(visible).collect()
}

/// Longest text of others that is shown in a reason, in characters.
const MAX_SHOWN: usize = 100;

/// A value of others for a reason: escaped and shortened.
fn shown(value: &str) -> String {
    value
        .chars()
        .take(MAX_SHOWN)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

/// Standard base64 with padding (RFC 4648 §4).
fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Standard base64 with padding (RFC 4648 §4), nothing around it.
fn decode_base64(value: &str, what: &str) -> Result<Vec<u8>, String> {
    STANDARD
        .decode(value)
        .map_err(|_| format!("{what} is not base64"))
}
