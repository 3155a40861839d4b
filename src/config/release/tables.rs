//! Tables of the policy: signers, identities and logs, for how long, and with which witnesses.

use chrono::{DateTime, Utc};

use super::policy::{none, public_key};
use crate::config::error::Problem;
use crate::config::files::PublicFile;
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
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseLog {
    /// Public key, PEM.
    pub key: PublicFile,
    /// Name in its checkpoints; empty: any.
    pub origin: String,
    /// When its entries count.
    pub life: ReleaseLife,
}

/// A certificate transparency log.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseCtLog {
    /// Public key, PEM.
    pub key: PublicFile,
    /// When its promises count.
    pub life: ReleaseLife,
}

const SIGNERS_DOC: &str =
    "Release keys that count for a time only, or only with witnesses; others stand in release.keys.";
const IDENTITIES_DOC: &str =
    "Who may sign releases with a certificate: issuer and subject must both be equal.";
const LOGS_DOC: &str = "Transparency logs (Rekor) whose entries tell when a release was signed.";

const CT_LOGS_DOC: &str = "Certificate transparency logs, one of which must have promised each certificate of \
     release.identities (SCT, RFC 6962). Without any, promises are not looked at.";

/// The tables of the policy, which stand behind the keys of the section.
pub(super) struct Tables {
    pub(super) signers: Vec<ReleaseKey>,
    pub(super) identities: Vec<ReleaseIdentity>,
    pub(super) logs: Vec<ReleaseLog>,
    pub(super) ct_logs: Vec<ReleaseCtLog>,
}

pub(super) fn read(s: &mut Section<'_>) -> Option<Tables> {
    let signers = s.tables("signers", SIGNERS_DOC, 64, &[], read_signer);
    let identities = s.tables("identities", IDENTITIES_DOC, 64, &[], read_identity);
    let logs = s.tables("logs", LOGS_DOC, 16, &[], read_log);
    let ct_logs = s.tables("ct_logs", CT_LOGS_DOC, 16, &[], read_ct_log);
    Some(Tables {
        signers: signers?,
        identities: identities?,
        logs: logs?,
        ct_logs: ct_logs?,
    })
}

pub(super) fn witness(text: &str, _: &Layers) -> Result<ReleaseWitness, Problem> {
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
        required("key", "release-2025.pub", "File with a public key in PEM."),
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
        pem::certificates_file,
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

fn read_ct_log(s: &mut Section<'_>) -> Option<ReleaseCtLog> {
    let file = s.text(
        required("key", "ctfe.pub", "File with the log's public key in PEM."),
        public_key,
    );
    let life = life(
        s,
        "Promises before this moment (RFC 3339) do not count; empty: no bound.",
        "Promises after this moment do not count; empty: no bound.",
    );
    Some(ReleaseCtLog {
        key: file?,
        life: life?,
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
        "Entries before this moment (RFC 3339) do not count; empty: no bound.",
        "Entries after this moment do not count; empty: no bound. Without a promise, a timestamp's time or else now counts.",
    );
    Some(ReleaseLog {
        key: file?,
        origin: origin?,
        life: life?,
    })
}
