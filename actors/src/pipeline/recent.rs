//! What gates answered this worker a moment ago.

use super::context::Context;
use super::services::Services;
use crate::runtime::{Mailbox, Standing};
use crate::snapshots::{Entitlements, Kind, Recall, Releases, Remember, Snapshots};

/// A worker's own actors; none where nothing is repeated.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// Facts of proofs of entitlement.
    pub entitlements: Option<Mailbox<Snapshots<Entitlements>>>,
    /// Trusted releases.
    pub releases: Option<Mailbox<Snapshots<Releases>>>,
}

/// The answer, while it stands. Whatever keeps the worker's memory from answering costs a question and nothing else.
pub(super) async fn recall<K: Kind>(
    recent: Option<&Mailbox<Snapshots<K>>>,
    key: K::Key,
    services: &Services,
    context: &Context,
) -> Option<K::Answer> {
    let now = services.clock.monotonic();
    let answer = recent?.ask(Recall { key, now }, context.deadline).await;
    answer.ok().flatten()
}

/// Keeps an answer that may be repeated.
pub(super) async fn keep<K: Kind>(
    recent: Option<&Mailbox<Snapshots<K>>>,
    key: K::Key,
    answer: &K::Answer,
    standing: Standing,
    services: &Services,
    context: &Context,
) {
    let Some(recent) = recent.filter(|_| standing.stands(services.clock.monotonic())) else {
        return;
    };
    let answer = answer.clone();
    // Not heard, it is asked for once more.
    let _ = recent
        .ask(
            Remember {
                key,
                answer,
                standing,
            },
            context.deadline,
        )
        .await;
}
