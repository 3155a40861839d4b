use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::Arbiter;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::*;
use crate::audit::Writing;
use crate::domain::audit::{AuditRecord, SCHEMA_VERSION, ServiceEvent};
use crate::runtime::{AskError, start};
use crate::testing::{self, FakeClock, FakeLog};

struct Bench {
    log: FakeLog,
    trail: Mailbox<Audit>,
    desks: Vec<Mailbox<Desk>>,
}

/// Two workers' desks at one trail, whose own linger never ends.
fn bench(linger: Duration) -> Bench {
    let (log, vitals) = (FakeLog::default(), testing::vitals());
    let actor = Audit::new(
        Box::new(log.clone()),
        Arc::new(FakeClock::default()),
        Arc::clone(&vitals.observer),
        vitals.log.clone(),
        Duration::from_secs(3600),
        watch::Sender::new(true),
        Writing::default(),
    );
    let here = Arbiter::current();
    let trail = start(&here, 1024, vitals.clone(), move || actor);
    let desk = |_| {
        let trail = trail.clone();
        start(&here, 4096, vitals.clone(), move || Desk::new(trail, linger))
    };
    Bench {
        log,
        desks: (0..2).map(desk).collect(),
        trail,
    }
}

fn record(what: &str) -> AuditRecord {
    AuditRecord::Service(Box::new(ServiceEvent {
        schema: SCHEMA_VERSION,
        time: testing::NOW(),
        what: what.into(),
        facts: BTreeMap::new(),
    }))
}

type Appended = Result<Result<Receipt, AuditError>, AskError>;

const REFUSED: Appended = Ok(Err(AuditError::Unavailable));

impl Bench {
    async fn append(
        &self,
        desk: usize,
        what: &str,
        durability: Durability,
        after: Option<Receipt>,
    ) -> Appended {
        let append = Append {
            record: record(what),
            durability,
            after,
        };
        let deadline = Deadline::after(Duration::from_secs(5));
        self.desks[desk].ask(append, deadline).await
    }

    async fn intent(&self, what: &str) -> Receipt {
        let appended = self.append(0, what, Durability::InOrder, None).await;
        appended.expect("the desk answers").expect("a receipt")
    }

    async fn outcome(&self, what: &str, after: Receipt) -> Appended {
        self.append(0, what, Durability::Durable, Some(after)).await
    }

    /// What is on disk, in order.
    fn durable(&self) -> Vec<String> {
        let read = |line: &Vec<u8>| match serde_json::from_slice(line) {
            Ok(AuditRecord::Service(event)) => event.what,
            other => panic!("{other:?}"),
        };
        self.log.durable.get().iter().map(read).collect()
    }
}

const MOMENT: Duration = Duration::from_millis(20);

#[actix::test]
async fn records_of_a_worker_go_to_the_trail_together_and_in_order() {
    let bench = bench(MOMENT);
    let names: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    let one = |name: &String| {
        let (bench, name) = (&bench, name.clone());
        async move {
            let intent = bench.intent(&name).await;
            bench.outcome(&name, intent).await
        }
    };
    let all = join_all(names.iter().map(one)).await;
    assert!(all.iter().all(|appended| matches!(appended, Ok(Ok(_)))));
    assert_eq!(bench.log.syncs.load(Ordering::SeqCst), 1);
    let durable = bench.durable();
    assert_eq!(durable.len(), 80);
    for name in &names {
        assert_eq!(durable.iter().filter(|what| *what == name).count(), 2);
    }
}

#[actix::test]
async fn nobody_is_answered_before_the_disk_has_it() {
    let bench = bench(MOMENT);
    let mut waiting = Box::pin(bench.append(0, "one", Durability::Durable, None));
    assert!((&mut waiting).now_or_never().is_none());
    assert!(bench.durable().is_empty());
    assert!(matches!(waiting.await, Ok(Ok(_))));
    assert_eq!(bench.durable(), ["one"]);
}

#[actix::test]
async fn a_record_waits_for_one_linger_and_the_disk_alone() {
    let bench = bench(MOMENT);
    tokio::time::pause();
    for _ in 0..3 {
        let begun = Instant::now();
        let appended = bench.append(0, "x", Durability::Durable, None).await;
        assert!(matches!(appended, Ok(Ok(_))));
        // Timers count in milliseconds.
        let least = MOMENT - Duration::from_millis(1);
        assert!((least..=MOMENT).contains(&begun.elapsed()));
        // The next one comes when nothing lies at the desk.
        tokio::time::advance(MOMENT / 2).await;
    }
}

#[actix::test]
async fn more_than_a_group_goes_in_several() {
    let bench = bench(MOMENT);
    let all = join_all((0..2000).map(|n| {
        let bench = &bench;
        async move { bench.append(n % 2, "x", Durability::Durable, None).await }
    }));
    assert!(all.await.iter().all(|appended| matches!(appended, Ok(Ok(_)))));
    assert_eq!(bench.durable().len(), 2000);
    assert!(bench.log.syncs.load(Ordering::SeqCst) >= 4);
}

#[actix::test]
async fn nothing_builds_on_what_may_be_lost() {
    let bench = bench(MOMENT);
    let before = bench.intent("before").await;
    bench.log.syncs_work.set(false);
    let waiting = bench.outcome("outcome", before).await;
    assert_eq!(waiting, REFUSED);
    bench.log.syncs_work.set(true);
    // The intent may be lost: its outcome stays out, though the disk is well again.
    assert_eq!(bench.outcome("outcome", before).await, REFUSED);
    let after = bench.intent("after").await;
    assert!(matches!(bench.outcome("its outcome", after).await, Ok(Ok(_))));
    assert_eq!(bench.durable(), ["after", "its outcome"]);
}

#[actix::test]
async fn what_lies_behind_a_failed_group_fails_with_it() {
    let bench = bench(Duration::ZERO);
    bench.log.syncs_work.set(false);
    // The first goes at once, the second lies until it is answered.
    let first = bench.append(0, "first", Durability::Durable, None);
    let second = bench.append(0, "second", Durability::Durable, None);
    let (first, second) = futures_util::future::join(first, second).await;
    assert_eq!((first, second), (REFUSED, REFUSED));
    assert!(bench.durable().is_empty());
}

#[actix::test]
async fn a_desk_that_ends_hands_over_what_lies_there() {
    let mut bench = bench(MOMENT);
    let (worker, trail) = (Arbiter::new(), bench.trail.clone());
    bench.desks = vec![start(&worker.handle(), 16, testing::vitals(), || {
        Desk::new(trail, Duration::from_secs(3600))
    })];
    let _ = bench.intent("intent").await;
    worker.stop();
    worker.join().expect("the worker ends");
    testing::until(|| !bench.durable().is_empty()).await;
    assert_eq!(bench.durable(), ["intent"]);
}

#[actix::test]
async fn a_desk_that_is_flushed_waits_for_no_company() {
    let bench = bench(Duration::from_secs(3600));
    let _ = bench.intent("intent").await;
    let flushed = bench.desks[0].ask(Flush, Deadline::after(Duration::from_secs(5)));
    assert_eq!(flushed.await, Ok(()));
    assert_eq!(bench.durable(), ["intent"]);
    let flushed = bench.desks[0].ask(Flush, Deadline::after(Duration::from_secs(5)));
    assert_eq!(flushed.await, Ok(()));
}

#[actix::test]
async fn a_trail_that_is_rebuilt_loses_nothing_in_silence() {
    let bench = bench(MOMENT);
    let intent = bench.intent("intent").await;
    bench.trail.crash().await;
    assert!(matches!(bench.outcome("outcome", intent).await, Ok(Ok(_))));
    assert_eq!(bench.durable(), ["intent", "outcome"]);
}

#[actix::test]
async fn a_desk_that_is_rebuilt_refuses_what_builds_on_what_it_had() {
    let bench = bench(MOMENT);
    let intent = bench.intent("intent").await;
    let mut waiting = Box::pin(bench.outcome("outcome", intent));
    assert!((&mut waiting).now_or_never().is_none());
    bench.desks[0].crash().await;
    assert_eq!(waiting.await, REFUSED);
    assert_eq!(bench.outcome("outcome", intent).await, REFUSED);
    let after = bench.intent("after").await;
    assert!(matches!(bench.outcome("its outcome", after).await, Ok(Ok(_))));
    assert_eq!(bench.durable(), ["after", "its outcome"]);
}
