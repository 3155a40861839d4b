//! Keys in a token that speaks PKCS #11: an HSM, a smart card, SoftHSM (contract §7, `pkcs11`).
//!
//! The module is the maker's code in this process, and its calls block. They are made on a few threads of their own, and
//! every wait for them has a deadline. A session with the token lives until it fails; then the next one logs in anew.

mod encode;
mod faults;
mod library;
mod module;
mod pins;
mod session;
#[cfg(test)]
mod tests;
mod threads;
#[cfg(test)]
mod token_tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use signer_actors::domain::signing::Algorithm;
use signer_actors::ports::{Clock, PortFuture};

use self::library::{KeyName, Library};
use self::module::Module;
pub use self::module::TokenName;
use self::session::{Opened, Shared};
use self::threads::Threads;
use super::credential::CredentialSource;
use super::remote::{self, Begun, RemoteBackend, RemoteError, RemoteSigner};

/// `signing.backends[].kind`
pub const KIND: &str = "pkcs11";

/// Where the key is, and how to get at it.
#[derive(Debug)]
pub struct Settings {
    /// The maker's library: an absolute path.
    pub module: PathBuf,
    /// The token: exactly one must have this label and serial number.
    pub token: TokenName,
    /// The user PIN: visible ASCII without blanks.
    pub pin: CredentialSource,
    /// Label of the private key; exactly one must have it, and `key_id`.
    pub key_label: Option<String>,
    /// Id of the private key.
    pub key_id: Option<Vec<u8>>,
    /// Keys are accepted that can leave the token, encrypted by another (`CKA_EXTRACTABLE`).
    pub allow_extractable: bool,
}

/// Checks the settings; neither loads the module nor asks for anything yet.
///
/// # Errors
/// A text for the configuration report.
pub fn backend(
    common: remote::Settings,
    settings: Settings,
    clock: Arc<dyn Clock>,
) -> Result<RemoteBackend, String> {
    if !settings.module.is_absolute() {
        return Err("the module must be an absolute path: nothing is searched for it".into());
    }
    let path = settings.module.clone();
    let load = move || module::load(&path);
    remote_backend(common, settings, clock, load)
}

fn remote_backend<L: Library>(
    common: remote::Settings,
    settings: Settings,
    clock: Arc<dyn Clock>,
    load: impl Fn() -> Result<Arc<Module<L>>, RemoteError> + Send + Sync + 'static,
) -> Result<RemoteBackend, String> {
    if settings.token == TokenName::default() {
        return Err("token or serial must be set: which token the key is on".into());
    }
    if settings.key_label.is_none() && settings.key_id.is_none() {
        return Err("key_label or key_id must be set: which key on the token signs".into());
    }
    let key = Key {
        token: settings.token,
        name: KeyName {
            label: settings.key_label,
            id: settings.key_id,
        },
        algorithm: common.algorithm,
        allow_extractable: settings.allow_extractable,
    };
    let signer = Hsm {
        key: Arc::new(key),
        pin: settings.pin,
        load: Arc::new(load),
        threads: Arc::new(Threads::new(common.concurrency)),
    };
    RemoteBackend::new(common, Arc::new(signer), clock)
}

/// Which key.
#[derive(Debug)]
struct Key {
    token: TokenName,
    name: KeyName,
    algorithm: Algorithm,
    allow_extractable: bool,
}

type Load<L> = dyn Fn() -> Result<Arc<Module<L>>, RemoteError> + Send + Sync;

struct Hsm<L: Library> {
    key: Arc<Key>,
    pin: CredentialSource,
    load: Arc<Load<L>>,
    threads: Arc<Threads>,
}

impl<L: Library> fmt::Debug for Hsm<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hsm")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl<L: Library> RemoteSigner for Hsm<L> {
    fn begin(&self) -> PortFuture<Result<Begun, RemoteError>> {
        let (key, load, threads) = (
            Arc::clone(&self.key),
            Arc::clone(&self.load),
            Arc::clone(&self.threads),
        );
        let pin = self.pin.clone();
        Box::pin(async move {
            let pin = pin.read("PIN").await.map_err(RemoteError::Unavailable)?;
            let pool = Arc::clone(&threads);
            let opening = move || Opened::open(key, load()?, pool, &pin);
            let opened = threads.run(opening).await??;
            Ok(Begun {
                session: Arc::new(Shared(Arc::new(opened))),
                lives: None,
            })
        })
    }
}
