//! Derives the published log from the journal: entry bundles, tiles, index, and the checkpoint over them.
//!
//! Order: what a checkpoint covers is durable before the checkpoint is; the journal loses nothing that a durable
//! checkpoint does not cover with full bundles.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::journal::{Cursor, segment_path, segments};
use super::reader::{CHECKPOINT, INDEX, IndexRow, Published, read_checkpoint};
use super::storage::{Segment, Storage};
use crate::tlog::{
    Checkpoint, Edge, Hash, NoteSigner, TILE_WIDTH, Tile, VerifierKey, entries, leaf_hash, push_entry,
    tile_root,
};

/// A segment of the journal is kept for this long after it was followed by another: a request that began in it has its
/// outcome by then.
const KEEP_FOR: Duration = Duration::from_secs(60);

/// A signed tree head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) checkpoint: Checkpoint,
    pub(super) note: Arc<str>,
}

/// The growing tree, and what of it has been published.
#[derive(Debug)]
pub(super) struct Tree {
    storage: Arc<dyn Storage>,
    signer: NoteSigner,
    keep_bytes: u64,
    /// The newest checkpoint; `None` before the first.
    head: Option<Head>,
    /// `None` after a failure, until it has been made anew from the disk: memory may be ahead of the files then, and nothing
    /// is signed, removed or dropped on its strength.
    growing: Option<Growing>,
    /// Segments of the journal that have been followed by another, and when that was seen.
    followed: VecDeque<(u64, Instant)>,
}

/// What is lost by a failure, and then made anew from the disk.
#[derive(Debug)]
struct Growing {
    edge: Edge,
    /// Entries of the bundle that is not full.
    bundle: Vec<u8>,
    row: IndexRow,
    cursor: Cursor,
    /// The group that was read last, as far as it has not been taken in.
    index: Box<dyn Segment>,
    /// Folders with new names.
    touched: BTreeSet<String>,
}

impl Tree {
    /// Takes up where the newest checkpoint ends, and proves that the journal, which holds the records from `oldest` up to
    /// `size`, goes on from it.
    ///
    /// # Errors
    /// Records are missing or altered, or the checkpoint is not this log's. For the operator, with the remedy.
    pub(super) fn load(
        storage: Arc<dyn Storage>,
        signer: NoteSigner,
        keep_bytes: u64,
        oldest: u64,
        size: u64,
    ) -> Result<Self, String> {
        let head = own_head(storage.as_ref(), &signer)?;
        let covered = head.as_ref().map_or(0, |head| head.checkpoint.size);
        if size < covered {
            return Err(format!(
                "the audit trail has lost its newest records: it ends at record {size}, but its own checkpoint covers \
                 {covered}. {REMEDY}"
            ));
        }
        if oldest > covered / TILE_WIDTH * TILE_WIDTH {
            return Err(format!(
                "the audit journal begins with record {oldest}, but the checkpoint covers no more than {covered}. {REMEDY}"
            ));
        }
        let growing = Growing::load(storage.as_ref(), head.as_ref())?;
        let now = Instant::now();
        let mut firsts = segments(storage.as_ref())?;
        firsts.pop();
        let past = now.checked_sub(KEEP_FOR).unwrap_or(now);
        Ok(Self {
            storage,
            signer,
            keep_bytes,
            head,
            growing: Some(growing),
            followed: firsts.into_iter().map(|first| (first, past)).collect(),
        })
    }

    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    pub(super) fn verifier(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Publishes what is durable up to `size` under a new checkpoint, if there is anything new or no checkpoint at all.
    ///
    /// # Errors
    /// For the log. What was published stays; the next call tries again.
    pub(super) fn publish(&mut self, size: u64) -> Result<(), String> {
        if self
            .head
            .as_ref()
            .is_some_and(|head| head.checkpoint.size >= size)
        {
            return Ok(());
        }
        let storage = self.storage.as_ref();
        let mut growing = match self.growing.take() {
            Some(growing) => growing,
            None => Growing::load(storage, self.head.as_ref())?,
        };
        // Whatever fails from here on drops it: files may be behind it.
        growing.grow(storage, size)?;
        self.sign(&mut growing, size)?;
        self.growing = Some(growing);
        Ok(())
    }

    fn sign(&mut self, growing: &mut Growing, size: u64) -> Result<(), String> {
        let (storage, root) = (self.storage.as_ref(), growing.edge.root());
        let checkpoint = Checkpoint {
            origin: self.signer.verifier().name().to_owned(),
            size,
            root,
        };
        let note = self.signer.sign(&checkpoint.text())?;
        let failed = |e: io::Error| format!("cannot write the checkpoint of the audit trail: {e}");
        for folder in &growing.touched {
            storage.sync_names(folder).map_err(failed)?;
        }
        growing.touched.clear();
        storage.replace(CHECKPOINT, note.as_bytes()).map_err(failed)?;
        storage.sync_names("").map_err(failed)?;
        let before = self.head.replace(Head {
            checkpoint,
            note: note.into(),
        });
        // Both only free space: whatever is left over is taken next time, or is harmless.
        self.remove_superseded(before.map_or(0, |head| head.checkpoint.size), size);
        self.prune(size)
    }

    /// Partial tiles whose full tile is there now (C2SP tlog-tiles: they may be deleted then).
    fn remove_superseded(&self, before: u64, now: u64) {
        for level in 0..u8::MAX {
            let shift = u32::from(level) * 8;
            let Some(hashes) = before.checked_shr(shift).filter(|hashes| *hashes > 0) else {
                return;
            };
            let index = hashes / TILE_WIDTH;
            let full = Tile::in_tree(level, index, now).filter(|tile| tile.is_full());
            if let Some(tile) = full.filter(|_| !hashes.is_multiple_of(TILE_WIDTH)) {
                let folders = [Some(tile.path()), (level == 0).then(|| tile.entries_path())];
                for folder in folders.into_iter().flatten() {
                    let _ = self.storage.remove_folder(&format!("{folder}.p"));
                }
            }
        }
    }

    /// Drops segments of the journal that full bundles cover, but for the newest [`Settings::keep_bytes`]
    /// (super::Settings::keep_bytes) and what was written lately.
    fn prune(&mut self, size: u64) -> Result<(), String> {
        let storage = self.storage.as_ref();
        let firsts = segments(storage)?;
        let now = Instant::now();
        for pair in firsts.windows(2) {
            let [first, _] = *pair else { continue };
            if self.followed.iter().all(|(known, _)| *known != first) {
                self.followed.push_back((first, now));
            }
        }
        let length = |first: u64| {
            let file = storage.read(&segment_path(first));
            file.and_then(|file| file.len())
                .map_err(|e| format!("cannot read the audit journal: {e}"))
        };
        let mut kept = 0;
        for first in firsts.iter().rev() {
            kept += length(*first)?;
        }
        let covered = size / TILE_WIDTH * TILE_WIDTH;
        for pair in firsts.windows(2) {
            let [first, next] = *pair else { continue };
            let length = length(first)?;
            let old = self
                .followed
                .front()
                .is_some_and(|(known, since)| *known == first && now.duration_since(*since) >= KEEP_FOR);
            if next > covered || kept - length < self.keep_bytes || !old {
                return Ok(());
            }
            let path = segment_path(first);
            storage
                .remove(&path)
                .map_err(|e| format!("cannot remove {path}: {e}"))?;
            self.followed.pop_front();
            kept -= length;
        }
        Ok(())
    }
}

pub(super) const REMEDY: &str = "put the directory back from a copy that has them; if there is none, keep it as evidence and begin a \
                      new trail, with another audit.origin, in an empty directory";

/// The checkpoint on disk, which must be ours.
fn own_head(storage: &dyn Storage, signer: &NoteSigner) -> Result<Option<Head>, String> {
    let note = read_checkpoint(storage)?;
    note.map(|note| own_head_of(note, signer.verifier())).transpose()
}

/// What a note signs, which must be this key's.
pub(super) fn own_head_of(note: String, key: &VerifierKey) -> Result<Head, String> {
    let text = key.open(&note).map_err(|e| {
        format!(
            "the checkpoint in the audit directory is not signed by audit.checkpoint_key for audit.origin ({e}): put key and \
             origin back; for another key or origin begin a new trail in an empty directory"
        )
    })?;
    let checkpoint = Checkpoint::parse(text).filter(|checkpoint| checkpoint.origin == key.name());
    let checkpoint = checkpoint.ok_or("the checkpoint in the audit directory is of another log")?;
    Ok(Head {
        checkpoint,
        note: note.into(),
    })
}

impl Growing {
    /// The tree at the newest checkpoint: upper levels from full tiles, the rest from the journal.
    fn load(storage: &dyn Storage, head: Option<&Head>) -> Result<Self, String> {
        let covered = head.map_or(0, |head| head.checkpoint.size);
        let base = covered / TILE_WIDTH * TILE_WIDTH;
        let firsts = segments(storage)?;
        let from = firsts.iter().rev().find(|first| **first <= base);
        let from = from
            .copied()
            .ok_or("the audit journal does not reach back to the last full bundle")?;
        let index = storage
            .open(INDEX, true)
            .map_err(|e| format!("cannot open the index of the audit trail: {e}"))?;
        let mut this = Self {
            edge: base_edge(storage, base)?,
            bundle: Vec::new(),
            row: IndexRow::default(),
            cursor: Cursor::at_segment(from),
            index,
            touched: BTreeSet::new(),
        };
        this.mend_index(storage, base / TILE_WIDTH)?;
        this.cursor = this.take_in_covered(storage, from, base, covered)?;
        match head {
            Some(head) if this.edge.root() != head.checkpoint.root => Err(format!(
                "the audit trail is not the one that its checkpoint signs: records, tiles or the checkpoint were altered. Run \
                 `signer audit verify`. {REMEDY}"
            )),
            _ => Ok(this),
        }
    }

    /// Takes in the records that the checkpoint covers and no full bundle. Answers where to read on: at the group with the
    /// first record that is not covered.
    fn take_in_covered(
        &mut self,
        storage: &dyn Storage,
        from: u64,
        base: u64,
        covered: u64,
    ) -> Result<Cursor, String> {
        let mut cursor = Cursor::at_segment(from);
        let mut before = cursor.mark();
        while self.edge.size() < covered {
            before = cursor.mark();
            let group = cursor
                .next(storage)?
                .ok_or("the audit journal ends before its checkpoint")?;
            for (number, entry) in (group.first..).zip(entries(&group.entries)) {
                if (base..covered).contains(&number) {
                    let entry = entry.map_err(|e| format!("a group of the audit journal is broken: {e}"))?;
                    self.push(entry, storage)?;
                }
            }
        }
        // The last group may go on beyond the checkpoint, and is read once more then.
        Ok(if cursor.next_record() == covered {
            cursor
        } else {
            Cursor::at_mark(storage, before)?
        })
    }

    /// Takes in the journal up to `size`, and writes bundles and tiles.
    fn grow(&mut self, storage: &dyn Storage, size: u64) -> Result<(), String> {
        while self.edge.size() < size {
            let Some(group) = self.cursor.next(storage)? else {
                return Err(format!("the audit journal ends before record {size}"));
            };
            // A group that was partly taken in when the tree was loaded.
            let known = self.edge.size().saturating_sub(group.first);
            let known = usize::try_from(known).unwrap_or(usize::MAX);
            for entry in entries(&group.entries).skip(known) {
                let entry = entry.map_err(|e| format!("a group of the audit journal is broken: {e}"))?;
                self.push(entry, storage)?;
            }
        }
        if self.edge.size() == size {
            self.write_partial(storage)
        } else {
            Err("a group of the audit journal is not durable as a whole".into())
        }
    }

    fn push(&mut self, entry: &[u8], storage: &dyn Storage) -> Result<(), String> {
        push_entry(&mut self.bundle, entry);
        self.row.take_in(entry);
        let mut full = Vec::new();
        self.edge.push(leaf_hash(entry), |tile, hashes| {
            full.push((tile, hashes.concat()))
        });
        if let Some((tile, _)) = full.first() {
            let bundle = std::mem::take(&mut self.bundle);
            self.put(storage, tile.entries_path(), &bundle)?;
            let row = std::mem::take(&mut self.row);
            self.append_row(row)?;
        }
        for (tile, hashes) in full {
            self.put(storage, tile.path(), &hashes)?;
        }
        Ok(())
    }

    /// The tiles and the bundle that are not full, as they are at this size.
    fn write_partial(&mut self, storage: &dyn Storage) -> Result<(), String> {
        self.index
            .sync()
            .map_err(|e| format!("cannot sync the index of the audit trail: {e}"))?;
        let partial: Vec<_> = self
            .edge
            .partial()
            .map(|(tile, hashes)| (tile, hashes.concat()))
            .collect();
        for (tile, hashes) in partial {
            if tile.level == 0 {
                let bundle = self.bundle.clone();
                self.put(storage, tile.entries_path(), &bundle)?;
            }
            self.put(storage, tile.path(), &hashes)?;
        }
        Ok(())
    }

    fn put(&mut self, storage: &dyn Storage, path: String, bytes: &[u8]) -> Result<(), String> {
        storage
            .replace(&path, bytes)
            .map_err(|e| format!("cannot write {path} of the audit trail: {e}"))?;
        if let Some((folder, _)) = path.rsplit_once('/') {
            self.touched.insert(folder.to_owned());
        }
        Ok(())
    }

    fn append_row(&mut self, row: IndexRow) -> Result<(), String> {
        let row = row.bytes();
        match self.index.append(&row) {
            Ok(written) if written == row.len() => Ok(()),
            _ => Err("cannot append to the index of the audit trail".into()),
        }
    }

    /// The index has a row for each full bundle; what a crash left of it is brought to that.
    fn mend_index(&mut self, storage: &dyn Storage, bundles: u64) -> Result<(), String> {
        let failed = |e: io::Error| format!("cannot mend the index of the audit trail: {e}");
        let rows = self.index.len().map_err(failed)? / IndexRow::BYTES as u64;
        self.index
            .truncate(rows.min(bundles) * IndexRow::BYTES as u64)
            .map_err(failed)?;
        let published = Published::new(storage);
        for number in rows.min(bundles)..bundles {
            let tile = Tile {
                level: 0,
                index: number,
                width: TILE_WIDTH,
            };
            let bundle = published.bundle(tile)?;
            let mut row = IndexRow::default();
            // A bundle that is not here was archived: who looks for its records has to bring it back.
            for entry in bundle
                .iter()
                .flat_map(|bundle| entries(bundle))
                .map_while(Result::ok)
            {
                row.take_in(entry);
            }
            self.append_row(row)?;
        }
        self.index.sync().map_err(failed)
    }
}

/// The edge of the tree over full bundles only.
fn base_edge(storage: &dyn Storage, base: u64) -> Result<Edge, String> {
    let published = Published::new(storage);
    let mut levels: Vec<Vec<Hash>> = Vec::new();
    let mut hashes = base;
    let mut level = 0;
    while hashes > 0 {
        let first = hashes / TILE_WIDTH * TILE_WIDTH;
        let below: Result<Vec<Hash>, String> = (first..hashes)
            .map(|index| {
                // At level 0 the base is a multiple of the width, so there is nothing to read.
                let tile = Tile {
                    level: level - 1,
                    index,
                    width: TILE_WIDTH,
                };
                published.hashes(tile).map(|hashes| tile_root(&hashes))
            })
            .collect();
        levels.push(below?);
        hashes /= TILE_WIDTH;
        level += 1;
    }
    Edge::of(base, levels).ok_or_else(|| "the tiles of the audit trail do not fit its size".to_owned())
}
