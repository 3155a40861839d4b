//! From credentials to signatures.

use std::sync::Arc;

use aws_credential_types::Credentials;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::pkey::PKey;
use serde::Deserialize;
use serde_json::{Value, json};
use signer_actors::domain::signing::Algorithm;
use signer_actors::ports::PortFuture;

use super::super::remote::{Begun, Input, RemoteError, RemoteSession};
use super::Inner;
use super::api::Step;
use super::credentials;
use crate::crypto::PublicKey;

/// The longest `Message` that KMS takes, in bytes:
/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>.
const MAX_MESSAGE: usize = 4096;

/// `GetPublicKey`
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyThere {
    key_id: String,
    public_key: String,
    key_usage: String,
    #[serde(default)]
    signing_algorithms: Vec<String>,
}

/// `Sign`
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Signed {
    key_id: String,
    signature: String,
    signing_algorithm: String,
}

/// Credentials, and the key that they sign with.
pub(super) struct Session {
    inner: Arc<Inner>,
    credentials: Credentials,
    /// What the configured name stood for at the opening: an alias that is moved changes nothing until the next one.
    arn: String,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("arn", &self.arn)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) async fn begin(inner: Arc<Inner>) -> Result<Begun, RemoteError> {
        let (credentials, lives) = credentials::get(&inner).await?;
        let body = json!({ "KeyId": inner.settings.key });
        let there: KeyThere = inner.api.ask(Step::ReadKey, &credentials, &body).await?;
        let arn = check_key(&inner, there)?;
        let session = Self {
            inner,
            credentials,
            arn,
        };
        Ok(Begun {
            session: Arc::new(Shared(Arc::new(session))),
            lives,
        })
    }

    async fn sign(&self, input: Input) -> Result<Vec<u8>, RemoteError> {
        let body = request(self.inner.algorithm, &self.arn, &input)?;
        let signed: Signed = self.inner.api.ask(Step::Sign, &self.credentials, &body).await?;
        if signed.key_id != self.arn || signed.signing_algorithm != name_of(self.inner.algorithm) {
            let text = "signing in AWS KMS: the answer is about another key or algorithm than was asked for";
            return Err(RemoteError::Failed(text.into()));
        }
        let signature = STANDARD.decode(signed.signature).ok();
        signature
            .filter(|signature| !signature.is_empty())
            .ok_or_else(|| RemoteError::Failed("signing in AWS KMS: the answer holds no signature".into()))
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

/// The ARN of the key, which is the pinned one and may sign with the algorithm.
fn check_key(inner: &Inner, there: KeyThere) -> Result<String, RemoteError> {
    let problem = if there.key_usage != "SIGN_VERIFY" {
        "the key in AWS KMS is not for signatures: make one with key usage SIGN_VERIFY"
    } else if !there
        .signing_algorithms
        .iter()
        .any(|name| name == name_of(inner.algorithm))
    {
        "the key in AWS KMS does not sign with the configured algorithm: compare its key spec"
    } else if !is_pinned(&there.public_key, &inner.public) {
        "the key in AWS KMS has not the configured public_key: export the one that is to sign"
    } else if !names(&there.key_id, &inner.settings.key) {
        "reading the key in AWS KMS: the answer is about another key than was asked for"
    } else {
        return Ok(there.key_id);
    };
    Err(RemoteError::Failed(problem.into()))
}

fn is_pinned(shown: &str, pinned: &PublicKey) -> bool {
    let key = STANDARD.decode(shown).ok();
    let key = key.and_then(|der| PKey::public_key_from_der(&der).ok());
    key.and_then(|key| PublicKey::new(key, pinned.algorithm()).ok())
        .is_some_and(|key| key.der() == pinned.der())
}

/// Whether a key's ARN is what was asked for; what an alias stands for, KMS alone knows.
fn names(arn: &str, asked: &str) -> bool {
    let Some((head, id)) = arn.split_once(":key/") else {
        return false;
    };
    let shaped = head.starts_with("arn:") && arn.len() <= 2048 && arn.bytes().all(|b| b.is_ascii_graphic());
    let same = arn == asked || id == asked || asked.starts_with("alias/") || asked.contains(":alias/");
    shaped && same
}

/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>
pub(super) fn request(algorithm: Algorithm, arn: &str, input: &Input) -> Result<Value, RemoteError> {
    let (bytes, kind) = match input {
        Input::Digest(digest) => (digest, "DIGEST"),
        Input::Message(message) => (message, "RAW"),
    };
    if bytes.len() > MAX_MESSAGE {
        let text = format!(
            "the statement is longer than the {MAX_MESSAGE} bytes that AWS KMS signs with Ed25519: use another algorithm"
        );
        return Err(RemoteError::Failed(text));
    }
    Ok(json!({
        "KeyId": arn,
        "Message": STANDARD.encode(bytes),
        "MessageType": kind,
        "SigningAlgorithm": name_of(algorithm),
    }))
}

/// `SigningAlgorithmSpec`
fn name_of(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EcdsaP256Sha256 => "ECDSA_SHA_256",
        Algorithm::EcdsaP384Sha384 => "ECDSA_SHA_384",
        Algorithm::Ed25519 => "ED25519_SHA_512",
        Algorithm::RsaPssSha256 => "RSASSA_PSS_SHA_256",
        Algorithm::RsaPkcs1Sha256 => "RSASSA_PKCS1_V1_5_SHA_256",
    }
}
