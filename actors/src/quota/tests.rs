//! The actor through its mailbox.

use actix::Arbiter;

use super::*;
use crate::runtime::{Deadline, Mailbox, start};
use crate::testing::{self, FakeClock};

struct Bench {
    clock: FakeClock,
    mailbox: Mailbox<Quota>,
}

fn bench() -> Bench {
    let (clock, vitals) = (FakeClock::default(), testing::vitals());
    let actor = Quota::new(Arc::new(clock.clone()), Arc::clone(&vitals.observer));
    Bench {
        clock,
        mailbox: start(&Arbiter::current(), 64, vitals, move || actor),
    }
}

const PLAN: PlanLimits = PlanLimits {
    qps: 10,
    burst: 3,
    concurrency: 2,
    max_artifact_bytes: 100,
};

const WIDE: PlanLimits = PlanLimits {
    concurrency: 100,
    ..PLAN
};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

impl Bench {
    /// Tokens left, and a permit or the kind of refusal.
    async fn admit_of(
        &self,
        tenant: &str,
        limits: PlanLimits,
        bytes: u64,
    ) -> (u32, Result<Permit, &'static str>) {
        let ask = Admit {
            tenant: testing::tenant(tenant),
            limits,
            artifact_bytes: bytes,
        };
        let (status, result) = self.mailbox.ask(ask, soon()).await.expect("the actor answers");
        let left = status.expect("the rate is known").remaining;
        (
            left,
            result
                .map(|admission| admission.permit)
                .map_err(|error| error.kind()),
        )
    }

    async fn admit(&self, limits: PlanLimits, bytes: u64) -> (u32, Result<Permit, &'static str>) {
        self.admit_of("acme", limits, bytes).await
    }

    async fn charge(&self, lane: Lane) -> Result<u32, &'static str> {
        let tenant = testing::tenant("acme");
        let ask = Charge {
            tenant,
            limits: PLAN,
            lane,
        };
        let answer = self.mailbox.ask(ask, soon()).await.expect("the actor answers");
        answer
            .map(|status| status.remaining)
            .map_err(|error| error.kind())
    }

    async fn look(&self, limits: PlanLimits, bytes: u64) -> Result<(), &'static str> {
        let ask = Look {
            tenant: testing::tenant("acme"),
            limits,
            artifact_bytes: bytes,
        };
        let answer = self.mailbox.ask(ask, soon()).await.expect("the actor answers");
        answer.map_err(|error| error.kind())
    }
}

fn kind<T>(answer: (u32, Result<T, &'static str>)) -> (u32, &'static str) {
    (answer.0, answer.1.err().unwrap_or("admitted"))
}

#[actix::test]
async fn a_burst_and_then_the_rate() {
    let bench = bench();
    for left in [2, 1, 0] {
        assert_eq!(kind(bench.admit(WIDE, 1).await), (left, "admitted"));
    }
    assert_eq!(kind(bench.admit(WIDE, 1).await), (0, "rate"));
    assert_eq!(
        kind(bench.admit_of("other", WIDE, 1).await),
        (2, "admitted"),
        "each tenant its own"
    );
    bench.clock.advance(Duration::from_millis(99));
    assert_eq!(kind(bench.admit(WIDE, 1).await), (0, "rate"));
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(kind(bench.admit(WIDE, 1).await), (0, "admitted"));
}

#[actix::test]
async fn a_dropped_permit_is_given_back_at_once() {
    let bench = bench();
    let one = bench.admit(PLAN, 1).await.1.expect("a permit");
    let two = bench.admit(PLAN, 1).await.1.expect("a permit");
    assert_eq!(kind(bench.admit(PLAN, 1).await), (0, "concurrency"));
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.look(PLAN, 1).await, Err("concurrency"));
    drop(one);
    assert_eq!(bench.look(PLAN, 1).await, Ok(()));
    let three = bench.admit(PLAN, 1).await.1.expect("a permit");
    assert_eq!(kind(bench.admit(PLAN, 1).await), (1, "concurrency"));
    drop((two, three));
}

#[actix::test]
async fn an_answer_nobody_takes_gives_its_permit_back() {
    use futures_util::FutureExt;
    let bench = bench();
    let narrow = PlanLimits {
        concurrency: 1,
        ..PLAN
    };
    {
        let given_up = bench.admit(narrow, 1);
        assert!(Box::pin(given_up).now_or_never().is_none());
    }
    assert_eq!(
        kind(bench.admit(narrow, 1).await),
        (1, "admitted"),
        "its token is charged, its permit is back"
    );
}

#[actix::test]
async fn rate_then_concurrency_then_size_and_no_refund() {
    let bench = bench();
    let none = PlanLimits {
        concurrency: 0,
        ..PLAN
    };
    assert_eq!(
        kind(bench.admit(none, 101).await),
        (2, "concurrency"),
        "before the size"
    );
    assert_eq!(kind(bench.admit(PLAN, 101).await), (1, "size"));
    assert_eq!(
        kind(bench.admit(PLAN, 100).await),
        (0, "admitted"),
        "the limit itself fits"
    );
    assert_eq!(
        kind(bench.admit(none, 101).await),
        (0, "rate"),
        "before both; refusals were charged"
    );
}

#[actix::test]
async fn a_new_plan_counts_at_once() {
    let bench = bench();
    let held = bench.admit(PLAN, 1).await.1.expect("a permit");
    assert_eq!(
        kind(
            bench
                .admit(
                    PlanLimits {
                        concurrency: 1,
                        ..PLAN
                    },
                    1
                )
                .await
        ),
        (1, "concurrency")
    );
    assert_eq!(
        kind(
            bench
                .admit(
                    PlanLimits {
                        max_artifact_bytes: 0,
                        ..PLAN
                    },
                    1
                )
                .await
        ),
        (0, "size")
    );
    assert_eq!(
        kind(bench.admit(PlanLimits { burst: 10, ..PLAN }, 1).await),
        (6, "admitted")
    );
    assert_eq!(
        kind(bench.admit(PlanLimits { burst: 0, ..PLAN }, 1).await),
        (0, "rate")
    );
    drop(held);
}

#[actix::test]
async fn lanes_do_not_touch_each_other() {
    let bench = bench();
    for lane in [Lane::DryRun, Lane::Verify] {
        for left in [2, 1, 0] {
            assert_eq!(bench.charge(lane).await, Ok(left), "{lane:?}");
        }
        assert_eq!(bench.charge(lane).await, Err("rate"), "{lane:?}");
    }
    assert_eq!(bench.look(PLAN, 1).await, Ok(()));
    assert_eq!(kind(bench.admit(PLAN, 1).await), (2, "admitted"));
    bench.clock.advance(Duration::from_millis(100));
    assert_eq!(bench.charge(Lane::DryRun).await, Ok(0));
}

#[actix::test]
async fn a_look_charges_nothing_and_sees_everything() {
    let bench = bench();
    for _ in 0..10 {
        assert_eq!(bench.look(PLAN, 1).await, Ok(()));
    }
    assert_eq!(bench.look(PLAN, 101).await, Err("size"));
    assert_eq!(kind(bench.admit(PLAN, 1).await), (2, "admitted"));
    assert_eq!(bench.look(PlanLimits { burst: 1, ..PLAN }, 1).await, Err("rate"));
}

#[actix::test]
async fn a_panic_forgets_no_count() {
    let bench = bench();
    let held = bench.admit(PLAN, 1).await.1.expect("a permit");
    bench.mailbox.crash().await;
    let narrow = PlanLimits {
        concurrency: 1,
        ..PLAN
    };
    assert_eq!(kind(bench.admit(narrow, 1).await), (1, "concurrency"));
    drop(held);
    assert_eq!(kind(bench.admit(narrow, 1).await), (0, "admitted"));
    assert_eq!(kind(bench.admit(narrow, 1).await), (0, "rate"));
}

#[actix::test]
async fn in_flight_is_never_above_the_limit_however_many_ask() {
    let bench = bench();
    let wide = PlanLimits {
        burst: 100_000,
        ..PLAN
    };
    for concurrency in 0..8u32 {
        let limits = PlanLimits { concurrency, ..wide };
        let mut held = Vec::new();
        for round in 0..20usize {
            let asked = futures_util::future::join_all((0..16).map(|_| bench.admit(limits, 1))).await;
            let new = asked.into_iter().filter_map(|(_, result)| result.ok());
            held.extend(new);
            assert_eq!(
                held.len(),
                concurrency as usize,
                "never above, and no seat is lost"
            );
            // Some end, in another order than they began.
            let keep = held.len() / 2;
            let by = round % held.len().max(1);
            held.rotate_left(by);
            held.truncate(keep);
        }
    }
}

#[test]
fn only_idle_tenants_are_swept() {
    let clock = FakeClock::default();
    let mut quota = Quota::new(Arc::new(clock.clone()), Arc::new(crate::ports::Unobserved));
    let id = |n: usize| testing::tenant(&format!("t{n}"));
    for n in 0..SWEEP_ABOVE {
        quota.tenant(&id(n), Duration::ZERO);
    }
    // One has a permit out, one owes a token of each lane, the others are as new.
    let seat = Arc::clone(&quota.tenant(&id(0), Duration::ZERO).seats);
    quota
        .tenant(&id(1), Duration::ZERO)
        .sign
        .take(&PLAN, Duration::ZERO);
    quota
        .tenant(&id(2), Duration::ZERO)
        .dry_run
        .take(&PLAN, Duration::ZERO);
    quota
        .tenant(&id(3), Duration::ZERO)
        .verify
        .take(&PLAN, Duration::ZERO);
    quota.tenant(&id(SWEEP_ABOVE), Duration::ZERO);
    assert_eq!(quota.tenants.len(), 5, "four that matter and the newcomer");
    for n in 0..4 {
        assert!(quota.tenants.contains_key(&id(n)), "{n}");
    }
    drop(seat);
    // A second later all have recovered.
    for n in 0..SWEEP_ABOVE {
        quota.tenant(&id(n), Duration::from_secs(1));
    }
    assert!(quota.tenants.len() <= SWEEP_ABOVE);
}
