//! HTTP to key services: bounded, without redirects, proxies or cookies.

use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode, redirect, retry, tls};

use super::remote::RemoteError;

/// The longest answer that is read, in bytes: a key with all its versions is longer than a signature.
const MAX_ANSWER: usize = 256 * 1024;
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);
/// How much of another's words an error repeats, in characters.
const MAX_QUOTE: usize = 200;

/// A client of one service.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    client: Client,
    service: &'static str,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Wire {
    /// `roots`: PEM certificates; with any, only these are trusted for TLS, else the system's. `service` names the other
    /// side in errors.
    pub(super) fn new(service: &'static str, roots: Option<&[u8]>) -> Result<Self, String> {
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .tls_version_min(tls::Version::TLS_1_2)
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("stellaops-signer/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        if let Some(pem) = roots {
            let roots = reqwest::Certificate::from_pem_bundle(pem).ok();
            let roots = roots
                .filter(|roots| !roots.is_empty())
                .ok_or_else(|| format!("the TLS roots for {service} are no PEM certificates"))?;
            builder = builder.tls_certs_only(roots);
        }
        let client = builder
            .build()
            .map_err(|_| format!("the HTTP client for {service} cannot be set up"))?;
        Ok(Self { client, service })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends a request, and once more if the connection was gone: one that was kept may have been closed meanwhile, and
    /// to sign twice does no harm, as one signature leaves. Who calls bounds the time.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, RemoteError> {
        let again = request.try_clone();
        match (self.send_once(request).await, again) {
            (Err(Broken::Connection(_)), Some(again)) => {
                self.send_once(again).await.map_err(Broken::into_error)
            }
            (answer, _) => answer.map_err(Broken::into_error),
        }
    }

    async fn send_once(&self, request: RequestBuilder) -> Result<Answer, Broken> {
        let mut response = request.send().await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(Broken::Answer(format!(
                    "{}'s answer is longer than {MAX_ANSWER} bytes",
                    self.service
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }

    /// The kind alone: reqwest's own texts have the URL in them.
    fn broken(&self, error: &reqwest::Error) -> Broken {
        let service = self.service;
        if error.is_connect() {
            Broken::Unreachable(format!("{service} cannot be reached"))
        } else if error.is_timeout() {
            Broken::Unreachable(format!("{service} did not answer in time"))
        } else {
            Broken::Connection(format!("the connection to {service} broke off"))
        }
    }
}

enum Broken {
    Unreachable(String),
    Connection(String),
    Answer(String),
}

impl Broken {
    fn into_error(self) -> RemoteError {
        match self {
            Self::Unreachable(text) | Self::Connection(text) => RemoteError::Unavailable(text),
            Self::Answer(text) => RemoteError::Failed(text),
        }
    }
}

/// What of another's words may stand in a log: visible, short, and without any of these secrets.
pub(super) fn quotable(text: &str, secrets: &[&str]) -> String {
    if secrets
        .iter()
        .any(|secret| !secret.is_empty() && text.contains(secret))
    {
        return "(words that repeat a credential)".to_owned();
    }
    let visible = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control());
    visible.take(MAX_QUOTE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_short_visible_and_repeat_no_secret() {
        assert_eq!(
            quotable("permission\n denied\u{1b}[31m", &["s3cret"]),
            "permission  denied[31m"
        );
        assert_eq!(quotable(&"x".repeat(1000), &[]).len(), MAX_QUOTE);
        assert!(!quotable("bad token s3cret", &["s3cret"]).contains("s3cret"));
        assert_eq!(quotable("fine", &[""]), "fine");
    }

    #[test]
    fn roots_must_be_certificates() {
        assert!(Wire::new("Vault", None).is_ok());
        for bad in [
            "",
            "nonsense",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(Wire::new("Vault", Some(bad.as_bytes())).is_err(), "{bad}");
        }
    }
}
