//! The actor through its mailbox, with a fake Licensing.

mod crowds;
mod licences;

use std::sync::atomic::Ordering;

use actix::Arbiter;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;
use crate::runtime::{AskError, Deadline, Mailbox, start};
use crate::testing::{self, FakeClock, FakeLicensing};

struct Bench {
    licensing: FakeLicensing,
    clock: FakeClock,
    mailbox: Mailbox<Entitlements>,
}

/// As many places as the bench's mailbox has.
const CAPACITY: usize = 256;

fn bench(grace: u64) -> Bench {
    bench_with(grace, Bounds::of_mailbox(CAPACITY), CAPACITY)
}

fn bench_with(grace: u64, bounds: Bounds, capacity: usize) -> Bench {
    let (licensing, clock, vitals) = (FakeLicensing::default(), FakeClock::default(), testing::vitals());
    let policy = EntitlementPolicy {
        grace: Duration::from_secs(grace),
        ..testing::tuning().entitlement
    };
    let actor = Entitlements::new(
        Arc::new(licensing.clone()),
        Arc::new(clock.clone()),
        Arc::clone(&vitals.observer),
        vitals.log.clone(),
        policy,
        bounds,
    );
    Bench {
        licensing,
        clock,
        mailbox: start(&Arbiter::current(), capacity, vitals, move || actor),
    }
}

/// What a PoE came to, as far as these tests tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Good,
    Invalid,
    Expired,
    Revoked,
    Unavailable,
    Asked(AskError),
}

impl Bench {
    async fn resolve(&self, value: &str) -> Came {
        self.resolve_for("acme", value).await
    }

    async fn resolve_for(&self, tenant: &str, value: &str) -> Came {
        let poe = Poe::new(value).expect("a proof");
        let deadline = Deadline::after(Duration::from_secs(5));
        let ask = Resolve {
            poe,
            tenant: testing::tenant(tenant),
        };
        match self.mailbox.ask(ask, deadline).await {
            Ok(Ok(_)) => Came::Good,
            Ok(Err(EntitlementError::Invalid(_))) => Came::Invalid,
            Ok(Err(EntitlementError::Expired)) => Came::Expired,
            Ok(Err(EntitlementError::Revoked)) => Came::Revoked,
            Ok(Err(EntitlementError::Unavailable)) => Came::Unavailable,
            Ok(Err(other)) => panic!("{other:?}"),
            Err(error) => Came::Asked(error),
        }
    }

    async fn facts(&self, value: &str) -> Arc<Entitlement> {
        let ask = Resolve {
            poe: Poe::new(value).expect("a proof"),
            tenant: testing::tenant("acme"),
        };
        let answer = self
            .mailbox
            .ask(ask, Deadline::after(Duration::from_secs(5)))
            .await;
        answer.expect("an answer").expect("facts").facts
    }

    /// At each second, what one PoE comes to and how often Licensing was asked so far.
    async fn expect(&self, steps: &[(u64, Came, u32)]) {
        for &(second, came, asked) in steps {
            self.at(second);
            assert_eq!(self.resolve("poe").await, came, "at {second}");
            assert_eq!(self.asked(), asked, "introspections at {second}");
        }
    }

    fn at(&self, second: u64) {
        let now = self.clock.monotonic();
        self.clock
            .advance(Duration::from_secs(second).saturating_sub(now));
    }

    fn asked(&self) -> u32 {
        self.licensing.introspections.load(Ordering::SeqCst)
    }

    fn says(&self, answer: Introspection) {
        self.licensing.online.set(Ok(Some(answer)));
    }

    fn down(&self) {
        self.licensing.online.set(Err(SourceUnavailable("down".into())));
    }
}

fn expiring(seconds: i64) -> Entitlement {
    Entitlement {
        expires: testing::NOW() + chrono::Duration::seconds(seconds),
        ..testing::entitlement()
    }
}

#[actix::test]
async fn fifty_requests_share_one_flight() {
    let bench = bench(0);
    bench.licensing.open.set(false);
    let mut all = Box::pin(join_all((0..50).map(|_| bench.resolve("poe"))));
    assert!((&mut all).now_or_never().is_none());
    testing::until(|| bench.asked() == 1).await;
    bench.licensing.open.set(true);
    assert_eq!(all.await, [Came::Good; 50]);
    assert_eq!(bench.asked(), 1);
    assert_eq!(bench.licensing.fetches.load(Ordering::SeqCst), 1);
    assert_eq!(bench.resolve("another").await, Came::Good);
    assert_eq!(bench.asked(), 2, "another proof is another question");
}

#[actix::test]
async fn good_answers_live_for_the_positive_ttl() {
    bench(0)
        .expect(&[
            (0, Came::Good, 1),
            (59, Came::Good, 1),
            (60, Came::Good, 2),
            (119, Came::Good, 2),
        ])
        .await;
}

#[actix::test]
async fn refusals_live_for_the_negative_ttl() {
    let revoked = bench(0);
    revoked.says(Introspection::Revoked);
    revoked
        .expect(&[
            (0, Came::Revoked, 1),
            (4, Came::Revoked, 1),
            (5, Came::Revoked, 2),
        ])
        .await;
    revoked.licensing.online.set(Ok(None));
    revoked
        .expect(&[(9, Came::Revoked, 2), (10, Came::Good, 3)])
        .await;
    let mismatch = bench(0);
    mismatch.says(Introspection::Mismatch);
    mismatch
        .expect(&[
            (0, Came::Invalid, 1),
            (4, Came::Invalid, 1),
            (5, Came::Invalid, 2),
        ])
        .await;
}

#[actix::test]
async fn what_fails_locally_is_never_introspected() {
    for (rejection, came) in [
        (PoeRejection::Invalid("signature".into()), Came::Invalid),
        (PoeRejection::Expired, Came::Expired),
        (PoeRejection::UnknownKey { kid: "p9".into() }, Came::Invalid),
    ] {
        let bench = bench(300);
        bench.licensing.local.set(Err(rejection));
        bench.expect(&[(0, came, 0), (4, came, 0)]).await;
    }
}

#[actix::test]
async fn facts_are_never_kept_past_their_end() {
    let bench = bench(0);
    bench.licensing.local.set(Ok(expiring(10)));
    bench.expect(&[(0, Came::Good, 1), (9, Came::Good, 1)]).await;
    bench.licensing.local.set(Err(PoeRejection::Expired));
    bench.expect(&[(10, Came::Expired, 1)]).await;
}

#[actix::test]
async fn the_wall_clock_ends_facts_whatever_their_ttl() {
    let bench = bench(0);
    bench.licensing.local.set(Ok(expiring(30)));
    bench.expect(&[(0, Came::Good, 1)]).await;
    bench.clock.jump(Duration::from_secs(30));
    bench.expect(&[(0, Came::Expired, 1)]).await;
}

#[actix::test]
async fn an_end_that_licensing_brought_forward_counts() {
    let bench = bench(0);
    bench.says(Introspection::Active(Box::new(expiring(20))));
    // What Licensing says to have ended has ended, active or not.
    bench
        .expect(&[(0, Came::Good, 1), (19, Came::Good, 1), (20, Came::Expired, 1)])
        .await;
}

#[actix::test]
async fn with_licensing_down_nothing_is_known_and_nothing_remembered() {
    let bench = bench(0);
    bench.down();
    bench
        .expect(&[(0, Came::Unavailable, 1), (0, Came::Unavailable, 2)])
        .await;
    bench.licensing.online.set(Ok(None));
    bench.expect(&[(0, Came::Good, 3)]).await;
    bench.down();
    bench
        .expect(&[(59, Came::Good, 3), (60, Came::Unavailable, 4)])
        .await;
}

#[actix::test]
async fn grace_counts_from_the_last_online_success() {
    let bench = bench(300);
    bench.expect(&[(10, Came::Good, 1)]).await;
    bench.down();
    // A fallback is kept for the negative TTL, asks again after it, and renews nothing.
    bench
        .expect(&[
            (70, Came::Good, 2),
            (74, Came::Good, 2),
            (75, Came::Good, 3),
            (308, Came::Good, 4),
            (309, Came::Good, 4),
            (310, Came::Unavailable, 5),
            (311, Came::Unavailable, 6),
        ])
        .await;
    bench.licensing.online.set(Ok(None));
    bench.expect(&[(312, Came::Good, 7)]).await;
}

#[actix::test]
async fn grace_never_covers_a_revoked_licence() {
    let bench = bench(300);
    bench.expect(&[(0, Came::Good, 1)]).await;
    bench.says(Introspection::Revoked);
    bench.expect(&[(60, Came::Revoked, 2)]).await;
    bench.down();
    bench
        .expect(&[(64, Came::Revoked, 2), (65, Came::Unavailable, 3)])
        .await;
}

#[actix::test]
async fn grace_never_covers_a_proof_that_was_never_confirmed() {
    let bench = bench(300);
    bench.down();
    bench
        .expect(&[(0, Came::Unavailable, 1), (1, Came::Unavailable, 2)])
        .await;
}

#[actix::test]
async fn a_flight_outlives_its_first_caller() {
    let bench = bench(0);
    bench.licensing.open.set(false);
    let mut leader = Box::pin(bench.resolve("poe"));
    assert!((&mut leader).now_or_never().is_none());
    testing::until(|| bench.asked() == 1).await;
    let mut follower = Box::pin(bench.resolve("poe"));
    assert!((&mut follower).now_or_never().is_none());
    drop(leader);
    bench.licensing.open.set(true);
    assert_eq!(follower.await, Came::Good);
    assert_eq!(bench.resolve("poe").await, Came::Good);
    assert_eq!(bench.asked(), 1);
    testing::until(|| bench.mailbox.in_use() == 0).await;
}

#[actix::test]
async fn without_licensings_keys_nothing_is_verified() {
    let bench = bench(300);
    bench.licensing.keys_up.set(false);
    bench
        .expect(&[(0, Came::Unavailable, 0), (0, Came::Unavailable, 0)])
        .await;
    assert_eq!(bench.licensing.fetches.load(Ordering::SeqCst), 1, "cool-down");
    bench.licensing.keys_up.set(true);
    bench.expect(&[(1, Came::Good, 1)]).await;
}

#[actix::test]
async fn a_key_that_could_not_be_looked_for_is_not_branded_unknown() {
    let bench = bench(0);
    bench.expect(&[(0, Came::Good, 1)]).await;
    bench.licensing.keys_up.set(false);
    bench
        .licensing
        .local
        .set(Err(PoeRejection::UnknownKey { kid: "p2".into() }));
    bench
        .expect(&[(60, Came::Unavailable, 1), (61, Came::Unavailable, 1)])
        .await;
    bench.licensing.keys_up.set(true);
    bench.expect(&[(90, Came::Invalid, 1)]).await;
    let fetches = || bench.licensing.fetches.load(Ordering::SeqCst);
    assert_eq!(fetches(), 3, "at the start, in vain, and after the cool-down");
    bench.expect(&[(130, Came::Invalid, 1)]).await;
    assert_eq!(fetches(), 3, "known to be unknown");
}

#[actix::test]
async fn a_panic_while_asking_fails_all_who_wait_and_nobody_after() {
    let bench = bench(300);
    assert_eq!(bench.resolve("warm up").await, Came::Good);
    bench.licensing.bomb.arm();
    let all = join_all((0..5).map(|_| bench.resolve("poe"))).await;
    assert_eq!(all[0], Came::Asked(AskError::Panicked));
    // Those behind it begin a flight of their own.
    assert_eq!(all[1..], [Came::Good; 4]);
    bench.mailbox.crash().await;
    assert_eq!(bench.resolve("poe").await, Came::Good);
}

#[actix::test]
async fn those_who_wait_for_a_flight_hear_of_a_panic() {
    let bench = bench(300);
    bench.licensing.open.set(false);
    let mut all = Box::pin(join_all((0..5).map(|_| bench.resolve("poe"))));
    assert!((&mut all).now_or_never().is_none());
    testing::until(|| bench.asked() == 1).await;
    bench.mailbox.crash().await;
    assert_eq!(all.await, [Came::Asked(AskError::Abandoned); 5]);
    bench.licensing.open.set(true);
    assert_eq!(bench.resolve("poe").await, Came::Good);
    testing::until(|| bench.mailbox.in_use() == 0).await;
}

#[actix::test]
async fn a_flood_of_bad_proofs_pushes_out_no_good_one() {
    let bench = bench(600);
    assert_eq!(bench.resolve("poe").await, Came::Good);
    bench
        .licensing
        .local
        .set(Err(PoeRejection::Invalid("forged".into())));
    let capacity = testing::tuning().entitlement.capacity.get();
    for n in 0..=capacity {
        assert_eq!(bench.resolve(&format!("forged-{n}")).await, Came::Invalid);
    }
    bench.licensing.local.set(Ok(testing::entitlement()));
    bench.down();
    bench.expect(&[(59, Came::Good, 1), (60, Came::Good, 2)]).await;
}

#[actix::test]
async fn licensing_is_left_alone_for_as_long_as_it_asks_but_not_for_ever() {
    let bench = bench(600);
    bench.expect(&[(0, Came::Good, 1)]).await;
    bench.says(Introspection::Later(Duration::from_secs(10)));
    bench.expect(&[(60, Came::Good, 2)]).await;
    // Back at once, and yet not asked before 10 s are over: not for this proof, not for others.
    bench.licensing.online.set(Ok(None));
    bench.expect(&[(69, Came::Good, 2)]).await;
    assert_eq!(bench.resolve("cold").await, Came::Unavailable);
    assert_eq!(bench.asked(), 2);
    // Until 74 s the confirmation in grace is remembered.
    bench.expect(&[(74, Came::Good, 3)]).await;
    assert_eq!(bench.resolve("cold").await, Came::Good);
    bench.says(Introspection::Later(Duration::MAX));
    bench.at(200);
    assert_eq!(bench.resolve("cold").await, Came::Good);
    bench.licensing.online.set(Ok(None));
    assert_eq!(bench.asked(), 5);
    bench.at(229);
    assert_eq!(bench.resolve("colder").await, Came::Unavailable);
    bench.at(230);
    assert_eq!(bench.resolve("colder").await, Came::Good);
}

#[actix::test]
async fn who_waits_for_a_turn_hears_at_once_that_licensing_wants_to_be_left_alone() {
    let bounds = Bounds {
        introspections: 1,
        ..Bounds::of_mailbox(CAPACITY)
    };
    let bench = bench_with(0, bounds, CAPACITY);
    bench.licensing.open.set(false);
    bench.says(Introspection::Later(Duration::from_secs(10)));
    let proofs: Vec<_> = (0..20).map(|n| format!("poe-{n}")).collect();
    let mut all = Box::pin(join_all(proofs.iter().map(|proof| bench.resolve(proof))));
    assert!((&mut all).now_or_never().is_none());
    testing::until(|| bench.mailbox.in_use() == 20).await;
    bench.licensing.open.set(true);
    assert_eq!(all.await, [Came::Unavailable; 20]);
    assert_eq!(bench.asked(), 1);
    bench.licensing.online.set(Ok(None));
    bench.at(10);
    assert_eq!(bench.resolve("poe-0").await, Came::Good);
    testing::until(|| bench.mailbox.in_use() == 0).await;
}

#[test]
fn shards_together_remember_what_one_would() {
    let capacity = |all: usize, shards| {
        let all = NonZeroUsize::new(all).expect("some");
        let policy = EntitlementPolicy {
            capacity: all,
            ..testing::tuning().entitlement
        };
        policy.shared_by(shards).capacity.get()
    };
    assert_eq!(capacity(1000, 1), 1000);
    assert_eq!(capacity(1000, 3), 334);
    assert_eq!(capacity(2, 8), 1);
    assert_eq!(capacity(2, 0), 2);
}
