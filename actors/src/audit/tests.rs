//! The actor with a log in memory.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use actix::Arbiter;
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;
use crate::domain::audit::{SCHEMA_VERSION, ServiceEvent};
use crate::runtime::{AskError, Deadline, Mailbox, start};
use crate::testing::{self, FakeClock, FakeLog};

/// Long enough to never pass in a test.
const HOUR: Duration = Duration::from_secs(3600);

struct Bench {
    log: FakeLog,
    mailbox: Mailbox<Audit>,
    healthy: watch::Receiver<bool>,
}

fn bench(linger: Duration) -> Bench {
    let (log, vitals) = (FakeLog::default(), testing::vitals());
    let sender = watch::Sender::new(true);
    let healthy = sender.subscribe();
    let actor = Audit::new(
        Box::new(log.clone()),
        Arc::new(FakeClock::default()),
        Arc::clone(&vitals.observer),
        vitals.log.clone(),
        linger,
        sender,
        Writing::default(),
    );
    Bench {
        log,
        mailbox: start(&Arbiter::current(), 1024, vitals, move || actor),
        healthy,
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
    async fn append(&self, what: &str, durability: Durability, after: Option<Receipt>) -> Appended {
        let append = Append {
            record: record(what),
            durability,
            after,
        };
        self.mailbox
            .ask(append, Deadline::after(Duration::from_secs(5)))
            .await
    }

    async fn in_order(&self, what: &str) -> Receipt {
        let appended = self.append(what, Durability::InOrder, None).await;
        appended.expect("the actor answers").expect("a receipt")
    }

    async fn flush(&self) {
        let flushed = self
            .mailbox
            .ask(Flush, Deadline::after(Duration::from_secs(5)))
            .await;
        flushed.expect("the actor answers");
    }

    fn syncs(&self) -> u32 {
        self.log.syncs.load(Ordering::SeqCst)
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

#[actix::test]
async fn records_of_one_linger_share_one_sync() {
    let bench = bench(Duration::from_millis(50));
    let names: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    let appends = names.iter().enumerate().map(|(n, name)| {
        let durability = if n % 2 == 0 {
            Durability::Durable
        } else {
            Durability::InOrder
        };
        bench.append(name, durability, None)
    });
    assert!(
        join_all(appends)
            .await
            .into_iter()
            .all(|appended| matches!(appended, Ok(Ok(_))))
    );
    assert_eq!(bench.syncs(), 1);
    assert_eq!(bench.durable(), names, "in the order of asking");
}

#[actix::test]
async fn durable_is_answered_after_the_sync_and_in_order_before() {
    let bench = bench(HOUR);
    let first = bench.in_order("first").await;
    let mut second = Box::pin(bench.append("second", Durability::Durable, Some(first)));
    assert!((&mut second).now_or_never().is_none());
    // Whatever is answered after it has been taken after it.
    bench.in_order("third").await;
    assert!((&mut second).now_or_never().is_none());
    assert_eq!((bench.syncs(), bench.durable().len()), (0, 0));
    bench.flush().await;
    assert_eq!(bench.syncs(), 1);
    assert!(matches!(second.await, Ok(Ok(_))));
    assert_eq!(bench.durable(), ["first", "second", "third"]);
    bench.flush().await;
    assert_eq!(bench.syncs(), 1, "nothing to do");
}

#[actix::test]
async fn a_full_group_does_not_linger() {
    let bench = bench(HOUR);
    for n in 0..GROUP - 1 {
        bench.in_order(&n.to_string()).await;
    }
    assert_eq!(bench.syncs(), 0);
    assert!(matches!(
        bench.append("last", Durability::Durable, None).await,
        Ok(Ok(_))
    ));
    assert_eq!((bench.syncs(), bench.durable().len()), (1, GROUP));
}

#[actix::test]
async fn without_linger_every_record_is_synced() {
    let bench = bench(Duration::ZERO);
    bench.in_order("one").await;
    assert_eq!((bench.syncs(), bench.durable().len()), (1, 1));
}

#[actix::test]
async fn what_builds_on_a_record_that_may_be_lost_is_refused() {
    type Fault = fn(&FakeLog, bool);
    let faults: [Fault; 2] = [|log, on| log.works.set(!on), |log, on| log.syncs_work.set(!on)];
    for fault in faults {
        let bench = bench(HOUR);
        let before = bench.in_order("intent").await;
        fault(&bench.log, true);
        let mut waiting = Box::pin(bench.append("waiting", Durability::Durable, None));
        assert!((&mut waiting).now_or_never().is_none());
        bench.flush().await;
        assert_eq!(waiting.await, REFUSED);
        assert!(!*bench.healthy.borrow());
        fault(&bench.log, false);
        for durability in [Durability::InOrder, Durability::Durable] {
            assert_eq!(bench.append("outcome", durability, Some(before)).await, REFUSED);
        }
        let anew = bench.in_order("anew").await;
        let mut outcome = Box::pin(bench.append("its outcome", Durability::Durable, Some(anew)));
        assert!((&mut outcome).now_or_never().is_none());
        assert!(!*bench.healthy.borrow(), "not until something was written");
        bench.flush().await;
        assert!(matches!(outcome.await, Ok(Ok(_))));
        assert!(*bench.healthy.borrow());
        assert_eq!(bench.durable(), ["anew", "its outcome"]);
    }
}

#[actix::test]
async fn a_trail_that_can_be_written_again_is_noticed_without_a_request() {
    let bench = bench(HOUR);
    bench.log.works.set(false);
    bench.in_order("lost").await;
    bench.flush().await;
    assert!(!*bench.healthy.borrow());
    bench.log.works.set(true);
    let mut healthy = bench.healthy.clone();
    let noticed = healthy.wait_for(|healthy| *healthy);
    assert!(
        tokio::time::timeout(Duration::from_secs(10), noticed)
            .await
            .is_ok_and(|seen| seen.is_ok())
    );
    assert_eq!(bench.log.durable.get().len(), 1, "and the trail says so");
}

#[actix::test]
async fn in_order_is_refused_when_its_own_group_fails() {
    let bench = bench(Duration::ZERO);
    bench.log.works.set(false);
    assert_eq!(bench.append("one", Durability::InOrder, None).await, REFUSED);
}

#[actix::test]
async fn a_panic_in_the_log_counts_as_a_failure() {
    let bench = bench(HOUR);
    let before = bench.in_order("intent").await;
    let mut waiting = Box::pin(bench.append("waiting", Durability::Durable, None));
    assert!((&mut waiting).now_or_never().is_none());
    bench.log.bomb.arm();
    let flushed = bench
        .mailbox
        .ask(Flush, Deadline::after(Duration::from_secs(5)))
        .await;
    assert_eq!(flushed, Err(AskError::Panicked));
    assert_eq!(waiting.await, Err(AskError::Abandoned));
    assert_eq!(
        bench.append("outcome", Durability::InOrder, Some(before)).await,
        REFUSED
    );
    bench.in_order("anew").await;
    bench.flush().await;
    assert_eq!(bench.durable(), ["anew"]);
}

#[actix::test]
async fn the_linger_is_scheduled_anew_after_a_panic() {
    let bench = bench(Duration::from_millis(1));
    let mut lost = Box::pin(bench.append("lost", Durability::Durable, None));
    assert!((&mut lost).now_or_never().is_none());
    bench.mailbox.crash().await;
    assert_eq!(lost.await, Err(AskError::Abandoned));
    assert!(matches!(
        bench.append("kept", Durability::Durable, None).await,
        Ok(Ok(_))
    ));
    assert_eq!(bench.durable(), ["kept"]);
}

#[actix::test]
async fn an_oversize_record_is_refused_alone() {
    let bench = bench(HOUR);
    let overhead = serde_json::to_vec(&record("")).expect("a record").len();
    for (length, fits) in [(MAX_RECORD_BYTES, true), (MAX_RECORD_BYTES + 1, false)] {
        let what = "x".repeat(length - overhead);
        let appended = bench
            .append(&what, Durability::InOrder, None)
            .await
            .expect("the actor answers");
        assert_eq!(appended.is_ok(), fits, "{length}");
        assert!(fits || appended == Err(AuditError::Record));
    }
    bench.in_order("next").await;
    bench.flush().await;
    assert_eq!(bench.durable().len(), 2);
}
