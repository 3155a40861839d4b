//! The audit trail in files: a Merkle log of one replica, in the layout of C2SP tlog-tiles.
//!
//! ```text
//! journal/00000000000000000000   the newest records as they were made durable: what counts
//! checkpoint                     signed tree head
//! tile/entries/000…              records, 256 to a bundle
//! tile/0/000…, tile/1/000…       hashes of the tree
//! index                          which audit ids are in which bundle
//! ```
//!
//! What is acknowledged by [`sync`](AuditLog::sync) is in the `journal` and survives a crash. What was appended but
//! never acknowledged may survive or not; nobody was answered on its strength. A write or a sync that failed makes the
//! segment suspect: nothing is written until it has been opened anew and cut to what was acknowledged. A group whose sync
//! failed is then written again. (A failed `fsync` marks pages clean that never reached the disk, so a later one that
//! succeeds proves nothing about them.)
//!
//! All else is derived from the journal by a thread of its own ([`publisher`]), which never holds up a signature: bundles
//! and tiles, then the checkpoint over them. Only what a durable checkpoint covers is ever dropped from the journal.

mod check;
pub mod held;
mod journal;
pub mod newest;
mod open;
pub mod publisher;
pub mod query;
mod reader;
mod storage;
#[cfg(test)]
mod tests;
mod tree;
pub mod verify;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use signer_actors::domain::audit::MAX_RECORD_BYTES;
use signer_actors::domain::ids::AuditId;
use signer_actors::ports::{AuditLog, AuditLogError, Observer};
use tokio::sync::watch;

use crate::tlog::{Hash, NoteSigner, TileNodes, consistency_proof, push_entry};
use journal::{Found, HEADER_BYTES, MAX_GROUP_BYTES, segment_path};
use publisher::{Publisher, Trail};
use reader::Published;
use storage::{Directory, Segment, Storage};
use tree::Tree;

/// Where the trail is and how it is cut into files.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `audit.directory`; created with mode 0700 if it does not exist. One process at a time.
    pub directory: PathBuf,
    /// A segment of the journal that has reached this size, in bytes, is followed by a new one.
    pub segment_bytes: u64,
    /// Bytes of the journal that are kept though checkpoints cover them: the next start looks in them for intents
    /// without outcome.
    pub keep_bytes: u64,
    /// How long a durable record waits at most for a checkpoint over it.
    pub interval: Duration,
    /// A checkpoint that was kept elsewhere: the trail must go on from it.
    pub held: Option<Vec<u8>>,
}

impl Settings {
    /// Default of [`Settings::segment_bytes`].
    pub const SEGMENT_BYTES: u64 = 16 * 1024 * 1024;
    /// Default of [`Settings::keep_bytes`].
    pub const KEEP_BYTES: u64 = 64 * 1024 * 1024;
}

/// The trail, open for appending.
#[derive(Debug)]
pub struct FileAuditLog {
    storage: Arc<dyn Storage>,
    segment_bytes: u64,
    /// The newest segment of the journal.
    file: Box<dyn Segment>,
    /// First record of the newest segment: its name.
    first: u64,
    /// Length of the newest segment that is acknowledged, and the offset of its last group.
    synced_len: u64,
    last_group: Option<u64>,
    /// Records that are acknowledged.
    durable: watch::Sender<u64>,
    /// Entries appended, not written.
    staged: Vec<u8>,
    staged_records: u32,
    /// A group that was written and whose sync failed: to be written again.
    unproven: Option<(Vec<u8>, u32)>,
    /// A write or a sync failed: restore before use.
    suspect: bool,
    orphans: Vec<AuditId>,
    newest: Option<DateTime<Utc>>,
    /// Publishes what is durable; ends, with a last checkpoint, when this is dropped.
    publisher: Option<Publisher>,
    /// Held while anything may be written: dropped last.
    lock: Option<File>,
}

impl FileAuditLog {
    /// Opens or begins the trail: takes the exclusive lock, reads the journal and cuts off (keeping a copy) a last group that
    /// a crash tore, proves that the journal goes on from the newest checkpoint, and starts publishing. Reads up to some
    /// 64 MiB, and more after a time without checkpoints.
    ///
    /// # Errors
    /// The directory is in use, unreadable or writable by others, or the trail is broken. The text names the remedy.
    pub fn open(
        settings: &Settings,
        signer: NoteSigner,
        observer: Arc<dyn Observer>,
        log: slog::Logger,
    ) -> Result<(Self, Trail), AuditLogError> {
        let (directory, lock) = Directory::lock(&settings.directory).map_err(AuditLogError)?;
        let storage: Arc<dyn Storage> = Arc::new(directory);
        let failed = |what: String| AuditLogError(format!("{}: {what}", settings.directory.display()));
        let (mut this, tree) =
            Self::open_in(&storage, settings.segment_bytes, settings.keep_bytes, signer).map_err(failed)?;
        // Before anything is written or signed.
        if let Some(held) = &settings.held {
            held::proves(storage.as_ref(), tree.verifier(), tree.head(), held).map_err(failed)?;
        }
        let (publisher, trail) =
            Publisher::start(tree, this.durable.subscribe(), settings.interval, observer, log)
                .map_err(failed)?;
        (this.publisher, this.lock) = (Some(publisher), Some(lock));
        Ok((this, trail))
    }

    fn open_in(
        storage: &Arc<dyn Storage>,
        segment_bytes: u64,
        keep_bytes: u64,
        signer: NoteSigner,
    ) -> Result<(Self, Tree), String> {
        let opened = open::open(storage.as_ref())?;
        let tree = Tree::load(
            Arc::clone(storage),
            signer,
            keep_bytes,
            opened.oldest,
            opened.size,
        )?;
        let this = Self {
            storage: Arc::clone(storage),
            segment_bytes,
            file: opened.file,
            first: opened.first,
            synced_len: opened.len,
            last_group: opened.last_group,
            durable: watch::Sender::new(opened.size),
            staged: Vec::new(),
            staged_records: 0,
            unproven: None,
            suspect: false,
            orphans: opened.orphans,
            newest: opened.newest,
            publisher: None,
            lock: None,
        };
        Ok((this, tree))
    }

    /// Intents that had no outcome when the trail was opened, oldest first: to be closed as `unknown`.
    pub fn orphans(&self) -> Vec<AuditId> {
        self.orphans.clone()
    }

    /// Time of the newest record when the trail was opened; `None` in an empty trail.
    pub fn newest_record(&self) -> Option<DateTime<Utc>> {
        self.newest
    }

    /// Begins the next segment once this one is full. Until that has succeeded nothing is written to either.
    fn rotate_if_full(&mut self) -> Result<(), AuditLogError> {
        let size = self.size();
        if self.synced_len < self.segment_bytes.max(1) || size == self.first {
            return Ok(());
        }
        let path = segment_path(size);
        let failed = |e| AuditLogError(format!("cannot begin {path}: {e}"));
        let file = self.storage.open(&path, true).map_err(failed)?;
        if file.len().map_err(failed)? != 0 {
            return Err(AuditLogError(format!(
                "cannot begin {path}: it exists and is not empty"
            )));
        }
        self.storage.sync_names(journal::FOLDER).map_err(failed)?;
        self.file = file;
        self.first = size;
        self.synced_len = 0;
        self.last_group = None;
        Ok(())
    }

    /// After a failure: opens the segment anew, proves that what was acknowledged is still there, cuts off the rest, and
    /// writes and syncs again the group whose sync failed.
    fn restore(&mut self) -> Result<(), AuditLogError> {
        if !self.suspect {
            return Ok(());
        }
        let path = segment_path(self.first);
        let failed = |e| AuditLogError(format!("cannot restore {path}: {e}"));
        let mut file = self.storage.open(&path, false).map_err(failed)?;
        self.prove_synced(file.as_ref(), &path)?;
        file.truncate(self.synced_len).map_err(failed)?;
        if let Some((group, _)) = &self.unproven {
            write_once(file.as_mut(), group).map_err(failed)?;
        }
        file.sync().map_err(failed)?;
        self.file = file;
        self.suspect = false;
        if let Some((group, records)) = self.unproven.take() {
            self.acknowledge(&group, records);
        }
        Ok(())
    }

    fn prove_synced(&self, file: &dyn Segment, path: &str) -> Result<(), AuditLogError> {
        let failed = |e| AuditLogError(format!("cannot read {path}: {e}"));
        let ends = match self.last_group {
            None => Some(0),
            Some(offset) => match journal::read_group(file, offset).map_err(failed)? {
                Found::Group(group) if group.next() == self.size() => Some(offset + group.len()),
                _ => None,
            },
        };
        if ends == Some(self.synced_len) {
            Ok(())
        } else {
            Err(AuditLogError(format!(
                "{path} has lost records that were durable: stop the service and verify the trail"
            )))
        }
    }

    fn acknowledge(&mut self, group: &[u8], records: u32) {
        self.last_group = Some(self.synced_len);
        self.synced_len += group.len() as u64;
        self.durable.send_modify(|size| *size += u64::from(records));
    }

    /// Writes and syncs what is staged as one group. Nothing is staged afterwards.
    fn commit(&mut self) -> Result<(), AuditLogError> {
        let entries = std::mem::take(&mut self.staged);
        let records = std::mem::take(&mut self.staged_records);
        self.rotate_if_full()?;
        let group = journal::group(self.size(), records, &entries);
        if let Err(e) = write_once(self.file.as_mut(), &group) {
            self.suspect = true;
            return Err(AuditLogError(format!(
                "cannot append to {}: {e}",
                segment_path(self.first)
            )));
        }
        if let Err(e) = self.file.sync() {
            self.suspect = true;
            self.unproven = Some((group, records));
            return Err(AuditLogError(format!(
                "cannot sync {}: {e}",
                segment_path(self.first)
            )));
        }
        self.acknowledge(&group, records);
        Ok(())
    }
}

impl AuditLog for FileAuditLog {
    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), AuditLogError> {
        check_records(records)?;
        self.restore()?;
        let framed: usize = records.iter().map(|record| record.len() + 2).sum();
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        if self.staged.len() + framed > MAX_GROUP_BYTES - HEADER_BYTES || count == u32::MAX {
            return Err(AuditLogError("too many records at once: sync in between".into()));
        }
        for record in records {
            // Their length has been checked.
            push_entry(&mut self.staged, record);
        }
        self.staged_records += count;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AuditLogError> {
        if let Err(error) = self.restore() {
            (self.staged, self.staged_records) = (Vec::new(), 0);
            return Err(error);
        }
        if self.staged_records == 0 {
            return Ok(());
        }
        self.commit()
    }

    fn size(&self) -> u64 {
        *self.durable.borrow()
    }
}

/// One write for all: a short one is a failure.
fn write_once(file: &mut dyn Segment, bytes: &[u8]) -> std::io::Result<()> {
    match file.append(bytes)? {
        written if written == bytes.len() => Ok(()),
        written => Err(std::io::Error::other(format!(
            "wrote {written} of {} bytes",
            bytes.len()
        ))),
    }
}

/// What is no record never reaches the file.
fn check_records(records: &[Vec<u8>]) -> Result<(), AuditLogError> {
    let fits = |record: &Vec<u8>| {
        record.len() <= MAX_RECORD_BYTES && record.starts_with(b"{") && record.ends_with(b"}")
    };
    match records.iter().position(|record| !fits(record)) {
        None => Ok(()),
        Some(index) => Err(AuditLogError(format!(
            "audit record {index} of the batch is not a JSON object of at most {MAX_RECORD_BYTES} bytes"
        ))),
    }
}

/// The newest signed tree head in a directory, not verified; `None` before the first.
///
/// # Errors
/// It cannot be read. For the operator.
pub fn checkpoint_in_dir(directory: &Path) -> Result<Option<String>, String> {
    reader::read_checkpoint(&Directory::at(directory))
}

/// Proof from the tiles in a directory that its tree at one size goes on from the tree at an earlier one.
///
/// # Errors
/// Tiles are missing. For the operator.
pub fn consistency_in_dir(directory: &Path, from: u64, to: u64) -> Result<Vec<Hash>, String> {
    let storage = Directory::at(directory);
    let nodes = TileNodes::new(Published::new(&storage), to);
    consistency_proof(&nodes, from, to)
}
