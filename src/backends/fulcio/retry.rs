//! When Fulcio, or whoever gives the identity token, is asked again.

use std::time::Duration;

use signer_actors::ports::BackendError;

/// Most questions for one certificate.
const MAX_TRIES: u32 = 5;
/// The first wait; each further one is twice as long, and half of each is chance.
const FIRST: Duration = Duration::from_millis(100);
/// However long Fulcio asks to be left alone, it is asked again after this.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// Why there is no certificate, and whether another try may help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) error: BackendError,
    pub(super) passes: bool,
    /// `Retry-After` (RFC 9110 §10.2.3).
    pub(super) after: Option<Duration>,
}

impl Trouble {
    /// Another try would end the same.
    pub(super) fn lasting(text: impl Into<String>) -> Self {
        Self {
            error: BackendError::Failed(text.into()),
            passes: false,
            after: None,
        }
    }

    /// May pass by itself: connections, throttling, the other side's own trouble.
    pub(super) fn passing(text: impl Into<String>, after: Option<Duration>) -> Self {
        Self {
            error: BackendError::Unavailable(text.into()),
            passes: true,
            after: after.map(|after| after.min(LONGEST)),
        }
    }
}

/// Counts tries.
#[derive(Debug, Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// How long to wait before the next try; `None`: give up. `chance` is in 0..=255, spread over the upper half of the
    /// wait. Never sooner than asked to.
    pub(super) fn next(&mut self, trouble: &Trouble, chance: u8) -> Option<Duration> {
        self.0 += 1;
        if !trouble.passes || self.0 >= MAX_TRIES {
            return None;
        }
        let whole = FIRST.saturating_mul(1 << (self.0 - 1));
        let own = whole / 2 + whole / 2 * u32::from(chance) / 255;
        Some(trouble.after.map_or(own, |after| after.saturating_add(own)))
    }
}

/// One random byte; without randomness the longest wait.
pub(super) fn chance() -> u8 {
    let mut byte = [255];
    let [value] = match openssl::rand::rand_bytes(&mut byte) {
        Ok(()) => byte,
        Err(_) => [255],
    };
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn waits(trouble: &Trouble, chance: u8) -> Vec<Duration> {
        let mut tries = Tries::default();
        std::iter::from_fn(|| tries.next(trouble, chance)).collect()
    }

    #[test]
    fn waits_grow_with_chance_and_end() {
        let trouble = Trouble::passing("busy", None);
        assert_eq!(waits(&trouble, 255), [MS(100), MS(200), MS(400), MS(800)]);
        assert_eq!(waits(&trouble, 0), [MS(50), MS(100), MS(200), MS(400)]);
    }

    #[test]
    fn nobody_is_asked_sooner_than_asked_to_nor_waited_for_too_long() {
        let trouble = Trouble::passing("busy", Some(MS(3000)));
        assert_eq!(waits(&trouble, 0), [MS(3050), MS(3100), MS(3200), MS(3400)]);
        let long = Trouble::passing("busy", Some(Duration::from_secs(86_400)));
        assert_eq!(long.after, Some(LONGEST));
    }

    #[test]
    fn what_lasts_is_not_tried_again() {
        assert!(waits(&Trouble::lasting("bad token"), 0).is_empty());
    }
}
