//! Protection against rollback: the highest version of a licence file that was ever in use, on disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::licence::LicenceFile;

/// Name of the file in `state.directory`.
pub(super) const NAME: &str = "licence-version.json";
/// Its longest form, in bytes.
const MAX_BYTES: u64 = 4096;
const SCHEMA: u32 = 1;

/// What was in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Seen {
    schema: u32,
    issuer: String,
    version: u64,
    payload_digest: String,
}

/// The memory of one issuer's versions in `state.directory`. Errors are for the operator and name the remedy.
#[derive(Clone, Debug)]
pub(super) struct HighWater {
    directory: PathBuf,
    issuer: String,
}

impl HighWater {
    pub(super) fn new(directory: &Path, issuer: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            issuer: issuer.to_owned(),
        }
    }

    /// Refuses a file that is older than one that was in use, or that is another one of the same version.
    pub(super) fn check(&self, file: &LicenceFile) -> Result<(), String> {
        let Some(seen) = self.read()? else {
            return Ok(());
        };
        if file.version < seen.version {
            return Err(format!(
                "its version {} is older than {}, which was in use here: install the newest file of Licensing",
                file.version, seen.version
            ));
        }
        if file.version == seen.version && file.digest.to_hex() != seen.payload_digest {
            return Err(format!(
                "it is not the file of version {} that was in use here: a changed file needs a higher version",
                file.version
            ));
        }
        Ok(())
    }

    /// Remembers a file as the newest in use; on disk when this returns. An older one is not remembered.
    pub(super) fn raise(&self, file: &LicenceFile) -> Result<(), String> {
        self.check(file)?;
        let seen = Seen {
            schema: SCHEMA,
            issuer: self.issuer.clone(),
            version: file.version,
            payload_digest: file.digest.to_hex(),
        };
        if self.read()?.as_ref() == Some(&seen) {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&seen).map_err(|error| error.to_string())?;
        self.write(&bytes).map_err(|error| {
            format!(
                "cannot write {}: {error}: give state.directory to the service's user, mode 0700, and make space",
                self.path().display()
            )
        })
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    fn read(&self) -> Result<Option<Seen>, String> {
        let path = self.path();
        let shown = path.display();
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            // First start: nothing was in use.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot read {shown}: {error}")),
        };
        let seen: Option<Seen> = serde_json::from_slice(&bytes).ok();
        let seen = seen.filter(|seen| seen.schema == SCHEMA).ok_or_else(|| {
            format!(
                "{shown}, which protects against an old licence file, cannot be understood: restore it from a backup; \
                 only if the licence file is surely Licensing's newest, remove it"
            )
        })?;
        if seen.issuer != self.issuer {
            return Err(format!(
                "{shown} is about another issuer than entitlement.issuer: if Licensing has changed on purpose, remove it"
            ));
        }
        Ok(Some(seen))
    }

    /// A reader finds the old content or the new one, also after a loss of power.
    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.create_directory()?;
        let beside = self.directory.join(format!(".{NAME}.new"));
        // Left by a crash; one process has the directory.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, self.path())?;
        sync_directory(&self.directory)
    }

    fn create_directory(&self) -> io::Result<()> {
        if self.directory.exists() {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)?;
        match self
            .directory
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            Some(parent) => sync_directory(parent),
            None => Ok(()),
        }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // Before opening: opening a pipe would wait for a writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "high_water_tests.rs"]
mod tests;
