//! Which tokens are remembered. Pure: what still counts comes in.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::domain::caller::AccessToken;
use crate::domain::digest::Sha256Digest;

/// Verified tokens by their digest; of too many, those used longest ago are forgotten. Expired ones are no longer used
/// and so go first.
#[derive(Debug)]
pub struct TokenTable {
    entries: LruCache<Sha256Digest, Arc<AccessToken>>,
}

impl TokenTable {
    /// An empty table for this many tokens.
    pub fn new(capacity: NonZeroUsize) -> Self {
        Self {
            entries: LruCache::new(capacity),
        }
    }

    /// The token with this digest, if it still counts; one that does not is forgotten.
    pub fn recall(
        &mut self,
        digest: &Sha256Digest,
        still_counts: impl FnOnce(&AccessToken) -> bool,
    ) -> Option<Arc<AccessToken>> {
        let token = self.entries.get(digest)?;
        if still_counts(token) {
            return Some(Arc::clone(token));
        }
        self.entries.pop(digest);
        None
    }

    /// Keeps a verified token under its own digest.
    pub fn remember(&mut self, token: Arc<AccessToken>) {
        self.entries.put(token.digest, token);
    }

    /// Tokens remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::validity::Validity;
    use crate::testing;

    const SKEW: TimeDelta = TimeDelta::seconds(3);
    const CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

    fn at(second: u8) -> DateTime<Utc> {
        testing::NOW() + TimeDelta::seconds(second.into())
    }

    fn token(name: u8, key: u8, issued: u8, life: u8) -> AccessToken {
        AccessToken {
            digest: Sha256Digest([name; 32]),
            key: Sha256Digest([key; 32]),
            validity: Validity {
                issued: at(issued),
                not_before: None,
                expires: at(issued.saturating_add(life)),
            },
            ..testing::access_token()
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Remember(Box<AccessToken>),
        Recall(u8),
        /// The clock is set, in either direction.
        Clock(u8),
        /// The Authority's key is now this one.
        Key(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let token = (0..6u8, 0..2u8, 0..20u8, 1..20u8)
            .prop_map(|(name, key, issued, life)| token(name, key, issued, life));
        prop::collection::vec(
            prop_oneof![
                3 => token.prop_map(|token| Step::Remember(Box::new(token))),
                6 => (0..6u8).prop_map(Step::Recall),
                2 => (0..40u8).prop_map(Step::Clock),
                1 => (0..2u8).prop_map(Step::Key),
            ],
            0..80,
        )
    }

    proptest! {
        /// The model: a list, most recently used last, that knows nothing of maps or evictions by list surgery, and spells
        /// out what counts.
        #[test]
        fn it_does_what_a_list_does(steps in steps()) {
            let (mut table, mut list) = (TokenTable::new(CAPACITY), Vec::<AccessToken>::new());
            let (mut now, mut key) = (0u8, 0u8);
            for step in steps {
                match step {
                    Step::Remember(token) => {
                        list.retain(|other| other.digest != token.digest);
                        list.push((*token).clone());
                        if list.len() > CAPACITY.get() {
                            list.remove(0);
                        }
                        table.remember(Arc::from(token));
                    }
                    Step::Recall(name) => {
                        let digest = Sha256Digest([name; 32]);
                        let current = Sha256Digest([key; 32]);
                        let expected = list
                            .iter()
                            .position(|token| token.digest == digest)
                            .map(|index| list.remove(index))
                            .filter(|token| {
                                token.key == current
                                    && token.validity.issued - SKEW <= at(now)
                                    && at(now) < token.validity.expires + SKEW
                            });
                        list.extend(expected.clone());
                        let got = table.recall(&digest, |token| {
                            token.key == current && token.validity.check(at(now), SKEW).is_ok()
                        });
                        prop_assert_eq!(got.as_deref(), expected.as_ref());
                    }
                    Step::Clock(to) => now = to,
                    Step::Key(to) => key = to,
                }
                prop_assert_eq!(table.len(), list.len());
            }
        }
    }

    #[test]
    fn the_bound_holds_and_the_least_used_goes_first() {
        let mut table = TokenTable::new(CAPACITY);
        for name in 0..3 {
            table.remember(Arc::new(token(name, 0, 0, 10)));
        }
        let has =
            |table: &mut TokenTable, name: u8| table.recall(&Sha256Digest([name; 32]), |_| true).is_some();
        assert!(has(&mut table, 0), "used again");
        table.remember(Arc::new(token(3, 0, 0, 10)));
        assert_eq!(table.len(), CAPACITY.get());
        assert!(!has(&mut table, 1));
        assert!(has(&mut table, 0) && has(&mut table, 2) && has(&mut table, 3));
    }

    #[test]
    fn what_counts_no_more_is_forgotten_for_good() {
        let mut table = TokenTable::new(CAPACITY);
        assert!(table.is_empty());
        table.remember(Arc::new(token(0, 0, 0, 10)));
        let digest = Sha256Digest([0; 32]);
        assert_eq!(table.recall(&digest, |_| false), None);
        assert_eq!(table.recall(&digest, |_| true), None);
        assert!(table.is_empty());
    }
}
