//! A disk in memory that fails on demand and forgets what was not synced.

#![allow(
    clippy::disallowed_types,
    reason = "a fake disk is shared between a test and the trail it watches"
)]

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::adapters::audit_files::storage::{Segment, Storage, UNDER_WAY};

/// What goes wrong next; each fault strikes once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The next write stores only so many bytes and says so.
    ShortWrite(usize),
    /// The next write stores so many bytes and then fails (`EIO`, `ENOSPC`).
    WriteError(usize),
    /// The next sync fails, and as on Linux the pages are clean afterwards though they never reached the disk.
    SyncError,
    /// The next sync of names fails.
    NamesError,
    /// The next file that is replaced as a whole is not (`ENOSPC`): its first half is left behind.
    ReplaceError,
    /// The next file that is replaced is, but the trouble after this comes then.
    Replaced,
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// What a reader sees.
    cache: Vec<u8>,
    /// True for bytes of the cache that the next sync writes.
    dirty: Vec<bool>,
    /// What a power failure leaves.
    durable: Vec<u8>,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<String, Content>,
    /// What a power failure puts in the place of a file whose name is not durable.
    unnamed: BTreeMap<String, Option<Content>>,
    /// Each comes once the one before it has struck.
    troubles: VecDeque<Trouble>,
    writes: usize,
}

impl Inner {
    /// Whether this is what goes wrong next; then it has struck.
    fn strikes(&mut self, trouble: Trouble) -> bool {
        let strikes = self.troubles.front() == Some(&trouble);
        if strikes {
            self.troubles.pop_front();
        }
        strikes
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(super) fn trouble(&self, trouble: Trouble) {
        self.troubles(&[trouble]);
    }

    /// One after the other.
    pub(super) fn troubles(&self, troubles: &[Trouble]) {
        self.inner().troubles = troubles.iter().copied().collect();
    }

    pub(super) fn has_trouble(&self) -> bool {
        !self.inner().troubles.is_empty()
    }

    /// The power fails: of each file there remains what is durable and at most `more` bytes of what follows.
    pub(super) fn crash(&self, more: usize) {
        let mut inner = self.inner();
        for (name, before) in std::mem::take(&mut inner.unnamed) {
            match before {
                Some(content) => drop(inner.files.insert(name, content)),
                None => drop(inner.files.remove(&name)),
            }
        }
        inner.troubles.clear();
        for file in inner.files.values_mut() {
            let end = file.cache.len().min(file.durable.len() + more);
            let tail = file
                .cache
                .get(file.durable.len()..end)
                .unwrap_or_default()
                .to_vec();
            file.durable.extend(tail);
            file.cache = file.durable.clone();
            file.dirty = vec![false; file.cache.len()];
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.inner().files.get(name).map(|file| file.cache.clone())
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        let mut inner = self.inner();
        let content = Content {
            cache: bytes.to_vec(),
            dirty: vec![false; bytes.len()],
            durable: bytes.to_vec(),
        };
        inner.files.insert(name.to_owned(), content);
        inner.unnamed.remove(name);
    }

    /// Every file, sorted.
    pub(super) fn paths(&self) -> Vec<String> {
        self.inner().files.keys().cloned().collect()
    }

    /// A disk of its own with the same content.
    pub(super) fn copy(&self) -> Self {
        let files = self.inner().files.clone();
        let inner = Inner {
            files,
            ..Inner::default()
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    pub(super) fn remove(&self, name: &str) {
        let mut inner = self.inner();
        inner.files.remove(name);
        inner.unnamed.remove(name);
    }

    pub(super) fn writes(&self) -> usize {
        self.inner().writes
    }
}

impl Storage for Disk {
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let inner = self.inner();
        let below = inner.files.keys().filter_map(|path| path.strip_prefix(&prefix));
        Ok(below
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect())
    }

    fn open(&self, path: &str, create: bool) -> io::Result<Box<dyn Segment>> {
        if create {
            let mut inner = self.inner();
            if !inner.files.contains_key(path) {
                inner.unnamed.insert(path.to_owned(), None);
                inner.files.insert(path.to_owned(), Content::default());
            }
        }
        self.read(path)
    }

    fn read(&self, path: &str) -> io::Result<Box<dyn Segment>> {
        if self.inner().files.contains_key(path) {
            Ok(Box::new(Handle {
                disk: self.clone(),
                name: path.to_owned(),
            }))
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn rewrite(&self, path: &str, len: u64) -> io::Result<()> {
        let mut inner = self.inner();
        let file = inner.files.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
        file.dirty[..len as usize].fill(true);
        Ok(())
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let under_way = format!("{path}{UNDER_WAY}");
        if inner.strikes(Trouble::ReplaceError) {
            let content = Content {
                cache: bytes[..bytes.len() / 2].to_vec(),
                dirty: vec![true; bytes.len() / 2],
                durable: Vec::new(),
            };
            let before = inner.files.insert(under_way.clone(), content);
            inner.unnamed.entry(under_way).or_insert(before);
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.strikes(Trouble::Replaced);
        inner.files.remove(&under_way);
        inner.unnamed.remove(&under_way);
        let content = Content {
            cache: bytes.to_vec(),
            dirty: vec![false; bytes.len()],
            durable: bytes.to_vec(),
        };
        let before = inner.files.insert(path.to_owned(), content);
        inner.unnamed.entry(path.to_owned()).or_insert(before);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        Disk::remove(self, path);
        Ok(())
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let prefix = format!("{folder}/");
        self.inner().files.retain(|path, _| !path.starts_with(&prefix));
        Ok(())
    }

    fn sync_names(&self, folder: &str) -> io::Result<()> {
        let mut inner = self.inner();
        if inner.strikes(Trouble::NamesError) {
            return Err(io::Error::other("EIO"));
        }
        inner.unnamed.retain(|path, _| {
            let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
            parent != folder
        });
        Ok(())
    }
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    name: String,
}

impl Handle {
    fn with<T>(&self, f: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        let mut inner = self.disk.inner();
        inner
            .files
            .get_mut(&self.name)
            .map(f)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Segment for Handle {
    fn len(&self) -> io::Result<u64> {
        self.with(|file| file.cache.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|file| {
            let rest = file.cache.get(offset as usize..).unwrap_or_default();
            // Short reads are legal: never more than 10 000 bytes at once.
            let count = rest.len().min(buffer.len()).min(10_000);
            buffer[..count].copy_from_slice(&rest[..count]);
            count
        })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let trouble = {
            let mut inner = self.disk.inner();
            inner.writes += 1;
            match inner.troubles.front() {
                Some(Trouble::ShortWrite(_) | Trouble::WriteError(_)) => inner.troubles.pop_front(),
                _ => None,
            }
        };
        let stored = match trouble {
            Some(Trouble::ShortWrite(n) | Trouble::WriteError(n)) => n.min(bytes.len().saturating_sub(1)),
            _ => bytes.len(),
        };
        self.with(|file| {
            file.cache.extend_from_slice(&bytes[..stored]);
            file.dirty.resize(file.cache.len(), true);
        })?;
        match trouble {
            Some(Trouble::WriteError(_)) => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(stored),
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.with(|file| {
            file.cache.truncate(len as usize);
            file.dirty.truncate(len as usize);
            file.durable.truncate(len as usize);
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        let fails = self.disk.inner().strikes(Trouble::SyncError);
        self.with(|file| {
            if fails {
                file.dirty.fill(false);
                return;
            }
            // The length reaches the disk; pages that are clean by mistake do not.
            file.durable.resize(file.cache.len(), 0);
            for (index, dirty) in file.dirty.iter_mut().enumerate() {
                if std::mem::take(dirty) {
                    file.durable[index] = file.cache[index];
                }
            }
        })?;
        if fails {
            Err(io::Error::other("EIO"))
        } else {
            Ok(())
        }
    }
}
