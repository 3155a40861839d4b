//! Tokens: operational tokens that were verified in full, remembered by their digest.
//!
//! One small actor per HTTP worker, on the worker's own arbiter: no lock, no other thread, and it may die with the worker,
//! because all it saves is a verification. What it remembers is that *this* key of the Authority signed *this* token;
//! whether that still counts is asked of the current keys and the current time on every request. Sender binding,
//! proof and scope are none of its business: they are checked on every request ([`crate::pipeline::authenticate`]).

mod messages;
mod table;

use std::num::NonZeroUsize;
use std::sync::Arc;

pub use messages::{Recall, Remember};
pub use table::TokenTable;

use crate::domain::caller::AccessToken;
use crate::ports::Observer;
use crate::runtime::{ActorState, Cx, Reply, Serve};

/// State of one worker's actor.
#[derive(Debug)]
pub struct Tokens {
    table: TokenTable,
    capacity: NonZeroUsize,
    observer: Arc<dyn Observer>,
}

impl Tokens {
    /// An actor that remembers nothing yet, and never more tokens than this.
    pub fn new(capacity: NonZeroUsize, observer: Arc<dyn Observer>) -> Self {
        Self {
            table: TokenTable::new(capacity),
            capacity,
            observer,
        }
    }
}

impl ActorState for Tokens {
    const NAME: &'static str = "tokens";

    fn recover(&mut self) {
        // A table in which a panic struck is not to be trusted; forgetting it costs a verification per token.
        self.table = TokenTable::new(self.capacity);
    }
}

impl Serve<Recall> for Tokens {
    fn serve(&mut self, recall: Recall, _cx: &mut Cx<'_, Self>) -> Reply<Option<Arc<AccessToken>>> {
        let Recall { digest, keys, now } = recall;
        let token = self.table.recall(&digest, |token| keys.still_accepts(token, now));
        self.observer.cache("token", token.is_some());
        Reply::Now(token)
    }
}

impl Serve<Remember> for Tokens {
    fn serve(&mut self, Remember(token): Remember, _cx: &mut Cx<'_, Self>) -> Reply<()> {
        self.table.remember(token);
        Reply::Now(())
    }
}
