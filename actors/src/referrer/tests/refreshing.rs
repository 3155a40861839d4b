//! Verdicts in use are looked up anew before they end.

use super::*;

/// Past the latest time at which a refresh is due, and before the end: the TTL is 600 s.
const LATE: u64 = 530;

#[actix::test]
async fn a_verdict_in_use_never_ends() {
    let bench = bench(8);
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
    for round in 2..6 {
        bench.pass(1);
        assert_eq!(bench.check().await, Ok((Verdict::Trusted, true)));
        bench.pass(LATE);
        // Whoever comes then is answered from memory, and has it renewed.
        assert_eq!(bench.check().await, Ok((Verdict::Trusted, true)));
        assert_eq!(bench.check().await, Ok((Verdict::Trusted, true)));
        testing::until(|| bench.checks() == round).await;
    }
}

#[actix::test]
async fn it_is_renewed_though_nobody_comes_just_then() {
    tokio::time::pause();
    let bench = bench(8);
    for n in [1, 2] {
        bench.ask(n, None).await.expect("answers").expect("a verdict");
    }
    bench.pass(1);
    bench.ask(1, None).await.expect("answers").expect("a verdict");
    bench.pass(LATE);
    tokio::time::sleep(2 * TICK).await;
    assert_eq!(bench.checks(), 3, "the one in use alone");
    bench.pass(100);
    assert_eq!(bench.ask(1, None).await, Ok(Ok((Verdict::Trusted, true))));
    assert_eq!(bench.ask(2, None).await, Ok(Ok((Verdict::Trusted, false))));
    // After a panic the clockwork goes on.
    bench.mailbox.crash().await;
    bench.ask(1, None).await.expect("answers").expect("a verdict");
    bench.ask(1, None).await.expect("answers").expect("a verdict");
    bench.pass(LATE);
    let before = bench.checks();
    tokio::time::sleep(2 * TICK).await;
    assert_eq!(bench.checks(), before + 1);
}

#[actix::test]
async fn a_failed_refresh_changes_nothing_until_the_end() {
    let bench = bench(8);
    bench.check().await.expect("a verdict");
    bench.pass(1);
    bench.check().await.expect("a verdict");
    bench.releases.answer.set(Err(ReleaseError::Doubt("403".into())));
    let mut tries = 1;
    for _ in 0..598 {
        bench.pass(1);
        assert_eq!(bench.check().await, Ok((Verdict::Trusted, true)));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        tries = bench.checks();
    }
    assert!((4..=10).contains(&tries), "{tries}");
    bench.pass(1);
    assert_eq!(
        bench.check().await,
        Err(ReferrerError::Registry),
        "600 s are over"
    );
}

#[actix::test]
async fn a_refresh_that_finds_no_trust_any_more_counts_at_once() {
    for (answer, expected) in [
        (
            Ok(testing::report(Verdict::Untrusted)),
            Ok((Verdict::Untrusted, true)),
        ),
        (Err(ReleaseError::NotFound), Err(ReferrerError::NotFound)),
    ] {
        let bench = bench(8);
        bench.check().await.expect("a verdict");
        bench.check().await.expect("a verdict");
        bench.releases.answer.set(answer);
        bench.pass(LATE);
        assert_eq!(bench.check().await, Ok((Verdict::Trusted, true)), "not known yet");
        testing::until(|| bench.checks() == 2).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.check().await, expected);
        assert_eq!(bench.checks(), 2);
    }
}

#[actix::test]
async fn who_comes_after_the_end_waits_for_the_refresh_under_way() {
    let bench = bench(8);
    bench.check().await.expect("a verdict");
    bench.check().await.expect("a verdict");
    bench.releases.open.set(false);
    bench.pass(LATE);
    bench.check().await.expect("a verdict");
    testing::until(|| bench.checks() == 2).await;
    bench.pass(100);
    let mut late = Box::pin(bench.check());
    assert!((&mut late).now_or_never().is_none());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    bench.releases.open.set(true);
    assert_eq!(late.await, Ok((Verdict::Trusted, false)));
    assert_eq!(bench.checks(), 2, "one lookup for both");
}

#[actix::test]
async fn refreshes_take_no_place_from_lookups() {
    let bench = bench(4);
    for n in 0..8 {
        bench.ask(n, None).await.expect("answers").expect("a verdict");
        bench.ask(n, None).await.expect("answers").expect("a verdict");
    }
    bench.releases.open.set(false);
    bench.pass(LATE);
    bench.ask(0, None).await.expect("answers").expect("a verdict");
    testing::until(|| bench.checks() == 9).await;
    let tenants = ["a", "b", "c", "d"];
    let cold = (0..4).map(|n| bench.ask_as(tenants[usize::from(n)], image(100 + n), None));
    let mut cold = Box::pin(join_all(cold));
    assert!((&mut cold).now_or_never().is_none());
    testing::until(|| bench.checks() == 13).await;
    bench.releases.open.set(true);
    assert!(
        cold.await
            .into_iter()
            .all(|came| came == Ok(Ok((Verdict::Trusted, false))))
    );
    testing::until(|| bench.checks() == 8 + 8 + 4).await;
}
