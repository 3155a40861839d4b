//! Licensing without a network: the licence file in place of introspection, looked at again every few seconds.
//!
//! A new file is taken when it holds and is no older than any before it; one that does not hold changes nothing: the
//! old one counts until it expires. Without a file that holds now, nothing is confirmed (503 `entitlement_unavailable`).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use signer_actors::domain::entitlement::Entitlement;
use signer_actors::ports::{
    Clock, Introspection, LicensingSource, Observer, PoeVerifier, PortFuture, SourceUnavailable,
};
use tokio::sync::watch;

use super::clock_guard::ClockGuard;
use super::high_water::HighWater;
use super::licence::{self, LicenceFile, MAX_FILE};
use super::{Licensing, Settings};
use crate::adapters::jose::claims::Claims;
use crate::adapters::jose::fetch::{self, unavailable};
use crate::adapters::jose::header::{Compact, Use};
use crate::adapters::jose::jwks::KeySet;
use crate::adapters::jose::jwt::Policy;
use crate::adapters::jose::source::KeysLocation;

/// How often the file is looked at.
pub const POLL: Duration = Duration::from_secs(2);

/// Where the licence file is, and what protects against an old one.
#[derive(Clone, Debug)]
pub struct LicenceSettings {
    /// `entitlement.licence_file`
    pub file: PathBuf,
    /// `state.directory`: the highest version is remembered there.
    pub state_directory: PathBuf,
    /// When the newest record of the audit trail was made.
    pub last_record: Option<DateTime<Utc>>,
}

/// What the rest of the service has from outside.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Metrics.
    pub observer: Arc<dyn Observer>,
    /// Log.
    pub log: slog::Logger,
}

/// The file in use, if any counts.
#[derive(Clone, Debug)]
struct Current {
    file: Option<Arc<LicenceFile>>,
    /// As read, to be verified again when keys change.
    bytes: Arc<[u8]>,
    /// Counts changes: what was said by an earlier file is void.
    basis: u64,
}

/// Licensing by file, as the core asks it.
#[derive(Debug)]
pub struct OfflineLicensing {
    shelf: Arc<Shelf>,
}

/// The file, its keys and its guards.
#[derive(Debug)]
struct Shelf {
    licensing: Licensing,
    file: PathBuf,
    jwks_file: Option<PathBuf>,
    policy: Policy,
    high_water: HighWater,
    guard: ClockGuard,
    current: watch::Sender<Current>,
    surroundings: Surroundings,
}

impl OfflineLicensing {
    /// Reads the file and begins to look after it, on the runtime of the caller. A file that does not hold now, is older
    /// than one before it, or a clock that was set back is an error, with the remedy.
    pub async fn open(
        settings: &Settings,
        licence: &LicenceSettings,
        surroundings: Surroundings,
    ) -> Result<Self, SourceUnavailable> {
        let (shelf, mut poll) = Shelf::open(settings, licence, surroundings).await?;
        let shelf = Arc::new(shelf);
        let weak = Arc::downgrade(&shelf);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(POLL).await;
                match weak.upgrade() {
                    Some(shelf) => shelf.look(&mut poll).await,
                    None => return,
                }
            }
        });
        Ok(Self { shelf })
    }

    /// The file in use, now and whenever it changes; `None` while none is.
    pub fn changes(&self) -> watch::Receiver<Option<Arc<LicenceFile>>> {
        let mut current = self.shelf.current.subscribe();
        let (sender, receiver) = watch::channel(current.borrow_and_update().file.clone());
        tokio::spawn(async move {
            while current.changed().await.is_ok() {
                let file = current.borrow_and_update().file.clone();
                if sender.send(file).is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

/// Reads the file as the service would, and changes nothing: for `signer check`.
pub async fn inspect(
    settings: &Settings,
    licence: &LicenceSettings,
    surroundings: Surroundings,
) -> Result<LicenceFile, SourceUnavailable> {
    let shelf = Shelf::new(settings, licence, surroundings)?;
    let read = shelf.read_first().await?;
    let (high_water, file) = (shelf.high_water.clone(), read.file.clone());
    let checked = blocking(move || high_water.check(&file)).await?;
    checked.map_err(|why| shelf.refused(&why))?;
    Ok(read.file)
}

/// A file that holds, with the bytes it was read from.
struct Read {
    file: LicenceFile,
    bytes: Arc<[u8]>,
}

/// What the last look saw.
#[derive(Debug)]
struct Poll {
    stamps: [Option<Stamp>; 2],
    /// What is wrong, so that it is told once.
    trouble: Option<String>,
}

/// Tells one content of a path from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
        })
    }
}

impl Shelf {
    fn new(
        settings: &Settings,
        licence: &LicenceSettings,
        surroundings: Surroundings,
    ) -> Result<Self, SourceUnavailable> {
        let none = Current {
            file: None,
            bytes: Arc::from([]),
            basis: 0,
        };
        Ok(Self {
            licensing: Licensing::new(settings)?,
            file: licence.file.clone(),
            jwks_file: match &settings.keys {
                KeysLocation::File(path) => Some(path.clone()),
                KeysLocation::Uri(_) | KeysLocation::Discovery => None,
            },
            policy: licence::policy(settings),
            high_water: HighWater::new(&licence.state_directory, &settings.issuer),
            guard: ClockGuard::new(Arc::clone(&surroundings.clock), licence.last_record),
            current: watch::Sender::new(none),
            surroundings,
        })
    }

    async fn open(
        settings: &Settings,
        licence: &LicenceSettings,
        surroundings: Surroundings,
    ) -> Result<(Self, Poll), SourceUnavailable> {
        let shelf = Self::new(settings, licence, surroundings)?;
        let poll = Poll {
            stamps: shelf.stamps().await,
            trouble: None,
        };
        let read = shelf.read_first().await?;
        shelf.take(read).await?;
        Ok((shelf, poll))
    }

    /// The file, and whether the clock can be believed.
    async fn read_first(&self) -> Result<Read, SourceUnavailable> {
        let read = self.read().await?;
        self.guard.learn(read.file.issued);
        match self.guard.now() {
            Ok(_) => Ok(read),
            Err(behind) => Err(unavailable(&set_back(behind))),
        }
    }

    /// The file as it is now, verified with the keys as they are now.
    async fn read(&self) -> Result<Read, SourceUnavailable> {
        let keys = self.licensing.fetch_key_set().await?;
        let bytes = fetch::read_file_within(self.file.clone(), MAX_FILE + 1).await?;
        let file = self.verify(&bytes, &keys)?;
        Ok(Read {
            file,
            bytes: bytes.into(),
        })
    }

    fn verify(&self, bytes: &[u8], keys: &KeySet) -> Result<LicenceFile, SourceUnavailable> {
        LicenceFile::read(bytes, &self.policy, keys, self.surroundings.clock.now())
            .map_err(|why| self.refused(&why.0))
    }

    fn refused(&self, why: &str) -> SourceUnavailable {
        unavailable(&format!(
            "the licence file {} is refused: {why}",
            self.file.display()
        ))
    }

    /// Takes a file into use, once its version is on disk.
    async fn take(&self, read: Read) -> Result<(), SourceUnavailable> {
        let (high_water, file) = (self.high_water.clone(), read.file.clone());
        let raised = blocking(move || high_water.raise(&file)).await?;
        raised.map_err(|why| self.refused(&why))?;
        self.guard.learn(read.file.issued);
        let Surroundings { observer, log, .. } = &self.surroundings;
        observer.licence_file(read.file.version, read.file.expires);
        let same = self.current.borrow().file.as_deref() == Some(&read.file);
        if same {
            // Nothing said by it changes, but perhaps the key that it is signed with.
            self.current.send_if_modified(|current| {
                current.bytes = read.bytes;
                false
            });
            return Ok(());
        }
        slog::info!(log, "licence file in use"; "version" => read.file.version,
            "expires" => read.file.expires.to_rfc3339(), "licences" => read.file.licences());
        self.current.send_modify(|current| {
            *current = Current {
                file: Some(Arc::new(read.file)),
                bytes: read.bytes,
                basis: current.basis.wrapping_add(1),
            };
        });
        Ok(())
    }

    /// One look: takes a changed file, and tells what is wrong when it changes.
    async fn look(&self, poll: &mut Poll) {
        let stamps = self.stamps().await;
        let changed = stamps != poll.stamps;
        let mut trouble = None;
        if changed || poll.trouble.is_some() {
            poll.stamps = stamps;
            let renewed = match self.read().await {
                Ok(read) => self.take(read).await,
                Err(error) => Err(error),
            };
            if let Err(error) = renewed {
                trouble = Some(error.0);
                self.check_current().await;
            }
        }
        let trouble = trouble.or_else(|| self.standing().err());
        if trouble != poll.trouble || (changed && trouble.is_some()) {
            let Surroundings { observer, log, .. } = &self.surroundings;
            match &trouble {
                Some(reason) => {
                    observer.licence_file_refused();
                    slog::error!(log, "the licence file needs attention"; "reason" => reason,
                        "in_use" => self.file_in_use().map(|file| file.version));
                }
                None => slog::info!(log, "the licence file is in order again"),
            }
            poll.trouble = trouble;
        }
    }

    /// A key that Licensing has withdrawn takes what it signed with it (contract §3 says the same of tokens). Keys that
    /// cannot be read withdraw nothing.
    async fn check_current(&self) {
        let bytes = Arc::clone(&self.current.borrow().bytes);
        let Ok(keys) = self.licensing.fetch_key_set().await else {
            return;
        };
        if self.file_in_use().is_some() && self.verify(&bytes, &keys).is_err() {
            self.surroundings.observer.licence_file(0, DateTime::UNIX_EPOCH);
            self.current.send_modify(|current| {
                current.file = None;
                current.basis = current.basis.wrapping_add(1);
            });
        }
    }

    async fn stamps(&self) -> [Option<Stamp>; 2] {
        let (file, jwks) = (self.file.clone(), self.jwks_file.clone());
        let stamps = blocking(move || [Stamp::of(&file), jwks.as_deref().and_then(Stamp::of)]);
        stamps.await.unwrap_or_default()
    }

    fn file_in_use(&self) -> Option<Arc<LicenceFile>> {
        self.current.borrow().file.clone()
    }

    /// The file that counts now and its basis, or why there is none.
    fn standing(&self) -> Result<(Arc<LicenceFile>, u64), String> {
        let now = self.guard.now().map_err(set_back)?;
        let current = self.current.borrow();
        let file = current
            .file
            .as_ref()
            .ok_or("no licence file is in use: install one that holds")?;
        if file.expires <= now {
            return Err("the licence file in use has expired: install a newer one".to_owned());
        }
        Ok((Arc::clone(file), current.basis))
    }
}

fn set_back(behind: TimeDelta) -> String {
    format!(
        "the clock is {} s behind what licence file, audit trail or its own past show: set it right; see \
         docs/runbooks/entitlement-unavailable.md",
        behind.num_seconds()
    )
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SourceUnavailable> {
    let ended = |_| unavailable("the task that reads and writes files ended");
    tokio::task::spawn_blocking(work).await.map_err(ended)
}

impl LicensingSource for OfflineLicensing {
    fn fetch_keys(&self) -> PortFuture<Result<Arc<dyn PoeVerifier>, SourceUnavailable>> {
        self.shelf.licensing.fetch_keys()
    }

    fn introspect(
        &self,
        poe: Arc<str>,
        facts: Entitlement,
    ) -> PortFuture<Result<Introspection, SourceUnavailable>> {
        let standing = self.shelf.standing();
        Box::pin(async move {
            let (file, _) = standing.map_err(|why| unavailable(&why))?;
            let token = Compact::parse(&poe, Use::Token)
                .and_then(|compact| Claims::parse(&compact.payload))
                .map_err(|why| unavailable(&format!("the proof of entitlement: {why}")))?;
            Ok(file.judge(&token, facts))
        })
    }

    fn basis(&self) -> Option<u64> {
        self.shelf.standing().ok().map(|(_, basis)| basis)
    }
}

#[cfg(test)]
#[path = "offline_tests.rs"]
mod tests;
