//! Reading segments: their names in order, and their lines, bounded.

use std::io;

use super::chain::MAX_LINE_BYTES;
use super::storage::{Segment, Storage};

const PREFIX: &str = "trail-";
const SUFFIX: &str = ".jsonl";
/// Digits of the first number in a segment's name.
const NAME_DIGITS: usize = 20;
/// Bytes asked of the file at once.
const CHUNK: usize = 64 * 1024;

/// The name of the segment that begins with this record.
pub(super) fn segment_name(first: u64) -> String {
    format!("{PREFIX}{first:020}{SUFFIX}")
}

/// Where what was torn off a segment is kept.
pub(super) fn torn_name(first: u64) -> String {
    format!("{PREFIX}{first:020}.torn")
}

/// First numbers of all segments, ascending. A name that only looks like a segment's is an error that says so.
pub(super) fn segments(storage: &dyn Storage) -> Result<Vec<u64>, String> {
    let names = storage
        .names()
        .map_err(|e| format!("cannot list the audit directory: {e}"))?;
    let mut firsts = Vec::new();
    for name in names {
        let Some(number) = name.strip_prefix(PREFIX).and_then(|n| n.strip_suffix(SUFFIX)) else {
            continue;
        };
        match number.parse::<u64>() {
            Ok(first) if number.len() == NAME_DIGITS => firsts.push(first),
            _ => return Err(format!("{name:?} is not the name of a segment: move it away")),
        }
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// What [`Lines::next`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A line, without its line feed.
    Line(&'a [u8]),
    /// Bytes at the end without a line feed: a torn write.
    Torn(&'a [u8]),
    /// More bytes without a line feed than a line may have.
    TooLong,
    /// The end, after a line feed or in an empty file.
    End,
}

/// The lines of one segment, from an offset on.
#[derive(Debug)]
pub(super) struct Lines {
    file: Box<dyn Segment>,
    /// Offset in the file of the next byte to read.
    offset: u64,
    buffer: Vec<u8>,
    /// First byte of the buffer not yet handed out.
    start: usize,
    ended: bool,
}

impl Lines {
    pub(super) fn new(file: Box<dyn Segment>) -> Self {
        Self {
            file,
            offset: 0,
            buffer: Vec::new(),
            start: 0,
            ended: false,
        }
    }

    /// Offset in the file just behind what was handed out.
    pub(super) fn position(&self) -> u64 {
        self.offset
            .saturating_sub((self.buffer.len() - self.start) as u64)
    }

    pub(super) fn next(&mut self) -> io::Result<Found<'_>> {
        let mut searched = 0;
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            let found = rest
                .get(searched..)
                .unwrap_or_default()
                .iter()
                .position(|b| *b == b'\n');
            if let Some(at) = found {
                let (from, to) = (self.start, self.start + searched + at);
                self.start = to + 1;
                return Ok(match self.buffer.get(from..to) {
                    Some(line) if line.len() <= MAX_LINE_BYTES => Found::Line(line),
                    _ => Found::TooLong,
                });
            }
            searched = rest.len();
            if searched > MAX_LINE_BYTES {
                return Ok(Found::TooLong);
            }
            if self.ended {
                let from = std::mem::replace(&mut self.start, self.buffer.len());
                return Ok(match self.buffer.get(from..).unwrap_or_default() {
                    [] => Found::End,
                    torn => Found::Torn(torn),
                });
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let kept = self.buffer.len();
        self.buffer.resize(kept + CHUNK, 0);
        let room = self.buffer.get_mut(kept..).unwrap_or_default();
        let read = loop {
            match self.file.read_at(room, self.offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let read = read.inspect_err(|_| self.buffer.truncate(kept))?;
        self.buffer.truncate(kept + read);
        self.offset += read as u64;
        self.ended = read == 0;
        Ok(())
    }
}

/// The last line, without its line feed, of the first `len` bytes of a file; `None` if those do not end with a line
/// feed or the line is too long.
pub(super) fn last_line(file: &dyn Segment, len: u64) -> io::Result<Option<Vec<u8>>> {
    // The line, its line feed, and the one before it.
    let from = len.saturating_sub(MAX_LINE_BYTES as u64 + 2);
    let mut tail = vec![0; usize::try_from(len - from).unwrap_or_default()];
    let mut filled = 0;
    while let Some(room) = tail.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, from + filled as u64) {
            Ok(0) => return Ok(None),
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let Some(tail) = tail.strip_suffix(b"\n") else {
        return Ok(None);
    };
    Ok(match tail.iter().rposition(|b| *b == b'\n') {
        Some(at) => tail.get(at + 1..).map(<[u8]>::to_vec),
        None if from == 0 => Some(tail.to_vec()),
        None => None,
    })
}
