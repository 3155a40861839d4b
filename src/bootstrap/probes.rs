//! Asks every dependency once, with the very adapters that the service uses: for `signer check`.

use std::sync::Arc;

use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::ReleaseReport;
use signer_actors::domain::signing::Signature;
use signer_actors::ports::{
    Clock, Ids, ReleaseError, ReleaseSource, StoreEpoch, SystemClock, SystemIds, TimestampSource, Unobserved,
};

use super::{backends, parts};
use crate::adapters::authority::AuthorityKeys;
use crate::adapters::idempotency::{self, Inspected};
use crate::adapters::jose::source::OwnKeys;
use crate::adapters::licensing::Licensing;
use crate::adapters::licensing::offline::{Surroundings, inspect};
use crate::adapters::registry::{RegistryReleases, Seen};
use crate::config::Settings;

/// What one dependency answered: its name, and what was found or why it is not usable.
pub type Answer = (String, Result<String, String>);

/// The Authority's and Licensing's key sets.
pub async fn key_sets(settings: &Settings) -> Vec<Answer> {
    let authority = async {
        let source = AuthorityKeys::new(&parts::authority_settings(settings, own_keys(settings)))
            .map_err(|e| e.to_string())?;
        source.fetch_key_set().await.map_err(|error| error.to_string())
    };
    let licensing = async {
        let source =
            parts::licensing_settings(settings, own_keys(settings)).map_err(|error| error.to_string())?;
        let source = Licensing::new(&source).map_err(|error| error.to_string())?;
        source.fetch_key_set().await.map_err(|error| error.to_string())
    };
    let usable = |count: usize| format!("{count} usable keys");
    vec![
        (
            "Authority key set".to_owned(),
            authority.await.map(|keys| usable(keys.keys().count())),
        ),
        (
            "Licensing key set".to_owned(),
            licensing.await.map(|keys| usable(keys.keys().count())),
        ),
    ]
}

/// The state that replicas share, if any: connects as the service does.
pub async fn shared_state(settings: &Settings) -> Vec<Answer> {
    let found = match parts::shared_state(settings, StoreEpoch::default(), Arc::new(Unobserved)) {
        Ok(None) => return Vec::new(),
        Ok(Some(state)) => state.probe().await,
        Err(error) => Err(error.to_string()),
    };
    vec![("shared state".to_owned(), found)]
}

/// The file of idempotency keys, unless they are shared. Nothing is written.
pub fn idempotency_keys(settings: &Settings) -> Option<Result<Inspected, String>> {
    let alone = settings.state.shared.is_none();
    alone.then(|| idempotency::inspect(&settings.state.directory))
}

/// The licence file, as the service would take it; `None` in mode online. Nothing is written.
pub async fn licence_file(settings: &Settings) -> Option<Answer> {
    let licence = parts::licence_settings(settings, None)?;
    let inspect = async {
        let adapter =
            parts::licensing_settings(settings, own_keys(settings)).map_err(|error| error.to_string())?;
        let surroundings = Surroundings {
            clock: Arc::new(SystemClock::default()),
            observer: Arc::new(Unobserved),
            log: slog::Logger::root(slog::Discard, slog::o!()),
        };
        let inspected = inspect(&adapter, &licence, surroundings).await;
        let file = inspected.map_err(|error| error.to_string())?;
        Ok(format!(
            "version {}, expires {}, {} licences, {} of them revoked",
            file.version,
            file.expires.to_rfc3339(),
            file.licences(),
            file.revoked()
        ))
    };
    Some(("licence file".to_owned(), inspect.await))
}

/// What one configured repository answered.
#[derive(Debug)]
pub struct RepositoryAnswer {
    /// `host/name`.
    pub name: Arc<str>,
    /// Its host is this machine.
    pub loopback: bool,
    /// Credentials are configured for it.
    pub has_credentials: bool,
    /// What it is able to do.
    pub seen: Result<Seen, ReleaseError>,
    /// What it says of the image that was asked about.
    pub image: Option<Result<ReleaseReport, ReleaseError>>,
}

/// Asks every repository, as the service does, what it is able to do, and about an image.
///
/// # Errors
/// The release gate cannot be set up.
pub async fn repositories(
    settings: &Settings,
    image: Option<ImageDigest>,
) -> Result<Vec<RepositoryAnswer>, String> {
    let adapter = parts::registry_settings(&settings.release).map_err(|error| error.to_string())?;
    let releases = RegistryReleases::new(&adapter, Arc::new(SystemClock::default()))?;
    let mut answers = Vec::new();
    for name in releases.repositories() {
        let host = name.split_once('/').map_or("", |(host, _)| host);
        let mut credentials = settings.release.credentials.iter();
        answers.push(RepositoryAnswer {
            loopback: host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]"),
            has_credentials: credentials.any(|credential| credential.scope.covers(&name)),
            seen: releases.probe(&name, image).await,
            image: match image {
                Some(image) => Some(releases.look_up(image, Arc::clone(&name)).await),
                None => None,
            },
            name,
        });
    }
    Ok(answers)
}

/// Obtains a timestamp over random bytes, if there is an authority.
pub async fn timestamp(settings: &Settings) -> Option<Answer> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let stamp = async {
        let source = parts::timestamps(settings, &clock).map_err(|error| error.to_string())?;
        let Some(source) = source else {
            return Ok(None);
        };
        let nothing = Signature(SystemIds.uuid().as_bytes().to_vec());
        let timestamp = source.stamp(nothing).await.map_err(|error| error.to_string())?;
        Ok(Some(format!(
            "gives timestamps that verify; its time is {}",
            timestamp.time
        )))
    };
    let answer = stamp.await.transpose()?;
    Some(("timestamp authority".to_owned(), answer))
}

/// Opens each active key, which tests it: a file key signs and verifies, Fulcio issues a certificate.
pub async fn signing_keys(settings: &Settings) -> Vec<Answer> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let built = match backends::build(&settings.signing.backends, None, &clock) {
        Ok(built) => built,
        Err(error) => return vec![("signing backends".to_owned(), Err(error))],
    };
    let mut answers = Vec::new();
    for (backend, configured) in built.all.iter().zip(&settings.signing.backends) {
        if !configured.is_active() {
            continue;
        }
        let found = backend.open().await.map(|key| {
            let until = key
                .identity()
                .not_after
                .map_or("no end".to_owned(), |end| format!("until {end}"));
            format!("opens and signs, {}, {until}", key.identity().algorithm)
        });
        answers.push((
            format!("signing key {}", configured.id()),
            found.map_err(|error| error.to_string()),
        ));
    }
    answers
}

fn own_keys(settings: &Settings) -> OwnKeys {
    OwnKeys::fixed(parts::own_keys(settings))
}
