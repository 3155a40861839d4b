//! Files that keys name: read once, bounded, with an eye on who else may read them.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::Problem;
use super::layers::Layers;

/// Largest public file (certificates, keys, key sets), in bytes.
const MAX_PUBLIC_BYTES: u64 = 1 << 20;

/// A public file that a key names, with its content at load time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicFile {
    /// Its path, resolved against the configuration's folder.
    pub path: PathBuf,
    /// Its content, at most 1 MiB.
    pub bytes: Vec<u8>,
}

/// Resolves a path against the folder of the configuration file.
pub(crate) fn resolve(text: &str, layers: &Layers) -> Result<PathBuf, Problem> {
    if text.is_empty() || text.contains('\0') {
        return Err(Problem::new("is not a path", "name a file or folder"));
    }
    // Joining an absolute path gives that path.
    Ok(layers.folder.join(text))
}

/// Reads a public file.
pub(crate) fn public(text: &str, layers: &Layers) -> Result<PublicFile, Problem> {
    if text.starts_with("file:") || text.starts_with("env:") {
        let remedy = "this key takes a plain path: leave out the prefix";
        return Err(Problem::new(
            format!("{text:?} is a reference to a secret"),
            remedy,
        ));
    }
    let path = resolve(text, layers)?;
    let mut bytes = Vec::new();
    read(&path, MAX_PUBLIC_BYTES, &mut bytes)?;
    Ok(PublicFile { path, bytes })
}

/// Reads a regular file of bounded size into `bytes` and tells of the file that was read, not of its name.
pub(crate) fn read(path: &Path, most: u64, bytes: &mut Vec<u8>) -> Result<Metadata, Problem> {
    let unreadable = |error: std::io::Error| {
        Problem::new(
            format!("cannot read {}: {error}", path.display()),
            "create the file, or let the service's user read it; relative paths start at the configuration file",
        )
    };
    // Before opening: opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        let problem = format!("{} is not a regular file", path.display());
        return Err(Problem::new(problem, "name a regular file"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.len() > most {
        let problem = format!("{} is larger than {most} bytes", path.display());
        return Err(Problem::new(problem, "name the right file"));
    }
    bytes.reserve_exact(usize::try_from(metadata.len()).unwrap_or_default() + 1);
    file.take(most).read_to_end(bytes).map_err(unreadable)?;
    if bytes.is_empty() {
        return Err(Problem::new(
            format!("{} is empty", path.display()),
            "name the right file",
        ));
    }
    Ok(metadata)
}

/// Who besides the owner may get at a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposure {
    /// The owner alone; or root's file, which a service that is not root reads as a member of its group (mounted
    /// secrets are such files).
    Private,
    /// Group or others.
    Exposed(u32),
}

/// Judges the permission bits of a secret's file.
pub(crate) fn exposure(metadata: &Metadata) -> Exposure {
    let mode = metadata.mode() & 0o777;
    let through_group = metadata.uid() == 0 && effective_user().is_some_and(|user| user != 0);
    let allowed = if through_group { 0o740 } else { 0o700 };
    if mode & !allowed == 0 {
        Exposure::Private
    } else {
        Exposure::Exposed(mode)
    }
}

/// The user this process runs as. Unknown where there is no `/proc`: the strict rule holds then.
fn effective_user() -> Option<u32> {
    std::fs::metadata("/proc/self").ok().map(|own| own.uid())
}
