//! Does a record say something we understand, and does it fit those before it? Shared by all who read the trail.

use std::borrow::Cow;
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
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

/// Reads one record of a schema that this version knows. What it is, is read first and the rest at once: through the derived
/// reader of [`AuditRecord`], which looks for its tag in a copy of everything, a long trail takes twice the time.
pub(super) fn read_record(bytes: &[u8]) -> Result<AuditRecord, String> {
    #[derive(Deserialize)]
    struct Head<'a> {
        schema: u32,
        #[serde(borrow)]
        event: Cow<'a, str>,
    }
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(format!("the record is longer than {MAX_RECORD_BYTES} bytes"));
    }
    let head = serde_json::from_slice::<Head<'_>>(bytes);
    let head = head.map_err(|_| "the record is not a JSON object with an event and a schema version")?;
    if head.schema != SCHEMA_VERSION {
        return Err(format!(
            "unknown schema {}: this version reads schema {SCHEMA_VERSION}",
            head.schema
        ));
    }
    match &*head.event {
        "intent" => fields(bytes).map(AuditRecord::Intent),
        "outcome" => fields(bytes).map(AuditRecord::Outcome),
        "refusal" => fields(bytes).map(AuditRecord::Refusal),
        "stranger-refusal" => fields(bytes).map(AuditRecord::StrangerRefusal),
        "service" => fields(bytes).map(AuditRecord::Service),
        _ => Err(format!("the record's event is none of schema {SCHEMA_VERSION}")),
    }
}

fn fields<T: DeserializeOwned>(bytes: &[u8]) -> Result<Box<T>, String> {
    // The parser's own message may quote the record.
    serde_json::from_slice(bytes).map(Box::new).map_err(|e| {
        format!(
            "the record does not fit schema {SCHEMA_VERSION} (column {} of the record)",
            e.column()
        )
    })
}

#[cfg(test)]
mod tests {
    use signer_actors::domain::audit::ServiceEvent;

    use super::*;

    /// One of each, retyped from docs/reference/audit.md.
    const RECORDS: [&str; 5] = [
        r#"{"event":"intent","schema":1,"auditId":"01a20390-1f6a-7132-b4b8-87c2661c5cd7","correlationId":"c","time":"2026-11-22T14:01:46Z","caller":{"tenant":"acme","installation":"i","subject":"s","clientId":"c","senderBinding":"dpop"},"license":"l","plan":"pro","scannerDigest":"sha256:00","releaseTag":null,"scannerBound":true,"subjects":["sha256:00"],"subjectCount":1,"subjectsDigest":"00","predicateType":"p","payloadDigest":"00","backend":"b","keyId":"k","certificateSerial":null,"gates":["authentication"]}"#,
        r#"{"event":"outcome","schema":1,"auditId":"01a20390-1f6a-7132-b4b8-87c2661c5cd7","time":"2026-11-22T14:01:46Z","outcome":"signed","signatureDigest":"00","code":null,"durationMicros":1}"#,
        r#"{"event":"refusal","schema":1,"auditId":"01a20390-63e8-71d4-bce7-8383e7352bab","correlationId":"c","time":"2026-11-22T14:02:04Z","caller":{"tenant":"acme","installation":"i","subject":"s","clientId":"c","senderBinding":"dpop"},"dryRun":false,"stage":"release","code":"scanner_mismatch"}"#,
        r#"{"event":"stranger-refusal","schema":1,"auditId":"01a20390-7f01-7a93-8d0e-5d1c0a3b9f42","correlationId":null,"time":"2026-11-22T14:02:11Z","scope":"signer.sign","stage":"authentication","code":"invalid_token","leftOut":17}"#,
        r#"{"event":"service","schema":1,"time":"2026-11-22T14:01:46Z","what":"started","facts":{"version":"0.1.0"}}"#,
    ];

    #[test]
    fn every_kind_is_read_as_the_derived_reader_does() {
        for text in RECORDS {
            let record = read_record(text.as_bytes()).unwrap();
            assert_eq!(record, serde_json::from_str(text).unwrap());
            assert_eq!(serde_json::to_string(&record).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let service = RECORDS[4];
        for bad in [
            String::new(),
            "{}".into(),
            "[]".into(),
            service.replace("\"schema\":1", "\"schema\":2"),
            service.replace("service", "services"),
            service.replace("service", "outcome"),
            service.replace("\"schema\":1", "\"schema\":1,\"event\":\"outcome\""),
            service.replace("\"what\"", "\"that\""),
            format!("{service}x"),
        ] {
            assert!(read_record(bad.as_bytes()).is_err(), "{bad}");
        }
        let escaped = service.replace("service", "serv\\u0069ce");
        let same = read_record(escaped.as_bytes()).unwrap();
        assert!(
            matches!(same, AuditRecord::Service(event) if matches!(&*event, ServiceEvent { what, .. } if what == "started"))
        );
    }
}
