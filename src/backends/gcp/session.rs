//! From signing in to signatures.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use signer_actors::domain::signing::Algorithm;
use signer_actors::ports::PortFuture;

use super::super::oauth::AccessToken;
use super::super::remote::{Begun, Input, RemoteError, RemoteSession};
use super::api::Step;
use super::crc32c::{crc32c, matches};
use super::{Inner, account};
use crate::crypto::{PublicKey, parse_public_pem};

/// The longest `data` that Cloud KMS takes, in bytes: <https://cloud.google.com/kms/quotas#limits>.
const MAX_DATA: usize = 64 * 1024;

/// <https://cloud.google.com/kms/docs/reference/rest/v1/PublicKey>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyThere {
    pem: String,
    pem_crc32c: String,
    algorithm: String,
    name: String,
}

/// `AsymmetricSignResponse`: what is false is left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signed {
    signature: String,
    signature_crc32c: String,
    #[serde(default)]
    verified_digest_crc32c: bool,
    #[serde(default)]
    verified_data_crc32c: bool,
    name: String,
}

/// A token, for the one key version.
#[derive(Debug)]
pub(super) struct Session {
    inner: Arc<Inner>,
    token: AccessToken,
}

impl Session {
    pub(super) async fn begin(inner: Arc<Inner>) -> Result<Begun, RemoteError> {
        let token = account::token(&inner).await?;
        let there: KeyThere = inner.api.ask(Step::ReadKey, &token, None).await?;
        check_key(&inner, &there)?;
        let lives = token.lives;
        let session = Self { inner, token };
        Ok(Begun {
            session: Arc::new(Shared(Arc::new(session))),
            lives,
        })
    }

    async fn sign(&self, input: Input) -> Result<Vec<u8>, RemoteError> {
        let inner = &self.inner;
        let body = request(inner.algorithm, &input)?;
        let signed: Signed = inner.api.ask(Step::Sign, &self.token, Some(&body)).await?;
        let arrived = match input {
            Input::Digest(_) => signed.verified_digest_crc32c,
            Input::Message(_) => signed.verified_data_crc32c,
        };
        let failed = |text: &str| Err(RemoteError::Failed(format!("signing in Cloud KMS: {text}")));
        if signed.name != inner.settings.key {
            return failed("the answer is about another key than was asked for");
        }
        if !arrived {
            return failed("it does not say that what was sent arrived with its checksum");
        }
        match STANDARD.decode(&signed.signature) {
            Ok(signature) if !signature.is_empty() && matches(&signed.signature_crc32c, &signature) => {
                Ok(signature)
            }
            _ => failed("the signature does not have its checksum"),
        }
    }
}

#[derive(Debug)]
struct Shared(Arc<Session>);

impl RemoteSession for Shared {
    fn sign(&self, input: Input) -> PortFuture<Result<Vec<u8>, RemoteError>> {
        let session = Arc::clone(&self.0);
        Box::pin(async move { session.sign(input).await })
    }
}

/// The key version is the pinned one and signs with the algorithm.
fn check_key(inner: &Inner, there: &KeyThere) -> Result<(), RemoteError> {
    let problem = if there.name != inner.settings.key {
        "reading the key in Cloud KMS: the answer is about another key than was asked for"
    } else if !matches(&there.pem_crc32c, there.pem.as_bytes()) {
        "reading the key in Cloud KMS: the public key does not have its checksum"
    } else if !names_of(inner.algorithm).contains(&there.algorithm.as_str()) {
        "the key in Cloud KMS does not sign with the configured algorithm: compare its algorithm"
    } else if !is_pinned(&there.pem, &inner.public) {
        "the key in Cloud KMS has not the configured public_key: export the version that is to sign"
    } else {
        return Ok(());
    };
    Err(RemoteError::Failed(problem.into()))
}

fn is_pinned(pem: &str, pinned: &PublicKey) -> bool {
    let key = parse_public_pem(pem.as_bytes()).ok();
    key.and_then(|key| PublicKey::new(key, pinned.algorithm()).ok())
        .is_some_and(|key| key.der() == pinned.der())
}

/// <https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys.cryptoKeyVersions/asymmetricSign>
pub(super) fn request(algorithm: Algorithm, input: &Input) -> Result<Value, RemoteError> {
    Ok(match input {
        Input::Digest(digest) => {
            let hash = match algorithm {
                Algorithm::EcdsaP384Sha384 => "sha384",
                _ => "sha256",
            };
            json!({ "digest": { hash: STANDARD.encode(digest) }, "digestCrc32c": crc32c(digest).to_string() })
        }
        Input::Message(message) if message.len() > MAX_DATA => {
            let text = format!(
                "the statement is longer than the {MAX_DATA} bytes that Cloud KMS signs with Ed25519: use another algorithm"
            );
            return Err(RemoteError::Failed(text));
        }
        Input::Message(message) => {
            json!({ "data": STANDARD.encode(message), "dataCrc32c": crc32c(message).to_string() })
        }
    })
}

/// `CryptoKeyVersionAlgorithm`
fn names_of(algorithm: Algorithm) -> &'static [&'static str] {
    match algorithm {
        Algorithm::EcdsaP256Sha256 => &["EC_SIGN_P256_SHA256"],
        Algorithm::EcdsaP384Sha384 => &["EC_SIGN_P384_SHA384"],
        Algorithm::Ed25519 => &["EC_SIGN_ED25519"],
        Algorithm::RsaPssSha256 => &[
            "RSA_SIGN_PSS_2048_SHA256",
            "RSA_SIGN_PSS_3072_SHA256",
            "RSA_SIGN_PSS_4096_SHA256",
        ],
        Algorithm::RsaPkcs1Sha256 => &[
            "RSA_SIGN_PKCS1_2048_SHA256",
            "RSA_SIGN_PKCS1_3072_SHA256",
            "RSA_SIGN_PKCS1_4096_SHA256",
        ],
    }
}
