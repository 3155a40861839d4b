//! What the EntitlementActor is asked.

use std::fmt;
use std::sync::Arc;

use super::EntitlementError;
use crate::domain::digest::Sha256Digest;
use crate::domain::entitlement::Entitlement;
use crate::domain::tenant::TenantId;
use crate::runtime::{Request, Standing};

/// A proof of entitlement as received, unverified.
#[derive(Clone)]
pub struct Poe {
    value: Arc<str>,
    digest: Sha256Digest,
}

impl Poe {
    /// Longest accepted, in bytes.
    pub const MAX_BYTES: usize = 16 * 1024;

    /// Takes the compact JWS as received; `None` when it is empty or longer than [`Self::MAX_BYTES`].
    pub fn new(value: &str) -> Option<Self> {
        let fits = (1..=Self::MAX_BYTES).contains(&value.len());
        fits.then(|| Self {
            value: Arc::from(value),
            digest: Sha256Digest::of(value.as_bytes()),
        })
    }

    /// SHA-256 of the token: what its facts are kept by.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    pub(super) fn value(&self) -> &str {
        &self.value
    }

    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.value)
    }
}

impl fmt::Debug for Poe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret; its digest is not.
        write!(f, "Poe({})", self.digest)
    }
}

/// The facts of a PoE: cached, or verified and introspected now. Concurrent requests for one PoE share one flight.
#[derive(Debug)]
pub struct Resolve {
    /// The proof.
    pub poe: Poe,
    /// Whose token came with it: waiting and introspecting are bounded by tenant, too.
    pub tenant: TenantId,
}

/// The facts of a PoE that holds.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// What it says, as narrowed by Licensing.
    pub facts: Arc<Entitlement>,
    /// Whether that may be said again without asking.
    pub standing: Standing,
}

impl Request for Resolve {
    type Answer = Result<Resolution, EntitlementError>;
}
