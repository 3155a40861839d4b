//! Why there is no timestamp.

use crate::ports::TimestampSourceError;

/// 502 `timestamp_error`. Reasons of the authority are for the log, not for callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// No answer in time, or it is left alone as it has not answered for a while.
    #[error("the timestamp authority does not answer: try again shortly")]
    Unavailable,
    /// As many of the tenant's signatures wait for their turn as places are left.
    #[error("too many signatures of this tenant wait for a timestamp: try again shortly")]
    Crowded,
    /// Its answer is no timestamp over the signature by the configured authority.
    #[error("the timestamp authority's answer cannot be used: try again shortly")]
    Unusable,
    /// Its time lies outside the life of the signing certificate, so the signature would verify nowhere.
    #[error("the timestamp lies outside the life of the signing certificate: try again shortly")]
    OutsideLife,
}

impl From<TimestampSourceError> for TimestampError {
    fn from(error: TimestampSourceError) -> Self {
        match error {
            TimestampSourceError::Unavailable(_) => Self::Unavailable,
            TimestampSourceError::Unusable(_) => Self::Unusable,
        }
    }
}
