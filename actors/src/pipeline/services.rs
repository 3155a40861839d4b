//! What the pipeline asks: handles to every actor, and the policy that is the same for all requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::recent::Recent;
use super::signers::{PublishedSigners, Signers};
use super::strangers::StrangerRate;
use crate::audit::{Audit, Desk, Writing};
use crate::auth::{Auth, AuthorityKeys};
use crate::domain::entitlement::pattern_matches;
use crate::domain::plan::PlanLimits;
use crate::domain::statement::RELEASE_SIGNATURE_TYPE;
use crate::entitlement::Entitlements;
use crate::idempotency::Idempotency;
use crate::places::Places;
use crate::ports::{AuditTrail, Clock, Ids, LicensingSource, Observer, ProofVerifier};
use crate::quota::Quota;
use crate::referrer::{Referrers, RepositoryHealth};
use crate::runtime::{Mailbox, Own, Shards, Watchdog};
use crate::timestamp::{TimestampHealth, Timestamps};
use crate::tokens::Tokens;

/// Settings of the flow.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whether subjects are stamped with tenant, installation and scanner.
    pub stamp: bool,
    /// Predicate types that are signed at all; a trailing `*` is a prefix match.
    pub predicate_types: Vec<String>,
    /// Whether predicates must have the shape of their type, where that is known.
    pub predicate_checks: bool,
    /// Whether the operational token must name the scanner image (`release.binding = "required"`).
    pub scanner_binding_required: bool,
    /// Rate of `verify/…` calls, per tenant.
    pub verify_limits: PlanLimits,
    /// Rate at which refusals of one tenant are recorded; beyond it they are logged and counted only.
    pub refusal_limits: PlanLimits,
    /// How long a request waits for the trail; one that takes longer to write is as good as one that cannot.
    pub audit_patience: Duration,
    /// Age from which a worker asks the AuthActor rather than use the keys it published, so that they are refreshed.
    pub keys_refresh_after: Duration,
    /// Of signatures that need not all be verified, one in this many is; at least 1.
    pub verify_sample: u8,
}

/// The timestamp authority's actor.
#[derive(Clone, Debug)]
pub struct TimestampHandle {
    /// The actor.
    pub mailbox: Mailbox<Timestamps>,
    /// How the authority is doing, as the actor last published it.
    pub health: watch::Receiver<TimestampHealth>,
}

/// Handles and policy. Cheap to clone; one per worker.
#[derive(Clone, Debug)]
pub struct Services {
    /// AuthActor shards.
    pub auth: Shards<Auth>,
    /// The Authority's keys as the AuthActor last published them.
    pub authority_keys: watch::Receiver<Option<AuthorityKeys>>,
    /// This worker's remembered tokens; `None`: every token is verified anew.
    pub tokens: Option<Own<Tokens>>,
    /// What gates answered this worker a moment ago.
    pub recent: Recent,
    /// Verifies proofs.
    pub proofs: Arc<dyn ProofVerifier>,
    /// Licensing, for what its answers hang on; its actors ask it everything else.
    pub licensing: Arc<dyn LicensingSource>,
    /// EntitlementActor shards.
    pub entitlement: Shards<Entitlements>,
    /// IdempotencyActor.
    pub idempotency: Mailbox<Idempotency>,
    /// QuotaActor shards.
    pub quota: Shards<Quota>,
    /// ReferrerActor.
    pub referrer: Mailbox<Referrers>,
    /// Configured repositories, `host/name`.
    pub repositories: Arc<[Arc<str>]>,
    /// How these are doing, as the ReferrerActor last published it.
    pub repository_health: watch::Receiver<Arc<[RepositoryHealth]>>,
    /// Who signs.
    pub signers: PublishedSigners,
    /// TimestampActor; `None`: no authority is configured.
    pub timestamps: Option<TimestampHandle>,
    /// PlacesActor of verifications of envelopes: they take memory and a core each.
    pub verifying: Mailbox<Places>,
    /// AuditActor.
    pub audit: Mailbox<Audit>,
    /// How long records wait for company.
    pub audit_linger: Duration,
    /// Where this worker's records are gathered on their way to it; `None`: each goes by itself.
    pub desk: Option<Mailbox<Desk>>,
    /// False while the audit trail cannot be written.
    pub audit_healthy: watch::Receiver<bool>,
    /// Since when the audit trail has been writing.
    pub audit_writing: Writing,
    /// The rate at which refusals of strangers are recorded.
    pub strangers: StrangerRate,
    /// The trail as it is shown.
    pub trail: Arc<dyn AuditTrail>,
    /// Whether the state that replicas share can be asked; `None`: this one is alone.
    pub shared_up: Option<watch::Receiver<bool>>,
    /// Identifies this replica's trail.
    pub audit_origin: Arc<str>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Identifiers.
    pub ids: Arc<dyn Ids>,
    /// Metrics.
    pub observer: Arc<dyn Observer>,
    /// Log.
    pub log: slog::Logger,
    /// Settings.
    pub policy: Arc<Policy>,
    /// Resolves when an actor is beyond saving.
    pub watchdog: Watchdog,
}

impl Services {
    /// Who signs, as of now.
    pub fn signers(&self) -> Arc<Signers> {
        Arc::clone(&self.signers.borrow())
    }

    /// True while the trail takes longer to write than anyone waits for it.
    pub fn audit_stalls(&self) -> bool {
        self.audit_writing
            .longer_than(self.policy.audit_patience, self.clock.monotonic())
    }

    /// True when the service signs this predicate type at all.
    pub(super) fn signs_predicate(&self, predicate_type: &str) -> bool {
        self.policy.signs_predicate(predicate_type)
    }
}

impl Policy {
    /// True when the configuration allows the predicate type and it is not that of a release signature, which no
    /// pattern can allow (contract §7): a tenant could make this service vouch for a scanner image of its own. Compared
    /// without case, as the scheme and host of a URI have none (RFC 3986 §6.2.2.1).
    fn signs_predicate(&self, predicate_type: &str) -> bool {
        !predicate_type.eq_ignore_ascii_case(RELEASE_SIGNATURE_TYPE)
            && self
                .predicate_types
                .iter()
                .any(|pattern| pattern_matches(pattern, predicate_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_signatures_are_never_signed_whatever_the_patterns() {
        let policy = |pattern: &str| Policy {
            stamp: true,
            predicate_types: vec![pattern.to_owned()],
            predicate_checks: true,
            scanner_binding_required: false,
            verify_limits: PlanLimits {
                qps: 1,
                burst: 1,
                concurrency: 1,
                max_artifact_bytes: 1,
            },
            refusal_limits: PlanLimits {
                qps: 10,
                burst: 100,
                concurrency: 1,
                max_artifact_bytes: 0,
            },
            audit_patience: Duration::from_secs(2),
            keys_refresh_after: Duration::ZERO,
            verify_sample: 1,
        };
        for pattern in ["*", "https://*", "https://sigstore.dev/*", RELEASE_SIGNATURE_TYPE] {
            assert!(
                !policy(pattern).signs_predicate(RELEASE_SIGNATURE_TYPE),
                "{pattern}"
            );
        }
        assert!(!policy("*").signs_predicate("HTTPS://Sigstore.dev/cosign/sign/v1"));
        assert!(policy("*").signs_predicate("https://cyclonedx.org/bom"));
        assert!(!policy("https://spdx.dev/*").signs_predicate("https://cyclonedx.org/bom"));
    }
}
