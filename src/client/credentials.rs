//! What a client needs to know: `credentials.json` (contract §9).

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Host, Url};

use super::error::ClientError;
use super::files;

/// The largest credentials file, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// The members of `credentials.json`. Holds secrets: no debug print shows them.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credentials {
    /// Origin of the service.
    pub base_url: String,
    /// Token endpoint of the Authority (RFC 6749 §3.2).
    pub token_endpoint: String,
    /// Client id there.
    pub client_id: String,
    /// Client secret there.
    pub client_secret: String,
    /// The present OpTok; renewed when it expires.
    pub access_token: String,
    /// The key of the DPoP proofs: an EC P-256 JWK with `d`.
    pub dpop_private_jwk: Value,
    /// The proof of entitlement.
    pub poe: String,
    /// Digest of the scanner image that made the evidence.
    pub scanner_image_digest: String,
    /// Where `signer dev` revokes the licence with a plain POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke_url: Option<String>,
    /// Where the trusted root is; absent: `/api/v1/signer/trust` at the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_url: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("base_url", &self.base_url)
            .field("token_endpoint", &self.token_endpoint)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads a credentials file.
    ///
    /// # Errors
    /// [`ClientError::Usage`] names the file, never its content.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let shown = path.display();
        let bytes = files::read_bounded(path, MAX_BYTES).map_err(|error| {
            ClientError::Usage(format!(
                "{shown} cannot be read ({error}): name a credentials file with --credentials, `signer dev` writes one"
            ))
        })?;
        // serde's message would quote values: only the place is told.
        serde_json::from_slice(&bytes).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            ClientError::Usage(format!(
                "{shown} is no credentials file (line {line}, column {column}): compare it with the reference"
            ))
        })
    }

    /// Writes them, readable by their owner alone (mode 0600 from the start), in place of an older file at once.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        text.push(b'\n');
        files::write_private(path, &text)
    }

    /// URL of a path of the service.
    pub(super) fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.base_url.trim_end_matches('/'))
    }

    pub(super) fn trust_url(&self) -> String {
        let configured = self.trust_url.clone();
        configured.unwrap_or_else(|| self.endpoint("/api/v1/signer/trust"))
    }

    /// Tokens and secrets travel over TLS, or stay on this machine.
    pub(super) fn check(&self) -> Result<(), ClientError> {
        let trust = self.trust_url();
        for (member, value) in [
            ("baseUrl", &self.base_url),
            ("tokenEndpoint", &self.token_endpoint),
            ("trustUrl", &trust),
        ] {
            check_url(value).map_err(|text| ClientError::Usage(format!("{member} {text}")))?;
        }
        Ok(())
    }
}

/// `https`, or `http` to a loopback address.
pub(super) fn check_url(value: &str) -> Result<Url, &'static str> {
    let url = Url::parse(value).map_err(|_| "is no URL")?;
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err("must be an https URL, or http to a loopback address such as 127.0.0.1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_loopback() {
        for good in [
            "https://signer.example",
            "http://127.0.0.1:8080",
            "http://[::1]:1/x",
        ] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://signer.example",
            "http://localhost:1",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "x",
            "",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_file_is_told_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials.json");
        std::fs::write(&path, r#"{ "clientSecret": 5, "hunter2": "hunter2" }"#).unwrap();
        let error = Credentials::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("credentials.json") && !error.contains("hunter2"),
            "{error}"
        );
        let absent = directory.path().join("absent.json");
        assert!(matches!(Credentials::read(&absent), Err(ClientError::Usage(_))));
    }
}
