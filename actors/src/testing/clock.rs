//! Time and identifiers under a test's control.

use super::*;

/// A clock that stands still until told to move. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct FakeClock {
    moved: Arc<AtomicI64>,
    jumped: Arc<AtomicI64>,
}

impl FakeClock {
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.moved
            .fetch_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the wall clock forward, as an operator may; the other one stands still.
    pub fn jump(&self, by: Duration) {
        self.jumped
            .fetch_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the wall clock back; the other one stands still.
    pub fn set_back(&self, by: Duration) {
        self.jumped
            .fetch_sub(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> DateTime<Utc> {
        NOW()
            + chrono::Duration::nanoseconds(
                self.moved.load(Ordering::SeqCst) + self.jumped.load(Ordering::SeqCst),
            )
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.moved.load(Ordering::SeqCst).unsigned_abs())
    }
}

/// Identifiers that count.
#[derive(Debug, Default)]
pub struct FakeIds(AtomicU64);

impl Ids for FakeIds {
    fn uuid(&self) -> Uuid {
        Uuid::from_u64_pair(
            0x0192_0000_0000_7000,
            0x8000_0000_0000_0000 | self.0.fetch_add(1, Ordering::SeqCst),
        )
    }
}
