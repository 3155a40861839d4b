//! Whose signatures count, how many are needed, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use openssl::x509::X509;
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::{ReleaseSigner, SignatureFormat, Verdict};

use super::super::settings::{Identity, Settings};
use super::keys::ReleaseKey;
use super::{Finding, Place, Signed, bundle, shown, simple_signing};
use crate::x509::{Authorities, Leaf};

/// Longest release tag, in bytes.
const MAX_TAG: usize = 128;

/// Release keys and identities.
#[derive(Debug)]
pub(in super::super) struct Policy {
    keys: Vec<ReleaseKey>,
    identities: Vec<Identity>,
    roots: Option<Authorities>,
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
    /// One tag, in every counted signature that names one.
    Signed(String),
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
        let mut keys: Vec<ReleaseKey> = Vec::new();
        for pem in &settings.keys {
            let key = ReleaseKey::from_pem(pem)?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let mut identities: Vec<Identity> = Vec::new();
        for identity in &settings.identities {
            if identity.issuer.is_empty() || identity.subject.is_empty() {
                return Err("a release identity needs an issuer and a subject".to_owned());
            }
            if !identities.contains(identity) {
                identities.push(identity.clone());
            }
        }
        let roots = settings.roots.as_deref().map(Authorities::from_pem).transpose();
        let roots = roots.map_err(|problem| format!("release roots: {problem}"))?;
        if !identities.is_empty() && roots.is_none() {
            return Err("release identities need roots that their certificates chain to".to_owned());
        }
        let signers = keys.len().saturating_add(identities.len());
        if settings.threshold == 0 || settings.threshold > signers {
            return Err(format!(
                "the release threshold is {}, it must be from 1 to the {signers} distinct keys and identities",
                settings.threshold
            ));
        }
        Ok(Self {
            keys,
            identities,
            roots,
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
        let outcome = simple_signing::verify(self, image, annotations, payload, now);
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
        let outcome = bundle::verify(self, image, bytes, now);
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

    /// The configured key that made a signature over these bytes.
    pub(super) fn signer_by_key(&self, message: &[u8], signature: &[u8]) -> Result<ReleaseSigner, String> {
        let found = self.keys.iter().find(|key| key.verifies(message, signature));
        let key = found.ok_or("no release key made this signature")?;
        Ok(ReleaseSigner::Key {
            key_id: key.id().to_owned(),
        })
    }

    /// The configured identity whose certificate's key made a signature over these bytes. `chain` may hold further
    /// intermediates; it is never trusted.
    pub(super) fn signer_by_certificate(
        &self,
        leaf: X509,
        chain: &[X509],
        message: &[u8],
        signature: &[u8],
        now: DateTime<Utc>,
    ) -> Result<ReleaseSigner, String> {
        let leaf = self.certify(leaf, chain, now)?;
        let key = ReleaseKey::new(leaf.public_key)?;
        if !key.verifies(message, signature) {
            return Err("the certificate's key did not make this signature".to_owned());
        }
        // A release key with a certificate is still one key, not a second signer.
        if self.keys.contains(&key) {
            return Ok(ReleaseSigner::Key {
                key_id: key.id().to_owned(),
            });
        }
        let (identity, issuer) = (leaf.subject, leaf.issuer);
        let known = |i: &Identity| i.issuer == issuer && i.subject == identity;
        if !self.identities.iter().any(known) {
            let (identity, issuer) = (shown(&identity), shown(&issuer));
            return Err(format!(
                "signed by \"{identity}\" of issuer \"{issuer}\", which is no release identity"
            ));
        }
        Ok(ReleaseSigner::Certificate { identity, issuer })
    }

    /// Reads a leaf and verifies its path. No time of signing is verified yet (neither RFC 3161 timestamps nor log
    /// entries), so the time is now.
    fn certify(&self, leaf: X509, chain: &[X509], now: DateTime<Utc>) -> Result<Leaf, String> {
        let roots = self
            .roots
            .as_ref()
            .ok_or("signed with a certificate, and no release roots are configured")?;
        let leaf = Leaf::read(leaf)?;
        roots.verify(&leaf.certificate, chain, now).map_err(|reason| {
            format!(
                "no release root vouches for the signer: {reason} \
                 (without a verified time of signing the certificate must be valid now)"
            )
        })?;
        Ok(leaf)
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

    /// The tag in the signed bytes of counted signatures.
    fn signed_tag(&self, counted: &[&Signed]) -> TagFinding {
        let named: BTreeSet<&str> = counted
            .iter()
            .filter_map(|signed| signed.annotations.get(&self.tag_annotation))
            .map(String::as_str)
            .collect();
        let mut named = named.into_iter();
        match (named.next(), named.next()) {
            (None, _) => TagFinding::Absent,
            (Some(tag), None) => usable_tag(tag).map_or(TagFinding::Unusable, TagFinding::Signed),
            (Some(_), Some(_)) => TagFinding::Unusable,
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
