//! Liveness, readiness, metrics.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use signer_actors::domain::signing::{KeyState, SigningMode};
use signer_actors::runtime::{Deadline, Mailbox};

use crate::http::problem::Outcome;
use crate::http::state::AppState;
use crate::telemetry::metrics::CONTENT_TYPE;

#[derive(Serialize)]
struct Status {
    status: &'static str,
}

#[derive(Serialize)]
struct Detail {
    status: &'static str,
    checks: BTreeMap<String, &'static str>,
}

/// How one dependency is doing.
struct Check {
    good: bool,
    /// Whether the replica is of no use without it.
    needed: bool,
    bad: &'static str,
}

impl Check {
    fn said(&self) -> &'static str {
        if self.good { "ok" } else { self.bad }
    }
}

/// The process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Status { status: "ok" })
}

/// Whether requests can be served; why not is told to operators only.
pub async fn ready(state: Data<AppState>) -> HttpResponse {
    respond(checks(&state).await, |status, _| Status { status })
}

/// The same with reasons, on the listener for operators.
pub async fn ready_in_detail(state: Data<AppState>) -> HttpResponse {
    respond(checks(&state).await, |status, checks| Detail { status, checks })
}

fn respond<T: Serialize>(
    checks: BTreeMap<String, Check>,
    body: impl FnOnce(&'static str, BTreeMap<String, &'static str>) -> T,
) -> HttpResponse {
    let told = checks.iter().map(|(name, check)| (name.clone(), check.said()));
    let told = told.collect();
    if checks.values().all(|check| check.good || !check.needed) {
        HttpResponse::Ok().json(body("ready", told))
    } else {
        let mut response = HttpResponse::ServiceUnavailable().json(body("not ready", told));
        response.extensions_mut().insert(Outcome {
            code: "not_ready",
            audit_id: None,
        });
        response
    }
}

async fn checks(state: &AppState) -> BTreeMap<String, Check> {
    let services = &state.services;
    let say = |good: bool, bad: &'static str| Check {
        good,
        needed: true,
        bad,
    };
    let mut checks = BTreeMap::new();
    checks.insert(
        "lifecycle".to_owned(),
        say(!state.lifecycle.is_draining(), "draining"),
    );
    checks.insert(
        "audit".to_owned(),
        if services.audit_stalls() {
            say(false, "the trail takes too long to write")
        } else {
            say(*services.audit_healthy.borrow(), "the trail cannot be written")
        },
    );
    if let Some(up) = &services.shared_up {
        checks.insert(
            "state".to_owned(),
            say(*up.borrow(), "the shared state is not available"),
        );
    }
    // Asking also fetches the keys when there are none yet.
    let keys = services
        .auth
        .first()
        .ask(signer_actors::auth::KeysFor { missing: None }, soon())
        .await;
    checks.insert(
        "authority".to_owned(),
        say(matches!(keys, Ok(Ok(_))), "no usable keys of the Authority"),
    );
    // Told, and no reason to be taken out: known images are served, and other replicas ask the same registries.
    for repository in services.repository_health.borrow().iter() {
        let check = Check {
            good: !repository.open,
            needed: false,
            bad: "circuit open: it has not answered for a while",
        };
        checks.insert(format!("repository:{}", repository.name), check);
    }
    // Told, and no reason to be taken out: other replicas ask the same authority, and requests may do without it.
    if let Some(timestamps) = &services.timestamps {
        let check = Check {
            good: timestamps.health.borrow().refused_until.is_none(),
            needed: false,
            bad: "circuit open: it has been of no use for a while",
        };
        checks.insert("timestamp".to_owned(), check);
    }
    let signers = services.signers();
    for backend in &signers.backends {
        let now = services.clock.now();
        let open = backend
            .open
            .borrow()
            .as_ref()
            .is_some_and(|key| key.lives_for(std::time::Duration::ZERO, now));
        // A key that the default mode does not need may be closed without making the replica useless.
        // One that signs no more never opens.
        let in_use = backend.info.mode == signers.defaults.mode || backend.info.mode == SigningMode::Kms;
        let needed = in_use && backend.info.state == KeyState::Active;
        checks.insert(
            format!("signer:{}", backend.info.id),
            say(open || !needed, "no open key"),
        );
    }
    checks
}

fn soon() -> Deadline {
    Deadline::after(std::time::Duration::from_secs(2))
}

/// Prometheus text.
pub async fn metrics(state: Data<AppState>) -> HttpResponse {
    let services = &state.services;
    services.auth.iter().for_each(Mailbox::observe);
    services.entitlement.iter().for_each(Mailbox::observe);
    services.quota.iter().for_each(Mailbox::observe);
    services.idempotency.observe();
    services.referrer.observe();
    services
        .signers()
        .backends
        .iter()
        .for_each(|backend| backend.mailbox.observe());
    services
        .timestamps
        .iter()
        .for_each(|timestamps| timestamps.mailbox.observe());
    services.verifying.observe();
    services.audit.observe();
    HttpResponse::Ok()
        .content_type(CONTENT_TYPE)
        .body(state.metrics.render())
}
