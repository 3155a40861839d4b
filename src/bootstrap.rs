//! Puts the parts together: the only module that sees every concrete type.

mod backends;
mod clouds;
mod parts;
pub mod probes;
pub mod reload;
mod tls;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use signer_actors::audit::AuditError;
use signer_actors::domain::audit::{AuditRecord, Outcome, OutcomeKind, SCHEMA_VERSION, ServiceEvent};
use signer_actors::domain::plan::PlanLimits;
use signer_actors::entitlement::EntitlementPolicy;
use signer_actors::keyring::KeyPolicy;
use signer_actors::pipeline::{Policy, Services};
use signer_actors::ports::{Clock, Observer, SystemClock};
use signer_actors::referrer::{CircuitPolicy, LookupRate, ReferrerPolicy};
use signer_actors::runtime::Deadline;
use signer_actors::system::{Placement, Tuning, start_controlled};
use signer_actors::timestamp;
use tokio::sync::watch;

use self::reload::Reloader;
use crate::bundle::trusted_root::{PublishedKeys, TrustedRoot};
use crate::config::{Binding, BodyHashPolicy, ClientAuth, Release, Settings, Standing};
use crate::http::budget::BodyBudget;
use crate::http::client_cert::TrustedProxies;
use crate::http::connection::Patience;
use crate::http::lifecycle::Lifecycle;
use crate::http::routes::PATTERNS;
use crate::http::server::{self, Listening, Running};
use crate::http::state::Routes;
use crate::http::{AppState, Limits};
use crate::telemetry::metrics::Metrics;

/// Requests that one actor holds, queued or running.
const MAILBOX_CAPACITY: usize = 4096;
/// When a timestamp authority that is of no use is left alone.
const TIMESTAMP_CIRCUIT: timestamp::CircuitPolicy = timestamp::CircuitPolicy {
    failures: 5,
    first: Duration::from_secs(1),
    longest: Duration::from_secs(30),
};
/// How long a start waits for the shared state.
const STATE_PATIENCE: Duration = Duration::from_secs(2);
/// Most header fields of a request, and their bytes.
const HEADER_FIELDS: usize = 64;
const HEADER_BYTES: usize = 32 * 1024;
/// Rate at which refusals of one tenant are recorded.
const REFUSALS: PlanLimits = PlanLimits {
    qps: 10,
    burst: 100,
    concurrency: u32::MAX,
    max_artifact_bytes: u64::MAX,
};
/// One in this many signatures of local ephemeral keys is verified before it leaves.
const VERIFY_SAMPLE: u8 = 64;

/// A running service.
#[derive(Debug)]
pub struct Service {
    /// What handlers share.
    pub state: AppState,
    /// The servers.
    pub servers: Vec<Running>,
    /// Where the service listens.
    pub listen: std::net::SocketAddr,
    /// Where operators look.
    pub metrics_listen: Option<std::net::SocketAddr>,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// Changes keys and trust while the service runs; taken by who listens for the signal.
    pub reloader: Option<Reloader>,
    arbiters: Arbiters,
}

/// State arbiters and the audit trail's, in the order in which they stop.
struct Arbiters {
    state: Arbiter,
    more_state: Vec<Arbiter>,
    audit: Arbiter,
}

impl Arbiters {
    fn new(shards: usize) -> Self {
        Self {
            state: Arbiter::new(),
            more_state: (1..shards).map(|_| Arbiter::new()).collect(),
            audit: Arbiter::new(),
        }
    }

    fn placement(&self) -> Placement {
        Placement {
            state: self.state.handle(),
            more_state: self.more_state.iter().map(Arbiter::handle).collect(),
            audit: self.audit.handle(),
        }
    }

    /// Those with state first, the audit trail's last.
    fn stop(self) {
        for arbiter in std::iter::once(self.state)
            .chain(self.more_state)
            .chain([self.audit])
        {
            arbiter.stop();
            // Its thread ends by itself; a panic in it has been logged.
            let _ = arbiter.join();
        }
    }
}

impl std::fmt::Debug for Arbiters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Arbiters")
    }
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct StartError {
    /// Which part.
    pub what: &'static str,
    /// Why, and what to do.
    pub why: String,
}

impl StartError {
    fn of(what: &'static str) -> impl FnOnce(String) -> Self {
        move |why| Self { what, why }
    }
}

/// Starts everything. Must run inside an actix system.
pub async fn start(settings: &Settings, log: slog::Logger) -> Result<Service, StartError> {
    start_at(settings, log, Arc::new(SystemClock::default())).await
}

/// The same by another clock: tests look at what a service does later.
pub async fn start_at(
    settings: &Settings,
    log: slog::Logger,
    clock: Arc<dyn Clock>,
) -> Result<Service, StartError> {
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
    let metrics = Arc::new(metrics.map_err(|error| StartError::of("metrics")(error.to_string()))?);
    let observer = Arc::clone(&metrics) as Arc<dyn Observer>;
    let built = parts::build(settings, observer, log.clone(), clock).await?;

    // Bound before anything is recorded: a port in use must not leave a trace of a start that never was.
    let api = bind("server.listen", settings.server.listen)?;
    let operations = settings
        .server
        .metrics_listen
        .map(|address| bind("server.metrics_listen", address))
        .transpose()?;
    let tls = settings
        .server
        .tls
        .as_ref()
        .map(tls::acceptor)
        .transpose()
        .map_err(StartError::of("server.tls"))?;

    let arbiters = Arbiters::new(settings.state.shards);
    let (services, controls) = start_controlled(built.parts, tuning(settings), &arbiters.placement());
    let documents = watch::Sender::new(built.documents);
    if let Some(shared) = &built.shared {
        arbiters.state.spawn(shared.keep(log.clone()));
        // Without it the service starts all the same, answers 503, and is not ready.
        let mut up = shared.up();
        let _ = tokio::time::timeout(STATE_PATIENCE, up.wait_for(|up| *up)).await;
    }
    let state = AppState {
        services,
        limits: limits(settings),
        bodies: BodyBudget::new(settings.server.max_body_bytes_in_flight),
        lifecycle: Lifecycle::default(),
        routes: Routes::new(&metrics, PATTERNS),
        metrics,
        algorithms: settings
            .auth
            .algorithms
            .iter()
            .flat_map(|a| a.names().iter().copied())
            .collect::<Vec<_>>()
            .join(" ")
            .into(),
        certificates: accepts_certificates(settings),
        body_hash_required: settings.auth.dpop.body_hash == BodyHashPolicy::Required,
        proxies: TrustedProxies::new(&settings.server.trusted_proxies),
        documents: documents.subscribe(),
    };
    close_orphans(&state, &built.orphans)
        .await
        .map_err(|error| StartError::of("audit")(error.to_string()))?;
    record(&state.services, "started", built.facts)
        .await
        .map_err(|error| StartError::of("audit")(error.to_string()))?;

    let reloader = Reloader {
        controls,
        services: state.services.clone(),
        metrics: Arc::clone(&state.metrics),
        documents,
        own_keys: built.own_keys,
        seen_keys: built.seen_keys,
        settings: settings.clone(),
        trust_unknown: false,
    };
    if let Some(changes) = built.licence {
        actix::spawn(record_licence_files(state.services.clone(), changes));
    }
    let listen = api
        .local_addr()
        .map_err(|error| StartError::of("server.listen")(error.to_string()))?;
    let metrics_listen = operations
        .as_ref()
        .and_then(|listener| listener.local_addr().ok());
    let workers = settings.server.workers.unwrap_or_else(cores);
    let listening = Listening {
        api,
        tls,
        workers,
        max_connections: settings.server.max_connections,
        remembered_tokens: share(settings.auth.remembered_tokens, workers),
        patience: Patience {
            head: settings.server.head_timeout,
            idle: settings.server.keep_alive,
        },
        operations,
        shutdown_seconds: settings.server.drain_timeout.as_secs().max(1),
    };
    let servers = server::start(state.clone(), listening)
        .map_err(|error| StartError::of("server")(error.to_string()))?;
    slog::info!(log, "serving"; "listen" => %listen, "version" => env!("CARGO_PKG_VERSION"));
    let drain_timeout = settings.server.drain_timeout;
    Ok(Service {
        state,
        servers,
        listen,
        metrics_listen,
        drain_timeout,
        reloader: Some(reloader),
        arbiters,
    })
}

/// What verifiers need of a configuration: the documents of `GET /trust` and `GET /trust/keys`. Asks nobody.
///
/// # Errors
/// Which backend is unusable, and why.
pub fn trust_documents(settings: &Settings) -> Result<(TrustedRoot, PublishedKeys), String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let timestamps = parts::timestamps(settings, &clock).map_err(|error| error.to_string())?;
    let named = settings.timestamp.as_ref().zip(timestamps.as_ref());
    let named = named.map(|(configured, source)| (configured.url.as_str(), source));
    let built = backends::build(&settings.signing.backends, named, &clock)?;
    let unreadable = |error: serde_json::Error| error.to_string();
    let root = serde_json::from_slice(&built.documents.trusted_root).map_err(unreadable)?;
    let keys = serde_json::from_slice(&built.documents.published_keys).map_err(unreadable)?;
    Ok((root, keys))
}

fn bind(what: &'static str, address: std::net::SocketAddr) -> Result<std::net::TcpListener, StartError> {
    server::bind(address).map_err(|error| StartError {
        what,
        why: format!("cannot listen on {address}: {error}"),
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Whether a token that is bound to a client certificate alone can be accepted at all.
fn accepts_certificates(settings: &Settings) -> bool {
    let server = &settings.server;
    let by_tls = server
        .tls
        .as_ref()
        .is_some_and(|tls| tls.client_auth != ClientAuth::Off);
    by_tls || !server.trusted_proxies.is_empty()
}

/// One worker's share, at least one; `None` of nothing.
fn share(all: usize, workers: usize) -> Option<NonZeroUsize> {
    NonZeroUsize::new(all).map(|_| NonZeroUsize::new(all / workers.max(1)).unwrap_or(NonZeroUsize::MIN))
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        max_body_bytes: settings.server.max_body_bytes,
        body_timeout: settings.server.body_timeout,
        request_timeout: settings.server.request_timeout,
        max_header_fields: HEADER_FIELDS,
        max_header_bytes: HEADER_BYTES,
    }
}

fn tuning(settings: &Settings) -> Tuning {
    let keys = KeyPolicy {
        refresh_after: settings.auth.jwks_refresh,
        hard_limit: settings.auth.jwks_max_stale,
        // Or a key set would be refreshed less often than configured.
        cool_down: KeyPolicy::default().cool_down.min(settings.auth.jwks_refresh),
        ..KeyPolicy::default()
    };
    let (release, entitlement) = (&settings.release, &settings.entitlement);
    Tuning {
        policy: Policy {
            stamp: settings.signing.stamp,
            predicate_types: settings.signing.predicate_types.clone(),
            predicate_checks: settings.signing.predicate_checks,
            scanner_binding_required: release.binding == Binding::Required,
            verify_limits: PlanLimits {
                qps: release.verify_qps,
                burst: release.verify_burst,
                concurrency: u32::MAX,
                max_artifact_bytes: u64::MAX,
            },
            refusal_limits: REFUSALS,
            audit_patience: settings.audit.timeout,
            keys_refresh_after: keys.refresh_after,
            verify_sample: VERIFY_SAMPLE,
        },
        defaults: reload::defaults(settings),
        keys,
        entitlement: EntitlementPolicy {
            positive_ttl: entitlement.positive_ttl,
            negative_ttl: entitlement.negative_ttl,
            grace: match entitlement.standing {
                Standing::Online { .. } => entitlement.grace,
                // A licence file counts until it expires, and not an instant longer.
                Standing::Offline { .. } => Duration::ZERO,
            },
            capacity: capacity(entitlement.cache_capacity),
            keys,
        },
        referrer: referrer_policy(release),
        timestamp: timestamp::TimestampPolicy {
            concurrency: settings
                .timestamp
                .as_ref()
                .map_or(1, |timestamp| timestamp.concurrency),
            circuit: TIMESTAMP_CIRCUIT,
        },
        replay_capacity: settings.auth.dpop.replay_capacity,
        audit_linger: settings.audit.linger,
        stranger_qps: settings.audit.unauthenticated_qps,
        stranger_burst: settings.audit.unauthenticated_burst,
        verifications: 2 * cores(),
        mailbox_capacity: MAILBOX_CAPACITY,
    }
}

fn capacity(entries: usize) -> NonZeroUsize {
    NonZeroUsize::new(entries).unwrap_or(NonZeroUsize::MIN)
}

fn referrer_policy(release: &Release) -> ReferrerPolicy {
    let asking = &release.asking;
    ReferrerPolicy {
        positive_ttl: release.cache_ttl,
        negative_ttl: release.negative_ttl,
        capacity: capacity(release.cache_capacity),
        concurrency: asking.concurrency,
        queue: asking.turn_timeout,
        circuit: CircuitPolicy {
            failures: asking.circuit_failures,
            first: asking.circuit_pause,
            longest: asking.circuit_longest_pause,
        },
        lookups: LookupRate {
            qps: asking.lookup_qps,
            burst: asking.lookup_burst,
        },
    }
}

/// Intents that an earlier process did not live to close (contract §8).
async fn close_orphans(
    state: &AppState,
    orphans: &[signer_actors::domain::ids::AuditId],
) -> Result<(), AuditError> {
    for audit_id in orphans {
        let outcome = AuditRecord::Outcome(Box::new(Outcome {
            schema: SCHEMA_VERSION,
            audit_id: *audit_id,
            time: state.services.clock.now(),
            outcome: OutcomeKind::Unknown,
            signature_digest: None,
            code: None,
            duration_micros: 0,
        }));
        state
            .services
            .record(outcome, Deadline::after(Duration::from_secs(10)))
            .await?;
    }
    if !orphans.is_empty() {
        slog::warn!(state.services.log, "intents of an earlier process were closed as unknown"; "count" => orphans.len());
    }
    Ok(())
}

async fn record(services: &Services, what: &str, facts: BTreeMap<String, String>) -> Result<(), AuditError> {
    let event = ServiceEvent {
        schema: SCHEMA_VERSION,
        time: services.clock.now(),
        what: what.to_owned(),
        facts,
    };
    let record = AuditRecord::Service(Box::new(event));
    services
        .record(record, Deadline::after(Duration::from_secs(10)))
        .await
}

/// Changes of trust are recorded (contract §8): another licence file, or none. Ends with who looks after the file.
async fn record_licence_files(services: Services, mut changes: parts::LicenceChanges) {
    while changes.changed().await.is_ok() {
        let facts = parts::licence_facts(changes.borrow_and_update().as_deref());
        if record(&services, "licence-file", facts).await.is_err() {
            slog::error!(
                services.log,
                "the change of the licence file could not be recorded in the audit trail"
            );
        }
    }
}

impl Service {
    /// Pieces of work in progress.
    pub fn in_flight(&self) -> usize {
        self.state.lifecycle.in_flight()
    }

    /// The last of a drain: actors with state first, the audit trail last.
    pub async fn stop_actors(self, deadline: Deadline) {
        let left_out = self.state.services.strangers.take_left_out();
        let facts = (left_out > 0).then(|| ("leftOut".to_owned(), left_out.to_string()));
        if record(&self.state.services, "stopped", facts.into_iter().collect())
            .await
            .is_err()
        {
            slog::error!(
                self.state.services.log,
                "the stop could not be recorded in the audit trail"
            );
        }
        // Nothing is left to write when this fails: the record before it waited for its sync.
        let _ = self.state.services.flush(deadline).await;
        drop(self.state);
        self.arbiters.stop();
    }
}
