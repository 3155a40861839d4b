//! The file: a redb database of entries, and of what finds and counts them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageError, Table, TableDefinition, TableError, WriteTransaction,
};

use super::entry::Entry;

/// Name of the file in `state.directory`.
pub(super) const NAME: &str = "idempotency.redb";
/// Version of the tables below.
const FORMAT: u64 = 1;
/// Memory for pages, in bytes; the default of 1 GiB would be the service's largest part.
const CACHE: usize = 32 << 20;
/// Most expired entries removed with one transaction.
const SWEEP: usize = 256;

/// How often it is noted how late it is, in ms.
const NOTE_EVERY: u64 = 60_000;

type Id = &'static [u8; 32];
const ENTRIES: TableDefinition<'_, Id, &[u8]> = TableDefinition::new("entries");
/// When entries expire, in order.
const EXPIRY: TableDefinition<'_, (u64, Id), ()> = TableDefinition::new("expiry");
/// How many entries each tenant has.
const SHARES: TableDefinition<'_, &[u8; 16], u64> = TableDefinition::new("shares");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// What a look at the file says.
#[derive(Debug)]
pub enum Inspected {
    /// It is made by the first start.
    Absent(PathBuf),
    /// It is whole and holds so many keys.
    Holds(PathBuf, u64),
    /// A process has it, or had it and did not close it; the text says so.
    Busy(String),
}

/// What is known of a key on disk.
pub(super) enum Known {
    Nothing,
    Entry(Entry),
    /// Not written by this version.
    Strange,
}

impl Known {
    fn of(bytes: Option<&[u8]>) -> Self {
        match bytes.map(Entry::decode) {
            None => Self::Nothing,
            Some(Some(entry)) => Self::Entry(entry),
            Some(None) => Self::Strange,
        }
    }
}

/// What a claim looks at.
pub(super) trait Look {
    fn entry(&self, id: &[u8; 32]) -> Result<Known, StorageError>;
    /// Entries of all, and of this tenant.
    fn counts(&self, share: &[u8; 16]) -> Result<(u64, u64), StorageError>;
}

/// To look only.
pub(super) struct View {
    entries: ReadOnlyTable<Id, &'static [u8]>,
    shares: ReadOnlyTable<&'static [u8; 16], u64>,
}

impl View {
    pub(super) fn of(transaction: &ReadTransaction) -> Result<Self, TableError> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            shares: transaction.open_table(SHARES)?,
        })
    }
}

/// To look and to change.
pub(super) struct Tables<'t> {
    entries: Table<'t, Id, &'static [u8]>,
    expiry: Table<'t, (u64, Id), ()>,
    shares: Table<'t, &'static [u8; 16], u64>,
    meta: Table<'t, &'static str, u64>,
}

macro_rules! look {
    ($($of:ty),+) => {$(
        impl Look for $of {
            fn entry(&self, id: &[u8; 32]) -> Result<Known, StorageError> {
                Ok(Known::of(self.entries.get(id)?.as_ref().map(|found| found.value())))
            }

            fn counts(&self, share: &[u8; 16]) -> Result<(u64, u64), StorageError> {
                let held = self.shares.get(share)?.map_or(0, |count| count.value());
                Ok((self.entries.len()?, held))
            }
        }
    )+};
}
look!(View, Tables<'_>);

impl<'t> Tables<'t> {
    pub(super) fn of(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            expiry: transaction.open_table(EXPIRY)?,
            shares: transaction.open_table(SHARES)?,
            meta: transaction.open_table(META)?,
        })
    }

    /// In place of what was there.
    pub(super) fn put(&mut self, id: &[u8; 32], entry: &Entry) -> Result<(), StorageError> {
        self.remove(id)?;
        self.entries.insert(id, entry.encode().as_slice())?;
        self.expiry.insert((entry.expires, id), ())?;
        self.count(&entry.share, |count| count.saturating_add(1))
    }

    pub(super) fn remove(&mut self, id: &[u8; 32]) -> Result<(), StorageError> {
        let known = Known::of(self.entries.remove(id)?.as_ref().map(|found| found.value()));
        // The expiry of what is strange stays, and finds nothing.
        let Known::Entry(entry) = known else {
            return Ok(());
        };
        self.expiry.remove((entry.expires, id))?;
        self.count(&entry.share, |count| count.saturating_sub(1))
    }

    fn count(&mut self, share: &[u8; 16], change: impl FnOnce(u64) -> u64) -> Result<(), StorageError> {
        let count = self.shares.get(share)?.map_or(0, |count| count.value());
        match change(count) {
            0 => self.shares.remove(share)?,
            count => self.shares.insert(share, count)?,
        };
        Ok(())
    }

    /// Forgets what has expired, a bounded part of it, and notes how late it is. Says which keys it no longer knows.
    pub(super) fn sweep(&mut self, now: u64) -> Result<Vec<[u8; 32]>, StorageError> {
        let mut expired = Vec::new();
        for row in self
            .expiry
            .range(..(now.saturating_add(1), &[0; 32]))?
            .take(SWEEP)
        {
            let (key, ()) = {
                let (key, value) = row?;
                let (expires, id) = key.value();
                ((expires, *id), value.value())
            };
            expired.push(key);
        }
        let mut forgotten = Vec::with_capacity(expired.len());
        for (expires, id) in expired {
            // Unless it was written anew since.
            if !matches!(self.entry(&id)?, Known::Entry(entry) if entry.expires != expires) {
                self.remove(&id)?;
                forgotten.push(id);
            }
            self.expiry.remove((expires, &id))?;
        }
        self.meta.insert("time", now)?;
        Ok(forgotten)
    }
}

/// Whether anything waits to be forgotten, or nothing was written for a while.
pub(super) fn is_due(database: &Database, now: u64) -> Result<bool, redb::Error> {
    let transaction = database.begin_read()?;
    let seen = transaction
        .open_table(META)?
        .get("time")?
        .map_or(0, |time| time.value());
    if seen.saturating_add(NOTE_EVERY) <= now {
        return Ok(true);
    }
    let expiry = transaction.open_table(EXPIRY)?;
    Ok(expiry.first()?.is_some_and(|(key, _)| key.value().0 <= now))
}

/// See [`Tables::sweep`], as a transaction of its own.
pub(super) fn sweep(database: &Database, now: u64) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Tables::of(&transaction)?.sweep(now)?;
    Ok(transaction.commit()?)
}

/// Opens the file, or makes it, with its folder. Says how late it was when it was last written.
pub(super) fn open(directory: &Path) -> Result<(Database, u64), String> {
    let path = directory.join(NAME);
    let file = prepare(directory, &path).map_err(|error| unusable(&path, &error))?;
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    let opened = FileBackend::new(file).map_err(|error| refused(&path, error));
    // What is damaged in a way that nobody has thought of is no reason to end.
    let opened = opened.and_then(|backend| {
        catch_unwind(AssertUnwindSafe(|| builder.create_with_backend(backend)))
            .map_err(|_| damaged(&path, "it is not whole"))?
            .map_err(|error| refused(&path, error))
    });
    let database = opened?;
    let time = adopt(&database).map_err(|error| damaged(&path, &error.to_string()))?;
    let time = time.ok_or_else(|| another_version(&path))?;
    Ok((database, time))
}

/// Makes the tables where there are none; `None` for those of another version.
fn adopt(database: &Database) -> Result<Option<u64>, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    let time = {
        let mut tables = Tables::of(&transaction)?;
        let format = tables.meta.get("format")?.map(|format| format.value());
        if format.is_some_and(|format| format != FORMAT) {
            return Ok(None);
        }
        tables.meta.insert("format", FORMAT)?;
        tables.meta.get("time")?.map_or(0, |time| time.value())
    };
    transaction.commit()?;
    Ok(Some(time))
}

fn prepare(directory: &Path, path: &Path) -> io::Result<File> {
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    // Before opening: opening a pipe would wait for a writer.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    // So that the name outlives a loss of power, too.
    File::open(directory)?.sync_all()?;
    Ok(file)
}

/// Looks at the file without changing it.
pub(super) fn inspect(directory: &Path) -> Result<Inspected, String> {
    let path: PathBuf = directory.join(NAME);
    if !path.exists() {
        return Ok(Inspected::Absent(path));
    }
    let open = || Builder::new().set_cache_size(CACHE).open_read_only(&path);
    let opened = catch_unwind(open).map_err(|_| damaged(&path, "it is not whole"))?;
    let database = match opened {
        Ok(database) => database,
        Err(error @ (DatabaseError::DatabaseAlreadyOpen | DatabaseError::RepairAborted)) => {
            return Ok(Inspected::Busy(refused(&path, error)));
        }
        Err(error) => return Err(refused(&path, error)),
    };
    let read = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let format = transaction
            .open_table(META)?
            .get("format")?
            .map(|format| format.value());
        Ok((format, transaction.open_table(ENTRIES)?.len()?))
    };
    match read().map_err(|error| damaged(&path, &error.to_string()))? {
        (Some(FORMAT), entries) => Ok(Inspected::Holds(path, entries)),
        _ => Err(another_version(&path)),
    }
}

fn refused(path: &Path, error: DatabaseError) -> String {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => format!(
            "{} is in use by another process: each replica needs a state.directory of its own, or all of them \
             state.store = \"redis\"",
            path.display()
        ),
        DatabaseError::UpgradeRequired(_) => another_version(path),
        DatabaseError::RepairAborted => format!(
            "{} was not closed by the process that had it: the next start repairs it",
            path.display()
        ),
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
            unusable(path, &error)
        }
        other => damaged(path, &other.to_string()),
    }
}

fn unusable(path: &Path, error: &io::Error) -> String {
    format!(
        "{} cannot be used: {error}: give state.directory to the service's user, mode 0700, and make space",
        path.display()
    )
}

fn damaged(path: &Path, why: &str) -> String {
    format!(
        "{} cannot be understood: {why}: move it away; answers kept so far are forgotten then, and who repeats an earlier \
         request signs anew",
        path.display()
    )
}

fn another_version(path: &Path) -> String {
    format!(
        "{} is of another version of this service: use that version, or move the file away; answers kept so far are \
         forgotten then",
        path.display()
    )
}
