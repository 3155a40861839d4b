//! Identifiers that travel through a request.

use std::fmt;

use uuid::Uuid;

/// Ties every log line, audit record and response of one request together (contract §2).
///
/// 1 to 128 characters of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CorrelationId(String);

impl CorrelationId {
    /// The longest accepted identifier, in characters.
    pub const MAX_LEN: usize = 128;

    /// Accepts a caller's identifier if it fits the grammar.
    pub fn parse(value: &str) -> Option<Self> {
        let fits = (1..=Self::MAX_LEN).contains(&value.len())
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        fits.then(|| Self(value.to_owned()))
    }

    /// The trace id of a W3C `traceparent` header (Trace Context §3.2.2): `00-<32 hex>-<16 hex>-<2 hex>`,
    /// not all zero.
    pub fn from_traceparent(value: &str) -> Option<Self> {
        let lower_hex = |s: &str, len: usize| {
            s.len() == len
                && s.bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let mut parts = value.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // Version 00 has exactly four fields; higher versions may append more; ff is forbidden.
        let fields_fit = version != "00" || parts.next().is_none();
        let valid = fields_fit
            && lower_hex(version, 2)
            && version != "ff"
            && lower_hex(trace, 32)
            && trace.bytes().any(|b| b != b'0')
            && lower_hex(parent, 16)
            && lower_hex(flags, 2);
        valid.then(|| Self(trace.to_owned()))
    }

    /// An identifier of our own, for a request that brought none.
    pub fn from_uuid(id: Uuid) -> Self {
        Self(id.to_string())
    }

    /// The identifier, if it is spelled like one that is generated: a UUID, or 32 hexadecimal digits as a trace id has
    /// them, in lowercase. Anything else may be a caller's own words.
    pub fn as_generated(&self) -> Option<&str> {
        let hex = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let trace = self.0.len() == 32 && hex(&self.0);
        // RFC 9562 §4.
        let uuid = || self.0.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && self.0.split('-').all(hex);
        (trace || uuid()).then_some(self.0.as_str())
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one signature, dry run or refusal in the audit trail: a UUIDv7, so that ids sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct AuditId(pub Uuid);

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a signing key in requests, responses and audit records: 1 to 128 characters of `[A-Za-z0-9._-]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// Accepts an identifier that fits the grammar.
    pub fn parse(value: &str) -> Option<Self> {
        CorrelationId::parse(value).map(|CorrelationId(id)| Self(id))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlation_id_takes_only_its_grammar() {
        for good in ["a", "A.b_c-9", &"x".repeat(128)] {
            assert!(CorrelationId::parse(good).is_some(), "{good}");
        }
        for bad in ["", " ", "a b", "a\n", "é", "a/b", &"x".repeat(129)] {
            assert!(CorrelationId::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn only_what_is_spelled_like_a_generated_id_passes_for_one() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let uuid = "01a20390-1f58-7441-9fd1-ee1696b17361";
        let told = |text: &str| CorrelationId::parse(text).map(|id| id.as_generated().map(str::to_owned));
        for good in [trace, uuid] {
            assert_eq!(told(good), Some(Some(good.to_owned())));
        }
        let (upper, longer, joined) = (trace.to_uppercase(), format!("{uuid}0"), uuid.replace('-', ""));
        for other in [
            "order-7",
            "jane.doe",
            &upper,
            &longer,
            &uuid.replace('-', "."),
            &trace[1..],
            "4bf9-2f35",
        ] {
            assert_eq!(told(other), Some(None), "{other}");
        }
        assert_eq!(
            told(&joined),
            Some(Some(joined.clone())),
            "it is one in simple form, too"
        );
    }

    #[test]
    fn traceparent_gives_its_trace_id() {
        // The example of W3C Trace Context §3.2.3.
        let example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let id = CorrelationId::from_traceparent(example).map(|id| id.to_string());
        assert_eq!(id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        for bad in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "",
        ] {
            assert!(CorrelationId::from_traceparent(bad).is_none(), "{bad}");
        }
    }
}
