//! The actor with a fake authority.

use std::sync::atomic::Ordering;

use actix::Arbiter;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;
use crate::runtime::{AskError, Mailbox, start};
use crate::testing::{self, FakeClock, FakeIds, FakeTimestamps, until};

struct Bench {
    source: FakeTimestamps,
    clock: FakeClock,
    mailbox: Mailbox<Timestamps>,
    health: watch::Receiver<TimestampHealth>,
}

/// Two questions at once, any number may wait; left alone for a second after three failures.
fn bench() -> Bench {
    bench_with(64)
}

fn bench_with(places: usize) -> Bench {
    let (source, clock, vitals) = (FakeTimestamps::default(), FakeClock::default(), testing::vitals());
    let published = watch::Sender::new(TimestampHealth::default());
    let health = published.subscribe();
    let actor = Timestamps::new(TimestampParts {
        source: Arc::new(source.clone()),
        clock: Arc::new(clock.clone()),
        ids: Arc::new(FakeIds::default()),
        observer: Arc::clone(&vitals.observer),
        log: vitals.log.clone(),
        policy: testing::tuning().timestamp,
        places,
        published,
    });
    Bench {
        mailbox: start(&Arbiter::current(), 64, vitals, move || actor),
        source,
        clock,
        health,
    }
}

impl Bench {
    async fn obtain_within(&self, patience: Duration) -> Result<Result<Timestamp, TimestampError>, AskError> {
        self.obtain_for("acme", patience).await
    }

    async fn obtain_for(
        &self,
        tenant: &str,
        patience: Duration,
    ) -> Result<Result<Timestamp, TimestampError>, AskError> {
        let (tenant, until) = (testing::tenant(tenant), Deadline::after(patience));
        let signature = Signature(b"signature".to_vec());
        // The asker's own patience is longer, so that it is seen what the actor says.
        let ask = Obtain {
            tenant,
            signature,
            until,
        };
        self.mailbox.ask(ask, Deadline::after(patience * 10)).await
    }

    async fn obtain(&self) -> Result<Timestamp, TimestampError> {
        self.obtain_within(Duration::from_secs(5))
            .await
            .expect("the actor answers")
    }

    fn asked(&self) -> u32 {
        self.source.asked.load(Ordering::SeqCst)
    }

    fn is_open(&self) -> bool {
        self.health.borrow().refused_until.is_some()
    }
}

fn unavailable() -> Result<i64, TimestampSourceError> {
    Err(TimestampSourceError::Unavailable("down".into()))
}

fn unusable() -> Result<i64, TimestampSourceError> {
    Err(TimestampSourceError::Unusable("another nonce".into()))
}

#[actix::test]
async fn a_timestamp_is_over_the_signature() {
    let bench = bench();
    let timestamp = bench.obtain().await.expect("a timestamp");
    assert_eq!(&timestamp.response[..], b"signature");
    assert_eq!(timestamp.time, testing::NOW());
}

#[actix::test]
async fn no_answer_is_asked_for_again_and_a_wrong_one_is_not() {
    tokio::time::pause();
    let bench = bench();
    bench.source.answer.set(unavailable());
    let mut obtaining = Box::pin(bench.obtain());
    assert!((&mut obtaining).now_or_never().is_none());
    until(|| bench.asked() == 1).await;
    // Back before the second time.
    bench.source.answer.set(Ok(0));
    assert!(obtaining.await.is_ok());
    assert_eq!(bench.asked(), 2);
    bench.source.answer.set(unusable());
    assert_eq!(bench.obtain().await, Err(TimestampError::Unusable));
    assert_eq!(bench.asked(), 3);
}

#[actix::test]
async fn nobody_is_asked_again_for_who_has_no_time_left() {
    tokio::time::pause();
    let bench = bench();
    bench.source.answer.set(unavailable());
    // The first pause is 100 ms at least.
    let answer = bench.obtain_within(Duration::from_millis(90)).await;
    assert_eq!(answer, Ok(Err(TimestampError::Unavailable)));
    assert_eq!(bench.asked(), 1);
    bench.source.open.set(false);
    let answer = bench.obtain_within(Duration::from_millis(90)).await;
    assert_eq!(
        answer,
        Ok(Err(TimestampError::Unavailable)),
        "silence ends with the patience"
    );
}

#[actix::test]
async fn who_has_no_time_left_says_nothing_of_an_authority() {
    tokio::time::pause();
    let bench = bench();
    bench.source.open.set(false);
    for _ in 0..9 {
        let answer = bench.obtain_within(Duration::from_millis(90)).await;
        assert_eq!(answer, Ok(Err(TimestampError::Unavailable)));
    }
    assert!(!bench.is_open(), "others have more time");
    for _ in 0..3 {
        let answer = bench.obtain_within(FAIR_TIME).await;
        assert_eq!(answer, Ok(Err(TimestampError::Unavailable)));
    }
    assert!(bench.is_open(), "it had time, and was silent");
}

#[actix::test]
async fn what_an_authority_says_counts_however_little_time_there_was() {
    tokio::time::pause();
    let bench = bench();
    bench.source.answer.set(unusable());
    for _ in 0..3 {
        let answer = bench.obtain_within(Duration::from_millis(90)).await;
        assert_eq!(answer, Ok(Err(TimestampError::Unusable)));
    }
    assert!(bench.is_open());
}

#[actix::test]
async fn questions_at_once_are_few_and_all_get_their_turn() {
    let bench = bench();
    bench.source.open.set(false);
    let all = join_all((0..9).map(|_| bench.obtain()));
    let opened = async {
        until(|| bench.asked() == 2).await;
        bench.source.open.set(true);
    };
    let (answers, ()) = futures_util::future::join(all, opened).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(bench.source.most.load(Ordering::SeqCst), 2);
}

const PATIENCE: Duration = Duration::from_secs(5);

#[actix::test]
async fn tenants_take_turns_at_the_authority() {
    let bench = std::rc::Rc::new(bench());
    bench.source.open.set(false);
    let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let ask = |tenant: &'static str| {
        let (bench, order) = (std::rc::Rc::clone(&bench), std::rc::Rc::clone(&order));
        // Each in a task of its own, so that they are told one by one.
        actix::spawn(async move {
            let answer = bench.obtain_for(tenant, PATIENCE).await;
            order.borrow_mut().push(tenant);
            assert!(matches!(answer, Ok(Ok(_))), "{answer:?}");
        })
    };
    let mut all: Vec<_> = (0..20).map(|_| ask("busy")).collect();
    all.extend(["quiet", "quiet", "other"].map(ask));
    until(|| bench.asked() == 2 && bench.mailbox.in_use() == 23).await;
    bench.source.open.set(true);
    for one in all {
        one.await.expect("no panic");
    }
    let order = order.borrow();
    let place = |tenant| order.iter().position(|one| *one == tenant).expect("told");
    // Two were being asked for when all others came.
    assert!(place("quiet") < 6 && place("other") < 8, "{order:?}");
}

#[actix::test]
async fn no_tenant_has_more_wait_than_places_are_left() {
    let bench = bench_with(4);
    bench.source.open.set(false);
    // Two are asked for, of four places two are left to others.
    let busy = join_all((0..9).map(|_| bench.obtain_for("busy", PATIENCE)));
    let others = async {
        until(|| bench.asked() == 2).await;
        join_all(["quiet", "quiet"].map(|tenant| bench.obtain_for(tenant, PATIENCE))).await
    };
    let opened = async {
        until(|| bench.mailbox.in_use() == 5).await;
        bench.source.open.set(true);
    };
    let (busy, others, ()) = futures_util::future::join3(busy, others, opened).await;
    let count = |answers: &[Result<Answer, AskError>], wanted: fn(&Answer) -> bool| {
        answers.iter().flatten().filter(|answer| wanted(answer)).count()
    };
    let crowded = |answer: &Answer| *answer == Err(TimestampError::Crowded);
    assert_eq!((count(&busy, Result::is_ok), count(&busy, crowded)), (4, 5));
    assert_eq!((count(&others, Result::is_ok), count(&others, crowded)), (1, 1));
    assert_eq!(bench.source.most.load(Ordering::SeqCst), 2);
}

#[actix::test]
async fn whether_it_is_asked_again_hangs_on_who_has_time_for_an_answer() {
    tokio::time::pause();
    let bench = bench();
    bench.source.answer.set(unusable());
    for _ in 0..3 {
        assert_eq!(bench.obtain().await, Err(TimestampError::Unusable));
    }
    bench.clock.advance(Duration::from_secs(1));
    bench.source.answer.set(Ok(0));
    let hurried = bench.obtain_within(FAIR_TIME - Duration::from_millis(1)).await;
    assert_eq!(
        (hurried, bench.asked()),
        (Ok(Err(TimestampError::Unavailable)), 3)
    );
    assert!(bench.is_open());
    // If nobody has time, anyone's question has to do.
    bench.clock.advance(LEFT_TO_OTHERS);
    bench.source.open.set(false);
    let hurried = bench.obtain_within(Duration::from_millis(90)).await;
    assert_eq!(
        (hurried, bench.asked()),
        (Ok(Err(TimestampError::Unavailable)), 4)
    );
    bench.source.open.set(true);
    bench.clock.advance(Duration::from_secs(2));
    assert!(
        bench
            .obtain_within(FAIR_TIME * 2)
            .await
            .is_ok_and(|answer| answer.is_ok())
    );
    assert!(!bench.is_open());
    assert!(
        bench
            .obtain_within(Duration::from_millis(90))
            .await
            .is_ok_and(|answer| answer.is_ok())
    );
}

#[actix::test]
async fn an_authority_of_no_use_is_left_alone_until_one_question_finds_it_well() {
    let bench = bench();
    bench.source.answer.set(unusable());
    for asked in 1..=3 {
        assert!(!bench.is_open());
        assert_eq!(bench.obtain().await, Err(TimestampError::Unusable));
        assert_eq!(bench.asked(), asked);
    }
    assert!(bench.is_open());
    assert_eq!(bench.obtain().await, Err(TimestampError::Unavailable));
    assert_eq!(bench.asked(), 3, "it is left alone");
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.obtain().await, Err(TimestampError::Unusable));
    assert_eq!(bench.asked(), 4);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(
        bench.obtain().await,
        Err(TimestampError::Unavailable),
        "for longer"
    );
    bench.clock.advance(Duration::from_secs(1));
    bench.source.answer.set(Ok(0));
    assert!(bench.obtain().await.is_ok());
    assert!(!bench.is_open());
}

#[actix::test]
async fn a_panic_leaves_a_healthy_actor() {
    let bench = bench();
    bench.source.bomb.arm();
    assert_eq!(bench.obtain().await, Err(TimestampError::Unusable));
    bench.mailbox.crash().await;
    assert!(bench.obtain().await.is_ok());
    // Who waited is told.
    bench.source.open.set(false);
    let all = join_all((0..4).map(|_| bench.obtain_within(Duration::from_secs(5))));
    let crash = async {
        until(|| bench.source.asked.load(Ordering::SeqCst) == 4).await;
        bench.mailbox.crash().await;
        bench.source.open.set(true);
    };
    let (answers, ()) = futures_util::future::join(all, crash).await;
    let count = |wanted: fn(&Result<Result<Timestamp, TimestampError>, AskError>) -> bool| {
        answers.iter().filter(|answer| wanted(answer)).count()
    };
    assert_eq!(
        count(|answer| matches!(answer, Ok(Ok(_)))),
        2,
        "work under way goes on"
    );
    assert_eq!(count(|answer| *answer == Err(AskError::Abandoned)), 2);
    assert!(bench.obtain().await.is_ok());
}
