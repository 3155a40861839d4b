//! The Authority: key sets, operational tokens, DPoP proofs.
//!
//! [`AuthorityKeys`] fetches the key set, [`token`] verifies operational tokens with it, [`dpop`] verifies the proofs
//! that bind their senders ([`htu`]: which URL a proof is for; [`nonce`]: nonces of ours).

pub mod dpop;
pub mod htu;
pub mod nonce;
mod proof_keys;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use signer_actors::domain::jws::JwsAlgorithm;
use signer_actors::ports::{AuthoritySource, PortFuture, SourceUnavailable, TokenVerifier};

use self::token::{OpTokPolicy, OpTokVerifier};
use crate::adapters::jose::fetch::Http;
use crate::adapters::jose::jwks::KeySet;
use crate::adapters::jose::source::{KeySource, KeysLocation, OwnKeys, fetch_key_set};

/// What the service is told about the Authority.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `iss` of every token, compared byte by byte.
    pub issuer: String,
    /// What `aud` must contain.
    pub audience: String,
    /// Where its keys are.
    pub keys: KeysLocation,
    /// SubjectPublicKeyInfo, DER, of this service's signing keys: none of them may be Authority's (contract §7).
    pub own_keys: OwnKeys,
    /// Accepted `typ`, as media types with or without `application/`.
    pub token_types: Vec<String>,
    /// Accepted algorithms.
    pub algorithms: Vec<JwsAlgorithm>,
    /// Longest accepted life of a token: `exp` − `iat`.
    pub max_token_lifetime: Duration,
    /// Accepted difference of clocks; at most 30 s counts.
    pub clock_skew: Duration,
    /// PEM of the only roots to trust for the Authority's TLS; `None`: the system's.
    pub roots: Option<Vec<u8>>,
    /// Longest duration of one exchange with the Authority.
    pub timeout: Duration,
}

/// The Authority's keys, as the core asks for them.
#[derive(Debug)]
pub struct AuthorityKeys {
    http: Http,
    keys: KeySource,
    policy: Arc<OpTokPolicy>,
}

impl AuthorityKeys {
    /// Checks the settings and makes the HTTP client; asks nobody yet.
    pub fn new(settings: &Settings) -> Result<Self, SourceUnavailable> {
        Ok(Self {
            http: Http::new(settings.roots.as_deref(), settings.timeout)?,
            keys: KeySource {
                issuer: settings.issuer.clone(),
                location: settings.keys.clone(),
                own_keys: settings.own_keys.clone(),
            },
            policy: Arc::new(OpTokPolicy::new(settings)),
        })
    }

    /// Fetches the key set; one that holds a signing key of this service is refused.
    pub async fn fetch_key_set(&self) -> Result<KeySet, SourceUnavailable> {
        fetch_key_set(&self.http, &self.keys).await
    }
}

impl AuthoritySource for AuthorityKeys {
    fn fetch(&self) -> PortFuture<Result<Arc<dyn TokenVerifier>, SourceUnavailable>> {
        let (http, source) = (self.http.clone(), self.keys.clone());
        let policy = Arc::clone(&self.policy);
        Box::pin(async move {
            let keys = fetch_key_set(&http, &source).await?;
            Ok(Arc::new(OpTokVerifier::new(policy, keys)) as Arc<dyn TokenVerifier>)
        })
    }
}

#[cfg(test)]
mod tests;
