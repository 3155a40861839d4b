//! Licensing: proofs of entitlement and their introspection.
//!
//! [`poe`] verifies a proof of entitlement (PoE) locally; [`introspection`] asks Licensing whether it still holds and
//! narrows it; [`offline`] does the same by a signed [licence file](licence). The order, caches and grace are the
//! EntitlementActor's.

mod clock_guard;
mod high_water;
pub mod introspection;
pub mod licence;
mod narrowing;
pub mod offline;
pub mod poe;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use signer_actors::domain::entitlement::Entitlement;
use signer_actors::domain::jws::JwsAlgorithm;
use signer_actors::ports::{Introspection, LicensingSource, PoeVerifier, PortFuture, SourceUnavailable};
use url::Url;
use zeroize::Zeroizing;

use self::introspection::Introspector;
use self::poe::{LicensePoeVerifier, policy};
use crate::adapters::jose::fetch::{self, Http};
use crate::adapters::jose::jwks::KeySet;
use crate::adapters::jose::jwt::Policy;
use crate::adapters::jose::source::{KeySource, KeysLocation, OwnKeys, fetch_key_set};

/// The service's bearer credential at Licensing: never printed, wiped when dropped.
#[derive(Clone)]
pub struct Credential(Zeroizing<String>);

impl Credential {
    /// A bearer token (RFC 6750 §2.1): visible ASCII. `None` for anything else, or nothing.
    pub fn new(token: &str) -> Option<Self> {
        let visible = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        visible.then(|| Self(Zeroizing::new(token.to_owned())))
    }

    fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(redacted)")
    }
}

/// What the service is told about Licensing.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `iss` of every PoE, compared byte by byte.
    pub issuer: String,
    /// What `aud` must contain: `signer`.
    pub audience: String,
    /// Accepted algorithms.
    pub algorithms: Vec<JwsAlgorithm>,
    /// Where its keys are.
    pub keys: KeysLocation,
    /// SubjectPublicKeyInfo, DER, of this service's signing keys: none of them may be Licensing's (contract §7).
    pub own_keys: OwnKeys,
    /// Where to introspect: https, or http to loopback. `None`: not at all (offline mode).
    pub introspection: Option<IntrospectionSettings>,
    /// PEM of the only roots to trust for Licensing's TLS; `None`: the system's.
    pub roots: Option<Vec<u8>>,
    /// Longest duration of one exchange with Licensing.
    pub timeout: Duration,
    /// Accepted difference of clocks; at most 30 s counts.
    pub clock_skew: Duration,
}

/// The introspection endpoint.
#[derive(Clone, Debug)]
pub struct IntrospectionSettings {
    /// Its URL.
    pub url: Url,
    /// What the service authenticates with.
    pub credential: Credential,
}

/// Licensing, as the core asks it.
#[derive(Debug)]
pub struct Licensing {
    http: Http,
    keys: KeySource,
    policy: Arc<Policy>,
    introspector: Option<Introspector>,
}

impl Licensing {
    /// Checks the settings and makes the HTTP client; asks nobody yet.
    pub fn new(settings: &Settings) -> Result<Self, SourceUnavailable> {
        let http = Http::new(settings.roots.as_deref(), settings.timeout)?;
        let introspector = settings
            .introspection
            .clone()
            .map(|introspection| Introspector::new(http.clone(), introspection))
            .transpose()?;
        Ok(Self {
            http,
            keys: KeySource {
                issuer: settings.issuer.clone(),
                location: settings.keys.clone(),
                own_keys: settings.own_keys.clone(),
            },
            policy: Arc::new(policy(settings)),
            introspector,
        })
    }

    /// Fetches the key set; one that holds a signing key of this service is refused.
    pub async fn fetch_key_set(&self) -> Result<KeySet, SourceUnavailable> {
        fetch_key_set(&self.http, &self.keys).await
    }
}

impl LicensingSource for Licensing {
    fn fetch_keys(&self) -> PortFuture<Result<Arc<dyn PoeVerifier>, SourceUnavailable>> {
        let (http, source) = (self.http.clone(), self.keys.clone());
        let policy = Arc::clone(&self.policy);
        Box::pin(async move {
            let keys = fetch_key_set(&http, &source).await?;
            Ok(Arc::new(LicensePoeVerifier::new(policy, keys)) as Arc<dyn PoeVerifier>)
        })
    }

    fn introspect(
        &self,
        poe: Arc<str>,
        facts: Entitlement,
    ) -> PortFuture<Result<Introspection, SourceUnavailable>> {
        let introspector = self.introspector.clone();
        Box::pin(async move {
            match introspector {
                Some(introspector) => introspector.ask(&poe, facts).await,
                None => Err(fetch::unavailable("no introspection endpoint is configured")),
            }
        })
    }
}

#[cfg(test)]
mod tests;
