//! cosign's simple signing: a JSON payload as a layer, its signature in the layer's annotation
//! (sigstore/cosign `specs/SIGNATURE_SPEC.md`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use openssl::x509::X509;
use serde::Deserialize;
use serde_json::Value;
use signer_actors::domain::digest::ImageDigest;

use super::super::manifest::UniqueMap;
use super::evidence::Evidence;
use super::signers::Signers;
use super::{Signature, Signed, decode_base64, shown};
use crate::x509::parse_chain_pem;

/// Media type of the layer.
pub(in super::super) const SIMPLE_SIGNING_MEDIA_TYPE: &str =
    "application/vnd.dev.cosign.simplesigning.v1+json";

/// `critical.type` of a signature over an image.
const TYPE: &str = "cosign container image signature";

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    optional: Option<UniqueMap<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    #[serde(rename = "identity")]
    _identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

/// Where the signer saw the image: not compared, as images are mirrored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    _docker_reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Verifies one layer: the signature over exactly the payload's bytes first, then what the payload says.
///
/// # Errors
/// Why the signature does not count, for people.
pub(super) fn verify(
    signers: &Signers,
    image: ImageDigest,
    annotations: &BTreeMap<String, String>,
    payload: &[u8],
    now: DateTime<Utc>,
) -> Result<Signed, String> {
    let signature = annotations
        .get(SIGNATURE)
        .ok_or("the layer carries no signature")?;
    let signature = decode_base64(signature, "the signature")?;
    let evidence = Evidence::Annotations(annotations);
    let signature = Signature {
        message: payload,
        payload: None,
        bytes: &signature,
    };
    let certificate = annotations.get(CERTIFICATE).filter(|pem| !pem.is_empty());
    let signer = match certificate.filter(|_| !signers.is_key(&signature)) {
        None => signers.by_key(&signature, evidence, None, now)?,
        Some(leaf) => {
            let (leaf, chain) = certificates(leaf, annotations.get(CHAIN))?;
            signers.by_certificate(leaf, &chain, &signature, evidence, now)?
        }
    };
    let annotations = signed_annotations(payload, image)?;
    Ok(Signed { signer, annotations })
}

/// Checks what was signed, and returns the annotations in it.
fn signed_annotations(payload: &[u8], image: ImageDigest) -> Result<BTreeMap<String, String>, String> {
    let payload: Payload =
        serde_json::from_slice(payload).map_err(|_| "the payload is not simple signing".to_owned())?;
    if payload.critical.kind != TYPE {
        return Err(format!(
            "the payload is of type \"{}\"",
            shown(&payload.critical.kind)
        ));
    }
    if payload.critical.image.digest != image.to_string() {
        let signed = shown(&payload.critical.image.digest);
        return Err(format!("the signature is over another image, {signed}"));
    }
    let optional = payload.optional.map(|m| m.0).unwrap_or_default();
    let text = |(name, value)| match value {
        Value::String(value) => Some((name, value)),
        _ => None,
    };
    Ok(optional.into_iter().filter_map(text).collect())
}

/// Leaf and intermediates from the layer's PEM annotations.
fn certificates(leaf: &str, chain: Option<&String>) -> Result<(X509, Vec<X509>), String> {
    let stack = |pem: &str| {
        parse_chain_pem(pem.as_bytes()).map_err(|problem| format!("the layer's certificate: {problem}"))
    };
    let [leaf] =
        <[X509; 1]>::try_from(stack(leaf)?).map_err(|_| "the layer does not carry one certificate")?;
    let chain = chain.filter(|pem| !pem.is_empty());
    Ok((leaf, chain.map(|pem| stack(pem)).transpose()?.unwrap_or_default()))
}
