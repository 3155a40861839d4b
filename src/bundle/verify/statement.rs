//! Checks of the signed statement itself (in-toto attestation spec v1, `statement.md`).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use signer_actors::domain::canonical::{CanonicalError, canonicalize};
use signer_actors::domain::statement::STATEMENT_TYPE;
use signer_actors::domain::subject::{MAX_DIGESTS, MAX_SUBJECTS};

use super::Check;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(default, deserialize_with = "subjects_within")]
    subject: Vec<Subject>,
    #[serde(default)]
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    uri: Option<String>,
    #[serde(default, deserialize_with = "digests_within")]
    digest: BTreeMap<String, String>,
}

/// One more than there may be, and nothing of the rest: a short text must not become much in memory.
fn subjects_within<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Subject>, D::Error> {
    struct Subjects;
    impl<'de> Visitor<'de> for Subjects {
        type Value = Vec<Subject>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut kept = Vec::new();
            while kept.len() <= MAX_SUBJECTS {
                match access.next_element()? {
                    Some(subject) => kept.push(subject),
                    None => return Ok(kept),
                }
            }
            while access.next_element::<IgnoredAny>()?.is_some() {}
            Ok(kept)
        }
    }
    deserializer.deserialize_seq(Subjects)
}

/// As [`subjects_within`].
fn digests_within<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Digests;
    impl<'de> Visitor<'de> for Digests {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut kept = BTreeMap::new();
            while kept.len() <= MAX_DIGESTS {
                match access.next_entry()? {
                    Some((name, value)) => kept.insert(name, value),
                    None => return Ok(kept),
                };
            }
            while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(kept)
        }
    }
    deserializer.deserialize_map(Digests)
}

/// Appends the checks of a payload to a report; returns the statement when it can be read.
pub(super) fn check(
    payload: &[u8],
    expected_digest: Option<&str>,
    checks: &mut Vec<Check>,
) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(payload).ok();
    let Some((text, statement)) = text.and_then(|t| Some((t, serde_json::from_str::<Statement>(t).ok()?)))
    else {
        checks.push(Check::new(
            "statement",
            false,
            "the payload is no in-toto statement in JSON",
        ));
        return None;
    };
    let canonical = canonical_form(text);
    let unambiguous = !matches!(canonical, Err(CanonicalError::DuplicateName { .. }));
    checks.push(match (statement.kind == STATEMENT_TYPE, unambiguous) {
        (true, true) => Check::new("statement", true, STATEMENT_TYPE),
        (true, false) => Check::new(
            "statement",
            false,
            "a member name occurs twice: readers may see different content",
        ),
        (false, _) => Check::new("statement", false, format!("_type is not {STATEMENT_TYPE}")),
    });
    checks.push(subjects(&statement.subject));
    if let Some(expected) = expected_digest {
        checks.push(expected_subject(&statement.subject, expected));
    }
    checks.push(match statement.predicate_type.as_str() {
        "" => Check::new("predicateType", false, "the statement has no predicateType"),
        kind => Check::new("predicateType", true, kind),
    });
    // Information only: another producer's statement may be spelled differently and still be what was signed.
    checks.push(Check::new(
        "canonicalForm",
        true,
        if canonical == Ok(true) {
            "the payload is RFC 8785 canonical JSON"
        } else {
            "not canonical JSON (information only)"
        },
    ));
    RawValue::from_string(text.trim_ascii().to_owned()).ok()
}

/// Whether the text is its own canonical form.
fn canonical_form(text: &str) -> Result<bool, CanonicalError> {
    let mut out = Vec::with_capacity(text.len());
    canonicalize(text, 0, &mut out)?;
    Ok(out == text.as_bytes())
}

fn subjects(subjects: &[Subject]) -> Check {
    let fits = |subject: &Subject| {
        let digests = &subject.digest;
        let hex = |(_, value): (&String, &String)| {
            let value = value.as_bytes();
            !value.is_empty()
                && value
                    .iter()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
        };
        (1..=MAX_DIGESTS).contains(&digests.len())
            && digests.iter().all(hex)
            && digests.get("sha256").is_none_or(|value| value.len() == 64)
    };
    if !(1..=MAX_SUBJECTS).contains(&subjects.len()) || !subjects.iter().all(fits) {
        return Check::new(
            "subjects",
            false,
            "the statement's subjects must be 1 to 1024, each with a digest in lowercase hex",
        );
    }
    let first = subjects
        .first()
        .and_then(|s| s.name.as_deref().or(s.uri.as_deref()))
        .unwrap_or("(without a name)");
    let detail = match subjects.len() {
        1 => first.to_owned(),
        count => format!("{first} and {} more", count - 1),
    };
    Check::new("subjects", true, detail)
}

/// One of the subjects must have the digest `algorithm:hex`.
fn expected_subject(subjects: &[Subject], expected: &str) -> Check {
    let found = expected.split_once(':').is_some_and(|(algorithm, hex)| {
        subjects
            .iter()
            .any(|s| s.digest.get(algorithm).is_some_and(|v| v == hex))
    });
    let detail = if found {
        "a subject has the expected digest"
    } else {
        "no subject has the expected digest"
    };
    Check::new("subjectDigest", found, detail)
}
