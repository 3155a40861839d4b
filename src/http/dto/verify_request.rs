//! The body of `POST /verify/dsse` (contract §2.4).

use serde_json::value::RawValue;

use super::body::{BodyError, BodyErrorKind, Members, scan, string, text_of};
use crate::bundle::envelope::Envelope;
use crate::bundle::sigstore::SigstoreBundle;
use crate::bundle::verify::{Document, GivenKey};

/// Longest `publicKey`, in bytes.
const MAX_PUBLIC_KEY: usize = 16 * 1024;
/// Longest `subjectDigest`: the name of an algorithm, a colon, SHA-512 in hexadecimal, with room to spare.
const MAX_SUBJECT_DIGEST: usize = 256;

const MEMBERS: &[&str] = &["dsse", "publicKey", "sigstoreBundle", "subjectDigest"];

/// What is to be verified, and against what.
#[derive(Debug)]
pub struct VerifyBody {
    /// `dsse` or `sigstoreBundle`.
    pub document: Document,
    /// `publicKey`; only with `dsse`, as a bundle names its own signer.
    pub public_key: Option<GivenKey>,
    /// `subjectDigest`, as `algorithm:hex`.
    pub subject_digest: Option<String>,
}

/// Reads a body. Strict JSON comes first, then unknown members, then each member.
///
/// # Errors
/// 400; no word of the body is repeated.
pub fn parse_verify_request(body: &[u8]) -> Result<VerifyBody, BodyError> {
    let members = Members::read(text_of(body)?, "the body", BodyErrorKind::Request)?;
    for (name, value) in members.iter() {
        let known = MEMBERS.iter().find(|known| **known == name);
        scan(
            value,
            known.unwrap_or(&"an unknown member"),
            1,
            BodyErrorKind::Request,
        )?;
    }
    members.only(MEMBERS, BodyErrorKind::Request)?;
    let public_key = members.optional("publicKey").map(public_key).transpose()?;
    let subject_digest = members
        .optional("subjectDigest")
        .map(subject_digest)
        .transpose()?;
    let document = match (members.optional("dsse"), members.optional("sigstoreBundle")) {
        (Some(dsse), None) => envelope(dsse)?,
        (None, Some(bundle)) if public_key.is_none() => sigstore_bundle(bundle)?,
        (None, Some(_)) => {
            return Err(refused(
                "publicKey goes with dsse: a Sigstore bundle names its own signer",
            ));
        }
        _ => return Err(refused("the body must have either dsse or sigstoreBundle")),
    };
    Ok(VerifyBody {
        document,
        public_key,
        subject_digest,
    })
}

fn refused(detail: &str) -> BodyError {
    BodyError::new(BodyErrorKind::Request, detail)
}

/// Unknown members of an envelope are ignored, as DSSE wants it (`envelope.md`, "Parsing rules").
fn envelope(raw: &RawValue) -> Result<Document, BodyError> {
    let what = "dsse must be a DSSE envelope: payloadType, payload, and signatures, each with sig";
    let envelope = serde_json::from_str::<Envelope>(object(raw, what)?);
    envelope.map(Document::envelope).map_err(|_| refused(what))
}

fn sigstore_bundle(raw: &RawValue) -> Result<Document, BodyError> {
    let what = "sigstoreBundle must be a Sigstore bundle v0.3 with a DSSE envelope, and nothing else in it";
    let bundle = SigstoreBundle::parse(object(raw, what)?.as_bytes());
    bundle.and_then(Document::bundle).map_err(|_| refused(what))
}

/// serde would read an array as a struct, too.
fn object<'a>(raw: &'a RawValue, what: &str) -> Result<&'a str, BodyError> {
    let text = raw.get();
    text.starts_with('{').then_some(text).ok_or_else(|| refused(what))
}

fn public_key(raw: &RawValue) -> Result<GivenKey, BodyError> {
    let pem = string(raw, "publicKey")?;
    let key = (pem.len() <= MAX_PUBLIC_KEY).then(|| GivenKey::from_pem(pem.as_bytes()).ok());
    key.flatten()
        .ok_or_else(|| refused("publicKey must be a public key in PEM of a kind that signs here"))
}

fn subject_digest(raw: &RawValue) -> Result<String, BodyError> {
    let text = string(raw, "subjectDigest")?;
    let parts = text.split_once(':').filter(|(algorithm, hex)| {
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        text.len() <= MAX_SUBJECT_DIGEST
            && !algorithm.is_empty()
            && !hex.is_empty()
            && hex.bytes().all(lower_hex)
            && (*algorithm != "sha256" || hex.len() == 64)
    });
    if parts.is_none() {
        let detail = "subjectDigest must be algorithm:hex, for sha256 with 64 lowercase hexadecimal digits";
        return Err(BodyError::new(BodyErrorKind::Digest, detail));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_another_shape_are_refused() {
        const DSSE: &str = r#"{"payloadType":"t","payload":"e30=","signatures":[{"sig":"AQ=="}]}"#;
        #[track_caller]
        fn check(body: &str, code: &str) {
            let error = parse_verify_request(body.as_bytes()).unwrap_err();
            assert_eq!(error.code(), code, "{body}: {error}");
        }
        let good = format!(
            r#"{{"dsse":{DSSE},"subjectDigest":"sha256:{}"}}"#,
            "ab".repeat(32)
        );
        assert!(parse_verify_request(good.as_bytes()).is_ok());
        for (body, code) in [
            ("", "invalid_json"),
            ("[]", "invalid_request"),
            ("{}", "invalid_request"),
            (r#"{"dsse":null}"#, "invalid_request"),
            (&format!(r#"{{"dsse":{DSSE},"dsse":{DSSE}}}"#), "invalid_json"),
            (
                &format!(r#"{{"dsse":{DSSE},"sigstoreBundle":{DSSE}}}"#),
                "invalid_request",
            ),
            (&format!(r#"{{"sigstoreBundle":{DSSE}}}"#), "invalid_request"),
            (&format!(r#"{{"dsse":{DSSE},"trust":{{}}}}"#), "invalid_request"),
            (
                &format!(r#"{{"dsse":{DSSE},"publicKey":"x"}}"#),
                "invalid_request",
            ),
            (&format!(r#"{{"dsse":{DSSE},"publicKey":1}}"#), "invalid_request"),
            (
                &format!(r#"{{"dsse":{DSSE},"subjectDigest":"sha256:AB"}}"#),
                "invalid_digest",
            ),
            (
                &format!(r#"{{"dsse":{DSSE},"subjectDigest":"ab"}}"#),
                "invalid_digest",
            ),
            (r#"{"dsse":["t","e30=",[]]}"#, "invalid_request"),
            (
                r#"{"dsse":{"payloadType":"t","payload":"e30="}}"#,
                "invalid_request",
            ),
            (
                r#"{"dsse":{"payloadType":"t","payload":"","payload":"e30=","signatures":[]}}"#,
                "invalid_json",
            ),
        ] {
            check(body, code);
        }
        let many = format!(
            r#"{{"dsse":{{"payloadType":"t","payload":"e30=","signatures":[{}]}}}}"#,
            vec![r#"{"sig":"AQ=="}"#; 65].join(",")
        );
        check(&many, "invalid_request");
    }
}
