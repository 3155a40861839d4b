//! Drain: readiness off → stop accepting → work in progress ends, or the drain timeout does → stop workers → flush the
//! audit trail.

use std::time::Duration;

use signer_actors::runtime::Deadline;
use tokio::signal::unix::{SignalKind, signal};

use crate::bootstrap::Service;

/// How often the count of work in progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why the service ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM or SIGINT.
    Signal,
    /// An actor is beyond saving: the process exits with an error, to be started anew.
    Fatal(&'static str),
}

/// Resolves when the service has to end. On the way, each SIGHUP runs `reload`, one at a time: unhandled, it would end the
/// process at once. A service that has to end does not wait for one.
pub async fn wait(service: &Service, mut reload: impl AsyncFnMut()) -> std::io::Result<Cause> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let end = async {
        tokio::select! {
            _ = terminate.recv() => Cause::Signal,
            _ = interrupt.recv() => Cause::Signal,
            actor = service.state.services.watchdog.fatal() => Cause::Fatal(actor),
        }
    };
    let reloads = async {
        // Those that come meanwhile count as one.
        while hangup.recv().await.is_some() {
            reload().await;
        }
        std::future::pending().await
    };
    tokio::select! {
        cause = end => Ok(cause),
        cause = reloads => Ok(cause),
    }
}

/// Drains and stops. Returns how many pieces of work were still in progress when the drain timeout ended.
pub async fn drain(service: Service, timeout: Duration) -> usize {
    let log = service.state.services.log.clone();
    slog::info!(log, "draining"; "inFlight" => service.in_flight());
    service.state.lifecycle.drain();
    for server in &service.servers {
        server.pause().await;
    }
    let ends = tokio::time::Instant::now() + timeout;
    while service.in_flight() > 0 && tokio::time::Instant::now() < ends {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let left = service.in_flight();
    for server in &service.servers {
        server.stop(left == 0).await;
    }
    service.stop_actors(Deadline::after(Duration::from_secs(5))).await;
    slog::info!(log, "stopped"; "abandoned" => left);
    left
}
