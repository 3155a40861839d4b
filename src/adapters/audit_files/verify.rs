//! Proving a whole trail unaltered: `signer audit verify DIR`.
//!
//! The chain ties every record to all before it. It cannot tell that records are missing at the very end, or that
//! everything from some record on was written anew: that takes a [`Checkpoint`] kept elsewhere.

use std::collections::VecDeque;
use std::path::Path;

use signer_actors::domain::ids::AuditId;

use super::chain::Line;
use super::check::{Broken, Checker};
use super::scan::{Found, Lines, segment_name, segments};
use super::storage::{Directory, Storage};

/// Records between two reports of progress.
const PROGRESS_STEP: u64 = 4096;

/// What a whole trail holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// All records.
    pub records: u64,
    /// Signatures about to be made.
    pub intents: u64,
    /// Intents closed.
    pub outcomes: u64,
    /// Outcomes that say a signature was made.
    pub signed: u64,
    /// Refusals and dry runs.
    pub refusals: u64,
    /// Segments (files).
    pub segments: u64,
    /// Intents without an outcome, oldest first: requests under way, or cut off by a crash.
    pub orphans: Vec<AuditId>,
    /// SHA-256 of the newest line, lowercase hex; zeros when there is none.
    pub head: String,
}

/// Length and head of the trail at some earlier time, kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of records then.
    pub records: u64,
    /// Hash of the newest line then, lowercase hex.
    pub head: String,
}

/// The first place where a trail is not whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{segment}, line {line} (record {seq}): {what}")]
pub struct Fault {
    /// File, or the directory when there is no trail in it.
    pub segment: String,
    /// Line in the file, from 1; 0 for the file as such.
    pub line: u64,
    /// Number of the record that belongs there.
    pub seq: u64,
    /// What is wrong.
    pub what: String,
}

/// Verifies every record of the trail in a directory. `progress` hears the number of records verified so far.
///
/// # Errors
/// The first fault; also when the directory holds no trail or cannot be read.
pub fn verify_dir(directory: &Path, progress: impl FnMut(u64)) -> Result<Summary, Fault> {
    verify_dir_against(directory, None, progress)
}

/// As [`verify_dir`], and proves that the trail goes on from a checkpoint: nothing up to it was cut off or rewritten.
///
/// # Errors
/// As [`verify_dir`]; also when the trail is shorter than the checkpoint or differs from it.
pub fn verify_dir_against(
    directory: &Path,
    checkpoint: Option<&Checkpoint>,
    progress: impl FnMut(u64),
) -> Result<Summary, Fault> {
    verify_storage(&Directory::read_only(directory), checkpoint, progress)
}

pub(super) fn verify_storage(
    storage: &dyn Storage,
    checkpoint: Option<&Checkpoint>,
    mut progress: impl FnMut(u64),
) -> Result<Summary, Fault> {
    let mut walk = Walk::new(storage)?;
    let segments = walk.ahead.len() as u64;
    let mut checker = Checker {
        whole: true,
        ..Checker::default()
    };
    let mut before = None;
    while let Some((place, line)) = walk.next(checker.link.seq)? {
        if let Err(broken) = checker.accept(&line) {
            return Err(blame(broken, &line, place, before, &mut walk));
        }
        meets(checkpoint, &checker, &place)?;
        if checker.link.seq.is_multiple_of(PROGRESS_STEP) {
            progress(checker.link.seq);
        }
        before = Some(place);
    }
    progress(checker.link.seq);
    if let Some(point) = checkpoint.filter(|point| point.records > checker.link.seq) {
        let what = format!(
            "the trail ends here, but the checkpoint counts {} records: records were removed",
            point.records
        );
        return Err(walk.place(checker.link.seq).fault(what));
    }
    Ok(Summary {
        records: checker.link.seq,
        intents: checker.intents,
        outcomes: checker.outcomes,
        signed: checker.signed,
        refusals: checker.refusals,
        segments,
        head: checker.link.head(),
        orphans: checker.open.into_iter().collect(),
    })
}

fn meets(checkpoint: Option<&Checkpoint>, checker: &Checker, place: &Place) -> Result<(), Fault> {
    match checkpoint {
        Some(point) if point.records == checker.link.seq && point.head != checker.link.head() => {
            Err(place.clone().fault(
                "the trail up to here is not the one of the checkpoint: it was rewritten, or the checkpoint is of another trail"
                    .to_owned(),
            ))
        }
        _ => Ok(()),
    }
}

/// Says which record is at fault. A line that names another predecessor may be altered itself or follow an altered one;
/// the line after it decides: if that one vouches for it, its predecessor was altered.
fn blame(broken: Broken, line: &[u8], place: Place, before: Option<Place>, walk: &mut Walk<'_>) -> Fault {
    let what = match broken {
        Broken::Framing => "altered: not a line of a trail".to_owned(),
        Broken::Content(what) => format!("altered or foreign: {what}"),
        Broken::Number { found, tied: true } => format!("altered: it is numbered {found}"),
        Broken::Number { found, tied: false } if found > place.seq => match walk.peek() {
            Some((next, _)) if next == place.seq => {
                format!("reordered: record {found} stands here, before this one")
            }
            _ => format!("removed: record {found} stands here"),
        },
        Broken::Number { found, .. } => format!("reordered or repeated: record {found} stands here"),
        Broken::Previous => {
            let vouched = walk
                .peek()
                .is_none_or(|(_, prev)| prev == openssl::sha::sha256(line));
            return match before {
                Some(before) if vouched => {
                    before.fault("altered: the next record names another hash for it".to_owned())
                }
                _ => place.fault("altered: it names another predecessor than the one it follows".to_owned()),
            };
        }
    };
    place.fault(what)
}

/// A line of the trail.
#[derive(Clone, Debug)]
struct Place {
    segment: String,
    line: u64,
    seq: u64,
}

impl Place {
    fn fault(self, what: String) -> Fault {
        Fault {
            segment: self.segment,
            line: self.line,
            seq: self.seq,
            what,
        }
    }
}

/// All lines of all segments.
#[derive(Debug)]
struct Walk<'a> {
    storage: &'a dyn Storage,
    ahead: VecDeque<u64>,
    current: Option<Lines>,
    segment: String,
    line: u64,
}

impl<'a> Walk<'a> {
    fn new(storage: &'a dyn Storage) -> Result<Self, Fault> {
        let mut walk = Self {
            storage,
            ahead: VecDeque::new(),
            current: None,
            segment: "the directory".to_owned(),
            line: 0,
        };
        walk.ahead = segments(storage)
            .map_err(|what| walk.place(0).fault(what))?
            .into();
        if walk.ahead.is_empty() {
            return Err(walk.place(0).fault("there is no trail in it".to_owned()));
        }
        Ok(walk)
    }

    fn place(&self, seq: u64) -> Place {
        Place {
            segment: self.segment.clone(),
            line: self.line,
            seq,
        }
    }

    /// The next line, which ought to be record `seq`.
    fn next(&mut self, seq: u64) -> Result<Option<(Place, Vec<u8>)>, Fault> {
        loop {
            let Some(lines) = &mut self.current else {
                let Some(first) = self.ahead.pop_front() else {
                    return Ok(None);
                };
                self.enter(first, seq)?;
                continue;
            };
            self.line += 1;
            let what = match lines.next() {
                Ok(Found::Line(line)) => {
                    let line = line.to_vec();
                    return Ok(Some((self.place(seq), line)));
                }
                Ok(Found::End) => {
                    // The end lies behind the last line.
                    self.line -= 1;
                    self.current = None;
                    continue;
                }
                Ok(Found::Torn(_)) if self.ahead.is_empty() => {
                    "truncated: a torn write; if no service is writing, starting one repairs it".to_owned()
                }
                Ok(Found::Torn(_)) => "truncated in the middle of the trail".to_owned(),
                Ok(Found::TooLong) => "altered: longer than a line can be".to_owned(),
                Err(e) => format!("cannot read: {e}"),
            };
            return Err(self.place(seq).fault(what));
        }
    }

    fn enter(&mut self, first: u64, seq: u64) -> Result<(), Fault> {
        self.segment = segment_name(first);
        self.line = 0;
        if first != seq {
            let what = if first > seq {
                format!(
                    "removed: records {seq} to {} are missing before this segment",
                    first - 1
                )
            } else {
                format!("the segment begins with record {first}, which the one before already holds")
            };
            return Err(self.place(seq).fault(what));
        }
        let file = self
            .storage
            .read(&self.segment)
            .map_err(|e| self.place(seq).fault(format!("cannot open: {e}")))?;
        self.current = Some(Lines::new(file));
        Ok(())
    }

    /// Number and predecessor of the line that comes next, if it can be read. Only for telling what went wrong: the
    /// line is consumed.
    fn peek(&mut self) -> Option<(u64, [u8; 32])> {
        let parsed = |found| match found {
            Ok(Found::Line(line)) => Line::parse(line).map(|line| (line.seq, line.prev)),
            _ => None,
        };
        if let Some(lines) = &mut self.current {
            match lines.next() {
                Ok(Found::End) => {}
                found => return parsed(found),
            }
        }
        let name = segment_name(self.ahead.pop_front()?);
        parsed(Lines::new(self.storage.read(&name).ok()?).next())
    }
}
