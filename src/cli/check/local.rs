//! Probes of this machine: configuration, listeners, folders, clock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};

use super::finding::{Finding, Probe, of_warning, probe};
use crate::adapters::audit_files::held::goes_on_from;
use crate::adapters::audit_files::newest::newest_record_time;
use crate::config::Settings;
use crate::tlog::{NoteSigner, VerifierKey};

/// Below this an audit or state folder is as good as full, in bytes.
const LITTLE_SPACE: u64 = 64 << 20;
/// Below this the operator should know, in bytes.
const SCARCE_SPACE: u64 = 1 << 30;
/// How far the clock may be behind the newest audit record, in seconds: NTP may just have set it.
const BEHIND: i64 = 5;
/// No clock that is right shows less: 2026-01-01, in seconds of Unix time.
const NOT_BEFORE: i64 = 1_767_225_600;

pub(super) fn probes(settings: &Settings) -> Vec<Box<dyn Probe>> {
    let warnings = settings.warnings.clone();
    let (listen, metrics) = (settings.server.listen, settings.server.metrics_listen);
    let audit = settings.audit.directory.clone();
    let state = settings.state.directory.clone();
    let checkpoints = NoteSigner::new(&settings.audit.origin, settings.audit.checkpoint_key.clone());
    let checkpoints = checkpoints.map(|signer| signer.verifier().clone());
    let held = settings.audit.held_checkpoint.as_ref();
    let held = held.map(|held| (held.bytes.clone(), checkpoints.clone()));
    let (trail, folder_of_trail) = (audit.clone(), audit.clone());
    vec![
        probe(move || {
            let mut findings = vec![Finding::ok(
                "configuration",
                "valid; every file it names was read",
            )];
            findings.extend(warnings.iter().map(of_warning));
            async move { findings }
        }),
        probe(move || {
            // In this order: a service that runs beside this goes on writing.
            let newest = newest_record_time(&trail);
            let finding = clock(Utc::now(), newest);
            async move { vec![finding] }
        }),
        probe(move || async move {
            let metrics = metrics.map(|metrics| port("server.metrics_listen", metrics));
            [Some(port("server.listen", listen)), metrics]
                .into_iter()
                .flatten()
                .collect()
        }),
        probe(move || {
            let audit = audit.clone();
            async move {
                let mut findings = folder("audit directory", &audit);
                findings.extend(lock(&audit));
                findings
            }
        }),
        probe(move || {
            let mut findings = vec![checkpoint_key(&checkpoints)];
            if let Some((held, Ok(key))) = &held {
                findings.push(held_checkpoint(goes_on_from(&folder_of_trail, key, held)));
            }
            async move { findings }
        }),
        probe(move || {
            let state = state.clone();
            async move { folder("state directory", &state) }
        }),
    ]
}

/// What auditors verify checkpoints with.
fn checkpoint_key(vkey: &Result<VerifierKey, String>) -> Finding {
    match vkey {
        Ok(vkey) => Finding::ok("audit checkpoint key", format!("its verifier key is {vkey}")),
        Err(what) => Finding::failure(
            "audit checkpoint key",
            what.clone(),
            "make one: openssl genpkey -algorithm ed25519",
        ),
    }
}

/// What `audit.held_checkpoint` says of the trail.
fn held_checkpoint(proven: Result<u64, String>) -> Finding {
    let what = "audit trail";
    match proven {
        Ok(size) => Finding::ok(
            what,
            format!("goes on from the checkpoint over {size} records that was kept elsewhere"),
        ),
        Err(why) => Finding::failure(what, why, "the service does not start with it: see docs/runbooks"),
    }
}

/// Tokens, certificates and the order of records depend on the clock. The newest record says how late it is at least.
fn clock(now: DateTime<Utc>, newest: Result<Option<DateTime<Utc>>, String>) -> Finding {
    if let Ok(Some(newest)) = newest
        && newest.signed_duration_since(now) > TimeDelta::seconds(BEHIND)
    {
        return Finding::warning(
            "clock",
            format!(
                "shows {}, but the audit trail has a record of {}",
                now.to_rfc3339(),
                newest.to_rfc3339()
            ),
            "set the clock and keep it by NTP; if it is right now, it was wrong when the record was made",
        );
    }
    if now.timestamp() < NOT_BEFORE {
        let advice = "set the clock and keep it by NTP: tokens and certificates depend on it";
        Finding::failure("clock", format!("shows {now}, which is past"), advice)
    } else {
        Finding::ok("clock", format!("shows {}", now.to_rfc3339()))
    }
}

fn port(what: &str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(what, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::warning(
            what,
            format!("{address} is in use"),
            "fine if that is this service; otherwise stop the other program or choose another port",
        ),
        Err(error) => Finding::failure(
            what,
            format!("cannot listen on {address}: {error}"),
            "choose an address of this machine, and a port that this user may listen on",
        ),
    }
}

/// The folder, or the place where it will be made, must take files and have space.
fn folder(what: &str, path: &Path) -> Vec<Finding> {
    let Some(existing) = path.ancestors().map(or_here).find(|path| path.exists()) else {
        return vec![Finding::failure(
            what,
            format!("{} has no root", path.display()),
            "name another folder",
        )];
    };
    if !existing.is_dir() {
        let detail = format!("{} is not a folder", existing.display());
        return vec![Finding::failure(what, detail, "name a folder")];
    }
    let shown = if existing == path {
        path.display().to_string()
    } else {
        format!("{}, to be made in {}", path.display(), existing.display())
    };
    vec![writable(what, &existing, &shown), space(what, &existing)]
}

/// The ancestor of a bare name is the empty path, which means the current folder.
fn or_here(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path.to_owned()
    }
}

fn writable(what: &str, folder: &Path, shown: &str) -> Finding {
    let name = folder.join(format!(".signer-check-{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).open(&name);
    let removed = made.and_then(|file| {
        drop(file);
        std::fs::remove_file(&name)
    });
    match removed {
        Ok(()) => Finding::ok(what, format!("{shown} can be written")),
        Err(error) => {
            let advice = "give the folder to the service's user, mode 0700";
            Finding::failure(what, format!("{shown} cannot be written: {error}"), advice)
        }
    }
}

fn space(what: &str, folder: &Path) -> Finding {
    let free = match rustix::fs::statvfs(folder) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            let detail = format!("free space is unknown: {error}");
            return Finding::warning(
                what,
                detail,
                "look at it yourself: without space nothing is signed",
            );
        }
    };
    let detail = format!("{} MiB free", free >> 20);
    let advice = "make space or move the folder: without space nothing is signed";
    if free < LITTLE_SPACE {
        Finding::failure(what, detail, advice)
    } else if free < SCARCE_SPACE {
        Finding::warning(what, detail, advice)
    } else {
        Finding::ok(what, detail)
    }
}

/// The trail has one writer at a time, which holds the file `lock`.
fn lock(audit: &Path) -> Option<Finding> {
    let what = "audit lock";
    // Without the file no one ever held it.
    let file = File::open(audit.join("lock")).ok()?;
    Some(match file.try_lock() {
        Ok(()) => Finding::ok(what, "no one writes to the trail"),
        Err(TryLockError::WouldBlock) => Finding::warning(
            what,
            "another process writes to the trail",
            "fine if that is this service; a second replica needs an audit.directory of its own",
        ),
        Err(TryLockError::Error(error)) => Finding::failure(
            what,
            format!("cannot be tested: {error}"),
            "use a file system with locks",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_port_in_use_is_told_from_a_free_one() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("an address");
        assert_eq!(port("server.listen", address).level, Level::Warning);
        drop(held);
        assert_eq!(port("server.listen", address).level, Level::Ok);
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        assert_eq!(port("server.listen", elsewhere).level, Level::Failure);
    }

    #[test]
    fn folders_are_tried_and_left_as_they_were() {
        let root = tempfile::tempdir().expect("a folder");
        let missing = root.path().join("a/b");
        let findings = folder("audit directory", &missing);
        assert_eq!(findings[0].level, Level::Ok, "{findings:?}");
        assert!(!root.path().join("a").exists());
        assert_eq!(std::fs::read_dir(root.path()).expect("readable").count(), 0);
        let file = root.path().join("file");
        std::fs::write(&file, "x").expect("written");
        assert_eq!(folder("audit directory", &file)[0].level, Level::Failure);
    }

    #[test]
    fn a_held_lock_is_seen() {
        let root = tempfile::tempdir().expect("a folder");
        assert_eq!(lock(root.path()), None);
        let held = File::create(root.path().join("lock")).expect("made");
        assert_eq!(lock(root.path()).map(|finding| finding.level), Some(Level::Ok));
        held.lock().expect("locked");
        assert_eq!(
            lock(root.path()).map(|finding| finding.level),
            Some(Level::Warning)
        );
    }

    #[test]
    fn a_clock_behind_the_audit_trail_is_seen() {
        let at = |seconds| DateTime::from_timestamp(NOT_BEFORE + seconds, 0).expect("a time");
        let level = |newest| clock(at(100), newest).level;
        assert_eq!(level(Ok(Some(at(106)))), Level::Warning);
        assert_eq!(level(Ok(Some(at(105)))), Level::Ok);
        assert_eq!(level(Ok(Some(at(0)))), Level::Ok);
        // What is wrong with the trail, others tell.
        assert_eq!(level(Err("cannot list".into())), Level::Ok);
    }

    #[test]
    fn a_clock_of_another_age_is_seen() {
        let clock = |now| clock(now, Ok(None));
        assert_eq!(clock(DateTime::UNIX_EPOCH).level, Level::Failure);
        let later = DateTime::from_timestamp(NOT_BEFORE, 0).expect("a time");
        assert_eq!(clock(later).level, Level::Ok);
    }
}
