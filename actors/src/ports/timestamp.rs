//! Timestamp authorities: who else says when a signature was there (RFC 3161).

use std::fmt;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::PortFuture;
use crate::domain::signing::Signature;

/// The configured authority.
pub trait TimestampSource: Send + Sync + fmt::Debug {
    /// Asks once for a timestamp over a signature's bytes, and verifies the answer: nonce, imprint, the authority's
    /// signature and path, its time against our clock. Bounded in time and bytes by the implementation. What it is given
    /// is the signature's digest alone.
    fn stamp(&self, signature: Signature) -> PortFuture<Result<Timestamp, TimestampSourceError>>;
}

/// A timestamp that was verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Timestamp {
    /// `TimeStampResp` in DER (RFC 3161 §2.4.2), as the authority answered.
    pub response: Bytes,
    /// The signature was there then.
    pub time: DateTime<Utc>,
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({}, {} bytes)", self.time, self.response.len())
    }
}

/// Why there is no timestamp. Texts are for logs and operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampSourceError {
    /// Not there, too slow, or not able to answer now: asking again may help.
    #[error("{0}")]
    Unavailable(String),
    /// It answered, and the answer is an error or does not verify.
    #[error("{0}")]
    Unusable(String),
}
