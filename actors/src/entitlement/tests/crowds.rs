//! Many at once: who waits, who is refused, and how often Licensing is asked.

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::{Came, bench, bench_with};
use crate::entitlement::*;
use crate::testing;

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}-{n}")).collect()
}

#[actix::test]
async fn five_hundred_requests_with_one_proof_ask_once() {
    let bench = bench_with(0, Bounds::of_mailbox(4096), 4096);
    bench.licensing.open.set(false);
    let mut all = Box::pin(join_all((0..500).map(|_| bench.resolve("poe"))));
    assert!((&mut all).now_or_never().is_none());
    testing::until(|| bench.mailbox.in_use() == 500 && bench.asked() == 1).await;
    bench.licensing.open.set(true);
    assert_eq!(all.await, vec![Came::Good; 500]);
    assert_eq!(bench.asked(), 1);
    testing::until(|| bench.mailbox.in_use() == 0).await;
}

#[actix::test]
async fn one_slow_proof_takes_its_share_and_no_more() {
    let bench = bench(0);
    assert_eq!(bench.resolve("warm").await, Came::Good);
    bench.licensing.open.set(false);
    // Contract §2.6: the excess is answered at once. The mailbox has 256 places, a quarter for one proof.
    let tenants = ["acme", "globex"].into_iter().cycle().take(200);
    let mut slow = Box::pin(join_all(tenants.map(|tenant| bench.resolve_for(tenant, "poe"))));
    assert!((&mut slow).now_or_never().is_none());
    testing::until(|| bench.mailbox.in_use() == 64).await;
    // What is known is answered, and others find places to wait.
    assert_eq!(bench.resolve("warm").await, Came::Good);
    let mut other = Box::pin(bench.resolve_for("globex", "theirs"));
    assert!((&mut other).now_or_never().is_none());
    testing::until(|| bench.asked() == 3).await;
    bench.licensing.open.set(true);
    let came = slow.await;
    assert_eq!(came.iter().filter(|came| **came == Came::Good).count(), 64);
    assert_eq!(
        came.iter().filter(|came| **came == Came::Unavailable).count(),
        136
    );
    assert_eq!(other.await, Came::Good);
}

#[actix::test]
async fn a_tenant_with_many_proofs_leaves_places_to_others_and_all_together_leave_some() {
    let bench = bench(0);
    bench.licensing.open.set(false);
    let waiting = |tenant: &'static str| {
        let proofs = names(tenant, 100);
        let bench = &bench;
        async move { join_all(proofs.iter().map(|proof| bench.resolve_for(tenant, proof))).await }
    };
    let good = |came: &[Came]| came.iter().filter(|came| **came == Came::Good).count();
    let mut crowds: Vec<_> = ["acme", "globex", "initech"]
        .map(|tenant| Box::pin(waiting(tenant)))
        .into();
    for (crowd, places) in crowds.iter_mut().zip([64, 128, 128]) {
        assert!(crowd.now_or_never().is_none() || places == 128);
        testing::until(|| bench.mailbox.in_use() == places).await;
    }
    bench.licensing.open.set(true);
    let mut counts = Vec::new();
    for crowd in crowds {
        counts.push(good(&crowd.await));
    }
    assert_eq!(counts, [64, 64, 0]);
    testing::until(|| bench.mailbox.in_use() == 0).await;
}

#[actix::test]
async fn questions_are_bounded_and_no_tenant_holds_them_all() {
    let bounds = Bounds {
        introspections: 4,
        introspections_of_tenant: 3,
        ..Bounds::of_mailbox(256)
    };
    let bench = bench_with(0, bounds, 256);
    bench.licensing.open.set(false);
    let (ours, theirs) = (names("ours", 10), names("theirs", 10));
    let mut ours = Box::pin(join_all(ours.iter().map(|proof| bench.resolve(proof))));
    assert!((&mut ours).now_or_never().is_none());
    testing::until(|| bench.mailbox.in_use() == 10 && bench.asked() == 3).await;
    let mut theirs = Box::pin(join_all(
        theirs.iter().map(|proof| bench.resolve_for("globex", proof)),
    ));
    assert!((&mut theirs).now_or_never().is_none());
    testing::until(|| bench.mailbox.in_use() == 20 && bench.asked() == 4).await;
    bench.licensing.open.set(true);
    assert_eq!(
        (ours.await, theirs.await),
        (vec![Came::Good; 10], vec![Came::Good; 10])
    );
    assert_eq!(bench.asked(), 20);
    assert_eq!(bench.licensing.most_at_once(), 4);
}

#[actix::test]
async fn a_panic_gives_back_every_place_and_every_slot() {
    let bounds = Bounds {
        introspections: 2,
        ..Bounds::of_mailbox(256)
    };
    let bench = bench_with(0, bounds, 256);
    bench.licensing.open.set(false);
    let proofs = names("poe", 5);
    let mut all = Box::pin(join_all(proofs.iter().map(|proof| bench.resolve(proof))));
    assert!((&mut all).now_or_never().is_none());
    testing::until(|| bench.asked() == 2).await;
    bench.mailbox.crash().await;
    assert_eq!(
        all.await,
        vec![Came::Asked(crate::runtime::AskError::Abandoned); 5]
    );
    bench.licensing.open.set(true);
    let again = join_all(proofs.iter().map(|proof| bench.resolve(proof))).await;
    assert_eq!(again, vec![Came::Good; 5]);
    testing::until(|| bench.mailbox.in_use() == 0).await;
}

#[actix::test]
async fn an_answer_from_before_a_panic_frees_no_slot() {
    let bounds = Bounds {
        introspections: 1,
        ..Bounds::of_mailbox(256)
    };
    let bench = bench_with(0, bounds, 256);
    bench.licensing.held.set(Some("slow".into()));
    let mut first = Box::pin(bench.resolve("slow-1"));
    assert!((&mut first).now_or_never().is_none());
    testing::until(|| bench.asked() == 1).await;
    bench.mailbox.crash().await;
    assert_eq!(first.await, Came::Asked(crate::runtime::AskError::Abandoned));
    let later = names("slow-later", 2);
    let mut later = Box::pin(join_all(later.iter().map(|proof| bench.resolve(proof))));
    assert!((&mut later).now_or_never().is_none());
    testing::until(|| bench.asked() == 2).await;
    bench.licensing.held.set(Some("slow-later".into()));
    testing::until(|| bench.licensing.under_way() == 1).await;
    // What it said counts; the slot is taken by another since.
    assert_eq!(bench.resolve("slow-1").await, Came::Good);
    assert_eq!((bench.asked(), bench.licensing.under_way()), (2, 1));
    bench.licensing.held.set(None);
    assert_eq!(later.await, [Came::Good; 2]);
}
