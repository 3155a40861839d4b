//! When to use, refresh or give up a fetched key set. Pure: time comes in, decisions go out.
//!
//! Both the Authority's and Licensing's keys are kept so (facts: refresh in the background at 80 % of freshness; one
//! global, time-only cool-down claimed before the fetch, so that unknown key ids cannot make us hammer a neighbour; a
//! small cache of key ids known to be unknown; a hard limit after which stale keys are no keys).

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;

/// How long key sets are good for.
#[derive(Clone, Copy, Debug)]
pub struct KeyPolicy {
    /// Refreshed in the background from this age on.
    pub refresh_after: Duration,
    /// Not used from this age on.
    pub hard_limit: Duration,
    /// Least time between two fetches.
    pub cool_down: Duration,
    /// Least time between two fetches while there is no key set at all.
    pub cool_down_empty: Duration,
    /// How long a key id that fresh keys did not have counts as unknown: it may have been published since.
    pub negative_ttl: Duration,
}

impl Default for KeyPolicy {
    fn default() -> Self {
        Self {
            refresh_after: Duration::from_secs(240),
            hard_limit: Duration::from_secs(3600),
            cool_down: Duration::from_secs(30),
            cool_down_empty: Duration::from_secs(1),
            negative_ttl: Duration::from_secs(60),
        }
    }
}

/// Key ids remembered as unknown.
const NEGATIVE_CAPACITY: NonZeroUsize = NonZeroUsize::MIN.saturating_add(127);

/// What a key set answers.
pub trait Knows {
    /// True when it has a key with this id.
    fn knows(&self, kid: &str) -> bool;
}

/// A key set and when it was fetched, on the monotonic clock.
#[derive(Debug)]
pub struct Snapshot<V: ?Sized> {
    /// The keys.
    pub keys: Arc<V>,
    /// When they were fetched.
    pub fetched: Duration,
}

impl<V: ?Sized> Clone for Snapshot<V> {
    fn clone(&self) -> Self {
        Self {
            keys: Arc::clone(&self.keys),
            fetched: self.fetched,
        }
    }
}

/// What to do for a request.
#[derive(Debug)]
pub enum Decision<V: ?Sized> {
    /// Answer with these keys; `refresh` asks for a fetch in the background.
    Use {
        /// The keys.
        snapshot: Snapshot<V>,
        /// True when they grow old.
        refresh: bool,
    },
    /// Fetch, and answer afterwards.
    Fetch,
    /// No usable keys, or not the one asked for while the neighbour is down, and too early to ask again.
    Unavailable,
}

/// The state of one neighbour's keys.
#[derive(Debug)]
pub struct Keyring<V: ?Sized> {
    policy: KeyPolicy,
    current: Option<Snapshot<V>>,
    last_attempt: Option<Duration>,
    fetching: bool,
    /// The last fetch brought nothing: what these keys do not have may exist all the same.
    failed: bool,
    /// Key ids that the current keys do not have, and when they were looked for.
    unknown: LruCache<String, Duration>,
}

impl<V: Knows + ?Sized> Keyring<V> {
    /// Empty.
    pub fn new(policy: KeyPolicy) -> Self {
        Self {
            policy,
            current: None,
            last_attempt: None,
            fetching: false,
            failed: false,
            unknown: LruCache::new(NEGATIVE_CAPACITY),
        }
    }

    /// The usable key set.
    pub fn usable(&self, now: Duration) -> Option<&Snapshot<V>> {
        self.current
            .as_ref()
            .filter(|s| now.saturating_sub(s.fetched) < self.policy.hard_limit)
    }

    /// Decides for a request; `missing` names a key id that the asker did not find in the keys it has.
    pub fn decide(&mut self, missing: Option<&str>, now: Duration) -> Decision<V> {
        let Some(snapshot) = self.usable(now).cloned() else {
            return if self.fetching || self.may_fetch(now) {
                Decision::Fetch
            } else {
                Decision::Unavailable
            };
        };
        let age = now.saturating_sub(snapshot.fetched);
        let refresh = age >= self.policy.refresh_after && !self.fetching && self.may_fetch(now);
        let Some(kid) = missing else {
            return Decision::Use { snapshot, refresh };
        };
        if snapshot.keys.knows(kid) || self.is_unknown(kid, now) {
            Decision::Use { snapshot, refresh }
        } else if self.fetching || self.may_fetch(now) {
            Decision::Fetch
        } else if self.failed {
            Decision::Unavailable
        } else {
            Decision::Use { snapshot, refresh }
        }
    }

    fn is_unknown(&mut self, kid: &str, now: Duration) -> bool {
        let noted = self.unknown.get(kid).copied();
        noted.is_some_and(|noted| now.saturating_sub(noted) < self.policy.negative_ttl)
    }

    fn may_fetch(&self, now: Duration) -> bool {
        let cool_down = match self.usable(now) {
            Some(_) => self.policy.cool_down,
            None => self.policy.cool_down_empty,
        };
        self.last_attempt
            .is_none_or(|at| now.saturating_sub(at) >= cool_down)
    }

    /// Claims the fetch, before it begins. False when one is under way already.
    pub fn begin(&mut self, now: Duration) -> bool {
        if self.fetching {
            return false;
        }
        self.fetching = true;
        self.last_attempt = Some(now);
        true
    }

    /// Takes the outcome of a fetch; `None` keeps what is there.
    pub fn finish(&mut self, keys: Option<Arc<V>>, now: Duration) {
        self.fetching = false;
        self.failed = keys.is_none();
        if let Some(keys) = keys {
            self.current = Some(Snapshot { keys, fetched: now });
            self.unknown.clear();
        }
    }

    /// Remembers a key id that even fresh keys do not have.
    pub fn note_unknown(&mut self, kid: &str, now: Duration) {
        self.unknown.put(kid.to_owned(), now);
    }

    /// After a panic: a fetch that was under way may never report back.
    pub fn recover(&mut self) {
        self.failed |= self.fetching;
        self.fetching = false;
    }
}

impl Knows for dyn crate::ports::TokenVerifier {
    fn knows(&self, kid: &str) -> bool {
        crate::ports::TokenVerifier::knows(self, kid)
    }
}

impl Knows for dyn crate::ports::PoeVerifier {
    fn knows(&self, kid: &str) -> bool {
        crate::ports::PoeVerifier::knows(self, kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Keys(&'static [&'static str]);

    impl Knows for Keys {
        fn knows(&self, kid: &str) -> bool {
            self.0.contains(&kid)
        }
    }

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn filled() -> Keyring<Keys> {
        let mut ring = Keyring::new(KeyPolicy::default());
        assert!(ring.begin(secs(0)));
        ring.finish(Some(Arc::new(Keys(&["a"]))), secs(0));
        ring
    }

    #[test]
    fn an_empty_ring_fetches_once_and_cools_down_briefly() {
        let mut ring: Keyring<Keys> = Keyring::new(KeyPolicy::default());
        assert!(matches!(ring.decide(None, secs(0)), Decision::Fetch));
        assert!(ring.begin(secs(0)));
        assert!(!ring.begin(secs(0)), "single flight");
        ring.finish(None, secs(0));
        assert!(matches!(
            ring.decide(None, Duration::from_millis(999)),
            Decision::Unavailable
        ));
        assert!(matches!(ring.decide(None, secs(1)), Decision::Fetch));
    }

    #[test]
    fn an_unknown_key_id_fetches_only_after_the_cool_down() {
        let mut ring = filled();
        assert!(matches!(ring.decide(Some("a"), secs(40)), Decision::Use { .. }));
        assert!(
            matches!(ring.decide(Some("b"), secs(29)), Decision::Use { .. }),
            "cool-down"
        );
        assert!(matches!(ring.decide(Some("b"), secs(30)), Decision::Fetch));
        assert!(ring.begin(secs(30)));
        ring.finish(Some(Arc::new(Keys(&["a"]))), secs(30));
        ring.note_unknown("b", secs(30));
        assert!(
            matches!(ring.decide(Some("b"), secs(89)), Decision::Use { .. }),
            "known to be unknown"
        );
        assert!(
            matches!(ring.decide(Some("b"), secs(90)), Decision::Fetch),
            "it may have been published since"
        );
        assert!(
            matches!(ring.decide(Some("c"), secs(70)), Decision::Fetch),
            "another one may be new"
        );
    }

    #[test]
    fn a_failed_fetch_says_nothing_about_a_key_id() {
        let mut ring = filled();
        assert!(ring.begin(secs(30)));
        ring.finish(None, secs(30));
        assert!(matches!(ring.decide(Some("a"), secs(31)), Decision::Use { .. }));
        assert!(
            matches!(ring.decide(Some("b"), secs(31)), Decision::Unavailable),
            "it may be new"
        );
        assert!(matches!(ring.decide(Some("b"), secs(60)), Decision::Fetch));
    }

    #[test]
    fn what_was_unknown_before_the_neighbour_went_down_may_exist_now() {
        let mut ring = filled();
        ring.note_unknown("b", secs(20));
        assert!(ring.begin(secs(79)));
        ring.finish(None, secs(79));
        assert!(
            matches!(ring.decide(Some("b"), secs(79)), Decision::Use { .. }),
            "fresh keys said so less than a minute ago"
        );
        assert!(matches!(ring.decide(Some("b"), secs(80)), Decision::Unavailable));
    }

    #[test]
    fn fresh_keys_forget_which_key_ids_were_unknown() {
        let mut ring = filled();
        ring.note_unknown("b", secs(10));
        assert!(matches!(ring.decide(Some("b"), secs(30)), Decision::Use { .. }));
        assert!(ring.begin(secs(30)));
        ring.finish(Some(Arc::new(Keys(&["a"]))), secs(30));
        assert!(
            matches!(ring.decide(Some("b"), secs(60)), Decision::Fetch),
            "it may have been published since"
        );
    }

    #[test]
    fn keys_age_refresh_and_end() {
        let mut ring = filled();
        assert!(matches!(
            ring.decide(None, secs(239)),
            Decision::Use { refresh: false, .. }
        ));
        assert!(matches!(
            ring.decide(None, secs(240)),
            Decision::Use { refresh: true, .. }
        ));
        assert!(ring.begin(secs(240)));
        ring.finish(None, secs(240));
        assert!(
            matches!(ring.decide(None, secs(3599)), Decision::Use { .. }),
            "known keys serve until the hard limit"
        );
        assert!(ring.begin(secs(3599)));
        ring.finish(None, secs(3599));
        assert!(matches!(
            ring.decide(None, Duration::from_millis(3_600_000)),
            Decision::Fetch
        ));
        ring.begin(secs(3600));
        ring.finish(None, secs(3600));
        assert!(matches!(ring.decide(None, secs(3600)), Decision::Unavailable));
    }
}
