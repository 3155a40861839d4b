//! An audit trail in memory.

use super::*;

/// A log in memory.
#[derive(Clone, Debug)]
pub struct FakeLog {
    /// Whether writing works.
    pub works: Dial<bool>,
    /// Whether syncing works.
    pub syncs_work: Dial<bool>,
    /// Every record that is durable.
    pub durable: Dial<Vec<Vec<u8>>>,
    /// Syncs made.
    pub syncs: Arc<AtomicU32>,
    /// Makes the next append panic.
    pub bomb: Bomb,
    written: Vec<Vec<u8>>,
}

impl Default for FakeLog {
    fn default() -> Self {
        Self {
            works: Dial::new(true),
            syncs_work: Dial::new(true),
            durable: Dial::new(Vec::new()),
            syncs: Arc::default(),
            bomb: Bomb::default(),
            written: Vec::new(),
        }
    }
}

impl AuditLog for FakeLog {
    fn append(&mut self, records: &[Vec<u8>]) -> Result<(), AuditLogError> {
        self.bomb.tick();
        if !self.works.get() {
            return Err(AuditLogError("disk full".into()));
        }
        self.written.extend_from_slice(records);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AuditLogError> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        if !self.syncs_work.get() {
            self.written.clear();
            return Err(AuditLogError("disk gone".into()));
        }
        let mut durable = self.durable.get();
        durable.append(&mut self.written);
        self.durable.set(durable);
        Ok(())
    }

    fn size(&self) -> u64 {
        self.durable.get().len() as u64
    }
}

/// A published trail in memory: shows what the log beside it has made durable, with proofs that prove nothing.
#[derive(Clone, Debug, Default)]
pub struct FakeTrail(pub FakeLog);

impl AuditTrail for FakeTrail {
    fn head(&self, from: Option<u64>) -> PortFuture<Result<TreeHead, TrailError>> {
        let size = self.0.size();
        let beyond = from.is_some_and(|from| from > size);
        Box::pin(async move {
            if beyond {
                return Err(TrailError::Beyond { size });
            }
            Ok(TreeHead {
                origin: "test/audit".into(),
                size,
                root: [7; 32],
                note: "note".into(),
                consistency: from.map(|_| Vec::new()),
            })
        })
    }

    fn records(&self, id: AuditId) -> PortFuture<Result<ShownRecords, TrailError>> {
        let all = self.0.durable.get();
        Box::pin(async move {
            let shown = all.into_iter().enumerate().filter_map(|(index, entry)| {
                let record: AuditRecord = serde_json::from_slice(&entry).ok()?;
                (record.audit_id() == Some(id)).then(|| ShownRecord {
                    index: index as u64,
                    entry,
                    record,
                    path: Vec::new(),
                    proof: String::new(),
                })
            });
            Ok(ShownRecords {
                records: shown.collect(),
                note: "note".into(),
            })
        })
    }
}
