//! What the core needs of the outside, as traits. Adapters and backends implement them; `testing` fakes them.
//!
//! Rules that every implementation keeps: no panic; bounded in bytes, counts and time; no secret in an error or a
//! debug print. Futures are `Send + 'static`, so that an actor can run them without borrowing itself.

mod audit;
mod authority;
mod clock;
mod idempotency;
mod licensing;
mod observe;
mod release;
mod signing;
mod state;
mod timestamp;

use std::future::Future;
use std::pin::Pin;

pub use audit::{
    AuditLog, AuditLogError, AuditTrail, ShownRecord, ShownRecords, TrailError, TreeHash, TreeHead,
};
pub use authority::{AuthoritySource, ProofRejection, ProofVerifier, TokenRejection, TokenVerifier};
pub use clock::{Clock, Ids, SystemClock, SystemIds};
pub use idempotency::{Claim, Claimed, End, IdempotencyStore, Ownership};
pub use licensing::{Introspection, LicensingSource, PoeRejection, PoeVerifier};
pub use observe::{Observer, Unobserved};
pub use release::{ReleaseError, ReleaseSource, combine};
pub use signing::{BackendError, BackendInfo, LAST_LIFE, SigningBackend, SigningKey};
pub use state::{
    LeaseId, Leases, QuotaStore, Rate, ReplayStore, SharedRate, Spend, Spent, Standing, StateUnavailable,
    StoreEpoch,
};
pub use timestamp::{Timestamp, TimestampSource, TimestampSourceError};

/// A future that an actor can run on its own.
pub type PortFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// A neighbour could not be asked or gave no usable answer. The text is for logs and operators, never for callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceUnavailable(pub String);
