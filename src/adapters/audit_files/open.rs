//! Opening a trail: proving that it is ours to continue, and repairing what a crash tore.

use signer_actors::domain::ids::AuditId;

use super::chain::{Line, Link};
use super::check::{Broken, Checker};
use super::scan::{Found, Lines, last_line, segment_name, segments, torn_name};
use super::storage::{Segment, Storage};

/// How much of the end is read and verified at least, in bytes: intents older than that have their outcome, because a
/// request lives for seconds. Everything is verified by `signer audit verify`.
const WINDOW_BYTES: u64 = 64 * 1024 * 1024;

/// A trail that can be continued: everything in it is durable.
#[derive(Debug)]
pub(super) struct Opened {
    /// First record of the newest segment.
    pub(super) first: u64,
    pub(super) file: Box<dyn Segment>,
    pub(super) len: u64,
    pub(super) link: Link,
    pub(super) orphans: Vec<AuditId>,
    pub(super) newest: Option<chrono::DateTime<chrono::Utc>>,
}

pub(super) fn open(storage: &dyn Storage) -> Result<Opened, String> {
    let firsts = segments(storage)?;
    let Some((&last, earlier)) = firsts.split_last() else {
        return begin(storage);
    };
    if firsts.first() != Some(&0) {
        return Err(format!(
            "the audit trail does not begin with {}: put the missing segments back, or begin a new trail in an empty directory",
            segment_name(0)
        ));
    }
    let start = window(storage, &firsts)?;
    let mut checker = Checker {
        whole: start == 0,
        ..Checker::default()
    };
    for pair in firsts.get(..=start).unwrap_or_default().windows(2) {
        if let [before, next] = *pair {
            checker.link = tie(storage, before, next)?;
        }
    }
    for first in earlier.get(start..).unwrap_or_default() {
        let (_, torn) = read_segment(storage, *first, &mut checker)?;
        if torn.is_some() {
            return Err(refusal(
                *first,
                &checker,
                "it is truncated in the middle of the trail",
            ));
        }
    }
    let (len, torn) = read_segment(storage, last, &mut checker)?;
    let name = segment_name(last);
    let mut file = storage
        .open(&name, false)
        .map_err(|e| format!("cannot open {name}: {e}"))?;
    if let Some(torn) = torn {
        keep_torn(storage, last, &torn)?;
        file.truncate(len)
            .map_err(|e| format!("cannot cut the torn line off {name}: {e}"))?;
    }
    // What a crashed process appended may not be on disk yet; and if its last sync failed, the pages are clean all the
    // same, so they are written again. Earlier segments were synced before the next one began.
    storage
        .rewrite(&name, len)
        .and_then(|()| file.sync())
        .and_then(|()| storage.sync_names())
        .map_err(|e| format!("cannot sync {name}: {e}"))?;
    Ok(Opened {
        first: last,
        file,
        len,
        link: checker.link,
        orphans: checker.open.into_iter().collect(),
        newest: checker.newest,
    })
}

fn begin(storage: &dyn Storage) -> Result<Opened, String> {
    let name = segment_name(0);
    let file = storage
        .open(&name, true)
        .and_then(|file| storage.sync_names().map(|()| file))
        .map_err(|e| format!("cannot create {name}: {e}"))?;
    Ok(Opened {
        first: 0,
        file,
        len: 0,
        link: Link::default(),
        orphans: Vec::new(),
        newest: None,
    })
}

/// Index of the segment where reading begins.
fn window(storage: &dyn Storage, firsts: &[u64]) -> Result<usize, String> {
    let mut covered = 0;
    for (index, first) in firsts.iter().enumerate().rev() {
        let name = segment_name(*first);
        covered += storage
            .read(&name)
            .and_then(|file| file.len())
            .map_err(|e| format!("cannot read {name}: {e}"))?;
        if covered >= WINDOW_BYTES {
            return Ok(index);
        }
    }
    Ok(0)
}

/// Proves that one segment goes on where the one before it ends, without reading either.
fn tie(storage: &dyn Storage, before: u64, next: u64) -> Result<Link, String> {
    let (name, next_name) = (segment_name(before), segment_name(next));
    let unreadable = |e| format!("cannot read {name}: {e}");
    let file = storage.read(&name).map_err(unreadable)?;
    let end = file
        .len()
        .and_then(|len| last_line(file.as_ref(), len))
        .map_err(unreadable)?;
    let mut link = Link {
        seq: before,
        ..Link::default()
    };
    match end.as_deref().map(|line| (line, Line::parse(line))) {
        Some((bytes, Some(line))) => {
            link.seq = line.seq;
            link.advance(bytes);
        }
        _ => {
            return Err(format!(
                "the audit trail is broken: {name} does not end with a record"
            ));
        }
    }
    let file = storage
        .read(&next_name)
        .map_err(|e| format!("cannot read {next_name}: {e}"))?;
    let tied = match Lines::new(file)
        .next()
        .map_err(|e| format!("cannot read {next_name}: {e}"))?
    {
        Found::Line(line) => Line::parse(line).is_some_and(|line| line.prev == link.prev),
        // The newest segment may be empty or torn; its own reading tells.
        _ => true,
    };
    if link.seq == next && tied {
        Ok(link)
    } else {
        Err(format!(
            "the audit trail is broken: {next_name} does not go on where {name} ends"
        ))
    }
}

/// Verifies a segment; gives the length of its whole lines, and what is torn behind them.
fn read_segment(
    storage: &dyn Storage,
    first: u64,
    checker: &mut Checker,
) -> Result<(u64, Option<Vec<u8>>), String> {
    let name = segment_name(first);
    if first != checker.link.seq {
        return Err(refusal(first, checker, "the segment does not begin with it"));
    }
    let mut lines = Lines::new(
        storage
            .read(&name)
            .map_err(|e| format!("cannot open {name}: {e}"))?,
    );
    loop {
        let whole = lines.position();
        match lines.next().map_err(|e| format!("cannot read {name}: {e}"))? {
            Found::Line(line) => checker.accept(line).map_err(|broken| {
                let what = match broken {
                    Broken::Framing => "it is no line of a trail".to_owned(),
                    Broken::Number { found, .. } => format!("it is numbered {found}"),
                    Broken::Previous => "it does not follow the record before it".to_owned(),
                    Broken::Content(what) => what,
                };
                refusal(first, checker, &what)
            })?,
            Found::Torn(torn) => return Ok((whole, Some(torn.to_vec()))),
            Found::TooLong => return Err(refusal(first, checker, "it is longer than a line can be")),
            Found::End => return Ok((whole, None)),
        }
    }
}

fn refusal(first: u64, checker: &Checker, what: &str) -> String {
    format!(
        "the audit trail is broken at record {} in {}: {what}; run `signer audit verify`, keep the directory as evidence and \
         begin a new trail in an empty one",
        checker.link.seq,
        segment_name(first)
    )
}

/// A torn line was never durable as a whole, so nobody was answered on its strength; it is kept all the same.
fn keep_torn(storage: &dyn Storage, first: u64, torn: &[u8]) -> Result<(), String> {
    let name = torn_name(first);
    let failed = |e| format!("cannot keep the torn line in {name}: {e}");
    let mut copy = storage.open(&name, true).map_err(failed)?;
    let mut rest: &[u8] = &[torn, b"\n"].concat();
    while !rest.is_empty() {
        let written = copy.append(rest).map_err(failed)?;
        rest = match rest.get(written..) {
            Some(rest) if written > 0 => rest,
            _ => return Err(failed(std::io::Error::other("short write"))),
        };
    }
    copy.sync().and_then(|()| storage.sync_names()).map_err(failed)
}
