//! What the pipeline asks: handles to every actor, and the policy that is the same for all requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::strangers::StrangerRate;
use crate::audit::{Audit, Writing};
use crate::auth::{Auth, AuthorityKeys};
use crate::domain::entitlement::pattern_matches;
use crate::domain::ids::KeyId;
use crate::domain::plan::PlanLimits;
use crate::domain::signing::{KeyState, SigningMode};
use crate::domain::statement::RELEASE_SIGNATURE_TYPE;
use crate::entitlement::Entitlements;
use crate::idempotency::Idempotency;
use crate::ports::{AuditTrail, BackendInfo, Clock, Ids, Observer, ProofVerifier};
use crate::quota::Quota;
use crate::referrer::{Referrers, RepositoryHealth};
use crate::runtime::{Mailbox, Shards, Watchdog};
use crate::signer::{OpenKey, Signer, SignerError};
use crate::timestamp::{TimestampHealth, Timestamps};
use crate::tokens::Tokens;

/// Settings of the flow.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Mode of a request that names none.
    pub default_mode: SigningMode,
    /// Keyful backend of a request that names none.
    pub default_key: Option<KeyId>,
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

/// One backend's actor.
#[derive(Clone, Debug)]
pub struct BackendHandle {
    /// What it is.
    pub info: BackendInfo,
    /// The actor.
    pub mailbox: Mailbox<Signer>,
    /// The open key as the actor last published it.
    pub open: watch::Receiver<Option<OpenKey>>,
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
    pub tokens: Option<Mailbox<Tokens>>,
    /// Verifies proofs.
    pub proofs: Arc<dyn ProofVerifier>,
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
    /// SignerActors, in configured order.
    pub backends: Arc<[BackendHandle]>,
    /// TimestampActor; `None`: no authority is configured.
    pub timestamps: Option<TimestampHandle>,
    /// AuditActor.
    pub audit: Mailbox<Audit>,
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
    /// The backend for a mode and an optional key id, and whether the key is another than the default one.
    pub(super) fn backend(
        &self,
        mode: SigningMode,
        key: Option<&KeyId>,
    ) -> Result<(&BackendHandle, bool), SignerError> {
        if mode == SigningMode::Keyless && key.is_some() {
            return Err(SignerError::NotConfigured(
                "keyless signing has no keyId: leave keyId out or use signingMode kms",
            ));
        }
        let default = self.policy.default_key.as_ref();
        let mut of_mode = self
            .backends
            .iter()
            .filter(|backend| backend.info.mode == mode)
            .peekable();
        if of_mode.peek().is_none() {
            return Err(SignerError::NotConfigured(
                "this signingMode is not configured here",
            ));
        }
        let wanted = key.or(if mode == SigningMode::Kms { default } else { None });
        let backend = match wanted {
            Some(id) => of_mode.find(|backend| backend.info.id == *id),
            None => of_mode.next(),
        };
        let backend = backend.ok_or(SignerError::NotConfigured(
            "this keyId is not known: see /trust/keys",
        ))?;
        let first = self
            .backends
            .iter()
            .find(|other| other.info.mode == mode)
            .map(|other| &other.info.id);
        let is_default = Some(&backend.info.id) == default.or(first) || mode == SigningMode::Keyless;
        Ok((backend, !is_default))
    }

    /// True while the trail takes longer to write than anyone waits for it.
    pub fn audit_stalls(&self) -> bool {
        self.audit_writing
            .longer_than(self.policy.audit_patience, self.clock.monotonic())
    }

    /// A retired or revoked key signs no more.
    pub(super) fn check_active(backend: &BackendHandle) -> Result<(), SignerError> {
        match backend.info.state {
            KeyState::Active => Ok(()),
            KeyState::Retired | KeyState::Revoked => Err(SignerError::Retired),
        }
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
            default_mode: SigningMode::Kms,
            default_key: None,
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
