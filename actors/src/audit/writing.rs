//! Whether the disk has been writing for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Tells since when the trail has been writing a group. The actor cannot: it waits for the disk.
#[derive(Clone, Debug, Default)]
pub struct Writing(Arc<AtomicU64>);

impl Writing {
    /// A group is being written, by the monotonic clock.
    pub(crate) fn begin(&self, now: Duration) {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        // Zero stands for nothing.
        self.0.store(now.max(1), Ordering::Relaxed);
    }

    /// It was written, or failed.
    pub(crate) fn end(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Whether a group has been under way for longer than this.
    pub fn longer_than(&self, patience: Duration, now: Duration) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => false,
            since => now.saturating_sub(Duration::from_nanos(since)) > patience,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_that_is_under_way_can_take_too_long() {
        let (writing, second) = (Writing::default(), Duration::from_secs(1));
        assert!(!writing.longer_than(Duration::ZERO, second));
        writing.begin(Duration::ZERO);
        assert!(!writing.longer_than(second, second));
        assert!(writing.longer_than(second, 2 * second));
        writing.end();
        assert!(!writing.longer_than(second, 9 * second));
    }
}
