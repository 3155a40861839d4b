//! The bodies of requests: a statement about one file.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::statement::STATEMENT_TYPE;

use super::credentials::Credentials;
use super::error::ClientError;
use super::files;

/// The largest file that is read, in bytes. The service has a limit of its own, and the plan another.
const MAX_FILE: u64 = 512 << 20;
const CYCLONEDX: &str = "https://cyclonedx.org/bom";
const SPDX: &str = "https://spdx.dev/Document";
/// Predicate type of a statement about a file that is no SBOM: the predicate says what the file is.
const PLAIN_FILE: &str = "https://stella.ops/file/v1";

/// How to sign.
#[derive(Clone, Debug, Default)]
pub struct SignOptions {
    /// `keyless` or `kms`; the service's default when absent.
    pub mode: Option<String>,
    /// Which keyful key; the service's default when absent.
    pub key_id: Option<String>,
    /// Predicate type; found by looking at the file when absent. With it, the file must be JSON and is the predicate.
    pub predicate_type: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SignBody<'a> {
    subject: Subjects<'a>,
    predicate_type: &'a str,
    predicate: &'a RawValue,
    scanner_image_digest: &'a str,
    poe: Poe<'a>,
    options: Options<'a>,
}

/// Of the file itself, or as a statement has them.
#[derive(Serialize)]
#[serde(untagged)]
enum Subjects<'a> {
    File([Subject<'a>; 1]),
    Stated(&'a RawValue),
}

/// An in-toto statement that is to be signed as it stands (statement.md); what else is in it is no statement's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated<'a> {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(borrow)]
    subject: &'a RawValue,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    #[serde(borrow)]
    predicate: &'a RawValue,
}

#[derive(Serialize)]
struct Subject<'a> {
    name: &'a str,
    digest: DigestSet,
}

#[derive(Serialize)]
struct DigestSet {
    sha256: String,
}

#[derive(Serialize)]
struct Poe<'a> {
    format: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Options<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<&'a str>,
    return_bundle: &'a str,
}

/// The body of `POST /sign/dsse` for a file: its name and digest are the subject. An SBOM is the predicate as it
/// stands, byte for byte; of any other file the predicate says name, size and digest. An in-toto statement has its own
/// subjects, predicate type and predicate, which are those of the request.
pub(super) fn sign_body(
    file: &Path,
    credentials: &Credentials,
    options: &SignOptions,
) -> Result<Vec<u8>, ClientError> {
    let shown = file.display();
    let usage = |text: &str| ClientError::Usage(format!("{shown} {text}"));
    let content = files::read_bounded(file, MAX_FILE)
        .map_err(|error| ClientError::Usage(format!("{shown} cannot be read: {error}")))?;
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| usage("has no name in UTF-8, which a subject needs"))?;
    let sha256 = Sha256Digest::of(&content).to_hex();
    let json: Option<&RawValue> = serde_json::from_slice(&content).ok();
    let detected = json.and_then(sbom_type);
    let plain;
    let stated = content_of_statement(&content).filter(|_| options.predicate_type.is_none());
    let of_file = || {
        let digest = DigestSet {
            sha256: sha256.clone(),
        };
        Subjects::File([Subject { name, digest }])
    };
    let (subject, predicate_type, predicate) = match (&options.predicate_type, json, detected) {
        _ if let Some(stated) = &stated => {
            let subject = Subjects::Stated(stated.subject);
            (subject, stated.predicate_type.as_str(), stated.predicate)
        }
        (Some(asked), Some(json), _) => (of_file(), asked.as_str(), json),
        (Some(_), None, _) => {
            return Err(usage(
                "is no JSON: a file with --predicate-type must be the predicate",
            ));
        }
        (None, Some(json), Some(detected)) => (of_file(), detected, json),
        (None, _, _) => {
            let facts = serde_json::json!({ "name": name, "size": content.len(), "sha256": sha256 });
            plain = to_raw_value(&facts).map_err(|_| usage("cannot be described"))?;
            (of_file(), PLAIN_FILE, &*plain)
        }
    };
    let body = SignBody {
        subject,
        predicate_type,
        predicate,
        scanner_image_digest: &credentials.scanner_image_digest,
        poe: Poe {
            format: "jwt",
            value: &credentials.poe,
        },
        options: Options {
            signing_mode: options.mode.as_deref(),
            key_id: options.key_id.as_deref(),
            return_bundle: "sigstore",
        },
    };
    serde_json::to_vec(&body).map_err(|_| usage("cannot be put into a request"))
}

/// A file that is an in-toto statement.
fn content_of_statement(content: &[u8]) -> Option<Stated<'_>> {
    let stated: Stated<'_> = serde_json::from_slice(content).ok()?;
    (stated.kind == STATEMENT_TYPE).then_some(stated)
}

/// The members by which SBOM formats are told apart.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Marks {
    bom_format: Option<String>,
    spdx_version: Option<String>,
    #[serde(rename = "@context")]
    context: Option<serde_json::Value>,
}

/// CycloneDX says `bomFormat` (1.6 JSON, "bomFormat"), SPDX 2 says `spdxVersion`, SPDX 3 has its JSON-LD context.
fn sbom_type(json: &RawValue) -> Option<&'static str> {
    let marks: Marks = serde_json::from_str(json.get()).ok()?;
    let spdx3 = |context: serde_json::Value| {
        context
            .as_str()
            .is_some_and(|text| text.starts_with("https://spdx.org/rdf/3."))
    };
    if marks.bom_format.as_deref() == Some("CycloneDX") {
        return Some(CYCLONEDX);
    }
    let spdx2 = marks
        .spdx_version
        .is_some_and(|version| version.starts_with("SPDX-"));
    (spdx2 || marks.context.is_some_and(spdx3)).then_some(SPDX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn credentials() -> Credentials {
        serde_json::from_value(json!({
            "baseUrl": "http://127.0.0.1:1", "tokenEndpoint": "http://127.0.0.1:2/token", "clientId": "c",
            "clientSecret": "s", "accessToken": "t", "dpopPrivateJwk": {}, "poe": "p",
            "scannerImageDigest": "sha256:0"
        }))
        .unwrap()
    }

    fn body(name: &str, content: &str, options: &SignOptions) -> Result<Value, ClientError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let body = sign_body(&path, &credentials(), options)?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn an_sbom_is_the_predicate() {
        for (content, expected) in [
            (r#"{"bomFormat":"CycloneDX","specVersion":"1.6"}"#, CYCLONEDX),
            (r#"{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT"}"#, SPDX),
            (
                r#"{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[]}"#,
                SPDX,
            ),
        ] {
            let body = body("sbom.json", content, &SignOptions::default()).unwrap();
            assert_eq!(body["predicateType"], expected);
            assert_eq!(body["predicate"], serde_json::from_str::<Value>(content).unwrap());
            assert_eq!(body["options"], json!({ "returnBundle": "sigstore" }));
            assert_eq!(body["poe"], json!({ "format": "jwt", "value": "p" }));
        }
    }

    #[test]
    fn any_other_file_is_described() {
        // SHA-256 of "abc": FIPS 180-2 appendix B.1.
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let body = body("app.bin", "abc", &SignOptions::default()).unwrap();
        assert_eq!(
            body["subject"],
            json!([{ "name": "app.bin", "digest": { "sha256": sha256 } }])
        );
        assert_eq!(body["predicateType"], PLAIN_FILE);
        assert_eq!(
            body["predicate"],
            json!({ "name": "app.bin", "size": 3, "sha256": sha256 })
        );
        assert_eq!(body["scannerImageDigest"], "sha256:0");
    }

    #[test]
    fn a_predicate_type_makes_the_file_the_predicate() {
        let options = SignOptions {
            mode: Some("kms".to_owned()),
            key_id: Some("release-2026".to_owned()),
            predicate_type: Some("https://stella.ops/vex".to_owned()),
        };
        let good = body("vex.json", r#"{ "n": 1.50 }"#, &options).unwrap();
        assert_eq!(good["predicateType"], "https://stella.ops/vex");
        assert_eq!(good["options"]["signingMode"], "kms");
        assert_eq!(good["options"]["keyId"], "release-2026");
        assert!(matches!(
            body("vex.txt", "no json", &options),
            Err(ClientError::Usage(_))
        ));
    }

    #[test]
    fn a_statement_is_signed_as_it_stands() {
        let example = include_str!("../../config/examples/promotion.statement.json");
        let stated: Value = serde_json::from_str(example).unwrap();
        let signed = body("promotion.json", example, &SignOptions::default()).unwrap();
        for name in ["subject", "predicateType", "predicate"] {
            assert_eq!(signed[name], stated[name]);
        }
        assert_eq!(signed["subject"].as_array().map(Vec::len), Some(3));
        assert!(signed.get("_type").is_none());
        // Asked for as a predicate it is one; and what only looks like a statement is a file like any other.
        let options = SignOptions {
            predicate_type: Some("https://stella.ops/x".to_owned()),
            ..SignOptions::default()
        };
        let whole = body("promotion.json", example, &options).unwrap();
        assert_eq!(whole["predicate"], stated);
        for other in [
            example.replace("Statement/v1", "Statement/v0.1"),
            example.replacen('{', r#"{"more":1,"#, 1),
        ] {
            let file = body("other.json", &other, &SignOptions::default()).unwrap();
            assert_eq!(file["predicateType"], PLAIN_FILE);
        }
    }

    #[test]
    fn the_example_is_an_sbom_of_a_real_size_that_tells_nothing_of_the_machine_it_was_made_on() {
        let example = include_str!("../../config/examples/sbom.cdx.json");
        assert!(example.len() >= 100 * 1024);
        for private in ["/root", "/home", "/tmp", "localhost", "127.0.0.1"] {
            assert!(!example.contains(private), "{private}");
        }
        let body = body("sbom.cdx.json", example, &SignOptions::default()).unwrap();
        assert_eq!(body["predicateType"], CYCLONEDX);
        assert!(signer_actors::domain::canonical::strict_scan(example, 0).is_ok());
    }
}
