//! Keys in the transit engine of HashiCorp Vault or OpenBao (contract §7, `vault-transit`).
//!
//! The service signs in with a token or an AppRole, finds the version of the key that is pinned, and sends digests
//! (Ed25519: whole statements). A session lives as long as its token; the next one begins ahead of that end.

mod api;
mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU32;
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
pub const KIND: &str = "vault-transit";

/// Where the key is, and how to get at it.
#[derive(Debug)]
pub struct Settings {
    /// Address of Vault or OpenBao, without `/v1`: `https`, or `http` on loopback.
    pub url: Url,
    /// TLS roots, PEM: the only ones trusted; `None`: the system's.
    pub roots_pem: Option<Vec<u8>>,
    /// Namespace; empty: none.
    pub namespace: String,
    /// Where the transit engine is mounted.
    pub mount: String,
    /// The key's name there.
    pub key: String,
    /// The key's version; `None`: the one with the pinned public key.
    pub key_version: Option<NonZeroU32>,
    /// How to sign in.
    pub login: Login,
}

/// How the service signs in.
pub enum Login {
    /// With a token, renewed if it can be.
    Token(CredentialSource),
    /// With an AppRole.
    AppRole {
        /// Where the method is mounted, below `auth/`.
        mount: String,
        /// Which role: no secret.
        role_id: String,
        /// Its secret.
        secret_id: CredentialSource,
    },
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(source) => f.debug_tuple("Token").field(source).finish(),
            Self::AppRole { mount, secret_id, .. } => {
                let mut shown = f.debug_struct("AppRole");
                shown
                    .field("mount", mount)
                    .field("secret_id", secret_id)
                    .finish_non_exhaustive()
            }
        }
    }
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
    if !is_private(&settings.url) {
        return Err("the url must be https: the token travels with each request".into());
    }
    let wire = Wire::new("Vault", settings.roots_pem.as_deref())?;
    let api = Api::new(wire, &settings)?;
    let public = PublicKey::new(parse_public_pem(&common.public_key_pem)?, common.algorithm)?;
    let signer = Transit(Arc::new(Inner {
        api,
        algorithm: common.algorithm,
        public,
        settings,
    }));
    RemoteBackend::new(common, Arc::new(signer), clock)
}

#[derive(Clone, Debug)]
struct Transit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    api: Api,
    algorithm: Algorithm,
    public: PublicKey,
    settings: Settings,
}

impl RemoteSigner for Transit {
    fn begin(&self) -> PortFuture<Result<Begun, RemoteError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { Session::begin(inner).await })
    }
}
