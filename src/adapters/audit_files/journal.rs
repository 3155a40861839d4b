//! The journal: the newest records, in groups as they were made durable. What counts first.
//!
//! `journal/<first record, 20 digits>` is a run of groups, each written with one write and one sync:
//!
//! ```text
//! "SLJ1" | records: u32 | bytes: u32 | number of the first record: u64 | SHA-256 of all this and the entries | entries
//! ```
//!
//! Numbers are big-endian; entries are framed as in an entry bundle (C2SP tlog-tiles). The digest says whether a group
//! is all there, whichever of its pages a crash has left out. A group is only written once the one before it is
//! durable, so what is torn can only be the last one, and nobody was answered on its strength.

use std::io;

use openssl::sha::Sha256;

use super::storage::{Segment, Storage, UNDER_WAY, read_up_to};

const MAGIC: &[u8; 4] = b"SLJ1";
/// Before the digest.
const HEAD_BYTES: usize = 20;
/// Before the entries.
pub(super) const HEADER_BYTES: usize = HEAD_BYTES + 32;
/// The longest run of entries in a group, in bytes.
pub(super) const MAX_GROUP_BYTES: usize = 64 * 1024 * 1024;
/// Folder of the journal.
pub(super) const FOLDER: &str = "journal";
/// Ending of what was torn off.
const TORN: &str = ".torn";
/// Digits of the first number in a segment's name.
const NAME_DIGITS: usize = 20;

/// The path of the segment that begins with this record.
pub(super) fn segment_path(first: u64) -> String {
    format!("{FOLDER}/{first:020}")
}

/// Where what was torn off a segment is kept.
pub(super) fn torn_path(first: u64) -> String {
    format!("{}{TORN}", segment_path(first))
}

/// First numbers of all segments, ascending. A name that is none of ours is an error that says so.
pub(super) fn segments(storage: &dyn Storage) -> Result<Vec<u64>, String> {
    let names = storage
        .names(FOLDER)
        .map_err(|e| format!("cannot list the audit journal: {e}"))?;
    let torn = |name: &str| name.ends_with(TORN) || is_torn_under_way(name);
    let mut firsts = Vec::new();
    for name in names.iter().filter(|name| !torn(name)) {
        match name.parse::<u64>() {
            Ok(first) if name.len() == NAME_DIGITS && name.bytes().all(|b| b.is_ascii_digit()) => {
                firsts.push(first)
            }
            _ => {
                return Err(format!(
                    "{FOLDER}/{name} is not a segment of the journal: move it away"
                ));
            }
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// A copy of a torn group that was not finished; the segment has the group still.
fn is_torn_under_way(name: &str) -> bool {
    name.strip_suffix(UNDER_WAY)
        .is_some_and(|name| name.ends_with(TORN))
}

/// Removes copies of torn groups that were not finished. One that cannot be removed is harmless, and tried again by the next
/// start.
pub(super) fn remove_torn_under_way(storage: &dyn Storage) {
    let names = storage.names(FOLDER).unwrap_or_default();
    for name in names.iter().filter(|name| is_torn_under_way(name)) {
        let _ = storage.remove(&format!("{FOLDER}/{name}"));
    }
}

/// A group as it is written.
pub(super) fn group(first: u64, records: u32, entries: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(HEADER_BYTES + entries.len());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&records.to_be_bytes());
    out.extend_from_slice(&bytes.to_be_bytes());
    out.extend_from_slice(&first.to_be_bytes());
    let digest = digest(&out, entries);
    out.extend_from_slice(&digest);
    out.extend_from_slice(entries);
    out
}

fn digest(head: &[u8], entries: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(head);
    hash.update(entries);
    hash.finish()
}

/// One whole group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) first: u64,
    pub(super) records: u32,
    pub(super) entries: Vec<u8>,
}

impl Group {
    /// Length in the file.
    pub(super) fn len(&self) -> u64 {
        (HEADER_BYTES + self.entries.len()) as u64
    }

    /// Number of the record after it.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(u64::from(self.records))
    }
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Group(Group),
    /// The end of the file, exactly.
    End,
    /// Something that is no whole group.
    Torn,
}

/// Reads what stands at an offset.
pub(super) fn read_group(file: &dyn Segment, offset: u64) -> io::Result<Found> {
    let header = read_up_to(file, offset, HEADER_BYTES)?;
    if header.is_empty() {
        return Ok(Found::End);
    }
    let Some((first, records, bytes, expected)) = parse_header(&header) else {
        return Ok(Found::Torn);
    };
    let entries = read_up_to(file, offset + HEADER_BYTES as u64, bytes)?;
    let head = header.get(..HEAD_BYTES).unwrap_or_default();
    if entries.len() != bytes || digest(head, &entries) != expected {
        return Ok(Found::Torn);
    }
    Ok(Found::Group(Group {
        first,
        records,
        entries,
    }))
}

fn parse_header(header: &[u8]) -> Option<(u64, u32, usize, [u8; 32])> {
    let rest = header.strip_prefix(MAGIC)?;
    let (records, rest) = rest.split_first_chunk::<4>()?;
    let (bytes, rest) = rest.split_first_chunk::<4>()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let digest = rest.first_chunk::<32>()?;
    let bytes = usize::try_from(u32::from_be_bytes(*bytes)).ok()?;
    (bytes <= MAX_GROUP_BYTES).then(|| {
        (
            u64::from_be_bytes(*first),
            u32::from_be_bytes(*records),
            bytes,
            *digest,
        )
    })
}

/// Whether a whole group stands anywhere behind an offset: then what is broken there was durable once.
pub(super) fn group_follows(file: &dyn Segment, offset: u64) -> io::Result<bool> {
    const CHUNK: usize = 1024 * 1024;
    let mut at = offset + 1;
    loop {
        let chunk = read_up_to(file, at, CHUNK)?;
        let candidates = chunk.windows(MAGIC.len()).enumerate();
        for (place, _) in candidates.filter(|(_, window)| window == MAGIC) {
            if matches!(read_group(file, at + place as u64)?, Found::Group(_)) {
                return Ok(true);
            }
        }
        if chunk.len() < CHUNK {
            return Ok(false);
        }
        at += (CHUNK - MAGIC.len() + 1) as u64;
    }
}

/// A place in the journal from which groups are read on, through all its segments.
#[derive(Debug)]
pub(super) struct Cursor {
    /// Segment, its open file, and the offset of the next group.
    segment: Option<(u64, Box<dyn Segment>, u64)>,
    /// Number of the next record.
    next: u64,
}

impl Cursor {
    /// Before the first record of a segment.
    pub(super) fn at_segment(first: u64) -> Self {
        Self {
            segment: None,
            next: first,
        }
    }

    /// Number of the next record.
    pub(super) fn next_record(&self) -> u64 {
        self.next
    }

    /// Where it stands, to come back to: segment, offset and number of the next record.
    pub(super) fn mark(&self) -> (u64, u64, u64) {
        match &self.segment {
            Some((first, _, offset)) => (*first, *offset, self.next),
            None => (self.next, 0, self.next),
        }
    }

    /// Back at a mark.
    pub(super) fn at_mark(storage: &dyn Storage, mark: (u64, u64, u64)) -> Result<Self, String> {
        let (first, offset, next) = mark;
        let path = segment_path(first);
        let file = storage
            .read(&path)
            .map_err(|e| format!("cannot open {path}: {e}"))?;
        Ok(Self {
            segment: Some((first, file, offset)),
            next,
        })
    }

    /// The next group; `None` at the end. Only what is known to be durable may be asked for: anything torn is an error.
    pub(super) fn next(&mut self, storage: &dyn Storage) -> Result<Option<Group>, String> {
        loop {
            let Some((first, file, offset)) = &mut self.segment else {
                let path = segment_path(self.next);
                let file = storage
                    .read(&path)
                    .map_err(|e| format!("cannot open {path}: {e}"))?;
                self.segment = Some((self.next, file, 0));
                continue;
            };
            let path = segment_path(*first);
            match read_group(file.as_ref(), *offset).map_err(|e| format!("cannot read {path}: {e}"))? {
                Found::Group(group) if group.first == self.next => {
                    *offset += group.len();
                    self.next = group.next();
                    return Ok(Some(group));
                }
                Found::End if *first == self.next => return Ok(None),
                Found::End => self.segment = None,
                Found::Group(_) | Found::Torn => {
                    return Err(format!("{path} is broken at record {}", self.next));
                }
            }
        }
    }
}
