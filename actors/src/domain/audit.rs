//! What the audit trail says. No token, proof of entitlement or predicate content ever enters a record.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ids::AuditId;

/// Version of the record schema; a reader refuses versions it does not know.
pub const SCHEMA_VERSION: u32 = 1;

/// The most subject digests a record lists; all of them are covered by `subjectsDigest` (contract §8).
pub const MAX_LISTED_SUBJECTS: usize = 256;

/// The longest record, in bytes of its JSON (contract §8).
pub const MAX_RECORD_BYTES: usize = 65_535;

/// One record of the trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum AuditRecord {
    /// A signature is about to be made.
    Intent(Box<Intent>),
    /// What became of an intent.
    Outcome(Box<Outcome>),
    /// A request was refused after its caller was known, or a dry run was answered.
    Refusal(Box<Refusal>),
    /// A request was refused before its caller was known.
    StrangerRefusal(Box<StrangerRefusal>),
    /// The service started, stopped, or its configuration changed.
    Service(Box<ServiceEvent>),
}

impl AuditRecord {
    /// The request that it is about; none for facts about the service.
    pub fn audit_id(&self) -> Option<AuditId> {
        match self {
            Self::Intent(intent) => Some(intent.audit_id),
            Self::Outcome(outcome) => Some(outcome.audit_id),
            Self::Refusal(refusal) => Some(refusal.audit_id),
            Self::StrangerRefusal(refusal) => Some(refusal.audit_id),
            Self::Service(_) => None,
        }
    }

    /// Who asked, where the record says so.
    pub fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Intent(intent) => Some(&intent.caller),
            Self::Refusal(refusal) => Some(&refusal.caller),
            Self::Outcome(_) | Self::StrangerRefusal(_) | Self::Service(_) => None,
        }
    }

    /// When it was formed.
    pub fn time(&self) -> DateTime<Utc> {
        match self {
            Self::Intent(intent) => intent.time,
            Self::Outcome(outcome) => outcome.time,
            Self::Refusal(refusal) => refusal.time,
            Self::StrangerRefusal(refusal) => refusal.time,
            Self::Service(event) => event.time,
        }
    }
}

/// Who asked, as proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// Tenant.
    pub tenant: String,
    /// Installation.
    pub installation: String,
    /// `sub` of the operational token.
    pub subject: String,
    /// `client_id` of the operational token.
    pub client_id: String,
    /// `dpop`, `mtls` or `dpop+mtls`.
    pub sender_binding: String,
}

/// Written before a signature is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// [`SCHEMA_VERSION`]
    pub schema: u32,
    /// Names the signature.
    pub audit_id: AuditId,
    /// The request's correlation id.
    pub correlation_id: String,
    /// When the intent was formed.
    pub time: DateTime<Utc>,
    /// Who asked.
    pub caller: Caller,
    /// Licence.
    pub license: String,
    /// Plan.
    pub plan: String,
    /// The scanner image.
    pub scanner_digest: String,
    /// Release tag of the scanner image, when known.
    pub release_tag: Option<String>,
    /// True when the operational token itself named the scanner image.
    pub scanner_bound: bool,
    /// Up to [`MAX_LISTED_SUBJECTS`] subject digests, as `algorithm:hex`.
    pub subjects: Vec<String>,
    /// How many subjects there are.
    pub subject_count: usize,
    /// SHA-256 over the canonical JSON of all subjects.
    pub subjects_digest: String,
    /// Predicate type.
    pub predicate_type: String,
    /// SHA-256 of the payload.
    pub payload_digest: String,
    /// Backend.
    pub backend: String,
    /// Key.
    pub key_id: String,
    /// Serial of the signing certificate (keyless).
    pub certificate_serial: Option<String>,
    /// Gates that passed, in order.
    pub gates: Vec<String>,
    /// An earlier attempt at the same request, by its idempotency key, whose end its caller never learned. It may have
    /// ended before its own intent; then the trail does not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<AuditId>,
}

/// Written after a signature was made, before it leaves; or when making it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// [`SCHEMA_VERSION`]
    pub schema: u32,
    /// The intent this closes.
    pub audit_id: AuditId,
    /// When the outcome was known.
    pub time: DateTime<Utc>,
    /// `signed`, `failed` or `unknown`.
    pub outcome: OutcomeKind,
    /// SHA-256 of the signature bytes, when signed; or when failed after a signature was made, which then did not leave.
    pub signature_digest: Option<String>,
    /// The contract's code, when failed.
    pub code: Option<String>,
    /// From admission to outcome, in microseconds.
    pub duration_micros: u64,
}

/// How an intent ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeKind {
    /// A signature was made, and may have left.
    Signed,
    /// No signature left: none was made, or it was withheld.
    Failed,
    /// The process ended before the outcome was written.
    Unknown,
}

/// A refused request or an answered dry run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// [`SCHEMA_VERSION`]
    pub schema: u32,
    /// Names the refusal.
    pub audit_id: AuditId,
    /// The request's correlation id.
    pub correlation_id: String,
    /// When it was refused.
    pub time: DateTime<Utc>,
    /// Who asked.
    pub caller: Caller,
    /// True for a dry run.
    pub dry_run: bool,
    /// The stage that refused; empty when a dry run passed every gate.
    pub stage: Option<String>,
    /// The contract's code; empty when a dry run passed every gate.
    pub code: Option<String>,
}

/// A refusal of someone who did not prove who they are. Whatever they sent, nothing of it is in here: this is the one
/// record that anyone can have written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StrangerRefusal {
    /// [`SCHEMA_VERSION`]
    pub schema: u32,
    /// Names the record. The answer does not: it left first.
    pub audit_id: AuditId,
    /// The request's correlation id, if it has the form of one of ours or of a trace id; any other is the stranger's text.
    pub correlation_id: Option<String>,
    /// When it was refused.
    pub time: DateTime<Utc>,
    /// The scope that was needed.
    pub scope: String,
    /// The stage that refused.
    pub stage: String,
    /// The contract's code.
    pub code: String,
    /// Refusals of strangers since the record of one before this that were left out, as too many came.
    pub left_out: u64,
}

/// A fact about the service itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEvent {
    /// [`SCHEMA_VERSION`]
    pub schema: u32,
    /// When.
    pub time: DateTime<Utc>,
    /// `started`, `stopped`, `audit-recovered`.
    pub what: String,
    /// Version, key ids and digests of configuration: never a secret.
    pub facts: std::collections::BTreeMap<String, String>,
}
