//! Private keys: reading, making and signing.

use std::fmt;

use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::pkey_ctx::{NonceType, PkeyCtx};
use openssl::sign::Signer;
use signer_actors::domain::signing::Algorithm;

use super::message::Message;
use super::public::PublicKey;
use super::{Half, check_kind, check_pem_size, configure, digest, unusable};

/// How the nonce of an ECDSA signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nonce {
    /// From the random source (FIPS 186-5 §A.3.1).
    Random,
    /// From key and message (RFC 6979 §3.2): equal messages give equal signatures.
    Deterministic,
}

/// A private key with its pinned algorithm and its public half. Never printed.
pub struct PrivateKey {
    public: PublicKey,
    pub(super) pkey: PKey<Private>,
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
    /// Reads a private key in PEM, plain or encrypted, of at most [`super::MAX_KEY_PEM`] bytes.
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
        let pkey = generate_p256().map_err(|_| "no key can be generated: the random source failed")?;
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
            .map_err(|_| format!("the {} key did not sign", self.public.algorithm()))
    }

    fn try_sign<M: Message + ?Sized>(&self, message: &M) -> Result<Vec<u8>, ErrorStack> {
        let algorithm = self.public.algorithm();
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

/// A fresh P-256 key, for whatever use.
pub fn generate_p256() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
