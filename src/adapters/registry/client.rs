//! A registry client in which everything is bounded: time, bytes, counts, redirects, and where it connects.
//!
//! `oci-client` brings the types; its transfers are not used, as they read bodies without bound and swallow errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode};
use signer_actors::domain::digest::{ImageDigest, Sha256Digest};
use signer_actors::ports::ReleaseError;
use tokio::time::Instant;
use url::Url;

use super::auth;
use super::manifest::ACCEPT_ANY;
use super::network::{CheckedResolver, NetworkPolicy, authority, same_origin};
use super::settings::{Credentials, Repository, Settings};

/// Largest manifest, index page or blob, in bytes (distribution-spec asks for at least 4 MiB of manifest).
pub(super) const MAX_BODY: u64 = 4 * 1024 * 1024;

/// Most bytes of bodies in one check of one repository.
const MAX_TOTAL: u64 = 64 * 1024 * 1024;

/// Most referrers, and most signatures, of one image in one repository.
pub(super) const MAX_CANDIDATES: usize = 64;

/// Name of the header that repeats a manifest's digest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// Why a repository gave no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The registry's answer leaves a doubt.
    Doubt(String),
    /// The registry cannot be asked, or says that it cannot answer now.
    Unavailable(String),
    Timeout,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Doubt(text)
    }
}

impl From<Failure> for ReleaseError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Doubt(text) => Self::Doubt(text),
            Failure::Unavailable(text) => Self::Unavailable(text),
            Failure::Timeout => Self::Timeout,
        }
    }
}

/// Shorthand for a doubt.
pub(super) fn doubt<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Doubt(text.into()))
}

/// What all checks share: one connection pool and what it may connect to.
#[derive(Debug)]
pub(super) struct Transport {
    client: reqwest::Client,
    network: Arc<NetworkPolicy>,
    credentials: Vec<Credentials>,
    call_timeout: Duration,
}

impl Transport {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let network = Arc::new(NetworkPolicy::new(settings));
        for repository in &settings.repositories {
            network.check(&network.base(&repository.host)?)?;
        }
        let mut builder = reqwest::Client::builder()
            .user_agent("stellaops-signer")
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            // A proxy would resolve and connect on its own, past every check here.
            .no_proxy()
            .dns_resolver(Arc::new(CheckedResolver(Arc::clone(&network))))
            .connect_timeout(settings.call_timeout)
            .pool_max_idle_per_host(4)
            .pool_idle_timeout(Duration::from_secs(30));
        if let Some(pem) = &settings.tls_roots {
            let roots =
                reqwest::Certificate::from_pem_bundle(pem).map_err(|_| "registry TLS roots are not PEM")?;
            builder = builder.tls_certs_merge(roots);
        }
        Ok(Self {
            client: builder.build().map_err(|_| "the TLS client cannot be set up")?,
            network,
            credentials: settings.credentials.clone(),
            call_timeout: settings.call_timeout,
        })
    }
}

/// One check of one repository: its authorization and what is left of its bounds.
#[derive(Debug)]
pub(super) struct Session<'a> {
    transport: &'a Transport,
    repository: &'a Repository,
    base: Url,
    deadline: Instant,
    authorization: Option<HeaderValue>,
    bytes: AtomicU64,
    candidates: AtomicUsize,
}

/// An answer, its body read within bounds (empty unless the status is 200).
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        transport: &'a Transport,
        repository: &'a Repository,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        Ok(Self {
            transport,
            repository,
            base: transport.network.base(&repository.host)?,
            deadline,
            authorization: None,
            bytes: AtomicU64::new(0),
            candidates: AtomicUsize::new(0),
        })
    }

    /// The URL of something in this repository.
    pub(super) fn url(&self, rest: &str) -> Result<Url, Failure> {
        let path = format!("v2/{}/{rest}", self.repository.name);
        self.base
            .join(&path)
            .or_else(|_| doubt("the repository's url cannot be built"))
    }

    /// The repository's origin: what every page of a listing must stay on.
    pub(super) fn origin(&self) -> &Url {
        &self.base
    }

    /// Whether the registry wanted authorization and gave it.
    pub(super) fn is_authorized(&self) -> bool {
        self.authorization.is_some()
    }

    /// Counts signatures or referrers of this check.
    pub(super) fn count_candidates(&self, more: usize) -> Result<(), Failure> {
        let before = self.candidates.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > MAX_CANDIDATES {
            return doubt(format!("more than {MAX_CANDIDATES} signatures, remove old ones"));
        }
        Ok(())
    }

    /// HEAD of a manifest: is the image here? Also gets authorized, so that later calls need not.
    pub(super) async fn has_manifest(&mut self, digest: ImageDigest) -> Result<bool, Failure> {
        let url = self.url(&format!("manifests/{digest}"))?;
        let mut answer = self.call(Method::HEAD, &url, ACCEPT_ANY, 0).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            self.authorization = Some(self.authorize(&answer.headers).await?);
            answer = self.call(Method::HEAD, &url, ACCEPT_ANY, 0).await?;
        }
        match answer.status {
            StatusCode::OK => check_digest_header(&answer.headers, digest).map(|()| true),
            StatusCode::NOT_FOUND => Ok(false),
            status => refused(status, "the manifest"),
        }
    }

    async fn authorize(&self, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
        let mut credentials = self.transport.credentials.iter();
        let credentials = credentials.find(|c| c.host.eq_ignore_ascii_case(&self.repository.host));
        match auth::answer(headers, credentials, &self.repository.name)? {
            auth::Answer::Present(value) => Ok(value),
            auth::Answer::Ask { url, authorization } => {
                let mut request = reqwest::Request::new(Method::GET, url);
                if let Some(value) = authorization {
                    request.headers_mut().insert(AUTHORIZATION, value);
                }
                let answer = self.send(request, auth::MAX_TOKEN_ANSWER).await?;
                if answer.status != StatusCode::OK {
                    return refused(answer.status, "a token");
                }
                Ok(auth::bearer(&answer.body)?)
            }
        }
    }

    /// A manifest by its digest, re-hashed.
    pub(super) async fn manifest(&self, digest: ImageDigest, size: Option<u64>) -> Result<Vec<u8>, Failure> {
        let url = self.url(&format!("manifests/{digest}"))?;
        let answer = self.get(&url, ACCEPT_ANY, cap(size)?).await?;
        if answer.status != StatusCode::OK {
            return refused(answer.status, "a listed manifest");
        }
        check_digest_header(&answer.headers, digest)?;
        check_body(&answer.body, digest, size)?;
        Ok(answer.body)
    }

    /// A manifest by tag, resolved once; `None` when there is no such tag.
    pub(super) async fn tagged(&self, tag: &str) -> Result<Option<(ImageDigest, Vec<u8>)>, Failure> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let answer = self.get(&url, ACCEPT_ANY, MAX_BODY).await?;
        match answer.status {
            StatusCode::OK => {
                let digest = ImageDigest::from(Sha256Digest::of(&answer.body));
                check_digest_header(&answer.headers, digest)?;
                Ok(Some((digest, answer.body)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            status => refused(status, "a tag"),
        }
    }

    /// A blob by its digest, re-hashed. One redirect is followed, to a configured host.
    pub(super) async fn blob(&self, digest: ImageDigest, size: u64) -> Result<Vec<u8>, Failure> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let cap = cap(Some(size))?;
        let mut answer = self.get(&url, "*/*", cap).await?;
        if answer.status.is_redirection() {
            let location = answer.headers.get(LOCATION).and_then(|v| v.to_str().ok());
            let Some(next) = location.and_then(|location| url.join(location).ok()) else {
                return doubt("a blob is redirected to nowhere");
            };
            answer = self.get(&next, "*/*", cap).await?;
        }
        if answer.status != StatusCode::OK {
            return refused(answer.status, "a blob");
        }
        check_body(&answer.body, digest, Some(size))?;
        Ok(answer.body)
    }

    /// GET with a bound on the body. Credentials go to the repository's own origin only.
    pub(super) async fn get(&self, url: &Url, accept: &'static str, cap: u64) -> Result<Answer, Failure> {
        self.call(Method::GET, url, accept, cap).await
    }

    async fn call(
        &self,
        method: Method,
        url: &Url,
        accept: &'static str,
        cap: u64,
    ) -> Result<Answer, Failure> {
        let mut request = reqwest::Request::new(method, url.clone());
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(accept));
        if let Some(value) = self
            .authorization
            .as_ref()
            .filter(|_| same_origin(url, &self.base))
        {
            request.headers_mut().insert(AUTHORIZATION, value.clone());
        }
        self.send(request, cap).await
    }

    /// The only place that sends: checks the URL, bounds time and bytes.
    async fn send(&self, request: reqwest::Request, cap: u64) -> Result<Answer, Failure> {
        self.transport.network.check(request.url())?;
        let host = authority(request.url());
        let head = *request.method() == Method::HEAD;
        let call_end = Instant::now().checked_add(self.transport.call_timeout);
        let until = call_end.map_or(self.deadline, |end| end.min(self.deadline));
        let exchange = async {
            let response = self.transport.client.execute(request).await;
            let response = response.map_err(|error| failure(&error, &format!("{host} cannot be asked")))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = if head || status != StatusCode::OK {
                Vec::new()
            } else {
                self.read(response, &host, cap).await?
            };
            Ok(Answer {
                status,
                headers,
                body,
            })
        };
        tokio::time::timeout_at(until, exchange)
            .await
            .unwrap_or(Err(Failure::Timeout))
    }

    async fn read(&self, response: Response, host: &str, cap: u64) -> Result<Vec<u8>, Failure> {
        let encoded = response.headers().get(CONTENT_ENCODING);
        if encoded.is_some_and(|value| value.as_bytes() != b"identity") {
            return doubt(format!(
                "{host} answers with a content encoding that was not asked for"
            ));
        }
        let too_large = || doubt(format!("{host} answers with more than the {cap} bytes expected"));
        if response.content_length().is_some_and(|length| length > cap) {
            return too_large();
        }
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| failure(&error, &format!("{host} breaks off its answer")))?;
            let more = chunk.len() as u64;
            if (body.len() as u64).saturating_add(more) > cap {
                return too_large();
            }
            if self.bytes.fetch_add(more, Ordering::Relaxed).saturating_add(more) > MAX_TOTAL {
                return doubt(format!(
                    "more than {MAX_TOTAL} bytes of signatures, remove old ones"
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// How many bytes a descriptor of this size allows.
fn cap(size: Option<u64>) -> Result<u64, Failure> {
    match size {
        Some(size) if size > MAX_BODY => doubt(format!(
            "a descriptor of {size} bytes, at most {MAX_BODY} are read"
        )),
        Some(size) => Ok(size),
        None => Ok(MAX_BODY),
    }
}

/// Re-hashes what was read, and compares its size with the descriptor's.
fn check_body(body: &[u8], digest: ImageDigest, size: Option<u64>) -> Result<(), Failure> {
    if size.is_some_and(|size| size != body.len() as u64) {
        return doubt(format!(
            "{digest} is {} bytes, not the size its descriptor says",
            body.len()
        ));
    }
    if Sha256Digest::of(body) != digest.sha256() {
        return doubt(format!("the content answered for {digest} has another digest"));
    }
    Ok(())
}

/// Docker-Content-Digest is optional (distribution-spec, Pulling manifests), but never another digest.
fn check_digest_header(headers: &HeaderMap, digest: ImageDigest) -> Result<(), Failure> {
    let expected = digest.to_string();
    let mut values = headers.get_all(CONTENT_DIGEST).iter();
    if values.all(|value| value.as_bytes() == expected.as_bytes()) {
        return Ok(());
    }
    doubt(format!("the header Docker-Content-Digest does not name {digest}"))
}

/// The doubt that a status leaves, with the remedy.
pub(super) fn refused<T>(status: StatusCode, what: &str) -> Result<T, Failure> {
    let remedy = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ", check the registry's credentials",
        StatusCode::TOO_MANY_REQUESTS => ", the registry throttles",
        StatusCode::NOT_FOUND => ", the repository is incomplete",
        status if status.is_redirection() => ", redirects are followed for blobs only and once",
        _ => "",
    };
    let text = format!("the registry answers {} for {what}{remedy}", status.as_u16());
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Failure::Unavailable(text));
    }
    doubt(text)
}

fn failure(error: &reqwest::Error, what: &str) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    Failure::Unavailable(format!("{what}: {}", cause(error)))
}

/// The innermost cause of a transport error: without the URL, which may carry a signed query.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if std::ptr::addr_eq(innermost, error) {
        return "transport error".to_owned();
    }
    innermost.to_string()
}
