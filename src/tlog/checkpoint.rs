//! The text of a checkpoint (C2SP tlog-checkpoint): origin, size, root.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::tree::Hash;

/// A tree head. Signed, it is the text of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// Root hash at that size.
    pub root: Hash,
}

impl Checkpoint {
    /// The text, with its final newline.
    pub fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            BASE64_STANDARD.encode(self.root)
        )
    }

    /// Reads a text. Extension lines are accepted if they are not empty, and not kept. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        if origin.is_empty() || lines.any(str::is_empty) {
            return None;
        }
        Some(Self {
            origin: origin.to_owned(),
            size: decimal(size)?,
            root: hash(root)?,
        })
    }
}

/// ASCII decimal without leading zeros.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A hash in standard base64 (RFC 4648 §4).
pub(super) fn hash(text: &str) -> Option<Hash> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}
