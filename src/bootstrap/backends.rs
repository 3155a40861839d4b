//! Signing backends and what is published of them.

use std::sync::Arc;

use bytes::Bytes;
use signer_actors::ports::{Clock, SigningBackend};
use zeroize::Zeroizing;

use crate::backends::file::FileBackend;
use crate::backends::fulcio::{FulcioBackend, IdentityToken};
use crate::backends::published::PublishedKey as PublicOnly;
use crate::backends::{file, fulcio};
use crate::bundle::trusted_root::{PublishedKey, PublishedKeys, TrustedRoot};
use crate::config::{Backend, FileKey, Fulcio, KeyMaterial, SecretRef};

/// Backends in configured order, with the documents that verifiers need.
pub(super) struct Backends {
    pub(super) all: Vec<Arc<dyn SigningBackend>>,
    pub(super) trusted_root: Bytes,
    pub(super) published_keys: Bytes,
}

pub(super) fn build(configured: &[Backend], clock: &Arc<dyn Clock>) -> Result<Backends, String> {
    let mut all: Vec<Arc<dyn SigningBackend>> = Vec::new();
    let (mut root, mut keys) = (TrustedRoot::default(), PublishedKeys::default());
    for backend in configured {
        match backend {
            Backend::Fulcio(settings) => {
                let backend = keyless(settings, clock)?;
                root.add_fulcio(settings.url.as_str(), backend.authorities())?;
                all.push(Arc::new(backend));
            }
            Backend::File(settings) => {
                let (backend, key) = keyful(settings)?;
                keys.keys.push(key);
                all.push(backend);
            }
        }
    }
    let json = |what: serde_json::Result<Vec<u8>>| what.map(Bytes::from).map_err(|error| error.to_string());
    Ok(Backends {
        all,
        trusted_root: json(serde_json::to_vec(&root))?,
        published_keys: json(serde_json::to_vec(&keys))?,
    })
}

fn keyless(settings: &Fulcio, clock: &Arc<dyn Clock>) -> Result<FulcioBackend, String> {
    let identity = match settings.identity_token.reference() {
        SecretRef::File(path) => IdentityToken::File(path.clone()),
        SecretRef::Environment(name) => IdentityToken::Env(name.clone()),
        SecretRef::Memory => {
            IdentityToken::Static(Zeroizing::new(settings.identity_token.expose_text().to_owned()))
        }
    };
    let settings = fulcio::Settings {
        id: settings.id.clone(),
        url: settings.url.clone(),
        roots_pem: settings.roots.bytes.clone(),
        identity,
        expect_issuer: settings.expect_issuer.clone(),
        expect_subject: settings.expect_subject.clone(),
        certificate_reuse: settings.certificate_reuse,
        timeout: settings.timeout,
        tls_roots_pem: Vec::new(),
    };
    FulcioBackend::new(settings, Arc::clone(clock))
}

fn keyful(settings: &FileKey) -> Result<(Arc<dyn SigningBackend>, PublishedKey), String> {
    let (id, algorithm, state, revoked_from) = (
        settings.id.clone(),
        settings.algorithm,
        settings.state,
        settings.revoked_from,
    );
    match &settings.key {
        KeyMaterial::Private { key, passphrase } => {
            let backend = FileBackend::new(file::Settings {
                id,
                key_pem: Zeroizing::new(key.expose().to_vec()),
                passphrase: passphrase
                    .as_ref()
                    .map(|passphrase| Zeroizing::new(passphrase.expose().to_vec())),
                algorithm,
                deterministic: settings.deterministic,
                state,
                revoked_from,
            })?;
            let published = PublishedKey::new(backend.identity(), state, revoked_from);
            Ok((Arc::new(backend), published))
        }
        KeyMaterial::Public(public) => {
            let backend = PublicOnly::new(id, &public.bytes, algorithm, state, revoked_from)?;
            let published = PublishedKey::new(backend.identity(), state, revoked_from);
            Ok((Arc::new(backend), published))
        }
    }
}
