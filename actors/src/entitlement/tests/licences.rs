//! What one proof tells of the licence of others, and when changes take effect.

use futures_util::FutureExt;

use super::{Came, bench};
use crate::entitlement::*;
use crate::testing;

fn of(license: &str) -> Entitlement {
    Entitlement {
        license: license.into(),
        ..testing::entitlement()
    }
}

#[actix::test]
async fn a_licence_revoked_through_one_proof_lives_on_in_no_other() {
    let bench = bench(300);
    for (proof, license) in [("a", "lic-1"), ("b", "lic-1"), ("c", "lic-2")] {
        bench.licensing.local.set(Ok(of(license)));
        assert_eq!(bench.resolve(proof).await, Came::Good);
    }
    bench.at(60);
    bench.licensing.local.set(Ok(of("lic-1")));
    bench.says(Introspection::Revoked);
    assert_eq!(bench.resolve("a").await, Came::Revoked);
    bench.down();
    assert_eq!(bench.resolve("b").await, Came::Unavailable, "no grace");
    bench.licensing.local.set(Ok(of("lic-2")));
    assert_eq!(
        bench.resolve("c").await,
        Came::Good,
        "another licence keeps its grace"
    );
}

#[actix::test]
async fn facts_of_other_proofs_of_a_revoked_licence_are_dropped_at_once() {
    let bench = bench(0);
    for proof in ["a", "b"] {
        assert_eq!(bench.resolve(proof).await, Came::Good);
    }
    bench.at(30);
    bench.says(Introspection::Revoked);
    assert_eq!(bench.resolve("c").await, Came::Revoked);
    // Well inside their positive TTL.
    assert_eq!((bench.resolve("a").await, bench.asked()), (Came::Revoked, 4));
    // Only one proof was meant: what Licensing confirms afterwards holds.
    bench.licensing.online.set(Ok(None));
    assert_eq!((bench.resolve("b").await, bench.asked()), (Came::Good, 5));
    assert_eq!((bench.resolve("b").await, bench.asked()), (Came::Good, 5));
}

#[actix::test]
async fn an_answer_overtaken_by_a_revocation_is_asked_for_again() {
    let bench = bench(300);
    bench.licensing.held.set(Some("slow".into()));
    let mut slow = Box::pin(bench.resolve("slow"));
    assert!((&mut slow).now_or_never().is_none());
    testing::until(|| bench.asked() == 1).await;
    bench.says(Introspection::Revoked);
    assert_eq!(bench.resolve("quick").await, Came::Revoked);
    bench.licensing.online.set(Ok(None));
    bench.licensing.held.set(None);
    assert_eq!(slow.await, Came::Good);
    assert_eq!(
        bench.asked(),
        3,
        "the first answer may have been given before the revocation"
    );
}

#[actix::test]
async fn a_revocation_goes_unnoticed_for_the_positive_ttl_at_most() {
    let bench = bench(300);
    bench.expect(&[(0, Came::Good, 1)]).await;
    bench.says(Introspection::Revoked);
    bench.expect(&[(59, Came::Good, 1), (60, Came::Revoked, 2)]).await;
}

#[actix::test]
async fn a_change_of_plan_counts_from_the_next_answer() {
    let bench = bench(0);
    let plan = |qps| {
        let mut facts = testing::entitlement();
        facts.limits.qps = qps;
        bench.says(Introspection::Active(Box::new(facts)));
    };
    plan(7);
    assert_eq!(bench.facts("poe").await.limits.qps, 7);
    plan(3);
    bench.at(59);
    assert_eq!(bench.facts("poe").await.limits.qps, 7);
    bench.at(60);
    assert_eq!(bench.facts("poe").await.limits.qps, 3);
}

#[actix::test]
async fn a_wall_clock_set_back_revives_no_proof() {
    for down in [false, true] {
        let bench = bench(300);
        let expires = testing::NOW() + chrono::Duration::seconds(90);
        bench.licensing.local.set(Ok(Entitlement {
            expires,
            ..testing::entitlement()
        }));
        bench.expect(&[(0, Came::Good, 1)]).await;
        bench.clock.set_back(Duration::from_secs(3600));
        if down {
            bench.down();
        }
        bench.expect(&[(59, Came::Good, 1), (60, Came::Good, 2)]).await;
        // The wall clock says that an hour is left; local verification would agree, and so would Licensing.
        bench.at(90);
        assert_eq!(
            bench.resolve("poe").await,
            Came::Expired,
            "Licensing down: {down}"
        );
        bench.at(250);
        assert_eq!(
            bench.resolve("poe").await,
            Came::Expired,
            "Licensing down: {down}"
        );
    }
}

#[actix::test]
async fn what_was_said_on_another_basis_is_void() {
    let bench = bench(300);
    bench.expect(&[(0, Came::Good, 1), (1, Came::Good, 1)]).await;
    bench.licensing.basis.set(Some(1));
    bench.expect(&[(2, Came::Good, 2), (3, Came::Good, 2)]).await;
    bench.licensing.basis.set(None);
    bench.expect(&[(4, Came::Unavailable, 2)]).await;
    bench.licensing.basis.set(Some(2));
    bench.expect(&[(5, Came::Good, 3)]).await;
    // Also what is under way when it changes.
    bench.licensing.open.set(false);
    let mut other = Box::pin(bench.resolve("other"));
    assert!((&mut other).now_or_never().is_none());
    testing::until(|| bench.asked() == 4).await;
    bench.licensing.basis.set(Some(3));
    bench.licensing.open.set(true);
    assert_eq!((other.await, bench.asked()), (Came::Good, 5));
    bench.licensing.open.set(false);
    let mut last = Box::pin(bench.resolve("last"));
    assert!((&mut last).now_or_never().is_none());
    testing::until(|| bench.asked() == 6).await;
    bench.licensing.basis.set(None);
    bench.licensing.open.set(true);
    assert_eq!((last.await, bench.asked()), (Came::Unavailable, 6));
}

#[actix::test]
async fn a_licence_that_is_not_listed_is_invalid_not_revoked() {
    let bench = bench(0);
    bench.says(Introspection::Unlisted);
    bench
        .expect(&[
            (0, Came::Invalid, 1),
            (4, Came::Invalid, 1),
            (5, Came::Invalid, 2),
        ])
        .await;
}
