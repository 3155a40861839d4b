//! What `GET /audit/…` answers (contract §2.5).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use signer_actors::domain::ids::AuditId;
use signer_actors::ports::{ShownRecord, ShownRecords, TreeHash, TreeHead};

/// 200 of `GET /audit/checkpoint`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointResponse<'a> {
    origin: &'a str,
    size: u64,
    root_hash: String,
    /// The signed note.
    checkpoint: &'a str,
    /// `null` unless asked for.
    consistency: Option<Consistency>,
}

/// Proof that the tree goes on from an earlier one (RFC 6962 §2.1.2).
#[derive(Debug, Serialize)]
struct Consistency {
    from: u64,
    proof: Vec<String>,
}

impl<'a> CheckpointResponse<'a> {
    /// `from`: the size that a proof was asked from.
    pub fn new(head: &'a TreeHead, from: Option<u64>) -> Self {
        let proof = head.consistency.as_deref().map(hashes);
        Self {
            origin: &head.origin,
            size: head.size,
            root_hash: BASE64_STANDARD.encode(head.root),
            checkpoint: &head.note,
            consistency: from.zip(proof).map(|(from, proof)| Consistency { from, proof }),
        }
    }
}

/// 200 of `GET /audit/{auditId}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecordsResponse<'a> {
    audit_id: AuditId,
    audit_log: &'a str,
    /// The signed note that the proofs lead to.
    checkpoint: &'a str,
    records: Vec<Record<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    index: u64,
    /// As in the trail, byte by byte.
    record: Option<&'a RawValue>,
    /// The same in base64: what is hashed.
    entry: String,
    inclusion_proof: Vec<String>,
    /// Index, proof and checkpoint as one text (C2SP tlog-proof).
    tlog_proof: &'a str,
}

impl<'a> AuditRecordsResponse<'a> {
    /// Records of one audit id in the log of this origin.
    pub fn new(audit_id: AuditId, origin: &'a str, shown: &'a ShownRecords) -> Self {
        Self {
            audit_id,
            audit_log: origin,
            checkpoint: &shown.note,
            records: shown.records.iter().map(Record::new).collect(),
        }
    }
}

impl<'a> Record<'a> {
    fn new(shown: &'a ShownRecord) -> Self {
        Self {
            index: shown.index,
            // It was parsed before it was shown.
            record: serde_json::from_slice(&shown.entry).ok(),
            entry: BASE64_STANDARD.encode(&shown.entry),
            inclusion_proof: hashes(&shown.path),
            tlog_proof: &shown.proof,
        }
    }
}

fn hashes(hashes: &[TreeHash]) -> Vec<String> {
    hashes.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect()
}
