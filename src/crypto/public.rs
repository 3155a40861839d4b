//! Public keys: reading and verifying.

use std::fmt;

use openssl::ec::{EcGroup, EcKey, EcKeyRef};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, PKey, PKeyRef, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::sign::Verifier;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::signing::Algorithm;

use super::message::Message;
use super::{Half, algorithms_of, check_kind, check_pem_size, configure, digest, unusable};
use crate::openssl_errors;

/// What each object of a PEM text starts with (RFC 7468 §2).
const BEGIN: &[u8] = b"-----BEGIN ";

/// A public key with its pinned algorithm.
pub struct PublicKey {
    algorithm: Algorithm,
    pkey: PKey<Public>,
    half: Half<Public>,
    der: Vec<u8>,
    pem: String,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("algorithm", &self.algorithm)
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in PEM (RFC 7468 §13), of at most [`super::MAX_KEY_PEM`] bytes.
    pub fn from_pem(pem: &[u8], algorithm: Algorithm) -> Result<Self, String> {
        Self::new(parse_public_pem(pem)?, algorithm)
    }

    /// Pins a key that is already parsed. Refuses a key of another kind, curve or size than the algorithm's.
    pub fn new(pkey: PKey<Public>, algorithm: Algorithm) -> Result<Self, String> {
        let half = check_kind(&pkey, algorithm)?;
        // An EC key is built anew, so that its encoding is the one everyone hashes: named curve, uncompressed point.
        let (pkey, half) = match half {
            Half::Ec(key) => {
                let key = plain_ec(&key).map_err(|_| "the public key's point is not on its curve")?;
                let pkey = PKey::from_ec_key(key.clone()).map_err(unusable)?;
                (pkey, Half::Ec(key))
            }
            Half::Other => (pkey, Half::Other),
        };
        let der = pkey.public_key_to_der().map_err(unusable)?;
        let pem = pkey.public_key_to_pem().map_err(unusable)?;
        let pem = String::from_utf8(pem).map_err(|_| "the public key has no PEM form")?;
        Ok(Self {
            algorithm,
            pkey,
            half,
            der,
            pem,
        })
    }

    /// The pinned algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// SubjectPublicKeyInfo, DER (RFC 5280 §4.1).
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SubjectPublicKeyInfo, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of [`Self::der`].
    pub fn fingerprint(&self) -> Sha256Digest {
        Sha256Digest::of(&self.der)
    }

    /// The key as OpenSSL has it.
    pub fn pkey(&self) -> &PKeyRef<Public> {
        &self.pkey
    }

    /// The key once for each algorithm that it fits: RSA keys twice, foreign kinds not at all.
    pub fn every_pin(pkey: &PKey<Public>) -> Result<Vec<Self>, String> {
        let algorithms = algorithms_of(pkey).into_iter();
        algorithms
            .map(|algorithm| Self::new(pkey.clone(), algorithm))
            .collect()
    }

    /// True if `signature` is this key's over the message. Anything that cannot be verified is false.
    pub fn verify<M: Message + ?Sized>(&self, message: &M, signature: &[u8]) -> bool {
        let verified = self.try_verify(message, signature).unwrap_or(false);
        if !verified {
            openssl_errors::forget();
        }
        verified
    }

    /// True if `signature` is this ECDSA key's over the message's SHA-256, whatever the pinned hash: some signers use it
    /// with every curve. Never for keys of other kinds.
    pub fn verify_ecdsa_sha256<M: Message + ?Sized>(&self, message: &M, signature: &[u8]) -> bool {
        let verified = match &self.half {
            Half::Ec(key) => verify_ecdsa(key, &message.sha256().0, signature).unwrap_or(false),
            Half::Other => false,
        };
        if !verified {
            openssl_errors::forget();
        }
        verified
    }

    fn try_verify<M: Message + ?Sized>(&self, message: &M, signature: &[u8]) -> Result<bool, ErrorStack> {
        match (self.algorithm, &self.half) {
            (Algorithm::Ed25519, _) => {
                Verifier::new_without_digest(&self.pkey)?.verify_oneshot(signature, &message.bytes())
            }
            (_, Half::Ec(key)) => verify_ecdsa(key, &digest(self.algorithm, message)?, signature),
            (_, Half::Other) => {
                let mut ctx = PkeyCtx::new(&self.pkey)?;
                ctx.verify_init()?;
                configure(&mut ctx, self.algorithm)?;
                ctx.verify(&digest(self.algorithm, message)?, signature)
            }
        }
    }
}

/// Reads a public key in PEM without pinning it: [`algorithms_of`] says what it could be pinned to. A text with more
/// than one object is refused, as only the first would be used.
pub fn parse_public_pem(pem: &[u8]) -> Result<PKey<Public>, String> {
    check_pem_size(pem)?;
    if pem.windows(BEGIN.len()).filter(|window| *window == BEGIN).count() > 1 {
        return Err("there must be exactly one public key in PEM".into());
    }
    PKey::public_key_from_pem(pem)
        .map_err(|_| "no public key can be read: give a SubjectPublicKeyInfo in PEM".to_owned())
}

/// The public part of the key on its named curve, point uncompressed; fails for a point off the curve.
pub(crate) fn plain_ec<T: HasPublic>(key: &EcKeyRef<T>) -> Result<EcKey<Public>, ErrorStack> {
    let nid = key.group().curve_name().unwrap_or(Nid::UNDEF);
    let group = EcGroup::from_curve_name(nid)?;
    let plain = EcKey::from_public_key(&group, key.public_key())?;
    plain.check_key()?;
    let mut numbers = openssl::bn::BigNumContext::new()?;
    let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
    let point = plain.public_key().to_bytes(&group, form, &mut numbers)?;
    let point = openssl::ec::EcPoint::from_bytes(&group, &point, &mut numbers)?;
    EcKey::from_public_key(&group, &point)
}

/// Verifies an ECDSA signature over a digest.
fn verify_ecdsa(key: &EcKey<Public>, digest: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
    let parsed = EcdsaSig::from_der(signature)?;
    // The reader skips what follows the signature and takes BER; only its DER form is one (X.690 §10).
    if parsed.to_der()? != signature {
        return Ok(false);
    }
    parsed.verify(digest, key)
}
