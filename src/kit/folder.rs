//! Kits on disk.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use chrono::{DateTime, Utc};

use super::manifest::{self, MANIFEST, Manifest};
use super::{MAX_FILE_BYTES, MAX_FILES};
use crate::crypto::PublicKey;

/// Writes a kit into a folder that is not there yet. What cannot be finished leaves nothing under its name.
///
/// # Errors
/// What could not be written, and why.
pub fn write(folder: &Path, sealed: &[u8], files: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let shown = folder.display();
    if fs::symlink_metadata(folder).is_ok() {
        return Err(format!(
            "{shown} is there already: name a folder that is not, or remove it"
        ));
    }
    let name = folder
        .file_name()
        .ok_or_else(|| format!("{shown} names no folder"))?;
    let mut partial = name.to_owned();
    partial.push(".partial");
    let partial = folder.with_file_name(partial);
    let written = write_all(&partial, sealed, files).and_then(|()| fs::rename(&partial, folder));
    written.map_err(|error| {
        // What is left of it is no kit: it has no manifest, or another name.
        let _ = fs::remove_dir_all(&partial);
        format!("cannot write {shown}: {error}")
    })
}

fn write_all(folder: &Path, sealed: &[u8], files: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    fs::create_dir(folder)?;
    let all = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()));
    for (path, bytes) in all.chain([(MANIFEST, sealed)]) {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    Ok(())
}

/// Reads a kit that one of these keys has signed: every file that the manifest lists, and nothing else is in the folder.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read(
    folder: &Path,
    keys: &[PublicKey],
    now: DateTime<Utc>,
) -> Result<(Manifest, BTreeMap<String, Vec<u8>>), String> {
    let sealed = read_file(&folder.join(MANIFEST), MAX_FILE_BYTES)?;
    let manifest = manifest::open(&sealed, keys, now)?;
    let mut files = BTreeMap::new();
    for listed in &manifest.files {
        let path = folder.join(&listed.path);
        let bytes = read_file(&path, listed.bytes)?;
        if !manifest.covers(&listed.path, &bytes) {
            return Err(format!(
                "{} is not what the manifest lists: it was altered",
                path.display()
            ));
        }
        files.insert(listed.path.clone(), bytes);
    }
    no_strangers(folder, &files)?;
    Ok((manifest, files))
}

/// At most one byte more than `most`, so that a longer file is noticed.
fn read_file(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", path.display());
    // Before opening: a pipe would wait for a writer; a link leads out of the kit.
    if !fs::symlink_metadata(path).map_err(failed)?.is_file() {
        return Err(format!("{} is not a regular file", path.display()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// A file that nobody signed could be taken for one of the kit by whoever uses another program with it.
fn no_strangers(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let failed = |error: io::Error| format!("cannot read {}: {error}", folder.display());
    let mut seen = 0_usize;
    let mut look = |below: &Path, prefix: &str| -> Result<Vec<String>, String> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(below).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            seen += 1;
            let name = entry.file_name();
            let path = format!("{prefix}{}", name.to_string_lossy());
            if prefix.is_empty() && entry.file_type().map_err(failed)?.is_dir() {
                folders.push(path);
            } else if (path != MANIFEST && !files.contains_key(&path)) || seen > 2 * MAX_FILES {
                return Err(format!(
                    "{path:?} is in the kit's folder and not in its manifest: remove it"
                ));
            }
        }
        Ok(folders)
    };
    for below in look(folder, "")? {
        look(&folder.join(&below), &format!("{below}/"))?;
    }
    Ok(())
}
