//! The walk over a text: one function per kind of value.

use std::ops::Range;

use super::members::{Duplicate, Members, Text, TooLong};
use super::noted::Noted;
use super::number::{self, Numbers};
use super::scanner::Scanner;
use super::string;
use super::{CanonicalError, MAX_DEPTH, MAX_NAME_BYTES};

/// A text on its way to canonical form. Nested values are nested calls, at most [`MAX_DEPTH`] of them.
#[derive(Debug)]
pub(super) struct Stream<'t, 'o, 'n> {
    scanner: Scanner<'t>,
    numbers: Numbers,
    text: Text<'o>,
    members: Members,
    noted: Option<Noted<'n>>,
    /// The depth of what is inside of the outermost object.
    outermost: usize,
}

/// Where noted members are in the buffer.
type Places = Vec<Option<Range<usize>>>;

impl<'t, 'o, 'n> Stream<'t, 'o, 'n> {
    /// From where the scanner is.
    pub(super) fn on(
        scanner: Scanner<'t>,
        numbers: Numbers,
        out: &'o mut Vec<u8>,
        noted: Option<Noted<'n>>,
    ) -> Self {
        Self {
            scanner,
            numbers,
            text: Text::behind(out),
            members: Members::default(),
            noted,
            outermost: 0,
        }
    }

    /// The whole text: one value. Where its noted members are in the buffer.
    pub(super) fn document(mut self, depth: usize) -> Result<Places, CanonicalError> {
        self.scanner.skip_whitespace();
        let (mut scanner, noted) = self.value_of_root(depth)?;
        scanner.skip_whitespace();
        match scanner.peek() {
            None => Ok(noted),
            Some(_) => scanner.fail("text follows the value"),
        }
    }

    /// One value, and the scanner behind it.
    pub(super) fn value_of_root(mut self, depth: usize) -> Result<(Scanner<'t>, Places), CanonicalError> {
        // An array's elements are deeper than this already, so no object inside of one is taken for the outermost.
        self.outermost = match self.scanner.peek() {
            Some(b'{') => depth.saturating_add(1),
            _ => 0,
        };
        self.value(depth)?;
        let noted = match self.noted {
            Some(noted) => noted.behind(self.text.before()),
            None => Vec::new(),
        };
        Ok((self.scanner, noted))
    }

    fn value(&mut self, depth: usize) -> Result<(), CanonicalError> {
        match self.scanner.peek() {
            Some(b'"') => self.string(),
            Some(b'{') => self.object(self.deeper(depth)?),
            Some(b'[') => self.array(self.deeper(depth)?),
            Some(b'-' | b'0'..=b'9') => number::copy(&mut self.scanner, self.numbers, self.text.out),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.scanner.fail("a value belongs here"),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, CanonicalError> {
        if depth >= MAX_DEPTH {
            let offset = self.scanner.offset();
            return Err(CanonicalError::TooDeep { offset });
        }
        Ok(depth + 1)
    }

    fn literal(&mut self, word: &'static str) -> Result<(), CanonicalError> {
        let word = self.scanner.literal(word)?;
        self.text.out.extend_from_slice(word);
        Ok(())
    }

    fn string(&mut self) -> Result<(), CanonicalError> {
        self.scanner.bump();
        let out = &mut *self.text.out;
        out.push(b'"');
        loop {
            out.extend_from_slice(self.scanner.plain().as_bytes());
            match self.scanner.quote_or_escape()? {
                Some(unescaped) => string::write_char(unescaped, out),
                None => break,
            }
        }
        out.push(b'"');
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.open(b'[');
        if !self.scanner.take(b']') {
            loop {
                self.value(depth)?;
                if !self.another(b']')? {
                    break;
                }
            }
        }
        self.text.out.push(b']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), CanonicalError> {
        self.open(b'{');
        if !self.scanner.take(b'}') {
            let object = self.members.open();
            loop {
                self.name()?;
                self.scanner.skip_whitespace();
                if !self.scanner.take(b':') {
                    return self.scanner.fail("a colon belongs here");
                }
                self.text.out.push(b':');
                self.scanner.skip_whitespace();
                self.value(depth)?;
                self.members.end(self.text.len()).map_err(|e| self.too_long(e))?;
                // A comma is written behind the member, not as a part of it.
                if !self.another(b'}')? {
                    break;
                }
            }
            let offset = self.scanner.offset();
            let noted = self.noted.as_mut().filter(|_| depth == self.outermost);
            self.members
                .close(object, &mut self.text, noted)
                .map_err(|Duplicate| CanonicalError::DuplicateName { offset })?;
        }
        self.text.out.push(b'}');
        Ok(())
    }

    /// Reads a member's name, writes it and notes the member.
    fn name(&mut self) -> Result<(), CanonicalError> {
        let offset = self.scanner.offset();
        if !self.scanner.take(b'"') {
            return self.scanner.fail("a member name in quotes belongs here");
        }
        let start = self.text.len();
        let plain = self.scanner.plain();
        let escape = self.scanner.quote_or_escape()?;
        let len = match escape {
            None => plain.len(),
            Some(first) => self.unescape_name(plain, first)?,
        };
        if len > MAX_NAME_BYTES {
            return Err(CanonicalError::NameTooLong { offset });
        }
        let escaped = escape.is_some();
        self.members
            .begin(start, len, escaped)
            .map_err(|e| self.too_long(e))?;
        if escaped {
            string::write(self.members.last_unescaped(len), self.text.out);
        } else {
            self.text.out.push(b'"');
            self.text.out.extend_from_slice(plain.as_bytes());
            self.text.out.push(b'"');
        }
        Ok(())
    }

    /// Reads on after a name's first escape, and keeps the whole name. Returns its length.
    fn unescape_name(&mut self, plain: &str, first: char) -> Result<usize, CanonicalError> {
        let name = self.members.unescaped();
        let start = name.len();
        name.push_str(plain);
        name.push(first);
        loop {
            name.push_str(self.scanner.plain());
            match self.scanner.quote_or_escape()? {
                Some(unescaped) => name.push(unescaped),
                None => return Ok(name.len() - start),
            }
        }
    }

    /// Steps over an opening bracket and the space after it.
    fn open(&mut self, bracket: u8) {
        self.scanner.bump();
        self.text.out.push(bracket);
        self.scanner.skip_whitespace();
    }

    /// After a member or element: true if a comma announces another, false if the bracket closes.
    fn another(&mut self, close: u8) -> Result<bool, CanonicalError> {
        self.scanner.skip_whitespace();
        if self.scanner.take(b',') {
            self.text.out.push(b',');
            self.scanner.skip_whitespace();
            return Ok(true);
        }
        if self.scanner.take(close) {
            return Ok(false);
        }
        self.scanner.fail("a comma or a closing bracket belongs here")
    }

    fn too_long(&self, TooLong: TooLong) -> CanonicalError {
        CanonicalError::Syntax {
            what: "the text is longer than 4 GiB",
            offset: self.scanner.offset(),
        }
    }
}
