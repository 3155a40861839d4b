//! Who the service is to Fulcio: a token that others renew, or one that it fetches itself.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use super::retry::Trouble;
use crate::backends::credential::CredentialSource;
use crate::backends::remote::RemoteError;
use crate::backends::wire::{Answer, Wire};
use crate::urls::is_private;

/// The longest token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// The longest error code that is repeated, in bytes.
const MAX_CODE: usize = 64;
/// A token is not used in this last part of its life, or in half of it if that is shorter: Fulcio must find it alive.
const LAST: Duration = Duration::from_secs(60);

/// Where the identity token comes from.
#[derive(Debug)]
pub enum Identity {
    /// A file or an environment variable: somebody else renews it.
    Credential(CredentialSource),
    /// A token endpoint.
    Endpoint(Endpoint),
}

/// A token endpoint, and how to ask it (RFC 6749 §4.4, client credentials).
#[derive(Debug)]
pub struct Endpoint {
    /// Its address: `https`, or `http` on loopback.
    pub url: Url,
    /// Our name there.
    pub client_id: String,
    /// Our secret there, sent as RFC 6749 §2.3.1 says (`client_secret_basic`).
    pub client_secret: CredentialSource,
    /// `scope`; empty: none.
    pub scope: String,
    /// `audience`, which some servers want; empty: none.
    pub audience: String,
    /// `resource` (RFC 8707 §2); empty: none.
    pub resource: String,
}

/// Gives tokens.
pub(super) enum Tokens {
    Credential(CredentialSource),
    Endpoint {
        endpoint: Box<Endpoint>,
        wire: Wire,
        /// The last token and until when it is used.
        kept: Mutex<Option<(Zeroizing<String>, Instant)>>,
    },
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(source) => source.fmt(f),
            Self::Endpoint { endpoint, .. } => endpoint.fmt(f),
        }
    }
}

/// RFC 6749 §5.1.
#[derive(Deserialize)]
struct Granted {
    access_token: Zeroizing<String>,
    expires_in: Option<u64>,
}

/// RFC 6749 §5.2.
#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    error: String,
}

impl Tokens {
    pub(super) fn new(identity: Identity) -> Result<Self, String> {
        let endpoint = match identity {
            Identity::Credential(source) => return Ok(Self::Credential(source)),
            Identity::Endpoint(endpoint) => endpoint,
        };
        if !is_private(&endpoint.url) {
            return Err("the token_url must be https: the client's secret travels with each request".into());
        }
        Ok(Self::Endpoint {
            endpoint: Box::new(endpoint),
            wire: Wire::new("the token endpoint", None)?,
            kept: Mutex::new(None),
        })
    }

    /// A token that is good for a while yet.
    pub(super) async fn get(&self) -> Result<Zeroizing<String>, Trouble> {
        match self {
            // Whoever writes the file may be about to.
            Self::Credential(source) => source
                .read("identity token")
                .await
                .map_err(|text| Trouble::passing(text, None)),
            Self::Endpoint { endpoint, wire, kept } => {
                let mut kept = kept.lock().await;
                if let Some((token, until)) = kept.as_ref()
                    && Instant::now() < *until
                {
                    return Ok(token.clone());
                }
                *kept = None;
                let (token, life) = endpoint.fetch(wire).await?;
                let until = life.and_then(|life| Instant::now().checked_add(life));
                *kept = until.map(|until| (token.clone(), until));
                Ok(token)
            }
        }
    }

    /// Fulcio did not like it: the next one is fetched.
    pub(super) async fn forget(&self) {
        if let Self::Endpoint { kept, .. } = self {
            *kept.lock().await = None;
        }
    }
}

impl Endpoint {
    /// A token, and how long to keep it.
    async fn fetch(&self, wire: &Wire) -> Result<(Zeroizing<String>, Option<Duration>), Trouble> {
        let secret = self.client_secret.read("client secret").await;
        let secret = secret.map_err(|text| Trouble::passing(text, None))?;
        let mut form = vec![("grant_type", "client_credentials")];
        for (name, value) in [
            ("scope", &self.scope),
            ("audience", &self.audience),
            ("resource", &self.resource),
        ] {
            if !value.is_empty() {
                form.push((name, value.as_str()));
            }
        }
        let mut authorization = basic(&self.client_id, &secret);
        authorization.set_sensitive(true);
        let request = wire
            .client()
            .post(self.url.clone())
            .header("Authorization", authorization)
            .header("Accept", "application/json")
            .form(&form);
        let answer = wire.send(request).await.map_err(|error| match error {
            RemoteError::Failed(text) => Trouble::lasting(text),
            RemoteError::Unavailable(text) | RemoteError::Ended(text) => Trouble::passing(text, None),
        })?;
        if answer.status != StatusCode::OK {
            return Err(refusal(&answer));
        }
        read(&answer.body)
            .ok_or_else(|| Trouble::lasting("the token endpoint's answer holds no token that can be used"))
    }
}

/// Both are written as a form writes them, before they are put together (RFC 6749 §2.3.1).
fn basic(client: &str, secret: &str) -> reqwest::header::HeaderValue {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let both = Zeroizing::new(format!("{}:{}", encode(client), encode(secret)));
    let value = Zeroizing::new(format!("Basic {}", STANDARD.encode(both.as_bytes())));
    // Base64 is fit for a header; nothing at all is refused like a wrong secret.
    reqwest::header::HeaderValue::from_str(&value)
        .unwrap_or_else(|_| reqwest::header::HeaderValue::from_static("Basic"))
}

fn read(body: &[u8]) -> Option<(Zeroizing<String>, Option<Duration>)> {
    let granted: Granted = serde_json::from_slice(body).ok()?;
    let token = granted.access_token;
    let shaped = (1..=MAX_TOKEN).contains(&token.len())
        && token.bytes().all(|b| b.is_ascii_graphic())
        && token.matches('.').count() == 2;
    let life = granted.expires_in.map(Duration::from_secs);
    shaped.then(|| (token, life.map(|life| life - LAST.min(life / 2))))
}

/// A status other than 200, with the code of RFC 6749 §5.2 where there is one.
fn refusal(answer: &Answer) -> Trouble {
    let code = serde_json::from_slice::<Refused>(&answer.body)
        .map_or_else(|_| String::new(), |refused| refused.error);
    let plain =
        (1..=MAX_CODE).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let said = if plain { format!(": {code}") } else { String::new() };
    let text = format!("the token endpoint answered {}{said}", answer.status.as_u16());
    if answer.status == StatusCode::TOO_MANY_REQUESTS || answer.status.is_server_error() {
        Trouble::passing(text, None)
    } else {
        Trouble::lasting(text)
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
