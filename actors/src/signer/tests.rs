//! The actor with a fake backend.

use std::sync::atomic::Ordering;

use actix::Arbiter;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;
use crate::domain::signing::SigningMode;
use crate::runtime::{Deadline, Mailbox, start};
use crate::testing::{self, FakeBackend, FakeClock};

struct Bench {
    backend: FakeBackend,
    clock: FakeClock,
    mailbox: Mailbox<Signer>,
    published: watch::Receiver<Option<OpenKey>>,
}

/// With keys that live so many seconds.
fn bench(life: Option<u64>) -> Bench {
    let clock = FakeClock::default();
    let backend = FakeBackend::new("fulcio", SigningMode::Keyless, &clock);
    backend.open.set(Ok(life.map(Duration::from_secs)));
    starting(backend, clock)
}

fn starting(backend: FakeBackend, clock: FakeClock) -> Bench {
    let vitals = testing::vitals();
    let sender = watch::Sender::new(None);
    let published = sender.subscribe();
    let actor = Signer::new(
        Arc::new(backend.clone()),
        Arc::new(clock.clone()),
        Arc::clone(&vitals.observer),
        vitals.log.clone(),
        sender,
    );
    Bench {
        mailbox: start(&Arbiter::current(), 64, vitals, move || actor),
        backend,
        clock,
        published,
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

impl Bench {
    /// When the leased key ends.
    async fn lease(&self, min_life: u64) -> Result<Option<DateTime<Utc>>, SignerError> {
        let min_life = Duration::from_secs(min_life);
        let answer = self.mailbox.ask(Lease { min_life }, soon()).await;
        answer
            .expect("the actor answers")
            .map(|key| key.identity().not_after)
    }

    fn opened(&self) -> u32 {
        self.backend.opened.load(Ordering::SeqCst)
    }

    fn at(&self, second: u64) {
        let now = self.clock.monotonic();
        self.clock
            .advance(Duration::from_secs(second).saturating_sub(now));
    }

    fn fails(&self) {
        self.backend
            .open
            .set(Err(BackendError::Unavailable("sealed".into())));
    }
}

fn end(second: i64) -> Result<Option<DateTime<Utc>>, SignerError> {
    Ok(Some(testing::NOW() + chrono::Duration::seconds(second)))
}

#[actix::test]
async fn a_key_is_opened_at_the_start_and_once() {
    let bench = bench(None);
    testing::until(|| bench.published.borrow().is_some()).await;
    assert!(
        join_all((0..20).map(|_| bench.lease(60)))
            .await
            .into_iter()
            .all(|key| key == Ok(None))
    );
    bench.at(86_400);
    assert_eq!(
        bench.lease(3600).await,
        Ok(None),
        "a key without an end serves for ever"
    );
    assert_eq!(bench.opened(), 1);
}

#[actix::test]
async fn leases_before_the_key_is_open_wait_for_it() {
    let bench = bench(Some(600));
    let all = join_all((0..20).map(|_| bench.lease(60))).await;
    assert!(all.into_iter().all(|key| key == end(600)));
    assert_eq!(bench.opened(), 1);
}

#[actix::test]
async fn the_old_key_serves_while_the_new_one_is_opened() {
    let bench = bench(Some(600));
    assert_eq!(bench.lease(60).await, end(600));
    // The fake wants to be replaced after half its life.
    bench.at(299);
    assert_eq!(bench.lease(60).await, end(600));
    assert_eq!(bench.opened(), 1);
    bench.at(300);
    assert_eq!(bench.lease(60).await, end(600), "nobody waits");
    testing::until(|| bench.opened() == 2).await;
    assert_eq!(bench.lease(60).await, end(900));
    assert_eq!(bench.opened(), 2);
}

#[actix::test]
async fn a_failed_renewal_leaves_the_old_key_until_its_last_minute() {
    let bench = bench(Some(600));
    assert_eq!(bench.lease(60).await, end(600));
    bench.fails();
    bench.at(540);
    assert_eq!(bench.lease(0).await, end(600));
    bench.at(541);
    assert_eq!(
        bench.lease(0).await,
        Err(SignerError::Unavailable),
        "never in its last 60 s"
    );
    bench.backend.open.set(Ok(Some(Duration::from_secs(600))));
    bench.at(700);
    assert_eq!(bench.lease(60).await, end(1300), "a lease waits for the new key");
}

#[actix::test]
async fn a_backend_that_is_down_is_asked_once_a_second() {
    let clock = FakeClock::default();
    let backend = FakeBackend::new("fulcio", SigningMode::Keyless, &clock);
    for (error, expected) in [
        (
            BackendError::Unavailable("sealed".into()),
            SignerError::Unavailable,
        ),
        (BackendError::Failed("403".into()), SignerError::Backend),
    ] {
        backend.open.set(Err(error));
        let bench = starting(backend.clone(), clock.clone());
        let before = bench.opened();
        for (later, opened) in [(0, 1), (0, 1), (999, 1), (1, 2), (0, 2), (1000, 3)] {
            bench.clock.advance(Duration::from_millis(later));
            let all = join_all((0..5).map(|_| bench.lease(60))).await;
            assert!(all.into_iter().all(|key| key == Err(expected.clone())));
            assert_eq!(bench.opened() - before, opened);
        }
    }
}

#[actix::test]
async fn a_disabled_key_stays_so() {
    let bench = bench(Some(600));
    assert_eq!(bench.lease(60).await, end(600));
    assert_eq!(bench.mailbox.ask(Disable, soon()).await, Ok(()));
    assert!(bench.published.borrow().is_none());
    for crash in [false, true] {
        if crash {
            bench.mailbox.crash().await;
        }
        bench.clock.advance(Duration::from_secs(1000));
        assert_eq!(bench.lease(60).await, Err(SignerError::Disabled));
        assert!(bench.published.borrow().is_none());
    }
    assert_eq!(bench.opened(), 1);
}

#[actix::test]
async fn a_key_that_is_being_opened_while_it_is_disabled_is_not_used() {
    let bench = bench(Some(600));
    assert_eq!(bench.lease(60).await, end(600));
    bench.at(700);
    // Both reach the mailbox before the key is open.
    let mut lease = Box::pin(bench.lease(60));
    assert!((&mut lease).now_or_never().is_none());
    assert_eq!(bench.mailbox.ask(Disable, soon()).await, Ok(()));
    assert_eq!(lease.await, Err(SignerError::Disabled));
    assert!(bench.published.borrow().is_none());
}

#[actix::test]
async fn longer_lives_than_there_are_do_not_hammer_the_backend() {
    // (life of keys, life wanted, second, opened by then)
    for (life, wanted, steps) in [
        (300, 600, [(0, 1), (29, 1), (30, 2), (59, 2), (60, 3)]),
        // Due for replacement, and dead, as soon as it is opened.
        (20, 0, [(0, 1), (15, 1), (29, 1), (30, 2), (59, 2)]),
    ] {
        let bench = bench(Some(life));
        for (second, opened) in steps {
            bench.at(second);
            let all = join_all((0..10).map(|_| bench.lease(wanted))).await;
            assert!(all.into_iter().all(|key| key == Err(SignerError::TooShortLived)));
            assert_eq!(bench.opened(), opened, "life {life}, second {second}");
        }
    }
}

#[actix::test]
async fn a_panic_while_opening_is_followed_by_another_try() {
    let clock = FakeClock::default();
    let backend = FakeBackend::new("file", SigningMode::Kms, &clock);
    backend.bomb.arm();
    let bench = starting(backend, clock);
    assert_eq!(bench.lease(60).await, Ok(None));
    assert_eq!(bench.opened(), 2);
    bench.mailbox.crash().await;
    assert_eq!(bench.lease(60).await, Ok(None), "opened anew");
    assert_eq!(bench.opened(), 3);
}

#[actix::test]
async fn a_lost_key_is_taken_back_and_opened_anew() {
    let bench = bench(None);
    assert_eq!(bench.lease(60).await, Ok(None));
    bench.backend.losses.fetch_add(1, Ordering::SeqCst);
    assert_eq!(bench.lease(60).await, Ok(None), "who asks waits for the new one");
    assert_eq!(bench.opened(), 2);
    assert!(bench.published.borrow().is_some());
    // While it cannot be opened, it is not on offer.
    bench.fails();
    bench.backend.losses.fetch_add(1, Ordering::SeqCst);
    assert_eq!(bench.lease(60).await, Err(SignerError::Unavailable));
    assert!(bench.published.borrow().is_none());
    bench.backend.open.set(Ok(None));
    bench.clock.advance(RETRY_AFTER);
    assert_eq!(bench.lease(60).await, Ok(None));
    assert_eq!(bench.opened(), 4);
}

#[actix::test]
async fn nobody_waits_while_a_backend_that_failed_is_tried_again() {
    let bench = bench(None);
    assert_eq!(bench.lease(60).await, Ok(None));
    bench.fails();
    bench.backend.losses.fetch_add(1, Ordering::SeqCst);
    assert_eq!(bench.lease(60).await, Err(SignerError::Unavailable));
    // It hangs now: one waits for it, the others hear at once that it is not available.
    bench.backend.open_up.set(false);
    bench.backend.open.set(Ok(None));
    bench.clock.advance(RETRY_AFTER);
    let mut probe = Box::pin(bench.lease(60));
    assert!((&mut probe).now_or_never().is_none());
    testing::until(|| bench.opened() == 3).await;
    let others = join_all((0..10).map(|_| bench.lease(60))).await;
    assert!(others.into_iter().all(|key| key == Err(SignerError::Unavailable)));
    bench.backend.open_up.set(true);
    assert_eq!(probe.await, Ok(None));
    assert_eq!(bench.lease(60).await, Ok(None));
    assert_eq!(bench.opened(), 3);
}
