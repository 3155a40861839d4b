//! All neighbours together, and the files that a configuration names.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::authority::{self, Authority, IDENTITY_AUDIENCE, IDENTITY_LIFE, IdentityIssuer};
use super::fulcio::{self, Fulcio};
use super::licensing::{self, Issued, Licensing};
use super::registry::{self, Referrers, Registry};
use super::timestamps::{self, TimestampAuthority};
use crate::client::{DpopKey, files};

const CLIENT_ID: &str = "stellaops-scanner";
const TENANT: &str = "acme";
const INSTALLATION: &str = "acme-dev";
/// Subject of the signer's own identity, and of its certificates.
pub const SIGNER_SUBJECT: &str = "https://stellaops.local/signer";
const SUBJECT_DOMAIN: &str = "https://stellaops.local";
/// The identity token is renewed at half its life.
const RENEW_IDENTITY: Duration = Duration::from_secs(IDENTITY_LIFE.unsigned_abs() / 2);

/// How the neighbours behave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How the registry lists signatures.
    pub referrers: Referrers,
}

/// The running neighbours. They stop, and their folder is removed, when this is dropped.
#[derive(Debug)]
pub struct Neighbours {
    /// Issues tokens; its `running.base_url` is `auth.issuer`.
    pub authority: Authority,
    /// Issues entitlements; its `running.base_url` is `entitlement.issuer`.
    pub licensing: Licensing,
    /// Issues certificates.
    pub fulcio: Fulcio,
    /// Says when a signature was there.
    pub timestamps: TimestampAuthority,
    /// Holds the scanner's release.
    pub registry: Registry,
    /// The caller's DPoP key.
    pub dpop_key: DpopKey,
    /// The caller's entitlement.
    pub entitlement: Issued,
    /// Files for the configuration.
    pub files: Files,
    renewal: actix_rt::task::JoinHandle<()>,
    // Last, so that the folder outlives what writes into it.
    directory: StateDirectory,
}

/// Files that a configuration names, in the state folder.
#[derive(Clone, Debug)]
pub struct Files {
    /// The signer's identity token for the CA, renewed in time.
    pub identity_token: PathBuf,
    /// Bearer credential for introspection.
    pub licensing_credential: PathBuf,
    /// Issuing certificate and root of the CA, PEM.
    pub fulcio_roots: PathBuf,
    /// Certificates of the timestamp authority, PEM.
    pub timestamp_chain: PathBuf,
    /// Public half of the release key, PEM.
    pub release_key: PathBuf,
}

/// Starts every neighbour on a free loopback port.
///
/// # Errors
/// When a port cannot be bound, a key cannot be made or a file cannot be written.
pub async fn neighbours(options: Options) -> io::Result<Neighbours> {
    let directory = StateDirectory::create()?;
    let registry = registry::start(options.referrers).await?;
    let authority = authority::start(authority::Settings {
        client_id: CLIENT_ID.to_owned(),
        tenant: TENANT.to_owned(),
        installation: INSTALLATION.to_owned(),
        scanner_image: Some(registry.scanner_digest.clone()),
        signer_subject: SIGNER_SUBJECT.to_owned(),
    })
    .await?;
    let licensing = licensing::start().await?;
    let fulcio = fulcio::start(fulcio::Settings {
        issuer: authority.running.base_url.clone(),
        audience: IDENTITY_AUDIENCE.to_owned(),
        subject_domain: SUBJECT_DOMAIN.to_owned(),
    })
    .await?;
    let timestamps = timestamps::start().await?;
    let files = Files {
        identity_token: directory.path().join("identity.jwt"),
        licensing_credential: directory.path().join("licensing.token"),
        fulcio_roots: directory.path().join("fulcio-roots.pem"),
        timestamp_chain: directory.path().join("timestamp-chain.pem"),
        release_key: directory.path().join("release.pub"),
    };
    files::write_private(
        &files.licensing_credential,
        licensing.credential.reveal().as_bytes(),
    )?;
    let roots = format!("{}{}", fulcio.intermediate_pem, fulcio.root_pem);
    files::write_public(&files.fulcio_roots, roots.as_bytes())?;
    files::write_public(&files.timestamp_chain, timestamps.chain_pem.as_bytes())?;
    files::write_public(&files.release_key, registry.release_public_pem.as_bytes())?;
    write_identity(&authority.identity(), &files.identity_token)?;
    let renewal = renew_identity(authority.identity(), files.identity_token.clone(), RENEW_IDENTITY);
    Ok(Neighbours {
        entitlement: licensing.issue(TENANT, INSTALLATION)?,
        dpop_key: DpopKey::generate().map_err(io::Error::other)?,
        authority,
        licensing,
        fulcio,
        timestamps,
        registry,
        files,
        renewal,
        directory,
    })
}

impl Neighbours {
    /// The OAuth client of the caller.
    pub fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    /// Who a certificate of the signer must name: issuer and subject.
    pub fn signer_identity(&self) -> (&str, &'static str) {
        (&self.authority.running.base_url, SIGNER_SUBJECT)
    }

    /// The folder with the neighbours' files; private, and removed at the end.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Stops them all.
    pub async fn stop(&self) {
        self.renewal.abort();
        self.registry.running.stop().await;
        self.timestamps.running.stop().await;
        self.fulcio.running.stop().await;
        self.licensing.running.stop().await;
        self.authority.running.stop().await;
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.renewal.abort();
        for running in [
            &self.registry.running,
            &self.timestamps.running,
            &self.fulcio.running,
            &self.licensing.running,
            &self.authority.running,
        ] {
            // Only asks: the servers' own tasks do the rest.
            drop(running.handle.stop(false));
        }
    }
}

fn write_identity(issuer: &IdentityIssuer, path: &Path) -> io::Result<()> {
    files::write_private(path, issuer.token()?.as_bytes())
}

/// Writes a fresh token again and again. A failed write is tried again soon, as the last token still lives.
fn renew_identity(issuer: IdentityIssuer, path: PathBuf, every: Duration) -> actix_rt::task::JoinHandle<()> {
    actix_rt::spawn(async move {
        let mut wait = every;
        loop {
            tokio::time::sleep(wait).await;
            wait = match write_identity(&issuer, &path) {
                Ok(()) => every,
                Err(_) => Duration::from_secs(5),
            };
        }
    })
}

/// A private folder among the temporary files, removed when dropped.
#[derive(Debug)]
struct StateDirectory(PathBuf);

impl StateDirectory {
    fn create() -> io::Result<Self> {
        let name = format!("signer-dev-{}", uuid::Uuid::now_v7().simple());
        let path = std::env::temp_dir().join(name);
        // Fails if the name exists, so nobody else's folder is used.
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for StateDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::dev::credentials;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[actix::test]
    async fn all_start_and_their_secrets_are_private() {
        let neighbours = neighbours(Options::default()).await.unwrap();
        let folder = neighbours.directory().to_owned();
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&neighbours.files.identity_token), 0o600);
        assert_eq!(mode(&neighbours.files.licensing_credential), 0o600);
        let roots = std::fs::read(&neighbours.files.fulcio_roots).unwrap();
        assert_eq!(openssl::x509::X509::stack_from_pem(&roots).unwrap().len(), 2);
        let bases = [
            &neighbours.authority.running.base_url,
            &neighbours.licensing.running.base_url,
            &neighbours.fulcio.running.base_url,
            &neighbours.registry.running.base_url,
        ];
        assert!(bases.iter().all(|base| base.starts_with("http://127.0.0.1:")));
        drop(neighbours);
        assert!(!folder.exists());
    }

    #[actix::test]
    async fn the_credentials_file_has_exactly_its_members() {
        let neighbours = neighbours(Options::default()).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let base = "http://127.0.0.1:8080";
        let credentials = credentials::obtain(&neighbours, base).await.unwrap();
        let path = credentials::write(&directory.path().join("out"), &credentials).unwrap();
        assert_eq!(mode(&path), 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut members: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        // Contract §9, sorted.
        assert_eq!(
            members,
            [
                "accessToken",
                "baseUrl",
                "clientId",
                "clientSecret",
                "dpopPrivateJwk",
                "poe",
                "revokeUrl",
                "scannerImageDigest",
                "tokenEndpoint",
                "trustUrl"
            ]
        );
        assert_eq!(value["trustUrl"], "http://127.0.0.1:8080/api/v1/signer/trust");
        assert_eq!(value["accessToken"].as_str().unwrap().split('.').count(), 3);
        assert!(!format!("{credentials:?}").contains(&neighbours.authority.client_secret));
    }

    #[actix::test]
    async fn the_identity_token_is_renewed() {
        assert!(RENEW_IDENTITY.as_secs() < IDENTITY_LIFE.unsigned_abs());
        let neighbours = neighbours(Options::default()).await.unwrap();
        let path = neighbours.directory().join("renewed.jwt");
        let task = renew_identity(
            neighbours.authority.identity(),
            path.clone(),
            Duration::from_millis(1),
        );
        let changed = async {
            let mut seen = std::collections::BTreeSet::new();
            while seen.len() < 2 {
                seen.extend(std::fs::read(&path).ok());
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), changed)
            .await
            .unwrap();
        task.abort();
    }
}
