//! Readiness, drain, and how much work is in progress.

use std::sync::Arc;

use tokio::sync::watch;

/// Where the service is in its life. Clones share it.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    draining: Arc<watch::Sender<bool>>,
    work: Arc<Work>,
}

/// Every piece of work in progress holds a clone of the mark; clones of the handle around it do not.
#[derive(Debug, Default)]
struct Work {
    mark: Arc<()>,
}

/// Held by work in progress.
#[derive(Debug)]
pub struct InFlight {
    _work: Arc<()>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            draining: Arc::new(watch::Sender::new(false)),
            work: Arc::default(),
        }
    }
}

impl Lifecycle {
    /// Begins the drain: readiness goes off, and new requests are refused.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// True once the drain has begun.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Marks work as in progress until the mark is dropped.
    pub fn begin(&self) -> InFlight {
        InFlight {
            _work: Arc::clone(&self.work.mark),
        }
    }

    /// Pieces of work in progress: those that clients wait for, and those whose clients have gone.
    pub fn in_flight(&self) -> usize {
        Arc::strong_count(&self.work.mark).saturating_sub(1)
    }
}
