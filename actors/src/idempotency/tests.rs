//! The actor with a store in memory.

use actix::Arbiter;

use bytes::Bytes;

use super::*;
use crate::domain::digest::Sha256Digest;
use crate::domain::idempotency::{IdempotencyKey, Scope, ScopedKey};
use crate::domain::ids::AuditId;
use crate::runtime::{Deadline, Mailbox, start};
use crate::testing::{self, FakeClock, FakeKeys, until};

struct Bench {
    store: FakeKeys,
    mailbox: Mailbox<Idempotency>,
}

fn bench() -> Bench {
    let clock = FakeClock::default();
    let store = FakeKeys::new(&clock);
    let vitals = testing::vitals();
    let (for_actor, observer) = (Arc::new(store.clone()), Arc::clone(&vitals.observer));
    let mailbox = start(&Arbiter::current(), 64, vitals, move || {
        Idempotency::new(for_actor, Arc::new(clock), observer)
    });
    Bench { store, mailbox }
}

fn claim(attempt: u128) -> Claim {
    let (tenant, installation) = (testing::tenant("acme"), testing::installation());
    let scope = Scope {
        tenant: &tenant,
        installation: &installation,
        client: "c",
        subject: "s",
        route: "r",
    };
    let key = IdempotencyKey::parse(b"k").expect("a key");
    Claim {
        key: ScopedKey::new(&scope, &key),
        request: Sha256Digest([1; 32]),
        attempt: AuditId(uuid::Uuid::from_u128(attempt)),
        void: None,
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

impl Bench {
    async fn take(&self, attempt: u128) -> Result<Turn, IdempotencyError> {
        self.mailbox
            .ask(Take(claim(attempt)), soon())
            .await
            .expect("an answer")
    }

    async fn hold(&self, attempt: u128) -> Hold {
        match self.take(attempt).await {
            Ok(Turn::Yours { hold, .. }) => hold,
            other => panic!("{other:?}"),
        }
    }
}

#[actix::test]
async fn a_hold_that_is_dropped_gives_its_key_back() {
    let bench = bench();
    let hold = bench.hold(1).await;
    assert!(matches!(bench.take(2).await, Err(IdempotencyError::InFlight)));
    drop(hold);
    until(|| bench.store.is_empty()).await;
    bench.hold(3).await;
}

#[actix::test]
async fn an_asker_that_has_gone_leaves_nothing_behind() {
    let bench = bench();
    bench.store.open.set(false);
    let asked = bench
        .mailbox
        .ask(Take(claim(1)), Deadline::after(Duration::from_millis(5)));
    assert!(asked.await.is_err());
    bench.store.open.set(true);
    until(|| bench.store.calls.get().contains(&"give_up")).await;
    until(|| bench.store.is_empty()).await;
}

#[actix::test]
async fn a_claim_whose_answer_was_lost_is_given_back() {
    let bench = bench();
    bench.store.answers.set(false);
    assert!(matches!(bench.take(1).await, Err(IdempotencyError::Unavailable)));
    bench.store.answers.set(true);
    until(|| bench.store.is_empty()).await;
}

#[actix::test]
async fn what_cannot_be_given_back_is_tried_again() {
    let bench = bench();
    let hold = bench.hold(1).await;
    bench.store.up.set(false);
    drop(hold);
    until(|| bench.store.calls.get().contains(&"give_up")).await;
    assert_eq!(bench.store.len(), 1);
    bench.store.up.set(true);
    let again = tokio::time::timeout(Duration::from_secs(10), async {
        while !bench.store.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(again.await.is_ok(), "with the next look after itself");
}

/// However long it is down and however often it is asked for keys: what has to be given back is bounded, and all of it is.
#[actix::test]
async fn a_store_that_is_down_does_not_pile_up_what_is_owed() {
    let bench = bench();
    let hold = bench.hold(1).await;
    bench.store.up.set(false);
    let claims = || {
        let calls = bench.store.calls.get();
        calls.iter().filter(|call| **call == "claim").count()
    };
    for attempt in 0..MOST_OWED as u128 + 200 {
        let refused = bench.take(attempt + 10).await;
        assert!(matches!(refused, Err(IdempotencyError::Unavailable)));
    }
    let asked = claims();
    assert!((MOST_OWED..MOST_OWED + 100).contains(&asked), "{asked}");
    drop(hold);
    for attempt in 0..100 {
        assert!(bench.take(attempt + 10_000).await.is_err());
    }
    assert_eq!(claims(), asked, "the store is left alone");
    bench.store.up.set(true);
    let again = tokio::time::timeout(Duration::from_secs(20), async {
        while !bench.store.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(again.await.is_ok(), "the one that was held, too");
    bench.hold(2).await;
}

#[actix::test]
async fn an_answer_is_kept_for_its_owner_alone() {
    let bench = bench();
    let answer = KeptAnswer {
        stamped: true,
        payload: Sha256Digest([2; 32]),
        backend: crate::domain::ids::KeyId::parse("file").expect("an id"),
        key: None,
        told: "told".into(),
    };
    let keep = |hold| Keep {
        hold,
        answer: answer.encode().expect("short"),
    };
    let hold = bench.hold(1).await;
    // As if another attempt had taken over in a store that has an end for attempts.
    bench.store.change(|model| model.give_up(claim(1), End::Nothing));
    let other = bench.hold(2).await;
    let kept = bench.mailbox.ask(keep(hold), soon()).await.expect("an answer");
    assert_eq!(kept, Err(IdempotencyError::InFlight));
    let kept = bench.mailbox.ask(keep(other), soon()).await.expect("an answer");
    assert_eq!(kept, Ok(()));
    match bench.take(3).await {
        Ok(Turn::Kept {
            attempt,
            answer: kept,
        }) => {
            assert_eq!((attempt, kept), (claim(2).attempt, answer.clone()));
        }
        other => panic!("{other:?}"),
    }
    assert!(!bench.store.calls.get().contains(&"give_up"));
}

#[actix::test]
async fn what_was_kept_by_another_version_is_neither_replayed_nor_signed_again() {
    let bench = bench();
    bench.store.change(|model| {
        model.keep(claim(1), Bytes::from_static(b"\x09strange"), Duration::ZERO);
    });
    assert!(matches!(bench.take(2).await, Err(IdempotencyError::Unavailable)));
    assert!(matches!(bench.take(3).await, Err(IdempotencyError::Unavailable)));
}
