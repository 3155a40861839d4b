//! Public keys of release signatures, and the algorithms they verify.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::ec::EcKeyRef;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::sign::Verifier;
use signer_actors::domain::digest::Sha256Digest;

use crate::openssl_errors;

/// Shortest RSA modulus that is accepted, in bits (NIST SP 800-131A).
const MIN_RSA_BITS: u32 = 2048;

/// Longest RSA modulus that is accepted, in bits: longer ones only cost time.
const MAX_RSA_BITS: u32 = 8192;

/// What a key verifies. The curve or family is fixed by the key, never by the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

/// A public key that can have made a release signature.
#[derive(Clone)]
pub(super) struct ReleaseKey {
    id: String,
    spki: Vec<u8>,
    key: PKey<Public>,
    kind: Kind,
}

impl std::fmt::Debug for ReleaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReleaseKey({:?}, {})", self.kind, self.id)
    }
}

impl PartialEq for ReleaseKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl ReleaseKey {
    /// Reads one SPKI in PEM; more than one object in the file is refused, as only the first would be used.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(pem).map_err(|_| "a release key is not PEM")?;
        if text.matches("-----BEGIN ").count() != 1 {
            return Err("a release key file must hold exactly one public key".to_owned());
        }
        let key = PKey::public_key_from_pem(pem)
            .map_err(|_| "a release key is not a public key in PEM (BEGIN PUBLIC KEY)")?;
        Self::new(key)
    }

    /// Takes a key of a supported kind and strength.
    pub(super) fn new(key: PKey<Public>) -> Result<Self, String> {
        let kind =
            kind(&key).ok_or("the key is none of ECDSA P-256 or P-384, Ed25519, RSA 2048 to 8192 bits")?;
        let spki = key.public_key_to_der().map_err(|_| "the key cannot be encoded")?;
        let id = STANDARD.encode(Sha256Digest::of(&spki).0);
        Ok(Self { id, spki, key, kind })
    }

    /// base64 SHA-256 of the SPKI DER, as Sigstore's key hints.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// True when the signature over exactly these bytes is this key's.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.kind {
            Kind::P256 => self.verifies_with(Some(MessageDigest::sha256()), message, signature),
            // cosign 3 hashes with SHA-384 for this curve, cosign 1 and 2 always with SHA-256.
            Kind::P384 => {
                self.verifies_with(Some(MessageDigest::sha384()), message, signature)
                    || self.verifies_with(Some(MessageDigest::sha256()), message, signature)
            }
            // Pure Ed25519 (RFC 8032 §5.1); the Ed25519ph of cosign 3 is not offered by the openssl crate.
            Kind::Ed25519 => self.verifies_with(None, message, signature),
            // PKCS#1 v1.5 with SHA-256, cosign's only RSA scheme (RFC 8017 §8.2).
            Kind::Rsa => self.verifies_with(Some(MessageDigest::sha256()), message, signature),
        }
    }

    fn verifies_with(&self, digest: Option<MessageDigest>, message: &[u8], signature: &[u8]) -> bool {
        let verifier = match digest {
            Some(digest) => Verifier::new(digest, &self.key),
            None => Verifier::new_without_digest(&self.key),
        };
        // An error of openssl (a signature that is no DER, a wrong length) is a signature that does not hold.
        let holds = verifier
            .and_then(|mut verifier| verifier.verify_oneshot(signature, message))
            .unwrap_or(false);
        if !holds {
            openssl_errors::forget();
        }
        holds
    }
}

fn kind(key: &PKey<Public>) -> Option<Kind> {
    match key.id() {
        Id::EC => curve(&*key.ec_key().ok()?),
        Id::ED25519 => Some(Kind::Ed25519),
        Id::RSA => (MIN_RSA_BITS..=MAX_RSA_BITS)
            .contains(&key.bits())
            .then_some(Kind::Rsa),
        _ => None,
    }
}

fn curve(key: &EcKeyRef<Public>) -> Option<Kind> {
    key.check_key().ok()?;
    match key.group().curve_name() {
        Some(Nid::X9_62_PRIME256V1) => Some(Kind::P256),
        Some(Nid::SECP384R1) => Some(Kind::P384),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signatures by cosign 2.5.0 over the payload beside them (`testdata/README.md`).
    #[test]
    fn signatures_of_cosign_hold() {
        #[track_caller]
        fn check(key: &[u8], payload: &[u8], signature: &str) {
            let key = ReleaseKey::from_pem(key).unwrap();
            let mut signature = STANDARD.decode(signature).unwrap();
            assert!(key.verifies(payload, &signature), "{key:?}");
            assert!(!key.verifies(&payload[1..], &signature));
            let last = signature.len() - 1;
            signature[last] ^= 1;
            assert!(!key.verifies(payload, &signature));
            assert!(!key.verifies(payload, b""));
            // r and s out of range: the low-level verification answers no and queues why.
            assert!(!key.verifies(payload, &[0xff; 64]));
            assert!(openssl_errors::was_empty());
        }
        macro_rules! vector {
            ($name:literal) => {
                check(
                    include_bytes!(concat!("testdata/", $name, ".pub")),
                    include_bytes!(concat!("testdata/", $name, "-payload.json")),
                    include_str!(concat!("testdata/", $name, "-payload.sig")),
                )
            };
        }
        vector!("p384");
        vector!("rsa");
        vector!("ed");
    }

    #[test]
    fn unusable_keys_are_refused() {
        let weak = openssl::rsa::Rsa::generate(1024).unwrap();
        let secp256k1 = openssl::ec::EcGroup::from_curve_name(Nid::SECP256K1).unwrap();
        let other = openssl::ec::EcKey::generate(&secp256k1).unwrap();
        let twice = include_str!("testdata/p256.pub").repeat(2);
        for bad in [
            weak.public_key_to_pem().unwrap(),
            other.public_key_to_pem().unwrap(),
            twice.into_bytes(),
            b"no key".to_vec(),
            Vec::new(),
        ] {
            assert!(ReleaseKey::from_pem(&bad).is_err());
        }
    }
}
