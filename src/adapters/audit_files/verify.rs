//! Proving a whole trail unaltered: `signer audit verify DIR`.
//!
//! Every record is hashed and found in its tile, every tile in the one above, and all of them under the checkpoint. That
//! the directory was not rewritten as a whole takes a checkpoint kept elsewhere, and that the checkpoint is this log's
//! its key: both are [`Expected`].

use std::path::Path;

use signer_actors::domain::ids::AuditId;

use super::check::Checker;
use super::journal::{Found, group_follows, read_group, segment_path, segments};
use super::open::refuse_old_format;
use super::reader::{CHECKPOINT, Published, read_checkpoint};
use super::storage::{Directory, Storage};
use crate::tlog::{
    Checkpoint, Edge, Hash, TILE_WIDTH, Tile, VerifierKey, entries, leaf_hash, tile_root, unverified_text,
};

/// What is known from elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected<'a> {
    /// The key of the log: without it signatures are not verified.
    pub key: Option<&'a VerifierKey>,
    /// A tree head of this log that was kept elsewhere, and believed.
    pub held: Option<&'a Checkpoint>,
}

/// What a whole trail holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// All records.
    pub records: u64,
    /// Of these, how many the checkpoint covers.
    pub covered: u64,
    /// Of these, how many are archived: their hashes are here, their bundles are not.
    pub archived: u64,
    /// Signatures about to be made.
    pub intents: u64,
    /// Intents closed.
    pub outcomes: u64,
    /// Outcomes that say a signature was made.
    pub signed: u64,
    /// Refusals and dry runs.
    pub refusals: u64,
    /// Intents without an outcome, oldest first: requests under way, or cut off by a crash.
    pub orphans: Vec<AuditId>,
    /// The checkpoint in the directory; `None` before the first.
    pub checkpoint: Option<Checkpoint>,
}

/// The first place where a trail is not whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// File, or the directory when there is no trail in it.
    pub place: String,
    /// Number of the record at fault, where one is.
    pub record: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.record {
            Some(record) => write!(f, "{}, record {record}: {}", self.place, self.what),
            None => write!(f, "{}: {}", self.place, self.what),
        }
    }
}

fn fault(place: impl Into<String>, record: impl Into<Option<u64>>, what: impl Into<String>) -> Fault {
    Fault {
        place: place.into(),
        record: record.into(),
        what: what.into(),
    }
}

/// Verifies every record of the trail in a directory. `progress` hears how many records have been verified, and of how
/// many that the checkpoint covers.
///
/// # Errors
/// The first fault; also when the directory holds no trail or cannot be read.
pub fn verify_dir(
    directory: &Path,
    expected: Expected<'_>,
    progress: impl FnMut(u64, u64),
) -> Result<Summary, Fault> {
    verify_storage(&Directory::at(directory), expected, progress)
}

pub(super) fn verify_storage(
    storage: &dyn Storage,
    expected: Expected<'_>,
    progress: impl FnMut(u64, u64),
) -> Result<Summary, Fault> {
    refuse_old_format(storage).map_err(|what| fault("the directory", None, what))?;
    let checkpoint = checkpoint(storage, expected.key)?;
    let size = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    if let (Some(own), Some(held)) = (&checkpoint, expected.held)
        && own.origin != held.origin
    {
        let what = format!(
            "foreign: it is of {}, the one kept elsewhere of {}",
            own.origin, held.origin
        );
        return Err(fault(CHECKPOINT, None, what));
    }
    let mut walk = Walk {
        storage,
        published: Published::new(storage),
        size,
        edge: Edge::default(),
        tile: None,
        held: expected.held,
        archived: 0,
        checker: Checker {
            whole: true,
            ..Checker::default()
        },
        progress,
    };
    walk.held_is_met("checkpoint")?;
    for number in 0..size.div_ceil(TILE_WIDTH) {
        walk.bundle(number)?;
        let done = walk.edge.size();
        (walk.progress)(done, size);
    }
    walk.upper_tiles()?;
    if let Some(checkpoint) = &checkpoint {
        walk.root(checkpoint)?;
    }
    walk.journal(checkpoint.is_some())?;
    walk.held_is_reached()?;
    Ok(walk.summary(checkpoint))
}

fn checkpoint(storage: &dyn Storage, key: Option<&VerifierKey>) -> Result<Option<Checkpoint>, Fault> {
    let refuse = |what: String| fault(CHECKPOINT, None, what);
    let Some(note) = read_checkpoint(storage).map_err(refuse)? else {
        return Ok(None);
    };
    let text = match key {
        Some(key) => key.open(&note),
        None => unverified_text(&note),
    };
    let text = text.map_err(|e| refuse(format!("altered or foreign: {e}")))?;
    let checkpoint = Checkpoint::parse(text).ok_or_else(|| refuse("altered: it is no checkpoint".into()))?;
    match key.filter(|key| key.name() != checkpoint.origin) {
        Some(key) => Err(refuse(format!(
            "foreign: it is of {}, the key of {}",
            checkpoint.origin,
            key.name()
        ))),
        None => Ok(Some(checkpoint)),
    }
}

struct Walk<'a, P> {
    storage: &'a dyn Storage,
    published: Published<'a>,
    /// What the checkpoint covers.
    size: u64,
    edge: Edge,
    /// The tile that a record of the journal was last looked for in.
    tile: Option<(Tile, Vec<Hash>)>,
    held: Option<&'a Checkpoint>,
    archived: u64,
    checker: Checker,
    progress: P,
}

impl<P: FnMut(u64, u64)> Walk<'_, P> {
    /// The records of one bundle, against the tile of their hashes.
    fn bundle(&mut self, number: u64) -> Result<(), Fault> {
        let Some(tile) = Tile::in_tree(0, number, self.size) else {
            return Ok(());
        };
        let first = number * TILE_WIDTH;
        let hashes = self.published.hashes(tile);
        let hashes = hashes.map_err(|what| fault(tile.path(), first, what))?;
        let place = tile.entries_path();
        let bundle = self
            .published
            .bundle(tile)
            .map_err(|what| fault(&place, first, what))?;
        let Some(bundle) = bundle else {
            // Archiving takes full bundles, from the first one on.
            if self.archived < first || !tile.is_full() {
                let what = format!(
                    "removed: the bundle with records {first} to {} is missing",
                    first + tile.width - 1
                );
                return Err(fault(place, first, what));
            }
            self.archived += TILE_WIDTH;
            self.checker.whole = false;
            return self.push_all(&hashes, &place);
        };
        let width = hashes.len();
        let found: Vec<_> = entries(&bundle).collect();
        let whole: Vec<&[u8]> = found.iter().map_while(|entry| entry.ok()).collect();
        let own: Vec<Hash> = whole.iter().map(|entry| leaf_hash(entry)).collect();
        if let Some(at) = (0..width).find(|at| own.get(*at) != hashes.get(*at)) {
            return Err(self.blame(tile, first, at, &own, &hashes, whole.len() < found.len()));
        }
        if tile.is_full() && found.len() > width {
            let what = "inserted: more records follow than the bundle may have";
            return Err(fault(place, first + tile.width, what));
        }
        for (index, entry) in (first..).zip(whole.iter().take(width)) {
            let checked = self.checker.accept(entry);
            checked
                .map_err(|what| fault(&place, index, format!("in the tree, but not acceptable: {what}")))?;
        }
        self.push_all(&hashes, &place)
    }

    /// Says what happened to the record at this place, whose hash is not the one in the tile.
    fn blame(&self, tile: Tile, first: u64, at: usize, own: &[Hash], hashes: &[Hash], torn: bool) -> Fault {
        let record = first + at as u64;
        let place = tile.entries_path();
        if self.vouches(tile, own) {
            let what = "altered: the tile names another hash than the record has, and the tree above has the record's";
            return fault(tile.path(), record, what);
        }
        let Some(hash) = own.get(at) else {
            let what = if torn {
                "truncated within this record"
            } else {
                "truncated: it and all after it are missing"
            };
            return fault(place, record, what);
        };
        let belongs = hashes.iter().skip(at + 1).position(|other| other == hash);
        let missing = hashes.get(at);
        let elsewhere = own.iter().skip(at + 1).any(|other| Some(other) == missing);
        let what = match belongs.map(|ahead| record + 1 + ahead as u64) {
            Some(other) if elsewhere => format!("reordered: record {other} stands here, before this one"),
            Some(other) => format!("removed: record {other} stands here"),
            None if hashes.iter().take(at).any(|other| other == hash) => {
                "repeated: an earlier record stands here".to_owned()
            }
            None if own.get(at + 1) == missing => "inserted: a foreign record stands before it".to_owned(),
            None => "altered: its hash is not the one in the tree".to_owned(),
        };
        fault(place, record, what)
    }

    /// Whether the level above knows a bundle with these hashes.
    fn vouches(&self, tile: Tile, own: &[Hash]) -> bool {
        let above = Tile::in_tree(1, tile.index / TILE_WIDTH, self.size).filter(|_| tile.is_full());
        let known = above.and_then(|above| self.published.hashes(above).ok());
        let place = usize::try_from(tile.index % TILE_WIDTH).unwrap_or(usize::MAX);
        let full = own.get(..usize::try_from(TILE_WIDTH).unwrap_or(usize::MAX));
        full.is_some_and(|full| known.is_some_and(|known| known.get(place) == Some(&tile_root(full))))
    }

    fn push_all(&mut self, hashes: &[Hash], place: &str) -> Result<(), Fault> {
        for hash in hashes {
            self.push(*hash)?;
            self.held_is_met(place)?;
        }
        Ok(())
    }

    /// Adds a leaf; a tile above that this fills must be the one on disk.
    fn push(&mut self, leaf: Hash) -> Result<(), Fault> {
        let mut full = Vec::new();
        let size = self.size;
        self.edge.push(leaf, |tile, hashes| {
            if tile.level > 0 && Tile::in_tree(tile.level, tile.index, size) == Some(tile) {
                full.push((tile, hashes.to_vec()));
            }
        });
        full.into_iter()
            .try_for_each(|(tile, hashes)| self.is_on_disk(tile, &hashes))
    }

    fn upper_tiles(&self) -> Result<(), Fault> {
        let mut upper = self.edge.partial().filter(|(tile, _)| tile.level > 0);
        upper.try_for_each(|(tile, hashes)| self.is_on_disk(tile, hashes))
    }

    fn is_on_disk(&self, tile: Tile, hashes: &[Hash]) -> Result<(), Fault> {
        let found = self
            .published
            .hashes(tile)
            .map_err(|what| fault(tile.path(), None, what))?;
        match found.iter().zip(hashes).position(|(found, hash)| found != hash) {
            None => Ok(()),
            Some(at) => {
                let span = TILE_WIDTH.saturating_pow(u32::from(tile.level));
                let first = (tile.index * TILE_WIDTH + at as u64).saturating_mul(span);
                let what = format!(
                    "altered, here or in records {first} to {} together with the tiles below: the hashes do not fit",
                    first + span - 1
                );
                Err(fault(tile.path(), first, what))
            }
        }
    }

    fn root(&self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        if self.edge.root() == checkpoint.root {
            return Ok(());
        }
        let what = "forked: records and tiles fit each other, but not the checkpoint: the newest records or the checkpoint \
                    were rewritten";
        Err(fault(CHECKPOINT, None, what))
    }

    /// A tree head kept elsewhere must be one that this trail went through.
    fn held_is_met(&self, place: &str) -> Result<(), Fault> {
        match self.held.filter(|held| held.size == self.edge.size()) {
            Some(held) if held.root != self.edge.root() => {
                let what = format!(
                    "forked: the trail up to here is not the one of the checkpoint over {} records: it was rewritten, or the \
                     checkpoint is of another trail",
                    held.size
                );
                Err(fault(place, held.size.checked_sub(1), what))
            }
            _ => Ok(()),
        }
    }

    fn held_is_reached(&self) -> Result<(), Fault> {
        let end = self.edge.size();
        match self.held.filter(|held| held.size > end) {
            None => Ok(()),
            Some(held) => {
                let what = format!(
                    "truncated: the trail ends here, but the checkpoint counts {} records: records were removed",
                    held.size
                );
                Err(fault("the directory", end, what))
            }
        }
    }

    /// The journal: what the checkpoint covers must be the same there, the rest goes on from it.
    fn journal(&mut self, published: bool) -> Result<(), Fault> {
        let firsts = segments(self.storage).map_err(|what| fault("journal", None, what))?;
        let Some(first) = firsts.first().copied() else {
            // A copy for auditors may well be without.
            return if published {
                Ok(())
            } else {
                Err(fault("the directory", None, "there is no trail in it"))
            };
        };
        let mut next = first;
        if first > self.size {
            let what = format!("removed: the journal begins with record {first}");
            return Err(fault(segment_path(first), self.size, what));
        }
        for segment in firsts {
            if segment != next {
                let what = format!("removed: a segment begins with record {segment}");
                return Err(fault(segment_path(segment), next, what));
            }
            next = self.segment(segment)?;
        }
        if next < self.size {
            let what = format!(
                "truncated: the journal ends here, but the checkpoint covers {} records",
                self.size
            );
            return Err(fault("journal", next, what));
        }
        Ok(())
    }

    fn segment(&mut self, first: u64) -> Result<u64, Fault> {
        let path = segment_path(first);
        let unreadable = |e| fault(&path, None, format!("cannot read: {e}"));
        let file = self.storage.read(&path).map_err(unreadable)?;
        let (mut offset, mut next) = (0, first);
        loop {
            let group = match read_group(file.as_ref(), offset).map_err(unreadable)? {
                Found::End => return Ok(next),
                Found::Torn if group_follows(file.as_ref(), offset).map_err(unreadable)? => {
                    return Err(fault(
                        path,
                        next,
                        "altered: its group is damaged, and groups follow it",
                    ));
                }
                Found::Torn => {
                    let what = "truncated: a torn write; if no service is writing, starting one repairs it";
                    return Err(fault(path, next, what));
                }
                Found::Group(group) if group.first != next => {
                    return Err(fault(
                        path,
                        next,
                        format!("removed: record {} stands there", group.first),
                    ));
                }
                Found::Group(group) => group,
            };
            for entry in entries(&group.entries) {
                let entry = entry.map_err(|e| fault(&path, next, e.to_string()))?;
                self.journalled(next, entry, &path)?;
                next += 1;
            }
            if next != group.next() {
                return Err(fault(path, next, "removed: its group says it holds more records"));
            }
            offset += group.len();
        }
    }

    fn journalled(&mut self, record: u64, entry: &[u8], path: &str) -> Result<(), Fault> {
        let leaf = leaf_hash(entry);
        if record >= self.size {
            let checked = self.checker.accept(entry);
            checked.map_err(|what| fault(path, record, format!("not acceptable: {what}")))?;
            self.push(leaf)?;
            return self.held_is_met(path);
        }
        let tile = Tile::in_tree(0, record / TILE_WIDTH, self.size);
        // One after the other, they are in the same tile as the one before.
        if self.tile.as_ref().map(|(tile, _)| *tile) != tile {
            let read = tile.map(|tile| self.published.hashes(tile).map(|hashes| (tile, hashes)));
            self.tile = read.transpose().map_err(|what| fault(path, record, what))?;
        }
        let hashes = self
            .tile
            .as_ref()
            .map(|(_, hashes)| hashes.as_slice())
            .unwrap_or_default();
        let place = usize::try_from(record % TILE_WIDTH).unwrap_or(usize::MAX);
        if hashes.get(place) == Some(&leaf) {
            Ok(())
        } else {
            Err(fault(
                path,
                record,
                "altered in the journal: its hash is not the one in the tree",
            ))
        }
    }

    fn summary(self, checkpoint: Option<Checkpoint>) -> Summary {
        Summary {
            records: self.edge.size(),
            covered: self.size,
            archived: self.archived,
            intents: self.checker.intents,
            outcomes: self.checker.outcomes,
            signed: self.checker.signed,
            refusals: self.checker.refusals,
            orphans: self.checker.open.into_iter().collect(),
            checkpoint,
        }
    }
}
