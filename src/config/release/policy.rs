//! Who is believed: keys and identities, for how long, and with which witnesses.

use chrono::{DateTime, Utc};
use signer_actors::domain::digest::{ImageDigest, Sha256Digest};

use super::Binding;
use crate::config::error::Problem;
use crate::config::files::{self, PublicFile};
use crate::config::layers::Layers;
use crate::config::reader::{Section, key, required};
use crate::config::{net, parse, pem};

/// When a key or identity counts; open where a bound is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReleaseLife {
    /// First moment.
    pub not_before: Option<DateTime<Utc>>,
    /// Last moment.
    pub not_after: Option<DateTime<Utc>>,
}

/// What a signature must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseWitness {
    /// A timestamp (RFC 3161).
    Timestamp,
    /// An entry of a transparency log.
    Log,
    /// The proof that the entry is in the log.
    Inclusion,
}

/// A release key with a life.
#[derive(Clone, Debug)]
pub struct ReleaseKey {
    /// Public key, PEM.
    pub key: PublicFile,
    /// When it counts.
    pub life: ReleaseLife,
    /// What its signatures must carry, beside what all must.
    pub require: Vec<ReleaseWitness>,
}

/// Who may sign releases with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseIdentity {
    /// OIDC issuer in the certificate, equal character by character.
    pub issuer: String,
    /// Subject alternative name in the certificate, equal character by character.
    pub subject: String,
    /// Roots of its certificates, PEM; `None`: those of the section.
    pub roots: Option<PublicFile>,
    /// When it counts.
    pub life: ReleaseLife,
    /// What its signatures must carry, beside what all must.
    pub require: Vec<ReleaseWitness>,
}

/// A transparency log.
#[derive(Clone, Debug)]
pub struct ReleaseLog {
    /// Public key, PEM.
    pub key: PublicFile,
    /// Name in its checkpoints; empty: any.
    pub origin: String,
    /// Which times of its entries count.
    pub life: ReleaseLife,
}

const SIGNERS_DOC: &str =
    "Release keys that count for a time only, or only with witnesses; others stand in release.keys.";
const IDENTITIES_DOC: &str =
    "Who may sign releases with a certificate: issuer and subject must both be equal.";
const LOGS_DOC: &str = "Transparency logs (Rekor) whose entries tell when a release was signed.";

/// The policy part of the section.
pub(super) struct Policy {
    pub(super) binding: Binding,
    pub(super) keys: Vec<PublicFile>,
    pub(super) signers: Vec<ReleaseKey>,
    pub(super) identities: Vec<ReleaseIdentity>,
    pub(super) roots: Option<PublicFile>,
    pub(super) threshold: usize,
    pub(super) revoked: Vec<ImageDigest>,
    pub(super) revoked_keys: Vec<Sha256Digest>,
    pub(super) timestamp_roots: Option<PublicFile>,
    pub(super) logs: Vec<ReleaseLog>,
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
        certificates,
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
        certificates,
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
    let signers = s.tables("signers", SIGNERS_DOC, 64, &[], read_signer);
    let identities = s.tables("identities", IDENTITIES_DOC, 64, &[], read_identity);
    let logs = s.tables("logs", LOGS_DOC, 16, &[], read_log);
    let policy = Policy {
        binding: binding?,
        keys: keys?,
        signers: signers?,
        identities: identities?,
        roots: roots?,
        threshold: threshold?,
        revoked: revoked?,
        revoked_keys: revoked_keys?,
        timestamp_roots: timestamp_roots?,
        logs: logs?,
        require: require?,
        tag_annotation: tag_annotation?,
    };
    check_signers(s, &policy);
    check_witnesses(s, &policy);
    Some(policy)
}

fn none() -> Vec<String> {
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
            "Keys that never count, in certificates neither: files with a public key in PEM, or sha256:… of its DER.",
        ),
        4096,
        |text, layers| match text.strip_prefix("sha256:") {
            Some(_) => ImageDigest::parse(text).map(|digest| digest.sha256()).ok_or_else(|| {
                let problem = format!("{text:?} is not the digest of a key");
                let remedy = "write \"sha256:\" and the output of openssl pkey -pubin -outform DER | sha256sum";
                Problem::new(problem, remedy)
            }),
            None => {
                let file = files::public(text, layers)?;
                let public = pem::public_key(&file)?;
                let spki = pem::spki(&public);
                let unusable = || Problem::new("is a key that has no DER form", "write its digest");
                spki.map(|spki| Sha256Digest::of(&spki)).ok_or_else(unusable)
            }
        },
    )
}

fn public_key(text: &str, layers: &Layers) -> Result<PublicFile, Problem> {
    let file = files::public(text, layers)?;
    pem::public_key(&file).map(|_| file)
}

fn certificates(text: &str, layers: &Layers) -> Result<PublicFile, Problem> {
    let file = files::public(text, layers)?;
    pem::certificates(&file).map(|_| file)
}

fn witness(text: &str, _: &Layers) -> Result<ReleaseWitness, Problem> {
    let words = [
        ("timestamp", ReleaseWitness::Timestamp),
        ("log", ReleaseWitness::Log),
        ("inclusion", ReleaseWitness::Inclusion),
    ];
    parse::choice(text, &words)
}

/// The bounds of a life, which must not be the wrong way round.
fn life(s: &mut Section<'_>, first: &'static str, last: &'static str) -> Option<ReleaseLife> {
    let not_before = s.optional(key("not_before", "", first), |text, _| parse::moment(text));
    let not_after = s.optional(key("not_after", "", last), |text, _| parse::moment(text));
    let (not_before, not_after) = (not_before?, not_after?);
    if not_before
        .zip(not_after)
        .is_some_and(|(first, last)| first >= last)
    {
        s.refuse("not_after", "is not after not_before", "correct one of the two");
    }
    Some(ReleaseLife {
        not_before,
        not_after,
    })
}

fn require(s: &mut Section<'_>) -> Option<Vec<ReleaseWitness>> {
    s.list(
        key(
            "require",
            none(),
            "What its signatures must carry beside release.require.",
        ),
        3,
        witness,
    )
}

const FIRST: &str = "Signatures before this moment (RFC 3339) do not count; empty: no bound.";
const LAST: &str = "Signatures after this moment do not count; empty: no bound. Without a verified time of signing, now counts.";

fn read_signer(s: &mut Section<'_>) -> Option<ReleaseKey> {
    let file = s.text(
        required("key", "release-2026.pub", "File with a public key in PEM."),
        public_key,
    );
    let (life, require) = (life(s, FIRST, LAST), require(s));
    Some(ReleaseKey {
        key: file?,
        life: life?,
        require: require?,
    })
}

fn read_identity(s: &mut Section<'_>) -> Option<ReleaseIdentity> {
    let issuer = s.text(
        required(
            "issuer",
            "https://authority.example",
            "OIDC issuer in the certificate.",
        ),
        net::issuer,
    );
    let subject = s.text(
        required(
            "subject",
            "https://stellaops.example/release",
            "Subject alternative name in the certificate: URI or e-mail address.",
        ),
        |text, _| parse::visible(text, 1024),
    );
    let roots = s.optional(
        key(
            "roots",
            "",
            "Roots in PEM of this identity's certificates; empty: release.roots.",
        ),
        certificates,
    );
    let (life, require) = (life(s, FIRST, LAST), require(s));
    Some(ReleaseIdentity {
        issuer: issuer?,
        subject: subject?,
        roots: roots?,
        life: life?,
        require: require?,
    })
}

fn read_log(s: &mut Section<'_>) -> Option<ReleaseLog> {
    let file = s.text(
        required("key", "rekor.pub", "File with the log's public key in PEM."),
        public_key,
    );
    let origin = s.text(
        key(
            "origin",
            "",
            "Name in the log's checkpoints; needed for Ed25519 keys. Empty: any.",
        ),
        |text, _| match text {
            "" => Ok(String::new()),
            text => parse::visible(text, 255),
        },
    );
    let life = life(
        s,
        "Entries before this moment (RFC 3339) tell no time; empty: no bound.",
        "Entries after this moment tell no time; empty: no bound.",
    );
    Some(ReleaseLog {
        key: file?,
        origin: origin?,
        life: life?,
    })
}

fn check_signers(s: &mut Section<'_>, policy: &Policy) {
    let signers = policy.keys.len() + policy.signers.len() + policy.identities.len();
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

/// What is required can be had, and who witnesses is not who signs.
fn check_witnesses(s: &mut Section<'_>, policy: &Policy) {
    let own = policy.signers.iter().map(|signer| &signer.require);
    let own = own.chain(policy.identities.iter().map(|identity| &identity.require));
    let required: Vec<ReleaseWitness> = own.chain([&policy.require]).flatten().copied().collect();
    if required.contains(&ReleaseWitness::Timestamp) && policy.timestamp_roots.is_none() {
        s.refuse(
            "timestamp_roots",
            "is empty, and signatures must carry a timestamp",
            "name the roots of the timestamp authority",
        );
    }
    let log = |witness: &ReleaseWitness| matches!(witness, ReleaseWitness::Log | ReleaseWitness::Inclusion);
    if required.iter().any(log) && policy.logs.is_empty() {
        s.refuse(
            "logs",
            "is empty, and signatures must carry a log entry",
            "add [[release.logs]] with the log's key",
        );
    }
    let spki = |file: &PublicFile| pem::public_key(file).ok().and_then(|key| pem::spki(&key));
    let signers = policy
        .keys
        .iter()
        .chain(policy.signers.iter().map(|signer| &signer.key));
    let signers: Vec<_> = signers.filter_map(spki).collect();
    for (index, log) in policy.logs.iter().enumerate() {
        if spki(&log.key).is_some_and(|log| signers.contains(&log)) {
            s.refuse(
                &format!("logs[{index}].key"),
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
