//! The durable trail behind the AuditActor.

use std::fmt;

/// An append-only, hash-chained log. Blocking: the AuditActor owns it on an arbiter of its own.
pub trait AuditLog: Send + fmt::Debug {
    /// Appends records, each one line of JSON without a line feed, in order. Nothing is durable yet. After an error the
    /// log repairs or reopens itself on a later call, or keeps failing; it never skips a record silently.
    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), AuditLogError>;

    /// Makes everything appended durable (`fdatasync`), and with it the answers that wait.
    fn sync(&mut self) -> Result<(), AuditLogError>;

    /// Number of records in the log, and the hash of the newest (lowercase hex).
    fn head(&self) -> (u64, String);
}

/// The trail cannot be written: 503 `audit_unavailable`. The text is for logs and operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuditLogError(pub String);
