//! The durable trail behind the AuditActor, and what of it is shown.

use std::fmt;
use std::sync::Arc;

use super::PortFuture;
use crate::domain::audit::AuditRecord;
use crate::domain::ids::AuditId;

/// An append-only log. Blocking: the AuditActor owns it on an arbiter of its own.
pub trait AuditLog: Send + fmt::Debug {
    /// Appends records, each one JSON object, in order. Nothing is durable yet. After an error none of them is in the log;
    /// it repairs or reopens itself on a later call, or keeps failing.
    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), AuditLogError>;

    /// Makes everything appended durable, with one write and one `fdatasync`, and with it the answers that wait. After an
    /// error what was appended may come to be in the log later, as a whole, or not at all.
    fn sync(&mut self) -> Result<(), AuditLogError>;

    /// Number of durable records.
    fn size(&self) -> u64;
}

/// The trail cannot be written: 503 `audit_unavailable`. The text is for logs and operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuditLogError(pub String);

/// A hash in the trail's tree (SHA-256, RFC 6962 §2.1).
pub type TreeHash = [u8; 32];

/// Shows the published trail and proves what it shows. Bounded: what is too much at once is [`TrailError::Busy`].
pub trait AuditTrail: Send + Sync + fmt::Debug {
    /// The newest signed tree head, with a proof that it goes on from the tree of size `from` if one is asked for.
    fn head(&self, from: Option<u64>) -> PortFuture<Result<TreeHead, TrailError>>;

    /// Every durable record of an audit id, whoever's it is, in order; none if there is none.
    fn records(&self, id: AuditId) -> PortFuture<Result<ShownRecords, TrailError>>;
}

/// A signed tree head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Which log.
    pub origin: Arc<str>,
    /// Number of records.
    pub size: u64,
    /// Root of the tree over them.
    pub root: TreeHash,
    /// The checkpoint as a signed note (C2SP tlog-checkpoint, signed-note).
    pub note: Arc<str>,
    /// Consistency proof from the size that was asked for (RFC 6962 §2.1.2); `None` when none was.
    pub consistency: Option<Vec<TreeHash>>,
}

/// Records under one tree head.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownRecords {
    /// In the order of the trail.
    pub records: Vec<ShownRecord>,
    /// The checkpoint that the proofs lead to, as a signed note.
    pub note: Arc<str>,
}

/// A record and the proof that it is in the trail.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownRecord {
    /// Its number.
    pub index: u64,
    /// Its bytes: what is hashed.
    pub entry: Vec<u8>,
    /// What it says.
    pub record: AuditRecord,
    /// Audit path, from the leaf's sibling up (RFC 6962 §2.1.1).
    pub path: Vec<TreeHash>,
    /// The same with the checkpoint as one text (C2SP tlog-proof).
    pub proof: String,
}

/// Why the trail shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrailError {
    /// 400 `invalid_request`: a proof from a size that the trail does not have.
    #[error("the log has {size} records: ask for a consistency proof from that size or a smaller one")]
    Beyond {
        /// Size of the newest tree head.
        size: u64,
    },
    /// 503 `overloaded`
    #[error("the audit trail is being asked too much at once: try again shortly")]
    Busy,
    /// 503 `audit_unavailable`: it cannot be read, or is not published yet. The reason is in the log.
    #[error("the audit trail cannot be read now: try again shortly")]
    Unavailable,
}
