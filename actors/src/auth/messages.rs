//! What the AuthActor is asked.

use super::{AuthError, AuthorityKeys};
use crate::domain::caller::VerifiedProof;
use crate::domain::tenant::TenantId;
use crate::runtime::Request;

/// The current keys; fetches them first when there are none, or when a key id is missing and may be new.
#[derive(Debug)]
pub struct KeysFor {
    /// A key id that the asker's keys do not have.
    pub missing: Option<String>,
}

impl Request for KeysFor {
    type Answer = Result<AuthorityKeys, AuthError>;
}

/// Records the single use of a verified proof. The last thing before a caller counts as authenticated: recorded
/// earlier, an attacker could burn other people's ids (RFC 9449 §11.1).
#[derive(Debug)]
pub struct SpendProof {
    /// The tenant of the verified token; one tenant may hold at most an eighth of the store.
    pub tenant: TenantId,
    /// The proof.
    pub proof: VerifiedProof,
    /// How long after `iat` a proof could still be accepted, in seconds.
    pub window_seconds: i64,
    /// How far a proof's `iat` may lie ahead of this service's clock, in seconds: one made before the store was born may
    /// say so much later a time.
    pub ahead_seconds: i64,
}

impl Request for SpendProof {
    type Answer = Result<(), AuthError>;
}
