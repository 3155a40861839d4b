//! What the service answered, and the files it becomes.

use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::ClientError;
use super::files;

/// A signed statement, with the answer as it was received.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The answer, byte for byte.
    pub response: Vec<u8>,
    /// The DSSE envelope.
    pub envelope: Box<RawValue>,
    /// The Sigstore bundle v0.3.
    pub bundle: Box<RawValue>,
    /// Public key of the signature, PEM.
    pub public_key: String,
    /// For people.
    pub summary: Summary,
}

/// What a person wants to know about a signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// `keyless` or `kms`.
    pub mode: String,
    /// Algorithm of the signature.
    pub algorithm: String,
    /// Who signed: certificate subject or key id.
    pub signer: String,
    /// Plan of the tenant.
    pub plan: String,
    /// Who signed the scanner's release.
    pub release_signer: String,
    /// The release's calendar tag.
    pub release_tag: String,
    /// SHA-256 of the payload.
    pub statement_sha256: String,
    /// Id of the audit record.
    pub audit_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    bundle: Bundle,
    #[serde(default)]
    statement_digest: StatementDigest,
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    release: Release,
    #[serde(default)]
    audit_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    #[serde(default)]
    mode: String,
    dsse: Box<RawValue>,
    signing_identity: Identity,
    sigstore_bundle: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    subject: Option<String>,
    key_id: Option<String>,
    #[serde(default)]
    algorithm: String,
    public_key: String,
}

#[derive(Default, Deserialize)]
struct StatementDigest {
    sha256: String,
}

#[derive(Default, Deserialize)]
struct Policy {
    plan: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Release {
    signer: Option<String>,
    release_tag: Option<String>,
}

impl Signed {
    pub(super) fn parse(response: Vec<u8>) -> Result<Self, ClientError> {
        let parsed: Response = serde_json::from_slice(&response).map_err(|error| {
            ClientError::Protocol(format!("the answer is no signed bundle: {}", place(&error)))
        })?;
        let identity = parsed.bundle.signing_identity;
        Ok(Self {
            summary: Summary {
                mode: parsed.bundle.mode,
                algorithm: identity.algorithm,
                signer: identity.subject.or(identity.key_id).unwrap_or_default(),
                plan: parsed.policy.plan,
                release_signer: parsed.release.signer.unwrap_or_default(),
                release_tag: parsed.release.release_tag.unwrap_or_default(),
                statement_sha256: parsed.statement_digest.sha256,
                audit_id: parsed.audit_id,
            },
            envelope: parsed.bundle.dsse,
            bundle: parsed.bundle.sigstore_bundle,
            public_key: identity.public_key,
            response,
        })
    }

    /// Writes `response.json`, `envelope.json`, `bundle.sigstore.json`, `public-key.pem` and `trusted_root.json`.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, directory: &Path, trusted_root: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        for (name, bytes) in [
            ("response.json", self.response.as_slice()),
            ("envelope.json", self.envelope.get().as_bytes()),
            ("bundle.sigstore.json", self.bundle.get().as_bytes()),
            ("public-key.pem", self.public_key.as_bytes()),
            ("trusted_root.json", trusted_root),
        ] {
            files::write_public(&directory.join(name), bytes)?;
        }
        Ok(())
    }
}

/// Where an answer is wrong, without quoting it.
fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}
