//! Reads JSON objects member by member, more strictly than serde's derive does: no arrays in place of objects, no
//! enums as objects, and errors of our own words, for serde's repeat what they refuse.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use signer_actors::domain::canonical::{CanonicalError, strict_scan};
use signer_actors::domain::statement::StatementError;
use signer_actors::domain::subject::SubjectError;

/// Members of one object that are looked at; the objects of the API have far fewer.
const MAX_MEMBERS: usize = 64;
/// Longest unknown member name that an error repeats.
const MAX_ECHO: usize = 32;

/// What is wrong with a body, as the problem codes of contract §2.6 tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyErrorKind {
    /// 400 `invalid_json`: syntax, duplicate member, depth, encoding.
    Json,
    /// 400 `invalid_request`: unknown or missing member, wrong type, bad value.
    Request,
    /// 400 `invalid_digest`
    Digest,
    /// 422 `invalid_subject`
    Subject,
    /// 422 `invalid_predicate`
    Predicate,
}

impl BodyErrorKind {
    /// The problem code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Json => "invalid_json",
            Self::Request => "invalid_request",
            Self::Digest => "invalid_digest",
            Self::Subject => "invalid_subject",
            Self::Predicate => "invalid_predicate",
        }
    }
}

/// Why a body was refused. The detail says where and what to do, and repeats no value of the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct BodyError {
    /// Its kind.
    pub kind: BodyErrorKind,
    /// For the caller.
    pub detail: String,
}

impl BodyError {
    /// An error of this kind.
    pub fn new(kind: BodyErrorKind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, detail }
    }

    /// The problem code.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// The strict scan's verdict on one member.
    fn scan(path: &str, kind: BodyErrorKind, error: &CanonicalError) -> Self {
        let kind = match error {
            CanonicalError::NameTooLong { .. } | CanonicalError::Number { .. } => kind,
            CanonicalError::Syntax { .. }
            | CanonicalError::DuplicateName { .. }
            | CanonicalError::TooDeep { .. } => BodyErrorKind::Json,
        };
        Self::new(kind, format!("{path}: {error}"))
    }
}

impl From<StatementError> for BodyError {
    fn from(error: StatementError) -> Self {
        let kind = match &error {
            StatementError::Subject(SubjectError::Shape(_)) => BodyErrorKind::Subject,
            StatementError::Subject(SubjectError::Digest(_)) => BodyErrorKind::Digest,
            StatementError::Predicate(_) => BodyErrorKind::Predicate,
            StatementError::Json(_) => BodyErrorKind::Json,
        };
        Self::new(kind, error.to_string())
    }
}

/// The text of a body: UTF-8 without a byte order mark (RFC 8259 §8.1).
pub(crate) fn text_of(body: &[u8]) -> Result<&str, BodyError> {
    std::str::from_utf8(body).map_err(|error| {
        let detail = format!("the body is not UTF-8 at byte {}", error.valid_up_to());
        BodyError::new(BodyErrorKind::Json, detail)
    })
}

/// Checks one member strictly (duplicate names, depth, surrogates). `depth`: arrays and objects around it.
pub(crate) fn scan(raw: &RawValue, path: &str, depth: usize, kind: BodyErrorKind) -> Result<(), BodyError> {
    strict_scan(raw.get(), depth).map_err(|error| BodyError::scan(path, kind, &error))
}

/// The members of one object, in the order of the text, values as they stand.
pub(crate) struct Members<'a> {
    path: String,
    list: Vec<(Name<'a>, &'a RawValue)>,
    more: bool,
}

impl<'a> Members<'a> {
    /// Reads an object that is all of `text`. Syntax is checked, except inside of the values' strings. `path` names
    /// the object in errors; a text of another type is an error of `kind`.
    pub(crate) fn read(text: &'a str, path: &str, kind: BodyErrorKind) -> Result<Self, BodyError> {
        let space = [' ', '\t', '\n', '\r'];
        if !text.trim_start_matches(space).starts_with('{') {
            strict_scan(text, 0).map_err(|error| BodyError::scan(path, kind, &error))?;
            return Err(BodyError::new(kind, format!("{path} must be an object")));
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let read = deserializer
            .deserialize_map(MembersVisitor)
            .and_then(|members| deserializer.end().map(|()| members));
        let (list, more) = read.map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let detail = format!("{path} is not valid JSON at line {line}, column {column}");
            BodyError::new(BodyErrorKind::Json, detail)
        })?;
        Self::of(path, (list, more))
    }

    /// Members that another walk has found, none of them twice, all of them strict JSON. `None`: they are not JSON after all.
    pub(crate) fn parted(path: &str, found: &[(&'a str, &'a str)]) -> Option<Self> {
        let member = |(name, value): &(&'a str, &'a str)| {
            Some((Name(Cow::Borrowed(*name)), serde_json::from_str(value).ok()?))
        };
        Some(Self {
            path: path.to_owned(),
            list: found.iter().map(member).collect::<Option<_>>()?,
            more: false,
        })
    }

    /// What a visitor has read of an object.
    pub(super) fn of(path: &str, (list, more): Listed<'a>) -> Result<Self, BodyError> {
        let members = Self {
            path: path.to_owned(),
            list,
            more,
        };
        members.refuse_duplicates()?;
        Ok(members)
    }

    fn refuse_duplicates(&self) -> Result<(), BodyError> {
        for (index, (name, _)) in self.list.iter().enumerate() {
            if self.list.iter().take(index).any(|(earlier, _)| earlier == name) {
                let detail = format!("{} has a duplicate member{}", self.path, shown(&name.0));
                return Err(BodyError::new(BodyErrorKind::Json, detail));
            }
        }
        Ok(())
    }

    /// Names and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.list.iter().map(|(name, value)| (&*name.0, *value))
    }

    /// The value of a member, if it is there.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    /// The value of an optional member: `null` counts as absent.
    pub(crate) fn optional(&self, name: &str) -> Option<&'a RawValue> {
        self.get(name).filter(|value| value.get() != "null")
    }

    /// The value of a member that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&'a RawValue, BodyError> {
        self.get(name).ok_or_else(|| {
            let detail = format!("{} has no member {name}: add it", self.path);
            BodyError::new(BodyErrorKind::Request, detail)
        })
    }

    /// Refuses members other than these.
    pub(crate) fn only(&self, known: &[&str], kind: BodyErrorKind) -> Result<(), BodyError> {
        let unknown = self.iter().find(|(name, _)| !known.contains(name));
        let name = match unknown {
            Some((name, _)) => shown(name),
            None if self.more => String::new(),
            None => return Ok(()),
        };
        let (path, known) = (&self.path, known.join(", "));
        let detail = format!("{path} has an unknown member{name}: allowed are {known}");
        Err(BodyError::new(kind, detail))
    }
}

/// A member name for an error: only if it looks like one, for it may be anything.
fn shown(name: &str) -> String {
    let word =
        (1..=MAX_ECHO).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if word { format!(" {name}") } else { String::new() }
}

/// Names and values of an object's first members, and whether there are more.
pub(super) type Listed<'a> = (Vec<(Name<'a>, &'a RawValue)>, bool);

/// A member's name: a part of the text, unless escapes are in it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Name<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.0 == name
    }
}

pub(super) struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Listed<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while list.len() < MAX_MEMBERS {
            match map.next_entry()? {
                Some(member) => list.push(member),
                None => return Ok((list, false)),
            }
        }
        let mut more = false;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok((list, more))
    }
}

/// Reads an array of at most `max` elements; `None` if there are more, or if it is no array.
pub(crate) fn elements(raw: &RawValue, max: usize) -> Option<Vec<&RawValue>> {
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    let list = deserializer.deserialize_seq(ElementsVisitor { max }).ok()?;
    deserializer.end().ok()?;
    Some(list)
}

struct ElementsVisitor {
    max: usize,
}

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {} elements", self.max)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            if list.len() == self.max {
                return Err(serde::de::Error::custom("too many elements"));
            }
            list.push(element);
        }
        Ok(list)
    }
}

/// Reads a string; `path` names the member in the error.
pub(crate) fn string(raw: &RawValue, path: &str) -> Result<String, BodyError> {
    serde_json::from_str(raw.get())
        .map_err(|_| BodyError::new(BodyErrorKind::Request, format!("{path} must be a string")))
}

/// Reads `true` or `false`.
pub(crate) fn boolean(raw: &RawValue, path: &str) -> Result<bool, BodyError> {
    serde_json::from_str(raw.get())
        .map_err(|_| BodyError::new(BodyErrorKind::Request, format!("{path} must be true or false")))
}
