//! HTTP with proofs, nonces and retries.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder};

use super::backoff::{Backoff, jitter};
use super::error::{ClientError, Problem};
use super::key::{DpopKey, ProofOf};

/// The largest answer that is read, in bytes: an envelope holds its payload in base64, and the bundle repeats it.
const MAX_ANSWER: usize = 1 << 30;

/// One HTTP client, and the service's last nonce.
#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    nonce: Option<String>,
}

/// One call, to be sent as often as it takes.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) body: Option<Bytes>,
    /// Makes every repetition the same request: the service signs once.
    pub(super) idempotency_key: Option<String>,
}

type Raw = (u16, HeaderMap, Vec<u8>);

/// The nonce that an answer offers (RFC 9449 §8.2).
pub(super) fn nonce_of(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("DPoP-Nonce")?.to_str().ok()?;
    (!value.is_empty() && value.len() <= 1024).then(|| value.to_owned())
}

impl Transport {
    /// `direct`: past any proxy that the environment names, as for a service on loopback.
    pub(super) fn new(timeout: Duration, direct: bool) -> Result<Self, ClientError> {
        let builder = match direct {
            true => reqwest::Client::builder().no_proxy(),
            false => reqwest::Client::builder(),
        };
        // No redirect: a proof is for one URL, and a token must not travel elsewhere.
        let http = builder
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(timeout)
            .user_agent(concat!("stellaops-signer/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|_| ClientError::Usage("the HTTP client could not be set up".to_owned()))?;
        Ok(Self { http, nonce: None })
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A GET without credentials.
    pub(super) async fn get(&self, url: &str) -> Result<Vec<u8>, ClientError> {
        let (status, headers, body) = self.send(url, self.http.get(url)).await?;
        match status {
            200..=299 => Ok(body),
            _ => Err(ClientError::of(problem(status, &headers, &body))),
        }
    }

    /// Sends a call with a fresh proof each time, until it succeeds, is refused for good, or the patience ends.
    pub(super) async fn call(
        &mut self,
        call: &Call,
        token: &str,
        key: &DpopKey,
    ) -> Result<Vec<u8>, ClientError> {
        let mut backoff = Backoff::standard();
        let mut nonces = 2u8;
        loop {
            let request = self.request(call, token, key)?;
            let (error, retry_after) = match self.send("the service", request).await {
                Ok((status, headers, body)) => {
                    let offered = nonce_of(&headers);
                    let fresh_nonce = offered.is_some();
                    self.nonce = offered.or(self.nonce.take());
                    if (200..300).contains(&status) {
                        return Ok(body);
                    }
                    let problem = problem(status, &headers, &body);
                    if problem.code == "use_dpop_nonce" && fresh_nonce && nonces > 0 {
                        nonces = nonces.saturating_sub(1);
                        continue;
                    }
                    (ClientError::of(problem), retry_after(&headers))
                }
                Err(error) => (error, None),
            };
            let again = match &error {
                ClientError::Retryable(_) | ClientError::Unreachable(_) => {
                    backoff.next(retry_after, jitter())
                }
                _ => None,
            };
            match again {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    fn request(&self, call: &Call, token: &str, key: &DpopKey) -> Result<RequestBuilder, ClientError> {
        let of = ProofOf {
            method: call.method.as_str(),
            url: &call.url,
            token: Some(token),
            body: call.body.as_deref(),
            nonce: self.nonce.as_deref(),
        };
        let proof = key.proof(of).map_err(ClientError::Usage)?;
        let secret = |text: &str| -> Result<HeaderValue, ClientError> {
            let mut value = HeaderValue::from_str(text)
                .map_err(|_| ClientError::Usage("the access token cannot be put into a header".to_owned()))?;
            value.set_sensitive(true);
            Ok(value)
        };
        let mut request = self
            .http
            .request(call.method.clone(), &call.url)
            .header(AUTHORIZATION, secret(&format!("DPoP {token}"))?)
            .header("DPoP", secret(&proof)?);
        if let Some(key) = &call.idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = &call.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        Ok(request)
    }

    /// Sends, and reads the answer up to its bound. `whom` is for the message.
    pub(super) async fn send(&self, whom: &str, request: RequestBuilder) -> Result<Raw, ClientError> {
        let lost = |error: reqwest::Error| {
            // Without the URL: it could carry a secret.
            let error = error.without_url();
            ClientError::Unreachable(format!("{whom} cannot be reached: {}", root_cause(&error)))
        };
        let mut answer = request.send().await.map_err(lost)?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(lost)? {
            if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(ClientError::Protocol(format!(
                    "the answer of {whom} is too large"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, headers, body))
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Seconds (RFC 9110 §10.2.3); the service sends no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u32 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(u64::from(seconds)))
}

/// The problem document, or one in its place when something between us and the service answered.
fn problem(status: u16, headers: &HeaderMap, body: &[u8]) -> Problem {
    let parsed: Option<Problem> = serde_json::from_slice(body).ok();
    if let Some(parsed) = parsed.filter(|problem| !problem.code.is_empty()) {
        return Problem { status, ..parsed };
    }
    let correlation = headers
        .get("X-Correlation-Id")
        .and_then(|value| value.to_str().ok());
    Problem {
        status,
        code: "unexpected_answer".to_owned(),
        detail: "the answer is no problem document: check baseUrl and what stands before the service"
            .to_owned(),
        retryable: matches!(status, 408 | 429 | 502 | 503 | 504),
        correlation_id: correlation.unwrap_or_default().to_owned(),
        audit_id: None,
    }
}
