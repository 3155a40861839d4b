//! Predicate types that are known, and whether a predicate has the shape of its type.
//!
//! A type is known by its full URI. Its shape is a handful of members of the outermost object that its specification
//! requires: enough to notice that the wrong document was sent under a type, and nothing that judges what the document
//! says. What is not known has no shape and is not looked at.
//!
//! `catalogue` is the table, `need` what it can ask for, `view` how a predicate is looked at without being read again.

mod catalogue;
mod need;
#[cfg(test)]
mod tests;
mod view;

use std::ops::Range;

use need::{Need, Unmet};
use view::View;

/// Names of all members that any shape looks at, in byte order: what
/// [`canonicalize_noting`](super::canonical::canonicalize_noting) is to note.
pub const NOTED: &[&str] = &[
    "@context",
    "@graph",
    "SPDXID",
    "_type",
    "bomFormat",
    "buildDefinition",
    "buildType",
    "builder",
    "configuration",
    "document",
    "invocation",
    "materials",
    "metadata",
    "payload",
    "payloadType",
    "predicateType",
    "promotion",
    "result",
    "runDetails",
    "runs",
    "scanner",
    "signatures",
    "spdxVersion",
    "specVersion",
    "statements",
    "verificationResult",
    "verifier",
    "version",
];

/// A kind of document that is known.
#[derive(Debug)]
pub struct Known {
    /// What people call it.
    pub name: &'static str,
    /// Its type; also with a version behind it, after `/` or `.`.
    pub uri: &'static str,
    /// Bare names under which tools know it, which are no URIs.
    pub bare: &'static [&'static str],
    /// Members that it has, in one of these ways; empty: anything that is not recognised as something else.
    shapes: &'static [&'static [Need]],
    /// What tells it from all others; empty: it is never recognised.
    marks: &'static [Need],
    /// What else may stand under this type, by name, if it has no shapes of its own.
    also: &'static [&'static str],
}

impl Known {
    /// Whether a predicate type means this.
    fn is_meant_by(&self, predicate_type: &str) -> bool {
        predicate_type
            .strip_prefix(self.uri)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
    }
}

/// All that are known, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Known> {
    catalogue::KNOWN.iter()
}

/// What a predicate type means, if it is known. Of several, the one with the longest URI.
pub fn meant_by(predicate_type: &str) -> Option<&'static Known> {
    let meant = all().filter(|known| known.is_meant_by(predicate_type));
    meant.max_by_key(|known| known.uri.len())
}

/// The full URI of what tools know under this bare name.
pub fn uri_of_bare(name: &str) -> Option<&'static str> {
    let known = all().find(|known| known.bare.contains(&name))?;
    Some(known.uri)
}

/// What is wrong with a predicate for its type, for the caller; `None`: nothing that a look at its shape would show.
/// `text` is where canonical JSON of the predicate is; `noted` where the members named in [`NOTED`] are in it.
pub fn misfit(predicate_type: &str, text: &[u8], noted: &[Option<Range<usize>>]) -> Option<String> {
    let known = meant_by(predicate_type)?;
    let view = View::new(text, noted);
    let looks_like = recognised(&view, known);
    if known.shapes.is_empty() {
        let found = looks_like?;
        return Some(format!("predicate is no {}{}", known.name, found.advice(true)));
    }
    // What is said is about the way that comes closest.
    let unmet = known.shapes.iter().map(|shape| unmet_of(&view, shape));
    let least = unmet.min_by_key(Vec::len).filter(|unmet| !unmet.is_empty())?;
    let missing: Vec<String> = least.iter().map(Unmet::to_string).collect();
    let advice = looks_like.map_or_else(String::new, |found| found.advice(false));
    Some(format!(
        "predicate has not the shape of {}: {}{advice}",
        known.name,
        missing.join(", ")
    ))
}

/// What a document is recognised as, beside the type it was sent under.
enum Found {
    Other(&'static Known),
    Wrapped(&'static catalogue::Wrapper),
}

impl Found {
    /// What to do about it; `alone`: nothing was said of missing members.
    fn advice(&self, alone: bool) -> String {
        let sign = if alone { ":" } else { ";" };
        match self {
            Self::Other(known) => {
                let (name, uri) = (known.name, known.uri);
                format!("{sign} it looks like {name}: use predicateType {uri}")
            }
            Self::Wrapped(wrapper) => format!("{sign} it looks like {}: {}", wrapper.name, wrapper.remedy),
        }
    }
}

fn recognised(view: &View<'_>, meant: &Known) -> Option<Found> {
    let fits = |marks: &'static [Need]| !marks.is_empty() && unmet_of(view, marks).is_empty();
    let mut wrappers = catalogue::WRAPPERS.iter();
    if let Some(wrapper) = wrappers.find(|wrapper| fits(wrapper.marks)) {
        return Some(Found::Wrapped(wrapper));
    }
    // A document that bears its own marks, or those of one that may stand here, is no other one.
    let belongs = |known: &Known| known.name == meant.name || meant.also.contains(&known.name);
    if all().any(|known| belongs(known) && fits(known.marks)) {
        return None;
    }
    all().find(|known| fits(known.marks)).map(Found::Other)
}

fn unmet_of(view: &View<'_>, needs: &'static [Need]) -> Vec<Unmet> {
    needs.iter().filter_map(|need| need.unmet(view)).collect()
}
