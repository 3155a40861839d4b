//! What the service counts, as Prometheus reads it. Never labelled by tenant, subject or anything a caller chooses.
//!
//! Every metric is described in `docs/reference/metrics.md`; a test keeps that page complete.

mod observer;

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// `Content-Type` of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Label values that exist from the start, so that a rate is never computed from a series that appears with its first
/// event, and so that the hot path resolves no labels.
const STAGES: [&str; 11] = [
    "authenticate",
    "entitlement",
    "idempotency",
    "idempotency_begin",
    "idempotency_keep",
    "quota",
    "release",
    "audit_intent",
    "sign",
    "timestamp",
    "audit_outcome",
];
const THROTTLES: [&str; 5] = ["rate", "concurrency", "size", "lookup", "overload"];
const CACHES: [&str; 4] = ["token", "entitlement", "release", "key_set"];
const STRANGERS: [&str; 2] = ["recorded", "left_out"];
const CLIENT_CERT: [&str; 3] = ["accepted", "ignored", "malformed"];
const ACTORS: [&str; 9] = [
    "auth",
    "entitlement",
    "idempotency",
    "quota",
    "referrer",
    "signer",
    "timestamp",
    "places",
    "audit",
];
const TIMESTAMPS: [&str; 3] = ["granted", "unavailable", "unusable"];
const IDEMPOTENCY: [&str; 11] = [
    "taken",
    "retried",
    "replayed",
    "void",
    "conflict",
    "in_flight",
    "full",
    "unavailable",
    "stored",
    "unkept",
    "taken_over",
];
const RELOADS: [&str; 3] = ["applied", "unchanged", "refused"];
/// Those that live with each worker, whose mailboxes nobody watches: at worst, a token is verified anew.
const WORKERS_OWN: [&str; 3] = ["tokens", "snapshots", "audit_desk"];

const REQUEST_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const STAGE_BUCKETS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5,
    1.0, 5.0,
];
const BACKEND_BUCKETS: &[f64] = &[
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0,
];
const SYNC_BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0,
];

const REGISTRY_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const BATCH_BUCKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
const STATE_BUCKETS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// All metrics of one service. No singletons: tests run side by side.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    in_flight: IntGauge,
    stages: Known<Histogram, 11>,
    stage_seconds: HistogramVec,
    throttles: Known<IntCounter, 5>,
    throttled: IntCounterVec,
    hits: Known<IntCounter, 4>,
    misses: Known<IntCounter, 4>,
    cache_requests: IntCounterVec,
    client_cert: Known<IntCounter, 3>,
    backend_seconds: HistogramVec,
    backend_errors: IntCounterVec,
    certificate_expiry: IntGaugeVec,
    key_set_fetched: IntGaugeVec,
    licence_version: IntGauge,
    licence_expiry: IntGauge,
    licence_refusals: IntCounter,
    in_use: Known<IntGauge, 9>,
    mailbox_in_use: IntGaugeVec,
    capacities: Known<IntGauge, 9>,
    mailbox_capacity: IntGaugeVec,
    actor_panics: IntCounterVec,
    audit_records: IntCounter,
    audit_sync: Histogram,
    audit_synced_at: IntGauge,
    audit_failures: IntCounter,
    audit_checkpoint_size: IntGauge,
    audit_checkpoint_at: IntGauge,
    audit_publish: Histogram,
    audit_publish_failures: IntCounter,
    strangers: Known<IntCounter, 2>,
    clock_steps_back: IntCounter,
    release_lookups: IntCounterVec,
    release_seconds: HistogramVec,
    release_refreshes: IntCounterVec,
    release_circuit: IntGaugeVec,
    release_opened: IntCounterVec,
    timestamps: Known<IntCounter, 3>,
    timestamp_seconds: Histogram,
    timestamp_circuit: IntGauge,
    state_seconds: HistogramVec,
    state_errors: IntCounterVec,
    state_up: IntGaugeVec,
    leases: IntGauge,
    leases_broken: IntCounterVec,
    batch_items: Histogram,
    batch_results: IntCounterVec,
    idempotency: Known<IntCounter, 11>,
    idempotency_seconds: HistogramVec,
    idempotency_errors: IntCounterVec,
    idempotency_up: IntGaugeVec,
    idempotency_entries: IntGaugeVec,
    reloads: Known<IntCounter, 3>,
    reloaded_at: IntGauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// Children of a family whose label values are known, resolved once.
struct Known<T, const N: usize>([(&'static str, T); N]);

impl<T, const N: usize> Known<T, N> {
    fn new(values: [&'static str; N], resolve: impl Fn(&str) -> T) -> Self {
        Self(values.map(|value| (value, resolve(value))))
    }

    fn get(&self, value: &str) -> Option<&T> {
        self.0
            .iter()
            .find(|(known, _)| *known == value)
            .map(|(_, child)| child)
    }
}

impl Metrics {
    /// Registers every metric. `version` is the service's.
    ///
    /// # Errors
    /// Only if two metrics had the same name, which a test rules out.
    pub fn new(version: &str) -> Result<Self, prometheus::Error> {
        let make = Maker(Registry::new());
        let build = make.gauges(
            "signer_build_info",
            "Constant 1, labelled by the running version.",
            &["version"],
        )?;
        build.with_label_values(&[version]).set(1);
        let (stage_seconds, throttled) = (
            make.histograms(
                "signer_stage_seconds",
                "Time in one stage of a request.",
                &["stage"],
                STAGE_BUCKETS,
            )?,
            make.counters(
                "signer_throttled_total",
                "Requests refused for want of capacity or quota.",
                &["kind"],
            )?,
        );
        let cache_requests = make.counters(
            "signer_cache_requests_total",
            "Questions to a cache.",
            &["cache", "result"],
        )?;
        let mailbox_in_use = make.gauges(
            "signer_mailbox_in_use",
            "Requests that an actor holds, queued or running.",
            &["actor"],
        )?;
        let mailbox_capacity = make.gauges(
            "signer_mailbox_capacity",
            "Requests that an actor may hold.",
            &["actor"],
        )?;
        let client_cert = make.counters(
            "signer_client_cert_fields_total",
            "Authenticated routes' requests with a Client-Cert field.",
            &["result"],
        )?;
        let timestamps = make.counters(
            "signer_timestamps_total",
            "Answers of the timestamp authority.",
            &["outcome"],
        )?;
        let reloads = make.counters(
            "signer_reloads_total",
            "Readings of the configuration by a running service.",
            &["result"],
        )?;
        let idempotency = make.counters(
            "signer_idempotency_total",
            "Requests with an idempotency key, and what became of them.",
            &["outcome"],
        )?;
        let strangers = make.counters(
            "signer_audit_unauthenticated_refusals_total",
            "Refusals of callers who did not prove who they are, by what the audit trail has of them.",
            &["result"],
        )?;
        let actor_panics = make.counters(
            "signer_actor_panics_total",
            "Panics in handlers of an actor.",
            &["actor"],
        )?;
        for actor in ACTORS.into_iter().chain(WORKERS_OWN) {
            let _ = actor_panics.with_label_values(&[actor]);
        }
        Ok(Self {
            requests: make.counters(
                "signer_http_requests_total",
                "Requests answered.",
                &["route", "code", "status"],
            )?,
            request_seconds: make.histograms(
                "signer_request_seconds",
                "Time from a request's headers to its answer.",
                &["route"],
                REQUEST_BUCKETS,
            )?,
            in_flight: make.gauge("signer_http_in_flight", "Requests being worked on.")?,
            stages: Known::new(STAGES, |stage| stage_seconds.with_label_values(&[stage])),
            stage_seconds,
            throttles: Known::new(THROTTLES, |kind| throttled.with_label_values(&[kind])),
            throttled,
            hits: Known::new(CACHES, |cache| cache_requests.with_label_values(&[cache, "hit"])),
            misses: Known::new(CACHES, |cache| cache_requests.with_label_values(&[cache, "miss"])),
            cache_requests,
            client_cert: Known::new(CLIENT_CERT, |result| client_cert.with_label_values(&[result])),
            backend_seconds: make.histograms(
                "signer_backend_seconds",
                "Time a signing backend took, failures included.",
                &["backend", "operation"],
                BACKEND_BUCKETS,
            )?,
            backend_errors: make.counters(
                "signer_backend_errors_total",
                "Failures of a signing backend.",
                &["backend", "operation"],
            )?,
            certificate_expiry: make.gauges(
                "signer_signing_certificate_expiry_timestamp_seconds",
                "When the open key of a backend ends; absent for keys without an end.",
                &["backend"],
            )?,
            key_set_fetched: make.gauges(
                "signer_key_set_fetched_timestamp_seconds",
                "When a key set was last fetched.",
                &["set"],
            )?,
            licence_version: make.gauge(
                "signer_licence_file_version",
                "Version of the licence file in use; 0 without one.",
            )?,
            licence_expiry: make.gauge(
                "signer_licence_file_expiry_timestamp_seconds",
                "When the licence file in use expires; 0 without one.",
            )?,
            licence_refusals: make.counter(
                "signer_licence_file_refusals_total",
                "Licence files refused, or in use and no longer good.",
            )?,
            in_use: Known::new(ACTORS, |actor| mailbox_in_use.with_label_values(&[actor])),
            mailbox_in_use,
            capacities: Known::new(ACTORS, |actor| mailbox_capacity.with_label_values(&[actor])),
            mailbox_capacity,
            actor_panics,
            audit_records: make.counter("signer_audit_records_total", "Audit records made durable.")?,
            audit_sync: make.histogram(
                "signer_audit_sync_seconds",
                "Time to make a group of audit records durable.",
                SYNC_BUCKETS,
            )?,
            audit_synced_at: make.gauge(
                "signer_audit_last_sync_timestamp_seconds",
                "When audit records were last made durable; 0 before the first.",
            )?,
            audit_checkpoint_size: make.gauge(
                "signer_audit_checkpoint_records",
                "Audit records that the newest signed checkpoint covers.",
            )?,
            audit_checkpoint_at: make.gauge(
                "signer_audit_checkpoint_timestamp_seconds",
                "When the newest checkpoint of the audit trail was signed; 0 before the first of this process.",
            )?,
            audit_publish: make.histogram(
                "signer_audit_publish_seconds",
                "Time to publish new audit records under a signed checkpoint.",
                SYNC_BUCKETS,
            )?,
            audit_publish_failures: make.counter(
                "signer_audit_publish_failures_total",
                "Failures to publish the audit trail; its records are durable all the same.",
            )?,
            audit_failures: make.counter(
                "signer_audit_failures_total",
                "Failures to write the audit trail.",
            )?,
            strangers: Known::new(STRANGERS, |result| strangers.with_label_values(&[result])),
            clock_steps_back: make.counter(
                "signer_clock_steps_back_total",
                "Times that the wall clock was seen to have gone back by more than a second.",
            )?,
            timestamps: Known::new(TIMESTAMPS, |outcome| timestamps.with_label_values(&[outcome])),
            timestamp_seconds: make.histogram(
                "signer_timestamp_seconds",
                "Time until the timestamp authority answered, failures included.",
                REGISTRY_BUCKETS,
            )?,
            timestamp_circuit: make.gauge(
                "signer_timestamp_circuit_open",
                "1 while the timestamp authority is left alone because it has been of no use for a while.",
            )?,
            release_lookups: make.counters(
                "signer_release_lookups_total",
                "Answers of a configured repository about scanner images.",
                &["repository", "outcome"],
            )?,
            release_seconds: make.histograms(
                "signer_release_lookup_seconds",
                "Time until a configured repository answered, failures included.",
                &["repository"],
                REGISTRY_BUCKETS,
            )?,
            release_refreshes: make.counters(
                "signer_release_refreshes_total",
                "Verdicts looked up anew before their time was over.",
                &["result"],
            )?,
            release_circuit: make.gauges(
                "signer_release_circuit_open",
                "1 while a configured repository is left alone because it has not answered for a while.",
                &["repository"],
            )?,
            release_opened: make.counters(
                "signer_release_circuit_opened_total",
                "Times that a configured repository began to be left alone.",
                &["repository"],
            )?,
            state_seconds: make.histograms(
                "signer_state_seconds",
                "Time that a call of the shared state took, failures included.",
                &["operation"],
                STATE_BUCKETS,
            )?,
            state_errors: make.counters(
                "signer_state_errors_total",
                "Calls of the shared state without a usable answer.",
                &["operation", "kind"],
            )?,
            state_up: make.gauges(
                "signer_state_up",
                "1 while the shared state can be asked; absent where nothing is shared.",
                &["store"],
            )?,
            leases: make.gauge(
                "signer_state_leases",
                "Units of concurrency that this replica holds in the shared state.",
            )?,
            leases_broken: make.counters(
                "signer_state_leases_broken_total",
                "Units of concurrency that ended while their work was running.",
                &["why"],
            )?,
            batch_items: make.histogram("signer_batch_items", "Items of a batch.", BATCH_BUCKETS)?,
            batch_results: make.counters(
                "signer_batch_item_results_total",
                "What items of batches were answered with: ok, or the code of their problem.",
                &["code"],
            )?,
            idempotency: Known::new(IDEMPOTENCY, |outcome| idempotency.with_label_values(&[outcome])),
            idempotency_seconds: make.histograms(
                "signer_idempotency_store_seconds",
                "Time that a call of the store of idempotency keys took, failures included.",
                &["operation"],
                STATE_BUCKETS,
            )?,
            idempotency_errors: make.counters(
                "signer_idempotency_store_errors_total",
                "Calls of the store of idempotency keys without an answer.",
                &["operation"],
            )?,
            idempotency_up: make.gauges(
                "signer_idempotency_store_up",
                "1 while the embedded store of idempotency keys can be used; absent where it is shared.",
                &["store"],
            )?,
            idempotency_entries: make.gauges(
                "signer_idempotency_store_entries",
                "Keys in the embedded store of idempotency keys; absent where it is shared.",
                &["store"],
            )?,
            reloads: Known::new(RELOADS, |result| reloads.with_label_values(&[result])),
            reloaded_at: make.gauge(
                "signer_reload_timestamp_seconds",
                "When the configuration was last read again without an error; 0 before.",
            )?,
            registry: make.0,
        })
    }

    /// Counts a reload of the configuration.
    pub fn reloaded(&self, result: Reload, now: DateTime<Utc>) {
        let name = match result {
            Reload::Applied => "applied",
            Reload::Unchanged => "unchanged",
            Reload::Refused => "refused",
        };
        if let Some(counter) = self.reloads.get(name) {
            counter.inc();
        }
        if result != Reload::Refused {
            self.reloaded_at.set(now.timestamp());
        }
    }

    /// The metrics of one route, resolved once: keep it where the route is served.
    pub fn route(&self, route: &'static str) -> RouteMetrics {
        RouteMetrics {
            route,
            ok: self.requests.with_label_values(&[route, "ok", "200"]),
            requests: self.requests.clone(),
            seconds: self.request_seconds.with_label_values(&[route]),
            in_flight: self.in_flight.clone(),
        }
    }

    /// Counts a request that has a `Client-Cert` field.
    pub fn client_cert(&self, result: ClientCert) {
        let result = match result {
            ClientCert::Accepted => "accepted",
            ClientCert::Ignored => "ignored",
            ClientCert::Malformed => "malformed",
        };
        if let Some(counter) = self.client_cert.get(result) {
            counter.inc();
        }
    }

    /// Time spent in a stage by all requests so far.
    pub fn stage_total(&self, stage: &str) -> Duration {
        let seconds = self.stages.get(stage).map_or(0.0, Histogram::get_sample_sum);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }

    /// The metrics in Prometheus' text format ([`CONTENT_TYPE`]).
    pub fn render(&self) -> String {
        let mut text = String::new();
        // A family without a series is left out; nothing else can fail when writing to a string.
        let _ = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        text
    }
}

/// What came of reading the configuration again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// Keys or the trust in releases were changed.
    Applied,
    /// They are as they were.
    Unchanged,
    /// There is an error, and nothing was changed.
    Refused,
}

/// What became of a `Client-Cert` field (RFC 9440).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCert {
    /// A trusted proxy sent it, and it counts.
    Accepted,
    /// Somebody else sent it.
    Ignored,
    /// A trusted proxy sent it, and it is not as it must be.
    Malformed,
}

/// Counts the requests of one route.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    route: &'static str,
    ok: IntCounter,
    requests: IntCounterVec,
    seconds: Histogram,
    in_flight: IntGauge,
}

impl RouteMetrics {
    /// The route as metrics name it.
    pub fn name(&self) -> &'static str {
        self.route
    }

    /// Counts a request as being worked on until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts an answer. `code` is the contract's, or `ok`.
    pub fn answered(&self, code: &'static str, status: u16, elapsed: Duration) {
        if (code, status) == ("ok", 200) {
            self.ok.inc();
        } else {
            self.requests
                .with_label_values(&[self.route, code, &status.to_string()])
                .inc();
        }
        self.seconds.observe(elapsed.as_secs_f64());
    }
}

/// A request being worked on.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Makes metrics and registers them.
struct Maker(Registry);

impl Maker {
    fn add<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(name, help)?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, prometheus::Error> {
        self.add(Histogram::with_opts(
            HistogramOpts::new(name, help).buckets(buckets.to_vec()),
        )?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        self.add(HistogramVec::new(
            HistogramOpts::new(name, help).buckets(buckets.to_vec()),
            labels,
        )?)
    }
}

#[cfg(test)]
mod tests;
