//! Signing backends and what is published of them.

use std::sync::Arc;

use bytes::Bytes;
use signer_actors::domain::signing::KeyState;
use signer_actors::ports::{Clock, SigningBackend};
use zeroize::Zeroizing;

use super::clouds;
use crate::adapters::timestamp::HttpTimestamps;
use crate::backends::credential::CredentialSource;
use crate::backends::file::FileBackend;
use crate::backends::fulcio::FulcioBackend;
use crate::backends::published::PublishedKey as PublicOnly;
use crate::backends::{aws, azure, file, fulcio, gcp, pkcs11, remote, vault};
use crate::bundle::trusted_root::{PublishedKey, PublishedKeys, TrustedRoot};
use crate::bundle::verify::Trust;
use crate::config::{
    Backend, FileKey, Fulcio, FulcioIdentity, KeyMaterial, Pkcs11, Remote, Secret, SecretRef, Service, Vault,
    VaultLogin,
};
use crate::http::state::Documents;

/// Backends in configured order, with the documents that verifiers need.
pub(super) struct Backends {
    pub(super) all: Vec<Arc<dyn SigningBackend>>,
    pub(super) documents: Documents,
}

/// `timestamps`: the authority with its address.
pub(super) fn build(
    configured: &[Backend],
    timestamps: Option<(&str, &HttpTimestamps)>,
    clock: &Arc<dyn Clock>,
) -> Result<Backends, String> {
    let mut trust = Trust::default();
    let mut all: Vec<Arc<dyn SigningBackend>> = Vec::new();
    let (mut root, mut keys) = (TrustedRoot::default(), PublishedKeys::default());
    for backend in configured {
        match backend {
            Backend::Fulcio(settings) => {
                let backend = keyless(settings, clock)?;
                root.add_fulcio(settings.url.as_str(), backend.authorities())?;
                root.add_ct_logs(backend.ct_logs())?;
                trust.add_identity(&settings.expect_issuer, &settings.expect_subject);
                all.push(Arc::new(backend));
            }
            Backend::File(settings) => {
                let (backend, key) = keyful(settings)?;
                keys.keys.push(key);
                all.push(backend);
            }
            Backend::Remote(settings) => {
                let (backend, key) = elsewhere(settings, clock)?;
                keys.keys.push(key);
                all.push(backend);
            }
        }
    }
    if let Some((url, timestamps)) = timestamps {
        root.add_timestamp_authority(url, &timestamps.authorities().paths())?;
    }
    if !root.certificate_authorities.is_empty() || !root.timestamp_authorities.is_empty() {
        trust.add_root(&root)?;
    }
    if !keys.keys.is_empty() {
        trust.add_published(&keys)?;
    }
    let json = |what: serde_json::Result<Vec<u8>>| what.map(Bytes::from).map_err(|error| error.to_string());
    Ok(Backends {
        all,
        documents: Documents {
            trusted_root: json(serde_json::to_vec(&root))?,
            published_keys: json(serde_json::to_vec(&keys))?,
            trust: Arc::new(trust),
        },
    })
}

fn keyless(settings: &Fulcio, clock: &Arc<dyn Clock>) -> Result<FulcioBackend, String> {
    let identity = match &settings.identity {
        FulcioIdentity::Token(token) => fulcio::Identity::Credential(credential(token)),
        FulcioIdentity::Endpoint(endpoint) => fulcio::Identity::Endpoint(fulcio::Endpoint {
            url: endpoint.url.clone(),
            client_id: endpoint.client_id.clone(),
            client_secret: credential(&endpoint.client_secret),
            scope: endpoint.scope.clone(),
            audience: endpoint.audience.clone(),
            resource: endpoint.resource.clone(),
        }),
    };
    let settings = fulcio::Settings {
        id: settings.id.clone(),
        url: settings.url.clone(),
        roots_pem: settings.roots.bytes.clone(),
        identity,
        ct_keys: settings.ct_keys.iter().map(|key| key.bytes.clone()).collect(),
        require_sct: settings.require_sct,
        expect_issuer: settings.expect_issuer.clone(),
        expect_subject: settings.expect_subject.clone(),
        certificate_reuse: settings.certificate_reuse,
        timeout: settings.timeout,
        tls_roots_pem: Vec::new(),
    };
    FulcioBackend::new(settings, Arc::clone(clock))
}

pub(super) fn credential(secret: &Secret) -> CredentialSource {
    match secret.reference() {
        SecretRef::File(path) => CredentialSource::File(path.clone()),
        SecretRef::Environment(name) => CredentialSource::Env(name.clone()),
        SecretRef::Memory => CredentialSource::Static(Zeroizing::new(secret.expose_text().to_owned())),
    }
}

/// A key elsewhere; one that signs no more is published, and nobody is asked for it.
fn elsewhere(
    settings: &Remote,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn SigningBackend>, PublishedKey), String> {
    let life = settings.life;
    if life.state != KeyState::Active {
        let (id, pem) = (settings.id.clone(), &settings.public_key.bytes);
        let backend = PublicOnly::new(id, pem, settings.algorithm, life)?;
        let published = PublishedKey::new(backend.identity(), life);
        return Ok((Arc::new(backend), published));
    }
    let common = |kind| remote::Settings {
        id: settings.id.clone(),
        kind,
        algorithm: settings.algorithm,
        public_key_pem: settings.public_key.bytes.clone(),
        timeout: settings.timeout,
        concurrency: settings.concurrency,
    };
    let clock = Arc::clone(clock);
    let backend = match &settings.service {
        Service::Vault(vault) => vault::backend(common(vault::KIND), transit(vault), clock),
        Service::Aws(kms) => aws::backend(common(aws::KIND), clouds::aws(kms)?, clock),
        Service::Gcp(kms) => gcp::backend(common(gcp::KIND), clouds::gcp(kms)?, clock),
        Service::Azure(vault) => azure::backend(common(azure::KIND), clouds::azure(vault)?, clock),
        Service::Pkcs11(token) => pkcs11::backend(common(pkcs11::KIND), hsm(token), clock),
    };
    let backend = backend.map_err(|problem| format!("{}: {problem}", settings.id))?;
    let published = PublishedKey::new(backend.identity(), life);
    Ok((Arc::new(backend), published))
}

fn transit(settings: &Vault) -> vault::Settings {
    vault::Settings {
        url: settings.url.clone(),
        roots_pem: settings.roots.as_ref().map(|roots| roots.bytes.clone()),
        namespace: settings.namespace.clone(),
        mount: settings.mount.clone(),
        key: settings.key.clone(),
        key_version: settings.key_version,
        login: match &settings.login {
            VaultLogin::Token(token) => vault::Login::Token(credential(token)),
            VaultLogin::AppRole {
                mount,
                role_id,
                secret_id,
            } => vault::Login::AppRole {
                mount: mount.clone(),
                role_id: role_id.clone(),
                secret_id: credential(secret_id),
            },
        },
    }
}

fn hsm(settings: &Pkcs11) -> pkcs11::Settings {
    pkcs11::Settings {
        module: settings.module.clone(),
        token: pkcs11::TokenName {
            label: settings.token.clone(),
            serial: settings.serial.clone(),
        },
        pin: credential(&settings.pin),
        key_label: settings.key_label.clone(),
        key_id: settings.key_id.clone(),
        allow_extractable: settings.allow_extractable,
    }
}

fn keyful(settings: &FileKey) -> Result<(Arc<dyn SigningBackend>, PublishedKey), String> {
    let (id, algorithm, life) = (settings.id.clone(), settings.algorithm, settings.life);
    match &settings.key {
        KeyMaterial::Private { key, passphrase } => {
            let backend = FileBackend::new(file::Settings {
                id,
                key_pem: Zeroizing::new(key.expose().to_vec()),
                // Without the line break at its end, as OpenSSL's own tools read it from a file.
                passphrase: passphrase
                    .as_ref()
                    .map(|passphrase| Zeroizing::new(passphrase.expose_text().as_bytes().to_vec())),
                algorithm,
                deterministic: settings.deterministic,
                state: life.state,
                revoked_from: life.revoked_from,
            })?;
            let published = PublishedKey::new(backend.identity(), life);
            Ok((Arc::new(backend), published))
        }
        KeyMaterial::Public(public) => {
            let backend = PublicOnly::new(id, &public.bytes, algorithm, life)?;
            let published = PublishedKey::new(backend.identity(), life);
            Ok((Arc::new(backend), published))
        }
    }
}
