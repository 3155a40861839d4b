//! How late it is at least: the time of the newest record, for who does not open the trail.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::check::read_record;
use super::journal::{Found, read_group, segment_path, segments};
use super::storage::{Directory, Storage};
use crate::tlog::entries;

/// Time of the newest durable record in a directory; `None` in an empty trail, or where there is none. Takes no lock and
/// changes nothing. Reads at most two segments of the journal.
///
/// # Errors
/// The journal cannot be read. For the operator.
pub fn newest_record_time(directory: &Path) -> Result<Option<DateTime<Utc>>, String> {
    newest_in(&Directory::at(directory))
}

pub(super) fn newest_in(storage: &dyn Storage) -> Result<Option<DateTime<Utc>>, String> {
    // The newest one may have been begun and hold nothing yet.
    for first in segments(storage)?.into_iter().rev().take(2) {
        let path = segment_path(first);
        let unreadable = |e| format!("cannot read {path}: {e}");
        let file = storage.read(&path).map_err(unreadable)?;
        let (mut offset, mut newest) = (0, None);
        // What is torn behind the last group was never acknowledged, or is being written now.
        while let Found::Group(group) = read_group(file.as_ref(), offset).map_err(unreadable)? {
            offset += group.len();
            newest = Some(group);
        }
        let entry = newest
            .iter()
            .flat_map(|group| entries(&group.entries))
            .map_while(Result::ok)
            .last()
            .map(read_record)
            .transpose()?;
        if let Some(record) = entry {
            return Ok(Some(record.time()));
        }
    }
    Ok(None)
}
