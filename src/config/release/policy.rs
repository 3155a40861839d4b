//! Who is believed, and what must hold between keys and tables of the section.

use signer_actors::domain::digest::{ImageDigest, Sha256Digest};

use super::Binding;
use super::tables::{ReleaseWitness, Tables, witness};
use crate::config::error::Problem;
use crate::config::files::{self, PublicFile};
use crate::config::layers::Layers;
use crate::config::reader::{Section, key};
use crate::config::{parse, pem};

/// The policy part of the section, apart from its tables.
pub(super) struct Policy {
    pub(super) binding: Binding,
    pub(super) keys: Vec<PublicFile>,
    pub(super) roots: Option<PublicFile>,
    pub(super) threshold: usize,
    pub(super) revoked: Vec<ImageDigest>,
    pub(super) revoked_keys: Vec<Sha256Digest>,
    pub(super) timestamp_roots: Option<PublicFile>,
    pub(super) require: Vec<ReleaseWitness>,
    pub(super) tag_annotation: String,
}

pub(super) fn read(s: &mut Section<'_>) -> Option<Policy> {
    let (binding, tag_annotation) = (binding(s), tag_annotation(s));
    let keys = s.list(
        key("keys", none(), "Release keys: files with a public key in PEM."),
        64,
        public_key,
    );
    let roots = s.optional(
        key(
            "roots",
            "",
            "Roots in PEM for release.identities; empty: the roots of the Fulcio backend.",
        ),
        pem::certificates_file,
    );
    let threshold = s.integer(
        key(
            "threshold",
            1,
            "How many different keys or identities must have signed an image, and must name its release tag.",
        ),
        1..=16,
    );
    let (revoked, revoked_keys) = (revoked(s), revoked_keys(s));
    let timestamp_roots = s.optional(
        key(
            "timestamp_roots",
            "",
            "Roots in PEM of timestamp authorities (RFC 3161), with intermediates; empty: no timestamp is believed.",
        ),
        pem::certificates_file,
    );
    let require = s.list(
        key(
            "require",
            none(),
            "What every signature must carry: timestamp, log (a Rekor entry), inclusion (one proven to be in the log).",
        ),
        3,
        witness,
    );
    Some(Policy {
        binding: binding?,
        keys: keys?,
        roots: roots?,
        threshold: threshold?,
        revoked: revoked?,
        revoked_keys: revoked_keys?,
        timestamp_roots: timestamp_roots?,
        require: require?,
        tag_annotation: tag_annotation?,
    })
}

/// What must hold between keys and tables.
pub(super) fn check(s: &mut Section<'_>, policy: &Policy, tables: &Tables) {
    check_signers(s, policy, tables);
    check_witnesses(s, policy, tables);
    check_witnesses_do_not_sign(s, policy, tables);
    check_logs_are_not_revoked(s, policy, tables);
}

pub(super) fn none() -> Vec<String> {
    Vec::new()
}

fn binding(s: &mut Section<'_>) -> Option<Binding> {
    s.choice(
        key(
            "binding",
            "when-present",
            "when-present: the token's claim scanner_image must match if there is one; required: there must be one.",
        ),
        &[("when-present", Binding::WhenPresent), ("required", Binding::Required)],
    )
}

fn tag_annotation(s: &mut Section<'_>) -> Option<String> {
    s.text(
        key(
            "tag_annotation",
            "org.opencontainers.image.version",
            "Signed or digest-bound annotation that holds the calendar tag of the release.",
        ),
        |text, _| parse::visible(text, 255),
    )
}

fn revoked(s: &mut Section<'_>) -> Option<Vec<ImageDigest>> {
    s.list(
        key(
            "revoked",
            none(),
            "Image digests, sha256:…, that are never trusted, whoever signed them.",
        ),
        4096,
        |text, _| {
            ImageDigest::parse(text).ok_or_else(|| {
                let problem = format!("{text:?} is not an image digest");
                Problem::new(problem, "write \"sha256:\" and 64 lower-case hex digits")
            })
        },
    )
}

fn revoked_keys(s: &mut Section<'_>) -> Option<Vec<Sha256Digest>> {
    s.list(
        key(
            "revoked_keys",
            none(),
            "Keys that never count, in certificates neither: files with a public key in PEM, or sha256:… of its DER, EC points uncompressed.",
        ),
        4096,
        |text, layers| match text.strip_prefix("sha256:") {
            Some(_) => ImageDigest::parse(text).map(|digest| digest.sha256()).ok_or_else(|| {
                let problem = format!("{text:?} is not the digest of a key");
                let remedy = "write \"sha256:\" and the output of \
                    openssl pkey -pubin -in k.pem -ec_conv_form uncompressed -outform DER | sha256sum";
                Problem::new(problem, remedy)
            }),
            None => {
                let file = files::public(text, layers)?;
                let public = pem::public_key(&file)?;
                let spki = pem::spki(&public);
                let unusable = || Problem::new("is a key without a named curve", "give a key that could count");
                spki.map(|spki| Sha256Digest::of(&spki)).ok_or_else(unusable)
            }
        },
    )
}

pub(super) fn public_key(text: &str, layers: &Layers) -> Result<PublicFile, Problem> {
    let file = files::public(text, layers)?;
    pem::public_key(&file).map(|_| file)
}

fn check_signers(s: &mut Section<'_>, policy: &Policy, tables: &Tables) {
    let signers = policy.keys.len() + tables.signers.len() + tables.identities.len();
    if signers == 0 {
        let remedy = "name at least one release key or identity";
        s.refuse(
            "keys",
            "and release.signers and release.identities are all empty, so no image would pass",
            remedy,
        );
    } else if policy.threshold > signers {
        let problem = format!(
            "is {}, but only {signers} keys and identities are configured",
            policy.threshold
        );
        s.refuse(
            "threshold",
            problem,
            "lower it, or add release keys or identities",
        );
    }
}

/// What is required can be had.
fn check_witnesses(s: &mut Section<'_>, policy: &Policy, tables: &Tables) {
    let own = tables.signers.iter().map(|signer| &signer.require);
    let own = own.chain(tables.identities.iter().map(|identity| &identity.require));
    let required: Vec<ReleaseWitness> = own.chain([&policy.require]).flatten().copied().collect();
    if required.contains(&ReleaseWitness::Timestamp) && policy.timestamp_roots.is_none() {
        s.refuse(
            "timestamp_roots",
            "is empty, and signatures must carry a timestamp",
            "name the roots of the timestamp authority",
        );
    }
    let log = |witness: &ReleaseWitness| matches!(witness, ReleaseWitness::Log | ReleaseWitness::Inclusion);
    if required.iter().any(log) && tables.logs.is_empty() {
        s.refuse(
            "logs",
            "is empty, and signatures must carry a log entry",
            "add [[release.logs]] with the log's key",
        );
    }
}

fn check_witnesses_do_not_sign(s: &mut Section<'_>, policy: &Policy, tables: &Tables) {
    let signers = policy
        .keys
        .iter()
        .chain(tables.signers.iter().map(|signer| &signer.key));
    let signers: Vec<_> = signers.filter_map(spki).collect();
    for (place, key) in log_keys(tables) {
        if spki(key).is_some_and(|log| signers.contains(&log)) {
            s.refuse(
                &place,
                "is a release key: it would witness its own signatures",
                "name the key of the log",
            );
        }
    }
    let authorities = policy
        .timestamp_roots
        .iter()
        .flat_map(|file| pem::certificates(file).unwrap_or_default());
    let mut keys = authorities.filter_map(|authority| pem::spki(&*authority.public_key().ok()?));
    if keys.any(|authority| signers.contains(&authority)) {
        s.refuse(
            "timestamp_roots",
            "holds a certificate of a release key: it would witness its own signatures",
            "name the roots of the timestamp authority",
        );
    }
}

/// A log whose key has leaked witnesses nothing: whoever holds the key writes any time into an entry.
fn check_logs_are_not_revoked(s: &mut Section<'_>, policy: &Policy, tables: &Tables) {
    for (place, key) in log_keys(tables) {
        let digest = spki(key).map(|spki| Sha256Digest::of(&spki));
        if digest.is_some_and(|digest| policy.revoked_keys.contains(&digest)) {
            s.refuse(
                &place,
                "is in release.revoked_keys: a log with a revoked key witnesses nothing",
                "remove the log",
            );
        }
    }
}

/// Keys of logs of either kind, and where they stand.
fn log_keys(tables: &Tables) -> Vec<(String, &PublicFile)> {
    let named = |table: &str, index: usize| format!("{table}[{index}].key");
    let logs = tables.logs.iter().enumerate();
    let ct_logs = tables.ct_logs.iter().enumerate();
    logs.map(|(index, log)| (named("logs", index), &log.key))
        .chain(ct_logs.map(|(index, log)| (named("ct_logs", index), &log.key)))
        .collect()
}

fn spki(file: &PublicFile) -> Option<pem::Spki> {
    pem::public_key(file).ok().and_then(|key| pem::spki(&key))
}
