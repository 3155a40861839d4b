mod disk;
mod recovery;
mod tamper;

use chrono::{DateTime, Utc};
use signer_actors::domain::audit::{
    AuditRecord, Caller, Intent, Outcome, OutcomeKind, Refusal, SCHEMA_VERSION,
};
use signer_actors::domain::ids::AuditId;
use uuid::Uuid;

use super::FileAuditLog;
use disk::Disk;

const SEGMENT_BYTES: u64 = 4000;

fn open(disk: &Disk) -> Result<FileAuditLog, String> {
    FileAuditLog::open_in(Box::new(disk.clone()), SEGMENT_BYTES).map_err(|e| e.0)
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
