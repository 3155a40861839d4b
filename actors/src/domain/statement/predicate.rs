//! A predicate in canonical form, as it stands in a statement.

use std::ops::Range;

use serde_json::value::RawValue;

use super::{MEMBER_DEPTH, STATEMENT_TYPE, StatementError};
use crate::domain::canonical::{CanonicalError, canonicalize_noting, part};
use crate::domain::predicates;

/// A predicate on its way into a statement.
#[derive(Debug)]
pub enum Predicate<'a> {
    /// As received, yet to be checked.
    Received(&'a RawValue),
    /// Checked already, on the way through its request.
    Canonical(CanonicalPredicate),
}

impl<'a> From<&'a RawValue> for Predicate<'a> {
    fn from(received: &'a RawValue) -> Self {
        Self::Received(received)
    }
}

/// An object in canonical form, where a statement has it.
#[derive(Debug)]
pub struct CanonicalPredicate {
    /// `{"_type":…,"predicate":…`
    pub(super) buffer: Vec<u8>,
    /// Where it begins in there.
    start: usize,
    /// How long it was as received, in bytes.
    pub(super) received: usize,
    pub(super) noted: Vec<Option<Range<usize>>>,
}

impl CanonicalPredicate {
    /// The member `predicate` of a request's root object, and names and values of all others: one walk over the text. `None`
    /// where anything is wrong or unusual ([`part`]).
    pub fn of_request(text: &str) -> Option<(Vec<(&str, &str)>, Self)> {
        let mut buffer = begun(text.len());
        let start = buffer.len();
        let parted = part(text, "predicate", &mut buffer, predicates::NOTED)?;
        let predicate = Self {
            buffer,
            start,
            received: parted.received,
            noted: parted.noted,
        };
        Some((parted.others, predicate))
    }

    pub(super) fn of(received: &RawValue) -> Result<Self, StatementError> {
        let text = received.get();
        // Go and Python libraries refuse a statement without a predicate object.
        if !text.starts_with('{') {
            return Err(StatementError::Predicate("predicate must be an object".into()));
        }
        let mut buffer = begun(text.len());
        let start = buffer.len();
        let noted =
            canonicalize_noting(text, MEMBER_DEPTH, &mut buffer, predicates::NOTED).map_err(|error| {
                match error {
                    CanonicalError::Number { .. } | CanonicalError::NameTooLong { .. } => {
                        StatementError::Predicate(format!("predicate: {error}"))
                    }
                    other => StatementError::Json(other),
                }
            })?;
        Ok(Self {
            buffer,
            start,
            received: text.len(),
            noted,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.get(self.start..) == Some(b"{}")
    }
}

/// A statement up to its predicate, with room for one of so many bytes.
fn begun(predicate: usize) -> Vec<u8> {
    // Base64 and HTTP need no more of it; subjects add a little.
    let mut buffer = Vec::with_capacity(predicate + predicate / 16 + 1024);
    buffer.extend_from_slice(b"{\"_type\":\"");
    buffer.extend_from_slice(STATEMENT_TYPE.as_bytes());
    buffer.extend_from_slice(b"\",\"predicate\":");
    buffer
}
