//! `[[signing.backends]]`: one table for each backend, told apart by `kind`.

mod aws;
mod azure;
mod file;
mod fulcio;
mod gcp;
mod life;
mod pkcs11;
mod remote;
mod vault;

use chrono::{DateTime, Utc};
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::{KeyState, SigningMode};

pub use self::aws::{Aws, AwsLogin};
pub use self::azure::{Azure, AzureApplication, AzureLogin};
pub use self::file::{FileKey, KeyMaterial};
pub use self::fulcio::{Fulcio, FulcioIdentity};
pub use self::gcp::{Gcp, GcpLogin};
pub use self::pkcs11::Pkcs11;
pub use self::remote::{Remote, Service};
pub use self::vault::{Vault, VaultLogin};
use super::error::Problem;
use super::parse;
use super::reader::{Section, required};

/// Kinds that this version has.
pub(crate) const KINDS: &[&str] = &[
    "fulcio",
    "file",
    "vault-transit",
    "pkcs11",
    "aws-kms",
    "gcp-kms",
    "azure-kv",
];

/// One signing backend.
#[derive(Clone, Debug, PartialEq)]
pub enum Backend {
    /// Ephemeral keys certified by Fulcio.
    Fulcio(Box<Fulcio>),
    /// A key in a PEM file.
    File(FileKey),
    /// A key that another process or a device holds.
    Remote(Box<Remote>),
}

impl Backend {
    /// Its id, unique among backends.
    pub fn id(&self) -> &KeyId {
        match self {
            Self::Fulcio(fulcio) => &fulcio.id,
            Self::File(file) => &file.id,
            Self::Remote(remote) => &remote.id,
        }
    }

    /// Keyless or keyful.
    pub fn mode(&self) -> SigningMode {
        match self {
            Self::Fulcio(_) => SigningMode::Keyless,
            Self::File(_) | Self::Remote(_) => SigningMode::Kms,
        }
    }

    /// True when it signs.
    pub fn is_active(&self) -> bool {
        match self {
            Self::Fulcio(_) => true,
            Self::File(file) => file.life.state == KeyState::Active,
            Self::Remote(remote) => remote.life.state == KeyState::Active,
        }
    }

    /// From when on it signs no more, if it was retired.
    pub fn retired_from(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Fulcio(_) => None,
            Self::File(file) => file.life.retired_from,
            Self::Remote(remote) => remote.life.retired_from,
        }
    }

    /// Its public key, SubjectPublicKeyInfo, DER; `None` for keys made anew for every certificate.
    pub fn public_key_der(&self) -> Option<&[u8]> {
        match self {
            Self::Fulcio(_) => None,
            Self::File(file) => Some(&file.public_key_der),
            Self::Remote(remote) => Some(&remote.public_key_der),
        }
    }
}

/// Reads one table.
pub(crate) fn read(s: &mut Section<'_>) -> Option<Backend> {
    let kind = required(
        "kind",
        "fulcio",
        "fulcio, file, vault-transit, pkcs11, aws-kms, gcp-kms or azure-kv.",
    );
    match s.text(kind, |text, _| kind_of(text))? {
        "fulcio" => fulcio::read(s).map(|fulcio| Backend::Fulcio(Box::new(fulcio))),
        "file" => file::read(s).map(Backend::File),
        kind => remote::read(s, kind).map(|remote| Backend::Remote(Box::new(remote))),
    }
}

fn kind_of(text: &str) -> Result<&'static str, Problem> {
    let words: Vec<(&str, &'static str)> = KINDS.iter().map(|kind| (*kind, *kind)).collect();
    parse::choice(text, &words)
}

/// An id of a backend.
pub(crate) fn key_id(text: &str) -> Result<KeyId, Problem> {
    KeyId::parse(text).ok_or_else(|| {
        let problem = format!("{text:?} is not an id");
        Problem::new(problem, "use 1 to 128 characters of A-Z a-z 0-9 . _ -")
    })
}
