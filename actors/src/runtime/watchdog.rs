//! Notices when an actor is beyond saving.

use std::fmt;
use std::sync::Arc;

use slog::Logger;
use tokio::sync::watch;

use crate::ports::Observer;

/// What every actor is given to be seen by.
#[derive(Clone)]
pub struct Vitals {
    /// Metrics.
    pub observer: Arc<dyn Observer>,
    /// Log.
    pub log: Logger,
    /// Told when an actor is gone for good or panics without end.
    pub watchdog: Watchdog,
}

impl fmt::Debug for Vitals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vitals")
            .field("watchdog", &self.watchdog)
            .finish_non_exhaustive()
    }
}

/// Tells the process that an actor is beyond saving, so that it exits with an error and is started anew from outside.
#[derive(Clone, Debug)]
pub struct Watchdog {
    fatal: Arc<watch::Sender<Option<&'static str>>>,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self {
            fatal: Arc::new(watch::channel(None).0),
        }
    }
}

impl Watchdog {
    /// An actor is gone for good, or panics faster than its restart intensity allows.
    pub fn report(&self, actor: &'static str) {
        self.fatal.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert(actor);
            first
        });
    }

    /// Resolves with the actor's name once one was reported.
    pub async fn fatal(&self) -> &'static str {
        let mut receiver = self.fatal.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(actor) => actor.unwrap_or("unknown"),
            // The sender lives in `self`, so this cannot happen; wait for ever rather than raise a false alarm.
            Err(_) => std::future::pending().await,
        }
    }
}
