mod disk;
mod figures;
mod held;
mod publish;
mod recovery;
mod tamper;

use chrono::{DateTime, Utc};
use signer_actors::domain::audit::{
    AuditRecord, Caller, Intent, Outcome, OutcomeKind, Refusal, SCHEMA_VERSION,
};
use signer_actors::domain::ids::AuditId;
use uuid::Uuid;

use openssl::pkey::{Id, PKey};

use super::FileAuditLog;
use super::journal::{Found, read_group, segment_path, segments};
use super::storage::Storage;
use super::tree::Tree;
use crate::tlog::{NoteSigner, VerifierKey, entries};
use disk::Disk;

const SEGMENT_BYTES: u64 = 4000;
const ORIGIN: &str = "signer.test/log";
/// The journal's first segment.
const FIRST: &str = "journal/00000000000000000000";

fn signer() -> NoteSigner {
    NoteSigner::new(
        ORIGIN,
        PKey::private_key_from_raw_bytes(&[7; 32], Id::ED25519).unwrap(),
    )
    .unwrap()
}

fn key() -> VerifierKey {
    signer().verifier().clone()
}

fn open(disk: &Disk) -> Result<FileAuditLog, String> {
    open_whole(disk).map(|(log, _)| log)
}

/// The log, and the tree that publishes it: here when told to, otherwise by a thread of its own.
fn open_whole(disk: &Disk) -> Result<(FileAuditLog, Tree), String> {
    let storage: std::sync::Arc<dyn Storage> = std::sync::Arc::new(disk.clone());
    FileAuditLog::open_in(&storage, SEGMENT_BYTES, 0, signer())
}

/// The records in the journal as a reader finds them.
fn records(disk: &Disk) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for first in segments(disk).unwrap() {
        let file = disk.read(&segment_path(first)).unwrap();
        let mut offset = 0;
        while let Found::Group(group) = read_group(file.as_ref(), offset).unwrap() {
            offset += group.len();
            all.extend(entries(&group.entries).map(|entry| entry.unwrap().to_vec()));
        }
    }
    all
}

/// The same bytes with others in the place of these, as long.
fn swapped(bytes: &[u8], these: &[u8], others: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if let Some(at) = bytes.windows(these.len()).position(|window| window == these) {
        bytes[at..at + these.len()].copy_from_slice(others);
    }
    bytes
}

fn id(n: u64) -> AuditId {
    AuditId(Uuid::from_u128(u128::from(n)))
}

fn time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn bytes(record: &AuditRecord) -> Vec<u8> {
    serde_json::to_vec(record).unwrap()
}

fn caller() -> Caller {
    Caller {
        tenant: "acme".into(),
        installation: "eu-1".into(),
        subject: "scanner".into(),
        client_id: "scanner-1".into(),
        sender_binding: "dpop".into(),
    }
}

fn intent(n: u64) -> Vec<u8> {
    bytes(&AuditRecord::Intent(Box::new(Intent {
        schema: SCHEMA_VERSION,
        audit_id: id(n),
        correlation_id: format!("request-{n}"),
        time: time(),
        caller: caller(),
        license: "lic-1".into(),
        plan: "pro".into(),
        scanner_digest: format!("sha256:{}", "a".repeat(64)),
        release_tag: None,
        scanner_bound: true,
        subjects: vec![format!("sha256:{}", "b".repeat(64))],
        subject_count: 1,
        subjects_digest: "c".repeat(64),
        predicate_type: "https://cyclonedx.org/bom".into(),
        payload_digest: "d".repeat(64),
        backend: "keyless".into(),
        key_id: "keyless".into(),
        certificate_serial: None,
        gates: vec!["authenticate".into()],
        retry_of: None,
    })))
}

fn outcome(n: u64, kind: OutcomeKind) -> Vec<u8> {
    bytes(&AuditRecord::Outcome(Box::new(Outcome {
        schema: SCHEMA_VERSION,
        audit_id: id(n),
        time: time(),
        outcome: kind,
        signature_digest: None,
        code: None,
        duration_micros: 42,
    })))
}

fn refusal(n: u64) -> Vec<u8> {
    bytes(&AuditRecord::Refusal(Box::new(Refusal {
        schema: SCHEMA_VERSION,
        audit_id: id(n),
        correlation_id: format!("request-{n}"),
        time: time(),
        caller: caller(),
        dry_run: false,
        stage: Some("quota".into()),
        code: Some("rate_limited".into()),
    })))
}
