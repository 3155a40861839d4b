//! Where members of the outermost object came to stand: what is looked at of a predicate needs no second reading.

use std::ops::Range;

/// Longer names are never looked for, in bytes.
const LONGEST: usize = 32;

/// Members of the outermost object that are looked for, and where their values are.
#[derive(Debug)]
pub(super) struct Noted<'n> {
    /// In byte order; plain names, so that the canonical text shows them as they are.
    wanted: &'n [&'static str],
    /// One for each that is wanted. From the start of the canonical text.
    found: Vec<Option<Range<usize>>>,
}

impl<'n> Noted<'n> {
    pub(super) fn new(wanted: &'n [&'static str]) -> Self {
        Self {
            wanted,
            found: vec![None; wanted.len()],
        }
    }

    /// A member in its final place: `text` is the canonical text so far, `member` where the member is in it.
    pub(super) fn note(&mut self, text: &[u8], member: Range<usize>) {
        // Behind the quote of the name.
        let name = member.start + 1;
        let rest = text.get(name..member.end).unwrap_or_default();
        let Some(len) = rest.iter().take(LONGEST + 1).position(|byte| *byte == b'"') else {
            return;
        };
        let found = rest.get(..len).unwrap_or_default();
        let place = self
            .wanted
            .binary_search_by(|wanted| wanted.as_bytes().cmp(found));
        // Behind the name come a quote and a colon.
        if let Some(slot) = place.ok().and_then(|place| self.found.get_mut(place)) {
            *slot = Some(name + len + 2..member.end);
        }
    }

    /// What was found, counted from this much further back.
    pub(super) fn behind(self, before: usize) -> Vec<Option<Range<usize>>> {
        let moved = |range: Range<usize>| range.start + before..range.end + before;
        self.found.into_iter().map(|found| found.map(moved)).collect()
    }
}
