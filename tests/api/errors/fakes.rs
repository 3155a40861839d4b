//! The real HTTP layer and the real actors on fake ports: the only way to make a port panic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::Arbiter;
use chrono::{DateTime, Utc};
use signer::http::Limits;
use signer::http::connection::Patience;
use signer::http::lifecycle::Lifecycle;
use signer::http::server::{self, Listening};
use signer::http::state::{AppState, Routes};
use signer::telemetry::metrics::Metrics;
use signer_actors::domain::caller::{AccessToken, Credentials, VerifiedProof};
use signer_actors::ports::{ProofRejection, ProofVerifier};
use signer_actors::system::{Placement, start_actors};
use signer_actors::testing::{FakeProofs, Fakes, tuning};

/// Panics on its first proof, and accepts all others.
#[derive(Debug, Default)]
struct Brittle {
    inner: FakeProofs,
    broken: AtomicBool,
}

impl ProofVerifier for Brittle {
    fn verify(
        &self,
        credentials: &Credentials,
        token: &AccessToken,
        now: DateTime<Utc>,
    ) -> Result<VerifiedProof, ProofRejection> {
        assert!(self.broken.swap(true, Ordering::SeqCst), "told to panic");
        self.inner.verify(credentials, token, now)
    }

    fn uses_nonces(&self) -> bool {
        self.inner.uses_nonces()
    }

    fn nonce(&self, now: DateTime<Utc>) -> Option<String> {
        self.inner.nonce(now)
    }

    fn window_seconds(&self) -> i64 {
        self.inner.window_seconds()
    }
}

/// Serves a service whose first request panics; answers the origin.
pub(super) fn brittle() -> String {
    let mut parts = Fakes::default().parts();
    parts.proofs = Arc::new(Brittle::default());
    let metrics = Arc::new(Metrics::new("test").unwrap());
    let (state, audit) = (Arbiter::new(), Arbiter::new());
    let placement = Placement {
        state: state.handle(),
        more_state: Vec::new(),
        audit: audit.handle(),
    };
    let state = AppState {
        services: start_actors(parts, tuning(), &placement),
        limits: Limits {
            max_body_bytes: 1 << 20,
            body_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            max_header_fields: 64,
            max_header_bytes: 32 * 1024,
        },
        lifecycle: Lifecycle::default(),
        routes: Routes::new(&metrics, signer::http::routes::PATTERNS),
        metrics,
        algorithms: "ES256 ES384".into(),
        certificates: false,
        body_hash_required: false,
        proxies: Default::default(),
        bodies: signer::http::budget::BodyBudget::new(8 << 20),
        documents: tokio::sync::watch::Sender::default().subscribe(),
    };
    let api = server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let base = format!("http://{}", api.local_addr().unwrap());
    let listening = Listening {
        api,
        tls: None,
        workers: 1,
        max_connections: 16,
        remembered_tokens: None,
        patience: Patience {
            head: Duration::from_secs(5),
            idle: Duration::from_secs(5),
        },
        operations: None,
        shutdown_seconds: 1,
    };
    server::start(state, listening).unwrap();
    base
}
