//! Turns: what costs a worker most before a tenant's rate is known, the verification of a proof or of a token not seen
//! before, is done for one request after the other, and tenants take turns. Tokens not seen before are nobody's yet: they
//! are one more party, whoever sends them.
//!
//! Without this, a worker verifies whatever has arrived in one go. A request comes back to its worker many times, after
//! each question to an actor; behind a tenant that asks far beyond its plan over hundreds of connections it would wait
//! for all of them each time. With it, at most one verification lies between two looks at what else is ready, and a
//! tenant waits for one request of each other tenant, not for every connection of one.
//!
//! Only computation is shared out here. No decision is made, and nothing is remembered beyond who waits.

use std::cell::RefCell;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::context::Context;
use super::error::{At, Failure, Stage};
use super::state::{Authenticated, Session};
use crate::domain::tenant::TenantId;
use crate::runtime::{self, AskError, Deadline};

type Waiter = oneshot::Sender<()>;

/// Who takes a turn.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Party {
    /// Everyone whose token is not verified yet.
    Strangers,
    /// A tenant, by a verified token.
    Tenant(TenantId),
}

thread_local! {
    /// This worker's.
    static TURNS: RefCell<Turns> = RefCell::default();
}

#[derive(Debug, Default)]
struct Turns {
    /// Who waits. A request waits once, so connections bound their number.
    waiting: runtime::Turns<Party, Waiter>,
    /// Deals the turns out while it runs; nobody waits while it does not.
    dealer: Option<JoinHandle<()>>,
}

/// Waits until it is this party's turn on this worker. What is to be done then comes before the next `await`.
///
/// It must be called on an arbiter (a worker's is one).
///
/// # Errors
/// [`AskError::Deadline`] when it is not by then.
pub(super) async fn turn_of(party: &Party, deadline: Deadline) -> Result<(), AskError> {
    let Some(turn) = TURNS.with_borrow_mut(|turns| turns.enter(party)) else {
        return Ok(());
    };
    match tokio::time::timeout_at(deadline.instant(), turn).await {
        // A dealer that ended without a word leaves nobody behind.
        Ok(_) => Ok(()),
        Err(_) => Err(AskError::Deadline),
    }
}

/// Waits until it is the turn of a caller's tenant on this worker, for work whose size the caller chooses: each item of a
/// batch is parsed in a turn of its own. What is to be done then comes before the next `await`.
///
/// # Errors
/// 504 `deadline_exceeded` when it is not in time.
pub async fn turn(session: &Session<Authenticated>, context: &Context) -> Result<(), Failure> {
    let party = Party::Tenant(session.principal().token().tenant.clone());
    turn_of(&party, context.deadline).await.at(Stage::Body)
}

impl Turns {
    /// `None`: at once.
    fn enter(&mut self, party: &Party) -> Option<oneshot::Receiver<()>> {
        // One that was cut off with its runtime deals no more.
        if self.dealer.as_ref().is_none_or(JoinHandle::is_finished) {
            *self = Self {
                dealer: Some(actix::spawn(deal())),
                ..Self::default()
            };
            return None;
        }
        let (waiter, turn) = oneshot::channel();
        self.waiting.push(party, waiter);
        Some(turn)
    }

    /// The first of the next party that still waits.
    fn next(&mut self) -> Option<Waiter> {
        let next = self.waiting.next(|_| true, |waiter| !waiter.is_closed());
        if next.is_none() {
            self.dealer = None;
        }
        next.map(|(_, waiter)| waiter)
    }
}

/// One turn each time that everything else on this worker has been looked at.
async fn deal() {
    loop {
        tokio::task::yield_now().await;
        let Some(next) = TURNS.with_borrow_mut(Turns::next) else {
            return;
        };
        // Gone in this very moment: the next one is dealt to all the same.
        let _ = next.send(());
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::testing;

    type Order = Rc<RefCell<Vec<&'static str>>>;

    fn tenant(name: &str) -> Party {
        Party::Tenant(testing::tenant(name))
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    fn ask(name: &'static str, order: &Order) -> JoinHandle<Result<(), AskError>> {
        let order = Rc::clone(order);
        actix::spawn(async move {
            turn_of(&tenant(name), soon()).await?;
            order.borrow_mut().push(name);
            Ok(())
        })
    }

    #[actix::test]
    async fn tenants_take_turns_whatever_their_number_of_requests() {
        let order = Order::default();
        let mut all: Vec<_> = (0..50).map(|_| ask("abusive", &order)).collect();
        all.push(ask("good", &order));
        all.push(ask("good", &order));
        all.push(ask("other", &order));
        for one in all {
            one.await.expect("it ends").expect("in time");
        }
        let order = order.borrow();
        assert_eq!(order.len(), 53);
        let place = |name: &str| order.iter().position(|one| *one == name);
        // The first goes in at once, the next waits with all others.
        assert_eq!(
            order[..6],
            ["abusive", "abusive", "good", "other", "abusive", "good"]
        );
        assert_eq!(place("other"), Some(3));
    }

    #[actix::test]
    async fn what_is_ready_goes_on_between_two_turns() {
        let order = Order::default();
        let all: Vec<_> = (0..10).map(|_| ask("abusive", &order)).collect();
        let steps = Rc::clone(&order);
        let other = actix::spawn(async move {
            for _ in 0..10 {
                steps.borrow_mut().push("step");
                tokio::task::yield_now().await;
            }
        });
        for one in all {
            one.await.expect("it ends").expect("in time");
        }
        other.await.expect("it ends");
        let order = order.borrow();
        for two in order[..10].windows(2) {
            assert_ne!(two, ["abusive", "abusive"], "{order:?}");
        }
    }

    #[actix::test]
    async fn who_gives_up_holds_nobody_up() {
        let order = Order::default();
        let first = ask("one", &order);
        tokio::task::yield_now().await;
        let gone: Vec<_> = (0..100).map(|_| ask("two", &order)).collect();
        let last = ask("two", &order);
        first.await.expect("it ends").expect("in time");
        gone.iter().for_each(JoinHandle::abort);
        last.await.expect("it ends").expect("in time");
        assert!(TURNS.with_borrow(|turns| turns.waiting.is_empty()));
    }

    #[actix::test]
    async fn waiting_ends_with_the_deadline() {
        let one = tenant("one");
        // Far more turns than fit into the millisecond by which timers are counted.
        let crowd: Vec<_> = (0..100_000)
            .map(|_| TURNS.with_borrow_mut(|turns| turns.enter(&one)))
            .collect();
        let late = turn_of(&one, Deadline::after(Duration::ZERO)).await;
        assert_eq!(late, Err(AskError::Deadline));
        drop(crowd);
    }

    #[test]
    fn a_runtime_that_ended_takes_its_turns_with_it() {
        for _ in 0..2 {
            let system = actix::System::new();
            system.block_on(async {
                let one = tenant("one");
                assert!(turn_of(&one, soon()).now_or_never().is_some());
                assert!(turn_of(&one, soon()).now_or_never().is_none());
            });
        }
    }
}
