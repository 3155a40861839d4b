//! Starts every actor on its arbiter, and stops them in order.

mod controls;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::watch;

use crate::audit::{Append, Audit, AuditError, Desk, Durability, Flush, Writing};
use crate::auth::{Auth, AuthParts, SharedReplay, TENANT_FRACTION};
use crate::domain::audit::AuditRecord;
use crate::entitlement::{Bounds, EntitlementPolicy, Entitlements};
use crate::idempotency::Idempotency;
use crate::keyring::KeyPolicy;
use crate::pipeline::{Defaults, Policy, Recent, Services, Signers, StrangerRate, TimestampHandle};
use crate::places::Places;
use crate::ports::{
    AuditLog, AuditTrail, AuthoritySource, Clock, IdempotencyStore, Ids, LicensingSource, Observer,
    ProofVerifier, QuotaStore, ReleaseSource, ReplayStore, SigningBackend, TimestampSource,
};
use crate::quota::Quota;
use crate::referrer::{self, ReferrerParts, ReferrerPolicy, Referrers};
use crate::runtime::{AskError, Deadline, Own, Shards, Vitals, Watchdog, start};
use crate::signer::DisabledKeys;
use crate::snapshots::{Kind, Snapshots};
use crate::timestamp::{TimestampHealth, TimestampParts, TimestampPolicy, Timestamps};
use crate::tokens::Tokens;

pub use controls::{Controls, Unopened};

/// Everything the outside provides.
#[derive(Debug)]
pub struct Parts {
    /// The Authority.
    pub authority: Arc<dyn AuthoritySource>,
    /// DPoP proofs.
    pub proofs: Arc<dyn ProofVerifier>,
    /// Licensing.
    pub licensing: Arc<dyn LicensingSource>,
    /// Registries.
    pub releases: Arc<dyn ReleaseSource>,
    /// Backends, in configured order.
    pub backends: Vec<Arc<dyn SigningBackend>>,
    /// The timestamp authority; `None`: signatures have no timestamps.
    pub timestamps: Option<Arc<dyn TimestampSource>>,
    /// The trail.
    pub audit: Box<dyn AuditLog>,
    /// What of it is shown.
    pub trail: Arc<dyn AuditTrail>,
    /// Identifies this replica's trail.
    pub audit_origin: Arc<str>,
    /// Idempotency keys, of this replica or shared.
    pub idempotency: Arc<dyn IdempotencyStore>,
    /// What replicas share; `None`: this one is alone.
    pub shared: Option<SharedState>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Identifiers.
    pub ids: Arc<dyn Ids>,
    /// Metrics.
    pub observer: Arc<dyn Observer>,
    /// Log.
    pub log: slog::Logger,
}

/// State that replicas share.
#[derive(Clone, Debug)]
pub struct SharedState {
    /// Spent proofs.
    pub replay: Arc<dyn ReplayStore>,
    /// Quotas.
    pub quota: Arc<dyn QuotaStore>,
    /// Whether it can be asked now.
    pub up: watch::Receiver<bool>,
}

/// Sizes and lifetimes.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Settings of the flow.
    pub policy: Policy,
    /// What signs a request that does not choose.
    pub defaults: Defaults,
    /// How long the Authority's keys are good for.
    pub keys: KeyPolicy,
    /// How long facts of proofs of entitlement are good for.
    pub entitlement: EntitlementPolicy,
    /// How long verdicts are good for.
    pub referrer: ReferrerPolicy,
    /// How the timestamp authority is asked.
    pub timestamp: TimestampPolicy,
    /// Proof ids remembered by all shards together.
    pub replay_capacity: usize,
    /// How long a record waits for company before it is synced.
    pub audit_linger: Duration,
    /// Refusals of strangers that are recorded in a second, over all of them.
    pub stranger_qps: u32,
    /// As many at once, after a while without any.
    pub stranger_burst: u32,
    /// Verifications of envelopes at once; at least 1.
    pub verifications: usize,
    /// Requests that one actor holds, queued or running.
    pub mailbox_capacity: usize,
}

/// Where actors live: state arbiters (one shard of each sharded actor on each), and one for the audit trail alone, which
/// blocks while it syncs. Never a worker's arbiter: it ends with the worker.
#[derive(Debug)]
pub struct Placement {
    /// The first state arbiter; unsharded actors live here.
    pub state: ArbiterHandle,
    /// Further state arbiters.
    pub more_state: Vec<ArbiterHandle>,
    /// The audit trail's.
    pub audit: ArbiterHandle,
}

/// Starts every actor.
pub fn start_actors(parts: Parts, tuning: Tuning, placement: &Placement) -> Services {
    start_controlled(parts, tuning, placement).0
}

/// The same, and what changes it while it runs.
pub fn start_controlled(parts: Parts, tuning: Tuning, placement: &Placement) -> (Services, Controls) {
    let watchdog = Watchdog::default();
    let vitals = Vitals {
        observer: Arc::clone(&parts.observer),
        log: parts.log.clone(),
        watchdog: watchdog.clone(),
    };
    let capacity = tuning.mailbox_capacity;
    let shards = 1 + placement.more_state.len();

    let keys = watch::Sender::new(None);
    let authority_keys = keys.subscribe();
    let (first, others) = on_each(placement, |arbiter| {
        let auth = AuthParts {
            source: Arc::clone(&parts.authority),
            clock: Arc::clone(&parts.clock),
            observer: Arc::clone(&parts.observer),
            log: parts.log.clone(),
            policy: tuning.keys,
            published: keys.clone(),
            replay_capacity: tuning.replay_capacity / shards,
            shared: parts.shared.as_ref().map(|shared| SharedReplay {
                store: Arc::clone(&shared.replay),
                most: (tuning.replay_capacity / TENANT_FRACTION).max(1),
            }),
        };
        // Made here, not when its arbiter gets to it: the store of spent proofs is born before the first proof can be made
        // for this service, however busy the machine is.
        let auth = Auth::new(auth);
        start(arbiter, capacity, vitals.clone(), move || auth)
    });
    let auth = Shards::new(first, others);

    let (first, others) = on_each(placement, |arbiter| {
        let (source, clock) = (Arc::clone(&parts.licensing), Arc::clone(&parts.clock));
        let (observer, log) = (Arc::clone(&parts.observer), parts.log.clone());
        let policy = tuning.entitlement.shared_by(shards);
        start(arbiter, capacity, vitals.clone(), move || {
            Entitlements::new(source, clock, observer, log, policy, Bounds::of_mailbox(capacity))
        })
    });
    let entitlement = Shards::new(first, others);

    let (first, others) = on_each(placement, |arbiter| {
        let (clock, observer) = (Arc::clone(&parts.clock), Arc::clone(&parts.observer));
        let store = parts.shared.as_ref().map(|shared| Arc::clone(&shared.quota));
        // The random half of a UUIDv7.
        let (_, holder) = parts.ids.uuid().as_u64_pair();
        start(arbiter, capacity, vitals.clone(), move || match store {
            None => Quota::new(clock, observer),
            Some(store) => Quota::shared(clock, observer, store, holder),
        })
    });
    let quota = Shards::new(first, others);

    let idempotency = {
        let (store, clock) = (Arc::clone(&parts.idempotency), Arc::clone(&parts.clock));
        let observer = Arc::clone(&parts.observer);
        start(&placement.state, capacity, vitals.clone(), move || {
            Idempotency::new(store, clock, observer)
        })
    };

    let repositories = parts.releases.repositories();
    let published = watch::Sender::new(Arc::from([]));
    let repository_health = published.subscribe();
    let referrer = {
        let parts = ReferrerParts {
            source: Arc::clone(&parts.releases),
            clock: Arc::clone(&parts.clock),
            ids: Arc::clone(&parts.ids),
            observer: Arc::clone(&parts.observer),
            log: parts.log.clone(),
            policy: tuning.referrer,
            bounds: referrer::Bounds::of_mailbox(capacity),
            published,
        };
        start(&placement.state, capacity, vitals.clone(), move || {
            Referrers::new(parts)
        })
    };
    let none = Signers {
        backends: Vec::new(),
        defaults: tuning.defaults.clone(),
    };
    let controls = Controls {
        arbiter: placement.state.clone(),
        vitals: vitals.clone(),
        clock: Arc::clone(&parts.clock),
        capacity,
        signers: watch::Sender::new(Arc::new(none.clone())),
        referrer: referrer.clone(),
        disabled: DisabledKeys::default(),
    };
    let backends = parts.backends.iter().map(|backend| controls.begin(backend));
    controls.put_signers(Signers {
        backends: backends.collect(),
        ..none
    });

    let timestamps = parts
        .timestamps
        .as_ref()
        .map(|source| start_timestamps(source, &parts, &tuning, &vitals, &placement.state));

    // Who waits keeps a place in the mailbox.
    let verifying = start(&placement.state, capacity, vitals.clone(), move || {
        Places::new(tuning.verifications, capacity / 2)
    });

    let healthy = watch::Sender::new(true);
    let audit_healthy = healthy.subscribe();
    let audit_writing = Writing::default();
    let audit = {
        let (log, clock, observer, slog) = (
            parts.audit,
            Arc::clone(&parts.clock),
            Arc::clone(&parts.observer),
            parts.log.clone(),
        );
        let (linger, writing) = (tuning.audit_linger, audit_writing.clone());
        start(&placement.audit, capacity, vitals, move || {
            Audit::new(log, clock, observer, slog, linger, healthy, writing)
        })
    };

    let services = Services {
        auth,
        authority_keys,
        tokens: None,
        recent: Recent::default(),
        licensing: parts.licensing,
        proofs: parts.proofs,
        entitlement,
        idempotency,
        quota,
        referrer,
        repositories: repositories.into(),
        repository_health,
        signers: controls.signers.subscribe(),
        timestamps,
        verifying,
        audit,
        audit_linger: tuning.audit_linger,
        desk: None,
        audit_healthy,
        audit_writing,
        strangers: StrangerRate::new(tuning.stranger_qps, tuning.stranger_burst),
        trail: parts.trail,
        shared_up: parts.shared.map(|shared| shared.up),
        audit_origin: parts.audit_origin,
        clock: parts.clock,
        ids: parts.ids,
        observer: parts.observer,
        log: parts.log,
        policy: Arc::new(tuning.policy),
        watchdog,
    };
    (services, controls)
}

fn on_each<T>(placement: &Placement, mut start: impl FnMut(&ArbiterHandle) -> T) -> (T, Vec<T>) {
    let first = start(&placement.state);
    (first, placement.more_state.iter().map(start).collect())
}

fn start_timestamps(
    source: &Arc<dyn TimestampSource>,
    parts: &Parts,
    tuning: &Tuning,
    vitals: &Vitals,
    arbiter: &ArbiterHandle,
) -> TimestampHandle {
    let published = watch::Sender::new(TimestampHealth::default());
    let health = published.subscribe();
    let parts = TimestampParts {
        source: Arc::clone(source),
        clock: Arc::clone(&parts.clock),
        ids: Arc::clone(&parts.ids),
        observer: Arc::clone(&parts.observer),
        log: parts.log.clone(),
        policy: tuning.timestamp,
        // Who waits keeps a place in the mailbox.
        places: tuning.mailbox_capacity / 2,
        published,
    };
    let mailbox = start(arbiter, tuning.mailbox_capacity, vitals.clone(), move || {
        Timestamps::new(parts)
    });
    TimestampHandle { mailbox, health }
}

/// Records that wait at a worker's desk to be taken in: far more than a worker has at once.
const WORKERS_MAILBOX: usize = 65_536;

impl Services {
    /// The same services for the worker that calls this, with memory of its own: for this many verified tokens, and for what
    /// gates answered a moment ago, and with a desk of its own on the caller's arbiter.
    pub fn on_worker(&self, tokens: Option<NonZeroUsize>) -> Self {
        let tokens =
            tokens.map(|tokens| Own::new(Tokens::new(tokens, Arc::clone(&self.observer)), self.vitals()));
        let recent = Recent {
            entitlements: Some(self.snapshots()),
            releases: Some(self.snapshots()),
        };
        let (trail, linger) = (self.audit.clone(), self.audit_linger);
        let here = Arbiter::current();
        let desk = start(&here, WORKERS_MAILBOX, self.vitals(), move || {
            Desk::new(trail, linger)
        });
        Self {
            tokens,
            recent,
            desk: Some(desk),
            ..self.clone()
        }
    }

    fn snapshots<K: Kind>(&self) -> Own<Snapshots<K>> {
        Own::new(Snapshots::new(Arc::clone(&self.observer)), self.vitals())
    }

    fn vitals(&self) -> Vitals {
        Vitals {
            observer: Arc::clone(&self.observer),
            log: self.log.clone(),
            watchdog: self.watchdog.clone(),
        }
    }

    /// Appends a record about the service itself and waits until it is durable.
    pub async fn record(&self, record: AuditRecord, deadline: Deadline) -> Result<(), AuditError> {
        let append = Append {
            record,
            durability: Durability::Durable,
            after: None,
        };
        match self.audit.ask(append, deadline).await {
            Ok(result) => result.map(drop),
            Err(_) => Err(AuditError::Unavailable),
        }
    }

    /// Makes everything durable that was appended so far: the last step of a drain.
    pub async fn flush(&self, deadline: Deadline) -> Result<(), AskError> {
        if let Some(desk) = &self.desk {
            desk.ask(Flush, deadline).await?;
        }
        self.audit.ask(Flush, deadline).await
    }
}
