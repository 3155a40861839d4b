//! The actor with a store that replicas share.

use std::sync::atomic::Ordering;

use actix::Arbiter;
use futures_util::future::join_all;

use super::*;
use crate::domain::plan::PlanLimits;
use crate::runtime::{Deadline, Mailbox, start};
use crate::testing::{self, FakeClock, FakeState};

const PLAN: PlanLimits = PlanLimits {
    qps: 10,
    burst: 1000,
    concurrency: 2,
    max_artifact_bytes: 100,
};

/// Replicas with one store.
struct Bench {
    clock: FakeClock,
    store: FakeState,
    replicas: Vec<Mailbox<Quota>>,
}

fn bench(replicas: u64) -> Bench {
    let clock = FakeClock::default();
    let store = FakeState::new(&clock);
    let replica = |holder| {
        let vitals = testing::vitals();
        let (clock, observer) = (Arc::new(clock.clone()), Arc::clone(&vitals.observer));
        let actor = Quota::shared(clock, observer, Arc::new(store.clone()), holder);
        start(&Arbiter::current(), 256, vitals, move || actor)
    };
    Bench {
        replicas: (0..replicas).map(replica).collect(),
        store: store.clone(),
        clock: clock.clone(),
    }
}

impl Bench {
    async fn admit_of(&self, replica: usize, limits: PlanLimits, bytes: u64) -> Result<Permit, QuotaError> {
        let ask = Admit {
            tenant: testing::tenant("acme"),
            limits,
            artifact_bytes: bytes,
        };
        let deadline = Deadline::after(Duration::from_secs(60));
        let (_, result) = self.replicas[replica]
            .ask(ask, deadline)
            .await
            .expect("the actor answers");
        result.map(|admission| admission.permit)
    }

    async fn admit(&self, replica: usize) -> Result<Permit, QuotaError> {
        self.admit_of(replica, PLAN, 1).await
    }

    async fn kind(&self, replica: usize) -> &'static str {
        self.admit(replica)
            .await
            .map_or_else(|error| error.kind(), |_| "admitted")
    }

    async fn charge(&self, replica: usize, lane: Lane) -> Result<u32, &'static str> {
        let ask = Charge {
            tenant: testing::tenant("acme"),
            limits: PlanLimits { burst: 3, ..PLAN },
            lane,
        };
        let deadline = Deadline::after(Duration::from_secs(60));
        let answer = self.replicas[replica]
            .ask(ask, deadline)
            .await
            .expect("the actor answers");
        answer
            .map(|status| status.remaining)
            .map_err(|error| error.kind())
    }

    fn in_use(&self) -> usize {
        self.store.in_use(&testing::tenant("acme"))
    }

    async fn until_in_use(&self, wanted: usize) {
        poll(|| self.in_use() == wanted).await;
    }

    /// Lets so many thirds of a lease's life pass. After each, whatever is held is renewed, or it was tried.
    async fn pass(&self, thirds: u32) {
        for _ in 0..thirds {
            self.clock.advance(self.store.lease_life() / 3);
            let before = self.store.renewals.load(Ordering::SeqCst);
            // The second begins when the first has ended.
            poll(|| self.store.renewals.load(Ordering::SeqCst) >= before + 2).await;
        }
    }
}

/// Timers need real time, a few milliseconds of it.
async fn poll(mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("what was waited for did not happen");
}

#[actix::test]
async fn replicas_share_a_plan() {
    let bench = bench(3);
    let one = bench.admit(0).await.expect("a permit");
    let two = bench.admit(1).await.expect("a permit");
    for replica in 0..3 {
        assert_eq!(bench.kind(replica).await, "concurrency");
    }
    drop(one);
    bench.until_in_use(1).await;
    let three = bench.admit(2).await.expect("a permit");
    assert_eq!(bench.kind(0).await, "concurrency");
    drop((two, three));
    bench.until_in_use(0).await;
}

#[actix::test]
async fn in_flight_is_never_above_the_limit_however_many_ask() {
    let bench = bench(3);
    for round in 0..20 {
        let all = join_all((0..30).map(|n| bench.admit((n + round) % 3))).await;
        let permits: Vec<_> = all.into_iter().filter_map(Result::ok).collect();
        assert_eq!((permits.len(), bench.in_use()), (2, 2));
        drop(permits);
        bench.until_in_use(0).await;
    }
}

#[actix::test]
async fn rate_then_concurrency_then_size() {
    let bench = bench(1);
    let limits = |burst, concurrency| PlanLimits {
        burst,
        concurrency,
        ..PLAN
    };
    assert_eq!(
        bench.admit_of(0, limits(9, 0), 101).await.err().map(|e| e.kind()),
        Some("concurrency")
    );
    assert_eq!(
        bench.admit_of(0, limits(9, 1), 101).await.err().map(|e| e.kind()),
        Some("size")
    );
    assert_eq!(bench.in_use(), 0, "what is too large holds nothing");
    assert!(bench.admit_of(0, limits(9, 1), 100).await.is_ok());
    assert_eq!(
        bench.admit_of(0, limits(3, 0), 101).await.err().map(|e| e.kind()),
        Some("rate")
    );
}

#[actix::test]
async fn dry_runs_and_verify_calls_are_shared_and_records_of_refusals_are_not() {
    let bench = bench(2);
    for lane in [Lane::DryRun, Lane::Verify] {
        assert_eq!(bench.charge(0, lane).await, Ok(2));
        assert_eq!(bench.charge(1, lane).await, Ok(1));
        assert_eq!(bench.charge(0, lane).await, Ok(0));
        assert_eq!(bench.charge(1, lane).await, Err("rate"));
    }
    let calls = bench.store.calls.load(Ordering::SeqCst);
    assert_eq!(bench.charge(0, Lane::Refusal).await, Ok(2));
    assert_eq!(bench.charge(1, Lane::Refusal).await, Ok(2));
    assert_eq!(bench.store.calls.load(Ordering::SeqCst), calls);
}

#[actix::test]
async fn a_store_that_is_down_refuses_and_recovers() {
    let bench = bench(2);
    let held = bench.admit(0).await.expect("a permit");
    bench.store.up.set(false);
    for replica in 0..2 {
        assert_eq!(
            bench.admit(replica).await.err(),
            Some(QuotaError::StateUnavailable)
        );
        assert_eq!(bench.charge(replica, Lane::Verify).await, Err("state"));
    }
    bench.store.up.set(true);
    assert_eq!(bench.kind(1).await, "admitted");
    drop(held);
    bench.until_in_use(0).await;
}

#[actix::test]
async fn an_answer_that_is_lost_gives_its_lease_back() {
    let bench = bench(1);
    bench.store.answers.set(false);
    assert_eq!(bench.admit(0).await.err(), Some(QuotaError::StateUnavailable));
    // The clock stands still, so it cannot have ended by itself.
    bench.until_in_use(0).await;
    bench.store.answers.set(true);
    let permit = bench.admit(0).await.expect("a permit");
    bench.store.up.set(false);
    drop(permit);
    poll(|| bench.store.calls.load(Ordering::SeqCst) >= 4).await;
    assert_eq!(bench.in_use(), 1, "it could not be given back");
    bench.store.up.set(true);
    bench.until_in_use(0).await;
}

#[actix::test]
async fn an_asker_that_has_gone_gives_its_lease_back() {
    use futures_util::FutureExt;
    let bench = bench(1);
    bench.store.open.set(false);
    assert!(Box::pin(bench.admit(0)).now_or_never().is_none());
    bench.store.open.set(true);
    poll(|| bench.store.calls.load(Ordering::SeqCst) >= 2).await;
    bench.until_in_use(0).await;
}

#[actix::test]
async fn leases_of_running_work_live_on_and_those_of_the_dead_end() {
    let bench = bench(2);
    let running = bench.admit(0).await.expect("a permit");
    // A replica that dies says nothing: as if it had never heard of its lease.
    let mut dead = crate::quota::leases::Book::new(99, bench.store.lease_life());
    let acme = testing::tenant("acme");
    let standing = bench.store.admit(acme, PLAN, Some(dead.next())).await;
    assert!(standing.is_ok_and(|standing| standing.leased));
    bench.pass(2).await;
    assert_eq!(bench.kind(1).await, "concurrency");
    bench.pass(1).await;
    assert_eq!(bench.in_use(), 1, "one is renewed, one has ended");
    bench.pass(9).await;
    assert_eq!(bench.in_use(), 1);
    drop(running);
    bench.until_in_use(0).await;
}

#[actix::test]
async fn work_without_a_lease_goes_on_and_admits_no_more() {
    let bench = bench(2);
    let running = bench.admit(0).await.expect("a permit");
    bench.store.up.set(false);
    bench.pass(3).await;
    assert_eq!(bench.in_use(), 0, "its lease has ended");
    let calls = bench.store.calls.load(Ordering::SeqCst);
    assert_eq!(bench.admit(0).await.err(), Some(QuotaError::StateUnavailable));
    assert_eq!(bench.store.calls.load(Ordering::SeqCst), calls, "without asking");
    bench.store.up.set(true);
    bench.until_in_use(1).await;
    bench.pass(1).await;
    assert_eq!(bench.kind(0).await, "admitted");
    drop(running);
}

#[actix::test]
async fn after_a_loss_nothing_is_admitted_until_leases_are_known_again() {
    let bench = bench(2);
    let running = [bench.admit(0).await, bench.admit(0).await].map(|permit| permit.expect("a permit"));
    bench.store.forget();
    assert_eq!(bench.admit(1).await.err(), Some(QuotaError::StateUnavailable));
    bench.pass(9).await;
    assert_eq!(
        bench.in_use(),
        2,
        "renewed, which is how the store learns of them"
    );
    assert_eq!(bench.kind(1).await, "concurrency");
    drop(running);
    bench.until_in_use(0).await;
    assert_eq!(bench.kind(1).await, "admitted");
}

#[actix::test]
async fn a_panic_forgets_no_lease_and_stops_no_renewal() {
    let bench = bench(1);
    let running = bench.admit(0).await.expect("a permit");
    bench.replicas[0].crash().await;
    bench.store.bomb.arm();
    assert_eq!(
        bench.admit(0).await.err(),
        Some(QuotaError::StateUnavailable),
        "a call that panics"
    );
    bench.pass(6).await;
    assert_eq!(bench.in_use(), 1);
    drop(running);
    bench.until_in_use(0).await;
}
