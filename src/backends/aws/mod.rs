//! Keys in AWS KMS (contract §7, `aws-kms`).
//!
//! The service signs each request with SigV4 (the crate `aws-sigv4`), makes sure that the key is the pinned one, and sends
//! digests (Ed25519: whole statements). A session lives as long as its credentials; the next one begins ahead of that
//! end.

mod api;
mod credentials;
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
pub const KIND: &str = "aws-kms";

/// Where instances get their credentials:
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>.
pub const INSTANCE_METADATA: &str = "http://169.254.169.254/";

/// Where the key is, and how to get at it.
#[derive(Debug)]
pub struct Settings {
    /// Such as `eu-central-1`.
    pub region: String,
    /// Id, ARN, or alias (`alias/…`).
    pub key: String,
    /// Where KMS is: scheme, host and port; `None`: where the region has it.
    pub endpoint: Option<Url>,
    /// The only roots trusted for TLS; `None`: the system's.
    pub roots_pem: Option<Vec<u8>>,
    /// How to sign in.
    pub login: Login,
}

/// How the service gets its credentials.
#[derive(Debug)]
pub enum Login {
    /// An access key.
    AccessKey {
        /// Which: no secret, but replaced together with it.
        id: CredentialSource,
        /// Its secret.
        secret: CredentialSource,
        /// Of temporary ones.
        session_token: Option<CredentialSource>,
    },
    /// A role, for a token of an OpenID provider (`AssumeRoleWithWebIdentity`).
    WebIdentity {
        /// Which role.
        role_arn: String,
        /// The token: a file is read at each opening, as whoever made it renews it.
        token: CredentialSource,
        /// Where STS is; `None`: where the region has it.
        endpoint: Option<Url>,
    },
    /// What the metadata service of the instance gives (IMDSv2).
    Instance {
        /// Its address: [`INSTANCE_METADATA`].
        metadata: Url,
    },
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
    let public = PublicKey::new(parse_public_pem(&common.public_key_pem)?, common.algorithm)?;
    let signer = Kms(Arc::new(Inner {
        api: Api::new(&settings, Arc::clone(&clock))?,
        sts: sts(&settings)?,
        algorithm: common.algorithm,
        public,
        settings,
        clock: Arc::clone(&clock),
    }));
    RemoteBackend::new(common, Arc::new(signer), clock)
}

/// Whoever gives the credentials out.
fn sts(settings: &Settings) -> Result<(Wire, Url), String> {
    match &settings.login {
        Login::Instance { metadata } => Ok((
            Wire::new("the instance's metadata service", None)?,
            metadata.clone(),
        )),
        Login::WebIdentity {
            endpoint: Some(endpoint),
            ..
        } => Ok((
            Wire::new("STS", settings.roots_pem.as_deref())?,
            private(endpoint)?,
        )),
        _ => Ok((
            Wire::new("STS", settings.roots_pem.as_deref())?,
            regional("sts", &settings.region)?,
        )),
    }
}

fn private(url: &Url) -> Result<Url, String> {
    let good = is_private(url).then(|| url.clone());
    good.ok_or_else(|| "the endpoint must be https: credentials and statements travel there".into())
}

/// <https://docs.aws.amazon.com/general/latest/gr/rande.html>; other partitions have names of their own.
fn regional(service: &str, region: &str) -> Result<Url, String> {
    let partition = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    Url::parse(&format!("https://{service}.{region}.{partition}/"))
        .map_err(|_| "the region is no name".into())
}

#[derive(Clone, Debug)]
struct Kms(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    api: Api,
    sts: (Wire, Url),
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
