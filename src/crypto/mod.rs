//! Keys and signatures through OpenSSL: every key pins one [`Algorithm`], and nothing else is done with it.

mod message;

use std::fmt;

use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::md::{Md, MdRef};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, PKeyRef, Private, Public};
use openssl::pkey_ctx::{NonceType, PkeyCtx, PkeyCtxRef};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Signer, Verifier};
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::signing::Algorithm;

use crate::openssl_errors;

pub use self::message::{Message, Pae};

/// The largest PEM text of one key, in bytes.
pub const MAX_KEY_PEM: usize = 32 * 1024;
/// Sizes of RSA moduli, in bits: NIST SP 800-131A rev. 2 asks for 2048, Fulcio and the common clients stop at 4096.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=4096;
/// Salt of RSASSA-PSS: as long as the hash (RFC 8017 §9.1, note 4).
const PSS_SALT_BYTES: i32 = 32;

/// How the nonce of an ECDSA signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonce {
    /// From the random source (FIPS 186-5 §A.3.1).
    Random,
    /// From key and message (RFC 6979 §3.2): equal messages give equal signatures.
    Deterministic,
}

/// The part of a key that OpenSSL's fast calls want.
enum Half<T> {
    Ec(EcKey<T>),
    Other,
}

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
    /// Reads a SubjectPublicKeyInfo in PEM (RFC 7468 §13), of at most [`MAX_KEY_PEM`] bytes.
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

    /// True if `signature` is this key's over the message. Anything that cannot be verified is false.
    pub fn verify<M: Message + ?Sized>(&self, message: &M, signature: &[u8]) -> bool {
        let verified = self.try_verify(message, signature).unwrap_or(false);
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
            (_, Half::Ec(key)) => {
                let parsed = EcdsaSig::from_der(signature)?;
                // The reader skips what follows the signature and takes BER; only its DER form is one (X.690 §10).
                if parsed.to_der()? != signature {
                    return Ok(false);
                }
                parsed.verify(&digest(self.algorithm, message)?, key)
            }
            (_, Half::Other) => {
                let mut ctx = PkeyCtx::new(&self.pkey)?;
                ctx.verify_init()?;
                configure(&mut ctx, self.algorithm)?;
                ctx.verify(&digest(self.algorithm, message)?, signature)
            }
        }
    }
}

/// A private key with its pinned algorithm and its public half. Never printed.
pub struct PrivateKey {
    public: PublicKey,
    pkey: PKey<Private>,
    half: Half<Private>,
    nonce: Nonce,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("public", &self.public)
            .field("nonce", &self.nonce)
            .finish_non_exhaustive()
    }
}

impl PrivateKey {
    /// Reads a private key in PEM, plain or encrypted, of at most [`MAX_KEY_PEM`] bytes.
    pub fn from_pem(
        pem: &[u8],
        passphrase: Option<&[u8]>,
        algorithm: Algorithm,
        nonce: Nonce,
    ) -> Result<Self, String> {
        check_pem_size(pem)?;
        let encrypted = contains(pem, b"ENCRYPTED");
        if encrypted && passphrase.is_none() {
            return Err("the private key is encrypted: configure its passphrase".into());
        }
        // With a passphrase, even an empty one, OpenSSL never asks the terminal for one.
        let passphrase = passphrase.unwrap_or_default();
        if passphrase.contains(&0) {
            return Err("the passphrase of the private key contains a NUL byte".into());
        }
        let pkey = PKey::private_key_from_pem_passphrase(pem, passphrase).map_err(|_| {
            if encrypted {
                "the private key cannot be decrypted: check its passphrase"
            } else {
                "no private key can be read: give one in PEM"
            }
        })?;
        Self::new(pkey, algorithm, nonce)
    }

    /// A fresh P-256 key for one certificate's life, with random nonces.
    pub fn generate_p256() -> Result<Self, String> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).map_err(unusable)?;
        let key = EcKey::generate(&group).map_err(|_| "no key can be generated: the random source failed")?;
        let pkey = PKey::from_ec_key(key).map_err(unusable)?;
        Self::new(pkey, Algorithm::EcdsaP256Sha256, Nonce::Random)
    }

    /// Pins a key that is already parsed.
    pub fn new(pkey: PKey<Private>, algorithm: Algorithm, nonce: Nonce) -> Result<Self, String> {
        if nonce == Nonce::Deterministic && algorithm == Algorithm::RsaPssSha256 {
            return Err(
                "rsa-pss-sha256 has a random salt and cannot be deterministic: use another algorithm".into(),
            );
        }
        let half = check_kind(&pkey, algorithm)?;
        let consistent = match &half {
            Half::Ec(key) => key.check_key().is_ok(),
            Half::Other if pkey.id() == Id::RSA => {
                pkey.rsa().and_then(|rsa| rsa.check_key()).unwrap_or(false)
            }
            Half::Other => true,
        };
        if !consistent {
            return Err("the private key does not fit its own public key".into());
        }
        let public = pkey
            .public_key_to_der()
            .and_then(|der| PKey::public_key_from_der(&der));
        let public = PublicKey::new(public.map_err(unusable)?, algorithm)?;
        Ok(Self {
            public,
            pkey,
            half,
            nonce,
        })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// How nonces are made.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Signs a message. ECDSA signatures are DER (contract §7).
    pub fn sign<M: Message + ?Sized>(&self, message: &M) -> Result<Vec<u8>, String> {
        self.try_sign(message)
            .map_err(|_| format!("the {} key did not sign", self.public.algorithm))
    }

    fn try_sign<M: Message + ?Sized>(&self, message: &M) -> Result<Vec<u8>, ErrorStack> {
        let algorithm = self.public.algorithm;
        match (algorithm, &self.half, self.nonce) {
            (Algorithm::Ed25519, _, _) => {
                Signer::new_without_digest(&self.pkey)?.sign_oneshot_to_vec(&message.bytes())
            }
            (_, Half::Ec(key), Nonce::Random) => EcdsaSig::sign(&digest(algorithm, message)?, key)?.to_der(),
            (_, half, nonce) => {
                let mut ctx = PkeyCtx::new(&self.pkey)?;
                ctx.sign_init()?;
                configure(&mut ctx, algorithm)?;
                if matches!(half, Half::Ec(_)) && nonce == Nonce::Deterministic {
                    ctx.set_nonce_type(NonceType::DETERMINISTIC_K)?;
                }
                let mut signature = Vec::new();
                ctx.sign_to_vec(&digest(algorithm, message)?, &mut signature)?;
                Ok(signature)
            }
        }
    }

    /// Signs and verifies a fixed text; a deterministic key must give the same signature twice.
    pub fn self_test(&self) -> Result<(), String> {
        const TEXT: &[u8] = b"self-test of a signing key";
        let signature = self.sign(TEXT)?;
        if !self.public.verify(TEXT, &signature) {
            return Err("the key's self-test failed: its signature does not verify".into());
        }
        if self.nonce == Nonce::Deterministic && self.sign(TEXT)? != signature {
            return Err("the key's self-test failed: it is configured as deterministic and is not".into());
        }
        Ok(())
    }
}

/// Reads a public key in PEM without pinning it: [`algorithms_of`] says what it could be pinned to.
pub fn parse_public_pem(pem: &[u8]) -> Result<PKey<Public>, String> {
    check_pem_size(pem)?;
    PKey::public_key_from_pem(pem)
        .map_err(|_| "no public key can be read: give a SubjectPublicKeyInfo in PEM".to_owned())
}

/// The algorithms a key can be pinned to: RSA keys fit two, others one, foreign kinds none.
pub fn algorithms_of(pkey: &PKeyRef<Public>) -> Vec<Algorithm> {
    [
        Algorithm::EcdsaP256Sha256,
        Algorithm::EcdsaP384Sha384,
        Algorithm::Ed25519,
        Algorithm::RsaPssSha256,
        Algorithm::RsaPkcs1Sha256,
    ]
    .into_iter()
    .filter(|algorithm| check_kind(pkey, *algorithm).is_ok())
    .collect()
}

/// Reads an algorithm's name as configuration and responses spell it.
pub fn parse_algorithm(name: &str) -> Option<Algorithm> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

fn check_pem_size(pem: &[u8]) -> Result<(), String> {
    if pem.len() > MAX_KEY_PEM {
        return Err(format!("the key's PEM is longer than {MAX_KEY_PEM} bytes"));
    }
    Ok(())
}

/// The key's kind, curve and size must be the algorithm's.
fn check_kind<T: openssl::pkey::HasPublic>(
    pkey: &PKeyRef<T>,
    algorithm: Algorithm,
) -> Result<Half<T>, String> {
    let mismatch =
        || format!("the key does not fit {algorithm}: configure the algorithm that it was made for");
    let curve = match algorithm {
        Algorithm::EcdsaP256Sha256 => Nid::X9_62_PRIME256V1,
        Algorithm::EcdsaP384Sha384 => Nid::SECP384R1,
        Algorithm::Ed25519 if pkey.id() == Id::ED25519 => return Ok(Half::Other),
        Algorithm::RsaPssSha256 | Algorithm::RsaPkcs1Sha256 if pkey.id() == Id::RSA => {
            return if RSA_BITS.contains(&pkey.bits()) {
                Ok(Half::Other)
            } else {
                let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
                Err(format!(
                    "the RSA key has {} bits: {least} to {most} are accepted",
                    pkey.bits()
                ))
            };
        }
        _ => return Err(mismatch()),
    };
    let key = pkey.ec_key().map_err(|_| mismatch())?;
    if key.group().curve_name() != Some(curve) {
        return Err(mismatch());
    }
    Ok(Half::Ec(key))
}

/// The same public key on its named curve, point uncompressed; fails for a point off the curve.
fn plain_ec(key: &EcKey<Public>) -> Result<EcKey<Public>, ErrorStack> {
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

fn digest<M: Message + ?Sized>(algorithm: Algorithm, message: &M) -> Result<Vec<u8>, ErrorStack> {
    match algorithm {
        Algorithm::EcdsaP384Sha384 => hash(MessageDigest::sha384(), &message.bytes()).map(|d| d.to_vec()),
        _ => Ok(message.sha256().0.to_vec()),
    }
}

/// Hash and padding of an algorithm that signs digests.
fn configure<T>(ctx: &mut PkeyCtxRef<T>, algorithm: Algorithm) -> Result<(), ErrorStack> {
    let md: &MdRef = match algorithm {
        Algorithm::EcdsaP384Sha384 => Md::sha384(),
        _ => Md::sha256(),
    };
    match algorithm {
        Algorithm::RsaPssSha256 => {
            ctx.set_rsa_padding(Padding::PKCS1_PSS)?;
            ctx.set_signature_md(md)?;
            ctx.set_rsa_mgf1_md(md)?;
            ctx.set_rsa_pss_saltlen(RsaPssSaltlen::custom(PSS_SALT_BYTES))
        }
        Algorithm::RsaPkcs1Sha256 => {
            ctx.set_rsa_padding(Padding::PKCS1)?;
            ctx.set_signature_md(md)
        }
        _ => ctx.set_signature_md(md),
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// OpenSSL's own texts may quote key material's context: one plain sentence instead.
fn unusable(_: ErrorStack) -> String {
    "OpenSSL cannot use the key".to_owned()
}

#[cfg(test)]
mod tests;
