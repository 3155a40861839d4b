//! Opening a trail: proving that it is ours to continue, and repairing what a crash tore.

use chrono::{DateTime, Utc};
use signer_actors::domain::ids::AuditId;

use super::check::Checker;
use super::journal::{self, Found, group_follows, read_group, segment_path, segments, torn_path};
use super::storage::{Segment, Storage, read_up_to};
use crate::tlog::entries;

/// A journal that can be continued: everything in it is durable.
#[derive(Debug)]
pub(super) struct Opened {
    /// First record of the oldest segment.
    pub(super) oldest: u64,
    /// First record of the newest segment.
    pub(super) first: u64,
    pub(super) file: Box<dyn Segment>,
    pub(super) len: u64,
    /// Offset of the newest segment's last group.
    pub(super) last_group: Option<u64>,
    /// Records in the trail.
    pub(super) size: u64,
    pub(super) orphans: Vec<AuditId>,
    pub(super) newest: Option<DateTime<Utc>>,
}

pub(super) fn open(storage: &dyn Storage) -> Result<Opened, String> {
    refuse_old_format(storage)?;
    let firsts = segments(storage)?;
    let Some((&last, earlier)) = firsts.split_last() else {
        return begin(storage);
    };
    let oldest = firsts.first().copied().unwrap_or(last);
    let mut reading = Reading {
        storage,
        next: oldest,
        checker: Checker {
            whole: oldest == 0,
            ..Checker::default()
        },
    };
    for first in earlier {
        let end = reading.segment(*first)?;
        if end.torn {
            return Err(reading.refusal(*first, "it is truncated in the middle of the journal"));
        }
    }
    let end = reading.segment(last)?;
    let path = segment_path(last);
    let mut file = storage
        .open(&path, false)
        .map_err(|e| format!("cannot open {path}: {e}"))?;
    if end.torn {
        cut_torn(&reading, last, file.as_mut(), end.len)?;
    }
    // What a crashed process appended may not be on disk yet; and if its last sync failed, the pages are clean all the
    // same, so they are written again. Earlier segments were synced before the next one began.
    storage
        .rewrite(&path, end.len)
        .and_then(|()| file.sync())
        .and_then(|()| storage.sync_names(journal::FOLDER))
        .map_err(|e| format!("cannot sync {path}: {e}"))?;
    journal::remove_torn_under_way(storage);
    Ok(Opened {
        oldest,
        first: last,
        file,
        len: end.len,
        last_group: end.last_group,
        size: reading.next,
        orphans: reading.checker.open.into_iter().collect(),
        newest: reading.checker.newest,
    })
}

fn begin(storage: &dyn Storage) -> Result<Opened, String> {
    let path = segment_path(0);
    let file = storage
        .open(&path, true)
        .and_then(|file| storage.sync_names(journal::FOLDER).map(|()| file))
        .and_then(|file| storage.sync_names("").map(|()| file))
        .map_err(|e| format!("cannot create {path}: {e}"))?;
    Ok(Opened {
        oldest: 0,
        first: 0,
        file,
        len: 0,
        last_group: None,
        size: 0,
        orphans: Vec::new(),
        newest: None,
    })
}

/// Trails of hash-chained lines were written by versions before the first release.
pub(super) fn refuse_old_format(storage: &dyn Storage) -> Result<(), String> {
    let names = storage
        .names("")
        .map_err(|e| format!("cannot list the audit directory: {e}"))?;
    let old = |name: &&String| name.starts_with("trail-") && name.ends_with(".jsonl");
    match names.iter().find(old) {
        None => Ok(()),
        Some(name) => Err(format!(
            "the audit directory holds a trail of an earlier format ({name}): keep it as it is and begin a new trail in an \
             empty directory"
        )),
    }
}

#[derive(Debug)]
struct Reading<'a> {
    storage: &'a dyn Storage,
    /// Number of the next record.
    next: u64,
    checker: Checker,
}

/// Where a segment's whole groups end.
#[derive(Debug)]
struct End {
    len: u64,
    last_group: Option<u64>,
    /// Something follows that is no group.
    torn: bool,
}

impl Reading<'_> {
    fn segment(&mut self, first: u64) -> Result<End, String> {
        let path = segment_path(first);
        if first != self.next {
            return Err(self.refusal(first, "the segment does not begin with it"));
        }
        let unreadable = |e| format!("cannot read {path}: {e}");
        let file = self.storage.read(&path).map_err(unreadable)?;
        let (mut len, mut last_group) = (0, None);
        loop {
            match read_group(file.as_ref(), len).map_err(unreadable)? {
                Found::Group(group) => {
                    if group.first != self.next {
                        return Err(self.refusal(first, &format!("record {} stands there", group.first)));
                    }
                    self.records(first, &group)?;
                    last_group = Some(len);
                    len += group.len();
                }
                Found::End => {
                    return Ok(End {
                        len,
                        last_group,
                        torn: false,
                    });
                }
                Found::Torn => {
                    if group_follows(file.as_ref(), len).map_err(unreadable)? {
                        return Err(self.refusal(first, "its group is damaged, and groups follow it"));
                    }
                    return Ok(End {
                        len,
                        last_group,
                        torn: true,
                    });
                }
            }
        }
    }

    fn records(&mut self, segment: u64, group: &journal::Group) -> Result<(), String> {
        for entry in entries(&group.entries) {
            let checked = match entry {
                Ok(entry) => self.checker.accept(entry),
                Err(error) => Err(error.to_string()),
            };
            checked.map_err(|what| self.refusal(segment, &what))?;
            self.next += 1;
        }
        if self.next == group.next() {
            Ok(())
        } else {
            Err(self.refusal(segment, "its group holds another number of records than it says"))
        }
    }

    fn refusal(&self, first: u64, what: &str) -> String {
        format!(
            "the audit trail is broken at record {} in {}: {what}; run `signer audit verify`, keep the directory as evidence \
             and begin a new trail in an empty one",
            self.next,
            segment_path(first)
        )
    }
}

/// A torn group was never durable as a whole, so nobody was answered on its strength; it is kept all the same.
fn cut_torn(reading: &Reading<'_>, first: u64, file: &mut dyn Segment, len: u64) -> Result<(), String> {
    let (path, storage) = (segment_path(first), reading.storage);
    let kept_in = torn_path(first);
    let failed = |e| format!("cannot keep the torn group in {kept_in}: {e}");
    let most = journal::HEADER_BYTES + journal::MAX_GROUP_BYTES;
    let torn = read_up_to(file, len, most).map_err(failed)?;
    storage.replace(&kept_in, &torn).map_err(failed)?;
    storage.sync_names(journal::FOLDER).map_err(failed)?;
    file.truncate(len)
        .map_err(|e| format!("cannot cut the torn group off {path}: {e}"))
}
