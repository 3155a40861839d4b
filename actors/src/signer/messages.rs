//! What a SignerActor is asked.

use std::time::Duration;

use super::{OpenKey, SignerError};
use crate::runtime::Request;

/// An open key that is valid for at least `min_life` (contract §2.1, `expirySeconds`).
#[derive(Debug)]
pub struct Lease {
    /// Least remaining life of the signing certificate.
    pub min_life: Duration,
}

impl Request for Lease {
    type Answer = Result<OpenKey, SignerError>;
}

/// A signature of this key did not verify with its own public half (contract §7): it signs no more until restart, in no
/// actor of the same public key.
#[derive(Debug)]
pub struct Disable;

impl Request for Disable {
    type Answer = ();
}
