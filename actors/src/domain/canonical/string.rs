//! Strings as RFC 8785 §3.2.2.2 writes them.

/// Appends a string, quotes included.
pub(super) fn write(value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = value.as_bytes();
    loop {
        let (plain, after) = rest.split_at_checked(plain_prefix(rest)).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        let Some((&special, after)) = after.split_first() else {
            break;
        };
        write_ascii(special, out);
        rest = after;
    }
    out.push(b'"');
}

/// Appends one character of a string.
pub(super) fn write_char(value: char, out: &mut Vec<u8>) {
    match u8::try_from(value) {
        Ok(ascii @ 0..0x80) => write_ascii(ascii, out),
        _ => out.extend_from_slice(value.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Escapes only what must be: quote, backslash and U+0000 to U+001F, those by a short form where there is one, else
/// by four lowercase hexadecimal digits.
fn write_ascii(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        0x00..0x20 => {
            let low = match byte & 0xf {
                digit @ 0..10 => b'0' + digit,
                letter => b'a' + (letter - 10),
            };
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), low]);
            return;
        }
        _ => {
            out.push(byte);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// How many bytes come before the first quote, backslash or control character. Eight bytes at a time: most of a
/// document is such text.
pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = special_bytes(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0x00..0x20);
    words.len() * 8 + tail.iter().position(special).unwrap_or(tail.len())
}

/// Sets the top bit of each byte of a word that is a quote, a backslash or below 0x20. Exact for the lowest such byte;
/// borrows may mark bytes above it wrongly ("Bit Twiddling Hacks", "Determine if a word has a byte less than n").
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & TOPS;
    let equal = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    below(word, 0x20) | equal(b'"') | equal(b'\\')
}
