//! Where the key set of an issuer is, and getting it.

use std::path::PathBuf;

use signer_actors::ports::SourceUnavailable;
use url::Url;

use super::discovery;
use super::fetch::{self, Http};
use super::jwks::KeySet;

/// Where a key set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysLocation {
    /// In the metadata of the issuer (OpenID Connect Discovery 1.0 §4, RFC 8414 §3).
    Discovery,
    /// At this URL: https, or http to loopback.
    Uri(Url),
    /// In this file.
    File(PathBuf),
}

/// Gets and parses the key set of an issuer.
pub(crate) async fn fetch_key_set(
    http: &Http,
    issuer: &str,
    location: &KeysLocation,
) -> Result<KeySet, SourceUnavailable> {
    let (shown, document) = match location {
        KeysLocation::File(path) => (path.display().to_string(), fetch::read_file(path.clone()).await?),
        KeysLocation::Uri(url) => (fetch::name(url), http.get_ok(url).await?),
        KeysLocation::Discovery => {
            let url = discovery::jwks_uri(http, issuer).await?;
            (fetch::name(&url), http.get_ok(&url).await?)
        }
    };
    KeySet::parse(&document).map_err(|why| fetch::unavailable(&format!("{shown}: {why}")))
}
