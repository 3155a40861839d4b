//! A registry client in which everything is bounded: time, bytes, counts, redirects, and where it connects.
//!
//! `oci-client` brings the grammar of references and the names of media types; its transfers are not used, as they read
//! bodies without bound and swallow errors.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION,
};
use reqwest::{Method, Response, StatusCode};
use signer_actors::domain::digest::{ImageDigest, Sha256Digest};
use tokio::time::Instant;
use url::Url;

use super::auth;
use super::budget::{Budget, Held, SMALL, Turn};
use super::failure::{Failure, doubt, failure, refused};
use super::manifest::ACCEPT_ANY;
use super::network::{NetworkPolicy, authority, same_origin};
use super::resolver::CheckedResolver;
use super::settings::{Credentials, Repository, Settings};

/// Largest referrer, page of a listing, or signature, in bytes. Real ones have some thousand.
pub(super) const MAX_BODY: u64 = 1024 * 1024;

/// Largest manifest of an image that is already trusted: what registries must accept (distribution-spec, Pushing
/// Manifests).
const MAX_IMAGE: u64 = 4 * 1024 * 1024;

/// Most bytes of bodies in one check of one repository.
const MAX_TOTAL: u64 = 16 * 1024 * 1024;

/// Most fields in the head of an answer.
const MAX_FIELDS: usize = 100;

/// Most referrers, and most signatures, of one image in one repository.
pub(super) const MAX_CANDIDATES: usize = 64;

/// Name of the header that repeats a manifest's digest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What all checks share: one connection pool and what it may connect to.
#[derive(Debug)]
pub(super) struct Transport {
    client: reqwest::Client,
    network: Arc<NetworkPolicy>,
    budget: Budget,
    credentials: Vec<Credentials>,
    call_timeout: Duration,
}

impl Transport {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let network = Arc::new(NetworkPolicy::new(settings));
        let mut names = Vec::new();
        for repository in &settings.repositories {
            let base = network.base(&repository.host)?;
            network.check(&base, &base)?;
            names.extend(base.host_str().map(str::to_owned));
        }
        for host in &settings.trusted_hosts {
            names.extend(network.base(host)?.host_str().map(str::to_owned));
        }
        let resolver = CheckedResolver::system(Arc::clone(&network), names.into_iter());
        let mut builder = reqwest::Client::builder()
            .user_agent("stellaops-signer")
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tls_version_min(reqwest::tls::Version::TLS_1_2)
            // A proxy would resolve and connect on its own, past every check here.
            .no_proxy()
            .dns_resolver(Arc::new(resolver))
            // Nothing that is read is unpacked, whatever other crates enable: a short answer stays short.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .http1_only()
            .http1_max_headers(MAX_FIELDS)
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
            budget: Budget::new(&settings.repositories),
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
    pub(super) body: Content,
}

/// A body, and its part of the memory that the registry's answers may take.
#[derive(Debug)]
pub(super) struct Content {
    bytes: Vec<u8>,
    /// `None` where nothing was read: only bodies take memory, and whoever holds none may wait for others.
    _held: Option<Held>,
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
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

    /// Waits for a turn to look at a candidate, one of few in this registry at once.
    pub(super) async fn turn(&self) -> Result<Turn, Failure> {
        Ok(self.transport.budget.turn(&self.repository.host).await?)
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
        let credentials = Credentials::of(&self.transport.credentials, self.repository);
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

    /// The manifest of a referrer by its digest, re-hashed.
    pub(super) async fn referrer(&self, digest: ImageDigest, size: u64) -> Result<Content, Failure> {
        self.manifest(digest, Some(size), cap(size)?).await
    }

    /// The image's own manifest, re-hashed.
    pub(super) async fn image(&self, digest: ImageDigest) -> Result<Content, Failure> {
        self.manifest(digest, None, MAX_IMAGE).await
    }

    async fn manifest(&self, digest: ImageDigest, size: Option<u64>, cap: u64) -> Result<Content, Failure> {
        let url = self.url(&format!("manifests/{digest}"))?;
        let answer = self.get(&url, ACCEPT_ANY, cap).await?;
        if answer.status != StatusCode::OK {
            return refused(answer.status, "a listed manifest");
        }
        check_digest_header(&answer.headers, digest)?;
        check_body(&answer.body, digest, size)?;
        Ok(answer.body)
    }

    /// A manifest by tag, resolved once; `None` when there is no such tag.
    pub(super) async fn tagged(&self, tag: &str) -> Result<Option<(ImageDigest, Content)>, Failure> {
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

    /// A blob by its digest, re-hashed. One redirect is followed, to the registry's own host or a trusted one.
    pub(super) async fn blob(&self, digest: ImageDigest, size: u64) -> Result<Content, Failure> {
        let url = self.url(&format!("blobs/{digest}"))?;
        let cap = cap(size)?;
        let mut answer = self.get(&url, "*/*", cap).await?;
        if is_redirect(answer.status) {
            let next = redirect_target(&answer.headers, &url)?;
            drop(answer);
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

    /// The only place that sends: checks the URL, bounds time, bytes and memory.
    async fn send(&self, mut request: reqwest::Request, cap: u64) -> Result<Answer, Failure> {
        self.transport.network.check(request.url(), &self.base)?;
        let identity = HeaderValue::from_static("identity");
        request.headers_mut().insert(ACCEPT_ENCODING, identity);
        let host = authority(request.url());
        let head = *request.method() == Method::HEAD;
        let call_end = Instant::now().checked_add(self.transport.call_timeout);
        let until = call_end.map_or(self.deadline, |end| end.min(self.deadline));
        let exchange = async {
            let held = self.transport.budget.small(&self.repository.host).await?;
            let response = self.transport.client.execute(request).await;
            let response = response.map_err(|error| failure(&error, &format!("{host} cannot be asked")))?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = if head || status != StatusCode::OK {
                Content {
                    bytes: Vec::new(),
                    _held: None,
                }
            } else {
                self.read(response, &host, cap, held).await?
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

    async fn read(
        &self,
        response: Response,
        host: &str,
        cap: u64,
        mut held: Held,
    ) -> Result<Content, Failure> {
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
        let mut bytes = Vec::new();
        let mut grown = false;
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| failure(&error, &format!("{host} breaks off its answer")))?;
            let more = chunk.len() as u64;
            let length = (bytes.len() as u64).saturating_add(more);
            if length > cap {
                return too_large();
            }
            if self.bytes.fetch_add(more, Ordering::Relaxed).saturating_add(more) > MAX_TOTAL {
                return doubt(format!(
                    "more than {MAX_TOTAL} bytes of signatures, remove old ones"
                ));
            }
            if !grown && length > u64::from(SMALL) * 1024 {
                held.grow().await?;
                grown = true;
                // Doubling would end at up to twice the bound.
                bytes.reserve_exact(
                    usize::try_from(cap)
                        .unwrap_or_default()
                        .saturating_sub(bytes.len()),
                );
            }
            bytes.extend_from_slice(&chunk);
        }
        let held = Some(held);
        Ok(Content { bytes, _held: held })
    }
}

/// How many bytes a descriptor of this size allows.
fn cap(size: u64) -> Result<u64, Failure> {
    if size > MAX_BODY {
        return doubt(format!(
            "a descriptor of {size} bytes, at most {MAX_BODY} are read"
        ));
    }
    Ok(size)
}

/// What sends a GET elsewhere (RFC 9110 §15.4); the other statuses of their class do not.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The one `Location` of a redirect (RFC 9110 §10.2.2), not yet checked.
fn redirect_target(headers: &HeaderMap, url: &Url) -> Result<Url, Failure> {
    let mut locations = headers.get_all(LOCATION).iter();
    let target = match (locations.next(), locations.next()) {
        (Some(location), None) => location.to_str().ok().and_then(|text| url.join(text).ok()),
        _ => None,
    };
    target.ok_or_else(|| Failure::Doubt("a blob is redirected to nowhere".to_owned()))
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
