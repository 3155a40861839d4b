//! The body of `POST /sign/dsse` (contract §2.1).
//!
//! A body as it should be is walked once, its predicate into canonical form. Any other is read step by step: everything but
//! the predicate is checked strictly here, as is the predicate's syntax, and the rest of it by
//! [`StatementDraft::new`](signer_actors::domain::statement::StatementDraft::new).

use std::fmt;
use std::time::Duration;

use serde_json::value::RawValue;
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::SigningMode;
use signer_actors::domain::statement::{CanonicalPredicate, Predicate};
use signer_actors::domain::subject::{MAX_SUBJECTS, Subject};

use super::body::{BodyError, BodyErrorKind, Members, boolean, elements, scan, string, text_of};

/// Longest proof of entitlement, in bytes.
pub const MAX_POE: usize = 16 * 1024;
/// Longest `options.expirySeconds`.
pub const MAX_EXPIRY_SECONDS: u64 = 600;

const MEMBERS: &[&str] = &[
    "subject",
    "predicateType",
    "predicate",
    "scannerImageDigest",
    "poe",
    "options",
];
const OPTIONS: &[&str] = &[
    "signingMode",
    "keyId",
    "returnBundle",
    "expirySeconds",
    "timestamp",
    "dryRun",
];

/// A request to sign, of the right shape. Subjects, predicate type and predicate are yet to be checked by
/// [`StatementDraft::new`](signer_actors::domain::statement::StatementDraft::new).
#[derive(Debug)]
pub struct SignBody<'a> {
    /// `subject`: at most [`MAX_SUBJECTS`].
    pub subjects: Vec<Subject>,
    /// `predicateType`
    pub predicate_type: String,
    /// `predicate`: an object.
    pub predicate: Predicate<'a>,
    /// `scannerImageDigest`
    pub scanner: ImageDigest,
    /// `poe`; without one the entitlement gate answers `entitlement_required`.
    pub poe: Option<Poe>,
    /// `options`
    pub options: SignOptions,
}

/// A proof of entitlement as presented: 1 to [`MAX_POE`] bytes, unverified.
#[derive(Clone, PartialEq, Eq)]
pub struct Poe(String);

impl Poe {
    /// The JWT. A credential: not for logs, records or errors.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Poe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poe(redacted)")
    }
}

/// `options`; `None` leaves the choice to configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignOptions {
    /// `signingMode`
    pub mode: Option<SigningMode>,
    /// `keyId`
    pub key_id: Option<KeyId>,
    /// `returnBundle`
    pub return_bundle: Option<ReturnBundle>,
    /// `expirySeconds`: 1 to [`MAX_EXPIRY_SECONDS`] seconds.
    pub expiry: Option<Duration>,
    /// `timestamp`
    pub timestamp: Option<bool>,
    /// `dryRun`
    pub dry_run: Option<bool>,
}

/// What a response carries (contract §2.1, `returnBundle`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReturnBundle {
    /// The envelope.
    #[default]
    Dsse,
    /// The envelope and beside it a Sigstore bundle v0.3.
    Sigstore,
}

impl ReturnBundle {
    /// `dsse` or `sigstore`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dsse => "dsse",
            Self::Sigstore => "sigstore",
        }
    }
}

/// Reads a body. Strict JSON comes first, then unknown members, then each member in the order of the contract.
pub fn parse_sign_request(body: &[u8]) -> Result<SignBody<'_>, BodyError> {
    let text = text_of(body)?;
    match in_one_walk(text) {
        Some((members, predicate)) => sign_body(&members, Some(predicate)),
        None => step_by_step(text),
    }
}

/// A body that is strict JSON and has a predicate, which comes out of it in canonical form.
fn in_one_walk(text: &str) -> Option<(Members<'_>, CanonicalPredicate)> {
    let (others, predicate) = CanonicalPredicate::of_request(text)?;
    Some((Members::parted("the body", &others)?, predicate))
}

/// Any body: what is wrong with it is told in the order in which it is looked at.
fn step_by_step(text: &str) -> Result<SignBody<'_>, BodyError> {
    let members = Members::read(text, "the body", BodyErrorKind::Request)?;
    for (name, value) in members.iter() {
        if name != "predicate" {
            scan_member(&path_of(name), value)?;
        }
    }
    sign_body(&members, None)
}

/// `predicate`: where it is not one of the members, as it is canonical already.
fn sign_body<'a>(
    members: &Members<'a>,
    predicate: Option<CanonicalPredicate>,
) -> Result<SignBody<'a>, BodyError> {
    members.only(MEMBERS, BodyErrorKind::Request)?;
    let subject = members.required("subject")?;
    let predicate_type = members.required("predicateType")?;
    let predicate = match predicate {
        Some(canonical) => Predicate::Canonical(canonical),
        None => Predicate::Received(members.required("predicate")?),
    };
    let scanner = members.required("scannerImageDigest")?;
    Ok(SignBody {
        subjects: subjects(subject)?,
        predicate_type: string(predicate_type, "predicateType")?,
        predicate: match predicate {
            Predicate::Received(received) => Predicate::Received(object(received)?),
            canonical => canonical,
        },
        scanner: image_digest(scanner)?,
        poe: members.optional("poe").map(poe).transpose()?,
        options: members
            .optional("options")
            .map(|raw| options(raw, OPTIONS))
            .transpose()?
            .unwrap_or_default(),
    })
}

/// A member's name for errors, if it is one of ours.
pub(super) fn path_of(name: &str) -> String {
    let known = MEMBERS.iter().find(|known| **known == name);
    known.map_or_else(|| "an unknown member".to_owned(), |known| (*known).to_owned())
}

pub(super) fn scan_member(path: &str, value: &RawValue) -> Result<(), BodyError> {
    let kind = if path == "subject" {
        BodyErrorKind::Subject
    } else {
        BodyErrorKind::Request
    };
    scan(value, path, 1, kind)
}

pub(super) fn object(predicate: &RawValue) -> Result<&RawValue, BodyError> {
    if predicate.get().starts_with('{') {
        return Ok(predicate);
    }
    let detail = "predicate must be an object";
    Err(BodyError::new(BodyErrorKind::Predicate, detail))
}

pub(super) fn image_digest(raw: &RawValue) -> Result<ImageDigest, BodyError> {
    ImageDigest::parse(&string(raw, "scannerImageDigest")?).ok_or_else(|| {
        let detail = "scannerImageDigest must be sha256: and 64 lowercase hexadecimal digits";
        BodyError::new(BodyErrorKind::Digest, detail)
    })
}

pub(super) fn poe(raw: &RawValue) -> Result<Poe, BodyError> {
    let members = Members::read(raw.get(), "poe", BodyErrorKind::Request)?;
    members.only(&["format", "value"], BodyErrorKind::Request)?;
    if string(members.required("format")?, "poe.format")? != "jwt" {
        let detail = "poe.format must be jwt";
        return Err(BodyError::new(BodyErrorKind::Request, detail));
    }
    let value = string(members.required("value")?, "poe.value")?;
    if value.is_empty() || value.len() > MAX_POE {
        let detail = format!("poe.value must be 1 to {MAX_POE} bytes");
        return Err(BodyError::new(BodyErrorKind::Request, detail));
    }
    Ok(Poe(value))
}

/// `known`: the options that there are.
pub(super) fn options(raw: &RawValue, known: &[&str]) -> Result<SignOptions, BodyError> {
    let members = Members::read(raw.get(), "options", BodyErrorKind::Request)?;
    members.only(known, BodyErrorKind::Request)?;
    let flag = |name, path| members.optional(name).map(|raw| boolean(raw, path)).transpose();
    Ok(SignOptions {
        mode: members.optional("signingMode").map(signing_mode).transpose()?,
        key_id: members.optional("keyId").map(key_id).transpose()?,
        return_bundle: members.optional("returnBundle").map(return_bundle).transpose()?,
        expiry: members.optional("expirySeconds").map(expiry).transpose()?,
        timestamp: flag("timestamp", "options.timestamp")?,
        dry_run: flag("dryRun", "options.dryRun")?,
    })
}

fn signing_mode(raw: &RawValue) -> Result<SigningMode, BodyError> {
    match string(raw, "options.signingMode")?.as_str() {
        "keyless" => Ok(SigningMode::Keyless),
        "kms" => Ok(SigningMode::Kms),
        _ => {
            let detail = "options.signingMode must be keyless or kms";
            Err(BodyError::new(BodyErrorKind::Request, detail))
        }
    }
}

fn key_id(raw: &RawValue) -> Result<KeyId, BodyError> {
    KeyId::parse(&string(raw, "options.keyId")?).ok_or_else(|| {
        let detail = "options.keyId must be 1 to 128 characters of [A-Za-z0-9._-]";
        BodyError::new(BodyErrorKind::Request, detail)
    })
}

fn return_bundle(raw: &RawValue) -> Result<ReturnBundle, BodyError> {
    match string(raw, "options.returnBundle")?.as_str() {
        "dsse" => Ok(ReturnBundle::Dsse),
        "sigstore" => Ok(ReturnBundle::Sigstore),
        _ => {
            let detail = "options.returnBundle must be dsse or sigstore";
            Err(BodyError::new(BodyErrorKind::Request, detail))
        }
    }
}

fn expiry(raw: &RawValue) -> Result<Duration, BodyError> {
    let seconds = serde_json::from_str(raw.get()).ok();
    seconds
        .filter(|seconds| (1..=MAX_EXPIRY_SECONDS).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| {
            let detail = format!("options.expirySeconds must be an integer from 1 to {MAX_EXPIRY_SECONDS}");
            BodyError::new(BodyErrorKind::Request, detail)
        })
}

pub(super) fn subjects(raw: &RawValue) -> Result<Vec<Subject>, BodyError> {
    let list = elements(raw, MAX_SUBJECTS).ok_or_else(|| {
        let detail =
            format!("subject must be an array of 1 to {MAX_SUBJECTS} subjects: split a larger request");
        BodyError::new(BodyErrorKind::Subject, detail)
    })?;
    let subject = |(index, raw): (usize, &RawValue)| {
        // serde would read an array as a subject, too.
        let read = serde_json::from_str(raw.get()).ok();
        read.filter(|_| raw.get().starts_with('{'))
            .ok_or_else(|| subject_error(index, raw))
    };
    list.into_iter().enumerate().map(subject).collect()
}

/// Says what serde did not like about a subject.
fn subject_error(index: usize, raw: &RawValue) -> BodyError {
    const TEXTS: &[&str] = &["name", "uri", "downloadLocation", "mediaType"];
    const ALL: &[&str] = &[
        "name",
        "uri",
        "digest",
        "downloadLocation",
        "mediaType",
        "annotations",
    ];
    let path = format!("subject[{index}]");
    let error = |what: &str| BodyError::new(BodyErrorKind::Subject, format!("{path}{what}"));
    let members = match Members::read(raw.get(), &path, BodyErrorKind::Subject) {
        Ok(members) => members,
        Err(error) => return error,
    };
    if let Err(error) = members.only(ALL, BodyErrorKind::Subject) {
        return error;
    }
    let wrong = TEXTS.iter().find(|name| {
        members
            .optional(name)
            .is_some_and(|value| !value.get().starts_with('"'))
    });
    match wrong {
        Some(name) => error(&format!(".{name} must be a string")),
        None if members.get("digest").is_none() => error(" has no member digest: add it"),
        None if members
            .get("annotations")
            .is_some_and(|value| !value.get().starts_with('{')) =>
        {
            error(".annotations must be an object")
        }
        None => error(".digest must be an object of strings"),
    }
}

#[cfg(test)]
#[path = "sign_request_tests.rs"]
mod tests;
