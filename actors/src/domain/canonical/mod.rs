//! RFC 8785 canonical JSON, as a stream: text in, canonical bytes out, no tree in between.
//!
//! `stream` walks the text and writes as it goes; `members` puts an object's members in order where the text did
//! not; `noted` keeps where some of the outermost ones are; `scanner` reads tokens; `number` and `string` write them. `parted`
//! walks a text of which one member is wanted in canonical form.

mod members;
mod noted;
mod number;
mod parted;
mod scanner;
mod stream;
mod string;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::ops::Range;

use noted::Noted;
use number::Numbers;
pub use parted::{Parted, part};
use scanner::Scanner;
use stream::Stream;

/// Deepest nesting accepted, counted from the root of the request (contract §2.1).
pub const MAX_DEPTH: usize = 64;
/// Longest member name, in bytes of its unescaped UTF-8 (contract §2.1).
pub const MAX_NAME_BYTES: usize = 1024;

/// Why a text has no canonical form. Offsets are bytes from the start of the text given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// Not JSON (RFC 8259), or not I-JSON (RFC 7493 §2.1: lone surrogates).
    #[error("{what} at byte {offset}")]
    Syntax {
        /// What was found.
        what: &'static str,
        /// Where.
        offset: usize,
    },
    /// A member name occurs twice in one object (RFC 7493 §2.3).
    #[error("duplicate member name in the object that ends at byte {offset}")]
    DuplicateName {
        /// Where.
        offset: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels at byte {offset}")]
    TooDeep {
        /// Where.
        offset: usize,
    },
    /// A member name longer than [`MAX_NAME_BYTES`].
    #[error("member name longer than {MAX_NAME_BYTES} bytes at byte {offset}")]
    NameTooLong {
        /// Where.
        offset: usize,
    },
    /// A number whose value an IEEE 754 double cannot hold (RFC 8785 §3.2.2.3).
    #[error("number at byte {offset} has more precision or range than a double: send it as a string")]
    Number {
        /// Where.
        offset: usize,
    },
}

/// Appends the canonical form of one JSON text to `out`. `depth` is how deep the text already sits in its document:
/// the number of arrays and objects around it.
///
/// Takes RFC 8259 text whose member names are unique (RFC 7493 §2.3) and refuses everything else, including text after
/// the value. Time is linear in the text but for the sorting of members, memory beyond `out` is a fraction of it.
/// On an error `out` is as it was.
pub fn canonicalize(text: &str, depth: usize, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    canonicalize_noting(text, depth, out, &[]).map(drop)
}

/// As [`canonicalize`], and says for each of these names where in `out` the value of that member of the outermost object
/// is; nothing where it has none, or is no object. `wanted` is in byte order, each name at most 32 bytes of ASCII that
/// JSON does not escape.
pub fn canonicalize_noting(
    text: &str,
    depth: usize,
    out: &mut Vec<u8>,
    wanted: &[&'static str],
) -> Result<Vec<Option<Range<usize>>>, CanonicalError> {
    let start = out.len();
    let noted = (!wanted.is_empty()).then(|| Noted::new(wanted));
    let result = Stream::on(Scanner::new(text), Numbers::Canonical, out, noted).document(depth);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Checks all that [`canonicalize`] checks except the value of numbers, and writes nothing: for text that is read by
/// other means, which may be less strict (duplicate names, depth, lone surrogates).
pub fn strict_scan(text: &str, depth: usize) -> Result<(), CanonicalError> {
    let mut scratch = Vec::with_capacity(text.len());
    Stream::on(Scanner::new(text), Numbers::Verbatim, &mut scratch, None)
        .document(depth)
        .map(drop)
}

/// Appends a string as RFC 8785 §3.2.2.2 serialises it, quotes included.
pub fn write_string(value: &str, out: &mut Vec<u8>) {
    string::write(value, out);
}

/// The order of member names: by UTF-16 code units (RFC 8785 §3.2.3).
pub fn compare_names(a: &str, b: &str) -> Ordering {
    members::compare(a.as_bytes(), b.as_bytes())
}
