//! What is on disk of one key.

use bytes::Bytes;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::ids::AuditId;
use uuid::Uuid;

/// Version of the form below.
const VERSION: u8 = 1;
/// Bytes before the answer: version, state, digest, two attempts, share, expiry.
const HEAD: usize = 2 + 32 + 16 + 16 + 16 + 8;

/// An attempt that has begun, or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Digest of the request.
    pub(super) request: Sha256Digest,
    /// The newest attempt.
    pub(super) attempt: AuditId,
    /// One before it whose end is not known.
    pub(super) earlier: Option<AuditId>,
    /// The tenant.
    pub(super) share: [u8; 16],
    /// Forgotten from then on, in ms of [`Time`](super::time::Time).
    pub(super) expires: u64,
    /// The answer; `None` while, or if, nobody knows how the attempt ended.
    pub(super) answer: Option<Bytes>,
}

impl Entry {
    pub(super) fn encode(&self) -> Vec<u8> {
        let answer = self.answer.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEAD + answer.len());
        bytes.extend([VERSION, u8::from(self.answer.is_some())]);
        bytes.extend(self.request.0);
        bytes.extend(self.attempt.0.as_bytes());
        bytes.extend(self.earlier.map_or(Uuid::nil(), |earlier| earlier.0).as_bytes());
        bytes.extend(self.share);
        bytes.extend(self.expires.to_be_bytes());
        bytes.extend(answer);
        bytes
    }

    /// `None` for what this version did not write.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, answer) = bytes.split_at_checked(HEAD)?;
        let (form, head) = head.split_first_chunk()?;
        let (request, head) = head.split_first_chunk()?;
        let (attempt, head) = head.split_first_chunk()?;
        let (earlier, head) = head.split_first_chunk()?;
        let (share, head) = head.split_first_chunk()?;
        let expires = u64::from_be_bytes(head.try_into().ok()?);
        let answer = match form {
            [VERSION, 0] if answer.is_empty() => None,
            [VERSION, 1] => Some(Bytes::copy_from_slice(answer)),
            _ => return None,
        };
        let earlier = Uuid::from_bytes(*earlier);
        Some(Self {
            request: Sha256Digest(*request),
            attempt: AuditId(Uuid::from_bytes(*attempt)),
            earlier: (!earlier.is_nil()).then_some(AuditId(earlier)),
            share: *share,
            expires,
            answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_back_and_nothing_else_is() {
        let id = |number| AuditId(Uuid::from_u128(number));
        let entry = |earlier, answer| Entry {
            request: Sha256Digest([1; 32]),
            attempt: id(2),
            earlier,
            share: [3; 16],
            expires: 4,
            answer,
        };
        for whole in [
            entry(None, None),
            entry(Some(id(9)), None),
            entry(Some(id(9)), Some(Bytes::from_static(b"answer"))),
            entry(None, Some(Bytes::new())),
        ] {
            let bytes = whole.encode();
            assert_eq!(Entry::decode(&bytes), Some(whole));
            assert_eq!(Entry::decode(&bytes[..HEAD - 1]), None);
        }
        let good = entry(None, None).encode();
        for (index, byte) in [(0, 0), (0, 2), (1, 2)] {
            let mut bad = good.clone();
            bad[index] = byte;
            assert_eq!(Entry::decode(&bad), None);
        }
        assert_eq!(
            Entry::decode(&[good, vec![0]].concat()),
            None,
            "an attempt has no answer"
        );
    }
}
