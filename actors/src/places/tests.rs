//! Places and who gets them.

use std::cell::RefCell;
use std::time::Duration;

use actix::Arbiter;
use futures_util::future::{join, join_all};

use super::*;
use crate::runtime::{AskError, Mailbox, start};
use crate::testing::{self, until};

type Answer = Result<Option<OwnedSemaphorePermit>, AskError>;

const PATIENCE: Duration = Duration::from_secs(5);

fn places(places: usize, room: usize) -> Mailbox<Places> {
    start(&Arbiter::current(), 64, testing::vitals(), move || {
        Places::new(places, room)
    })
}

async fn take(mailbox: &Mailbox<Places>, tenant: &str, patience: Duration) -> Answer {
    let (tenant, until) = (testing::tenant(tenant), Deadline::after(patience));
    mailbox.ask(TakePlace { tenant, until }, until).await
}

async fn place(mailbox: &Mailbox<Places>, tenant: &str) -> OwnedSemaphorePermit {
    take(mailbox, tenant, PATIENCE)
        .await
        .expect("an answer")
        .expect("a place")
}

#[actix::test]
async fn tenants_take_turns_for_places() {
    let mailbox = places(1, 64);
    let held = place(&mailbox, "busy").await;
    let order = RefCell::new(Vec::new());
    let work = async |tenant: &'static str| {
        let place = place(&mailbox, tenant).await;
        order.borrow_mut().push(tenant);
        drop(place);
    };
    let all = join_all(["busy", "busy", "busy", "busy", "quiet", "other", "quiet"].map(work));
    let free = async {
        until(|| mailbox.in_use() == 7).await;
        drop(held);
    };
    join(all, free).await;
    // One of the busy tenant's may have had its turn before all others had come.
    let order = order.borrow().clone();
    let place_of = |tenant| {
        order
            .iter()
            .position(|one| *one == tenant)
            .expect("it had a place")
    };
    assert!(place_of("quiet") < 3 && place_of("other") < 4, "{order:?}");
    drop(place(&mailbox, "busy").await);
}

#[actix::test]
async fn there_are_no_more_places_than_there_are() {
    let mailbox = places(2, 64);
    let (first, second) = (place(&mailbox, "a").await, place(&mailbox, "a").await);
    let late = take(&mailbox, "b", Duration::from_millis(10)).await;
    assert!(matches!(late, Err(AskError::Deadline)), "{late:?}");
    drop(first);
    // Whoever has gone keeps none.
    let third = place(&mailbox, "b").await;
    drop((second, third));
    let all = [place(&mailbox, "a").await, place(&mailbox, "a").await];
    assert_eq!(all.len(), 2);
}

#[actix::test]
async fn no_tenant_takes_all_the_room() {
    let mailbox = places(1, 4);
    let held = place(&mailbox, "busy").await;
    // Whether there was a place; it is free again at once.
    let had = async |tenant| {
        take(&mailbox, tenant, PATIENCE)
            .await
            .expect("an answer")
            .is_some()
    };
    let busy = join_all((0..5).map(|_| had("busy")));
    let others = async {
        until(|| mailbox.in_use() == 2).await;
        join_all(["quiet", "quiet"].map(had)).await
    };
    let free = async {
        until(|| mailbox.in_use() == 3).await;
        drop(held);
    };
    let ((busy, others), ()) = join(join(busy, others), free).await;
    assert_eq!(busy, [true, true, false, false, false]);
    assert_eq!(others, [true, false]);
}

#[actix::test]
async fn a_panic_leaves_a_healthy_actor() {
    let mailbox = places(1, 64);
    let held = place(&mailbox, "a").await;
    let waiting = take(&mailbox, "a", PATIENCE);
    let crash = async {
        until(|| mailbox.in_use() == 1).await;
        mailbox.crash().await;
    };
    let (waited, ()) = join(waiting, crash).await;
    assert!(matches!(waited, Err(AskError::Abandoned)), "{waited:?}");
    drop(held);
    for _ in 0..3 {
        drop(place(&mailbox, "b").await);
    }
}
