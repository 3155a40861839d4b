//! Does a record say something we understand, and does it fit those before it? Shared by all who read the trail.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use signer_actors::domain::audit::{AuditRecord, MAX_RECORD_BYTES, OutcomeKind, SCHEMA_VERSION};
use signer_actors::domain::ids::AuditId;

/// What has been seen so far.
#[derive(Debug, Default)]
pub(super) struct Checker {
    /// True when reading began with the first record: then every outcome has its intent.
    pub(super) whole: bool,
    /// Intents without an outcome; ids sort by time.
    pub(super) open: BTreeSet<AuditId>,
    /// Time of the newest record.
    pub(super) newest: Option<DateTime<Utc>>,
    pub(super) intents: u64,
    pub(super) outcomes: u64,
    pub(super) signed: u64,
    pub(super) refusals: u64,
}

impl Checker {
    /// Accepts the next record. After an error nothing has changed.
    pub(super) fn accept(&mut self, entry: &[u8]) -> Result<(), String> {
        let record = read_record(entry)?;
        self.follow(&record)
    }

    fn follow(&mut self, record: &AuditRecord) -> Result<(), String> {
        let time = match record {
            AuditRecord::Intent(intent) => {
                if !self.open.insert(intent.audit_id) {
                    return Err(format!(
                        "a second intent of {} before its outcome",
                        intent.audit_id
                    ));
                }
                self.intents += 1;
                intent.time
            }
            AuditRecord::Outcome(outcome) => {
                if !self.open.remove(&outcome.audit_id) && self.whole {
                    return Err(format!("the outcome of {} has no open intent", outcome.audit_id));
                }
                self.outcomes += 1;
                self.signed += u64::from(outcome.outcome == OutcomeKind::Signed);
                outcome.time
            }
            AuditRecord::Refusal(refusal) => {
                self.refusals += 1;
                refusal.time
            }
            AuditRecord::StrangerRefusal(refusal) => {
                self.refusals += 1;
                refusal.time
            }
            AuditRecord::Service(event) => event.time,
        };
        self.newest = Some(time);
        Ok(())
    }
}

/// Reads one record of a schema that this version knows.
pub(super) fn read_record(bytes: &[u8]) -> Result<AuditRecord, String> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(format!("the record is longer than {MAX_RECORD_BYTES} bytes"));
    }
    let schema = match serde_json::from_slice::<Version>(bytes) {
        Ok(version) => version.schema,
        Err(_) => return Err("the record is not a JSON object with a schema version".to_owned()),
    };
    if schema != SCHEMA_VERSION {
        return Err(format!(
            "unknown schema {schema}: this version reads schema {SCHEMA_VERSION}"
        ));
    }
    // The parser's own message may quote the record.
    serde_json::from_slice(bytes).map_err(|e| {
        format!(
            "the record does not fit schema {SCHEMA_VERSION} (column {} of the record)",
            e.column()
        )
    })
}
