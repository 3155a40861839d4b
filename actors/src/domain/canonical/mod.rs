//! RFC 8785 canonical JSON, as a stream: text in, canonical bytes out, no tree in between.

use std::cmp::Ordering;

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

/// Appends the canonical form of one JSON text to `out`. `depth` is how deep the text already sits in its document.
pub fn canonicalize(text: &str, depth: usize, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    let _ = (text, depth, out);
    Err(CanonicalError::Syntax {
        what: "not written yet",
        offset: 0,
    })
}

/// Appends a string as RFC 8785 §3.2.2.2 serialises it, quotes included.
pub fn write_string(value: &str, out: &mut Vec<u8>) {
    let _ = (value, out);
}

/// The order of member names: by UTF-16 code units (RFC 8785 §3.2.3).
pub fn compare_names(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}
