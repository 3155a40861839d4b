//! A root object in one walk: one member into canonical form, the others checked and left as they stand.

use std::ops::Range;

use super::MAX_NAME_BYTES;
use super::noted::Noted;
use super::number::Numbers;
use super::scanner::Scanner;
use super::stream::Stream;

/// Most other members.
const MOST: usize = 64;
/// Inside of the root object.
const DEPTH: usize = 1;

/// A root object, one of whose members is elsewhere, in canonical form.
#[derive(Debug)]
pub struct Parted<'t> {
    /// Names and values of all others, in the order of the text: no name twice, values as [`super::strict_scan`] wants them.
    pub others: Vec<(&'t str, &'t str)>,
    /// How long the member's value was, in bytes.
    pub received: usize,
    /// Where in the buffer its own members are that were wanted, as [`super::canonicalize_noting`] tells it.
    pub noted: Vec<Option<Range<usize>>>,
}

/// Appends the canonical form of the root's member `name`, which must be an object, to `out`. `wanted` as for
/// [`super::canonicalize_noting`].
///
/// `None`, and `out` as it was: there is no such object, something is wrong anywhere in the text, or it is unusual (a name
/// of the root with escapes, more than 64 others). This is the short way for texts as they should be; a longer one says
/// what is wrong.
pub fn part<'t>(text: &'t str, name: &str, out: &mut Vec<u8>, wanted: &[&'static str]) -> Option<Parted<'t>> {
    let start = out.len();
    let parted = walk(text, name, out, wanted);
    if parted.is_none() {
        out.truncate(start);
    }
    parted
}

fn walk<'t>(text: &'t str, name: &str, out: &mut Vec<u8>, wanted: &[&'static str]) -> Option<Parted<'t>> {
    let mut scanner = Scanner::new(text);
    let (mut others, mut scratch, mut one) = (Vec::new(), Vec::new(), None);
    scanner.skip_whitespace();
    if !scanner.take(b'{') {
        return None;
    }
    loop {
        scanner.skip_whitespace();
        let found = plain_name(&mut scanner)?;
        let at = scanner.offset();
        if found == name {
            if one.is_some() || scanner.peek() != Some(b'{') {
                return None;
            }
            let stream = Stream::on(scanner, Numbers::Canonical, out, Some(Noted::new(wanted)));
            let (behind, noted) = stream.value_of_root(DEPTH).ok()?;
            one = Some((behind.offset() - at, noted));
            scanner = behind;
        } else {
            if others.len() == MOST || others.iter().any(|(earlier, _)| *earlier == found) {
                return None;
            }
            scratch.clear();
            let stream = Stream::on(scanner, Numbers::Verbatim, &mut scratch, None);
            (scanner, _) = stream.value_of_root(DEPTH).ok()?;
            others.push((found, scanner.since(at)));
        }
        scanner.skip_whitespace();
        if !scanner.take(b',') {
            break;
        }
    }
    let closed = scanner.take(b'}');
    scanner.skip_whitespace();
    let (received, noted) = one.filter(|_| closed && scanner.peek().is_none())?;
    Some(Parted {
        others,
        received,
        noted,
    })
}

/// A member's name and the colon behind it.
fn plain_name<'t>(scanner: &mut Scanner<'t>) -> Option<&'t str> {
    if !scanner.take(b'"') {
        return None;
    }
    let name = scanner.plain();
    if name.len() > MAX_NAME_BYTES || !scanner.take(b'"') {
        return None;
    }
    scanner.skip_whitespace();
    let colon = scanner.take(b':');
    scanner.skip_whitespace();
    colon.then_some(name)
}
