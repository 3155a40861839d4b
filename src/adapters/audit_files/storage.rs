//! What the trail needs of a directory, so that tests can make a disk fail.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Ending of a file that [`Storage::replace`] has begun; a crash or a full disk may leave it behind.
pub(super) const UNDER_WAY: &str = ".tmp";

/// A directory with folders of files that only grow or are replaced as a whole. Paths are relative, with `/`.
pub(super) trait Storage: Send + Sync + fmt::Debug {
    /// Names in a folder (`""`: the directory itself), in no order; none if there is no such folder.
    fn names(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Opens for reading and appending; creates the file, and its folder, when asked to.
    fn open(&self, path: &str, create: bool) -> io::Result<Box<dyn Segment>>;
    /// Opens for reading only.
    fn read(&self, path: &str) -> io::Result<Box<dyn Segment>>;
    /// Writes the first bytes of a file again, in place and unchanged, so that the next sync covers them.
    fn rewrite(&self, path: &str, len: u64) -> io::Result<()>;
    /// Puts a whole file in its place at once, its content durable: whoever looks sees the old or the new one. The name is
    /// durable after [`Self::sync_names`].
    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes a folder with its files, if there is one.
    fn remove_folder(&self, folder: &str) -> io::Result<()>;
    /// Makes created names in a folder durable.
    fn sync_names(&self, folder: &str) -> io::Result<()>;
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

/// Reads up to `len` bytes from an offset; fewer only where the file ends.
pub(super) fn read_up_to(file: &dyn Segment, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// A whole file of at most `most` bytes; `None` if there is no such file.
pub(super) fn read_whole(storage: &dyn Storage, path: &str, most: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match storage.read(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    // Not `most`: room for the longest bundle, zeroed for each, costs more than all else that is done with them.
    match usize::try_from(file.len()?) {
        Ok(len) if len <= most => read_up_to(file.as_ref(), 0, len).map(Some),
        _ => Err(io::Error::other(format!("is longer than {most} bytes"))),
    }
}

/// A directory of the file system.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Without lock, and nothing is created: for reading.
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// Creates the directory (0700) if need be and takes the exclusive lock, which is held until the file is dropped. The
    /// error is for the operator.
    pub(super) fn lock(path: &Path) -> Result<(Self, File), String> {
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
            Ok(()) => Ok((Self::at(path), lock)),
            Err(TryLockError::WouldBlock) => Err(format!(
                "the audit directory {} is in use by another process: stop it or give this one its own audit.directory",
                path.display()
            )),
            Err(TryLockError::Error(e)) => Err(named("lock the audit directory", e)),
        }
    }

    /// Makes the folders above a file, each durable in its own.
    fn make_folders(&self, path: &Path) -> io::Result<()> {
        let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) else {
            return Ok(());
        };
        self.make_folders(folder)?;
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => folder.parent().map_or(Ok(()), sync_directory),
        }
    }
}

impl Storage for Directory {
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path.join(folder)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn open(&self, path: &str, create: bool) -> io::Result<Box<dyn Segment>> {
        let path = self.path.join(path);
        if path.is_symlink() {
            return Err(io::Error::other("is a symbolic link"));
        }
        if create {
            self.make_folders(&path)?;
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(create)
            .mode(0o600)
            .open(path)?;
        regular(file)
    }

    fn read(&self, path: &str) -> io::Result<Box<dyn Segment>> {
        regular(File::open(self.path.join(path))?)
    }

    fn rewrite(&self, path: &str, len: u64) -> io::Result<()> {
        // Not opened for appending: on Linux such a file is only ever written at its end.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(path))?;
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

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.join(path);
        self.make_folders(&path)?;
        let mut under_way = path.clone().into_os_string();
        under_way.push(UNDER_WAY);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&under_way)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(under_way, path)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(path))
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.path.join(folder)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn sync_names(&self, folder: &str) -> io::Result<()> {
        sync_directory(&self.path.join(folder))
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
