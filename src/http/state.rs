//! What handlers share. Nothing in it changes but through mailboxes and watches.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use signer_actors::pipeline::Services;

use super::lifecycle::Lifecycle;
use crate::telemetry::metrics::Metrics;

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
    /// Readiness, drain and work in progress.
    pub lifecycle: Lifecycle,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Algorithms that challenges name, as in `algs` (RFC 9449 §7.1).
    pub algorithms: Arc<str>,
    /// `GET /trust`: certificate authorities as a Sigstore trusted root.
    pub trusted_root: Arc<RawValue>,
}
