//! Subjects: what a statement is about (in-toto attestation v1, ResourceDescriptor).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::digest::is_lower_hex;

/// Bounds on subjects (contract §2.1).
pub const MAX_SUBJECTS: usize = 1024;
/// Bounds on digests of one subject (contract §2.1).
pub const MAX_DIGESTS: usize = 32;
/// Longest name, URI, media type or download location, in bytes.
pub const MAX_TEXT: usize = 4096;
/// Annotations with this prefix are ours (contract §2.1).
pub const OWN_ANNOTATIONS: &str = "stella.ops/";

/// Digest algorithms of in-toto's `DigestSet` (spec/v1/digest_set.md) with the length of their value in hex digits.
const ALGORITHMS: &[(&str, usize)] = &[
    ("sha256", 64),
    ("sha224", 56),
    ("sha384", 96),
    ("sha512", 128),
    ("sha512_224", 56),
    ("sha512_256", 64),
    ("sha3_224", 56),
    ("sha3_256", 64),
    ("sha3_384", 96),
    ("sha3_512", 128),
    ("sm3", 64),
    ("blake2b", 128),
    ("blake2s", 64),
    ("ripemd160", 40),
    ("sha1", 40),
    ("md5", 32),
    ("gitCommit", 40),
    ("gitTree", 40),
    ("gitBlob", 40),
    ("gitTag", 40),
];

/// Algorithms for which collisions are practical: welcome beside another, never alone.
const BROKEN: &[&str] = &["sha1", "md5"];

/// One subject as the caller sent it; checked by [`check_subjects`].
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// Name of the artifact.
    #[serde(default)]
    pub name: Option<String>,
    /// URI of the artifact.
    #[serde(default)]
    pub uri: Option<String>,
    /// Digests by algorithm; at least one.
    #[serde(deserialize_with = "unique_members")]
    pub digest: BTreeMap<String, String>,
    /// Where to get it.
    #[serde(default)]
    pub download_location: Option<String>,
    /// Its media type.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Further facts; members beginning with [`OWN_ANNOTATIONS`] are refused.
    #[serde(default, deserialize_with = "unique_optional_members")]
    pub annotations: Option<BTreeMap<String, Box<RawValue>>>,
}

/// Why subjects were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// 422 `invalid_subject`
    #[error("{0}")]
    Shape(String),
    /// 400 `invalid_digest`
    #[error("{0}")]
    Digest(String),
}

/// Reads an object into a map and refuses a member that occurs twice (RFC 7493 §2.3).
fn unique_members<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: serde::Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Visitor<V>(std::marker::PhantomData<V>);
    impl<'de, V: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, V>()? {
                if members.contains_key(&name) {
                    return Err(serde::de::Error::custom(format_args!("duplicate field `{name}`")));
                }
                members.insert(name, value);
            }
            Ok(members)
        }
    }
    deserializer.deserialize_map(Visitor(std::marker::PhantomData))
}

fn unique_optional_members<'de, D>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, Box<RawValue>>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    unique_members(deserializer).map(Some)
}

/// Checks count, names and digests of all subjects.
pub fn check_subjects(subjects: &[Subject]) -> Result<(), SubjectError> {
    if subjects.is_empty() {
        return Err(SubjectError::Shape(
            "subject is empty: name at least one artifact with its digest".into(),
        ));
    }
    if subjects.len() > MAX_SUBJECTS {
        let count = subjects.len();
        return Err(SubjectError::Shape(format!(
            "{count} subjects: at most {MAX_SUBJECTS} are allowed, split the request"
        )));
    }
    subjects
        .iter()
        .enumerate()
        .try_for_each(|(index, subject)| check_subject(index, subject))
}

fn check_subject(index: usize, subject: &Subject) -> Result<(), SubjectError> {
    let texts = [
        ("name", &subject.name),
        ("uri", &subject.uri),
        ("downloadLocation", &subject.download_location),
        ("mediaType", &subject.media_type),
    ];
    for (member, text) in texts {
        let Some(text) = text else { continue };
        if text.is_empty() || text.len() > MAX_TEXT || text.chars().any(char::is_control) {
            return Err(SubjectError::Shape(format!(
                "subject[{index}].{member} must be 1 to {MAX_TEXT} bytes without control characters"
            )));
        }
    }
    if subject.name.is_none() && subject.uri.is_none() {
        return Err(SubjectError::Shape(format!(
            "subject[{index}] has neither name nor uri: give one"
        )));
    }
    if subject.digest.is_empty() || subject.digest.len() > MAX_DIGESTS {
        return Err(SubjectError::Shape(format!(
            "subject[{index}].digest must have 1 to {MAX_DIGESTS} members"
        )));
    }
    for (algorithm, value) in &subject.digest {
        check_digest(index, algorithm, value)?;
    }
    if subject.digest.keys().all(|a| BROKEN.contains(&a.as_str())) {
        return Err(SubjectError::Shape(format!(
            "subject[{index}].digest has only sha1 or md5, which can be forged: add a sha256"
        )));
    }
    let own = subject
        .annotations
        .iter()
        .flat_map(|a| a.keys())
        .find(|name| name.starts_with(OWN_ANNOTATIONS));
    match own {
        Some(_) => Err(SubjectError::Shape(format!(
            "subject[{index}].annotations: names beginning with {OWN_ANNOTATIONS} are set by the signer, remove them"
        ))),
        None => Ok(()),
    }
}

fn check_digest(index: usize, algorithm: &str, value: &str) -> Result<(), SubjectError> {
    let Some((name, len)) = ALGORITHMS.iter().find(|(name, _)| *name == algorithm) else {
        return Err(SubjectError::Digest(format!(
            "subject[{index}].digest has an unknown algorithm: use sha256 or another of the in-toto digest set"
        )));
    };
    // Git objects may be SHA-256 too (in-toto digest_set.md, gitCommit).
    let git = name.starts_with("git");
    if is_lower_hex(value, *len) || (git && is_lower_hex(value, 64)) {
        return Ok(());
    }
    Err(SubjectError::Digest(format!(
        "subject[{index}].digest.{name} must be {len} lowercase hexadecimal digits"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<(), SubjectError> {
        let subjects: Vec<Subject> = serde_json::from_str(json).expect("subjects in JSON");
        check_subjects(&subjects)
    }

    #[test]
    fn a_subject_with_name_and_sha256_passes() {
        let hex = "ab".repeat(32);
        assert_eq!(
            check(&format!(r#"[{{"name":"app","digest":{{"sha256":"{hex}"}}}}]"#)),
            Ok(())
        );
        let commit = "cd".repeat(20);
        assert_eq!(
            check(&format!(
                r#"[{{"uri":"git+https://x","digest":{{"gitCommit":"{commit}"}}}}]"#
            )),
            Ok(())
        );
    }

    #[test]
    fn digests_are_lowercase_hex_of_the_right_length() {
        for bad in [
            "AB".repeat(32),
            "ab".repeat(31),
            format!("{}g", "a".repeat(63)),
            String::new(),
        ] {
            let json = format!(r#"[{{"name":"app","digest":{{"sha256":"{bad}"}}}}]"#);
            assert!(matches!(check(&json), Err(SubjectError::Digest(_))), "{bad}");
        }
        let unknown = r#"[{"name":"app","digest":{"crc32":"00000000"}}]"#;
        assert!(matches!(check(unknown), Err(SubjectError::Digest(_))));
    }

    #[test]
    fn shape_is_bounded() {
        let hex = "ab".repeat(32);
        let sha1 = "ab".repeat(20);
        let many = format!(
            "[{}]",
            vec![format!(r#"{{"name":"a","digest":{{"sha256":"{hex}"}}}}"#); 1025].join(",")
        );
        for bad in [
            "[]".to_owned(),
            r#"[{"name":"app","digest":{}}]"#.to_owned(),
            format!(r#"[{{"digest":{{"sha256":"{hex}"}}}}]"#),
            format!(r#"[{{"name":"","digest":{{"sha256":"{hex}"}}}}]"#),
            format!(r#"[{{"name":"app","digest":{{"sha1":"{sha1}"}}}}]"#),
            format!(
                r#"[{{"name":"a","digest":{{"sha256":"{hex}"}},"annotations":{{"stella.ops/tenant":"x"}}}}]"#
            ),
            many,
        ] {
            assert!(
                matches!(check(&bad), Err(SubjectError::Shape(_))),
                "{}",
                &bad[..bad.len().min(120)]
            );
        }
    }

    #[test]
    fn duplicate_digest_members_are_refused() {
        let hex = "ab".repeat(32);
        let json = format!(r#"[{{"name":"app","digest":{{"sha256":"{hex}","sha256":"{hex}"}}}}]"#);
        assert!(serde_json::from_str::<Vec<Subject>>(&json).is_err());
    }
}
