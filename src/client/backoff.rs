//! How long to wait before the next try, and when to stop trying.

use std::time::Duration;

/// Exponential back-off with jitter, bounded in tries and in waiting time.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    most: Duration,
    /// Waiting time that is left.
    budget: Duration,
    tries: u32,
}

impl Backoff {
    /// Five retries, 200 ms doubling up to 5 s, at most 30 s of waiting.
    pub(super) fn standard() -> Self {
        Self {
            next: Duration::from_millis(200),
            most: Duration::from_secs(5),
            budget: Duration::from_secs(30),
            tries: 5,
        }
    }

    /// The time to wait before the next try, or `None` to give up. `jitter` is in 0..=255, spread over the upper half
    /// of the interval; the server's `Retry-After` is never undercut (RFC 9110 §10.2.3).
    pub(super) fn next(&mut self, retry_after: Option<Duration>, jitter: u8) -> Option<Duration> {
        self.tries = self.tries.checked_sub(1)?;
        let half = self.next / 2;
        let own = half.saturating_add(half * u32::from(jitter) / 255);
        self.next = self.next.saturating_mul(2).min(self.most);
        let wait = retry_after.map_or(own, |asked| asked.saturating_add(own / 4));
        self.budget = self.budget.checked_sub(wait)?;
        Some(wait)
    }
}

/// One random byte; without randomness the longest wait.
pub(super) fn jitter() -> u8 {
    let mut byte = [255u8];
    match openssl::rand::rand_bytes(&mut byte) {
        Ok(()) => byte[0],
        Err(_) => 255,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn doubles_and_gives_up_after_five() {
        let mut backoff = Backoff::standard();
        let waits: Vec<_> = std::iter::from_fn(|| backoff.next(None, 255)).collect();
        assert_eq!(waits, [MS(200), MS(400), MS(800), MS(1600), MS(3200)]);
        assert_eq!(Backoff::standard().next(None, 0), Some(MS(100)));
    }

    #[test]
    fn honours_the_server_and_the_budget() {
        let mut backoff = Backoff::standard();
        let wait = backoff.next(Some(MS(2000)), 0).unwrap();
        assert!((MS(2000)..MS(2100)).contains(&wait), "{wait:?}");
        assert_eq!(backoff.next(Some(MS(60_000)), 0), None);
    }
}
