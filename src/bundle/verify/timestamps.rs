//! Timestamps that came along: do they prove when the signature was there?

use chrono::{DateTime, Utc};

use super::trust::Trust;
use super::{Check, Moment, show};
use crate::bundle::envelope::decode_base64;
use crate::timestamp::{Failure, Timestamp};

/// The earliest time that is proven, and what to report. A timestamp of an authority that is not trusted proves nothing
/// and spoils nothing; one that is malformed, altered or over something else spoils the document.
pub(super) fn check(
    timestamps: &[String],
    signature: &[u8],
    trust: Option<&Trust>,
    now: DateTime<Utc>,
) -> (Option<Moment>, Option<Check>) {
    let count = timestamps.len();
    if count == 0 {
        return (None, None);
    }
    let say = |ok, detail: String| Some(Check::new("timestamps", ok, detail));
    let Some(trust) = trust.filter(|trust| !trust.timestamp_authorities.is_empty()) else {
        let detail = format!(
            "{count} present; no timestamp authority is trusted, so they prove no time (information only)"
        );
        return (None, say(true, detail));
    };
    let (mut earliest, mut verified, mut reason): (Option<Timestamp>, usize, _) = (None, 0, String::new());
    for text in timestamps {
        let Some(response) = decode_base64(text) else {
            return (None, say(false, "a timestamp is not base64".into()));
        };
        match judge(&response, signature, trust, now) {
            Ok(timestamp) => {
                verified += 1;
                if earliest
                    .as_ref()
                    .is_none_or(|earliest| timestamp.time < earliest.time)
                {
                    earliest = Some(timestamp);
                }
            }
            Err(Failure::Invalid(detail)) => return (None, say(false, detail)),
            Err(Failure::Unacceptable(detail)) => reason = detail,
        }
    }
    match earliest {
        Some(earliest) => {
            let detail = format!(
                "{verified} of {count} verified: signed by {}",
                show(earliest.time)
            );
            (
                Some(Moment::Proven(earliest.time, earliest.accuracy)),
                say(true, detail),
            )
        }
        None => {
            let detail = format!("{count} present, which prove no time (information only): {reason}");
            (None, say(true, detail))
        }
    }
}

/// By any of the trusted authorities, at a time for which it is trusted.
fn judge(response: &[u8], signature: &[u8], trust: &Trust, now: DateTime<Utc>) -> Result<Timestamp, Failure> {
    let mut reason = Failure::Unacceptable("no timestamp authority is trusted".into());
    for trusted in &trust.timestamp_authorities {
        match trusted.authorities.verify(response, signature, now) {
            Ok(timestamp) if trusted.valid_for.contains(timestamp.time) => return Ok(timestamp),
            Ok(_) => {
                let detail = "the timestamp authority is not trusted at that time";
                reason = Failure::Unacceptable(detail.into());
            }
            Err(failure @ Failure::Invalid(_)) => return Err(failure),
            Err(failure) => reason = failure,
        }
    }
    Err(reason)
}
