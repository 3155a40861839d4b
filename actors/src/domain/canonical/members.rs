//! The members of the objects that are open: which names they have, and in what order they belong (RFC 8785 §3.2.3).

use std::cmp::Ordering;

use super::noted::Noted;

/// One member, already written. Offsets count from where the canonical text begins; 16 bytes, for there may be
/// millions.
#[derive(Clone, Copy, Debug)]
struct Member {
    /// Where its name's quote is.
    start: u32,
    /// Behind its value.
    end: u32,
    /// Where its name is in `Members::unescaped`, if `escaped`.
    name_start: u32,
    /// Length of the unescaped name, in bytes.
    name_len: u16,
    /// The canonical text shows the name with escapes, so it must not be compared there.
    escaped: bool,
}

/// A stack of members: those of the innermost open object are on top.
#[derive(Debug, Default)]
pub(super) struct Members {
    stack: Vec<Member>,
    /// Names that have escapes in canonical form, without them.
    unescaped: String,
    /// Reused to put members in order: their first bytes beside them, and the text that moves.
    keyed: Vec<(u64, Member)>,
    moved: Vec<u8>,
}

/// Where an object's members begin in the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    members: usize,
    unescaped: usize,
}

/// There is a name that occurs twice.
#[derive(Debug)]
pub(super) struct Duplicate;

/// A text or name beyond what offsets can count (4 GiB, 64 KiB).
#[derive(Debug)]
pub(super) struct TooLong;

impl Members {
    pub(super) fn open(&self) -> Object {
        Object {
            members: self.stack.len(),
            unescaped: self.unescaped.len(),
        }
    }

    /// The store for a name with escapes: append it, then [`Self::begin`] with its length.
    pub(super) fn unescaped(&mut self) -> &mut String {
        &mut self.unescaped
    }

    /// The last `len` bytes of that store.
    pub(super) fn last_unescaped(&self, len: usize) -> &str {
        let start = self.unescaped.len().saturating_sub(len);
        self.unescaped.get(start..).unwrap_or_default()
    }

    /// Notes a member whose name is about to be written at `start`.
    pub(super) fn begin(&mut self, start: usize, name_len: usize, escaped: bool) -> Result<(), TooLong> {
        let name_start = self.unescaped.len().saturating_sub(name_len);
        self.stack.push(Member {
            start: u32::try_from(start).map_err(|_| TooLong)?,
            end: 0,
            name_start: u32::try_from(name_start).map_err(|_| TooLong)?,
            name_len: u16::try_from(name_len).map_err(|_| TooLong)?,
            escaped,
        });
        Ok(())
    }

    /// Notes where the value of the member on top ends.
    pub(super) fn end(&mut self, end: usize) -> Result<(), TooLong> {
        if let Some(top) = self.stack.last_mut() {
            top.end = u32::try_from(end).map_err(|_| TooLong)?;
        }
        Ok(())
    }

    /// Puts the members of a finished object in order and forgets them. `text` is the canonical text so far, which
    /// ends with the last member. Where they end up is told to `noted`.
    pub(super) fn close(
        &mut self,
        object: Object,
        text: &mut Text<'_>,
        noted: Option<&mut Noted<'_>>,
    ) -> Result<(), Duplicate> {
        let names = Names {
            text: text.so_far(),
            unescaped: self.unescaped.as_bytes(),
        };
        let members = self.stack.get(object.members..).unwrap_or_default();
        if !members.is_sorted_by(|a, b| names.compare(a, b) == Ordering::Less) {
            let start = members.first().map_or(0, |first| first.start as usize);
            names.sort(members, &mut self.keyed);
            // Neighbours that are not in order are equal.
            let follows = |a: &(u64, Member), b: &(u64, Member)| {
                a.0 < b.0 || names.compare(&a.1, &b.1) == Ordering::Less
            };
            if !self.keyed.is_sorted_by(follows) {
                return Err(Duplicate);
            }
            rewrite(&self.keyed, start, text, &mut self.moved);
            if let Some(noted) = noted {
                let mut at = start;
                for (_, member) in &self.keyed {
                    let end = at + (member.end - member.start) as usize;
                    noted.note(text.so_far(), at..end);
                    // Behind the comma.
                    at = end + 1;
                }
            }
        } else if let Some(noted) = noted {
            for member in members {
                noted.note(text.so_far(), member.start as usize..member.end as usize);
            }
        }
        self.stack.truncate(object.members);
        self.unescaped.truncate(object.unescaped);
        Ok(())
    }
}

/// Writes members anew, in the order given, over where they stood: from `start` to the end.
fn rewrite(members: &[(u64, Member)], start: usize, text: &mut Text<'_>, moved: &mut Vec<u8>) {
    moved.clear();
    moved.extend_from_slice(text.so_far().get(start..).unwrap_or_default());
    text.truncate(start);
    for (index, (_, member)) in members.iter().enumerate() {
        if index > 0 {
            text.out.push(b',');
        }
        let range = member.start as usize - start..member.end as usize - start;
        text.out.extend_from_slice(moved.get(range).unwrap_or_default());
    }
}

/// The canonical text being written, behind whatever its buffer held before.
#[derive(Debug)]
pub(super) struct Text<'o> {
    pub(super) out: &'o mut Vec<u8>,
    before: usize,
}

impl<'o> Text<'o> {
    pub(super) fn behind(out: &'o mut Vec<u8>) -> Self {
        let before = out.len();
        Self { out, before }
    }

    /// Length of the canonical text.
    pub(super) fn len(&self) -> usize {
        self.out.len() - self.before
    }

    /// Length of what its buffer held before.
    pub(super) fn before(&self) -> usize {
        self.before
    }

    fn so_far(&self) -> &[u8] {
        self.out.get(self.before..).unwrap_or_default()
    }

    fn truncate(&mut self, len: usize) {
        self.out.truncate(self.before + len);
    }
}

/// Where names are.
#[derive(Clone, Copy)]
struct Names<'a> {
    text: &'a [u8],
    unescaped: &'a [u8],
}

impl<'a> Names<'a> {
    /// Sorts members into `keyed`. Names differ early, as a rule, and those of a large object are far apart in memory:
    /// so their first eight bytes are compared before the names themselves.
    fn sort(self, members: &[Member], keyed: &mut Vec<(u64, Member)>) {
        keyed.clear();
        keyed.extend(members.iter().map(|member| (self.key(member), *member)));
        keyed.sort_unstable_by(|(a_key, a), (b_key, b)| a_key.cmp(b_key).then_with(|| self.compare(a, b)));
    }

    /// The first eight bytes of a name as [`compare`] ranks them; zeros behind a shorter name.
    fn key(self, member: &Member) -> u64 {
        let bytes = self.name(member).iter().map(|&byte| rank(byte));
        let mut key = [0; 8];
        key.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        u64::from_be_bytes(key)
    }

    fn compare(self, a: &Member, b: &Member) -> Ordering {
        compare(self.name(a), self.name(b))
    }

    fn name(self, member: &Member) -> &'a [u8] {
        let (within, start) = if member.escaped {
            (self.unescaped, member.name_start as usize)
        } else {
            // Behind the quote.
            (self.text, member.start as usize + 1)
        };
        within
            .get(start..start + usize::from(member.name_len))
            .unwrap_or_default()
    }
}

/// Compares two UTF-8 texts by their UTF-16 code units.
///
/// UTF-8 sorts as code points do, and UTF-16 differs from that in one thing: supplementary characters (first byte 0xF0
/// and above), being surrogates, come before U+E000 to U+FFFF (first byte 0xEE or 0xEF).
pub(super) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    // Where one is ASCII the first difference is an ASCII byte; the fast way.
    if a.is_ascii() || b.is_ascii() {
        return a.cmp(b);
    }
    let first_difference = a.iter().zip(b).find(|(a, b)| a != b);
    match first_difference {
        Some((&a, &b)) => rank(a).cmp(&rank(b)),
        None => a.len().cmp(&b.len()),
    }
}

/// The place of a UTF-8 byte in the order of UTF-16: 0xEE and 0xEF behind all others.
fn rank(byte: u8) -> u8 {
    match byte {
        0xEE | 0xEF => byte + 0x10,
        other => other,
    }
}
