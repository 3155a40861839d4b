//! The HTTP interface: paths, headers, status codes.

use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::super::remote::RemoteError;
use super::super::wire::{Answer, Wire, quotable};
use super::Settings;

/// Talks to one server about one key.
#[derive(Debug)]
pub(super) struct Api {
    wire: Wire,
    base: Url,
    namespace: Option<HeaderValue>,
}

/// What the service is doing, for errors and their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Getting or looking at a token.
    Login,
    /// Reading the key's versions.
    ReadKey,
    /// Signing.
    Sign,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "signing in to Vault",
            Self::ReadKey => "reading the key in Vault",
            Self::Sign => "signing in the transit engine",
        }
    }
}

#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<String>,
}

impl Api {
    pub(super) fn new(wire: Wire, settings: &Settings) -> Result<Self, String> {
        let namespace = match settings.namespace.as_str() {
            "" => None,
            name => Some(
                HeaderValue::from_str(name).map_err(|_| "the namespace has characters that no header has")?,
            ),
        };
        Ok(Self {
            wire,
            base: settings.url.clone(),
            namespace,
        })
    }

    /// Asks, with a token if there is one, and reads the answer. `path` is below `/v1/`; each part is one segment or
    /// several (a mount may have slashes), and none of them can leave its place.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        step: Step,
        token: Option<&str>,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<T, RemoteError> {
        let failed = |text: &str| RemoteError::Failed(format!("{}: {text}", step.name()));
        let url = self
            .endpoint(path)
            .ok_or_else(|| failed("the url cannot have a path"))?;
        let method = if body.is_some() { Method::POST } else { Method::GET };
        // https://developer.hashicorp.com/vault/api-docs: against requests that a server is tricked into.
        let mut request = self
            .wire
            .client()
            .request(method, url)
            .header("X-Vault-Request", "true");
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token)
                .map_err(|_| failed("the token has characters that no header has"))?;
            value.set_sensitive(true);
            request = request.header("X-Vault-Token", value);
        }
        if let Some(namespace) = &self.namespace {
            request = request.header("X-Vault-Namespace", namespace.clone());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.wire.send(request).await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(step, &answer, token.unwrap_or_default()));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| failed("the answer is not what the interface promises"))
    }

    fn endpoint(&self, path: &[&str]) -> Option<Url> {
        let mut url = self.base.clone();
        let parts = path
            .iter()
            .flat_map(|part| part.split('/'))
            .filter(|part| !part.is_empty());
        url.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .push("v1")
            .extend(parts);
        Some(url)
    }
}

/// What a status other than 200 means.
fn refusal(step: Step, answer: &Answer, token: &str) -> RemoteError {
    let said = serde_json::from_slice::<Errors>(&answer.body).map(|errors| errors.errors.join("; "));
    let said = quotable(&said.unwrap_or_default(), &[token]);
    let text = format!("{}: status {}, {said}", step.name(), answer.status.as_u16());
    match answer.status.as_u16() {
        // Also what a token gets that has expired or was revoked: with a new one it may do.
        403 if step == Step::Sign => RemoteError::Ended(text),
        // Throttled, a standby that does not forward, sealed or in maintenance, a balancer without servers.
        429 | 472 | 473 | 501 | 502 | 503 | 504 => RemoteError::Unavailable(text),
        _ => RemoteError::Failed(text),
    }
}
