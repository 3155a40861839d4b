//! Getting small JSON documents from neighbours: bounded in time and size, no redirects, no text of secrets.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Response, StatusCode, redirect, retry, tls};
use signer_actors::ports::SourceUnavailable;
use url::Url;

use crate::urls::is_private;

/// Longest accepted document or answer, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// A client for one neighbour.
#[derive(Clone, Debug)]
pub struct Http {
    client: reqwest::Client,
}

impl Http {
    /// `roots` is PEM; with any, only these are trusted, else the system's. `timeout` covers a whole exchange.
    ///
    /// Proxies from the environment are not used: the neighbours are those of the configuration.
    pub fn new(roots: Option<&[u8]>, timeout: Duration) -> Result<Self, SourceUnavailable> {
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .tls_version_min(tls::Version::TLS_1_2)
            .no_proxy()
            .user_agent(concat!("stellaops-signer/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = roots {
            let roots = reqwest::Certificate::from_pem_bundle(pem)
                .ok()
                .filter(|roots| !roots.is_empty());
            let roots = roots.ok_or_else(|| unavailable("the root certificates are no PEM certificates"))?;
            builder = builder.tls_certs_only(roots);
        }
        let client = builder
            .build()
            .map_err(|_| unavailable("the HTTP client could not be made: check the root certificates"))?;
        Ok(Self { client })
    }

    /// The client, for requests other than [`Self::get`]. Check the URL with `urls::is_private` first.
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// The status and, if it is 200, the body of a document; any type of content, for the caller to parse.
    pub async fn get(&self, url: &Url) -> Result<(StatusCode, Vec<u8>), SourceUnavailable> {
        if !is_private(url) {
            return Err(unavailable(&format!(
                "{}: the URL must be https, or http to loopback",
                name(url)
            )));
        }
        let request = self.client.get(url.clone()).header("accept", "application/json");
        let response = request.send().await.map_err(|error| failed(url, &error))?;
        let status = response.status();
        if status != StatusCode::OK {
            return Ok((status, Vec::new()));
        }
        Ok((status, read_body(url, response).await?))
    }

    /// The body of a document; every status but 200 is a failure, redirects too.
    pub async fn get_ok(&self, url: &Url) -> Result<Vec<u8>, SourceUnavailable> {
        match self.get(url).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, _) => Err(bad_status(url, status)),
        }
    }
}

/// A body of at most [`MAX_BODY`] bytes, whatever its announced length.
pub(crate) async fn read_body(url: &Url, mut response: Response) -> Result<Vec<u8>, SourceUnavailable> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(url, &error))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(unavailable(&format!(
                "{}: the answer is longer than 64 KiB",
                name(url)
            )));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A regular file of at most [`MAX_BODY`] bytes, read off the async threads.
pub async fn read_file(path: PathBuf) -> Result<Vec<u8>, SourceUnavailable> {
    read_file_within(path, MAX_BODY).await
}

/// The same with another bound, in bytes.
pub async fn read_file_within(path: PathBuf, most: usize) -> Result<Vec<u8>, SourceUnavailable> {
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(&path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match read.await {
        Ok(Ok(bytes)) if bytes.len() <= most => Ok(bytes),
        Ok(Ok(_)) => Err(unavailable(&format!(
            "{shown}: the file is longer than {} KiB",
            most / 1024
        ))),
        Ok(Err(error)) => Err(unavailable(&format!("{shown}: {error}"))),
        Err(_) => Err(unavailable(&format!("{shown}: the reading task ended"))),
    }
}

/// Why an exchange failed, in words of ours: the library's texts may quote what was sent or received.
pub(crate) fn failed(url: &Url, error: &reqwest::Error) -> SourceUnavailable {
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection: check address, name and certificates"
    } else {
        "the exchange broke off"
    };
    unavailable(&format!("{}: {what}", name(url)))
}

/// An answer of another status than 200.
pub(crate) fn bad_status(url: &Url, status: StatusCode) -> SourceUnavailable {
    unavailable(&format!("{}: answered {}", name(url), status.as_u16()))
}

/// The URL without query, fragment and credentials.
pub(crate) fn name(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

pub(crate) fn unavailable(text: &str) -> SourceUnavailable {
    SourceUnavailable(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::adapters::jose::testkit::{Reply, Server, TIMEOUT, certificate, nowhere, tls_server};

    async fn get(reply: Reply) -> Result<Vec<u8>, SourceUnavailable> {
        let server = Server::start(move |_, _| reply.clone()).await;
        let http = Http::new(None, TIMEOUT).unwrap();
        http.get_ok(&server.at("/jwks?secret=1")).await
    }

    #[tokio::test]
    async fn answers_are_bounded_and_nothing_is_followed() {
        assert_eq!(get(Reply::json("200 OK", &json!({}))).await.unwrap(), b"{}");
        let full = vec![b' '; MAX_BODY];
        assert!(
            get(Reply::with_type("200 OK", "application/json", &full))
                .await
                .is_ok()
        );
        let target = Server::start(|_, _| Reply::json("200 OK", &json!({}))).await;
        for (reply, expected) in [
            (
                Reply::with_type("200 OK", "application/json", &[b' '; MAX_BODY + 1]),
                "64 KiB",
            ),
            (Reply::Endless, "64 KiB"),
            (Reply::Silence, "in time"),
            (Reply::Stall, "in time"),
            (Reply::redirect(target.url.as_str()), "answered 302"),
            (
                Reply::json("500 Internal Server Error", &json!({})),
                "answered 500",
            ),
            (Reply::json("204 No Content", &json!(null)), "answered 204"),
            (Reply::Raw(b"garbage\r\n\r\n".to_vec()), "broke off"),
        ] {
            let text = get(reply).await.unwrap_err().0;
            assert!(text.contains(expected), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
        let http = Http::new(None, TIMEOUT).unwrap();
        let text = http.get_ok(&nowhere().await).await.unwrap_err().0;
        assert!(text.contains("no connection"), "{text}");
        let far = Url::parse("http://authority.example/").unwrap();
        assert!(http.get_ok(&far).await.unwrap_err().0.contains("https"));
    }

    #[tokio::test]
    async fn files_are_bounded_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        std::fs::write(&path, vec![b' '; MAX_BODY]).unwrap();
        assert_eq!(read_file(path.clone()).await.unwrap().len(), MAX_BODY);
        std::fs::write(&path, vec![b' '; MAX_BODY + 1]).unwrap();
        assert!(read_file(path).await.unwrap_err().0.contains("64 KiB"));
        assert!(
            read_file(folder.path().to_owned())
                .await
                .unwrap_err()
                .0
                .contains("regular")
        );
        assert!(read_file(folder.path().join("absent")).await.is_err());
        assert!(
            read_file("/dev/zero".into())
                .await
                .unwrap_err()
                .0
                .contains("regular")
        );
    }

    #[tokio::test]
    async fn only_configured_roots_and_the_right_name_are_trusted() {
        let (pem, port) = tls_server(certificate("localhost"));
        let get = |roots: Option<Vec<u8>>, host: &str| {
            let url = Url::parse(&format!("https://{host}:{port}/")).unwrap();
            let http = Http::new(roots.as_deref(), std::time::Duration::from_secs(5)).unwrap();
            async move { http.get_ok(&url).await }
        };
        assert_eq!(get(Some(pem.clone()), "localhost").await.unwrap(), b"{}");
        let (other, _) = certificate("localhost");
        for (roots, host) in [
            (None, "localhost"),
            (Some(other), "localhost"),
            (Some(pem), "127.0.0.1"),
        ] {
            let text = get(roots, host).await.unwrap_err().0;
            assert!(text.contains("certificates"), "{host}: {text}");
        }
    }

    #[test]
    fn roots_must_be_certificates() {
        for bad in [&b"garbage"[..], b""] {
            assert!(Http::new(Some(bad), TIMEOUT).is_err());
        }
    }
}
