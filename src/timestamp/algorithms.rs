//! The algorithms of timestamps: hashes, and how authorities sign.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKeyRef, Public};
use openssl::sign::Verifier;

use crate::openssl_errors;
use crate::x509::der::{OID, Reader, SEQUENCE, only};

/// A hash that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

const SHA2: [(&[u8], Hash); 3] = [
    // 2.16.840.1.101.3.4.2.{1,2,3} (RFC 5754 §2)
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
        Hash::Sha256,
    ),
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
        Hash::Sha384,
    ),
    (
        &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03],
        Hash::Sha512,
    ),
];

impl Hash {
    /// Reads the content of an `AlgorithmIdentifier`: parameters absent or NULL (RFC 5754 §2).
    pub(super) fn read(identifier: &[u8]) -> Option<Self> {
        let oid = plain(identifier)?;
        SHA2.iter()
            .find(|(known, _)| *known == oid)
            .map(|(_, hash)| *hash)
    }

    /// The digest of some bytes.
    pub(super) fn of(self, bytes: &[u8]) -> Option<Vec<u8>> {
        openssl::hash::hash(self.digest(), bytes)
            .ok()
            .map(|digest| digest.to_vec())
    }

    fn digest(self) -> MessageDigest {
        match self {
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }
}

/// How an authority signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Ecdsa(Hash),
    /// RSASSA-PKCS1-v1_5.
    Rsa(Hash),
    /// RFC 8419: pure, and SHA-512 for everything else.
    Ed25519,
}

const SCHEMES: [(&[u8], Scheme); 7] = [
    // 1.2.840.10045.4.3.{2,3,4} (RFC 5758 §3.2)
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
        Scheme::Ecdsa(Hash::Sha256),
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
        Scheme::Ecdsa(Hash::Sha384),
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
        Scheme::Ecdsa(Hash::Sha512),
    ),
    // 1.2.840.113549.1.1.{11,12,13} (RFC 5754 §3.2)
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b],
        Scheme::Rsa(Hash::Sha256),
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
        Scheme::Rsa(Hash::Sha384),
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
        Scheme::Rsa(Hash::Sha512),
    ),
    // 1.3.101.112 (RFC 8419 §2)
    (&[0x2b, 0x65, 0x70], Scheme::Ed25519),
];

/// 1.2.840.113549.1.1.1 (RFC 3370 §3.2): the hash is the signer's `digestAlgorithm`.
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

impl Scheme {
    /// Reads the content of the signature's `AlgorithmIdentifier`. Its hash must be `digest`, the signer's.
    pub(super) fn read(identifier: &[u8], digest: Hash) -> Option<Self> {
        let oid = plain(identifier)?;
        if oid == RSA_ENCRYPTION {
            return Some(Self::Rsa(digest));
        }
        let (_, scheme) = SCHEMES.iter().find(|(known, _)| *known == oid)?;
        (scheme.hash() == digest).then_some(*scheme)
    }

    fn hash(self) -> Hash {
        match self {
            Self::Ecdsa(hash) | Self::Rsa(hash) => hash,
            Self::Ed25519 => Hash::Sha512,
        }
    }

    /// True if the signature over these bytes is this key's, and the key is of this scheme.
    pub(super) fn verifies(self, key: &PKeyRef<Public>, message: &[u8], signature: &[u8]) -> bool {
        let verified = self.try_verify(key, message, signature).unwrap_or(false);
        openssl_errors::forget();
        verified
    }

    fn try_verify(self, key: &PKeyRef<Public>, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        let mut verifier = match (self, key.id()) {
            (Self::Ecdsa(hash), Id::EC) | (Self::Rsa(hash), Id::RSA) => Verifier::new(hash.digest(), key)?,
            (Self::Ed25519, Id::ED25519) => Verifier::new_without_digest(key)?,
            _ => return Ok(false),
        };
        verifier.verify_oneshot(signature, message)
    }
}

/// The identifier alone, where parameters are absent or NULL.
fn plain(identifier: &[u8]) -> Option<&[u8]> {
    let mut parts = Reader::new(identifier);
    let oid = parts.expect(OID)?;
    let parameters = if parts.is_empty() {
        None
    } else {
        Some(parts.any()?)
    };
    (parts.is_empty() && matches!(parameters, None | Some((0x05, [])))).then_some(oid)
}

/// Reads a whole `AlgorithmIdentifier`.
pub(super) fn hash_of(element: &[u8]) -> Option<Hash> {
    Hash::read(only(element, SEQUENCE)?)
}
