//! A checkpoint that was kept elsewhere, held against the trail: whoever has directory and key can rewrite both, but not it.

use std::path::Path;

use serde::Deserialize;

use super::reader::{Published, read_checkpoint};
use super::storage::{Directory, Storage};
use super::tree::{Head, REMEDY, own_head_of};
use crate::tlog::{Checkpoint, TileNodes, VerifierKey, consistency_proof, empty_root, verify_consistency};

/// Proves that the trail in a directory goes on from a checkpoint: a signed note, or an answer of `GET /audit/checkpoint`.
/// Changes nothing; the directory may be in use. Answers how many records the checkpoint covers.
///
/// # Errors
/// It does not, or the checkpoint is not this log's. For the operator, with the remedy.
pub fn goes_on_from(directory: &Path, key: &VerifierKey, held: &[u8]) -> Result<u64, String> {
    let storage = Directory::at(directory);
    let note = read_checkpoint(&storage)?;
    let head = note.map(|note| own_head_of(note, key)).transpose()?;
    proves(&storage, key, head.as_ref(), held)
}

pub(super) fn proves(
    storage: &dyn Storage,
    key: &VerifierKey,
    head: Option<&Head>,
    held: &[u8],
) -> Result<u64, String> {
    let held = read(key, held)?;
    let size = head.map_or(0, |head| head.checkpoint.size);
    let root = head.map_or_else(empty_root, |head| head.checkpoint.root);
    if held.size > size {
        return Err(format!(
            "the audit trail has lost records: its checkpoint covers {size}, but audit.held_checkpoint covers {}. {REMEDY}",
            held.size
        ));
    }
    let proof = match held.size {
        0 => Vec::new(),
        from => consistency_proof(&TileNodes::new(Published::new(storage), size), from, size)?,
    };
    if verify_consistency((held.size, &held.root), (size, &root), &proof) {
        Ok(held.size)
    } else {
        Err(format!(
            "the audit trail was rewritten: its first {} records are not those that audit.held_checkpoint covers. {REMEDY}",
            held.size
        ))
    }
}

/// The checkpoint itself, which must be signed by this log's key.
fn read(key: &VerifierKey, held: &[u8]) -> Result<Checkpoint, String> {
    #[derive(Deserialize)]
    struct Answer {
        checkpoint: String,
    }
    let text = std::str::from_utf8(held).map_err(|_| "audit.held_checkpoint is not text".to_owned())?;
    let answered = serde_json::from_str(text).map(|answer: Answer| answer.checkpoint);
    let note = answered.as_deref().unwrap_or(text);
    let opened = key.open(note).map_err(|e| {
        format!(
            "audit.held_checkpoint is not signed by audit.checkpoint_key for audit.origin ({e}): keep an answer of GET \
             /audit/checkpoint of this very log there"
        )
    })?;
    Checkpoint::parse(opened)
        .filter(|checkpoint| checkpoint.origin == key.name())
        .ok_or_else(|| "audit.held_checkpoint is no checkpoint of this log".to_owned())
}
