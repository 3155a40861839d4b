//! Fulcio's HTTP interface, version 2: bounded, without redirects, without proxies.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::x509::X509;
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use super::challenge::Configuration;
use super::retry::Trouble;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 128 * 1024;
/// The most certificates in an answer.
const MAX_CHAIN: usize = 8;
/// How long a connection may take to come about: the rest of the deadline is for another try.
const CONNECT: Duration = Duration::from_secs(2);
/// How much of Fulcio's own words an error repeats, in characters.
const MAX_QUOTE: usize = 200;

/// Talks to one Fulcio.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
}

/// `POST /api/v2/signingCert` (fulcio `fulcio.proto`, `CreateSigningCertificateRequest`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateRequest<'a> {
    credentials: Credentials<'a>,
    public_key_request: PublicKeyRequest<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Credentials<'a> {
    oidc_identity_token: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PublicKeyRequest<'a> {
    public_key: PublicKey<'a>,
    proof_of_possession: String,
}

#[derive(Serialize)]
struct PublicKey<'a> {
    algorithm: &'static str,
    content: &'a str,
}

/// `SigningCertificate`: the form depends on whether Fulcio writes to a certificate log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CertificateAnswer {
    signed_certificate_embedded_sct: Option<SignedCertificate>,
    signed_certificate_detached_sct: Option<SignedCertificate>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignedCertificate {
    chain: Chain,
    /// Beside the certificate: what the log answered, in base64.
    #[serde(default)]
    signed_certificate_timestamp: String,
}

/// What Fulcio issued.
#[derive(Debug)]
pub(super) struct Issued {
    /// Leaf first.
    pub(super) chain: Vec<X509>,
    /// The promise of a certificate log that came beside the certificate; empty: none.
    pub(super) detached: Vec<u8>,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<String>,
}

/// `google.rpc.Status` in JSON: what Fulcio answers errors with.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

impl Client {
    /// `tls_roots`: PEM certificates trusted for TLS beside the system's; empty for none.
    pub(super) fn new(url: Url, tls_roots: &[u8]) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            .connect_timeout(CONNECT)
            .no_proxy()
            // A certificate every few minutes: no connection is worth keeping, and none outlives its runtime.
            .pool_max_idle_per_host(0);
        if !tls_roots.is_empty() {
            let roots = reqwest::Certificate::from_pem_bundle(tls_roots)
                .map_err(|_| "the TLS roots for Fulcio cannot be read: give certificates in PEM")?;
            builder = builder.tls_certs_merge(roots);
        }
        let http = builder
            .build()
            .map_err(|_| "the HTTP client for Fulcio cannot be set up")?;
        Ok(Self { http, url })
    }

    /// Fulcio's issuers. An old or reticent Fulcio has none to show: the caller has a fallback.
    pub(super) async fn configuration(&self) -> Option<Configuration> {
        let answer = self.http.get(self.endpoint("configuration")?).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        serde_json::from_slice(&read_bounded(answer).await.ok()?).ok()
    }

    /// Asks for a certificate over a public key (PEM).
    pub(super) async fn certify(
        &self,
        token: &str,
        public_key: &str,
        proof: &[u8],
    ) -> Result<Issued, Trouble> {
        let request = CertificateRequest {
            credentials: Credentials {
                oidc_identity_token: token,
            },
            public_key_request: PublicKeyRequest {
                public_key: PublicKey {
                    algorithm: "ECDSA",
                    content: public_key,
                },
                proof_of_possession: STANDARD.encode(proof),
            },
        };
        let endpoint = self
            .endpoint("signingCert")
            .ok_or_else(|| Trouble::lasting("Fulcio's url cannot have a path"))?;
        let answer = self.http.post(endpoint).json(&request).send().await;
        let answer = answer.map_err(|error| Trouble::passing(describe(&error), None))?;
        let status = answer.status();
        let after = retry_after(&answer);
        let body = read_bounded(answer).await;
        if !status.is_success() {
            return Err(refusal(status, after, body.as_deref().unwrap_or_default(), token));
        }
        parse_issued(&body?)
    }

    fn endpoint(&self, name: &str) -> Option<Url> {
        let mut url = self.url.clone();
        url.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend(["api", "v2", name]);
        Some(url)
    }
}

async fn read_bounded(mut answer: Response) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| Trouble::passing(describe(&error), None))?
    {
        if body.len().saturating_add(chunk.len()) > MAX_ANSWER {
            return Err(Trouble::lasting("Fulcio's answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn parse_issued(body: &[u8]) -> Result<Issued, Trouble> {
    let answer: CertificateAnswer = serde_json::from_slice(body)
        .map_err(|_| Trouble::lasting("Fulcio's answer is not the JSON of a certificate"))?;
    let signed = answer
        .signed_certificate_embedded_sct
        .or(answer.signed_certificate_detached_sct);
    let signed = signed.ok_or_else(|| Trouble::lasting("Fulcio's answer holds no certificate"))?;
    let detached = STANDARD.decode(signed.signed_certificate_timestamp);
    let detached =
        detached.map_err(|_| Trouble::lasting("Fulcio's answer holds an SCT that cannot be read"))?;
    let chain = signed.chain.certificates;
    if chain.is_empty() || chain.len() > MAX_CHAIN {
        return Err(Trouble::lasting(
            "Fulcio's answer holds no certificate, or too many",
        ));
    }
    let read = |pem: &String| {
        let mut certificates = X509::stack_from_pem(pem.as_bytes()).ok()?;
        if certificates.len() == 1 {
            certificates.pop()
        } else {
            None
        }
    };
    let chain: Option<Vec<X509>> = chain.iter().map(read).collect();
    let chain = chain.ok_or_else(|| Trouble::lasting("a certificate in Fulcio's answer cannot be read"))?;
    Ok(Issued { chain, detached })
}

/// A status outside 2xx. What may pass by itself is `Unavailable`: throttling and the server's own trouble.
fn refusal(status: StatusCode, after: Option<Duration>, body: &[u8], token: &str) -> Trouble {
    let said = serde_json::from_slice::<Status>(body)
        .ok()
        .and_then(|said| quotable(&said.message, token));
    let text = match said {
        Some(said) => format!("Fulcio answered {}: {said}", status.as_u16()),
        None => format!("Fulcio answered {}", status.as_u16()),
    };
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        Trouble::passing(text, after)
    } else {
        Trouble::lasting(text)
    }
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); a date is not worth the trouble.
fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Fulcio's message, shortened and plain; nothing if it repeats any part of the token.
fn quotable(message: &str, token: &str) -> Option<String> {
    const TELLING: usize = 12;
    let quote: String = message
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(MAX_QUOTE)
        .collect();
    let leaks = quote
        .as_bytes()
        .windows(TELLING)
        .any(|part| token.as_bytes().windows(TELLING).any(|secret| secret == part));
    (!quote.is_empty() && !leaks).then_some(quote)
}

/// Why there was no answer, without the URL and without anything that was sent.
fn describe(error: &reqwest::Error) -> &'static str {
    if error.is_connect() {
        "Fulcio cannot be reached"
    } else if error.is_timeout() {
        "Fulcio did not answer in time"
    } else {
        "the connection to Fulcio broke off"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_repeats_the_token_is_not_quoted() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzaWduZXIifQ.c2lnbmF0dXJl";
        assert_eq!(
            quotable("the token has expired", token).as_deref(),
            Some("the token has expired")
        );
        assert_eq!(quotable("bad token eyJzdWIiOiJzaWduZXIifQ", token), None);
        assert_eq!(quotable("", token), None);
        assert_eq!(quotable("a\r\nb\u{1b}[31m", token).as_deref(), Some("ab[31m"));
        assert_eq!(
            quotable(&"x".repeat(1000), token).map(|q| q.len()),
            Some(MAX_QUOTE)
        );
    }

    #[test]
    fn endpoints_stand_below_the_configured_path() {
        for (url, expected) in [
            (
                "https://fulcio.example",
                "https://fulcio.example/api/v2/signingCert",
            ),
            (
                "https://fulcio.example/",
                "https://fulcio.example/api/v2/signingCert",
            ),
            (
                "https://x.example/fulcio/",
                "https://x.example/fulcio/api/v2/signingCert",
            ),
        ] {
            let client = Client::new(Url::parse(url).unwrap(), b"").unwrap();
            assert_eq!(client.endpoint("signingCert").unwrap().as_str(), expected);
        }
    }
}
