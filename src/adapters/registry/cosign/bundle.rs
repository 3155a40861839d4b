//! Sigstore bundles v0.3 with a DSSE envelope around an in-toto statement, as cosign 3 signs images
//! (sigstore/protobuf-specs `sigstore_bundle.proto`; secure-systems-lab/dsse; in-toto Statement v1).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::envelope::{PAYLOAD_TYPE, pae};
use signer_actors::domain::statement::STATEMENT_TYPE;
use signer_actors::domain::subject::MAX_SUBJECTS;

use super::super::manifest::UniqueMap;
use super::evidence::Evidence;
use super::signers::Signers;
use super::{Signature, Signed, shown};
use crate::bundle::sigstore::{self, BundleSigner, SigstoreBundle};

/// Media type of a bundle, of its layer and of the manifest's `artifactType`.
pub(in super::super) const BUNDLE_MEDIA_TYPE: &str = sigstore::MEDIA_TYPE;

/// Annotation of a bundle's manifest that says which predicate to expect. Not signed: only ever used to look away.
pub(in super::super) const PREDICATE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";

/// The only predicate that signs an image; any other attestation says something about it (contract §6).
pub(in super::super) const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(rename = "predicate")]
    _predicate: Option<IgnoredAny>,
}

/// A resource descriptor; what is not looked at is ignored, as in-toto asks (`resource_descriptor.md`).
#[derive(Deserialize)]
struct Subject {
    digest: UniqueMap<String>,
    annotations: Option<UniqueMap<serde_json::Value>>,
}

/// Verifies one bundle: the signature over the PAE first, then what the statement says.
///
/// # Errors
/// Why the signature does not count, for people.
pub(super) fn verify(
    signers: &Signers,
    image: ImageDigest,
    bundle: &[u8],
    now: DateTime<Utc>,
) -> Result<Signed, String> {
    let bundle = SigstoreBundle::parse(bundle).map_err(|problem| shown(&problem))?;
    // The layer must say the same, and it has one spelling only.
    if bundle.media_type != BUNDLE_MEDIA_TYPE {
        let other = shown(&bundle.media_type);
        return Err(format!("the bundle is of media type \"{other}\""));
    }
    let content = bundle.dsse_envelope.decode()?;
    if content.payload_type != PAYLOAD_TYPE {
        let other = shown(&content.payload_type);
        return Err(format!("the payload is of type \"{other}\""));
    }
    let signed = pae(&content.payload_type, &content.payload);
    let signature = Signature {
        message: &signed,
        payload: Some(&content.payload),
        bytes: &content.signature,
    };
    let evidence = Evidence::Bundle(&bundle.verification_material);
    let signer = match bundle.signer()? {
        // The hint is not signed and picks no key: all are tried.
        BundleSigner::Key(hint) => signers.by_key(&signature, evidence, Some(&hint), now)?,
        BundleSigner::Certificate(leaf) => signers.by_certificate(*leaf, &[], &signature, evidence, now)?,
    };
    let annotations = signed_annotations(&content.payload, image)?;
    Ok(Signed { signer, annotations })
}

/// Checks what was signed, and returns the annotations of the subject that is the image.
fn signed_annotations(payload: &[u8], image: ImageDigest) -> Result<BTreeMap<String, String>, String> {
    let statement: Statement =
        serde_json::from_slice(payload).map_err(|_| "the payload is no in-toto statement".to_owned())?;
    if statement.kind != STATEMENT_TYPE {
        return Err(format!("the statement is of type \"{}\"", shown(&statement.kind)));
    }
    if statement.predicate_type != SIGN_PREDICATE {
        return Err(other_predicate(&statement.predicate_type));
    }
    if statement.subject.len() > MAX_SUBJECTS {
        return Err(format!("the statement has more than {MAX_SUBJECTS} subjects"));
    }
    let wanted = image.sha256().to_hex();
    let is_image = |subject: &Subject| subject.digest.0.get("sha256") == Some(&wanted);
    let subject = statement.subject.into_iter().find(is_image);
    let subject = subject.ok_or("the signature is over another image")?;
    let annotations = subject.annotations.map(|m| m.0).unwrap_or_default();
    let text = |(name, value)| match value {
        serde_json::Value::String(value) => Some((name, value)),
        _ => None,
    };
    Ok(annotations.into_iter().filter_map(text).collect())
}

/// The reason for an attestation that is no release signature.
pub(super) fn other_predicate(predicate_type: &str) -> String {
    format!(
        "an attestation of type \"{}\" is no release signature",
        shown(predicate_type)
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::settings::{Repository, Settings};
    use super::*;

    /// Bundles by cosign 3.1.1 (`testdata/README.md`) over the image of `testdata/image.json`.
    #[test]
    fn bundles_of_cosign_hold() {
        #[track_caller]
        fn check(key: &[u8], bundle: &[u8]) -> Result<Signed, String> {
            let image = include_bytes!("testdata/image.json");
            let image = ImageDigest::from(signer_actors::domain::digest::Sha256Digest::of(image));
            let mut settings = Settings::new(vec![Repository::parse("registry.example/a").unwrap()]);
            settings.keys = vec![key.to_vec()];
            let other = ImageDigest::from(signer_actors::domain::digest::Sha256Digest::of(b"other"));
            let signers = Signers::new(&settings).unwrap();
            assert!(verify(&signers, other, bundle, Utc::now()).is_err());
            verify(&signers, image, bundle, Utc::now())
        }
        let p256 = check(
            include_bytes!("testdata/p256.pub"),
            include_bytes!("testdata/bundle.json"),
        )
        .unwrap();
        assert_eq!(p256.annotations["org.opencontainers.image.version"], "2026.10");
        check(
            include_bytes!("testdata/p384.pub"),
            include_bytes!("testdata/p384-bundle.json"),
        )
        .unwrap();
        check(
            include_bytes!("testdata/rsa.pub"),
            include_bytes!("testdata/rsa-bundle.json"),
        )
        .unwrap();
        // Ed25519ph: not verifiable with the openssl crate, so refused.
        let prehashed = check(
            include_bytes!("testdata/ed.pub"),
            include_bytes!("testdata/ed-bundle.json"),
        );
        assert!(prehashed.unwrap_err().contains("Ed25519ph"));
    }
}
