//! A reader of the few DER elements that openssl does not hand out: a certificate's extensions by object identifier
//! (X.690 §10, RFC 5280 §4.1). Strict: definite minimal lengths, no trailing bytes, no extension twice.

/// Longest certificate that is looked at, in bytes.
pub(super) const MAX_CERTIFICATE: usize = 64 * 1024;

/// Most extensions in one certificate.
const MAX_EXTENSIONS: usize = 64;

const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const SEQUENCE: u8 = 0x30;
/// `[3] EXPLICIT Extensions` of TBSCertificate.
const EXTENSIONS: u8 = 0xa3;

/// The bytes are not the DER that was expected.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Object identifier (content octets) and value of every extension, in order.
pub(super) type Extensions<'a> = Vec<(&'a [u8], &'a [u8])>;

/// Reads the extensions of one certificate.
pub(super) fn extensions(certificate: &[u8]) -> Result<Extensions<'_>, Malformed> {
    if certificate.len() > MAX_CERTIFICATE {
        return Err(Malformed);
    }
    let mut certificate = whole(certificate, SEQUENCE)?;
    let mut tbs = expect(&mut certificate, SEQUENCE)?;
    let mut list = None;
    while !tbs.is_empty() {
        let (tag, content) = element(&mut tbs)?;
        if tag == EXTENSIONS && list.replace(content).is_some() {
            return Err(Malformed);
        }
    }
    let Some(list) = list else { return Ok(Vec::new()) };
    let mut list = whole(list, SEQUENCE)?;
    let mut found: Extensions<'_> = Vec::new();
    while !list.is_empty() {
        let extension = extension(expect(&mut list, SEQUENCE)?)?;
        // RFC 5280 §4.2: not more than one instance of a particular extension.
        if found.len() >= MAX_EXTENSIONS || found.iter().any(|(oid, _)| *oid == extension.0) {
            return Err(Malformed);
        }
        found.push(extension);
    }
    Ok(found)
}

/// `SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue }`.
fn extension(mut content: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let oid = expect(&mut content, OBJECT_IDENTIFIER)?;
    if content.first() == Some(&BOOLEAN) {
        expect(&mut content, BOOLEAN)?;
    }
    let value = whole(content, OCTET_STRING)?;
    Ok((oid, value))
}

/// Reads one UTF8String that fills the input.
pub(super) fn utf8_string(value: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(whole(value, UTF8_STRING)?).map_err(|_| Malformed)
}

/// The content of one element of this tag that fills the input.
fn whole(mut input: &[u8], tag: u8) -> Result<&[u8], Malformed> {
    let content = expect(&mut input, tag)?;
    if input.is_empty() {
        Ok(content)
    } else {
        Err(Malformed)
    }
}

/// The content of the next element, which must have this tag.
fn expect<'a>(input: &mut &'a [u8], tag: u8) -> Result<&'a [u8], Malformed> {
    match element(input)? {
        (found, content) if found == tag => Ok(content),
        _ => Err(Malformed),
    }
}

/// Takes the next element off the input.
fn element<'a>(input: &mut &'a [u8]) -> Result<(u8, &'a [u8]), Malformed> {
    let (&tag, rest) = input.split_first().ok_or(Malformed)?;
    // X.690 §8.1.2.4: tag numbers above 30 take several octets; nothing here has one.
    if tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    let (&first, rest) = rest.split_first().ok_or(Malformed)?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        long_length(usize::from(first & 0x7f), rest)?
    };
    let (content, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
    *input = rest;
    Ok((tag, content))
}

/// X.690 §10.1: the fewest octets that hold the length; at most three are needed below the cap.
fn long_length(octets: usize, input: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    if !(1..=3).contains(&octets) {
        return Err(Malformed);
    }
    let (bytes, rest) = input.split_at_checked(octets).ok_or(Malformed)?;
    let length = bytes
        .iter()
        .fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
    let minimal = length >= 0x80 && bytes.first() != Some(&0);
    if minimal {
        Ok((length, rest))
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_strict() {
        assert_eq!(utf8_string(b"\x0c\x02hi"), Ok("hi"));
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
            assert_eq!(utf8_string(bad), Err(Malformed), "{bad:x?}");
        }
        let long = [&b"\x0c\x81\x80"[..], &[b'a'; 128]].concat();
        assert_eq!(utf8_string(&long).unwrap().len(), 128);
    }

    #[test]
    fn a_duplicate_extension_is_refused() {
        let extension = b"\x30\x07\x06\x01\x2a\x04\x02ab";
        let certificate = |list: &[u8]| {
            let wrap = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
            wrap(
                SEQUENCE,
                &wrap(SEQUENCE, &wrap(EXTENSIONS, &wrap(SEQUENCE, list))),
            )
        };
        let one = certificate(extension);
        assert_eq!(extensions(&one), Ok(vec![(&b"\x2a"[..], &b"ab"[..])]));
        assert_eq!(
            extensions(&certificate(&[&extension[..], extension].concat())),
            Err(Malformed)
        );
        assert_eq!(extensions(&[&one[..], b"\0"].concat()), Err(Malformed));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = extensions(&bytes);
            let _ = utf8_string(&bytes);
        }
    }
}
