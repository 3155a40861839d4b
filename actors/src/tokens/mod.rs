//! Tokens: operational tokens that were verified in full, remembered by their digest.
//!
//! Memory that each HTTP worker has for itself ([`Own`](crate::runtime::Own)): no other thread, and it may go with the worker,
//! because all it saves is a verification. What it remembers is that *this* key of the Authority signed *this* token;
//! whether that still counts is asked of the current keys and the current time on every request. Sender binding,
//! proof and scope are none of its business: they are checked on every request ([`crate::pipeline::authenticate`]).

mod table;

use std::num::NonZeroUsize;
use std::sync::Arc;

use chrono::{DateTime, Utc};

pub use table::TokenTable;

use crate::domain::caller::AccessToken;
use crate::domain::digest::Sha256Digest;
use crate::ports::{Observer, TokenVerifier};
use crate::runtime::Memory;

/// One worker's memory.
#[derive(Debug)]
pub struct Tokens {
    table: TokenTable,
    capacity: NonZeroUsize,
    observer: Arc<dyn Observer>,
}

impl Tokens {
    /// Remembers nothing yet, and never more tokens than this.
    pub fn new(capacity: NonZeroUsize, observer: Arc<dyn Observer>) -> Self {
        Self {
            table: TokenTable::new(capacity),
            capacity,
            observer,
        }
    }

    /// The token with this digest, if it was verified before and these keys, which the asker may use now, would still
    /// accept it at this time. Otherwise it is forgotten, and has to be verified anew: that, and never memory, says why a
    /// token is refused.
    pub fn recall(
        &mut self,
        digest: &Sha256Digest,
        keys: &dyn TokenVerifier,
        now: DateTime<Utc>,
    ) -> Option<Arc<AccessToken>> {
        let token = self.table.recall(digest, |token| keys.still_accepts(token, now));
        self.observer.cache("token", token.is_some());
        token
    }

    /// Keeps a token that has been verified in full.
    pub fn remember(&mut self, token: Arc<AccessToken>) {
        self.table.remember(token);
    }
}

impl Memory for Tokens {
    const NAME: &'static str = "tokens";

    fn forget(&mut self) {
        // Forgetting costs a verification per token.
        self.table = TokenTable::new(self.capacity);
    }
}
