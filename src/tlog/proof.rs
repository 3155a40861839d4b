//! A proof that one entry is in a log, as one text (C2SP tlog-proof).

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::checkpoint::{decimal, hash};
use super::tree::{Hash, verify_inclusion};
use super::{Checkpoint, NoteError, VerifierKey};

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";
/// No tree of 2^64 leaves is deeper.
const MAX_HASHES: usize = 64;

/// Place, path and signed tree head of one entry. `Display` writes the text form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// Number of the entry, from 0.
    pub index: u64,
    /// Audit path, from the leaf's sibling up (RFC 6962 §2.1.1).
    pub path: Vec<Hash>,
    /// The signed note.
    pub checkpoint: String,
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}index {}", HEADER, self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64_STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl TlogProof {
    /// Reads a text; `None` if it is no proof. Extra data is not authenticated and is passed over.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(HEADER)?;
        let (head, checkpoint) = rest.split_once("\n\n")?;
        let mut lines = head.split('\n').peekable();
        lines.next_if(|line| line.starts_with("extra "));
        let index = decimal(lines.next()?.strip_prefix("index ")?)?;
        let path = lines.take(MAX_HASHES + 1).map(hash).collect::<Option<Vec<_>>>()?;
        (path.len() <= MAX_HASHES).then(|| Self {
            index,
            path,
            checkpoint: checkpoint.to_owned(),
        })
    }

    /// Verifies the note's signature, its origin, which must be the key's name, and the path. Answers the tree head.
    ///
    /// # Errors
    /// The note's; [`NoteError::Malformed`] if the note is no checkpoint of this log or the path does not lead to its root.
    pub fn verify(&self, leaf: &Hash, key: &VerifierKey) -> Result<Checkpoint, NoteError> {
        let head = Checkpoint::parse(key.open(&self.checkpoint)?).ok_or(NoteError::Malformed)?;
        let shown = head.origin == key.name()
            && verify_inclusion(leaf, self.index, head.size, &self.path, &head.root);
        if shown {
            Ok(head)
        } else {
            Err(NoteError::Malformed)
        }
    }
}
