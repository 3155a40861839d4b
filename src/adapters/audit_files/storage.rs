//! What the trail needs of a directory, so that tests can make a disk fail.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A flat directory of files that only grow.
pub(super) trait Storage: Send + fmt::Debug {
    /// Names of the files, in no order.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens for reading and appending; creates the file when asked to.
    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn Segment>>;
    /// Opens for reading only.
    fn read(&self, name: &str) -> io::Result<Box<dyn Segment>>;
    /// Writes the first bytes of a file again, in place and unchanged, so that the next sync covers them.
    fn rewrite(&self, name: &str, len: u64) -> io::Result<()>;
    /// Makes created names durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// One file.
pub(super) trait Segment: Send + fmt::Debug {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Reads from an offset; fewer bytes than asked for mean nothing, none means the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Appends with one write; may write less.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Cuts the file.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Makes content and length durable (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the file system.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Held, and with it the lock, while the trail is open for writing.
    _lock: Option<File>,
}

impl Directory {
    /// Opens for reading only: no lock, nothing is created.
    pub(super) fn read_only(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _lock: None,
        }
    }

    /// Creates the directory (0700) if need be and takes the exclusive lock. The error is for the operator.
    pub(super) fn lock(path: &Path) -> Result<Self, String> {
        let named = |what: &str, e: io::Error| format!("cannot {what} {}: {e}", path.display());
        let created = !path.exists();
        if created {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|e| named("create the audit directory", e))?;
            if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
                sync_directory(parent).map_err(|e| named("make durable the audit directory", e))?;
            }
        }
        let meta = fs::metadata(path).map_err(|e| named("read the audit directory", e))?;
        if !meta.is_dir() {
            return Err(format!(
                "{} is not a directory: name one in audit.directory",
                path.display()
            ));
        }
        if meta.permissions().mode() & 0o022 != 0 {
            return Err(format!(
                "the audit directory {0} can be written by others: run chmod 700 {0}",
                path.display()
            ));
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(|e| named("open the lock of the audit directory", e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: Some(lock),
            }),
            Err(TryLockError::WouldBlock) => Err(format!(
                "the audit directory {} is in use by another process: stop it or give this one its own audit.directory",
                path.display()
            )),
            Err(TryLockError::Error(e)) => Err(named("lock the audit directory", e)),
        }
    }
}

impl Storage for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.path)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn open(&self, name: &str, create: bool) -> io::Result<Box<dyn Segment>> {
        let path = self.path.join(name);
        if path.is_symlink() {
            return Err(io::Error::other("is a symbolic link"));
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(create)
            .mode(0o600)
            .open(path)?;
        regular(file)
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        regular(File::open(self.path.join(name))?)
    }

    fn rewrite(&self, name: &str, len: u64) -> io::Result<()> {
        // Not opened for appending: on Linux such a file is only ever written at its end.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        let mut chunk = vec![0; 1024 * 1024];
        let mut offset = 0;
        while offset < len {
            let want = usize::try_from(len - offset).map_or(chunk.len(), |rest| rest.min(chunk.len()));
            let part = chunk.get_mut(..want).unwrap_or_default();
            file.read_exact_at(part, offset)?;
            file.write_all_at(part, offset)?;
            offset += want as u64;
        }
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn regular(file: File) -> io::Result<Box<dyn Segment>> {
    if file.metadata()?.is_file() {
        Ok(Box::new(file))
    } else {
        Err(io::Error::other("is not a regular file"))
    }
}

impl Segment for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
