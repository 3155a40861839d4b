//! When a token is good, by its own claims (RFC 7519 §4.1.4 to §4.1.6). Pure: time comes in.

use chrono::{DateTime, TimeDelta, Utc};

/// Claims `iat`, `nbf` and `exp` of a token, as they stand there: without skew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// `iat`
    pub issued: DateTime<Utc>,
    /// `nbf`, if the token has one.
    pub not_before: Option<DateTime<Utc>>,
    /// `exp`
    pub expires: DateTime<Utc>,
}

/// Why a token is not good at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNow {
    /// `iat` lies in the future.
    IssuedLater,
    /// `nbf` lies in the future.
    NotYet,
    /// `exp` is reached: on or after it, a token is not accepted (RFC 7519 §4.1.4).
    Expired,
}

impl Validity {
    /// Whether the token is good now, on clocks that may differ by the skew. The one place that says so, both for a token
    /// seen for the first time and for one that is remembered.
    pub fn check(&self, now: DateTime<Utc>, skew: TimeDelta) -> Result<(), NotNow> {
        let latest = now + skew;
        if self.issued > latest {
            return Err(NotNow::IssuedLater);
        }
        if self.not_before.is_some_and(|not_before| not_before > latest) {
            return Err(NotNow::NotYet);
        }
        if now >= self.expires + skew {
            return Err(NotNow::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_bounds_to_the_second() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).expect("a time");
        let validity = Validity {
            issued: at(1000),
            not_before: Some(at(1100)),
            expires: at(2000),
        };
        let skew = TimeDelta::seconds(30);
        for (now, expected) in [
            (969, Err(NotNow::IssuedLater)),
            (970, Err(NotNow::NotYet)),
            (1069, Err(NotNow::NotYet)),
            (1070, Ok(())),
            (2029, Ok(())),
            (2030, Err(NotNow::Expired)),
        ] {
            assert_eq!(validity.check(at(now), skew), expected, "{now}");
        }
        let open = Validity {
            not_before: None,
            ..validity
        };
        assert_eq!(open.check(at(970), skew), Ok(()));
        assert_eq!(open.check(at(2000), TimeDelta::zero()), Err(NotNow::Expired));
    }
}
