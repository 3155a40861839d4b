//! Reads the published log: checkpoint, tiles, bundles, and what of them belongs to an audit id.

use serde::Deserialize;
use signer_actors::domain::ids::AuditId;

use super::storage::{Storage, read_up_to, read_whole};
use crate::tlog::{Hash, MAX_ENTRY_BYTES, TILE_WIDTH, Tile, TileSource, entries};

/// The newest checkpoint.
pub(super) const CHECKPOINT: &str = "checkpoint";
/// Audit ids of each full bundle.
pub(super) const INDEX: &str = "index";
/// The longest checkpoint that is read, in bytes: ours have a few hundred, others may have countersigned.
const MAX_CHECKPOINT_BYTES: usize = 64 * 1024;
/// The longest bundle.
const MAX_BUNDLE_BYTES: usize = 256 * (MAX_ENTRY_BYTES + 2);
/// Bundles that are searched for one audit id. More can only fit when the clock went astray.
const MAX_CANDIDATES: usize = 256;

/// The note in the file, not verified; `None` if there is none.
pub(super) fn read_checkpoint(storage: &dyn Storage) -> Result<Option<String>, String> {
    let unreadable =
        |e: &dyn std::fmt::Display| format!("cannot read the checkpoint of the audit trail: {e}");
    match read_whole(storage, CHECKPOINT, MAX_CHECKPOINT_BYTES).map_err(|e| unreadable(&e))? {
        None => Ok(None),
        Some(bytes) => String::from_utf8(bytes).map(Some).map_err(|e| unreadable(&e)),
    }
}

/// The audit id of a record, if it has one.
fn audit_id(entry: &[u8]) -> Option<AuditId> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        audit_id: Option<AuditId>,
    }
    serde_json::from_slice::<Named>(entry).ok()?.audit_id
}

/// The time in an audit id, in milliseconds of Unix time (RFC 9562 §5.7).
fn milliseconds(id: AuditId) -> u64 {
    let (high, _) = id.0.as_u64_pair();
    high >> 16
}

/// Between which times the audit ids of a bundle lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IndexRow {
    earliest: u64,
    latest: u64,
}

/// Of a bundle without audit ids.
impl Default for IndexRow {
    fn default() -> Self {
        Self {
            earliest: u64::MAX,
            latest: 0,
        }
    }
}

impl IndexRow {
    /// In the file.
    pub(super) const BYTES: usize = 16;

    pub(super) fn take_in(&mut self, entry: &[u8]) {
        if let Some(time) = audit_id(entry).map(milliseconds) {
            self.earliest = self.earliest.min(time);
            self.latest = self.latest.max(time);
        }
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        [self.earliest.to_be_bytes(), self.latest.to_be_bytes()].concat()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (earliest, rest) = bytes.split_first_chunk::<8>()?;
        let latest = rest.first_chunk::<8>()?;
        Some(Self {
            earliest: u64::from_be_bytes(*earliest),
            latest: u64::from_be_bytes(*latest),
        })
    }
}

/// The published log in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published<'a> {
    storage: &'a dyn Storage,
}

impl<'a> Published<'a> {
    pub(super) fn new(storage: &'a dyn Storage) -> Self {
        Self { storage }
    }

    /// A file that may be there full although a part was asked for.
    fn part_or_full(&self, part: &str, full: &str, most: usize) -> Result<Option<Vec<u8>>, String> {
        let unreadable = |path: &str, e: std::io::Error| format!("cannot read {path}: {e}");
        match read_whole(self.storage, part, most).map_err(|e| unreadable(part, e))? {
            None if part != full => read_whole(self.storage, full, most).map_err(|e| unreadable(full, e)),
            found => Ok(found),
        }
    }

    /// The hashes of a tile; an error if it is not there or not whole.
    pub(super) fn hashes(&self, tile: Tile) -> Result<Vec<Hash>, String> {
        let path = tile.path();
        let most = 256 * size_of::<Hash>();
        let bytes = self.part_or_full(&path, &tile.full().path(), most)?;
        let bytes = bytes.ok_or_else(|| format!("{path} is missing"))?;
        let mut hashes: Vec<Hash> = bytes
            .chunks(size_of::<Hash>())
            .filter_map(|hash| hash.try_into().ok())
            .collect();
        let width = usize::try_from(tile.width).unwrap_or(usize::MAX);
        if hashes.len() < width || !bytes.len().is_multiple_of(size_of::<Hash>()) {
            return Err(format!("{path} is not whole"));
        }
        hashes.truncate(width);
        Ok(hashes)
    }

    /// The entry bundle of these records, or one with more; `None` if it is not there.
    pub(super) fn bundle(&self, tile: Tile) -> Result<Option<Vec<u8>>, String> {
        self.part_or_full(
            &tile.entries_path(),
            &tile.full().entries_path(),
            MAX_BUNDLE_BYTES,
        )
    }

    /// Numbers and bytes of the records with this audit id, among the first `size`.
    pub(super) fn find(&self, id: AuditId, size: u64) -> Result<Vec<(u64, Vec<u8>)>, String> {
        let mut candidates = self.candidates(id, size / TILE_WIDTH)?;
        if !size.is_multiple_of(TILE_WIDTH) {
            candidates.push(size / TILE_WIDTH);
        }
        if candidates.len() > MAX_CANDIDATES {
            return Err("too many bundles may hold the record: use signer audit query".into());
        }
        let mut found = Vec::new();
        for number in candidates {
            let Some(tile) = Tile::in_tree(0, number, size) else {
                continue;
            };
            let first = number * TILE_WIDTH;
            let Some(bundle) = self.bundle(tile)? else {
                continue;
            };
            for (index, entry) in (first..first + tile.width).zip(entries(&bundle)) {
                let entry = entry.map_err(|e| format!("{}: {e}", tile.entries_path()))?;
                if audit_id(entry) == Some(id) {
                    found.push((index, entry.to_vec()));
                }
            }
        }
        Ok(found)
    }

    /// Numbers of the full bundles whose span of time has that of this id in it.
    fn candidates(&self, id: AuditId, bundles: u64) -> Result<Vec<u64>, String> {
        const ROWS: usize = 4096;
        let unreadable = |e| format!("cannot read the index of the audit trail: {e}");
        let file = self.storage.read(INDEX).map_err(unreadable)?;
        let (time, mut number, mut candidates) = (milliseconds(id), 0, Vec::new());
        while number < bundles {
            let offset = number * IndexRow::BYTES as u64;
            let rows = read_up_to(file.as_ref(), offset, ROWS * IndexRow::BYTES).map_err(unreadable)?;
            if rows.len() < IndexRow::BYTES {
                return Err("the index of the audit trail is not whole: a restart mends it".into());
            }
            for row in rows.chunks_exact(IndexRow::BYTES).filter_map(IndexRow::parse) {
                if number < bundles && (row.earliest..=row.latest).contains(&time) {
                    candidates.push(number);
                }
                number += 1;
            }
        }
        Ok(candidates)
    }
}

impl TileSource for Published<'_> {
    type Error = String;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, String> {
        self.hashes(tile)
    }

    fn absent(&self) -> String {
        "the audit trail has no such node".into()
    }
}
