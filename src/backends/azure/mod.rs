//! Keys in Azure Key Vault and Managed HSM (contract §7, `azure-kv`), over their REST interface.
//!
//! The service signs in at Entra, makes sure that the version of the key is the pinned one, and sends digests. A session
//! lives as long as its token; the next one begins ahead of that end. Where tokens come from is configured: no challenge
//! of a server says where to take one.

mod api;
mod login;
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
pub const KIND: &str = "azure-kv";

/// Where machines of Azure get their tokens:
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>.
pub const METADATA: &str = "http://169.254.169.254/";

/// Where the key is, and how to get at it.
#[derive(Debug)]
pub struct Settings {
    /// The vault: scheme, host and port.
    pub vault: Url,
    /// The key's name there.
    pub key: String,
    /// Its version.
    pub key_version: String,
    /// What tokens are asked for: `https://vault.azure.net`.
    pub resource: String,
    /// The only roots trusted for TLS; `None`: the system's.
    pub roots_pem: Option<Vec<u8>>,
    /// How to sign in.
    pub login: Login,
}

/// How the service gets its token.
#[derive(Debug)]
pub enum Login {
    /// As an application of Entra.
    Application {
        /// Entra: `https://login.microsoftonline.com/`.
        authority: Url,
        /// The tenant's id.
        tenant: String,
        /// The application's id.
        client_id: String,
        /// What proves that it is this application.
        proof: Proof,
    },
    /// As what the metadata service says the machine is.
    ManagedIdentity {
        /// Its address: [`METADATA`].
        metadata: Url,
        /// Which of several identities.
        client_id: Option<String>,
    },
}

/// What proves that the service is an application.
#[derive(Debug)]
pub enum Proof {
    /// A secret.
    Secret(CredentialSource),
    /// A token of a federated OpenID provider, such as a cluster's; a file is read at each opening.
    Assertion(CredentialSource),
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
    let entra = match &settings.login {
        Login::Application { authority, .. } => is_private(authority),
        Login::ManagedIdentity { .. } => true,
    };
    if !is_private(&settings.vault) || !entra {
        return Err("vault and authority must be https: secrets and tokens travel there".into());
    }
    let algorithm = session::name_of(common.algorithm).ok_or("Azure Key Vault has no Ed25519 keys")?;
    let public = PublicKey::new(parse_public_pem(&common.public_key_pem)?, common.algorithm)?;
    let wire = Wire::new("Azure Key Vault", settings.roots_pem.as_deref())?;
    let signer = Vault(Arc::new(Inner {
        api: Api::new(wire, &settings)?,
        tokens: Wire::new("Entra", settings.roots_pem.as_deref())?,
        name: algorithm,
        algorithm: common.algorithm,
        public,
        settings,
    }));
    RemoteBackend::new(common, Arc::new(signer), clock)
}

#[derive(Clone, Debug)]
struct Vault(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    api: Api,
    tokens: Wire,
    /// As the interface calls the algorithm.
    name: &'static str,
    algorithm: Algorithm,
    public: PublicKey,
    settings: Settings,
}

impl RemoteSigner for Vault {
    fn begin(&self) -> PortFuture<Result<Begun, RemoteError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { Session::begin(inner).await })
    }
}
