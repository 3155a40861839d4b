//! Keys in Google Cloud KMS (contract §7, `gcp-kms`), over its REST interface.
//!
//! The service signs in as a service account, makes sure that the key version is the pinned one, and sends digests
//! (Ed25519: whole statements). Checksums guard what is sent and what comes back. A session lives as long as its token;
//! the next one begins ahead of that end.

mod account;
mod api;
mod crc32c;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use signer_actors::domain::signing::Algorithm;
use signer_actors::ports::{Clock, PortFuture};
use url::Url;

use self::api::Api;
use self::session::Session;
use super::credential::CredentialSource;
use super::remote::{self, Begun, RemoteBackend, RemoteError, RemoteSigner};
use super::wire::Wire;
use crate::crypto::{PublicKey, parse_public_pem};
use crate::urls::is_private;

/// `signing.backends[].kind`
pub const KIND: &str = "gcp-kms";

/// Where Cloud KMS is.
pub const ENDPOINT: &str = "https://cloudkms.googleapis.com/";
/// Where machines and clusters of Google get their tokens:
/// <https://cloud.google.com/compute/docs/access/authenticate-workloads>.
pub const METADATA: &str = "http://169.254.169.254/";

/// Where the key is, and how to get at it.
#[derive(Debug)]
pub struct Settings {
    /// Resource name of the key version: `projects/…/cryptoKeyVersions/1`.
    pub key: String,
    /// Where Cloud KMS is: [`ENDPOINT`].
    pub endpoint: Url,
    /// The only roots trusted for TLS; `None`: the system's.
    pub roots_pem: Option<Vec<u8>>,
    /// How to sign in.
    pub login: Login,
}

/// How the service gets its token.
#[derive(Debug)]
pub enum Login {
    /// As a service account, with its key in Google's JSON; a file is read at each opening.
    AccountKey(CredentialSource),
    /// As what the metadata service says the machine or workload is.
    Metadata {
        /// Its address: [`METADATA`].
        metadata: Url,
    },
    /// With a token that somebody else renews, read at each opening.
    Token(CredentialSource),
}

/// Checks the settings; asks nothing yet.
///
/// # Errors
/// A text for the configuration report.
pub fn backend(
    common: remote::Settings,
    settings: Settings,
    clock: Arc<dyn Clock>,
) -> Result<RemoteBackend, String> {
    if !is_private(&settings.endpoint) {
        return Err("the endpoint must be https: the token and statements travel there".into());
    }
    let public = PublicKey::new(parse_public_pem(&common.public_key_pem)?, common.algorithm)?;
    let wire = Wire::new("Cloud KMS", settings.roots_pem.as_deref())?;
    let signer = Kms(Arc::new(Inner {
        api: Api::new(wire, settings.endpoint.clone(), &settings.key)?,
        tokens: Wire::new("Google's token endpoint", settings.roots_pem.as_deref())?,
        algorithm: common.algorithm,
        public,
        settings,
        clock: Arc::clone(&clock),
    }));
    RemoteBackend::new(common, Arc::new(signer), clock)
}

#[derive(Clone, Debug)]
struct Kms(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    api: Api,
    tokens: Wire,
    algorithm: Algorithm,
    public: PublicKey,
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl RemoteSigner for Kms {
    fn begin(&self) -> PortFuture<Result<Begun, RemoteError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { Session::begin(inner).await })
    }
}
