//! Asking a timestamp authority over HTTP (RFC 3161 §3.4).
//!
//! The authority is not believed: its answer is verified as any verifier of the signature would, and against what was asked.

mod request;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use openssl::x509::X509;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode};
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::signing::Signature;
use signer_actors::ports::{Clock, PortFuture, Timestamp, TimestampSource, TimestampSourceError};
use url::Url;

use self::request::Question;
use crate::adapters::jose::fetch::{self, Http};
use crate::timestamp::{Authorities, Hash};

/// The longest answer that is read, in bytes: twice in base64 beside a certificate chain, it must fit into what is kept for
/// retries.
const MAX_ANSWER: usize = 16 * 1024;
/// How far behind ours an authority's clock may be; how far ahead, the verifier bounds.
const MAX_BEHIND: TimeDelta = TimeDelta::seconds(30);

const QUERY: &str = "application/timestamp-query";
const REPLY: &str = "application/timestamp-reply";

/// Where the authority is, and how it is recognised.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address.
    pub url: Url,
    /// Its own certificate, or several while it changes them, and all up to the root, PEM.
    pub chain_pem: Vec<u8>,
    /// PEM certificates trusted for TLS; `None`: the system's.
    pub tls_roots_pem: Option<Vec<u8>>,
    /// Time for one answer.
    pub timeout: Duration,
}

/// The configured authority.
#[derive(Clone, Debug)]
pub struct HttpTimestamps(Arc<Client>);

#[derive(Debug)]
struct Client {
    http: Http,
    url: Url,
    authorities: Authorities,
    /// In DER. Verifiers are told of these (`GET /trust`), and several of them accept no other.
    own: Vec<Vec<u8>>,
    clock: Arc<dyn Clock>,
}

impl HttpTimestamps {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        if !crate::urls::is_private(&settings.url) {
            return Err("the URL must be https, or http to loopback".into());
        }
        let authorities = Authorities::from_chain_pem(&settings.chain_pem)?;
        let der = |certificate: &&X509| certificate.to_der().ok();
        let own = authorities.own_certificates().iter().filter_map(der).collect();
        let http = Http::new(settings.tls_roots_pem.as_deref(), settings.timeout);
        Ok(Self(Arc::new(Client {
            http: http.map_err(|error| error.0)?,
            url: settings.url.clone(),
            authorities,
            own,
            clock,
        })))
    }

    /// Its certificates, for verifiers.
    pub fn authorities(&self) -> &Authorities {
        &self.0.authorities
    }
}

impl TimestampSource for HttpTimestamps {
    fn stamp(&self, signature: Signature) -> PortFuture<Result<Timestamp, TimestampSourceError>> {
        let client = Arc::clone(&self.0);
        Box::pin(async move {
            let question = Question::new(&Sha256Digest::of(&signature.0));
            let question = question.map_err(|_| unusable("no random bytes for a nonce"))?;
            let asked = client.clock.now();
            let answer = client.post(question.der).await?;
            // Several signatures to verify: not on a thread that others wait for.
            let judged = tokio::task::spawn_blocking(move || {
                let time = client.judge(&answer, &signature, question.nonce, asked)?;
                Ok(Timestamp {
                    response: answer,
                    time,
                })
            });
            judged
                .await
                .unwrap_or_else(|_| Err(unusable("the answer could not be judged")))
        })
    }
}

impl Client {
    async fn post(&self, question: Vec<u8>) -> Result<Bytes, TimestampSourceError> {
        let request = self
            .http
            .client()
            .post(self.url.clone())
            .header(CONTENT_TYPE, QUERY)
            .header(ACCEPT, REPLY)
            .body(question);
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        let status = response.status();
        // Sigstore's authority answers 201.
        if ![StatusCode::OK, StatusCode::CREATED].contains(&status) {
            let text = fetch::bad_status(&self.url, status).0;
            let for_now = status.is_server_error()
                || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
            return Err(if for_now {
                TimestampSourceError::Unavailable(text)
            } else {
                TimestampSourceError::Unusable(text)
            });
        }
        if !is_reply(response.headers().get(CONTENT_TYPE)) {
            return Err(unusable("the answer is not application/timestamp-reply"));
        }
        self.read(response).await
    }

    async fn read(&self, mut response: Response) -> Result<Bytes, TimestampSourceError> {
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error))? {
            if answer.len().saturating_add(chunk.len()) > MAX_ANSWER {
                return Err(unusable(&format!("the answer is longer than {MAX_ANSWER} bytes")));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer.into())
    }

    fn failed(&self, error: &reqwest::Error) -> TimestampSourceError {
        TimestampSourceError::Unavailable(fetch::failed(&self.url, error).0)
    }

    /// The time that the answer proves, if it answers this question.
    fn judge(
        &self,
        answer: &[u8],
        signature: &Signature,
        nonce: [u8; 8],
        asked: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, TimestampSourceError> {
        let now = self.clock.now();
        let verified = self.authorities.verify(answer, &signature.0, now);
        let verified = verified.map_err(|failure| unusable(&failure.to_string()))?;
        // RFC 3161 §2.4.2: an answer that was asked for just now, not an old one.
        if verified.nonce.as_deref() != Some(&nonce[..]) {
            return Err(unusable("the timestamp has not the nonce of the request"));
        }
        if verified.imprint != Hash::Sha256 {
            return Err(unusable("the timestamp is over another hash than was sent"));
        }
        if verified.time < asked - MAX_BEHIND {
            return Err(unusable(
                "the authority's clock is more than 30 s behind ours: compare both with the time",
            ));
        }
        let signer = verified.path.first().and_then(|signer| signer.to_der().ok());
        if !signer.is_some_and(|signer| self.own.contains(&signer)) {
            return Err(unusable(
                "the authority signs with another certificate than those in timestamp.chain: add it there",
            ));
        }
        Ok(verified.time)
    }
}

fn is_reply(content_type: Option<&HeaderValue>) -> bool {
    content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(REPLY))
}

fn unusable(text: &str) -> TimestampSourceError {
    TimestampSourceError::Unusable(text.to_owned())
}
