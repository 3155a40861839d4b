//! From signing in to signatures.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use signer_actors::domain::signing::Algorithm;
use signer_actors::ports::PortFuture;
use zeroize::Zeroizing;

use super::super::remote::{Begun, Input, RemoteError, RemoteSession};
use super::api::Step;
use super::{Inner, Login};
use crate::crypto::{PublicKey, parse_public_pem};

/// Most versions of a key that are looked through.
const MAX_VERSIONS: usize = 4096;

/// `auth` of an answer to a login or a renewal.
#[derive(Deserialize)]
struct Granted {
    auth: Auth,
}

#[derive(Deserialize)]
struct Auth {
    client_token: Zeroizing<String>,
    /// Seconds; 0: for ever.
    lease_duration: u64,
}

/// `GET auth/token/lookup-self`
#[derive(Deserialize)]
struct Looked {
    data: TokenData,
}

#[derive(Deserialize)]
struct TokenData {
    /// Seconds; 0: for ever.
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

/// `GET <mount>/keys/<name>`
#[derive(Deserialize)]
struct Key {
    data: KeyData,
}

#[derive(Deserialize)]
struct KeyData {
    keys: BTreeMap<String, Value>,
}

/// `POST <mount>/sign/<name>`
#[derive(Deserialize)]
struct Signed {
    data: SignedData,
}

#[derive(Deserialize)]
struct SignedData {
    signature: String,
}

/// A token, and the version of the key that it signs with.
pub(super) struct Session {
    inner: Arc<Inner>,
    token: Zeroizing<String>,
    version: NonZeroU32,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) async fn begin(inner: Arc<Inner>) -> Result<Begun, RemoteError> {
        let (token, lives) = sign_in(&inner).await?;
        let version = match inner.settings.key_version {
            Some(version) => version,
            None => find_version(&inner, &token).await?,
        };
        let session = Self {
            inner,
            token,
            version,
        };
        Ok(Begun {
            session: Arc::new(Shared(Arc::new(session))),
            lives,
        })
    }

    async fn sign(&self, input: Input) -> Result<Vec<u8>, RemoteError> {
        let settings = &self.inner.settings;
        let path = [settings.mount.as_str(), "sign", settings.key.as_str()];
        let body = request(self.inner.algorithm, self.version, &input);
        let answer: Signed = self
            .inner
            .api
            .ask(Step::Sign, Some(&self.token), &path, Some(&body))
            .await?;
        read_signature(&answer.data.signature, self.version).ok_or_else(|| {
            RemoteError::Failed("the transit engine's signature is not one of this version of the key".into())
        })
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

/// A token and how long it is good for.
async fn sign_in(inner: &Inner) -> Result<(Zeroizing<String>, Option<Duration>), RemoteError> {
    match &inner.settings.login {
        Login::Token(source) => {
            let token = source
                .read("Vault token")
                .await
                .map_err(RemoteError::Unavailable)?;
            let lives = keep_alive(inner, &token).await?;
            Ok((token, lives))
        }
        Login::AppRole {
            mount,
            role_id,
            secret_id,
        } => {
            let secret = secret_id.read("AppRole secret id").await;
            let secret = secret.map_err(RemoteError::Unavailable)?;
            let body = json!({ "role_id": role_id, "secret_id": secret.as_str() });
            let path = ["auth", mount.as_str(), "login"];
            let granted: Granted = inner.api.ask(Step::Login, None, &path, Some(&body)).await?;
            let token = granted.auth.client_token;
            if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(RemoteError::Failed(
                    "Vault's answer to the login holds no token".into(),
                ));
            }
            Ok((token, lease(granted.auth.lease_duration)))
        }
    }
}

/// Renews a token that can be renewed; says how long it is good for.
async fn keep_alive(inner: &Inner, token: &str) -> Result<Option<Duration>, RemoteError> {
    let look = ["auth", "token", "lookup-self"];
    let found: Looked = inner.api.ask(Step::Login, Some(token), &look, None).await?;
    if !found.data.renewable || found.data.ttl == 0 {
        return Ok(lease(found.data.ttl));
    }
    let renew = ["auth", "token", "renew-self"];
    let renewed: Result<Granted, _> = inner
        .api
        .ask(Step::Login, Some(token), &renew, Some(&json!({})))
        .await;
    // A token that may not renew itself is used for what is left of it.
    Ok(lease(
        renewed.map_or(found.data.ttl, |granted| granted.auth.lease_duration),
    ))
}

fn lease(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// The version of the key that has the pinned public key.
async fn find_version(inner: &Inner, token: &str) -> Result<NonZeroU32, RemoteError> {
    let settings = &inner.settings;
    let path = [settings.mount.as_str(), "keys", settings.key.as_str()];
    let key: Key = inner.api.ask(Step::ReadKey, Some(token), &path, None).await?;
    let versions = key.data.keys.iter().take(MAX_VERSIONS);
    let pinned = versions.filter_map(|(version, what)| {
        let public = what.get("public_key")?.as_str()?;
        is_pinned(public, &inner.public).then(|| version.parse().ok())?
    });
    pinned.max().ok_or_else(|| {
        let text =
            "no version of the key in Vault has the configured public_key: export the one that is to sign";
        RemoteError::Failed(text.into())
    })
}

/// Vault shows Ed25519 keys as the 32 bytes of RFC 8032 §5.1.5 in base64, others in PEM.
fn is_pinned(shown: &str, pinned: &PublicKey) -> bool {
    match parse_public_pem(shown.as_bytes()) {
        Ok(key) => PublicKey::new(key, pinned.algorithm()).is_ok_and(|key| key.der() == pinned.der()),
        Err(_) => {
            let raw = pinned.pkey().raw_public_key();
            pinned.algorithm() == Algorithm::Ed25519
                && raw.is_ok_and(|raw| STANDARD.decode(shown.trim()).is_ok_and(|shown| shown == raw))
        }
    }
}

/// <https://openbao.org/api-docs/secret/transit/#sign-data>
fn request(algorithm: Algorithm, version: NonZeroU32, input: &Input) -> Value {
    let (bytes, prehashed) = match input {
        Input::Digest(digest) => (digest, true),
        Input::Message(message) => (message, false),
    };
    let hash = match algorithm {
        Algorithm::EcdsaP384Sha384 => "sha2-384",
        _ => "sha2-256",
    };
    let mut body = serde_json::Map::from_iter([
        ("input".to_owned(), STANDARD.encode(bytes).into()),
        ("key_version".to_owned(), version.get().into()),
        ("prehashed".to_owned(), prehashed.into()),
        ("hash_algorithm".to_owned(), hash.into()),
        ("marshaling_algorithm".to_owned(), "asn1".into()),
    ]);
    match algorithm {
        Algorithm::RsaPssSha256 => {
            body.insert("signature_algorithm".to_owned(), "pss".into());
            body.insert("salt_length".to_owned(), "hash".into());
        }
        Algorithm::RsaPkcs1Sha256 => {
            body.insert("signature_algorithm".to_owned(), "pkcs1v15".into());
        }
        _ => {}
    }
    Value::Object(body)
}

/// `vault:v<version>:<base64>`
fn read_signature(text: &str, version: NonZeroU32) -> Option<Vec<u8>> {
    let encoded = text.strip_prefix(&format!("vault:v{version}:"))?;
    STANDARD
        .decode(encoded)
        .ok()
        .filter(|signature| !signature.is_empty())
}
