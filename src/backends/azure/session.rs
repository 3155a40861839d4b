//! From signing in to signatures.

use std::sync::Arc;

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use serde::Deserialize;
use serde_json::{Value, json};
use signer_actors::domain::signing::Algorithm;
use signer_actors::ports::PortFuture;

use super::super::oauth::AccessToken;
use super::super::remote::{Begun, Input, RemoteError, RemoteSession};
use super::api::Step;
use super::{Inner, login};
use crate::adapters::jose::mint::jwk_of;
use crate::adapters::jose::{b64url, from_b64url};
use crate::crypto::PublicKey;

/// `KeyBundle`
#[derive(Deserialize)]
struct KeyThere {
    key: JsonWebKey,
    attributes: Attributes,
}

#[derive(Deserialize)]
struct JsonWebKey {
    kid: String,
    kty: String,
    #[serde(default)]
    key_ops: Vec<String>,
    #[serde(flatten)]
    others: Value,
}

#[derive(Deserialize)]
struct Attributes {
    enabled: bool,
}

/// `KeyOperationResult`
#[derive(Deserialize)]
struct Signed {
    kid: String,
    value: String,
}

/// A token, for the one version of the key.
#[derive(Debug)]
pub(super) struct Session {
    inner: Arc<Inner>,
    token: AccessToken,
}

impl Session {
    pub(super) async fn begin(inner: Arc<Inner>) -> Result<Begun, RemoteError> {
        let token = login::token(&inner).await?;
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
        let failed = |text: &str| RemoteError::Failed(format!("signing in Azure Key Vault: {text}"));
        let Input::Digest(digest) = input else {
            return Err(failed("it signs digests alone"));
        };
        let inner = &self.inner;
        let body = json!({ "alg": inner.name, "value": b64url(&digest) });
        let signed: Signed = inner.api.ask(Step::Sign, &self.token, Some(&body)).await?;
        if !inner.api.is_about(&signed.kid) {
            return Err(failed("the answer is about another key than was asked for"));
        }
        let signature = from_b64url(&signed.value).filter(|signature| !signature.is_empty());
        signature
            .and_then(|signature| in_der(inner.algorithm, signature))
            .ok_or_else(|| failed("the answer holds no signature of the algorithm"))
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

/// The version of the key is the pinned one, enabled, and may sign.
fn check_key(inner: &Inner, there: &KeyThere) -> Result<(), RemoteError> {
    let problem = if !inner.api.is_about(&there.key.kid) {
        "reading the key in Azure Key Vault: the answer is about another key than was asked for"
    } else if !there.attributes.enabled {
        "the key in Azure Key Vault is disabled: enable this version, or name another"
    } else if !there.key.key_ops.iter().any(|operation| operation == "sign") {
        "the key in Azure Key Vault may not sign: give it the operation sign"
    } else if !is_pinned(&there.key, &inner.public) {
        "the key in Azure Key Vault has not the configured public_key: export the version that is to sign"
    } else {
        return Ok(());
    };
    Err(RemoteError::Failed(problem.into()))
}

/// Compares the members that RFC 7517 gives a public key; `-HSM` says where the private one is.
fn is_pinned(shown: &JsonWebKey, pinned: &PublicKey) -> bool {
    let Ok(Value::Object(expected)) = jwk_of(pinned.pkey()) else {
        return false;
    };
    let kind = shown.kty.strip_suffix("-HSM").unwrap_or(&shown.kty);
    expected.iter().all(|(member, value)| match member.as_str() {
        "kty" => value == kind,
        other => shown.others.get(other) == Some(value),
    })
}

/// ECDSA comes as RFC 7518 §3.4 has it, `r` and `s` one after the other, each as long as the curve's order.
fn in_der(algorithm: Algorithm, signature: Vec<u8>) -> Option<Vec<u8>> {
    let half = match algorithm {
        Algorithm::EcdsaP256Sha256 => 32,
        Algorithm::EcdsaP384Sha384 => 48,
        _ => return Some(signature),
    };
    if signature.len() != 2 * half {
        return None;
    }
    let (r, s) = signature.split_at(half);
    let number = |bytes| BigNum::from_slice(bytes).ok();
    let signature = EcdsaSig::from_private_components(number(r)?, number(s)?);
    signature.ok()?.to_der().ok()
}

/// `JsonWebKeySignatureAlgorithm`
pub(super) fn name_of(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::EcdsaP256Sha256 => Some("ES256"),
        Algorithm::EcdsaP384Sha384 => Some("ES384"),
        Algorithm::RsaPssSha256 => Some("PS256"),
        Algorithm::RsaPkcs1Sha256 => Some("RS256"),
        Algorithm::Ed25519 => None,
    }
}
