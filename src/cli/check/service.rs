//! Probes that use the service's own adapters: key sets are fetched and parsed, signing keys opened and tested.

use std::sync::Arc;

use super::finding::{Finding, Probe, probe};
use crate::adapters::idempotency::Inspected;
use crate::bootstrap::probes::{
    Answer, idempotency_keys, key_sets, licence_file, shared_state, signing_keys, timestamp,
};
use crate::config::Settings;

pub(super) fn probes(settings: &Settings) -> Vec<Box<dyn Probe>> {
    let settings = Arc::new(settings.clone());
    let (for_keys, for_state) = (Arc::clone(&settings), Arc::clone(&settings));
    let for_timestamps = Arc::clone(&settings);
    vec![
        probe(move || {
            let settings = Arc::clone(&for_timestamps);
            async move {
                findings(
                    timestamp(&settings).await.into_iter().collect(),
                    "see docs/runbooks/timestamp-error.md",
                )
            }
        }),
        probe(move || {
            let settings = Arc::clone(&for_state);
            async move {
                findings(
                    shared_state(&settings).await,
                    "see docs/runbooks/state-unavailable.md",
                )
            }
        }),
        probe(move || {
            let settings = Arc::clone(&settings);
            async move {
                findings(
                    key_sets(&settings).await,
                    "compare issuer and key location with that service's own",
                )
            }
        }),
        probe(move || {
            let settings = Arc::clone(&for_keys);
            async move {
                findings(
                    signing_keys(&settings).await,
                    "see docs/runbooks/signing-backend-unavailable.md",
                )
            }
        }),
    ]
}

/// Needs no network, so it is looked at with `--offline`, too.
pub(super) fn licence_probe(settings: &Settings) -> Box<dyn Probe> {
    let settings = Arc::new(settings.clone());
    probe(move || {
        let settings = Arc::clone(&settings);
        async move {
            let answer = licence_file(&settings).await;
            findings(
                answer.into_iter().collect(),
                "see docs/runbooks/entitlement-unavailable.md",
            )
        }
    })
}

/// Of this machine alone, too.
pub(super) fn idempotency_probe(settings: &Settings) -> Box<dyn Probe> {
    let settings = Arc::new(settings.clone());
    probe(move || {
        let settings = Arc::clone(&settings);
        async move {
            let what = "idempotency keys";
            let finding = |found| match found {
                Ok(Inspected::Absent(path)) => {
                    Finding::ok(what, format!("{} is made by the first start", path.display()))
                }
                Ok(Inspected::Holds(path, entries)) => {
                    Finding::ok(what, format!("{} holds {entries}", path.display()))
                }
                Ok(Inspected::Busy(detail)) => {
                    Finding::warning(what, detail, "fine if this service is running, or was killed")
                }
                Err(detail) => Finding::failure(what, detail, "see docs/runbooks/state-unavailable.md"),
            };
            idempotency_keys(&settings).into_iter().map(finding).collect()
        }
    })
}

fn findings(answers: Vec<Answer>, advice: &str) -> Vec<Finding> {
    let finding = |(what, answer): Answer| match answer {
        Ok(detail) => Finding::ok(&what, detail),
        Err(detail) => Finding::failure(&what, detail, advice),
    };
    answers.into_iter().map(finding).collect()
}
