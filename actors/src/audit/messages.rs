//! What the AuditActor is asked.

use super::AuditError;
use crate::domain::audit::AuditRecord;
use crate::runtime::Request;

/// When an append is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As soon as the record has its place in the order; it becomes durable with, or before, any later record.
    InOrder,
    /// When it is on disk.
    Durable,
}

/// A record is in the trail, or will be before any record that names this receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub(super) epoch: u64,
}

/// Appends one record.
#[derive(Debug)]
pub struct Append {
    /// The record.
    pub record: AuditRecord,
    /// When to answer.
    pub durability: Durability,
    /// The record that this one builds on: refused if that may have been lost since.
    pub after: Option<Receipt>,
}

impl Request for Append {
    type Answer = Result<Receipt, AuditError>;
}

/// Appends records that a desk has formed, in order, and answers when all of them are on disk.
#[derive(Debug)]
pub(super) struct AppendAll(pub(super) Vec<Vec<u8>>);

impl Request for AppendAll {
    type Answer = Result<Receipt, AuditError>;
}

/// Makes everything pending durable now. For drain.
#[derive(Debug)]
pub struct Flush;

impl Request for Flush {
    type Answer = ();
}
