//! The small sections: `[timestamp]`, `[audit]`, `[log]`.

use std::path::PathBuf;
use std::time::Duration;

use openssl::pkey::{Id, PKey, Private};
use url::Url;

use super::error::Problem;
use super::files::PublicFile;
use super::layers::Layers;
use super::parse;
use super::reader::{Section, key, required};
use super::secret::{Secret, Use};
use super::{files, net, pem};
use crate::timestamp::Authorities;

/// The timestamp authority.
#[derive(Clone, Debug)]
pub struct Timestamp {
    /// Its address.
    pub url: Url,
    /// Its own certificate and all up to the root, PEM.
    pub chain: PublicFile,
    /// TLS roots, PEM; `None`: the system's.
    pub tls_roots: Option<PublicFile>,
    /// Time for one answer.
    pub timeout: Duration,
    /// Questions at once.
    pub concurrency: usize,
}

/// The audit trail.
#[derive(Clone, Debug)]
pub struct Audit {
    /// Folder of the trail; one per replica.
    pub directory: PathBuf,
    /// Name of this replica's log, as in its checkpoints.
    pub origin: String,
    /// Ed25519 key of the checkpoints.
    pub checkpoint_key: PKey<Private>,
    /// How long a durable record waits at most for a checkpoint over it.
    pub checkpoint_interval: Duration,
    /// How long an appended record may wait for others before the sync.
    pub linger: Duration,
    /// How long a request waits for the trail.
    pub timeout: Duration,
    /// Refusals of unauthenticated callers that are recorded in a second.
    pub unauthenticated_qps: u32,
    /// As many at once, after a while without any.
    pub unauthenticated_burst: u32,
    /// A checkpoint that was kept elsewhere, which the trail must go on from.
    pub held_checkpoint: Option<PublicFile>,
}

/// Log lines.
#[derive(Clone, Debug)]
pub struct Log {
    /// The least severity that is written.
    pub level: slog::Level,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people at a terminal.
    Pretty,
}

const TIMESTAMP_DOC: &str = "Timestamps (RFC 3161) over signatures: they verify after their certificate or key has ended. \
    Without url, signatures have none.";
const AUDIT_DOC: &str = "The audit trail: every signature that leaves is in it first.";
const LOG_DOC: &str = "Log lines, on standard error.";

/// `Some(None)`: no authority.
pub(crate) fn timestamp(root: &mut Section<'_>) -> Option<Option<Timestamp>> {
    root.section("timestamp", TIMESTAMP_DOC, |s| {
        let url = s.optional(
            key("url", "", "Address of the RFC 3161 timestamp authority. Every signature gets its timestamp, unless the request says false."),
            net::url,
        );
        let chain = s.optional(
            key(
                "chain",
                "",
                "Certificates in PEM: the authority's own (several while it changes them) and all up to the root. Published at /trust.",
            ),
            chain,
        );
        let tls_roots = s.optional(
            key("tls_roots", "", "Roots in PEM for TLS to the authority; empty: the system's."),
            pem::certificates_file,
        );
        let timeout = s.duration(
            key(
                "timeout",
                "2s",
                "Time for one answer. Without one it is asked twice more, as far as the request's time allows.",
            ),
            Duration::from_millis(100)..=Duration::from_secs(30),
        );
        let concurrency = s.integer(
            key("concurrency", 32, "Questions to the authority at once; others wait for their turn."),
            1..=1024,
        );
        let (url, chain, tls_roots) = (url?, chain?, tls_roots?);
        let (timeout, concurrency) = (timeout?, concurrency?);
        match (url, chain) {
            (Some(url), Some(chain)) => Some(Some(Timestamp {
                url,
                chain,
                tls_roots,
                timeout,
                concurrency,
            })),
            (None, None) => Some(None),
            (Some(_), None) => {
                s.refuse("chain", "is empty, and there is a url", "name the authority's certificates");
                None
            }
            (None, Some(_)) => {
                s.refuse("url", "is empty, and there is a chain", "name the authority's address, or leave both out");
                None
            }
        }
    })
}

/// Certificates of which one at least is a timestamp authority's own.
fn chain(text: &str, layers: &Layers) -> Result<PublicFile, Problem> {
    let file = pem::certificates_file(text, layers)?;
    match Authorities::from_chain_pem(&file.bytes) {
        Ok(_) => Ok(file),
        Err(problem) => Err(Problem::new(
            format!("{}: {problem}", file.path.display()),
            "give PEM: the authority's own certificate first, its root last",
        )),
    }
}

pub(crate) fn audit(root: &mut Section<'_>) -> Option<Audit> {
    root.section("audit", AUDIT_DOC, |s| {
        let directory = s.text(
            key("directory", "audit", "Folder of the trail. One replica writes to it, no one else."),
            files::resolve,
        );
        let origin = s.text(
            required(
                "origin",
                "signer.example/audit/replica-1",
                "Name of this replica's log, unlike that of any other: a host of yours and a path, without scheme.",
            ),
            |text, _| origin(text),
        );
        let secret = s.needed_secret(
            required(
                "checkpoint_key",
                "file:audit.key",
                "Ed25519 key in PEM that signs checkpoints, by reference: openssl genpkey -algorithm ed25519. It belongs to the \
                 log for good, and to nothing else.",
            ),
            Use::PrivateKey,
        );
        let checkpoint_interval = s.duration(
            key(
                "checkpoint_interval",
                "1s",
                "How long a record waits at most for a signed checkpoint over it. Holds up no signature.",
            ),
            Duration::from_millis(100)..=Duration::from_secs(3600),
        );
        let linger = s.duration(
            key(
                "linger",
                "2ms",
                "How long an appended record may wait so that several share one sync. Adds to latency, saves syncs.",
            ),
            Duration::ZERO..=Duration::from_millis(100),
        );
        let timeout = s.duration(
            key(
                "timeout",
                "2s",
                "How long a request waits for the trail. A disk that takes longer counts as one that cannot be written: requests \
                 are answered 503 at once and the replica is not ready, until it has answered.",
            ),
            Duration::from_millis(100)..=Duration::from_secs(30),
        );
        let qps = s.integer(
            key(
                "unauthenticated_qps",
                1,
                "Refusals of callers who did not prove who they are that are recorded in a second, over all of them. The next \
                 record says how many were left out. Of each 24 hours, 1 takes up to 30 MB.",
            ),
            1..=1000,
        );
        let burst = s.integer(
            key(
                "unauthenticated_burst",
                60,
                "As many of them at once, after a while without any.",
            ),
            1..=100_000,
        );
        let held_checkpoint = s.optional(
            key(
                "held_checkpoint",
                "",
                "A checkpoint of this log that was kept elsewhere, as GET /audit/checkpoint answered it. The service does not \
                 start with a trail that does not go on from it. Empty: none is held against the trail.",
            ),
            files::public,
        );
        let checkpoint_key = secret.and_then(|secret| checkpoint_key(s, &secret));
        Some(Audit {
            directory: directory?,
            origin: origin?,
            checkpoint_key: checkpoint_key?,
            checkpoint_interval: checkpoint_interval?,
            linger: linger?,
            timeout: timeout?,
            unauthenticated_qps: qps?,
            unauthenticated_burst: burst?,
            held_checkpoint: held_checkpoint?,
        })
    })
}

fn checkpoint_key(s: &mut Section<'_>, secret: &Secret) -> Option<PKey<Private>> {
    match pem::private_key(secret, None) {
        Ok(key) if key.id() == Id::ED25519 => return Some(key),
        Ok(_) => s.refuse(
            "checkpoint_key",
            "is not an Ed25519 key",
            "make one: openssl genpkey -algorithm ed25519",
        ),
        Err(problem) => s.refuse("checkpoint_key", problem.problem, problem.remedy),
    }
    None
}

/// A key name of a signed note (C2SP signed-note) has no spaces and no plus sign.
fn origin(text: &str) -> Result<String, Problem> {
    if text.contains("://") || text.contains('+') {
        let remedy = "write a host and a path: \"signer.example/audit/replica-1\"";
        return Err(Problem::new(
            format!("{text:?} has a scheme or a plus sign"),
            remedy,
        ));
    }
    parse::visible(text, 255)
}

pub(crate) fn log(root: &mut Section<'_>) -> Option<Log> {
    root.section("log", LOG_DOC, |s| {
        let level = s.choice(
            key(
                "level",
                "info",
                "The least severity that is written: error, warn, info, debug.",
            ),
            &[
                ("error", slog::Level::Error),
                ("warn", slog::Level::Warning),
                ("warning", slog::Level::Warning),
                ("info", slog::Level::Info),
                ("debug", slog::Level::Debug),
            ],
        );
        let format = s.choice(
            key(
                "format",
                "json",
                "json: one object a line; pretty: for people at a terminal.",
            ),
            &[("json", LogFormat::Json), ("pretty", LogFormat::Pretty)],
        );
        Some(Log {
            level: level?,
            format: format?,
        })
    })
}
