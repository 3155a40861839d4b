//! What travels in bodies: strict readers of requests, writers of responses (contract §2).

pub mod audit_response;
pub mod batch_request;
pub mod batch_response;
pub mod body;
pub mod identity;
pub mod sign_request;
pub mod sign_response;
pub mod told;
pub mod verify_request;
pub mod verify_response;

use chrono::{DateTime, SecondsFormat, Utc};

/// A time as responses show it: RFC 3339 in UTC, whole seconds.
pub(crate) fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
