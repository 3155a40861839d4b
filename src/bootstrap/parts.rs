//! Maps the configuration to the settings of each adapter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::ids::AuditId;
use signer_actors::ports::{
    Clock, IdempotencyStore, LicensingSource, Observer, SourceUnavailable, StoreEpoch, SystemIds,
    TimestampSource,
};
use signer_actors::system::{Parts, SharedState};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{StartError, backends};
use crate::adapters::audit_files::publisher::Trail;
use crate::adapters::audit_files::{self, FileAuditLog};
use crate::adapters::authority::dpop::{DpopSettings, DpopVerifier, NonceMode};
use crate::adapters::authority::{self, AuthorityKeys};
use crate::adapters::idempotency::{self, EmbeddedKeys};
use crate::adapters::jose::source::{KeysLocation, OwnKeys};
use crate::adapters::licensing::licence::LicenceFile;
use crate::adapters::licensing::offline::{LicenceSettings, OfflineLicensing, Surroundings};
use crate::adapters::licensing::{self, Credential, IntrospectionSettings, Licensing};
use crate::adapters::redis::{self, RedisState};
use crate::adapters::registry::{self, RegistryReleases};
use crate::adapters::timestamp::{self, HttpTimestamps};
use crate::config::{self, LicensingKeys, NoncePolicy, Settings, Standing};
use crate::http::state::Documents;
use crate::tlog::NoteSigner;

/// How much longer than a request may take an attempt has its idempotency key to itself.
const CLAIM_MARGIN: Duration = Duration::from_secs(10);

/// The parts, and what only the start needs of them.
pub(super) struct Built {
    pub(super) parts: Parts,
    pub(super) documents: Documents,
    pub(super) own_keys: watch::Sender<Arc<[Vec<u8>]>>,
    pub(super) seen_keys: OwnKeys,
    pub(super) orphans: Vec<AuditId>,
    pub(super) facts: BTreeMap<String, String>,
    /// The state that replicas share, to be kept connected.
    pub(super) shared: Option<RedisState>,
    pub(super) licence: Option<LicenceChanges>,
}

/// The licence file in use, now and whenever it changes.
pub(super) type LicenceChanges = watch::Receiver<Option<Arc<LicenceFile>>>;

pub(super) async fn build(
    settings: &Settings,
    observer: Arc<dyn Observer>,
    log: slog::Logger,
    clock: Arc<dyn Clock>,
) -> Result<Built, StartError> {
    let unavailable = |what| move |error: SourceUnavailable| StartError::of(what)(error.to_string());
    let timestamps = timestamps(settings, &clock)?;
    let named = settings.timestamp.as_ref().zip(timestamps.as_ref());
    let named = named.map(|(configured, source)| (configured.url.as_str(), source));
    let backends = backends::build(&settings.signing.backends, named, &clock)
        .map_err(StartError::of("signing.backends"))?;
    let own_keys = watch::Sender::new(own_keys(settings));
    let own = OwnKeys::published(own_keys.subscribe());
    let seen_keys = own.clone();
    let authority =
        AuthorityKeys::new(&authority_settings(settings, own.clone())).map_err(unavailable("auth"))?;
    let epoch = StoreEpoch::default();
    let shared = shared_state(settings, epoch.clone(), Arc::clone(&observer))?;
    let proofs = DpopVerifier::new(&dpop_settings(settings, epoch))
        .map_err(|error| StartError::of("auth.dpop")(error.to_string()))?;
    let releases = RegistryReleases::new(&registry_settings(&settings.release)?, Arc::clone(&clock))
        .map_err(StartError::of("release"))?;
    let (audit, trail, checkpoint_key) = open_trail(settings, &observer, &log)?;
    let orphans = audit.orphans();
    let surroundings = Surroundings {
        clock: Arc::clone(&clock),
        observer: Arc::clone(&observer),
        log: log.clone(),
    };
    let (licensing, licence) = licensing_source(settings, own, audit.newest_record(), surroundings).await?;
    let idempotency = idempotency_keys(settings, shared.as_ref(), &clock, &observer, &log)?;
    let mut facts = facts(settings, &backends.documents);
    facts.insert("checkpointKey".to_owned(), checkpoint_key);
    if let Some(licence) = &licence {
        facts.extend(licence_facts(licence.borrow().as_deref()));
    }
    Ok(Built {
        parts: Parts {
            authority: Arc::new(authority),
            proofs: Arc::new(proofs),
            licensing,
            releases: Arc::new(releases),
            backends: backends.all,
            timestamps: timestamps.map(|source| Arc::new(source) as Arc<dyn TimestampSource>),
            audit: Box::new(audit),
            trail: Arc::new(trail),
            audit_origin: settings.audit.origin.as_str().into(),
            idempotency,
            shared: shared.as_ref().map(|state| SharedState {
                replay: Arc::new(state.clone()),
                quota: Arc::new(state.clone()),
                up: state.up(),
            }),
            clock,
            ids: Arc::new(SystemIds),
            observer,
            log,
        },
        documents: backends.documents,
        own_keys,
        seen_keys,
        orphans,
        facts,
        shared,
        licence,
    })
}

/// The timestamp authority, if there is one; it is not asked yet.
pub(super) fn timestamps(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<Option<HttpTimestamps>, StartError> {
    let Some(configured) = &settings.timestamp else {
        return Ok(None);
    };
    let adapter = timestamp::Settings {
        url: configured.url.clone(),
        chain_pem: configured.chain.bytes.clone(),
        tls_roots_pem: configured.tls_roots.as_ref().map(|file| file.bytes.clone()),
        timeout: configured.timeout,
    };
    let source = HttpTimestamps::new(&adapter, Arc::clone(clock));
    source.map(Some).map_err(StartError::of("timestamp"))
}

/// The trail, what of it is shown, and the verifier key of its checkpoints.
fn open_trail(
    settings: &Settings,
    observer: &Arc<dyn Observer>,
    log: &slog::Logger,
) -> Result<(FileAuditLog, Trail, String), StartError> {
    let audit = &settings.audit;
    let signer = NoteSigner::new(&audit.origin, audit.checkpoint_key.clone());
    let signer = signer.map_err(StartError::of("audit.checkpoint_key"))?;
    let vkey = signer.verifier().to_string();
    let files = audit_files::Settings {
        directory: audit.directory.clone(),
        segment_bytes: audit_files::Settings::SEGMENT_BYTES,
        keep_bytes: audit_files::Settings::KEEP_BYTES,
        interval: audit.checkpoint_interval,
        held: audit.held_checkpoint.as_ref().map(|file| file.bytes.clone()),
    };
    let (audit, trail) = FileAuditLog::open(&files, signer, Arc::clone(observer), log.clone())
        .map_err(|error| StartError::of("audit")(error.to_string()))?;
    Ok((audit, trail, vkey))
}

/// Licensing online or by file. After the trail has been opened: its newest record says how late it is at least.
async fn licensing_source(
    settings: &Settings,
    own: OwnKeys,
    last_record: Option<DateTime<Utc>>,
    surroundings: Surroundings,
) -> Result<(Arc<dyn LicensingSource>, Option<LicenceChanges>), StartError> {
    let unusable = |error: SourceUnavailable| StartError::of("entitlement")(error.to_string());
    let adapter = licensing_settings(settings, own)?;
    let Some(licence) = licence_settings(settings, last_record) else {
        return Ok((Arc::new(Licensing::new(&adapter).map_err(unusable)?), None));
    };
    let offline = OfflineLicensing::open(&adapter, &licence, surroundings).await;
    let offline = offline.map_err(unusable)?;
    let changes = offline.changes();
    Ok((Arc::new(offline), Some(changes)))
}

/// `None` in mode online.
pub(super) fn licence_settings(
    settings: &Settings,
    last_record: Option<DateTime<Utc>>,
) -> Option<LicenceSettings> {
    match &settings.entitlement.standing {
        Standing::Online { .. } => None,
        Standing::Offline { licence_file } => Some(LicenceSettings {
            file: licence_file.clone(),
            state_directory: settings.state.directory.clone(),
            last_record,
        }),
    }
}

/// What the audit trail says of the licence file in use.
pub(super) fn licence_facts(file: Option<&LicenceFile>) -> BTreeMap<String, String> {
    let Some(file) = file else {
        return BTreeMap::from([("licenceFileVersion".to_owned(), "none".to_owned())]);
    };
    BTreeMap::from([
        ("licenceFileVersion".to_owned(), file.version.to_string()),
        ("licenceFileDigest".to_owned(), file.digest.to_hex()),
        ("licenceFileExpires".to_owned(), file.expires.to_rfc3339()),
    ])
}

/// The store that replicas share, not connected yet; `None` where one replica keeps its state to itself.
pub(super) fn shared_state(
    settings: &Settings,
    epoch: StoreEpoch,
    observer: Arc<dyn Observer>,
) -> Result<Option<RedisState>, StartError> {
    let Some(store) = &settings.state.shared else {
        return Ok(None);
    };
    let password = store.password.as_ref();
    let adapter = redis::Settings {
        host: store.host.clone(),
        port: store.port,
        tls: store.tls,
        roots: store.roots.as_ref().map(|file| file.bytes.clone()),
        database: store.database,
        username: store.username.clone(),
        password: password.map(|secret| Zeroizing::new(secret.expose_text().to_owned())),
        prefix: store.prefix.clone(),
        timeout: store.timeout,
        lease_life: store.lease_ttl,
        answer_ttl: settings.state.idempotency_ttl,
        answer_capacity: settings.state.idempotency_capacity,
        claim_life: settings.server.request_timeout.saturating_add(CLAIM_MARGIN),
    };
    let state = RedisState::new(adapter, epoch, observer).map_err(StartError::of("state"))?;
    Ok(Some(state))
}

/// Where idempotency keys are kept: with what else replicas share, or in a file of this one.
fn idempotency_keys(
    settings: &Settings,
    shared: Option<&RedisState>,
    clock: &Arc<dyn Clock>,
    observer: &Arc<dyn Observer>,
    log: &slog::Logger,
) -> Result<Arc<dyn IdempotencyStore>, StartError> {
    if let Some(shared) = shared {
        return Ok(Arc::new(shared.clone()));
    }
    let adapter = idempotency::Settings {
        directory: settings.state.directory.clone(),
        ttl: settings.state.idempotency_ttl,
        capacity: settings.state.idempotency_capacity,
    };
    let keys = EmbeddedKeys::open(adapter, Arc::clone(clock), Arc::clone(observer), log.clone());
    Ok(Arc::new(keys.map_err(StartError::of("state.directory"))?))
}

/// What the audit trail says of a start: version, and what was trusted.
pub(super) fn facts(settings: &Settings, documents: &Documents) -> BTreeMap<String, String> {
    let digest = |bytes: &[u8]| Sha256Digest::of(bytes).to_hex();
    let release = &settings.release;
    let signers = release.signers.iter().map(|signer| &signer.key);
    let release_keys: Vec<u8> = release
        .keys
        .iter()
        .chain(signers)
        .flat_map(|key| key.bytes.clone())
        .collect();
    // Who is believed about the time of a release's signature.
    let ct_logs = release.ct_logs.iter().map(|log| &log.key);
    let logs = release.logs.iter().map(|log| &log.key).chain(ct_logs);
    let witnesses: Vec<u8> = release
        .timestamp_roots
        .iter()
        .chain(logs)
        .flat_map(|file| file.bytes.clone())
        .collect();
    BTreeMap::from([
        ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (
            "backends".to_owned(),
            settings
                .signing
                .backends
                .iter()
                .map(|b| b.id().as_str())
                .collect::<Vec<_>>()
                .join(" "),
        ),
        ("trustedRootDigest".to_owned(), digest(&documents.trusted_root)),
        (
            "publishedKeysDigest".to_owned(),
            digest(&documents.published_keys),
        ),
        ("releaseTrustDigest".to_owned(), release_trust(release)),
        ("releaseKeysDigest".to_owned(), digest(&release_keys)),
        ("releaseWitnessesDigest".to_owned(), digest(&witnesses)),
    ])
}

/// Another one whenever images are judged by anything else. For comparing records of one version of the service.
fn release_trust(release: &config::Release) -> String {
    let all = format!(
        "{:?}",
        (
            (
                &release.keys,
                &release.signers,
                &release.identities,
                &release.roots
            ),
            (&release.threshold, &release.revoked, &release.revoked_keys),
            (&release.timestamp_roots, &release.logs, &release.require),
            &release.tag_annotation,
        )
    );
    Sha256Digest::of(all.as_bytes()).to_hex()
}

/// Public keys of every keyful backend, active or not.
pub(super) fn own_keys(settings: &Settings) -> Arc<[Vec<u8>]> {
    let key = |backend: &config::Backend| backend.public_key_der().map(<[u8]>::to_vec);
    settings.signing.backends.iter().filter_map(key).collect()
}

pub(super) fn authority_settings(settings: &Settings, own_keys: OwnKeys) -> authority::Settings {
    let auth = &settings.auth;
    authority::Settings {
        issuer: auth.issuer.clone(),
        audience: auth.audience.clone(),
        keys: match &auth.keys {
            config::AuthorityKeys::Discovery => KeysLocation::Discovery,
            config::AuthorityKeys::Uri(url) => KeysLocation::Uri(url.clone()),
            config::AuthorityKeys::File(file) => KeysLocation::File(file.path.clone()),
        },
        own_keys,
        token_types: auth.token_types.clone(),
        algorithms: auth.algorithms.clone(),
        max_token_lifetime: auth.max_token_lifetime,
        clock_skew: auth.clock_skew,
        roots: None,
        timeout: auth.timeout,
    }
}

fn dpop_settings(settings: &Settings, epoch: StoreEpoch) -> DpopSettings {
    let nonce_key = settings.auth.dpop.nonce_key.as_ref();
    DpopSettings {
        public_origin: settings.server.public_origin.clone(),
        algorithms: settings.auth.algorithms.clone(),
        nonce: match settings.auth.dpop.nonce {
            NoncePolicy::Off => NonceMode::Off,
            NoncePolicy::Optional => NonceMode::Optional,
            NoncePolicy::Required => NonceMode::Required,
        },
        // A hash, so that any text may be the key, and a file's last line break is no part of it.
        nonce_key: nonce_key
            .map(|secret| Zeroizing::new(Sha256Digest::of(secret.expose_text().trim().as_bytes()).0)),
        epoch,
    }
}

pub(super) fn licensing_settings(
    settings: &Settings,
    own_keys: OwnKeys,
) -> Result<licensing::Settings, StartError> {
    let entitlement = &settings.entitlement;
    let unusable = || StartError::of("entitlement.credential")("it is not a bearer token".to_owned());
    Ok(licensing::Settings {
        issuer: entitlement.issuer.clone(),
        audience: settings.auth.audience.clone(),
        algorithms: settings.auth.algorithms.clone(),
        keys: match &entitlement.keys {
            LicensingKeys::Uri(url) => KeysLocation::Uri(url.clone()),
            LicensingKeys::File(file) => KeysLocation::File(file.path.clone()),
        },
        own_keys,
        introspection: match &entitlement.standing {
            Standing::Offline { .. } => None,
            Standing::Online {
                introspection_url,
                credential,
            } => Some(IntrospectionSettings {
                url: introspection_url.clone(),
                credential: Credential::new(credential.expose_text()).ok_or_else(unusable)?,
            }),
        },
        roots: None,
        timeout: entitlement.timeout,
        clock_skew: settings.auth.clock_skew,
    })
}

pub(super) fn registry_settings(release: &config::Release) -> Result<registry::Settings, StartError> {
    let repositories = release
        .repositories
        .iter()
        .map(|name| registry::Repository::parse(name));
    let repositories = repositories
        .collect::<Result<_, _>>()
        .map_err(StartError::of("release.repositories"))?;
    let identities = release.identities.iter();
    let (signers, logs) = (release.signers.iter(), release.logs.iter());
    let ct_logs = release.ct_logs.iter();
    let credentials = release.credentials.iter();
    Ok(registry::Settings {
        keys: release.keys.iter().map(|key| key.bytes.clone()).collect(),
        identities: identities
            .map(|identity| registry::Identity {
                issuer: identity.issuer.clone(),
                subject: identity.subject.clone(),
                roots: identity.roots.as_ref().map(|file| file.bytes.clone()),
                life: life(identity.life),
                require: identity.require.iter().map(requirement).collect(),
            })
            .collect(),
        signers: signers
            .map(|signer| registry::SignerKey {
                pem: signer.key.bytes.clone(),
                life: life(signer.life),
                require: signer.require.iter().map(requirement).collect(),
            })
            .collect(),
        roots: release.roots.as_ref().map(|file| file.bytes.clone()),
        revoked_keys: release.revoked_keys.clone(),
        timestamp_roots: release.timestamp_roots.as_ref().map(|file| file.bytes.clone()),
        logs: logs
            .map(|log| registry::TransparencyLog {
                key: log.key.bytes.clone(),
                origin: log.origin.clone(),
                life: life(log.life),
            })
            .collect(),
        ct_logs: ct_logs
            .map(|log| registry::CertificateLog {
                key: log.key.bytes.clone(),
                life: life(log.life),
            })
            .collect(),
        require: release.require.iter().map(requirement).collect(),
        threshold: release.threshold,
        tag_annotation: release.tag_annotation.clone(),
        revoked: release.revoked.clone(),
        timeout: release.timeout,
        call_timeout: release.asking.call_timeout,
        plain_http: release.plain_http.clone(),
        private_networks: release.private_networks.iter().map(private_network).collect(),
        trusted_hosts: release.extra_hosts.clone(),
        credentials: credentials
            .map(|credential| registry::Credentials {
                host: host_and_name(&credential.scope).0.to_owned(),
                name: host_and_name(&credential.scope).1.map(str::to_owned),
                username: credential.username.clone(),
                password: Zeroizing::new(credential.password.expose_text().to_owned()),
            })
            .collect(),
        tls_roots: release.tls_roots.as_ref().map(|file| file.bytes.clone()),
        ..registry::Settings::new(repositories)
    })
}

fn life(configured: config::ReleaseLife) -> registry::Life {
    registry::Life {
        not_before: configured.not_before,
        not_after: configured.not_after,
    }
}

fn requirement(configured: &config::ReleaseWitness) -> registry::Requirement {
    match configured {
        config::ReleaseWitness::Timestamp => registry::Requirement::Timestamp,
        config::ReleaseWitness::Log => registry::Requirement::Log,
        config::ReleaseWitness::Inclusion => registry::Requirement::Inclusion,
    }
}

fn host_and_name(scope: &config::CredentialScope) -> (&str, Option<&str>) {
    match scope {
        config::CredentialScope::Host(host) => (host, None),
        config::CredentialScope::Repository(repository) => {
            let (host, name) = repository.split_once('/').unwrap_or((repository, ""));
            (host, Some(name))
        }
    }
}

fn private_network(configured: &config::PrivateNetwork) -> registry::PrivateNetwork {
    match configured {
        config::PrivateNetwork::Host(host) => registry::PrivateNetwork::Host(host.clone()),
        config::PrivateNetwork::Range(range) => registry::PrivateNetwork::Network(*range),
    }
}
