//! What a shape can ask for.

use std::fmt;

use super::view::{Json, View};

/// A member, and what it is.
#[derive(Debug)]
pub(super) struct Need {
    /// A member of the outermost object, or one of a member's with a dot in between.
    pub(super) path: &'static str,
    pub(super) is: Is,
}

/// What a member is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Is {
    /// An object.
    Object,
    /// An array.
    Array,
    /// An array or null.
    ArrayOrNull,
    /// Anything but an array.
    NoArray,
    /// A string.
    Text,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// A string that begins so.
    Begins(&'static str),
    /// A string that begins so, or an array with such a string in it.
    AnyBegins(&'static str),
    /// A version of two numbers: `1.6`.
    Version,
}

/// A need that is not met.
#[derive(Debug)]
pub(super) struct Unmet {
    need: &'static Need,
    /// The member is there, but it is something else.
    present: bool,
}

pub(super) const fn need(path: &'static str, is: Is) -> Need {
    Need { path, is }
}

impl Need {
    pub(super) fn unmet(&'static self, view: &View<'_>) -> Option<Unmet> {
        let value = match self.path.split_once('.') {
            None => view.member(self.path),
            Some((outer, inner)) => view
                .member(outer)
                .and_then(|outer| outer.member(inner).map_or(Some(Json::UNSEEN), |found| found)),
        };
        match value {
            Some(value) if value.is_unseen() || self.is.met_by(value) => None,
            other => Some(Unmet {
                need: self,
                present: other.is_some(),
            }),
        }
    }
}

impl Is {
    fn met_by(self, value: Json<'_>) -> bool {
        match self {
            Self::Object => value.starts_with(b'{'),
            Self::Array => value.starts_with(b'['),
            Self::ArrayOrNull => value.starts_with(b'[') || value.starts_with(b'n'),
            Self::NoArray => !value.starts_with(b'['),
            Self::Text => value.text().is_some(),
            Self::OneOf(words) => value.text().is_some_and(|text| words.contains(&text)),
            Self::Begins(start) => value.text().is_some_and(|text| text.starts_with(start)),
            Self::AnyBegins(start) => {
                let begins = |one: Json<'_>| one.text().is_some_and(|text| text.starts_with(start));
                begins(value) || value.any_element(begins)
            }
            Self::Version => value.text().is_some_and(is_version),
        }
    }
}

/// Two numbers with a dot in between.
fn is_version(text: &str) -> bool {
    let number = |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, is) = (self.need.path, self.need.is);
        if self.present {
            write!(f, "{path} must be {is}")
        } else {
            write!(f, "it has no {path}, which must be {is}")
        }
    }
}

impl fmt::Display for Is {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object => f.write_str("an object"),
            Self::Array => f.write_str("an array"),
            Self::ArrayOrNull => f.write_str("an array or null"),
            Self::NoArray => f.write_str("no array"),
            Self::Text => f.write_str("a string"),
            Self::OneOf([word]) => write!(f, "\"{word}\""),
            Self::OneOf(words) => write!(f, "one of {}", words.join(", ")),
            Self::Begins(start) | Self::AnyBegins(start) => write!(f, "a string that begins with {start}"),
            Self::Version => f.write_str("a version such as \"1.6\""),
        }
    }
}
