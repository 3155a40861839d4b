//! The small sections: `[timestamp]`, `[audit]`, `[log]`.

use std::path::PathBuf;
use std::time::Duration;

use openssl::pkey::{Id, PKey, Private};

use super::error::Problem;
use super::files::{self, PublicFile};
use super::parse;
use super::pem;
use super::reader::{Section, key, required};
use super::secret::{Secret, Use};

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

const TIMESTAMP_DOC: &str = "Timestamps (RFC 3161). Not part of this version: leave both keys empty.";
const AUDIT_DOC: &str = "The audit trail: every signature that leaves is in it first.";
const LOG_DOC: &str = "Log lines, on standard error.";

pub(crate) fn timestamp(root: &mut Section<'_>) -> Option<()> {
    let absent = |_: &str, _: &_| {
        Err::<(), _>(Problem::new(
            "timestamps are not available in this version",
            "leave [timestamp] out, and do not ask for options.timestamp",
        ))
    };
    root.section("timestamp", TIMESTAMP_DOC, |s| {
        let url = s.optional(key("url", "", "RFC 3161 timestamp authority."), absent);
        let chain = s.optional(key("chain", "", "Its certificate chain in PEM."), absent);
        url.zip(chain).map(|_| ())
    })
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
