//! Reads the tokens of RFC 8259 from a text, strictly. No token is copied.

use super::CanonicalError;
use super::string::plain_prefix;

/// A position in a text.
#[derive(Debug)]
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Bytes from the start of the text.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// The next byte, if there is one.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over the byte that was peeked at.
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// Steps over the next byte if it is this one.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// A syntax error at the present position.
    pub(super) fn fail<T>(&self, what: &'static str) -> Result<T, CanonicalError> {
        let what = if self.peek().is_none() {
            "the text ends too early"
        } else {
            what
        };
        let offset = self.at;
        Err(CanonicalError::Syntax { what, offset })
    }

    /// Steps over insignificant whitespace (RFC 8259 §2).
    pub(super) fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.bump();
        }
    }

    /// Reads `true`, `false` or `null` (RFC 8259 §3).
    pub(super) fn literal(&mut self, word: &'static str) -> Result<&'static [u8], CanonicalError> {
        for byte in word.bytes() {
            if !self.take(byte) {
                return self.fail("unknown literal");
            }
        }
        Ok(word.as_bytes())
    }

    /// Steps over decimal digits, and says how many there were.
    pub(super) fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.bump();
        }
        self.at - start
    }

    /// What was read since `start`.
    pub(super) fn since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Reads the part of a string up to its end, an escape or a control character.
    pub(super) fn plain(&mut self) -> &'t str {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        self.at += plain_prefix(rest);
        self.since(start)
    }

    /// Reads what ended [`Self::plain`]: the closing quote (`None`) or an escape (RFC 8259 §7).
    pub(super) fn quote_or_escape(&mut self) -> Result<Option<char>, CanonicalError> {
        match self.peek() {
            Some(b'"') => {
                self.bump();
                Ok(None)
            }
            Some(b'\\') => self.escape().map(Some),
            _ => self.fail("control character in a string: escape it"),
        }
    }

    fn escape(&mut self) -> Result<char, CanonicalError> {
        let start = self.at;
        self.bump();
        let unescaped = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.bump();
                return self.unicode_escape(start);
            }
            _ => return self.fail("unknown escape in a string"),
        };
        self.bump();
        Ok(unescaped)
    }

    /// Reads what follows `\u`; supplementary characters come as two escapes.
    fn unicode_escape(&mut self, start: usize) -> Result<char, CanonicalError> {
        let first = self.hex4()?;
        let low_follows = (0xD800..0xDC00).contains(&first) && self.take(b'\\') && self.take(b'u');
        let code = if low_follows {
            let second = self.hex4()?;
            match second.checked_sub(0xDC00) {
                Some(low @ 0..0x400) => 0x10000 + ((first - 0xD800) << 10) + low,
                _ => first,
            }
        } else {
            first
        };
        // RFC 7493 §2.1: no lone surrogates.
        char::from_u32(code).ok_or(CanonicalError::Syntax {
            what: "lone surrogate in a string",
            offset: start,
        })
    }

    fn hex4(&mut self) -> Result<u32, CanonicalError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return self.fail("an escape needs four hexadecimal digits");
            };
            code = code * 16 + digit;
            self.bump();
        }
        Ok(code)
    }
}
