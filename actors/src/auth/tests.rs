//! The actor through its mailbox, with a fake Authority.

use std::sync::atomic::{AtomicU32, Ordering};

use actix::Arbiter;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use super::*;
use crate::domain::caller::VerifiedProof;
use crate::domain::digest::Sha256Digest;
use crate::runtime::{AskError, Deadline, Mailbox, start};
use crate::testing::{self, FakeAuthority, FakeClock, FakeState};

struct Bench {
    authority: FakeAuthority,
    clock: FakeClock,
    auth: Mailbox<Auth>,
    published: watch::Receiver<Option<AuthorityKeys>>,
}

fn bench() -> Bench {
    bench_observed(testing::vitals().observer)
}

fn bench_observed(observer: Arc<dyn Observer>) -> Bench {
    let (authority, clock) = (FakeAuthority::default(), FakeClock::default());
    let sender = watch::Sender::new(None);
    let published = sender.subscribe();
    let vitals = testing::vitals();
    let parts = AuthParts {
        source: Arc::new(authority.clone()),
        clock: Arc::new(clock.clone()),
        observer,
        log: vitals.log.clone(),
        policy: KeyPolicy::default(),
        published: sender,
        replay_capacity: 1000,
        shared: None,
    };
    Bench {
        authority,
        clock,
        auth: start(&Arbiter::current(), 256, vitals, move || Auth::new(parts)),
        published,
    }
}

/// With a store that replicas share.
fn shared_bench(clock: &FakeClock, store: &FakeState) -> Mailbox<Auth> {
    let vitals = testing::vitals();
    let parts = AuthParts {
        source: Arc::new(FakeAuthority::default()),
        clock: Arc::new(clock.clone()),
        observer: Arc::clone(&vitals.observer),
        log: vitals.log.clone(),
        policy: KeyPolicy::default(),
        published: watch::Sender::new(None),
        replay_capacity: 1000,
        shared: Some(SharedReplay {
            store: Arc::new(store.clone()),
            most: 3,
        }),
    };
    start(&Arbiter::current(), 256, vitals, move || Auth::new(parts))
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

impl Bench {
    /// Asks for keys; says whether those answered with have `kid`.
    async fn has(&self, kid: &str, missing: bool) -> Result<bool, AuthError> {
        let missing = missing.then(|| kid.to_owned());
        let answer = self.auth.ask(KeysFor { missing }, soon()).await;
        Ok(answer.expect("the actor answers")?.keys.knows(kid))
    }

    async fn spend(&self, proof: VerifiedProof) -> Result<(), AuthError> {
        let spend = SpendProof {
            tenant: testing::tenant("acme"),
            proof,
            window_seconds: 60,
            ahead_seconds: 0,
        };
        self.auth.ask(spend, soon()).await.expect("the actor answers")
    }

    fn fetches(&self) -> u32 {
        self.authority.fetches.load(Ordering::SeqCst)
    }

    /// Moves the clock to this second since its start.
    fn at(&self, second: u64) {
        let now = self.clock.monotonic();
        self.clock
            .advance(Duration::from_secs(second).saturating_sub(now));
    }
}

const UNAVAILABLE: Result<bool, AuthError> = Err(AuthError::AuthorityUnavailable);

#[actix::test]
async fn keys_are_fetched_once_for_all_who_wait_and_published() {
    let bench = bench();
    let all = join_all((0..50).map(|_| bench.has("k1", false))).await;
    assert!(all.into_iter().all(|has| has == Ok(true)));
    assert_eq!(bench.fetches(), 1);
    let published = bench.published.borrow().clone();
    assert!(published.is_some_and(|keys| keys.keys.knows("k1")));
}

#[actix::test]
async fn unknown_key_ids_fetch_at_most_once_in_a_cool_down() {
    let bench = bench();
    assert_eq!(bench.has("k1", false).await, Ok(true));
    for (second, kid, fetches) in [
        (29, "k2", 1),
        (30, "k2", 2), // the cool-down of 30 s has passed
        (30, "k3", 2),
        (70, "k2", 2), // known to be unknown
        (70, "k3", 3),
        (71, "k4", 3),
    ] {
        bench.at(second);
        assert_eq!(bench.has(kid, true).await, Ok(false), "{kid} at {second}");
        assert_eq!(bench.fetches(), fetches, "{kid} at {second}");
    }
    bench.at(101);
    let many = (0..50).map(|n| format!("k{}", n + 100)).collect::<Vec<_>>();
    join_all(many.iter().map(|kid| bench.has(kid, true))).await;
    assert_eq!(bench.fetches(), 4, "fifty unknown ids at once are one fetch");
}

#[actix::test]
async fn rotated_keys_are_found_and_old_ones_die() {
    let bench = bench();
    assert_eq!(bench.has("k1", false).await, Ok(true));
    bench.authority.published.set(Some(vec!["k2".into()]));
    bench.at(30);
    assert_eq!(bench.has("k2", true).await, Ok(true));
    assert_eq!(bench.has("k1", false).await, Ok(false));
    assert_eq!(bench.fetches(), 2);
}

#[actix::test]
async fn a_refresh_in_the_background_forgets_what_was_unknown() {
    let bench = bench();
    assert_eq!(bench.has("k1", false).await, Ok(true));
    bench.at(30);
    assert_eq!(bench.has("k2", true).await, Ok(false));
    bench
        .authority
        .published
        .set(Some(vec!["k1".into(), "k2".into()]));
    bench.at(30 + 240);
    assert_eq!(
        bench.has("k1", false).await,
        Ok(true),
        "answered before the refresh is done"
    );
    testing::until(|| {
        bench
            .published
            .borrow()
            .as_ref()
            .is_some_and(|keys| keys.keys.knows("k2"))
    })
    .await;
    assert_eq!(bench.has("k2", true).await, Ok(true));
    assert_eq!(bench.fetches(), 3);
}

#[actix::test]
async fn with_the_authority_down_known_keys_serve_until_the_hard_limit() {
    let bench = bench();
    assert_eq!(bench.has("k1", false).await, Ok(true));
    bench.authority.published.set(None);
    bench.at(30);
    assert_eq!(
        bench.has("k2", true).await,
        UNAVAILABLE,
        "nobody knows whether it is new"
    );
    assert_eq!(bench.has("k2", true).await, UNAVAILABLE, "nor in the cool-down");
    assert_eq!(bench.fetches(), 2);
    bench.at(3599);
    assert_eq!(bench.has("k1", false).await, Ok(true));
    bench.at(3600);
    assert_eq!(bench.has("k1", false).await, UNAVAILABLE);
    assert!(bench.published.borrow().is_none(), "workers are told too");
    bench
        .authority
        .published
        .set(Some(vec!["k1".into(), "k2".into()]));
    bench.at(3602);
    assert_eq!(bench.has("k2", true).await, Ok(true));
}

#[actix::test]
async fn without_keys_the_authority_is_asked_once_a_second() {
    let bench = bench();
    bench.authority.published.set(None);
    for (second, fetches) in [(0, 1), (0, 1), (1, 2), (1, 2), (2, 3)] {
        bench.at(second);
        assert_eq!(bench.has("k1", false).await, UNAVAILABLE);
        assert_eq!(bench.fetches(), fetches, "at {second}");
    }
}

#[actix::test]
async fn a_panic_while_fetching_costs_who_waits_and_no_proof() {
    let bench = bench();
    assert_eq!(bench.spend(testing::proof()).await, Ok(()));
    bench.authority.bomb.arm();
    let answer = bench.auth.ask(KeysFor { missing: None }, soon()).await;
    assert_eq!(answer.err(), Some(AskError::Panicked));
    bench.at(1);
    assert_eq!(bench.has("k1", false).await, Ok(true));
    assert!(matches!(
        bench.spend(testing::proof()).await,
        Err(AuthError::Proof(_))
    ));
    bench.auth.crash().await;
    assert_eq!(bench.has("k1", false).await, Ok(true));
    assert!(matches!(
        bench.spend(testing::proof()).await,
        Err(AuthError::Proof(_))
    ));
    assert_eq!(bench.fetches(), 2, "keys outlive a panic");
}

#[actix::test]
async fn a_proof_is_spent_once_however_many_try() {
    let bench = bench();
    let all = join_all((0..64).map(|_| bench.spend(testing::proof()))).await;
    assert_eq!(all.iter().filter(|spent| spent.is_ok()).count(), 1);
    assert!(
        all.into_iter()
            .all(|spent| matches!(spent, Ok(()) | Err(AuthError::Proof(_))))
    );
    let early = VerifiedProof {
        replay_id: Sha256Digest([9; 32]),
        issued: testing::NOW() - chrono::Duration::seconds(1),
        ..testing::proof()
    };
    assert_eq!(bench.spend(early).await, Err(AuthError::NonceRequired));
}

#[actix::test]
async fn a_clock_that_is_set_back_lets_nobody_use_a_proof_again_and_is_counted() {
    let counter = Arc::new(Counter::default());
    let bench = bench_observed(Arc::clone(&counter) as Arc<dyn Observer>);
    let numbered = |n: u8, issued: DateTime<Utc>| VerifiedProof {
        replay_id: Sha256Digest([n; 32]),
        issued,
        nonce: Some(0),
        ..testing::proof()
    };
    let captured = numbered(1, testing::NOW());
    assert_eq!(bench.spend(captured.clone()).await, Ok(()));
    // Long enough to forget it, and a proof that makes it forgotten.
    bench.clock.advance(Duration::from_secs(92));
    assert_eq!(bench.spend(numbered(2, bench.clock.now())).await, Ok(()));
    bench.clock.set_back(Duration::from_secs(92));
    assert!(matches!(bench.spend(captured).await, Err(AuthError::Proof(what)) if what.contains("clock")));
    assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(
        bench.spend(numbered(3, bench.clock.now())).await,
        Ok(()),
        "what is new passes"
    );
    assert_eq!(counter.0.load(Ordering::SeqCst), 1, "one step is counted once");
}

/// Counts steps back.
#[derive(Debug, Default)]
struct Counter(AtomicU32);

impl Observer for Counter {
    fn clock_went_back(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[actix::test]
async fn tokens_with_made_up_keys_do_not_fill_the_mailbox() {
    let bench = bench();
    assert_eq!(bench.has("k1", false).await, Ok(true));
    bench.at(30);
    // More than the mailbox holds, all at once: they are asked before the fetch can come back.
    let kids: Vec<String> = (0..200).map(|n| format!("made-up-{n}")).collect();
    let (made_up, honest) = futures_util::future::join(
        join_all(kids.iter().map(|kid| bench.has(kid, true))),
        join_all((0..8).map(|n| {
            bench.spend(VerifiedProof {
                replay_id: Sha256Digest([n; 32]),
                ..testing::proof()
            })
        })),
    )
    .await;
    let refused = made_up.iter().filter(|came| **came == UNAVAILABLE).count();
    assert_eq!(refused, 200 - WAITING_FOR_UNKNOWN);
    assert!(
        made_up
            .iter()
            .all(|came| matches!(came, Ok(false) | Err(AuthError::AuthorityUnavailable)))
    );
    assert!(honest.iter().all(Result::is_ok));
    assert_eq!(bench.fetches(), 2);
}

#[actix::test]
async fn replicas_with_one_store_accept_a_proof_once() {
    let clock = FakeClock::default();
    let store = FakeState::new(&clock);
    let replicas: Vec<_> = (0..3).map(|_| shared_bench(&clock, &store)).collect();
    let spend = async |replica: usize, id: u8, age: i64, nonce| {
        let proof = VerifiedProof {
            replay_id: Sha256Digest([id; 32]),
            issued: testing::NOW() - chrono::Duration::seconds(age),
            nonce,
            ..testing::proof()
        };
        let spend = SpendProof {
            tenant: testing::tenant("acme"),
            proof,
            window_seconds: 60,
            ahead_seconds: 30,
        };
        replicas[replica]
            .ask(spend, soon())
            .await
            .expect("the actor answers")
    };
    let all = join_all((0..30).map(|n| spend(n % 3, 1, 0, Some(1)))).await;
    assert_eq!(all.iter().filter(|spent| spent.is_ok()).count(), 1);
    assert!(
        all.iter()
            .all(|spent| matches!(spent, Ok(()) | Err(AuthError::Proof(_))))
    );
    // Without a nonce of the store's own memory a proof must be surely younger than it.
    assert_eq!(spend(0, 2, 0, None).await, Err(AuthError::NonceRequired));
    assert_eq!(spend(0, 2, -30, None).await, Ok(()));
    assert_eq!(spend(0, 3, 0, Some(0)).await, Err(AuthError::NonceRequired));
    store.forget();
    assert_eq!(
        spend(1, 3, 0, Some(1)).await,
        Err(AuthError::NonceRequired),
        "of the lost memory"
    );
    assert_eq!(spend(1, 3, 0, Some(2)).await, Ok(()));
    for id in [4, 5] {
        assert_eq!(spend(2, id, 0, Some(2)).await, Ok(()));
    }
    assert_eq!(spend(2, 6, 0, Some(2)).await, Err(AuthError::ReplayStoreFull));
    assert!(matches!(spend(0, 7, 61, Some(2)).await, Err(AuthError::Proof(_))));
    store.up.set(false);
    assert_eq!(spend(0, 7, 0, Some(2)).await, Err(AuthError::StateUnavailable));
    store.bomb.arm();
    assert_eq!(spend(0, 7, 0, Some(2)).await, Err(AuthError::StateUnavailable));
}
