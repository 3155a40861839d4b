//! Idempotency keys: what a retry is recognised by, and what is kept of the first answer (contract §8).

use std::fmt;

use bytes::Bytes;

use super::digest::Sha256Digest;
use super::ids::KeyId;
use super::tenant::{InstallationId, TenantId};

/// Longest answer that is kept, without its payload, in bytes. Certificates and names make some 4 KiB.
pub const MAX_TOLD: usize = 128 * 1024;
/// Version of [`KeptAnswer::encode`].
const VERSION: u8 = 2;
/// Bytes before the backend's id: version, stamp, payload's digest, whether there is a key, the key's digest, length of the id.
const HEAD: usize = 2 + 32 + 1 + 32 + 1;

/// An `Idempotency-Key`: 1 to 255 visible ASCII characters (RFC 5234 `VCHAR`), opaque.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Accepts a field's value that fits the grammar.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let fits = (1..=255).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        let text = fits.then(|| String::from_utf8(value.to_vec()).ok());
        text.flatten().map(Self)
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The caller's text: not for logs.
        f.write_str("IdempotencyKey(…)")
    }
}

/// Within which a key means one request (contract §8).
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Tenant of the verified token.
    pub tenant: &'a TenantId,
    /// Its installation.
    pub installation: &'a InstallationId,
    /// `client_id` of the token.
    pub client: &'a str,
    /// `sub` of the token.
    pub subject: &'a str,
    /// Which operation.
    pub route: &'static str,
}

/// A key within its scope, hashed: a store holds no text of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopedKey {
    id: Sha256Digest,
    share: [u8; 16],
}

impl ScopedKey {
    /// Of this key in this scope.
    pub fn new(scope: &Scope<'_>, key: &IdempotencyKey) -> Self {
        let id = framed(&[
            b"stella.ops signer idempotency key v1",
            scope.tenant.as_str().as_bytes(),
            scope.installation.as_str().as_bytes(),
            scope.client.as_bytes(),
            scope.subject.as_bytes(),
            scope.route.as_bytes(),
            key.0.as_bytes(),
        ]);
        let tenant = framed(&[
            b"stella.ops signer idempotency share v1",
            scope.tenant.as_str().as_bytes(),
        ]);
        let mut share = [0; 16];
        share.iter_mut().zip(tenant.0).for_each(|(to, from)| *to = from);
        Self { id, share }
    }

    /// Names the entry.
    pub fn id(&self) -> &[u8; 32] {
        &self.id.0
    }

    /// Names the tenant, whose entries are counted together.
    pub fn share(&self) -> &[u8; 16] {
        &self.share
    }
}

/// SHA-256 over several members, each after its length (64 bit, big endian), so that no two lists of members look alike.
pub fn framed(members: &[&[u8]]) -> Sha256Digest {
    let lengths: Vec<[u8; 8]> = members
        .iter()
        .map(|member| (member.len() as u64).to_be_bytes())
        .collect();
    let parts: Vec<&[u8]> = lengths
        .iter()
        .zip(members)
        .flat_map(|(length, member)| [length.as_slice(), member])
        .collect();
    Sha256Digest::of_parts(&parts)
}

/// What is kept of an answer: everything but the payload, which the retry brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Whether the statement carries the gates' stamp.
    pub stamped: bool,
    /// SHA-256 of the payload that was signed.
    pub payload: Sha256Digest,
    /// Backend that signed.
    pub backend: KeyId,
    /// SHA-256 of its SubjectPublicKeyInfo; `None` for keys made anew for every certificate.
    pub key: Option<Sha256Digest>,
    /// The answer as it was told, without the payload. Opaque to the core, at most [`MAX_TOLD`] bytes.
    pub told: Bytes,
}

impl KeptAnswer {
    /// As bytes; `None` if the answer is too long.
    pub fn encode(&self) -> Option<Bytes> {
        if self.told.len() > MAX_TOLD {
            return None;
        }
        let id = self.backend.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(HEAD + id.len() + self.told.len());
        bytes.extend([VERSION, u8::from(self.stamped)]);
        bytes.extend(self.payload.0);
        bytes.push(u8::from(self.key.is_some()));
        bytes.extend(self.key.map_or([0; 32], |key| key.0));
        bytes.push(u8::try_from(id.len()).ok()?);
        bytes.extend(id);
        bytes.extend_from_slice(&self.told);
        Some(bytes.into())
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        let mut told = bytes.split_off(bytes.len().min(HEAD));
        let (form, head) = bytes.split_first_chunk()?;
        let (payload, head) = head.split_first_chunk()?;
        let (has_key, head) = head.split_first()?;
        let (key, head) = head.split_first_chunk()?;
        let length = usize::from(*head.first()?);
        let stamped = match form {
            [VERSION, 0] => false,
            [VERSION, 1] => true,
            _ => return None,
        };
        let key = match (has_key, key) {
            (0, key) if key.iter().all(|byte| *byte == 0) => None,
            (1, key) => Some(Sha256Digest(*key)),
            _ => return None,
        };
        if told.len() < length {
            return None;
        }
        let id = told.split_to(length);
        let backend = KeyId::parse(std::str::from_utf8(&id).ok()?)?;
        (told.len() <= MAX_TOLD).then_some(Self {
            stamped,
            payload: Sha256Digest(*payload),
            backend,
            key,
            told,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_ascii() {
        for good in [
            "a",
            "!",
            "~",
            "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
            &"k".repeat(255),
        ] {
            assert!(IdempotencyKey::parse(good.as_bytes()).is_some(), "{good}");
        }
        for bad in ["", " ", "a b", "a\tb", "a\u{7f}", "é", &"k".repeat(256)] {
            assert!(IdempotencyKey::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        let key = IdempotencyKey::parse(b"secret-42").expect("a key");
        assert!(!format!("{key:?}").contains("secret"));
    }

    /// Every member of the scope separates, and none can lend characters to its neighbour.
    #[test]
    fn each_member_of_the_scope_separates() {
        let of = |[tenant, installation, client, subject, route, key]: [&'static str; 6]| {
            let tenant = TenantId::parse(tenant).expect("a tenant");
            let installation = InstallationId::parse(installation).expect("an installation");
            let scope = Scope {
                tenant: &tenant,
                installation: &installation,
                client,
                subject,
                route,
            };
            ScopedKey::new(&scope, &IdempotencyKey::parse(key.as_bytes()).expect("a key"))
        };
        let base = ["t", "i", "c", "s", "r", "k"];
        assert_eq!(of(base), of(base));
        let mut ids = vec![of(base)];
        for index in 0..base.len() {
            let mut other = base;
            other[index] = "x";
            ids.push(of(other));
        }
        ids.push(of(["ti", "c", "c", "s", "r", "k"]));
        ids.push(of(["t", "i", "cs", "", "r", "k"]));
        ids.push(of(["t", "i", "c", "s", "rk", "k"]));
        let distinct: std::collections::BTreeSet<_> = ids.iter().map(|key| *key.id()).collect();
        assert_eq!(distinct.len(), ids.len());
        assert_eq!(
            of(base).share(),
            of(["t", "x", "x", "x", "x", "x"]).share(),
            "by tenant"
        );
        assert_ne!(of(base).share(), of(["x", "i", "c", "s", "r", "k"]).share());
    }

    #[test]
    fn framing_is_length_and_member() {
        let mut expected = Vec::new();
        for member in ["ab", "", "c"] {
            expected.extend((member.len() as u64).to_be_bytes());
            expected.extend(member.as_bytes());
        }
        assert_eq!(framed(&[b"ab", b"", b"c"]), Sha256Digest::of(&expected));
    }

    #[test]
    fn answers_are_read_back_and_nothing_else_is() {
        let answer = |told: &'static [u8]| KeptAnswer {
            stamped: true,
            payload: Sha256Digest([7; 32]),
            backend: KeyId::parse("main-2026").expect("an id"),
            key: Some(Sha256Digest([8; 32])),
            told: Bytes::from_static(told),
        };
        for told in [b"".as_slice(), b"{}"] {
            for key in [None, answer(told).key] {
                let answer = KeptAnswer { key, ..answer(told) };
                let encoded = answer.encode().expect("short");
                assert_eq!(KeptAnswer::decode(encoded), Some(answer));
            }
        }
        let good = answer(b"{}").encode().expect("short");
        // Version, stamp, whether there is a key, length of the id, its first character.
        for (index, byte) in [
            (0, 0),
            (0, 1),
            (0, 3),
            (1, 2),
            (34, 0),
            (34, 2),
            (67, 0),
            (67, 12),
            (68, b' '),
        ] {
            let mut bad = good.to_vec();
            bad[index] = byte;
            assert_eq!(KeptAnswer::decode(bad.into()), None, "{index}");
        }
        for length in [0, 1, 33, 67, 68, 76] {
            assert_eq!(KeptAnswer::decode(good.slice(..length)), None, "{length}");
        }
        let long = |length| KeptAnswer {
            told: vec![0; length].into(),
            ..answer(b"")
        };
        assert!(long(MAX_TOLD).encode().is_some());
        assert!(long(MAX_TOLD + 1).encode().is_none());
    }
}
