//! What handlers share. Nothing in it changes but through mailboxes and watches.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use signer_actors::pipeline::Services;
use tokio::sync::watch;

use super::budget::BodyBudget;
use super::client_cert::TrustedProxies;
use super::lifecycle::Lifecycle;
use crate::bundle::verify::Trust;
use crate::telemetry::metrics::{InFlight, Metrics, RouteMetrics};

/// Bounds of HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take, its body aside.
    pub request_timeout: Duration,
    /// Most header fields.
    pub max_header_fields: usize,
    /// Largest header section, names and values, in bytes.
    pub max_header_bytes: usize,
}

/// Shared by all handlers of a worker.
#[derive(Clone, Debug)]
pub struct AppState {
    /// The core.
    pub services: Services,
    /// Bounds.
    pub limits: Limits,
    /// Bytes of bodies held at once, over all workers.
    pub bodies: BodyBudget,
    /// Readiness, drain and work in progress.
    pub lifecycle: Lifecycle,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Algorithms that challenges name, as in `algs` (RFC 9449 §7.1).
    pub algorithms: Arc<str>,
    /// Whether client certificates can reach the service, so that challenges name `Bearer`, too (RFC 9449 §7.2).
    pub certificates: bool,
    /// Metrics of each route.
    pub routes: Routes,
    /// Whether proofs must name the body (`auth.dpop.body_hash = "required"`).
    pub body_hash_required: bool,
    /// Who may say which certificate a client has shown (`server.trusted_proxies`).
    pub proxies: TrustedProxies,
    /// What verifiers are told, as of now.
    pub documents: watch::Receiver<Documents>,
}

/// What verifiers are told.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// `GET /trust`: certificate authorities as a Sigstore TrustedRoot, in JSON.
    pub trusted_root: Bytes,
    /// `GET /trust/keys`: keyful public keys, in JSON.
    pub published_keys: Bytes,
    /// Both, for `POST /verify/dsse`.
    pub trust: Arc<Trust>,
}

impl AppState {
    /// The state for the worker that calls this, which remembers this many verified tokens.
    pub fn on_worker(&self, remembered_tokens: Option<NonZeroUsize>) -> Self {
        Self {
            services: self.services.on_worker(remembered_tokens),
            ..self.clone()
        }
    }
}

/// Metrics of each route, resolved once; requests to anything else are counted together.
#[derive(Clone, Debug)]
pub struct Routes(Arc<[RouteMetrics]>, RouteMetrics);

impl Routes {
    /// For these patterns.
    pub fn new(metrics: &Metrics, patterns: &[&'static str]) -> Self {
        let known = patterns.iter().map(|pattern| metrics.route(pattern)).collect();
        Self(known, metrics.route("other"))
    }

    /// The metrics of a matched pattern.
    pub fn of(&self, pattern: Option<&str>) -> &RouteMetrics {
        let known = pattern.and_then(|pattern| self.0.iter().find(|route| route.name() == pattern));
        known.unwrap_or(&self.1)
    }

    /// Counts a request as being worked on until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        self.1.enter()
    }
}
