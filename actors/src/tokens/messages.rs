//! What Tokens is asked.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::caller::AccessToken;
use crate::domain::digest::Sha256Digest;
use crate::ports::TokenVerifier;
use crate::runtime::Request;

/// The token with this digest, if it was verified before and these keys would still accept it now. Otherwise it is
/// forgotten, and has to be verified anew: that, and never memory, says why a token is refused.
#[derive(Debug)]
pub struct Recall {
    /// Of the token as presented.
    pub digest: Sha256Digest,
    /// Keys that the asker may use now.
    pub keys: Arc<dyn TokenVerifier>,
    /// The asker's time.
    pub now: DateTime<Utc>,
}

impl Request for Recall {
    type Answer = Option<Arc<AccessToken>>;
}

/// Keeps a token that has been verified in full.
#[derive(Debug)]
pub struct Remember(pub Arc<AccessToken>);

impl Request for Remember {
    type Answer = ();
}
