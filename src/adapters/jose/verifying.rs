//! Keys that are ready to verify: built once, used often.

use std::fmt;
use std::sync::OnceLock;

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Public};
use openssl::rsa::Padding;
use openssl::sha::{Sha256, Sha384};
use openssl::sign::{RsaPssSaltlen, Verifier};
use signer_actors::domain::jws::JwsAlgorithm;

use crate::openssl_errors;

/// A public key as OpenSSL has it, for signatures by the one algorithm that it suits (RFC 8725 §3.1). The low-level ECDSA
/// calls spare the set-up that a JWT library repeats on every call.
pub struct VerifyingKey(Ready);

pub(super) enum Ready {
    P256(EcKey<Public>),
    P384(EcKey<Public>),
    Ed25519(PKey<Public>),
    Rsa(PKey<Public>),
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&self.algorithm()).finish()
    }
}

impl VerifyingKey {
    pub(super) fn new(ready: Ready) -> Self {
        Self(ready)
    }

    /// The one algorithm that this key verifies.
    pub fn algorithm(&self) -> JwsAlgorithm {
        match &self.0 {
            Ready::P256(_) => JwsAlgorithm::Es256,
            Ready::P384(_) => JwsAlgorithm::Es384,
            Ready::Ed25519(_) => JwsAlgorithm::EdDsa,
            Ready::Rsa(_) => JwsAlgorithm::Ps256,
        }
    }

    /// True when the signature over the input holds.
    pub fn verify(&self, input: &[u8], signature: &[u8]) -> bool {
        let holds = self.try_verify(input, signature).unwrap_or(false);
        if !holds {
            // What OpenSSL queued about this signature must not surface in a later, unrelated call on this thread.
            openssl_errors::forget();
        }
        holds
    }

    fn try_verify(&self, input: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        match &self.0 {
            Ready::P256(key) => {
                let mut hasher = Sha256::new();
                hasher.update(input);
                verify_ecdsa(signature, 32, &hasher.finish(), key)
            }
            Ready::P384(key) => {
                let mut hasher = Sha384::new();
                hasher.update(input);
                verify_ecdsa(signature, 48, &hasher.finish(), key)
            }
            Ready::Ed25519(key) => Verifier::new_without_digest(key)?.verify_oneshot(signature, input),
            Ready::Rsa(key) => {
                let mut verifier = Verifier::new(MessageDigest::sha256(), key)?;
                verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                // RFC 7518 §3.5: the salt is as long as the hash, and MGF1 uses the same hash (OpenSSL's default).
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(32))?;
                verifier.verify_oneshot(signature, input)
            }
        }
    }
}

static P256: OnceLock<EcGroup> = OnceLock::new();
static P384: OnceLock<EcGroup> = OnceLock::new();

pub(super) fn p256_key(x: &[u8], y: &[u8]) -> Result<EcKey<Public>, ErrorStack> {
    ec_key(&P256, Nid::X9_62_PRIME256V1, x, y)
}

pub(super) fn p384_key(x: &[u8], y: &[u8]) -> Result<EcKey<Public>, ErrorStack> {
    ec_key(&P384, Nid::SECP384R1, x, y)
}

/// An EC key from coordinates. `EcPoint::from_bytes` refuses coordinates out of range and points off the curve; both
/// curves have cofactor 1 and the uncompressed form cannot say infinity, so no further check is needed (SEC 1 §3.2.2.1).
fn ec_key(group: &OnceLock<EcGroup>, nid: Nid, x: &[u8], y: &[u8]) -> Result<EcKey<Public>, ErrorStack> {
    let group = match group.get() {
        Some(group) => group,
        None => {
            let built = EcGroup::from_curve_name(nid)?;
            group.get_or_init(|| built)
        }
    };
    let mut context = BigNumContext::new()?;
    let point = EcPoint::from_bytes(group, &[&[4], x, y].concat(), &mut context)?;
    EcKey::from_public_key(group, &point)
}

/// RFC 7518 §3.4: r and s, big-endian, each exactly as long as the curve's order.
fn verify_ecdsa(
    signature: &[u8],
    len: usize,
    digest: &[u8],
    key: &EcKey<Public>,
) -> Result<bool, ErrorStack> {
    let Some((r, s)) = signature.split_at_checked(len).filter(|(_, s)| s.len() == len) else {
        return Ok(false);
    };
    let signature = EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?;
    signature.verify(digest, key)
}
