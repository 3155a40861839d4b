//! What witnesses left beside a signature: timestamps and log entries, in the annotations of cosign's layers and in
//! bundles (`sigstore_bundle.proto`, `sigstore_rekor.proto`). None of it is signed by whoever signed the image.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::decode_base64;
use crate::bundle::sigstore::VerificationMaterial;

/// The most timestamps, and the most log entries, of one signature.
pub(super) const MAX_WITNESSES: usize = 8;

/// The longest way from a leaf to the root: a tree cannot be larger.
const MAX_PATH: usize = 64;

const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
const LOG: &str = "dev.sigstore.cosign/bundle";

/// Where the witnesses of one signature are read from, when they are asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Evidence<'a> {
    /// Annotations of a layer.
    Annotations(&'a BTreeMap<String, String>),
    /// A bundle's material.
    Bundle(&'a VerificationMaterial),
}

/// One entry of a log, as it claims.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Which log: 32 bytes.
    pub(super) log_id: Vec<u8>,
    /// Its number over all trees of the log.
    pub(super) index: u64,
    /// Kind and version, where they are told beside the body.
    pub(super) kind: Option<(String, String)>,
    pub(super) integrated_time: Option<i64>,
    pub(super) body: Vec<u8>,
    /// The log's signature.
    pub(super) promise: Option<Vec<u8>>,
    pub(super) proof: Option<Proof>,
}

/// A proof of inclusion.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    /// The entry's number in its tree.
    pub(super) index: u64,
    pub(super) tree_size: u64,
    pub(super) root: Vec<u8>,
    pub(super) path: Vec<[u8; 32]>,
    pub(super) checkpoint: String,
}

impl Evidence<'_> {
    /// The timestamps: `TimeStampResp` in DER each.
    pub(super) fn timestamps(&self) -> Result<Vec<Vec<u8>>, String> {
        let encoded: Vec<String> = match self {
            Self::Annotations(annotations) => match present(annotations, TIMESTAMP) {
                Some(text) => vec![annotated_timestamp(text)?],
                None => Vec::new(),
            },
            Self::Bundle(material) => {
                let data = material.timestamp_verification_data.iter();
                data.flat_map(|data| &data.rfc3161_timestamps)
                    .take(MAX_WITNESSES + 1)
                    .map(|timestamp| timestamp.signed_timestamp.clone())
                    .collect()
            }
        };
        if encoded.len() > MAX_WITNESSES {
            return Err(format!("the signature has more than {MAX_WITNESSES} timestamps"));
        }
        encoded
            .iter()
            .map(|text| decode_base64(text, "the timestamp"))
            .collect()
    }

    /// The log entries.
    pub(super) fn entries(&self) -> Result<Vec<Entry>, String> {
        let malformed = || "the log entry beside the signature is malformed".to_owned();
        match self {
            Self::Annotations(annotations) => match present(annotations, LOG) {
                Some(text) => Ok(vec![annotated_entry(text).ok_or_else(malformed)?]),
                None => Ok(Vec::new()),
            },
            Self::Bundle(material) => {
                if material.tlog_entries.len() > MAX_WITNESSES {
                    return Err(format!("the signature has more than {MAX_WITNESSES} log entries"));
                }
                let entries = material.tlog_entries.iter();
                entries
                    .map(|entry| bundled_entry(entry.get()).ok_or_else(malformed))
                    .collect()
            }
        }
    }
}

fn present<'a>(annotations: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    annotations
        .get(name)
        .map(String::as_str)
        .filter(|text| !text.is_empty())
}

/// cosign `pkg/cosign/bundle/tsa.go`
fn annotated_timestamp(text: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Annotation {
        #[serde(rename = "SignedRFC3161Timestamp")]
        timestamp: String,
    }
    let annotation: Annotation =
        serde_json::from_str(text).map_err(|_| "the timestamp beside the signature is malformed")?;
    Ok(annotation.timestamp)
}

/// cosign `pkg/cosign/bundle/rekor.go`: an entry with a promise.
fn annotated_entry(text: &str) -> Option<Entry> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Annotation {
        signed_entry_timestamp: String,
        payload: Payload,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Payload {
        body: String,
        integrated_time: i64,
        log_index: u64,
        #[serde(rename = "logID")]
        log_id: String,
    }
    let annotation: Annotation = serde_json::from_str(text).ok()?;
    let payload = annotation.payload;
    Some(Entry {
        log_id: hex::decode(&payload.log_id).ok()?,
        index: payload.log_index,
        kind: None,
        integrated_time: Some(payload.integrated_time),
        body: base64(&payload.body)?,
        promise: Some(base64(&annotation.signed_entry_timestamp)?),
        proof: None,
    })
}

/// `TransparencyLogEntry` in the JSON of protocol buffers.
fn bundled_entry(text: &str) -> Option<Entry> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct LogEntry {
        // Left out for the first entry of a log, as the JSON of protocol buffers leaves out zeros.
        #[serde(default)]
        log_index: Number,
        log_id: LogId,
        kind_version: KindVersion,
        integrated_time: Option<Number>,
        inclusion_promise: Option<Promise>,
        inclusion_proof: Option<InclusionProof>,
        canonicalized_body: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct LogId {
        key_id: String,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct KindVersion {
        kind: String,
        version: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Promise {
        signed_entry_timestamp: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct InclusionProof {
        #[serde(default)]
        log_index: Number,
        root_hash: String,
        tree_size: Number,
        #[serde(default)]
        hashes: Vec<String>,
        checkpoint: Envelope,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Envelope {
        envelope: String,
    }
    let entry: LogEntry = serde_json::from_str(text).ok()?;
    let proof = match entry.inclusion_proof {
        Some(proof) => Some(Proof {
            index: proof.log_index.0,
            tree_size: proof.tree_size.0,
            root: base64(&proof.root_hash)?,
            path: path(&proof.hashes)?,
            checkpoint: proof.checkpoint.envelope,
        }),
        None => None,
    };
    let promise = match entry.inclusion_promise {
        Some(promise) => Some(base64(&promise.signed_entry_timestamp)?),
        None => None,
    };
    let time = entry.integrated_time.map(|time| i64::try_from(time.0));
    Some(Entry {
        log_id: base64(&entry.log_id.key_id)?,
        index: entry.log_index.0,
        kind: Some((entry.kind_version.kind, entry.kind_version.version)),
        integrated_time: time.transpose().ok()?,
        body: base64(&entry.canonicalized_body)?,
        promise,
        proof,
    })
}

fn base64(text: &str) -> Option<Vec<u8>> {
    decode_base64(text, "").ok()
}

fn path(hashes: &[String]) -> Option<Vec<[u8; 32]>> {
    if hashes.len() > MAX_PATH {
        return None;
    }
    hashes.iter().map(|hash| base64(hash)?.try_into().ok()).collect()
}

/// An `int64` that is not negative: protocol buffers write digits in a string, and read a number too.
#[derive(Clone, Copy, Default)]
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Self(number)),
            Either::Text(text) => {
                let digits = text.bytes().all(|b| b.is_ascii_digit());
                let number = text.parse().ok().filter(|_| digits);
                number
                    .map(Self)
                    .ok_or_else(|| D::Error::custom("a number in digits"))
            }
        }
    }
}
