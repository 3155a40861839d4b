//! The signed list of a kit's files: a DSSE envelope (`protocol.md`) over JSON.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use signer_actors::domain::digest::Sha256Digest;

use super::{MAX_FILE_BYTES, MAX_FILES};
use crate::bundle::envelope::{Envelope, EnvelopeSignature};
use crate::crypto::{Pae, PrivateKey, PublicKey};

/// Name of the manifest's file.
pub const MANIFEST: &str = "kit.dsse.json";
/// What the manifest's envelope holds; no statement has this type, so neither passes as the other.
pub const PAYLOAD_TYPE: &str = "application/vnd.stella.ops.signer-kit+json";
/// The only schema known.
const SCHEMA: u32 = 1;
/// How far a kit may be from the future: clocks differ.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// What a kit says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Version of this form: 1.
    pub schema: u32,
    /// The audit log of the service that it is from (`audit.origin`).
    pub origin: String,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// From when on it counts no more.
    pub expires: DateTime<Utc>,
    /// Every other file, by path, in order.
    pub files: Vec<Listed>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Relative: a name, or a folder and a name, with `/`; ASCII letters, digits, `.`, `_`, `-`.
    pub path: String,
    /// SHA-256 of its bytes, hex.
    pub sha256: String,
    /// Its length.
    pub bytes: u64,
}

impl Manifest {
    /// Of these files; `lifetime` from now on.
    ///
    /// # Errors
    /// What of them cannot be in a kit.
    pub fn new(
        origin: &str,
        created: DateTime<Utc>,
        lifetime: TimeDelta,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, String> {
        let expires = created.checked_add_signed(lifetime);
        let manifest = Self {
            schema: SCHEMA,
            origin: origin.to_owned(),
            created,
            expires: expires.ok_or("the kit would end after the end of time")?,
            files: files.iter().map(|(path, bytes)| listed(path, bytes)).collect(),
        };
        manifest.check_form()?;
        Ok(manifest)
    }

    fn check_form(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!(
                "the kit has schema {}, and this program knows {SCHEMA}: use a later one",
                self.schema
            ));
        }
        if self.files.is_empty() || self.files.len() > MAX_FILES {
            return Err(format!("a kit has 1 to {MAX_FILES} files"));
        }
        let mut paths = BTreeSet::new();
        for file in &self.files {
            if !is_path(&file.path) || !paths.insert(&file.path) {
                return Err(format!(
                    "the kit's manifest lists {:?} twice, or it is no path",
                    file.path
                ));
            }
            if file.bytes > MAX_FILE_BYTES {
                return Err(format!("{} is longer than {MAX_FILE_BYTES} bytes", file.path));
            }
        }
        Ok(())
    }

    fn check_time(&self, now: DateTime<Utc>) -> Result<(), String> {
        if self.created > now + SKEW {
            return Err(format!(
                "the kit was made at {}, in the future: compare the clock",
                show(self.created)
            ));
        }
        if now >= self.expires {
            return Err(format!(
                "the kit expired at {}: bring a newer one",
                show(self.expires)
            ));
        }
        Ok(())
    }

    /// True if the bytes are those of this path.
    pub fn covers(&self, path: &str, bytes: &[u8]) -> bool {
        self.files.contains(&listed(path, bytes))
    }
}

/// Signs a manifest: the content of [`MANIFEST`].
///
/// # Errors
/// The key did not sign.
pub fn seal(manifest: &Manifest, key: &PrivateKey) -> Result<Vec<u8>, String> {
    let failed = |_| "the kit's manifest cannot be written".to_owned();
    let payload = serde_json::to_vec(manifest).map_err(failed)?;
    let signature = key.sign(&Pae {
        payload_type: PAYLOAD_TYPE,
        payload: &payload,
    })?;
    let envelope = Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        payload: STANDARD.encode(payload),
        signatures: vec![EnvelopeSignature {
            sig: STANDARD.encode(signature),
            keyid: String::new(),
        }],
    };
    serde_json::to_vec_pretty(&envelope).map_err(failed)
}

/// Reads a signed manifest that one of these keys has signed and that counts now. What it lists is not looked at.
///
/// # Errors
/// Why it does not count.
pub fn open(sealed: &[u8], keys: &[PublicKey], now: DateTime<Utc>) -> Result<Manifest, String> {
    let envelope: Envelope =
        serde_json::from_slice(sealed).map_err(|_| format!("{MANIFEST} is no DSSE envelope"))?;
    let content = envelope
        .decode()
        .map_err(|what| format!("{MANIFEST} does not count: {what}"))?;
    let pae = Pae {
        payload_type: &content.payload_type,
        payload: &content.payload,
    };
    if !keys.iter().any(|key| key.verify(&pae, &content.signature)) {
        return Err(format!("{MANIFEST} is not signed by the key given"));
    }
    // The signature covers the type (DSSE `protocol.md`): a statement that the key ever signed is no manifest.
    if content.payload_type != PAYLOAD_TYPE {
        return Err(format!("{MANIFEST} holds no manifest of a kit"));
    }
    let manifest: Manifest = serde_json::from_slice(&content.payload)
        .map_err(|error| format!("{MANIFEST} holds a manifest that cannot be read: {error}"))?;
    manifest.check_form()?;
    manifest.check_time(now)?;
    Ok(manifest)
}

fn listed(path: &str, bytes: &[u8]) -> Listed {
    Listed {
        path: path.to_owned(),
        sha256: Sha256Digest::of(bytes).to_hex(),
        bytes: bytes.len() as u64,
    }
}

/// A file in the folder or in one folder below: ASCII letters, digits, `.`, `_`, `-`, no part begins with a dot.
pub(super) fn is_path(path: &str) -> bool {
    let part = |part: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        !part.is_empty() && part.len() <= 200 && !part.starts_with('.') && part.bytes().all(plain)
    };
    path != MANIFEST && path.split('/').count() <= 2 && path.split('/').all(part)
}

fn show(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
