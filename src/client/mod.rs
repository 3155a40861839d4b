//! A client of the service: token, proof, request, retries. Used by `signer sign`, `signer proof` and `signer dev`.
//!
//! Start at [`Client::sign`]. It sees neither configuration nor actors: what it knows is in [`Credentials`].

mod backoff;
pub mod credentials;
pub mod error;
pub mod files;
pub mod key;
pub mod request;
pub mod result;
mod token;
mod transport;

use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::value::RawValue;

pub use self::credentials::Credentials;
pub use self::error::{ClientError, Problem};
pub use self::key::DpopKey;
pub use self::request::SignOptions;
pub use self::result::Signed;
use self::transport::Transport;
use crate::bundle::trusted_root::{PublishedKeys, TrustedRoot};
use crate::bundle::verify::{Options, Report, Trust, verify};

/// Time for one request, in seconds. The service gives up after ten by default.
const REQUEST_SECONDS: u64 = 60;
/// A token is renewed when it has less than this left, in seconds.
const RENEW_BEFORE: i64 = 30;

/// A client of one service with one set of credentials. One call at a time.
#[derive(Debug)]
pub struct Client {
    transport: Transport,
    credentials: Credentials,
    key: DpopKey,
}

impl Client {
    /// Checks the credentials: URLs are `https`, or `http` to a loopback address; the key is an EC P-256 JWK.
    ///
    /// # Errors
    /// [`ClientError::Usage`] names the member that is wrong.
    pub fn new(credentials: Credentials) -> Result<Self, ClientError> {
        credentials.check()?;
        let key = DpopKey::from_private_jwk(&credentials.dpop_private_jwk)
            .map_err(|text| ClientError::Usage(format!("dpopPrivateJwk: {text}")))?;
        let direct = credentials.base_url.starts_with("http://");
        Ok(Self {
            transport: Transport::new(Duration::from_secs(REQUEST_SECONDS), direct)?,
            credentials,
            key,
        })
    }

    /// The credentials, with the token as it is now.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The key of the proofs.
    pub fn key(&self) -> &DpopKey {
        &self.key
    }

    /// Obtains a new access token if the present one is about to expire. Answers whether it did.
    ///
    /// # Errors
    /// [`ClientError::Authentication`] when the authorization server refuses.
    pub async fn ensure_token(&mut self) -> Result<bool, ClientError> {
        let now = chrono::Utc::now().timestamp();
        let left = token::expiry(&self.credentials.access_token).map(|exp| exp.saturating_sub(now));
        if left.is_some_and(|left| left > RENEW_BEFORE) {
            return Ok(false);
        }
        self.renew_token().await?;
        Ok(true)
    }

    async fn renew_token(&mut self) -> Result<(), ClientError> {
        self.credentials.access_token = token::obtain(&self.transport, &self.credentials, &self.key).await?;
        Ok(())
    }

    /// Signs a statement about one file (contract §2.1). Retries what may be retried.
    ///
    /// # Errors
    /// See [`ClientError`]; a refusal carries the service's problem document.
    pub async fn sign(&mut self, file: &Path, options: &SignOptions) -> Result<Signed, ClientError> {
        let body = request::sign_body(file, &self.credentials, options)?;
        let url = self.credentials.endpoint("/api/v1/signer/sign/dsse");
        let answer = self.call(Method::POST, &url, Some(body)).await?;
        Signed::parse(answer)
    }

    /// Verifies a bundle here, offline but for the service's published trust (contract §2.5).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn verify(&self, bundle: &RawValue) -> Result<Report, ClientError> {
        let trust = self.trust().await?;
        verify(
            bundle.get().as_bytes(),
            Some(&trust),
            &Options::at_present(chrono::Utc::now()),
        )
        .map_err(ClientError::Protocol)
    }

    /// Both trust documents together: certificate authorities and keyful keys.
    async fn trust(&self) -> Result<Trust, ClientError> {
        let unusable = |error| ClientError::Protocol(format!("the service's trust is not usable: {error}"));
        let mut trust = Trust::default();
        let root: TrustedRoot = document(&self.trusted_root().await?)?;
        if !root.certificate_authorities.is_empty() {
            trust.add_root(&root).map_err(unusable)?;
        }
        let keys = self.credentials.endpoint("/api/v1/signer/trust/keys");
        let keys: PublishedKeys = document(&self.transport.get(&keys).await?)?;
        if !keys.keys.is_empty() {
            trust.add_published(&keys).map_err(unusable)?;
        }
        Ok(trust)
    }

    /// The service's trusted root, as served (contract §2.5).
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn trusted_root(&self) -> Result<Vec<u8>, ClientError> {
        let url = self.credentials.trust_url();
        self.transport.get(&url).await
    }

    /// One authenticated call: renews a token that is about to expire, and once more if the service refuses it.
    async fn call(
        &mut self,
        method: Method,
        url: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, ClientError> {
        let fresh = self.ensure_token().await?;
        let call = transport::Call {
            method,
            url: url.to_owned(),
            idempotency_key: body.is_some().then(|| uuid::Uuid::now_v7().to_string()),
            body: body.map(bytes::Bytes::from),
        };
        let token = self.credentials.access_token.clone();
        match self.transport.call(&call, &token, &self.key).await {
            Err(ClientError::Authentication(problem)) if problem.code == "invalid_token" && !fresh => {
                self.renew_token().await?;
                let token = self.credentials.access_token.clone();
                self.transport.call(&call, &token, &self.key).await
            }
            other => other,
        }
    }
}

fn document<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(text).map_err(|_| ClientError::Protocol("a trust document cannot be read".into()))
}

#[cfg(test)]
mod tests;
