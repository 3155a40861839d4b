//! Fakes of every port, for tests of this crate and of the service. They answer as told, count what they were asked,
//! and panic or fail on request.

#![allow(clippy::panic, reason = "a fake that cannot be made is a fault of the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use uuid::Uuid;

use crate::domain::audit::AuditRecord;
use crate::domain::caller::{AccessToken, Confirmation, Credentials, PresentedToken, Scheme, VerifiedProof};
use crate::domain::digest::{ImageDigest, Sha256Digest};
use crate::domain::entitlement::{Entitlement, Features};
use crate::domain::ids::{AuditId, CorrelationId, KeyId};
use crate::domain::plan::PlanLimits;
use crate::domain::release::{ReleaseReport, ReleaseSigner, Verdict};
use crate::domain::signing::{Algorithm, KeyState, Signature, SigningIdentity, SigningMode};
use crate::domain::tenant::{InstallationId, TenantId};
use crate::domain::validity::Validity;
use crate::evidence::SigningWarrant;
use crate::keyring::KeyPolicy;
use crate::pipeline::{Context, Policy};
use crate::ports::{
    AuditLog, AuditLogError, AuditTrail, AuthoritySource, BackendError, BackendInfo, Clock, Ids,
    Introspection, LicensingSource, PoeRejection, PoeVerifier, PortFuture, ProofRejection, ProofVerifier,
    ReleaseError, ReleaseSource, ShownRecord, ShownRecords, SigningBackend, SigningKey, SourceUnavailable,
    Timestamp, TimestampSource, TimestampSourceError, TokenRejection, TokenVerifier, TrailError, TreeHead,
    Unobserved,
};
use crate::runtime::{Deadline, Vitals, Watchdog};
use crate::system::{Parts, Tuning};

mod authority;
mod backend;
mod clock;
mod dial;
mod idempotency;
mod licensing;
mod log;
mod releases;
mod state;
mod timestamps;
mod values;

pub use authority::{FakeAuthority, FakeProofs};
pub use backend::FakeBackend;
pub use clock::{FakeClock, FakeIds};
pub use dial::{Bomb, Dial};
pub use idempotency::{FakeKeys, IdempotencyModel, ModelEntry};
pub use licensing::FakeLicensing;
pub use log::{FakeLog, FakeTrail};
pub use releases::{Answer, FakeReleases};
pub use state::{FakeState, LeaseModel};
pub use timestamps::FakeTimestamps;
pub use values::{
    AUTHORITY_KEY, KEY, NOW, access_token, context, credentials, entitlement, image, installation, proof,
    report, tenant,
};

/// All fakes of one service.
#[derive(Clone, Debug)]
pub struct Fakes {
    /// Time.
    pub clock: FakeClock,
    /// The Authority.
    pub authority: FakeAuthority,
    /// Proofs.
    pub proofs: FakeProofs,
    /// Licensing.
    pub licensing: FakeLicensing,
    /// Registries.
    pub releases: FakeReleases,
    /// The keyful backend `file`.
    pub keyful: FakeBackend,
    /// The keyless backend `fulcio`.
    pub keyless: FakeBackend,
    /// The timestamp authority; `None` by default.
    pub timestamps: Option<FakeTimestamps>,
    /// The trail.
    pub log: FakeLog,
    /// Idempotency keys.
    pub keys: FakeKeys,
}

impl Default for Fakes {
    fn default() -> Self {
        let clock = FakeClock::default();
        Self {
            authority: FakeAuthority::default(),
            proofs: FakeProofs::default(),
            licensing: FakeLicensing::default(),
            releases: FakeReleases::default(),
            keyful: FakeBackend::new("file", SigningMode::Kms, &clock),
            keyless: FakeBackend::new("fulcio", SigningMode::Keyless, &clock),
            timestamps: None,
            log: FakeLog::default(),
            keys: FakeKeys::new(&clock),
            clock,
        }
    }
}

impl Fakes {
    /// As the parts of a system.
    pub fn parts(&self) -> Parts {
        Parts {
            authority: Arc::new(self.authority.clone()),
            proofs: Arc::new(self.proofs.clone()),
            licensing: Arc::new(self.licensing.clone()),
            releases: Arc::new(self.releases.clone()),
            backends: vec![Arc::new(self.keyful.clone()), Arc::new(self.keyless.clone())],
            timestamps: self
                .timestamps
                .clone()
                .map(|timestamps| Arc::new(timestamps) as Arc<dyn TimestampSource>),
            audit: Box::new(self.log.clone()),
            trail: Arc::new(FakeTrail(self.log.clone())),
            audit_origin: "test/audit".into(),
            idempotency: Arc::new(self.keys.clone()),
            shared: None,
            clock: Arc::new(self.clock.clone()),
            ids: Arc::new(FakeIds::default()),
            observer: Arc::new(Unobserved),
            log: slog::Logger::root(slog::Discard, slog::o!()),
        }
    }
}

/// Nobody watches.
pub fn vitals() -> Vitals {
    Vitals {
        observer: Arc::new(Unobserved),
        log: slog::Logger::root(slog::Discard, slog::o!()),
        watchdog: Watchdog::default(),
    }
}

/// Lets other tasks of this arbiter run until something holds. Panics when it does not come to hold.
pub async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("what was waited for did not happen");
}

/// Settings for tests: everything allowed, caches as in production, no linger.
pub fn tuning() -> Tuning {
    let thousand = std::num::NonZeroUsize::MIN.saturating_add(999);
    Tuning {
        policy: Policy {
            stamp: true,
            predicate_types: vec!["https://cyclonedx.org/bom".into(), "https://stella.ops/*".into()],
            predicate_checks: true,
            scanner_binding_required: false,
            verify_limits: PlanLimits {
                qps: 10,
                burst: 20,
                concurrency: 1,
                max_artifact_bytes: 0,
            },
            refusal_limits: PlanLimits {
                qps: 10,
                burst: 100,
                concurrency: 1,
                max_artifact_bytes: 0,
            },
            audit_patience: Duration::from_secs(2),
            keys_refresh_after: Duration::from_secs(240),
            verify_sample: 16,
        },
        defaults: crate::pipeline::Defaults {
            mode: SigningMode::Kms,
            key: None,
        },
        keys: KeyPolicy::default(),
        entitlement: crate::entitlement::EntitlementPolicy {
            positive_ttl: Duration::from_secs(60),
            negative_ttl: Duration::from_secs(5),
            grace: Duration::ZERO,
            capacity: thousand,
            keys: KeyPolicy::default(),
        },
        referrer: crate::referrer::ReferrerPolicy {
            positive_ttl: Duration::from_secs(600),
            negative_ttl: Duration::from_secs(10),
            capacity: thousand,
            concurrency: 8,
            queue: Duration::from_secs(5),
            circuit: crate::referrer::CircuitPolicy {
                failures: 5,
                first: Duration::from_secs(1),
                longest: Duration::from_secs(30),
            },
            lookups: crate::referrer::LookupRate {
                qps: 10_000,
                burst: 10_000,
            },
        },
        timestamp: crate::timestamp::TimestampPolicy {
            concurrency: 2,
            circuit: crate::timestamp::CircuitPolicy {
                failures: 3,
                first: Duration::from_secs(1),
                longest: Duration::from_secs(30),
            },
        },
        replay_capacity: 1000,
        verifications: 2,
        audit_linger: Duration::ZERO,
        stranger_qps: 1,
        stranger_burst: 5,
        mailbox_capacity: 256,
    }
}
