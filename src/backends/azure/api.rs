//! The REST interface: paths, tokens, status codes.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::super::oauth::AccessToken;
use super::super::remote::RemoteError;
use super::super::wire::{Answer, Wire, quotable};
use super::Settings;

/// Of the interface: <https://learn.microsoft.com/rest/api/keyvault/keys/sign/sign?view=rest-keyvault-keys-7.4>.
const VERSION: &str = "7.4";

/// Talks about one version of a key.
#[derive(Debug)]
pub(super) struct Api {
    wire: Wire,
    key: Url,
    sign: Url,
}

/// What the service is doing, for errors and their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `GET keys/<name>/<version>`
    ReadKey,
    /// `POST keys/<name>/<version>/sign`
    Sign,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::ReadKey => "reading the key in Azure Key Vault",
            Self::Sign => "signing in Azure Key Vault",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Problem,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    message: String,
}

impl Api {
    /// Name and version have characters only that need no escape.
    pub(super) fn new(wire: Wire, settings: &Settings) -> Result<Self, String> {
        let at = |end: &str| {
            let path = format!("keys/{}/{}{end}", settings.key, settings.key_version);
            let mut url = settings
                .vault
                .join(&path)
                .map_err(|_| "the address of the vault has no paths")?;
            url.query_pairs_mut().append_pair("api-version", VERSION);
            Ok::<_, String>(url)
        };
        Ok(Self {
            wire,
            key: at("")?,
            sign: at("/sign")?,
        })
    }

    /// Whether an identifier that the vault gives is that of this version of the key. Its host is the vault's own name
    /// for itself, which private endpoints do not share.
    pub(super) fn is_about(&self, kid: &str) -> bool {
        Url::parse(kid).is_ok_and(|kid| kid.path() == self.key.path())
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
            _ => client.get(self.key.clone()),
        };
        let refusal = |answer: &Answer| refusal(step, answer, token);
        token.ask(&self.wire, request, step.name(), refusal).await
    }
}

/// What a status other than 200 means.
fn refusal(step: Step, answer: &Answer, token: &AccessToken) -> RemoteError {
    let said: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    let quoted = |text: &str| quotable(text, &[token.secret()]);
    let (code, words) = (quoted(&said.error.code), quoted(&said.error.message));
    let status = answer.status.as_u16();
    let text = format!("{}: status {status}, {code}: {words}", step.name());
    match status {
        // A token that expired or was revoked: with a new one it may do.
        401 if step == Step::Sign => RemoteError::Ended(text),
        // https://learn.microsoft.com/azure/key-vault/general/overview-throttling
        429 | 500.. => RemoteError::Unavailable(text),
        _ => RemoteError::Failed(text),
    }
}
