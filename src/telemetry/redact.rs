//! What may stand in a log line. Everything that is logged passes through here on its way out, whoever wrote it.
//!
//! Three rules: the value of a field whose name says that it is secret is replaced; what looks like a token, an
//! authorization, a password in a URL or a private key is replaced wherever it stands; control characters are escaped
//! (nobody forges a second line or drives a terminal) and values are bounded.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Write};

use slog::{BorrowedKV, Key, OwnedKVList, Record, RecordStatic, Serializer};

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";
/// The longest value, in bytes after escaping; what is cut off is counted behind it.
pub const MAX_VALUE_BYTES: usize = 2048;
/// The most fields of one line.
pub const MAX_FIELDS: usize = 48;
/// Text beyond this is not even looked at: what is shown of a value is far shorter. Bounds the work of the scan too.
const MAX_SCANNED_BYTES: usize = 8 * 1024;

/// A field is secret when its name contains one of these words: `access_token`, `dpopProof`, `client-secret`.
const SECRET_WORDS: &[&str] = &[
    "apikey",
    "assertion",
    "authorization",
    "bearer",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "dpop",
    "jwt",
    "optok",
    "passphrase",
    "passwd",
    "password",
    "pem",
    "pin",
    "poe",
    "proof",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
];
/// Or two of these in a row.
const SECRET_PAIRS: &[(&str, &str)] = &[("private", "key"), ("api", "key"), ("signing", "key")];
/// Or when this is the whole name: content of callers.
const SECRET_NAMES: &[&str] = &[
    "body",
    "payload",
    "predicate",
    "privatekey",
    "signingkey",
    "userinfo",
];
/// Words that introduce a credential in running text (RFC 9110 §11.4).
const SCHEMES: &[&str] = &["bearer ", "dpop ", "basic "];
/// A word of this length behind a scheme is a credential, not prose.
const MIN_CREDENTIAL_BYTES: usize = 16;

/// The value of one field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
}

/// What a record says besides its message: copied as it is, for a writer who cleans it.
#[derive(Default)]
pub(crate) struct Spoken(Vec<(Key, Field)>);

impl Spoken {
    /// The fields of a record, those of its loggers not among them.
    pub(crate) fn of(record: &Record<'_>) -> Self {
        let mut said = Self(Vec::with_capacity(12));
        // A field that cannot be serialised is left out; the line itself is worth more.
        let _ = slog::KV::serialize(&record.kv(), record, &mut said);
        said
    }

    /// One field, `count`.
    pub(crate) fn count(count: u64) -> Self {
        Self(vec![("count", Field::Unsigned(count))])
    }

    fn put(&mut self, key: Key, field: Field) -> slog::Result {
        if self.0.len() < MAX_FIELDS {
            self.0.push((key, field));
        }
        Ok(())
    }
}

/// Gathers the fields of a line, each name once (the innermost logger's value stands), harmless by construction.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(Key, Field)>);

impl Fields {
    /// Fields of the record, then of its loggers from the inside out. `fixed`: what the record was made of.
    pub(crate) fn gather(said: Spoken, loggers: &OwnedKVList, fixed: &RecordStatic<'_>) -> Self {
        let mut all = said;
        let nothing = format_args!("");
        let record = Record::new(fixed, &nothing, BorrowedKV(&()));
        let _ = slog::KV::serialize(loggers, &record, &mut all);
        let mut fields = Self(Vec::with_capacity(all.0.len()));
        for (key, field) in all.0 {
            fields.put(key, field);
        }
        fields
    }

    /// Takes a field out.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field> {
        let at = self.0.iter().position(|(key, _)| *key == name)?;
        Some(self.0.remove(at).1)
    }

    pub(crate) fn into_inner(self) -> Vec<(Key, Field)> {
        self.0
    }

    fn put(&mut self, key: Key, field: Field) {
        if self.0.iter().any(|(known, _)| *known == key) {
            return;
        }
        let field = match field {
            Field::Null | Field::Bool(_) => field,
            _ if is_known_secret(key) => Field::Text(REDACTED.to_owned()),
            Field::Text(text) => Field::Text(clean(&text)),
            number => number,
        };
        self.0.push((key, field));
    }
}

thread_local! {
    /// Names are in the program's text, so there are few; each is looked at once.
    static SECRET: RefCell<HashMap<Key, bool>> = RefCell::default();
}

fn is_known_secret(key: Key) -> bool {
    SECRET.with_borrow_mut(|known| *known.entry(key).or_insert_with(|| is_secret_name(key)))
}

macro_rules! emit {
    ($($name:ident($type:ty) => $field:expr),* $(,)?) => {
        $(fn $name(&mut self, key: Key, value: $type) -> slog::Result {
            self.put(key, $field(value.into()))
        })*
    };
}

impl Serializer for Spoken {
    emit! {
        emit_bool(bool) => Field::Bool,
        emit_u8(u8) => Field::Unsigned,
        emit_u16(u16) => Field::Unsigned,
        emit_u32(u32) => Field::Unsigned,
        emit_u64(u64) => Field::Unsigned,
        emit_i8(i8) => Field::Signed,
        emit_i16(i16) => Field::Signed,
        emit_i32(i32) => Field::Signed,
        emit_i64(i64) => Field::Signed,
        emit_f32(f32) => Field::Float,
        emit_f64(f64) => Field::Float,
    }

    fn emit_usize(&mut self, key: Key, value: usize) -> slog::Result {
        self.put(key, Field::Unsigned(value as u64))
    }

    fn emit_isize(&mut self, key: Key, value: isize) -> slog::Result {
        self.put(key, Field::Signed(value as i64))
    }

    fn emit_unit(&mut self, key: Key) -> slog::Result {
        self.put(key, Field::Null)
    }

    fn emit_none(&mut self, key: Key) -> slog::Result {
        self.put(key, Field::Null)
    }

    fn emit_str(&mut self, key: Key, value: &str) -> slog::Result {
        self.put(key, Field::Text(value.to_owned()))
    }

    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        let mut text = String::new();
        // A value whose `Display` fails shows what it managed to say.
        let _ = text.write_fmt(*value);
        self.put(key, Field::Text(text))
    }

    fn emit_serde(&mut self, key: Key, value: &dyn slog::SerdeValue) -> slog::Result {
        let text = serde_json::to_string(value.as_serde()).unwrap_or_default();
        self.put(key, Field::Text(text))
    }
}

/// True when the name of a field says that its value is secret.
pub fn is_secret_name(name: &str) -> bool {
    let words = words(name);
    let whole = words.concat();
    let word = |w: &String| SECRET_WORDS.contains(&w.as_str());
    let pair = |pair: &[String]| matches!(pair, [a, b] if SECRET_PAIRS.contains(&(a, b)));
    words.iter().any(word)
        || words.windows(2).any(pair)
        || SECRET_NAMES.contains(&whole.as_str())
        // The capitals of `DPoP` fall apart.
        || whole.starts_with("dpop")
        || words.iter().any(|w| w.ends_with("token") || w.ends_with("secret") || w.ends_with("password"))
}

/// `access_token`, `access-token`, `accessToken` → `access`, `token`.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut joins = false;
    let mut was_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            joins = false;
            continue;
        }
        let starts = !joins || (c.is_uppercase() && was_lower);
        match words.last_mut() {
            Some(word) if !starts => word.extend(c.to_lowercase()),
            _ => words.push(c.to_lowercase().collect()),
        }
        (joins, was_lower) = (true, c.is_lowercase());
    }
    words
}

/// Makes a text fit for a log line: secrets replaced, control characters escaped, bounded.
pub fn clean(text: &str) -> String {
    let scanned = text
        .get(..text.floor_char_boundary(MAX_SCANNED_BYTES))
        .unwrap_or_default();
    escape(&redact(scanned), text.len() - scanned.len())
}

fn escape(text: &str, unseen: usize) -> String {
    // Without an early end, so that many bytes are looked at in one step.
    let plain = text.bytes().fold(true, |all, b| all & matches!(b, b' '..=b'~'));
    if plain && unseen == 0 && text.len() <= MAX_VALUE_BYTES {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len().min(MAX_VALUE_BYTES));
    for (at, c) in text.char_indices() {
        let before = out.len();
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unprintable(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
        if out.len() > MAX_VALUE_BYTES {
            out.truncate(before);
            let _ = write!(out, "… ({} bytes more)", text.len() - at + unseen);
            return out;
        }
    }
    out
}

/// Controls (C0, C1, DEL), line separators, and marks that reorder or hide text on a screen.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn redact(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(next) = next_start(text, at) {
        at = next;
        match secret_at(text, at) {
            Some((from, to)) => {
                out.push_str(text.get(copied..from).unwrap_or_default());
                out.push_str(REDACTED);
                (copied, at) = (to, to);
            }
            None => at += 1,
        }
    }
    if copied == 0 && out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Where, from here on, two bytes stand with which a secret begins or is introduced.
fn next_start(text: &str, from: usize) -> Option<usize> {
    let pairs = text.as_bytes().get(from..)?.windows(2);
    let found = pairs.into_iter().position(|pair| match pair {
        [b'e', b'y'] | [b'-', b'-'] | [b':', b'/'] => true,
        [first, second] => matches!((first | 0x20, second | 0x20), (b'b', b'e' | b'a') | (b'd', b'p')),
        _ => false,
    });
    found.map(|at| from + at)
}

/// A secret that begins, or is introduced, at this byte: the range to replace, never empty.
fn secret_at(text: &str, at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?;
    match rest.as_bytes().first()? {
        b'e' => token_len(rest).map(|len| (at, at + len)),
        b'-' => private_key_len(rest).map(|len| (at, at + len)),
        b'B' | b'b' | b'D' | b'd' => credential(rest).map(|(from, to)| (at + from, at + to)),
        b':' => userinfo_len(rest).map(|len| (at + 3, at + 3 + len)),
        _ => None,
    }
}

/// A JWT or JWE in compact form (RFC 7515 §7.1): parts of base64url with dots between, the first an encoded `{"`. Two
/// parts are enough, so that a token cut short is caught.
fn token_len(text: &str) -> Option<usize> {
    if !text.starts_with("eyJ") {
        return None;
    }
    let run = run_len(text, |b| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'=')
    });
    let (header, payload) = text.get(..run)?.split_once('.')?;
    (header.len() >= 8 && !payload.is_empty()).then_some(run)
}

/// A private key in PEM (RFC 7468 §10, §11, and older labels), to its end line or the end of the text.
fn private_key_len(text: &str) -> Option<usize> {
    const LABEL_END: &str = "PRIVATE KEY-----";
    let label = text.strip_prefix("-----BEGIN ")?;
    let (label, _) = label.split_at_checked(label.floor_char_boundary(48))?;
    let dashes = label.find("-----")?;
    label.get(..dashes + 5)?.ends_with(LABEL_END).then_some(())?;
    let end = text
        .find("-----END ")
        .and_then(|end| Some(end + text.get(end..)?.find(LABEL_END)? + LABEL_END.len()));
    Some(end.unwrap_or(text.len()))
}

/// `Bearer abc…`: the credential behind the scheme.
fn credential(text: &str) -> Option<(usize, usize)> {
    let scheme = SCHEMES.iter().find(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })?;
    let word = text.get(scheme.len()..)?;
    let len = run_len(word, |b| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b));
    (len >= MIN_CREDENTIAL_BYTES).then_some((scheme.len(), scheme.len() + len))
}

/// `://user:password@`: what stands before the `@` (RFC 3986 §3.2.1).
fn userinfo_len(text: &str) -> Option<usize> {
    let authority = text.strip_prefix("://")?;
    let end = run_len(authority, |b| {
        !matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'') && !b.is_ascii_whitespace()
    });
    authority.get(..end)?.rfind('@').filter(|len| *len > 0)
}

fn run_len(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|b| belongs(*b)).count()
}

#[cfg(test)]
mod tests;
