//! How long an answer stands: what lets a worker repeat it for a moment instead of asking again.
//!
//! Most of what a gate's actor is asked it has just answered, and a question to another thread costs more than its
//! answer: two threads are woken for it. So an answer may come with its [`Standing`], and whoever has that repeats the
//! answer while it stands. It ends with its time, and at once when the actor withdraws what it has answered: what counts
//! is always what the actor would say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// An answer is repeated for no longer than this, so that its actor hears what is in use: what is asked for is refreshed
/// ahead of need.
pub const REPEAT: Duration = Duration::from_secs(1);

/// The answers of one actor.
#[derive(Debug, Default)]
pub struct Answers(Arc<AtomicU64>);

impl Answers {
    /// Of an answer given now, by the monotonic clock, that stands until then at most, and no longer than [`REPEAT`].
    pub fn standing(&self, now: Duration, until: Duration) -> Standing {
        Standing {
            edition: self.0.load(Ordering::Acquire),
            current: Some(Arc::clone(&self.0)),
            until: until.min(now.saturating_add(REPEAT)),
        }
    }

    /// No answer given so far stands any longer.
    pub fn withdraw(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Whether an answer may be repeated.
#[derive(Clone, Debug)]
pub struct Standing {
    edition: u64,
    /// `None`: it never stood.
    current: Option<Arc<AtomicU64>>,
    until: Duration,
}

impl Standing {
    /// Of an answer that is good once.
    pub fn once() -> Self {
        Self {
            edition: 0,
            current: None,
            until: Duration::ZERO,
        }
    }

    /// Whether it stands now, by the monotonic clock.
    pub fn stands(&self, now: Duration) -> bool {
        let current = self
            .current
            .as_ref()
            .map(|current| current.load(Ordering::Acquire));
        current == Some(self.edition) && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_stands_until_its_time_or_its_withdrawal() {
        let answers = Answers::default();
        let (short, long) = (
            answers.standing(SECOND, SECOND + SECOND / 2),
            answers.standing(SECOND, 9 * SECOND),
        );
        assert!(short.stands(SECOND) && long.stands(SECOND));
        assert!(!short.stands(SECOND + SECOND / 2));
        assert!(long.stands(SECOND + REPEAT - Duration::from_nanos(1)));
        assert!(!long.stands(SECOND + REPEAT));
        answers.withdraw();
        assert!(!long.stands(SECOND));
        assert!(answers.standing(SECOND, 9 * SECOND).stands(SECOND));
        assert!(!Standing::once().stands(Duration::ZERO));
    }
}
