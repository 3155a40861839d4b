//! The audit trail in files: one hash-chained line of JSON per record, in segments that continue one another.
//!
//! ```text
//! trail-00000000000000000000.jsonl
//! {"seq":0,"prev":"<64 zeros>","record":{…}}
//! {"seq":1,"prev":"<sha256 of the line above, without its line feed>","record":{…}}
//! ```
//!
//! What is acknowledged by [`sync`](AuditLog::sync) survives a crash. What was appended but never acknowledged may
//! survive or not; nobody was answered on its strength. A write or a sync that failed makes the file suspect: nothing
//! is appended until it has been opened anew, cut to what was acknowledged and the rest written and synced again.
//! (A failed `fsync` marks pages clean that never reached the disk, so a later one that succeeds proves nothing about
//! them: they have to be written again.)

mod chain;
mod check;
mod open;
mod scan;
mod storage;
#[cfg(test)]
mod tests;
pub mod verify;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use openssl::sha::sha256;
use signer_actors::domain::audit::MAX_RECORD_BYTES;
use signer_actors::domain::ids::AuditId;
use signer_actors::ports::{AuditLog, AuditLogError};

use chain::Link;
use scan::{last_line, segment_name};
use storage::{Directory, Segment, Storage};
pub use verify::{Checkpoint, Fault, Summary, verify_dir, verify_dir_against};

/// Where the trail is and how it is cut into files.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `audit.directory`; created with mode 0700 if it does not exist. One process at a time.
    pub directory: PathBuf,
    /// A segment that has reached this size, in bytes, is followed by a new one.
    pub segment_bytes: u64,
}

impl Settings {
    /// Default of [`Settings::segment_bytes`].
    pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
}

/// The trail, open for appending.
#[derive(Debug)]
pub struct FileAuditLog {
    storage: Box<dyn Storage>,
    segment_bytes: u64,
    /// The newest segment.
    file: Box<dyn Segment>,
    /// First record of the newest segment: its name.
    first: u64,
    /// Length of the newest segment that is acknowledged, and the link behind it.
    synced_len: u64,
    synced: Link,
    /// Appended, not acknowledged. In memory too, because after a failed sync it has to be written again.
    pending: Vec<u8>,
    /// The link behind what is pending.
    link: Link,
    /// A write or a sync failed: restore before use.
    suspect: bool,
    orphans: Vec<AuditId>,
    newest: Option<DateTime<Utc>>,
}

impl FileAuditLog {
    /// Opens or begins the trail: takes the exclusive lock, verifies the end of the chain and that the segments continue
    /// one another, and cuts off (keeping a copy) a last line that a crash tore. Reads up to some 64 MiB.
    ///
    /// # Errors
    /// The directory is in use, unreadable or writable by others, or the chain is broken. The text names the remedy.
    pub fn open(settings: &Settings) -> Result<Self, AuditLogError> {
        let storage = Directory::lock(&settings.directory).map_err(AuditLogError)?;
        Self::open_in(Box::new(storage), settings.segment_bytes)
            .map_err(|AuditLogError(what)| AuditLogError(format!("{}: {what}", settings.directory.display())))
    }

    fn open_in(storage: Box<dyn Storage>, segment_bytes: u64) -> Result<Self, AuditLogError> {
        let opened = open::open(storage.as_ref()).map_err(AuditLogError)?;
        Ok(Self {
            storage,
            segment_bytes,
            file: opened.file,
            first: opened.first,
            synced_len: opened.len,
            synced: opened.link,
            pending: Vec::new(),
            link: opened.link,
            suspect: false,
            orphans: opened.orphans,
            newest: opened.newest,
        })
    }

    /// Intents that had no outcome when the trail was opened, oldest first: to be closed as `unknown`.
    pub fn orphans(&self) -> Vec<AuditId> {
        self.orphans.clone()
    }

    /// Time of the newest record when the trail was opened; `None` in an empty trail.
    pub fn newest_record(&self) -> Option<DateTime<Utc>> {
        self.newest
    }

    /// Begins the next segment once this one is full. Until that has succeeded nothing is appended to either.
    fn rotate_if_full(&mut self) -> Result<(), AuditLogError> {
        if self.synced_len + (self.pending.len() as u64) < self.segment_bytes.max(1) {
            return Ok(());
        }
        self.sync()?;
        let name = segment_name(self.link.seq);
        let failed = |e| AuditLogError(format!("cannot begin {name}: {e}"));
        let file = self.storage.open(&name, true).map_err(failed)?;
        if file.len().map_err(failed)? != 0 {
            return Err(AuditLogError(format!(
                "cannot begin {name}: it exists and is not empty"
            )));
        }
        self.storage.sync_names().map_err(failed)?;
        self.file = file;
        self.first = self.link.seq;
        self.synced_len = 0;
        Ok(())
    }

    /// After a failure: opens the segment anew, proves that what was acknowledged is still there, and writes and syncs
    /// again what was not.
    fn restore(&mut self) -> Result<(), AuditLogError> {
        if !self.suspect {
            return Ok(());
        }
        let name = segment_name(self.first);
        let failed = |e| AuditLogError(format!("cannot restore {name}: {e}"));
        let mut file = self.storage.open(&name, false).map_err(failed)?;
        self.prove_synced(file.as_ref(), &name)?;
        file.truncate(self.synced_len).map_err(failed)?;
        write_once(file.as_mut(), &self.pending).map_err(failed)?;
        file.sync().map_err(failed)?;
        self.file = file;
        self.suspect = false;
        self.acknowledge();
        Ok(())
    }

    fn prove_synced(&self, file: &dyn Segment, name: &str) -> Result<(), AuditLogError> {
        let failed = |e| AuditLogError(format!("cannot read {name}: {e}"));
        let long_enough = file.len().map_err(failed)? >= self.synced_len;
        let whole = long_enough
            && (self.synced_len == 0
                || last_line(file, self.synced_len)
                    .map_err(failed)?
                    .is_some_and(|line| sha256(&line) == self.synced.prev));
        if whole {
            Ok(())
        } else {
            Err(AuditLogError(format!(
                "{name} has lost records that were durable: stop the service and verify the trail"
            )))
        }
    }

    fn acknowledge(&mut self) {
        self.synced_len += self.pending.len() as u64;
        self.synced = self.link;
        self.pending.clear();
    }
}

impl AuditLog for FileAuditLog {
    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), AuditLogError> {
        check_records(records)?;
        if records.is_empty() {
            return Ok(());
        }
        self.restore()?;
        self.rotate_if_full()?;
        let (kept, mut link) = (self.pending.len(), self.link);
        for record in records {
            link.frame(record, &mut self.pending);
        }
        let lines = self.pending.get(kept..).unwrap_or_default();
        if let Err(e) = write_once(self.file.as_mut(), lines) {
            self.pending.truncate(kept);
            self.suspect = true;
            return Err(AuditLogError(format!(
                "cannot append to {}: {e}",
                segment_name(self.first)
            )));
        }
        self.link = link;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AuditLogError> {
        self.restore()?;
        if self.pending.is_empty() {
            return Ok(());
        }
        if let Err(e) = self.file.sync() {
            self.suspect = true;
            return Err(AuditLogError(format!(
                "cannot sync {}: {e}",
                segment_name(self.first)
            )));
        }
        self.acknowledge();
        Ok(())
    }

    fn head(&self) -> (u64, String) {
        (self.link.seq, self.link.head())
    }
}

/// One write for all: a short one is a failure.
fn write_once(file: &mut dyn Segment, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    match file.append(bytes)? {
        written if written == bytes.len() => Ok(()),
        written => Err(std::io::Error::other(format!(
            "wrote {written} of {} bytes",
            bytes.len()
        ))),
    }
}

/// A record that would break the framing never reaches the file.
fn check_records(records: &[Vec<u8>]) -> Result<(), AuditLogError> {
    let fits = |record: &Vec<u8>| {
        record.len() <= MAX_RECORD_BYTES
            && record.starts_with(b"{")
            && record.ends_with(b"}")
            && !record.iter().any(|b| matches!(b, b'\n' | b'\r'))
    };
    match records.iter().position(|record| !fits(record)) {
        None => Ok(()),
        Some(index) => Err(AuditLogError(format!(
            "audit record {index} of the batch is not one line of a JSON object of at most {MAX_RECORD_BYTES} bytes"
        ))),
    }
}
