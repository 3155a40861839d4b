//! A strict reader for the little DER (X.690 §10) that OpenSSL's binding does not reach: extensions by identifier.

/// Tags that are read here (X.690 §8.1.2, low-tag-number form only).
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// The first of the context-specific tags of constructed elements (X.690 §8.1.2.2): `[0]`, `[1]` follows.
pub(crate) const CONTEXT_0: u8 = 0xa0;
pub(crate) const CONTEXT_1: u8 = 0xa1;
pub(crate) const CONTEXT_3: u8 = 0xa3;

/// Reads elements one after another from a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The tag of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, whatever its tag: tag and content.
    pub(crate) fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        // High tag numbers take more bytes (X.690 §8.1.2.4); nothing read here has them.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, rest) = read_length(rest)?;
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.any()?;
        (found == tag).then_some(content)
    }

    /// The next element as it stands, with its tag and length; it must have this tag.
    pub(crate) fn whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = self.0;
        self.expect(tag)?;
        before.get(..before.len().checked_sub(self.0.len())?)
    }

    /// The content of the next element if it has this tag; otherwise nothing is read.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.peek() == Some(tag) {
            return self.expect(tag).map(Some);
        }
        Some(None)
    }
}

/// The one element that a slice consists of.
pub(crate) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let content = reader.expect(tag)?;
    reader.is_empty().then_some(content)
}

/// The content of a BOOLEAN (X.690 §11.1). FALSE where it is the default should be left out, and often is not.
pub(crate) fn boolean(content: &[u8]) -> Option<bool> {
    match content {
        [0xff] => Some(true),
        [0x00] => Some(false),
        _ => None,
    }
}

/// The content of an INTEGER that is small and not negative (X.690 §8.3).
pub(crate) fn small_integer(content: &[u8]) -> Option<u64> {
    let digits = unsigned_integer(content)?;
    if digits.len() > 8 {
        return None;
    }
    Some(digits.iter().fold(0, |sum, octet| (sum << 8) | u64::from(*octet)))
}

/// The content of an INTEGER that is not negative, of as few octets as possible (X.690 §8.3.2), without the zero octet in
/// front of its first bit.
pub(crate) fn unsigned_integer(content: &[u8]) -> Option<&[u8]> {
    match content {
        [] | [0x80..=0xff, ..] | [0, 0..0x80, ..] => None,
        [0, rest @ ..] if !rest.is_empty() => Some(rest),
        all => Some(all),
    }
}

/// The UTF8String that a slice consists of.
pub(crate) fn utf8_string(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(only(bytes, UTF8_STRING)?).ok()
}

/// Definite form, minimal (X.690 §10.1), at most three length octets: 16 MiB.
fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((usize::from(first), rest));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=3).contains(&count) {
        return None;
    }
    let (octets, rest) = rest.split_at_checked(count)?;
    let length = octets
        .iter()
        .fold(0usize, |sum, octet| (sum << 8) | usize::from(*octet));
    let minimal = length >= 0x80 && octets.first() != Some(&0);
    minimal.then_some((length, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_minimal_and_inside() {
        assert_eq!(only(&[0x04, 0x01, 0xaa], OCTET_STRING), Some(&[0xaa][..]));
        let long = [&[0x04, 0x81, 0x80][..], &[7; 128]].concat();
        assert_eq!(only(&long, OCTET_STRING).map(<[u8]>::len), Some(128));
        for bad in [
            &[0x04][..],
            &[0x04, 0x02, 0xaa],             // longer than its input
            &[0x04, 0x81, 0x01, 0xaa],       // not minimal
            &[0x04, 0x82, 0x00, 0x80],       // leading zero
            &[0x04, 0x80, 0xaa, 0, 0],       // indefinite
            &[0x04, 0x84, 0, 0, 0, 1, 0xaa], // longer than three octets
            &[0x04, 0x01, 0xaa, 0x00],       // something follows
            &[0x1f, 0x01, 0xaa],             // high tag number
            &[0x05, 0x01, 0xaa],             // another tag
        ] {
            assert_eq!(only(bad, OCTET_STRING), None, "{bad:02x?}");
        }
    }

    #[test]
    fn elements_are_taken_whole() {
        let mut reader = Reader::new(&[0x30, 0x02, 0x05, 0x00, 0x04, 0x00]);
        assert_eq!(reader.whole(SEQUENCE), Some(&[0x30, 0x02, 0x05, 0x00][..]));
        assert_eq!(reader.whole(SEQUENCE), None);
    }

    #[test]
    fn numbers_are_positive_and_short() {
        for (content, expected) in [
            (&[0x00][..], Some(0)),
            (&[0x7f], Some(0x7f)),
            (&[0x00, 0x80], Some(0x80)),
            (&[0x01, 0x00], Some(0x100)),
            (&[], None),
            (&[0x80], None),
            (&[0x00, 0x7f], None),
            (&[0x00, 0x00], None),
            (&[1; 9], None),
        ] {
            assert_eq!(small_integer(content), expected, "{content:02x?}");
        }
        assert_eq!(unsigned_integer(&[1; 9]), Some(&[1; 9][..]));
        assert_eq!(
            [&[0xff][..], &[0], &[1], &[]].map(boolean),
            [Some(true), Some(false), None, None]
        );
    }

    #[test]
    fn strings_are_strict() {
        assert_eq!(utf8_string(b"\x0c\x02hi"), Some("hi"));
        for bad in [
            &b""[..],
            b"\x0c",
            b"\x0c\x02h",
            b"\x0c\x02hi!",
            b"\x13\x02hi",
            b"\x0c\x81\x02hi",
            b"\x0c\x80hi\0\0",
            b"\x0c\x02\xff\xfe",
            b"\x0c\x84\x00\x00\x00\x02hi",
        ] {
            assert_eq!(utf8_string(bad), None, "{bad:x?}");
        }
        let long = [&b"\x0c\x81\x80"[..], &[b'a'; 128]].concat();
        assert_eq!(utf8_string(&long).unwrap().len(), 128);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = utf8_string(&bytes);
            let mut reader = Reader::new(&bytes);
            while reader.any().is_some() {}
        }
    }
}
