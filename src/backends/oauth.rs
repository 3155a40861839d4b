//! Access tokens (RFC 6749 §5.1) of clouds' authorization servers.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::remote::RemoteError;
use super::wire::{Answer, Wire, quotable};

/// The longest token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// No token that is said to live longer, in seconds.
const MAX_LIFE: u64 = 24 * 3600;

/// A token, and how long it is good for (`None`: until it is refused).
pub(super) struct AccessToken {
    text: Zeroizing<String>,
    pub(super) lives: Option<Duration>,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("lives", &self.lives)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: Zeroizing<String>,
    token_type: String,
    expires_in: Seconds,
}

/// Azure's metadata service writes it as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

/// RFC 6749 §5.2
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: String,
    error_description: String,
}

impl AccessToken {
    /// One that somebody else obtained.
    pub(super) fn given(text: Zeroizing<String>) -> Self {
        Self { text, lives: None }
    }

    /// Asks for one. `what` names the request in errors; `secrets` are those that it carries.
    pub(super) async fn obtain(
        wire: &Wire,
        request: RequestBuilder,
        what: &str,
        secrets: &[&str],
    ) -> Result<Self, RemoteError> {
        let answer = wire.send(request).await?;
        if answer.status != StatusCode::OK {
            let said: Refused = serde_json::from_slice(&answer.body).unwrap_or_default();
            let (error, words) = (
                quotable(&said.error, secrets),
                quotable(&said.error_description, secrets),
            );
            let status = answer.status.as_u16();
            let text = format!("{what}: status {status}, {error}: {words}");
            return Err(match status {
                429 | 500.. => RemoteError::Unavailable(text),
                _ if error == "temporarily_unavailable" => RemoteError::Unavailable(text),
                _ => RemoteError::Failed(text),
            });
        }
        let granted = serde_json::from_slice::<Granted>(&answer.body).ok();
        let token = granted.and_then(Self::read);
        token.ok_or_else(|| {
            RemoteError::Failed(format!("{what}: the answer holds no bearer token with a life"))
        })
    }

    fn read(granted: Granted) -> Option<Self> {
        let seconds = match granted.expires_in {
            Seconds::Number(seconds) => seconds,
            Seconds::Text(text) => text.parse().ok()?,
        };
        let text = granted.access_token;
        let shaped = (1..=MAX_TOKEN).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        // RFC 6749 §7.1: the name of the type in any case.
        let bearer = granted.token_type.eq_ignore_ascii_case("bearer");
        (shaped && bearer && seconds > 0).then(|| Self {
            text,
            lives: Some(Duration::from_secs(seconds.min(MAX_LIFE))),
        })
    }

    /// RFC 6750 §2.1
    pub(super) fn header(&self) -> Result<HeaderMap, RemoteError> {
        let value = HeaderValue::from_str(&format!("Bearer {}", self.text.as_str()));
        let mut value =
            value.map_err(|_| RemoteError::Failed("the token has characters that no header has".into()))?;
        value.set_sensitive(true);
        Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }

    /// Asks a service with this token, and reads its answer. `what` names the question in errors; `refusal` says what any
    /// status but 200 means.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        wire: &Wire,
        request: RequestBuilder,
        what: &str,
        refusal: impl FnOnce(&Answer) -> RemoteError,
    ) -> Result<T, RemoteError> {
        let answer = wire.send(request.headers(self.header()?)).await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(&answer));
        }
        serde_json::from_slice(&answer.body).map_err(|_| {
            let text = "the answer is not what the interface promises";
            RemoteError::Failed(format!("{what}: {text}"))
        })
    }

    /// For [`quotable`].
    pub(super) fn secret(&self) -> &str {
        &self.text
    }
}
