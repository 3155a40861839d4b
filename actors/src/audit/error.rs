//! Why a record is not in the trail.

/// Why a record is not in the trail. Without it, nothing is signed and nothing leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// 503 `audit_unavailable`
    #[error("the audit trail cannot be written, so nothing is signed: try again shortly")]
    Unavailable,
    /// 500 `internal`: the record is longer than the schema allows.
    #[error("the audit record could not be formed")]
    Record,
}
