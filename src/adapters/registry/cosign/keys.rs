//! Public keys of release signatures, and the algorithms they verify.

use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::signing::Algorithm;

use crate::bundle::sigstore::key_hint;
use crate::crypto::{PublicKey, algorithms_of, parse_public_pem};
use crate::openssl_errors;

/// A public key that can have made a release signature. What it verifies is fixed by the key, never by the signature.
pub(super) struct ReleaseKey {
    id: String,
    kind: Kind,
}

enum Kind {
    Pinned(PublicKey),
    /// No signing key here has this curve, so it is verified here alone.
    P521 {
        key: EcKey<Public>,
        der: Vec<u8>,
    },
}

impl std::fmt::Debug for ReleaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Kind::Pinned(key) => write!(f, "ReleaseKey({}, {})", key.algorithm(), self.id),
            Kind::P521 { .. } => write!(f, "ReleaseKey(ecdsa-p521, {})", self.id),
        }
    }
}

impl PartialEq for ReleaseKey {
    fn eq(&self, other: &Self) -> bool {
        self.der() == other.der()
    }
}

impl ReleaseKey {
    /// Reads one SPKI in PEM; more than one object in the file is refused, as only the first would be used.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        Self::new(parse_public_pem(pem)?)
    }

    /// Takes a key of a supported kind and strength.
    pub(super) fn new(key: PKey<Public>) -> Result<Self, String> {
        let kind = match p521(&key) {
            Some((key, der)) => Kind::P521 { key, der },
            None => {
                let mut algorithms = algorithms_of(&key).into_iter();
                // PKCS#1 v1.5 is cosign's only RSA scheme (RFC 8017 §8.2).
                let algorithm = algorithms.find(|algorithm| *algorithm != Algorithm::RsaPssSha256);
                let unsupported =
                    "the key is none of ECDSA P-256, P-384 or P-521, Ed25519, RSA 2048 to 4096 bits";
                Kind::Pinned(PublicKey::new(key, algorithm.ok_or(unsupported)?)?)
            }
        };
        let der = match &kind {
            Kind::Pinned(key) => key.der(),
            Kind::P521 { der, .. } => der,
        };
        let id = key_hint(der);
        Ok(Self { id, kind })
    }

    /// base64 SHA-256 of the SPKI DER, as Sigstore's key hints.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// SubjectPublicKeyInfo in DER, the named curve and the whole point.
    pub(super) fn der(&self) -> &[u8] {
        match &self.kind {
            Kind::Pinned(key) => key.der(),
            Kind::P521 { der, .. } => der,
        }
    }

    /// SHA-256 of [`Self::der`].
    pub(super) fn fingerprint(&self) -> Sha256Digest {
        Sha256Digest::of(self.der())
    }

    /// The 32 bytes of an Ed25519 key (RFC 8032 §5.1.2).
    pub(super) fn ed25519(&self) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Pinned(key) if key.pkey().id() == Id::ED25519 => key.pkey().raw_public_key().ok(),
            _ => None,
        }
    }

    /// True when the signature over exactly these bytes is this key's. Ed25519 is pure (RFC 8032 §5.1): the Ed25519ph of
    /// cosign 3 is not offered by the openssl crate.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            // cosign 3 hashes with SHA-384 for this curve, cosign 1 and 2 always with SHA-256.
            Kind::Pinned(key) => {
                key.verify(message, signature)
                    || (key.algorithm() == Algorithm::EcdsaP384Sha384
                        && key.verify_ecdsa_sha256(message, signature))
            }
            // The same with SHA-512.
            Kind::P521 { key, .. } => [MessageDigest::sha512(), MessageDigest::sha256()]
                .into_iter()
                .any(|digest| verify_ecdsa(key, digest, message, signature)),
        }
    }
}

/// A P-521 key with its plain encoding.
fn p521(key: &PKey<Public>) -> Option<(EcKey<Public>, Vec<u8>)> {
    if key.id() != Id::EC {
        return None;
    }
    let key = key.ec_key().ok()?;
    if key.group().curve_name() != Some(Nid::SECP521R1) {
        return None;
    }
    let plain = || {
        let key = crate::crypto::plain_ec(&key)?;
        let der = PKey::from_ec_key(key.clone())?.public_key_to_der()?;
        Ok::<_, ErrorStack>((key, der))
    };
    let plain = plain().ok();
    openssl_errors::forget();
    plain
}

fn verify_ecdsa(key: &EcKey<Public>, digest: MessageDigest, message: &[u8], signature: &[u8]) -> bool {
    let verify = || {
        let parsed = EcdsaSig::from_der(signature)?;
        // One encoding only (X.690 §10).
        Ok::<_, ErrorStack>(parsed.to_der()? == signature && parsed.verify(&hash(digest, message)?, key)?)
    };
    let verified = verify().unwrap_or(false);
    openssl_errors::forget();
    verified
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use openssl::nid::Nid;

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

    /// Signatures by openssl: with the curve's own hash, as cosign 3 makes them, and with SHA-256, as cosign 2 does.
    #[test]
    fn p521_is_verified_with_both_hashes() {
        let key = ReleaseKey::from_pem(include_bytes!("testdata/p521.pub")).unwrap();
        let payload = include_bytes!("testdata/legacy-payload.json");
        for signature in [
            include_bytes!("testdata/p521-sha512.sig").as_slice(),
            include_bytes!("testdata/p521-sha256.sig"),
        ] {
            assert!(key.verifies(payload, signature));
            assert!(!key.verifies(&payload[1..], signature));
            assert!(!key.verifies(payload, &[signature, b"\0"].concat()));
            let mut changed = signature.to_vec();
            changed[10] ^= 1;
            assert!(!key.verifies(payload, &changed));
        }
        assert!(!key.verifies(payload, b""));
        assert!(openssl_errors::was_empty());
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
