//! What a certificate transparency log has signed of a certificate (RFC 6962 §3.2): the `TBSCertificate` as it was before
//! the log's promises were put into it.

use super::der::{CONTEXT_3, OCTET_STRING, OID, Reader, SEQUENCE, only};
use super::fields::Fields;

/// The list of signed certificate timestamps, 1.3.6.1.4.1.11129.2.4.2 (RFC 6962 §3.3).
const OID_SCT_LIST: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];

/// A certificate without the promises in it.
#[derive(Debug)]
pub(crate) struct Precertificate<'a> {
    /// `TBSCertificate` without the list, in DER.
    pub(crate) tbs: Vec<u8>,
    /// `SignedCertificateTimestampList` (RFC 6962 §3.3), as the certificate carries it.
    pub(crate) promises: &'a [u8],
}

impl<'a> Precertificate<'a> {
    /// Takes the list out of a certificate in DER; `None` in it: there is none.
    ///
    /// # Errors
    /// The certificate is not strict DER, or has an extension twice.
    pub(crate) fn of(der: &'a [u8]) -> Result<Option<Self>, String> {
        let malformed = || "the certificate is not strict DER (RFC 5280 §4.1)".to_owned();
        let fields = Fields::read(der).ok_or_else(malformed)?;
        fields.check_extensions()?;
        let Some(list) = fields.value_of(OID_SCT_LIST) else {
            return Ok(None);
        };
        let promises = only(list, OCTET_STRING)
            .ok_or("the certificate's list of signed certificate timestamps is malformed (RFC 6962 §3.3)")?;
        let tbs = without_list(der).ok_or_else(malformed)?;
        Ok(Some(Self { tbs, promises }))
    }
}

/// Everything else stays byte by byte; only the three lengths around the list are written anew.
fn without_list(der: &[u8]) -> Option<Vec<u8>> {
    let content = Reader::new(only(der, SEQUENCE)?).expect(SEQUENCE)?;
    let mut reader = Reader::new(content);
    while reader.peek()? != CONTEXT_3 {
        reader.any()?;
    }
    // Extensions are last (RFC 5280 §4.1).
    let before = content.get(..content.len().checked_sub(reader.rest().len())?)?;
    let mut list = Reader::new(only(only(reader.rest(), CONTEXT_3)?, SEQUENCE)?);
    let mut kept = Vec::with_capacity(content.len());
    while !list.is_empty() {
        let extension = list.whole(SEQUENCE)?;
        if Reader::new(only(extension, SEQUENCE)?).expect(OID)? != OID_SCT_LIST {
            kept.extend_from_slice(extension);
        }
    }
    // A list without any extension would be left out altogether; leaves of Fulcio have others.
    if kept.is_empty() {
        return None;
    }
    let extensions = wrapped(CONTEXT_3, &wrapped(SEQUENCE, &kept)?)?;
    wrapped(SEQUENCE, &[before, &extensions].concat())
}

/// An element with the shortest length (X.690 §10.1).
fn wrapped(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(content.len()).ok()?.to_be_bytes();
    let digits: Vec<u8> = length.into_iter().skip_while(|octet| *octet == 0).collect();
    let mut whole = vec![tag];
    match *digits.as_slice() {
        [] => whole.push(0),
        [short] if short < 0x80 => whole.push(short),
        _ => {
            whole.push(0x80 | u8::try_from(digits.len()).ok()?);
            whole.extend_from_slice(&digits);
        }
    }
    whole.extend_from_slice(content);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_the_shortest() {
        for (length, head) in [
            (0, &[0x30, 0][..]),
            (0x7f, &[0x30, 0x7f]),
            (0x80, &[0x30, 0x81, 0x80]),
            (0x100, &[0x30, 0x82, 1, 0]),
        ] {
            let content = vec![7; length];
            let whole = wrapped(SEQUENCE, &content).unwrap();
            assert!(whole.starts_with(head), "{length}");
            assert_eq!(only(&whole, SEQUENCE), Some(&content[..]));
        }
    }
}
