//! Looking into a trail: `signer audit query`. Proves nothing; `verify` does.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;
use signer_actors::domain::audit::{AuditRecord, Intent, Outcome};
use signer_actors::domain::ids::AuditId;

use super::check::read_record;
use super::journal::{Cursor, segments};
use super::open::refuse_old_format;
use super::reader::{Published, read_checkpoint};
use super::storage::{Directory, Storage};
use crate::tlog::{Checkpoint, TILE_WIDTH, Tile, entries, unverified_text};

/// What to look for; every member that is given must fit.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The request.
    pub audit_id: Option<AuditId>,
    /// The caller's tenant.
    pub tenant: Option<String>,
    /// Key id of the signing key, or id of its backend.
    pub key: Option<String>,
    /// Any digest that the records name, in hex: of the payload, a subject, the signature, the scanner image.
    pub digest: Option<String>,
    /// Not earlier than this.
    pub since: Option<DateTime<Utc>>,
    /// Earlier than this.
    pub until: Option<DateTime<Utc>>,
}

/// One request as the trail tells it: an intent with its outcome, or a single record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Numbers of the records.
    pub indices: Vec<u64>,
    /// The records, in order.
    pub records: Vec<AuditRecord>,
}

/// Hands every request that fits to `found`, in the order in which they ended; at last those that have not.
///
/// # Errors
/// The directory cannot be read, or a record is not understood. For the operator.
pub fn query_dir(
    directory: &Path,
    query: &Query,
    progress: impl FnMut(u64),
    found: impl FnMut(Told),
) -> Result<(), String> {
    query_storage(&Directory::at(directory), query, progress, found)
}

fn query_storage(
    storage: &dyn Storage,
    query: &Query,
    mut progress: impl FnMut(u64),
    mut found: impl FnMut(Told),
) -> Result<(), String> {
    let mut open: BTreeMap<AuditId, (u64, Box<Intent>)> = BTreeMap::new();
    for_each(storage, |index, entry| {
        progress(index + 1);
        let told = match read_record(entry).map_err(|what| format!("record {index}: {what}"))? {
            AuditRecord::Intent(intent) => {
                open.insert(intent.audit_id, (index, intent));
                return Ok(());
            }
            AuditRecord::Outcome(outcome) => match open.remove(&outcome.audit_id) {
                Some((intent_index, intent)) => Told {
                    indices: vec![intent_index, index],
                    records: vec![AuditRecord::Intent(intent), AuditRecord::Outcome(outcome)],
                },
                None => Told {
                    indices: vec![index],
                    records: vec![AuditRecord::Outcome(outcome)],
                },
            },
            single => Told {
                indices: vec![index],
                records: vec![single],
            },
        };
        if query.fits(&told) {
            found(told);
        }
        Ok(())
    })?;
    for (index, intent) in open.into_values() {
        let told = Told {
            indices: vec![index],
            records: vec![AuditRecord::Intent(intent)],
        };
        if query.fits(&told) {
            found(told);
        }
    }
    Ok(())
}

/// Every record that is here: bundles first, then what the journal has beyond them.
fn for_each(
    storage: &dyn Storage,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), String>,
) -> Result<(), String> {
    refuse_old_format(storage)?;
    let note = read_checkpoint(storage)?;
    let text = note.as_deref().and_then(|note| unverified_text(note).ok());
    let size = text
        .and_then(Checkpoint::parse)
        .map_or(0, |checkpoint| checkpoint.size);
    let published = Published::new(storage);
    for number in 0..size.div_ceil(TILE_WIDTH) {
        let Some(tile) = Tile::in_tree(0, number, size) else {
            continue;
        };
        // A bundle that is not here was archived.
        let bundle = published.bundle(tile)?.unwrap_or_default();
        let first = number * TILE_WIDTH;
        for (index, entry) in (first..first + tile.width).zip(entries(&bundle)) {
            each(index, entry.map_err(|e| format!("{}: {e}", tile.entries_path()))?)?;
        }
    }
    let Some(first) = segments(storage)?.first().copied() else {
        return Ok(());
    };
    let mut cursor = Cursor::at_segment(first);
    // What is torn at the end was never acknowledged, or is being written now.
    while let Ok(Some(group)) = cursor.next(storage) {
        for (index, entry) in (group.first..group.next()).zip(entries(&group.entries)) {
            if index >= size {
                each(index, entry.map_err(|e| format!("record {index}: {e}"))?)?;
            }
        }
    }
    Ok(())
}

impl Query {
    fn fits(&self, told: &Told) -> bool {
        let any = |holds: &dyn Fn(&AuditRecord) -> bool| told.records.iter().any(holds);
        let id = self.audit_id;
        let inside = |record: &AuditRecord| {
            let time = record.time();
            self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
        };
        let tenant =
            |tenant: &String| any(&|record| record.caller().is_some_and(|caller| caller.tenant == *tenant));
        let key = |key: &String| {
            any(&|record| matches!(record, AuditRecord::Intent(intent) if signs_with(intent, key)))
        };
        let digest = |digest: &String| any(&|record| names(record, digest));
        id.is_none_or(|id| any(&|record| record.audit_id() == Some(id)))
            && any(&inside)
            && self.tenant.as_ref().is_none_or(tenant)
            && self.key.as_ref().is_none_or(key)
            && self.digest.as_ref().is_none_or(digest)
    }
}

fn signs_with(intent: &Intent, key: &str) -> bool {
    intent.key_id == key || intent.backend == key || intent.certificate_serial.as_deref() == Some(key)
}

/// Whether a record names a digest; its algorithm may be left out.
fn names(record: &AuditRecord, digest: &str) -> bool {
    let digest = digest.rsplit(':').next().unwrap_or(digest);
    let same = |named: &str| named.rsplit(':').next() == Some(digest);
    let outcome = |outcome: &Outcome| outcome.signature_digest.as_deref().is_some_and(same);
    match record {
        AuditRecord::Intent(intent) => {
            let mut subjects = intent.subjects.iter();
            same(&intent.payload_digest)
                || same(&intent.scanner_digest)
                || same(&intent.subjects_digest)
                || subjects.any(|subject| same(subject))
        }
        AuditRecord::Outcome(record) => outcome(record),
        AuditRecord::Refusal(_) | AuditRecord::StrangerRefusal(_) | AuditRecord::Service(_) => false,
    }
}
