//! The runtime's promises, with a state that does as it is told.

use std::time::Duration;

use actix::{Arbiter, ArbiterHandle};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::*;
use crate::testing::{self, until};

type Step = Box<dyn FnOnce(&mut Toy, &mut Cx<'_, Toy>) -> Reply<u32> + Send>;

#[derive(Default)]
struct Toy {
    kept: u32,
    starts: u32,
    recoveries: u32,
    recover_panics: bool,
    held: Vec<oneshot::Sender<u32>>,
}

impl ActorState for Toy {
    const NAME: &'static str = "toy";

    fn started(&mut self, _cx: &mut Cx<'_, Self>) {
        self.starts += 1;
    }

    fn recover(&mut self) {
        assert!(!self.recover_panics, "told to");
        self.recoveries += 1;
        self.held.clear();
    }
}

/// Does what it holds.
struct Do(Step);

impl Request for Do {
    type Answer = u32;
}

impl Serve<Do> for Toy {
    fn serve(&mut self, request: Do, cx: &mut Cx<'_, Self>) -> Reply<u32> {
        (request.0)(self, cx)
    }
}

fn act(step: impl FnOnce(&mut Toy, &mut Cx<'_, Toy>) -> Reply<u32> + Send + 'static) -> Do {
    Do(Box::new(step))
}

/// Answers at once.
fn say(value: u32) -> Do {
    act(move |_, _| Reply::Now(value))
}

/// Is not answered until someone lets go of what is held.
fn hold() -> Do {
    act(|toy, _| {
        let (sender, receiver) = oneshot::channel();
        toy.held.push(sender);
        Reply::Later(receiver)
    })
}

/// Answers what is held.
fn let_go() -> Do {
    act(|toy, _| {
        toy.held.drain(..).for_each(|held| assert!(held.send(7).is_ok()));
        Reply::Now(0)
    })
}

fn blow() -> Do {
    act(|_, _| panic!("told to"))
}

fn long() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

fn toy_on(arbiter: &ArbiterHandle, capacity: usize) -> (Mailbox<Toy>, Watchdog) {
    let vitals = testing::vitals();
    let watchdog = vitals.watchdog.clone();
    (start(arbiter, capacity, vitals, Toy::default), watchdog)
}

fn toy(capacity: usize) -> Mailbox<Toy> {
    toy_on(&Arbiter::current(), capacity).0
}

#[actix::test]
async fn a_full_mailbox_refuses_at_once_and_recovers() {
    // More than actix's own mailbox holds (16).
    let mailbox = toy(40);
    let asks: Vec<_> = (0..40)
        .map(|_| {
            let mailbox = mailbox.clone();
            actix::spawn(async move { mailbox.ask(hold(), long()).await })
        })
        .collect();
    until(|| mailbox.in_use() == 40).await;
    let refused = mailbox.ask(say(1), long()).now_or_never();
    assert_eq!(refused, Some(Err(AskError::Overloaded)), "at once");
    // Room is made when an answer is given, not when the asker goes.
    asks.iter().for_each(tokio::task::JoinHandle::abort);
    join_all(asks).await;
    assert_eq!(mailbox.in_use(), 40);
}

#[actix::test]
async fn what_must_be_heard_waits_for_a_place() {
    let mailbox = toy(2);
    let held = actix::spawn({
        let mailbox = mailbox.clone();
        async move { mailbox.ask(hold(), long()).await }
    });
    let also_held = actix::spawn({
        let mailbox = mailbox.clone();
        async move {
            mailbox
                .ask(hold(), Deadline::after(Duration::from_millis(5)))
                .await
        }
    });
    until(|| mailbox.in_use() == 2).await;
    let soon = Deadline::after(Duration::from_millis(5));
    assert_eq!(
        mailbox.insist(say(1), soon).await,
        Err(AskError::Deadline),
        "no place in time"
    );
    let insisting = actix::spawn({
        let mailbox = mailbox.clone();
        async move { mailbox.insist(say(2), long()).await }
    });
    mailbox.crash().await;
    assert_eq!(held.await.ok(), Some(Err(AskError::Abandoned)));
    assert!(also_held.await.is_ok());
    assert!(
        insisting.await.is_ok_and(|answer| answer.is_ok()),
        "served once there is a place"
    );
}

#[actix::test]
async fn every_held_ask_is_answered() {
    let mailbox = toy(40);
    let mut asks: Vec<_> = (0..39).map(|_| Box::pin(mailbox.ask(hold(), long()))).collect();
    for ask in &mut asks {
        assert!(ask.now_or_never().is_none());
    }
    assert_eq!(mailbox.in_use(), 39);
    assert_eq!(mailbox.ask(let_go(), long()).await, Ok(0));
    assert!(join_all(asks).await.into_iter().all(|answer| answer == Ok(7)));
    until(|| mailbox.in_use() == 0).await;
}

#[actix::test]
async fn a_deadline_ends_the_wait_and_not_the_work() {
    let mailbox = toy(4);
    let soon = Deadline::after(Duration::from_millis(5));
    assert_eq!(mailbox.ask(hold(), soon).await, Err(AskError::Deadline));
    assert_eq!(mailbox.in_use(), 1, "the work goes on and keeps its place");
    assert_eq!(mailbox.ask(let_go(), long()).await, Ok(0));
    until(|| mailbox.in_use() == 0).await;
}

#[actix::test]
async fn a_caller_that_gives_up_frees_nothing_early() {
    let mailbox = toy(4);
    let mut ask = Box::pin(mailbox.ask(hold(), long()));
    assert!((&mut ask).now_or_never().is_none());
    // Until it is held.
    assert_eq!(mailbox.ask(say(1), long()).await, Ok(1));
    drop(ask);
    assert_eq!(mailbox.ask(say(2), long()).await, Ok(2));
    assert_eq!(mailbox.in_use(), 1);
    assert_eq!(mailbox.ask(let_go(), long()).await, Ok(0));
    until(|| mailbox.in_use() == 0).await;
}

#[actix::test]
async fn what_was_asked_is_done_whoever_still_waits() {
    let mailbox = toy(4);
    let count = || {
        act(|toy, _| {
            toy.kept += 1;
            Reply::Now(toy.kept)
        })
    };
    for _ in 0..2 {
        let given_up = Box::pin(mailbox.ask(count(), long()));
        assert!(given_up.now_or_never().is_none());
    }
    assert_eq!(mailbox.ask(count(), long()).await, Ok(3));
    assert_eq!(mailbox.in_use(), 0);
}

#[actix::test]
async fn a_panic_costs_one_ask_and_no_state() {
    let mailbox = toy(16);
    let keep = act(|toy, _| {
        toy.kept = 42;
        Reply::Now(0)
    });
    assert_eq!(mailbox.ask(keep, long()).await, Ok(0));
    let asks = [say(1), blow(), say(2), hold(), say(3)].map(|request| mailbox.ask(request, long()));
    let mut asks = Box::pin(join_all(asks));
    assert!((&mut asks).now_or_never().is_none());
    let read = act(|toy, _| Reply::Now(toy.kept * 100 + toy.recoveries * 10 + toy.starts));
    assert_eq!(
        mailbox.ask(read, long()).await,
        Ok(4212),
        "kept, recovered once, started anew"
    );
    assert_eq!(mailbox.ask(let_go(), long()).await, Ok(0));
    assert_eq!(
        asks.await,
        [Ok(1), Err(AskError::Panicked), Ok(2), Ok(7), Ok(3)],
        "what was queued behind the panic is served"
    );
    until(|| mailbox.in_use() == 0).await;
}

#[actix::test]
async fn what_waited_when_the_actor_panicked_is_told_so() {
    for crash in [false, true] {
        let mailbox = toy(4);
        let mut ask = Box::pin(mailbox.ask(hold(), long()));
        assert!((&mut ask).now_or_never().is_none());
        assert_eq!(mailbox.ask(say(1), long()).await, Ok(1));
        if crash {
            mailbox.crash().await;
        } else {
            assert_eq!(mailbox.ask(blow(), long()).await, Err(AskError::Panicked));
        }
        assert_eq!(ask.await, Err(AskError::Abandoned));
        assert_eq!(mailbox.ask(say(2), long()).await, Ok(2));
        until(|| mailbox.in_use() == 0).await;
    }
}

#[actix::test]
async fn a_dropped_sender_abandons_its_ask() {
    let mailbox = toy(4);
    let abandon = act(|_, _| Reply::Later(oneshot::channel().1));
    assert_eq!(mailbox.ask(abandon, long()).await, Err(AskError::Abandoned));
    assert_eq!(mailbox.ask(say(1), long()).await, Ok(1));
}

/// Runs a future beside the mailbox and answers with what it came to; 99 is a panic.
fn run(panics: bool, step_panics: bool) -> Do {
    act(move |_, cx| {
        let (sender, receiver) = oneshot::channel();
        let work = async move {
            assert!(!panics, "told to");
            5
        };
        cx.run(Box::pin(work), move |toy, result, _cx| {
            toy.kept += 1;
            assert!(!step_panics, "told to");
            assert!(sender.send(result.unwrap_or(99)).is_ok());
        });
        Reply::Later(receiver)
    })
}

#[actix::test]
async fn work_beside_the_mailbox_comes_back_whatever_became_of_it() {
    let mailbox = toy(4);
    assert_eq!(mailbox.ask(run(false, false), long()).await, Ok(5));
    assert_eq!(mailbox.ask(run(true, false), long()).await, Ok(99));
    let recoveries = || act(|toy, _| Reply::Now(toy.recoveries));
    assert_eq!(
        mailbox.ask(recoveries(), long()).await,
        Ok(0),
        "the actor did not panic"
    );
    assert_eq!(
        mailbox.ask(run(false, true), long()).await,
        Err(AskError::Abandoned)
    );
    assert_eq!(mailbox.ask(recoveries(), long()).await, Ok(1));
    // Work outlives a panic of the actor.
    let mut ask = Box::pin(mailbox.ask(run(false, false), long()));
    assert!((&mut ask).now_or_never().is_none());
    assert_eq!(mailbox.ask(blow(), long()).await, Err(AskError::Panicked));
    assert_eq!(ask.await, Ok(5));
    let kept = act(|toy, _| Reply::Now(toy.kept));
    assert_eq!(mailbox.ask(kept, long()).await, Ok(4));
}

#[actix::test]
async fn an_actor_that_panics_without_end_is_reported() {
    let (mailbox, watchdog) = toy_on(&Arbiter::current(), 4);
    for _ in 0..50 {
        assert_eq!(mailbox.ask(blow(), long()).await, Err(AskError::Panicked));
    }
    assert_eq!(watchdog.fatal().now_or_never(), None);
    assert_eq!(mailbox.ask(blow(), long()).await, Err(AskError::Panicked));
    assert_eq!(watchdog.fatal().now_or_never(), Some("toy"));
}

#[actix::test]
async fn a_state_that_cannot_recover_is_reported() {
    let (mailbox, watchdog) = toy_on(&Arbiter::current(), 4);
    let rig = act(|toy, _| {
        toy.recover_panics = true;
        Reply::Now(0)
    });
    assert_eq!(mailbox.ask(rig, long()).await, Ok(0));
    mailbox.crash().await;
    until(|| watchdog.fatal().now_or_never() == Some("toy")).await;
}

#[actix::test]
async fn an_actor_whose_arbiter_ended_has_stopped() {
    let arbiter = Arbiter::new();
    let (mailbox, watchdog) = toy_on(&arbiter.handle(), 4);
    assert_eq!(mailbox.ask(say(1), long()).await, Ok(1));
    arbiter.stop();
    arbiter.join().expect("the arbiter ends");
    assert_eq!(mailbox.ask(say(1), long()).await, Err(AskError::Stopped));
    assert_eq!(watchdog.fatal().await, "toy");
    assert_eq!(mailbox.in_use(), 0);
}

#[actix::test]
async fn shards_route_by_the_key_alone() {
    let shards = Shards::new(toy(4), vec![toy(4), toy(4)]);
    for (index, mailbox) in (0u32..).zip(shards.iter()) {
        let name = act(move |toy, _| {
            toy.kept = index;
            Reply::Now(0)
        });
        assert_eq!(mailbox.ask(name, long()).await, Ok(0));
    }
    let mut seen = [0; 3];
    for n in 0..60 {
        let key = format!("tenant-{n}");
        // By the definition: FNV-1a modulo the number of shards.
        let expected = u32::try_from(stable_hash(&key) % 3).expect("a small number");
        for shards in [&shards, &shards.clone()] {
            let kept = act(|toy, _| Reply::Now(toy.kept));
            assert_eq!(shards.of(&key).ask(kept, long()).await, Ok(expected), "{key}");
        }
        seen[expected as usize] += 1;
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
}

/// Counts, and lets questions gather.
struct Often(u32);

impl ActorState for Often {
    const NAME: &'static str = "often";

    fn gathers(&self) -> bool {
        true
    }

    fn recover(&mut self) {}
}

struct Next;

impl Request for Next {
    type Answer = u32;
}

impl Serve<Next> for Often {
    fn serve(&mut self, _: Next, _: &mut Cx<'_, Self>) -> Reply<u32> {
        self.0 += 1;
        Reply::Now(self.0)
    }
}

#[actix::test]
async fn whoever_is_asked_often_answers_everybody_in_order() {
    let arbiter = Arbiter::new();
    let mailbox = start(&arbiter.handle(), 64, testing::vitals(), || Often(0));
    for round in 0..100 {
        let all = (0..20).map(|_| mailbox.ask(Next, long()));
        let expected: Vec<_> = (1..=20).map(|n| Ok(20 * round + n)).collect();
        assert_eq!(join_all(all).await, expected);
    }
    arbiter.stop();
    arbiter.join().expect("the arbiter ends");
}
