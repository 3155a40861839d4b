//! The in-toto Statement v1 in canonical JSON: what the payload of a bundle is, byte by byte.
//!
//! A request's predicate is canonicalised once, straight into the payload's buffer, when the request's shape is
//! checked; the subjects, which carry the gates' stamp, come after it (canonical order puts `subject` last), when the
//! gates have passed. So the body is walked once and copied once.

mod predicate;

use std::ops::Range;

use serde_json::value::RawValue;

use super::canonical::{CanonicalError, canonicalize, compare_names, write_string};
use super::digest::{ImageDigest, Sha256Digest};
use super::predicates;
use super::subject::{Subject, SubjectError, check_subjects};
use super::tenant::{InstallationId, TenantId};

pub use predicate::{CanonicalPredicate, Predicate};

/// `_type` of every statement (in-toto attestation spec v1, statement.md).
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// A release signature's predicate type: never signed here (contract §7).
pub const RELEASE_SIGNATURE_TYPE: &str = "https://sigstore.dev/cosign/sign/v1";
/// Longest predicate type, in bytes.
pub const MAX_PREDICATE_TYPE: usize = 512;
/// How deep subjects and predicate sit in a request: members of its root object.
const MEMBER_DEPTH: usize = 1;
/// Most bytes of annotations, names and values of all subjects together: a plan's size limit counts the predicate, so
/// what is not predicate must be small.
pub const MAX_ANNOTATION_BYTES: usize = 1024 * 1024;

/// More than the stamp of one subject has: three names, two identifiers and an image digest, and what is between them.
const MAX_STAMP_BYTES: usize = 512;

/// Why a request's content has no statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The subjects are at fault.
    #[error(transparent)]
    Subject(#[from] SubjectError),
    /// The predicate or its type is at fault: 422 `invalid_predicate`.
    #[error("{0}")]
    Predicate(String),
    /// The predicate is not strict JSON: 400 `invalid_json`.
    #[error("predicate: {0}")]
    Json(CanonicalError),
}

/// A statement whose shape is right and whose stamp is still missing.
#[derive(Debug)]
pub struct StatementDraft {
    /// `{"_type":…,"predicate":…` so far.
    buffer: Vec<u8>,
    subjects: Vec<Subject>,
    predicate_type: String,
    predicate_bytes: u64,
    /// Where the members are in the buffer by which the predicate's shape is told.
    noted: Vec<Option<Range<usize>>>,
}

/// What the gates say of a statement, added to each of its subjects (contract §2.1).
#[derive(Clone, Debug)]
pub struct Stamp {
    /// `stella.ops/tenant`
    pub tenant: TenantId,
    /// `stella.ops/installation`
    pub installation: InstallationId,
    /// `stella.ops/scanner`
    pub scanner: ImageDigest,
}

/// A finished statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The canonical JSON: the envelope's payload.
    pub payload: bytes::Bytes,
    /// SHA-256 of the payload.
    pub digest: Sha256Digest,
    /// Predicate type.
    pub predicate_type: String,
    /// The first subject digests, as `algorithm:hex`, for the audit record.
    pub listed_subjects: Vec<String>,
    /// How many subjects there are.
    pub subject_count: usize,
    /// SHA-256 over the canonical JSON of all subjects.
    pub subjects_digest: Sha256Digest,
}

impl StatementDraft {
    /// Checks subjects, predicate type and predicate, and canonicalises the predicate if it is not canonical yet.
    pub fn new<'a>(
        subjects: Vec<Subject>,
        predicate_type: String,
        predicate: impl Into<Predicate<'a>>,
    ) -> Result<Self, StatementError> {
        check_subjects(&subjects)?;
        check_predicate_type(&predicate_type)?;
        let predicate = match predicate.into() {
            Predicate::Received(received) => CanonicalPredicate::of(received)?,
            Predicate::Canonical(canonical) => canonical,
        };
        if predicate.is_empty() {
            return Err(StatementError::Predicate(
                "predicate is empty: a statement must say something".into(),
            ));
        }
        let mut draft = Self {
            buffer: predicate.buffer,
            subjects,
            predicate_type,
            predicate_bytes: u64::try_from(predicate.received).unwrap_or(u64::MAX),
            noted: predicate.noted,
        };
        draft.canonicalize_annotations()?;
        Ok(draft)
    }

    /// Refuses a predicate that has not the shape of its type ([`predicates`]). What it says is nobody's business here.
    pub fn of_its_shape(mut self) -> Result<Self, StatementError> {
        let noted = std::mem::take(&mut self.noted);
        match predicates::misfit(&self.predicate_type, &self.buffer, &noted) {
            Some(what) => Err(StatementError::Predicate(what)),
            None => Ok(self),
        }
    }

    /// Size of the predicate as received, in bytes: what the plan's size limit counts.
    pub fn predicate_bytes(&self) -> u64 {
        self.predicate_bytes
    }

    /// The predicate type.
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// How long the payload will be at most, in bytes, whoever it is stamped by.
    pub fn payload_bytes_at_most(&self) -> usize {
        let mut rest = Vec::new();
        self.write_rest(None, &mut rest);
        let stamps = self.subjects.len().saturating_mul(MAX_STAMP_BYTES);
        self.buffer
            .len()
            .saturating_add(rest.len())
            .saturating_add(stamps)
    }

    /// SHA-256 of the statement as it is now, without a stamp: equal for equal content, however it was spelled.
    pub fn content_digest(&self) -> Sha256Digest {
        let mut rest = Vec::new();
        self.write_rest(None, &mut rest);
        Sha256Digest::of_parts(&[&self.buffer, &rest])
    }

    /// Predicate type and subjects, and where in `out` the latter begin.
    fn write_rest(&self, stamp: Option<&Stamp>, out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(b",\"predicateType\":");
        write_string(&self.predicate_type, out);
        out.extend_from_slice(b",\"subject\":");
        let start = out.len();
        write_list(out, b'[', b']', self.subjects.iter(), |subject, out| {
            write_subject(subject, stamp, out)
        });
        start
    }

    /// Annotation values are arbitrary JSON: bring each into canonical form, or refuse it, before any gate runs.
    fn canonicalize_annotations(&mut self) -> Result<(), StatementError> {
        let annotations = self
            .subjects
            .iter()
            .flat_map(|subject| subject.annotations.iter().flatten());
        let bytes: usize = annotations
            .map(|(name, value)| name.len() + value.get().len())
            .sum();
        if bytes > MAX_ANNOTATION_BYTES {
            return Err(StatementError::Subject(SubjectError::Shape(format!(
                "the annotations of all subjects have {bytes} bytes: at most {MAX_ANNOTATION_BYTES} are allowed, put \
                 what is larger into the predicate"
            ))));
        }
        for (index, subject) in self.subjects.iter_mut().enumerate() {
            let refuse = |what: &dyn std::fmt::Display| {
                StatementError::Subject(SubjectError::Shape(format!(
                    "subject[{index}].annotations: {what}"
                )))
            };
            for (name, value) in subject.annotations.iter_mut().flatten() {
                if name.len() > super::canonical::MAX_NAME_BYTES {
                    return Err(refuse(&"a name is longer than 1024 bytes"));
                }
                let mut canonical = Vec::with_capacity(value.get().len());
                // subject → element → annotations → value
                canonicalize(value.get(), MEMBER_DEPTH + 3, &mut canonical).map_err(|error| match error {
                    CanonicalError::Number { .. } | CanonicalError::NameTooLong { .. } => refuse(&error),
                    other => StatementError::Json(other),
                })?;
                let text = String::from_utf8(canonical).map_err(|error| refuse(&error))?;
                *value = RawValue::from_string(text).map_err(|error| refuse(&error))?;
            }
        }
        Ok(())
    }

    /// Adds predicate type and stamped subjects, and closes the statement.
    pub fn finish(mut self, stamp: Option<&Stamp>) -> Statement {
        let mut buffer = std::mem::take(&mut self.buffer);
        let start = self.write_rest(stamp, &mut buffer);
        let Self {
            subjects,
            predicate_type,
            ..
        } = self;
        let subjects_digest = Sha256Digest::of(buffer.get(start..).unwrap_or_default());
        buffer.push(b'}');
        let listed_subjects = subjects
            .iter()
            .filter_map(|s| {
                s.digest
                    .get_key_value("sha256")
                    .or_else(|| s.digest.first_key_value())
            })
            .map(|(algorithm, hex)| format!("{algorithm}:{hex}"))
            .take(super::audit::MAX_LISTED_SUBJECTS)
            .collect();
        Statement {
            digest: Sha256Digest::of(&buffer),
            payload: bytes::Bytes::from(buffer),
            predicate_type,
            listed_subjects,
            subject_count: subjects.len(),
            subjects_digest,
        }
    }
}

/// A predicate type is an absolute URI (in-toto statement.md, TypeURI): `scheme:rest` in visible ASCII.
fn check_predicate_type(value: &str) -> Result<(), StatementError> {
    let scheme_fits = value.split_once(':').is_some_and(|(scheme, rest)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
            && !rest.is_empty()
    });
    let text_fits = value.len() <= MAX_PREDICATE_TYPE
        && value
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\' | b'<' | b'>' | b'^' | b'`'));
    if scheme_fits && text_fits {
        return Ok(());
    }
    if let Some(uri) = predicates::uri_of_bare(value) {
        let what = format!("predicateType must be a full URI: write {uri}");
        return Err(StatementError::Predicate(what));
    }
    Err(StatementError::Predicate(format!(
        "predicateType must be an absolute URI of at most {MAX_PREDICATE_TYPE} visible ASCII characters, \
         such as https://cyclonedx.org/bom"
    )))
}

/// Writes a list of things between two brackets with commas in between.
fn write_list<T>(
    out: &mut Vec<u8>,
    open: u8,
    close: u8,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

/// Writes `"name":` and then whatever the value is.
fn write_member(name: &str, out: &mut Vec<u8>) {
    write_string(name, out);
    out.push(b':');
}

fn write_subject(subject: &Subject, stamp: Option<&Stamp>, out: &mut Vec<u8>) {
    // Members in canonical order: annotations, digest, downloadLocation, mediaType, name, uri.
    out.push(b'{');
    let annotations = annotations_of(subject, stamp);
    if !annotations.is_empty() {
        write_member("annotations", out);
        write_list(out, b'{', b'}', annotations.into_iter(), |(name, value), out| {
            write_member(name, out);
            out.extend_from_slice(value.as_bytes());
        });
        out.push(b',');
    }
    write_member("digest", out);
    // Digest algorithm names are ASCII, so the map's byte order is the canonical one.
    write_list(out, b'{', b'}', subject.digest.iter(), |(algorithm, hex), out| {
        write_member(algorithm, out);
        write_string(hex, out);
    });
    let texts = [
        ("downloadLocation", &subject.download_location),
        ("mediaType", &subject.media_type),
        ("name", &subject.name),
        ("uri", &subject.uri),
    ];
    for (member, text) in texts {
        let Some(text) = text else { continue };
        out.push(b',');
        write_member(member, out);
        write_string(text, out);
    }
    out.push(b'}');
}

/// The caller's annotations and the stamp, in canonical order, values as canonical JSON text.
fn annotations_of<'a>(subject: &'a Subject, stamp: Option<&'a Stamp>) -> Vec<(&'a str, String)> {
    // Stamp values are names without quotes or control characters, so quoting them is all it takes.
    let quoted = |value: &dyn std::fmt::Display| format!("\"{value}\"");
    let mut all: Vec<(&str, String)> = subject
        .annotations
        .iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value.get().to_owned()))
        .collect();
    if let Some(stamp) = stamp {
        all.push(("stella.ops/installation", quoted(&stamp.installation)));
        all.push(("stella.ops/scanner", quoted(&stamp.scanner)));
        all.push(("stella.ops/tenant", quoted(&stamp.tenant)));
    }
    all.sort_by(|(a, _), (b, _)| compare_names(a, b));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "abababababababababababababababababababababababababababababababab";

    fn draft(subjects: &str, predicate: &str) -> Result<StatementDraft, StatementError> {
        let subjects = serde_json::from_str(subjects).expect("subjects");
        let predicate = RawValue::from_string(predicate.to_owned()).expect("predicate");
        StatementDraft::new(subjects, "https://cyclonedx.org/bom".into(), &*predicate)
    }

    fn one_subject() -> String {
        format!(r#"[{{"name":"app","digest":{{"sha256":"{HEX}"}}}}]"#)
    }

    fn stamp() -> Stamp {
        Stamp {
            tenant: TenantId::parse("acme").expect("tenant"),
            installation: InstallationId::parse("acme-1").expect("installation"),
            scanner: ImageDigest::parse(&format!("sha256:{HEX}")).expect("digest"),
        }
    }

    #[test]
    fn a_statement_is_canonical_and_stamped() {
        let statement = draft(&one_subject(), r#"{ "z": 1.0, "a": [true, null] }"#)
            .expect("valid")
            .finish(Some(&stamp()));
        // Written by hand from RFC 8785 §3.2.3 and in-toto statement.md.
        let expected = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{"a":[true,null],"z":1}},"predicateType":"https://cyclonedx.org/bom","subject":[{{"annotations":{{"stella.ops/installation":"acme-1","stella.ops/scanner":"sha256:{HEX}","stella.ops/tenant":"acme"}},"digest":{{"sha256":"{HEX}"}},"name":"app"}}]}}"#
        );
        assert_eq!(String::from_utf8_lossy(&statement.payload), expected);
        assert_eq!(statement.digest, Sha256Digest::of(expected.as_bytes()));
        assert_eq!(statement.listed_subjects, [format!("sha256:{HEX}")]);
    }

    #[test]
    fn order_and_spacing_of_the_request_do_not_matter() {
        let a = draft(&one_subject(), r#"{"b":[1,2],"a":"é"}"#)
            .expect("valid")
            .finish(None);
        let b = draft(&one_subject(), "{\n \"a\" : \"\\u00e9\",\n \"b\":[ 1, 2.0e0 ]}")
            .expect("valid")
            .finish(None);
        assert_eq!(a.payload, b.payload);
    }

    #[test]
    fn content_is_equal_whatever_its_spelling_and_stamp() {
        let digest = |predicate: &str| draft(&one_subject(), predicate).expect("valid").content_digest();
        let first = digest(r#"{"b":[1,2],"a":"é"}"#);
        assert_eq!(first, digest("{\n \"a\" : \"\\u00e9\",\n \"b\":[ 1, 2.0e0 ]}"));
        assert_ne!(first, digest(r#"{"b":[2,1],"a":"é"}"#));
        // A statement without a stamp lacks but its last brace.
        let finished = draft(&one_subject(), r#"{"a":1}"#).expect("valid").finish(None);
        let payload = finished.payload.strip_suffix(b"}").expect("a brace");
        assert_eq!(digest(r#"{"a":1}"#), Sha256Digest::of(payload));
    }

    #[test]
    fn annotations_of_the_caller_are_kept_in_order() {
        let subjects = format!(
            r#"[{{"name":"app","digest":{{"sha256":"{HEX}"}},"annotations":{{"zz":{{"b":1,"a":2}},"a":"x"}}}}]"#
        );
        let statement = draft(&subjects, r#"{"a":1}"#)
            .expect("valid")
            .finish(Some(&stamp()));
        let text = String::from_utf8_lossy(&statement.payload).into_owned();
        assert!(
            text.contains(r#""annotations":{"a":"x","stella.ops/installation":"acme-1","#),
            "{text}"
        );
        assert!(text.contains(r#""zz":{"a":2,"b":1}"#), "{text}");
    }

    #[test]
    fn annotations_are_bounded_over_all_subjects() {
        let sized = |bytes: usize| {
            let half = "x".repeat(bytes / 2 - 3);
            let subject =
                format!(r#"{{"name":"app","digest":{{"sha256":"{HEX}"}},"annotations":{{"a":"{half}"}}}}"#);
            draft(&format!("[{subject},{subject}]"), r#"{"a":1}"#)
        };
        assert!(sized(MAX_ANNOTATION_BYTES).is_ok());
        assert!(matches!(
            sized(MAX_ANNOTATION_BYTES + 2),
            Err(StatementError::Subject(SubjectError::Shape(_)))
        ));
    }

    #[test]
    fn predicates_that_say_nothing_or_change_are_refused() {
        for bad in [
            "[]",
            "null",
            "\"x\"",
            "{}",
            "{ }",
            r#"{"n":1e400}"#,
            r#"{"n":12345678901234567890}"#,
        ] {
            assert!(
                matches!(draft(&one_subject(), bad), Err(StatementError::Predicate(_))),
                "{bad}"
            );
        }
        let twice = r#"{"a":1,"a":1}"#;
        assert!(matches!(
            draft(&one_subject(), twice),
            Err(StatementError::Json(_))
        ));
    }

    #[test]
    fn predicate_types_are_absolute_uris() {
        for good in [
            "https://cyclonedx.org/bom",
            "https://stella.ops/sbom@v1",
            "urn:x:y",
        ] {
            assert!(check_predicate_type(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "bom",
            "stella.ops/sbom@v1",
            "https:",
            "1x:y",
            "https://a b",
            "https://a\u{7f}",
            &format!("x:{}", "y".repeat(511)),
        ] {
            assert!(check_predicate_type(bad).is_err(), "{bad}");
        }
    }
}
