//! Configuration: file < environment < flags, validated as a whole.
//!
//! [`load`] returns settings that hold, or everything that is wrong with them. Each section has a file with its typed
//! settings and the declarations of its keys; `reader.rs` explains how one declaration serves reading, suggestions and
//! `config/reference.toml`. What must hold between sections is in `consistency.rs`.

mod auth;
mod backends;
mod consistency;
mod disjoint;
mod entitlement;
mod error;
mod files;
mod layers;
mod net;
mod parse;
mod pem;
mod proxies;
mod reader;
mod reference;
mod registries;
mod release;
mod reload;
mod secret;
mod server;
mod signing;
mod small;
mod state;
mod suggest;
#[cfg(test)]
mod tests;

pub use auth::{Auth, AuthorityKeys, BodyHashPolicy, Dpop, NoncePolicy};
pub use backends::{Aws, AwsLogin, Azure, AzureApplication, AzureLogin, Gcp, GcpLogin};
pub use backends::{
    Backend, FileKey, Fulcio, FulcioIdentity, KeyMaterial, Pkcs11, Remote, Service, Vault, VaultLogin,
};
pub(crate) use disjoint::keys_of_release;
pub use entitlement::{Entitlement, LicensingKeys, Standing};
pub use error::{ConfigError, Source, Warning};
pub use files::PublicFile;
pub use layers::{ConfigFile, FlagValue, Inputs};
pub use reference::reference;
pub use registries::{CredentialScope, PrivateNetwork, RegistryCredential};
pub use release::{
    Asking, Binding, Release, ReleaseCtLog, ReleaseIdentity, ReleaseKey, ReleaseLife, ReleaseLog,
    ReleaseWitness,
};
pub use secret::{Secret, SecretRef};
pub use server::{ClientAuth, Server, Tls};
pub use signing::Signing;
pub use small::{Audit, Log, LogFormat, Timestamp};
pub use state::{SharedStore, State};

use layers::Layers;
use reader::{Reader, Section};
pub(crate) use reload::Written;

/// Everything the service is told, validated. Files named by keys have been read; addresses have not been contacted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[server]`
    pub server: Server,
    /// `[auth]`
    pub auth: Auth,
    /// `[entitlement]`
    pub entitlement: Entitlement,
    /// `[state]`
    pub state: State,
    /// `[release]`
    pub release: Release,
    /// `[signing]`
    pub signing: Signing,
    /// `[timestamp]`; `None`: no authority.
    pub timestamp: Option<Timestamp>,
    /// `[audit]`
    pub audit: Audit,
    /// `[log]`
    pub log: Log,
    /// What works but is unusual: to be logged at start and shown by `signer check`.
    pub warnings: Vec<Warning>,
    /// What was written, to compare with another reading.
    pub(crate) written: Written,
}

/// Sections as far as they could be read.
#[derive(Debug)]
pub(crate) struct Draft {
    server: Option<Server>,
    auth: Option<Auth>,
    entitlement: Option<Entitlement>,
    state: Option<State>,
    release: Option<Release>,
    signing: Option<Signing>,
    timestamp: Option<Option<Timestamp>>,
    audit: Option<Audit>,
    log: Option<Log>,
}

/// Reads and validates the configuration.
///
/// # Errors
/// Everything that is wrong, in the order of the sections, each with its key, its source and the remedy; never empty.
pub fn load(inputs: Inputs) -> Result<Settings, Vec<ConfigError>> {
    let mut reader = Reader::new(Layers::gather(inputs)?);
    let mut draft = reader.root(read_sections);
    refuse_unknown_overrides(&mut reader);
    consistency::check(&mut reader, &mut draft);
    let warnings = std::mem::take(&mut reader.warnings);
    let written = Written(reader.layers.written());
    match draft.finish(warnings, written) {
        Some(settings) if reader.errors.is_empty() => Ok(settings),
        _ => Err(reader.errors),
    }
}

/// Every section, in the order of the reference.
pub(crate) fn read_sections(root: &mut Section<'_>) -> Draft {
    let server = server::section(root);
    let auth = auth::section(root);
    let entitlement = entitlement::section(root);
    let state = state::section(root);
    let release = release::section(root);
    let signing = signing::section(root);
    let timestamp = small::timestamp(root);
    let audit = small::audit(root);
    let log = small::log(root);
    Draft {
        server,
        auth,
        entitlement,
        state,
        release,
        signing,
        timestamp,
        audit,
        log,
    }
}

/// Variables and flags that set no key.
fn refuse_unknown_overrides(reader: &mut Reader) {
    let mut known: Option<Vec<String>> = None;
    let overrides: Vec<(String, Source)> = reader
        .layers
        .overrides()
        .map(|(key, source)| (key.to_owned(), source))
        .collect();
    for (key, source) in overrides {
        let known = known.get_or_insert_with(reference::settable);
        if known.contains(&key) {
            continue;
        }
        let variable = |key: &str| format!("SIGNER__{}", key.replace('.', "__").to_ascii_uppercase());
        let remedy = match suggest::nearest(&key, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {}?", variable(near)),
            None => "unset it; config/reference.toml lists every key, and an array of tables is one key"
                .to_owned(),
        };
        reader.errors.push(ConfigError {
            key,
            source,
            problem: "is not a key of this version".to_owned(),
            remedy,
        });
    }
}

impl Draft {
    fn finish(self, warnings: Vec<Warning>, written: Written) -> Option<Settings> {
        Some(Settings {
            server: self.server?,
            auth: self.auth?,
            entitlement: self.entitlement?,
            state: self.state?,
            release: self.release?,
            signing: self.signing?,
            timestamp: self.timestamp?,
            audit: self.audit?,
            log: self.log?,
            warnings,
            written,
        })
    }
}
