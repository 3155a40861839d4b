//! The store against its model, and against what happens to files.

mod files;
mod model;

use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::idempotency::{IdempotencyKey, Scope, ScopedKey};
use signer_actors::domain::ids::AuditId;
use signer_actors::domain::tenant::{InstallationId, TenantId};
use signer_actors::ports::Unobserved;
use signer_actors::testing::FakeClock;
use uuid::Uuid;

use super::*;

const TTL: Duration = Duration::from_secs(3600);

fn settings(directory: &Path, capacity: u64) -> Settings {
    Settings {
        directory: directory.to_owned(),
        ttl: TTL,
        capacity,
    }
}

fn open(directory: &Path, clock: &FakeClock) -> Result<EmbeddedKeys, String> {
    open_sized(directory, clock, 1000)
}

fn open_sized(directory: &Path, clock: &FakeClock, capacity: u64) -> Result<EmbeddedKeys, String> {
    let log = slog::Logger::root(slog::Discard, slog::o!());
    EmbeddedKeys::open(
        settings(directory, capacity),
        Arc::new(clock.clone()),
        Arc::new(Unobserved),
        log,
    )
}

fn claim(tenant: &str, key: &str, request: u8, attempt: u128) -> Claim {
    let tenant = TenantId::parse(tenant).expect("a tenant");
    let installation = InstallationId::parse("i").expect("an installation");
    let scope = Scope {
        tenant: &tenant,
        installation: &installation,
        client: "c",
        subject: "s",
        route: "r",
    };
    let key = IdempotencyKey::parse(key.as_bytes()).expect("a key");
    Claim {
        key: ScopedKey::new(&scope, &key),
        request: Sha256Digest([request; 32]),
        attempt: id(attempt),
        void: None,
    }
}

fn id(attempt: u128) -> AuditId {
    AuditId(Uuid::from_u128(attempt))
}

fn taken(earlier: Option<u128>) -> Result<Claimed, StateUnavailable> {
    Ok(Claimed::Taken {
        earlier: earlier.map(id),
    })
}

fn kept(attempt: u128, answer: &'static str) -> Result<Claimed, StateUnavailable> {
    Ok(Claimed::Kept {
        attempt: id(attempt),
        answer: answer.into(),
    })
}

/// Claims, begins and keeps.
async fn answered(store: &EmbeddedKeys, claim: Claim, answer: &'static str) {
    assert_eq!(store.claim(claim).await, taken(None));
    assert_eq!(store.begin(claim).await, Ok(Ownership::Own));
    assert_eq!(store.keep(claim, answer.into()).await, Ok(Ownership::Own));
}
