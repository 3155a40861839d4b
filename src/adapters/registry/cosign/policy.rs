//! Whose signatures count, how many are needed, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::{ReleaseSigner, SignatureFormat, Verdict};

use super::super::settings::Settings;
use super::signers::Signers;
use super::{Finding, Place, Signed, bundle, simple_signing};

/// Longest release tag, in bytes.
const MAX_TAG: usize = 128;

/// Release keys and identities.
#[derive(Debug)]
pub(in super::super) struct Policy {
    signers: Signers,
    threshold: usize,
    tag_annotation: String,
    revoked: Vec<ImageDigest>,
}

/// What all findings about one image add up to.
#[derive(Debug)]
pub(in super::super) struct Conclusion {
    pub(in super::super) verdict: Verdict,
    pub(in super::super) signer: Option<ReleaseSigner>,
    pub(in super::super) tag: TagFinding,
}

/// What the signed bytes say about the release tag.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum TagFinding {
    /// One tag, named by as many signers as must have signed and contradicted by none.
    Signed(String),
    /// One tag, contradicted by none, but fewer signers than must have signed name it.
    Partly(String),
    /// Nothing: the image's own annotation may say.
    Absent,
    /// Signatures name different tags, or no tag at all under its name: none is believed.
    Unusable,
}

impl Policy {
    /// Reads keys and roots and checks that the policy can be met and cannot be met by nobody.
    ///
    /// # Errors
    /// A text for the configuration report.
    pub(in super::super) fn new(settings: &Settings) -> Result<Self, String> {
        let signers = Signers::new(settings)?;
        let count = signers.count();
        if settings.threshold == 0 || settings.threshold > count {
            return Err(format!(
                "the release threshold is {}, it must be from 1 to the {count} distinct keys and identities",
                settings.threshold
            ));
        }
        Ok(Self {
            signers,
            threshold: settings.threshold,
            tag_annotation: settings.tag_annotation.clone(),
            revoked: settings.revoked.clone(),
        })
    }

    /// Verifies one simple-signing layer.
    pub(in super::super) fn simple_signing(
        &self,
        image: ImageDigest,
        place: Place,
        annotations: &BTreeMap<String, String>,
        payload: &[u8],
        now: DateTime<Utc>,
    ) -> Finding {
        let outcome = simple_signing::verify(&self.signers, image, annotations, payload, now);
        self.finding(image, place, outcome)
    }

    /// Verifies one bundle.
    pub(in super::super) fn bundle(
        &self,
        image: ImageDigest,
        manifest_digest: String,
        bytes: &[u8],
        now: DateTime<Utc>,
    ) -> Finding {
        let place = Place {
            manifest_digest,
            format: SignatureFormat::SigstoreBundle,
        };
        let outcome = bundle::verify(&self.signers, image, bytes, now);
        self.finding(image, place, outcome)
    }

    /// A bundle that says itself it is another attestation: not fetched, as it cannot count.
    pub(in super::super) fn other_attestation(manifest_digest: String, predicate_type: &str) -> Finding {
        Finding {
            place: Place {
                manifest_digest,
                format: SignatureFormat::SigstoreBundle,
            },
            outcome: Err(bundle::other_predicate(predicate_type)),
        }
    }

    fn finding(&self, image: ImageDigest, place: Place, outcome: Result<Signed, String>) -> Finding {
        let outcome = match outcome {
            Ok(_) if self.revoked.contains(&image) => Err("the image is revoked".to_owned()),
            outcome => outcome,
        };
        Finding { place, outcome }
    }

    /// The verdict over all findings of a complete listing, or of the part that was needed to reach `Trusted`.
    pub(in super::super) fn conclude(&self, findings: &[Finding]) -> Conclusion {
        let counted: Vec<&Signed> = findings.iter().filter_map(|f| f.outcome.as_ref().ok()).collect();
        // Distinct signers: one key twice is one signature (contract §6, threshold).
        let distinct: BTreeSet<(&str, &str)> =
            counted.iter().map(|signed| identity_of(&signed.signer)).collect();
        let trusted = !counted.is_empty() && distinct.len() >= self.threshold;
        let verdict = match (trusted, findings.is_empty()) {
            (true, _) => Verdict::Trusted,
            (false, false) => Verdict::Untrusted,
            (false, true) => Verdict::Unsigned,
        };
        Conclusion {
            verdict,
            signer: counted
                .first()
                .filter(|_| trusted)
                .map(|signed| signed.signer.clone()),
            tag: if trusted {
                self.signed_tag(&counted)
            } else {
                TagFinding::Absent
            },
        }
    }

    /// The tag in the signed bytes of counted signatures. A release's tag is worth as much as its signature: as many
    /// signers have to name it.
    fn signed_tag(&self, counted: &[&Signed]) -> TagFinding {
        let mut tags: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
        for signed in counted {
            if let Some(tag) = signed.annotations.get(&self.tag_annotation) {
                tags.entry(tag).or_default().insert(identity_of(&signed.signer));
            }
        }
        let Some((tag, signers)) = tags.pop_first() else {
            return TagFinding::Absent;
        };
        match usable_tag(tag) {
            Some(tag) if tags.is_empty() && signers.len() >= self.threshold => TagFinding::Signed(tag),
            Some(tag) if tags.is_empty() => TagFinding::Partly(tag),
            _ => TagFinding::Unusable,
        }
    }

    /// The tag in annotations that are bound to the image's digest.
    pub(in super::super) fn bound_tag(&self, annotations: &BTreeMap<String, String>) -> Option<String> {
        annotations
            .get(&self.tag_annotation)
            .and_then(|tag| usable_tag(tag))
    }

    /// True when a tag is looked for at all.
    pub(in super::super) fn wants_tag(&self) -> bool {
        !self.tag_annotation.is_empty()
    }
}

/// A tag is short and printable, as it is shown and logged; the version gate reads its meaning.
fn usable_tag(tag: &str) -> Option<String> {
    let printable = tag.bytes().all(|b| b.is_ascii_graphic());
    (!tag.is_empty() && tag.len() <= MAX_TAG && printable).then(|| tag.to_owned())
}

fn identity_of(signer: &ReleaseSigner) -> (&str, &str) {
    match signer {
        ReleaseSigner::Key { key_id } => ("", key_id),
        ReleaseSigner::Certificate { identity, issuer } => (issuer, identity),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::settings::Repository;
    use super::*;

    fn finding(signer: &str, tag: Option<&str>) -> Finding {
        let annotations = tag.map(|tag| ("org.opencontainers.image.version".to_owned(), tag.to_owned()));
        Finding {
            place: Place {
                manifest_digest: String::new(),
                format: SignatureFormat::SigstoreBundle,
            },
            outcome: Ok(Signed {
                signer: ReleaseSigner::Key {
                    key_id: signer.into(),
                },
                annotations: annotations.into_iter().collect(),
            }),
        }
    }

    /// m of n must name the tag, and nobody another one.
    #[test]
    fn a_tag_needs_as_many_signers_as_the_image() {
        let mut settings = Settings::new(vec![Repository::parse("registry.example/a").unwrap()]);
        settings.keys = vec![
            include_bytes!("testdata/p256.pub").to_vec(),
            include_bytes!("testdata/p384.pub").to_vec(),
        ];
        settings.threshold = 2;
        let policy = Policy::new(&settings).unwrap();
        let tag = "2026.10";
        let rows = [
            (
                vec![finding("a", Some(tag)), finding("b", Some(tag))],
                TagFinding::Signed(tag.into()),
            ),
            (
                vec![finding("a", Some(tag)), finding("b", None)],
                TagFinding::Partly(tag.into()),
            ),
            // The same signer twice is one.
            (
                vec![
                    finding("a", Some(tag)),
                    finding("a", Some(tag)),
                    finding("b", None),
                ],
                TagFinding::Partly(tag.into()),
            ),
            (
                vec![finding("a", Some(tag)), finding("b", Some("2026.11"))],
                TagFinding::Unusable,
            ),
            (
                vec![
                    finding("a", Some(tag)),
                    finding("b", Some(tag)),
                    finding("a", Some("2026.11")),
                ],
                TagFinding::Unusable,
            ),
            (
                vec![finding("a", Some("\n")), finding("b", Some("\n"))],
                TagFinding::Unusable,
            ),
            (vec![finding("a", None), finding("b", None)], TagFinding::Absent),
        ];
        for (findings, expected) in rows {
            let conclusion = policy.conclude(&findings);
            assert_eq!((conclusion.verdict, conclusion.tag), (Verdict::Trusted, expected));
        }
        let alone = policy.conclude(&[finding("a", Some(tag)), finding("a", Some(tag))]);
        assert_eq!(
            (alone.verdict, alone.tag),
            (Verdict::Untrusted, TagFinding::Absent)
        );
    }
}
