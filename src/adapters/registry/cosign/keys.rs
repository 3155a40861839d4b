//! Public keys of release signatures, and the algorithms they verify.

use openssl::pkey::{PKey, Public};
use signer_actors::domain::signing::Algorithm;

use crate::bundle::sigstore::key_hint;
use crate::crypto::{PublicKey, algorithms_of, parse_public_pem};

/// A public key that can have made a release signature. What it verifies is fixed by the key, never by the signature.
pub(super) struct ReleaseKey {
    id: String,
    key: PublicKey,
}

impl std::fmt::Debug for ReleaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReleaseKey({}, {})", self.key.algorithm(), self.id)
    }
}

impl PartialEq for ReleaseKey {
    fn eq(&self, other: &Self) -> bool {
        self.key.der() == other.key.der()
    }
}

impl ReleaseKey {
    /// Reads one SPKI in PEM; more than one object in the file is refused, as only the first would be used.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let key = parse_public_pem(pem).map_err(|problem| format!("a release key: {problem}"))?;
        Self::new(key)
    }

    /// Takes a key of a supported kind and strength.
    pub(super) fn new(key: PKey<Public>) -> Result<Self, String> {
        let mut algorithms = algorithms_of(&key).into_iter();
        // PKCS#1 v1.5 is cosign's only RSA scheme (RFC 8017 §8.2).
        let algorithm = algorithms.find(|algorithm| *algorithm != Algorithm::RsaPssSha256);
        let unsupported = "the key is none of ECDSA P-256 or P-384, Ed25519, RSA 2048 to 4096 bits";
        let key = PublicKey::new(key, algorithm.ok_or(unsupported)?)?;
        let id = key_hint(key.der());
        Ok(Self { id, key })
    }

    /// base64 SHA-256 of the SPKI DER, as Sigstore's key hints.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// True when the signature over exactly these bytes is this key's. Ed25519 is pure (RFC 8032 §5.1); the Ed25519ph of
    /// cosign 3 is not offered by the openssl crate.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify(message, signature)
            // cosign 3 hashes with SHA-384 for this curve, cosign 1 and 2 always with SHA-256.
            || (self.key.algorithm() == Algorithm::EcdsaP384Sha384
                && self.key.verify_ecdsa_sha256(message, signature))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use openssl::nid::Nid;

    use super::*;
    use crate::openssl_errors;

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
