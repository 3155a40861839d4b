//! For tests of keys elsewhere: keys and signatures as OpenSSL makes them, and what tests of all of them ask.

use std::time::Duration;

use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::md::Md;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::Algorithm;
use signer_actors::ports::{BackendError, SigningBackend};
use signer_actors::testing::NOW;
use zeroize::Zeroizing;

use super::credential::CredentialSource;
use super::remote::{self, RemoteBackend};

pub(super) const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::Ed25519,
    Algorithm::RsaPssSha256,
    Algorithm::RsaPkcs1Sha256,
];

pub(super) fn key_for(algorithm: Algorithm) -> PKey<Private> {
    let ec =
        |nid| PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(nid).unwrap()).unwrap()).unwrap();
    match algorithm {
        Algorithm::EcdsaP256Sha256 => ec(Nid::X9_62_PRIME256V1),
        Algorithm::EcdsaP384Sha384 => ec(Nid::SECP384R1),
        Algorithm::Ed25519 => PKey::generate_ed25519().unwrap(),
        _ => PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
    }
}

/// Of a digest; with Ed25519 of the message. ECDSA as DER.
pub(super) fn sign(key: &PKey<Private>, algorithm: Algorithm, input: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Ed25519 => Signer::new_without_digest(key)
            .unwrap()
            .sign_oneshot_to_vec(input)
            .unwrap(),
        Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha384 => {
            EcdsaSig::sign(input, &key.ec_key().unwrap())
                .unwrap()
                .to_der()
                .unwrap()
        }
        Algorithm::RsaPssSha256 | Algorithm::RsaPkcs1Sha256 => {
            let mut ctx = PkeyCtx::new(key).unwrap();
            ctx.sign_init().unwrap();
            if algorithm == Algorithm::RsaPssSha256 {
                ctx.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
                ctx.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
            }
            ctx.set_signature_md(Md::sha256()).unwrap();
            let mut signature = Vec::new();
            ctx.sign_to_vec(input, &mut signature).unwrap();
            signature
        }
    }
}

pub(super) fn common(kind: &'static str, algorithm: Algorithm, public_key_pem: Vec<u8>) -> remote::Settings {
    remote::Settings {
        id: KeyId::parse("release-2026").unwrap(),
        kind,
        algorithm,
        public_key_pem,
        timeout: Duration::from_secs(5),
        concurrency: 4,
    }
}

pub(super) fn secret(text: &str) -> CredentialSource {
    CredentialSource::Static(Zeroizing::new(text.to_owned()))
}

/// Opens; in how many seconds from now the session is to be replaced.
pub(super) async fn open(backend: &RemoteBackend) -> Result<Option<i64>, BackendError> {
    let key = backend.open().await?;
    Ok(key.replace_at().map(|at| (at - NOW()).num_seconds()))
}

/// That it failed, for a reason with these words and without any of these secrets.
pub(super) fn failed<T: std::fmt::Debug>(came: Result<T, BackendError>, expected: &str, secrets: &[&str]) {
    match came {
        Err(BackendError::Failed(text)) => says(&text, expected, secrets),
        other => panic!("{expected}: {other:?}"),
    }
}

/// As [`failed`], of what is unavailable.
pub(super) fn unavailable<T: std::fmt::Debug>(
    came: Result<T, BackendError>,
    expected: &str,
    secrets: &[&str],
) {
    match came {
        Err(BackendError::Unavailable(text)) => says(&text, expected, secrets),
        other => panic!("{expected}: {other:?}"),
    }
}

fn says(text: &str, expected: &str, secrets: &[&str]) {
    assert!(text.contains(expected), "{expected}: {text}");
    assert!(!secrets.iter().any(|secret| text.contains(secret)), "{text}");
}
