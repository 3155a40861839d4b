//! The REST interface: paths, tokens, status codes.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::super::oauth::AccessToken;
use super::super::remote::RemoteError;
use super::super::wire::{Answer, Wire, quotable};

/// Talks about one key version.
#[derive(Debug)]
pub(super) struct Api {
    wire: Wire,
    public_key: Url,
    sign: Url,
}

/// What the service is doing, for errors and their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `GetPublicKey`
    ReadKey,
    /// `AsymmetricSign`
    Sign,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::ReadKey => "reading the key in Cloud KMS",
            Self::Sign => "signing in Cloud KMS",
        }
    }
}

/// <https://cloud.google.com/apis/design/errors#http_mapping>
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    status: String,
    message: String,
}

impl Api {
    /// `key` is a resource name, whose characters need no escape.
    pub(super) fn new(wire: Wire, endpoint: Url, key: &str) -> Result<Self, String> {
        let at = |path: String| endpoint.join(&path).map_err(|_| "the endpoint has no paths");
        Ok(Self {
            wire,
            public_key: at(format!("v1/{key}/publicKey"))?,
            sign: at(format!("v1/{key}:asymmetricSign"))?,
        })
    }

    /// Asks, and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        step: Step,
        token: &AccessToken,
        body: Option<&Value>,
    ) -> Result<T, RemoteError> {
        let client = self.wire.client();
        let request = match (step, body) {
            (Step::Sign, Some(body)) => client.post(self.sign.clone()).json(body),
            _ => client.get(self.public_key.clone()),
        };
        let refusal = |answer: &Answer| refusal(step, answer, token);
        token.ask(&self.wire, request, step.name(), refusal).await
    }
}

/// What a status other than 200 means.
fn refusal(step: Step, answer: &Answer, token: &AccessToken) -> RemoteError {
    let said: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    let quoted = |text: &str| quotable(text, &[token.secret()]);
    let (kind, words) = (quoted(&said.error.status), quoted(&said.error.message));
    let status = answer.status.as_u16();
    let text = format!("{}: status {status}, {kind}: {words}", step.name());
    match status {
        // A token that expired or was revoked: with a new one it may do.
        401 if step == Step::Sign => RemoteError::Ended(text),
        429 | 499 | 500.. => RemoteError::Unavailable(text),
        _ => RemoteError::Failed(text),
    }
}
