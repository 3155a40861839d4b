//! What gates answered this worker a moment ago.

use super::services::Services;
use crate::runtime::{Own, Standing};
use crate::snapshots::{Entitlements, Kind, Releases, Snapshots};

/// A worker's own memory; none where nothing is repeated.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// Facts of proofs of entitlement.
    pub entitlements: Option<Own<Snapshots<Entitlements>>>,
    /// Trusted releases.
    pub releases: Option<Own<Snapshots<Releases>>>,
}

/// The answer, while it stands. Whatever keeps the worker's memory from answering costs a question and nothing else.
pub(super) fn recall<K: Kind>(
    recent: Option<&Own<Snapshots<K>>>,
    key: &K::Key,
    services: &Services,
) -> Option<K::Answer> {
    let now = services.clock.monotonic();
    recent?.ask(|recent| recent.recall(key, now))?
}

/// Keeps an answer that may be repeated.
pub(super) fn keep<K: Kind>(
    recent: Option<&Own<Snapshots<K>>>,
    key: K::Key,
    answer: &K::Answer,
    standing: Standing,
    services: &Services,
) {
    if let Some(recent) = recent.filter(|_| standing.stands(services.clock.monotonic())) {
        // Not heard, it is asked for once more.
        let _ = recent.ask(|recent| recent.remember(key, answer.clone(), standing));
    }
}
