//! Time and identifiers, so that tests decide both.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::{ContextV7, Timestamp, Uuid};

/// The two clocks of the service.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall time: compared with `exp`, `iat`, certificate validity; may jump.
    fn now(&self) -> DateTime<Utc>;

    /// Time since some fixed instant that never goes back: for buckets, caches and measurements.
    fn monotonic(&self) -> Duration;
}

/// Fresh identifiers.
pub trait Ids: Send + Sync + fmt::Debug {
    /// A UUIDv7 (RFC 9562 §5.7).
    fn uuid(&self) -> Uuid;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

thread_local! {
    /// Orders the ids of one thread. `Uuid::now_v7` orders those of all, behind one lock that every worker waits for.
    static ORDER: ContextV7 = const { ContextV7::new() };
}

/// UUIDv7 (RFC 9562 §5.7) from the operating system's clock and each thread's own cryptographic generator, which the system
/// seeds.
#[derive(Debug, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    fn uuid(&self) -> Uuid {
        Uuid::new_v7(ORDER.with(|order| Timestamp::now(order)))
    }
}
