//! Checkpoints: signed tree heads (C2SP `tlog-checkpoint.md`) as signed notes (C2SP `signed-note.md`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest checkpoint, in bytes, and the most signatures on it: a log's and its witnesses'.
const MAX_LENGTH: usize = 32 * 1024;
const MAX_SIGNATURES: usize = 64;

/// A checkpoint, its signatures not verified.
#[derive(Debug)]
pub(super) struct Checkpoint<'a> {
    pub(super) origin: &'a str,
    pub(super) size: u64,
    pub(super) root: [u8; 32],
    /// What is signed.
    pub(super) text: &'a str,
    pub(super) signatures: Vec<Line<'a>>,
}

/// One signature.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// The first bytes of the key's id.
    pub(super) hint: [u8; 4],
    pub(super) signature: Vec<u8>,
}

impl<'a> Checkpoint<'a> {
    pub(super) fn parse(note: &'a str) -> Option<Self> {
        let plain = note.chars().all(|c| c == '\n' || !c.is_control());
        if note.len() > MAX_LENGTH || !plain {
            return None;
        }
        // The text ends with the line before the last empty one.
        let (before, after) = note.rsplit_once("\n\n")?;
        let text = note.get(..before.len() + 1)?;
        let mut lines = text.lines();
        let origin = lines.next().filter(|origin| !origin.is_empty())?;
        let size = decimal(lines.next()?)?;
        let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        // Whatever extensions say, no line of the text is empty.
        if lines.any(str::is_empty) {
            return None;
        }
        let signatures = after.strip_suffix('\n')?.split('\n').map(Line::parse);
        let signatures: Vec<Line<'a>> = signatures.collect::<Option<_>>()?;
        (signatures.len() <= MAX_SIGNATURES).then_some(Self {
            origin,
            size,
            root,
            text,
            signatures,
        })
    }
}

impl<'a> Line<'a> {
    /// `— name base64(hint || signature)`
    fn parse(line: &'a str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (hint, signature) = decoded.split_first_chunk::<4>()?;
        (!name.is_empty() && !signature.is_empty()).then(|| Self {
            name,
            hint: *hint,
            signature: signature.to_vec(),
        })
    }
}

/// Decimal digits without leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint of Sigstore's public log (sigstore-conformance, `happy-path-intoto-in-dsse-v3`).
    const NOTE: &str = "rekor.sigstore.dev - 1193050959916656506\n33786589\n\
        ZrYR297TJTi0oux1PnfYzacxRVBAkp5eW5lpw/qFYWQ=\n\n\
        \u{2014} rekor.sigstore.dev wNI9ajBEAiA+GpzJyWBj16seA8o0JUhK/i90XD5EBIgOd66RCqO0LgIgSEe3qlMyfS83e7qtpB5kCp5VycJ3GrHm7turTUMEI2g=\n";

    #[test]
    fn checkpoints_are_read_strictly() {
        let checkpoint = Checkpoint::parse(NOTE).unwrap();
        assert_eq!(checkpoint.origin, "rekor.sigstore.dev - 1193050959916656506");
        assert_eq!(checkpoint.size, 33_786_589);
        assert!(checkpoint.text.ends_with("qFYWQ=\n") && !checkpoint.text.ends_with("\n\n"));
        let [line] = checkpoint.signatures.as_slice() else {
            panic!("one signature")
        };
        assert_eq!(
            (line.name, line.hint),
            ("rekor.sigstore.dev", [0xc0, 0xd2, 0x3d, 0x6a])
        );
        let extended = NOTE.replace("YWQ=\n", "YWQ=\nTimestamp: 1\n");
        assert!(Checkpoint::parse(&extended).is_some());
        for bad in [
            String::new(),
            "\n\n".into(),
            NOTE.trim_end().into(),
            NOTE.replace("\n\n", "\n"),
            NOTE.replace("33786589", "033786589"),
            NOTE.replace("33786589", "-1"),
            NOTE.replace("33786589", "99999999999999999999"),
            NOTE.replace("YWQ=", "YWQ"),
            NOTE.replace("ZrYR", ""),
            NOTE.replace("\u{2014}", "-"),
            NOTE.replace("YWQ=\n", "YWQ=\r\n"),
            NOTE.replacen("rekor", "\n\nrekor", 1),
            NOTE.replace("wNI9ajBE", "wNI9a"),
            format!("{NOTE}\n"),
            format!("{NOTE}{}", "x".repeat(MAX_LENGTH)),
        ] {
            assert!(Checkpoint::parse(&bad).is_none(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_safe(text in "[a-z0-9\u{2014} =+/\n]{0,200}") {
            let _ = Checkpoint::parse(&text);
        }
    }
}
