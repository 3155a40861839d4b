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

    fn head(&self) -> (u64, String) {
        (self.durable.get().len() as u64, String::new())
    }
}
