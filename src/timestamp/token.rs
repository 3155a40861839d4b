//! `TSTInfo` (RFC 3161 §2.4.2): what an authority signs.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::algorithms::Hash;
use super::{Failure, invalid, unacceptable};
use crate::x509::der::{
    self, BOOLEAN, CONTEXT_0, CONTEXT_1, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, only,
};

/// The longest serial number and nonce, in octets ("up to 160 bits", RFC 3161 §2.4.2; some authorities need more).
const MAX_NUMBER: usize = 32;

/// A timestamp's content.
#[derive(Debug)]
pub(super) struct TstInfo<'a> {
    /// Content of `hashAlgorithm` in the imprint.
    algorithm: &'a [u8],
    hashed: &'a [u8],
    pub(super) serial: &'a [u8],
    pub(super) time: DateTime<Utc>,
    pub(super) accuracy: TimeDelta,
    pub(super) nonce: Option<&'a [u8]>,
}

impl<'a> TstInfo<'a> {
    pub(super) fn read(der: &'a [u8]) -> Option<Self> {
        let mut info = Reader::new(only(der, SEQUENCE)?);
        if der::small_integer(info.expect(INTEGER)?)? != 1 {
            return None;
        }
        info.expect(OID)?; // policy
        let mut imprint = Reader::new(info.expect(SEQUENCE)?);
        let (algorithm, hashed) = (imprint.expect(SEQUENCE)?, imprint.expect(OCTET_STRING)?);
        // An identifier: authorities have given negative ones.
        let serial = info.expect(INTEGER)?;
        if !(1..=MAX_NUMBER).contains(&serial.len()) {
            return None;
        }
        let time = generalized_time(info.expect(GENERALIZED_TIME)?)?;
        let accuracy = info
            .optional(SEQUENCE)?
            .map_or(Some(TimeDelta::zero()), accuracy)?;
        if let Some(ordering) = info.optional(BOOLEAN)? {
            der::boolean(ordering)?;
        }
        let nonce = match info.optional(INTEGER)? {
            Some(content) => Some(number(content)?),
            None => None,
        };
        // The name of the authority is a hint: its certificate is identified by its hash (RFC 3161 §2.4.2).
        info.optional(CONTEXT_0)?;
        if let Some(list) = info.optional(CONTEXT_1)? {
            check_extensions(list)?;
        }
        (imprint.is_empty() && info.is_empty()).then_some(Self {
            algorithm,
            hashed,
            serial,
            time,
            accuracy,
            nonce,
        })
    }

    /// The imprint must be of these bytes, by a hash that is believed. Returns which.
    pub(super) fn check_imprint(&self, message: &[u8]) -> Result<Hash, Failure> {
        let hash = Hash::read(self.algorithm)
            .ok_or_else(|| unacceptable("the timestamp's hash is none of SHA-256, SHA-384, SHA-512"))?;
        if hash.of(message).as_deref() != Some(self.hashed) {
            return Err(invalid("the timestamp is over something else"));
        }
        Ok(hash)
    }
}

/// A number that is not negative.
fn number(content: &[u8]) -> Option<&[u8]> {
    der::unsigned_integer(content).filter(|digits| digits.len() <= MAX_NUMBER)
}

/// `YYYYMMDDhhmmss[.f…]Z`, no zeros at the end of the fraction (RFC 3161 §2.4.2).
fn generalized_time(content: &[u8]) -> Option<DateTime<Utc>> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    if whole.len() != 14 || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| whole.get(from..to)?.parse::<u32>().ok();
    let year = i32::try_from(part(0, 4)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, part(4, 6)?, part(6, 8)?)?;
    let nanoseconds = fraction.map_or(Some(0), nanoseconds)?;
    let time = date.and_hms_nano_opt(part(8, 10)?, part(10, 12)?, part(12, 14)?, nanoseconds)?;
    Some(time.and_utc())
}

/// What is finer than a nanosecond is cut off.
fn nanoseconds(fraction: &str) -> Option<u32> {
    let digits = fraction.bytes().all(|b| b.is_ascii_digit()) && (1..=18).contains(&fraction.len());
    if !digits || fraction.ends_with('0') {
        return None;
    }
    let kept = fraction.get(..fraction.len().min(9))?;
    format!("{kept:0<9}").parse().ok()
}

/// `Accuracy`: seconds, `[0]` milliseconds and `[1]` microseconds of 1 to 999.
fn accuracy(content: &[u8]) -> Option<TimeDelta> {
    let mut parts = Reader::new(content);
    let seconds = match parts.optional(INTEGER)? {
        Some(content) => i64::try_from(der::small_integer(content)?).ok()?,
        None => 0,
    };
    let mut thousandths = |tag| match parts.optional(tag)? {
        Some(content) => der::small_integer(content).filter(|value| (1..1000).contains(value)),
        None => Some(0),
    };
    let (millis, micros) = (thousandths(0x80)?, thousandths(0x81)?);
    let fine = i64::try_from(millis * 1000 + micros).ok()?;
    let coarse = TimeDelta::try_seconds(seconds)?;
    parts
        .is_empty()
        .then(|| coarse.checked_add(&TimeDelta::microseconds(fine)))?
}

/// None is known here, so none may be critical (RFC 3161 §2.4.2).
fn check_extensions(list: &[u8]) -> Option<()> {
    let mut list = Reader::new(list);
    while !list.is_empty() {
        let mut extension = Reader::new(list.expect(SEQUENCE)?);
        extension.expect(OID)?;
        if let Some(critical) = extension.optional(BOOLEAN)? {
            der::boolean(critical).filter(|critical| !critical)?;
        }
        extension.expect(OCTET_STRING)?;
        if !extension.is_empty() {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_with_a_fraction_at_most() {
        let unix = |text: &str| generalized_time(text.as_bytes()).map(|time| time.timestamp_micros());
        // RFC 3161 §2.4.2 gives the first as its example; seconds of the epoch by date(1).
        assert_eq!(unix("19990609001326.34352Z"), Some(928_887_206_343_520));
        assert_eq!(unix("20261122184344Z"), Some(1_795_373_024_000_000));
        for bad in [
            "20261122184344",
            "20261122184344.Z",
            "20261122184344.50Z",
            "20261122184344,5Z",
            "20261122184344+0000",
            "202611221843Z",
            "20261322184344Z",
            "20261122184360Z",
            "2026112218434\u{0664}Z",
            "-0261122184344Z",
            "+0261122184344Z",
        ] {
            assert_eq!(unix(bad), None, "{bad}");
        }
    }

    #[test]
    fn accuracies_add_up() {
        // RFC 3161 §2.4.2: IMPLICIT tags.
        let parsed = accuracy(&[0x02, 0x01, 0x02, 0x80, 0x02, 0x01, 0xf4, 0x81, 0x01, 0x07]);
        assert_eq!(parsed, Some(TimeDelta::microseconds(2_500_007)));
        assert_eq!(accuracy(&[]), Some(TimeDelta::zero()));
        for bad in [
            &[0x80, 0x01, 0x00][..],                  // milliseconds from 1
            &[0x80, 0x02, 0x03, 0xe8],                // to 999
            &[0x81, 0x01, 0x01, 0x80, 0x01, 1],       // in order
            &[0x02, 0x01, 0x80],                      // negative
            &[0x02, 0x08, 0x7f, 1, 1, 1, 1, 1, 1, 1], // out of range
        ] {
            assert_eq!(accuracy(bad), None, "{bad:02x?}");
        }
    }
}
