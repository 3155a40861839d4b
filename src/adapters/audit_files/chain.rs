//! The hash chain: how one line is framed, and how a line is taken apart again. Pure.

use openssl::sha::sha256;
use signer_actors::domain::audit::MAX_RECORD_BYTES;

const SEQ: &[u8] = br#"{"seq":"#;
const PREV: &[u8] = br#","prev":""#;
const RECORD: &[u8] = br#"","record":"#;
const END: &[u8] = b"}";
/// Most digits of a `u64`.
const MAX_DIGITS: usize = 20;
/// Hex digits of a SHA-256.
const HASH_DIGITS: usize = 64;

/// The longest line, without its line feed.
pub(super) const MAX_LINE_BYTES: usize =
    SEQ.len() + MAX_DIGITS + PREV.len() + HASH_DIGITS + RECORD.len() + MAX_RECORD_BYTES + END.len();

/// Where the next line ties on: its number, and the hash of the line before it (zeros before the first).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Number of the next record; equally, how many there are.
    pub(super) seq: u64,
    /// SHA-256 of the newest line without its line feed.
    pub(super) prev: [u8; 32],
}

impl Link {
    /// Appends the line of one record, line feed included, and moves on.
    pub(super) fn frame(&mut self, record: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(SEQ);
        out.extend_from_slice(self.seq.to_string().as_bytes());
        out.extend_from_slice(PREV);
        out.extend_from_slice(self.head().as_bytes());
        out.extend_from_slice(RECORD);
        out.extend_from_slice(record);
        out.extend_from_slice(END);
        self.advance(out.get(start..).unwrap_or_default());
        out.push(b'\n');
    }

    /// Moves on over a line that is known to tie on here.
    pub(super) fn advance(&mut self, line: &[u8]) {
        self.prev = sha256(line);
        self.seq = self.seq.saturating_add(1);
    }

    /// The hash of the newest line, lowercase hex.
    pub(super) fn head(&self) -> String {
        hex::encode(self.prev)
    }
}

/// A line taken apart. What it says is not yet believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) seq: u64,
    pub(super) prev: [u8; 32],
    pub(super) record: &'a [u8],
}

impl<'a> Line<'a> {
    /// Takes apart a line without its line feed; `None` if it is not framed exactly as [`Link::frame`] does.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(SEQ)?;
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = rest.split_at_checked(digits)?;
        let seq: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
        if seq.to_string().as_bytes() != number {
            return None;
        }
        let (hash, rest) = rest.strip_prefix(PREV)?.split_at_checked(HASH_DIGITS)?;
        if hash.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut prev = [0; 32];
        hex::decode_to_slice(hash, &mut prev).ok()?;
        let record = rest.strip_prefix(RECORD)?.strip_suffix(END)?;
        Some(Self { seq, prev, record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_framed_and_chained() {
        let (mut link, mut out) = (Link::default(), Vec::new());
        link.frame(b"{}", &mut out);
        link.frame(br#"{"a":1}"#, &mut out);
        // The hash is `printf '{"seq":0,"prev":"<64 zeros>","record":{}}' | sha256sum`.
        let expected = format!(
            "{{\"seq\":0,\"prev\":\"{}\",\"record\":{{}}}}\n{{\"seq\":1,\"prev\":\"{}\",\"record\":{{\"a\":1}}}}\n",
            "0".repeat(64),
            "ea8b44295074776830431196217128e3c5454c8d081dfa09f3a209aa280b135a",
        );
        assert_eq!(String::from_utf8(out).ok(), Some(expected));
        assert_eq!(link.seq, 2);
    }

    #[test]
    fn only_our_own_framing_is_taken_apart() {
        let zeros = "0".repeat(64);
        let good = format!(r#"{{"seq":7,"prev":"{zeros}","record":{{"a":1}}}}"#);
        let line = Line::parse(good.as_bytes());
        assert_eq!(
            line,
            Some(Line {
                seq: 7,
                prev: [0; 32],
                record: br#"{"a":1}"#
            })
        );
        for bad in [
            good.replace(":7", ":07"),
            good.replace(":7", ":-7"),
            good.replace(":7", ":18446744073709551616"),
            good.replace(":7", ": 7"),
            good.replace(&zeros, &"A".repeat(64)),
            good.replace(&zeros, &"0".repeat(63)),
            good.replace("prev", "pref"),
            good.trim_end_matches('}').to_owned(),
            String::new(),
        ] {
            assert_eq!(Line::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
