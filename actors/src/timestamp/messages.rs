//! What the TimestampActor is asked.

use super::TimestampError;
use crate::domain::signing::Signature;
use crate::domain::tenant::TenantId;
use crate::ports::Timestamp;
use crate::runtime::{Deadline, Request};

/// A verified timestamp over this signature.
#[derive(Debug)]
pub struct Obtain {
    /// Whose it is: tenants take turns.
    pub tenant: TenantId,
    /// The signature.
    pub signature: Signature,
    /// When nobody waits for it any more.
    pub until: Deadline,
}

impl Request for Obtain {
    type Answer = Result<Timestamp, TimestampError>;
}
