//! No tenant keeps others waiting.

use tokio::task::unconstrained;

use super::*;

/// Any number of images.
fn many(n: u32) -> ImageDigest {
    ImageDigest::from(Sha256Digest::of(&n.to_be_bytes()))
}

async fn others_run() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn endless_images_of_one_tenant_delay_no_other() {
    let bench = bench(8);
    bench.releases.open.set(false);
    let mut greedy = Box::pin(join_all((0..400).map(|n| bench.ask_as("greedy", many(n), None))));
    assert!((&mut greedy).now_or_never().is_none());
    testing::until(|| bench.checks() == 4).await;
    others_run().await;
    assert_eq!(bench.checks(), 4, "half of the places");
    let mut modest = Box::pin(bench.ask_as("modest", image(7), None));
    assert!((&mut modest).now_or_never().is_none());
    testing::until(|| bench.checks() == 5).await;
    // Nor when they want the very image that waits behind the others.
    let mut shared = Box::pin(bench.ask_as("modest", many(399), None));
    assert!((&mut shared).now_or_never().is_none());
    testing::until(|| bench.checks() == 6).await;
    bench.releases.open.set(true);
    assert_eq!(modest.await, Ok(Ok((Verdict::Trusted, false))));
    assert_eq!(shared.await, Ok(Ok((Verdict::Trusted, false))));
    assert!(
        greedy
            .await
            .into_iter()
            .all(|came| came == Ok(Ok((Verdict::Trusted, false))))
    );
    assert_eq!(bench.checks(), 401, "each image once");
}

#[actix::test]
async fn those_who_wait_are_bounded_in_all_and_by_tenant() {
    let bench = bench(8);
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
    bench.releases.open.set(false);
    // A half of the mailbox for all, and for each tenant as many as it leaves to others.
    let mut waiting = Vec::new();
    for (tenant, expected) in [("a", 512), ("b", 256), ("c", 128), ("d", 64)] {
        let mut asks: Vec<_> = (0..600)
            .map(|n| Box::pin(bench.ask_as(tenant, many(n), None)))
            .collect();
        for ask in &mut asks {
            assert_eq!(ask.now_or_never(), None);
        }
        let held = waiting.len() + expected;
        testing::until(|| bench.mailbox.in_use() == held).await;
        asks.retain_mut(|ask| match unconstrained(ask).now_or_never() {
            Some(came) => {
                assert_eq!(came, Ok(Err(ReferrerError::Overloaded)));
                false
            }
            None => true,
        });
        assert_eq!(asks.len(), expected, "{tenant}");
        waiting.extend(asks);
    }
    // Memory answers all the while.
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, true)));
    bench.releases.open.set(true);
    assert!(
        join_all(waiting)
            .await
            .into_iter()
            .all(|came| came == Ok(Ok((Verdict::Trusted, false))))
    );
    assert_eq!(
        bench.ask_as("c", many(9999), None).await,
        Ok(Ok((Verdict::Trusted, false)))
    );
}

#[actix::test]
async fn two_tenants_cannot_take_every_place() {
    let bench = bench(8);
    bench.releases.open.set(false);
    let mut asks: Vec<_> = (0..2000)
        .map(|n| Box::pin(bench.ask_as(["a", "b"][n as usize % 2], many(n), None)))
        .collect();
    let mut waiting = 0;
    for ask in &mut asks {
        assert_eq!(ask.now_or_never(), None);
    }
    testing::until(|| bench.mailbox.in_use() < 1000).await;
    for ask in &mut asks {
        match unconstrained(ask).now_or_never() {
            Some(came) => assert_eq!(came, Ok(Err(ReferrerError::Overloaded))),
            None => waiting += 1,
        }
    }
    // In step: two thirds of the half of the mailbox, and no more.
    assert!((680..=684).contains(&waiting), "{waiting}");
    let mut modest = Box::pin(bench.ask_as("modest", image(7), None));
    assert!((&mut modest).now_or_never().is_none());
    bench.releases.open.set(true);
    assert_eq!(modest.await, Ok(Ok((Verdict::Trusted, false))));
}

#[actix::test]
async fn images_that_nobody_knows_are_looked_up_at_a_rate_for_each_tenant() {
    let bench = bench_with(ReferrerPolicy {
        lookups: LookupRate { qps: 1, burst: 5 },
        ..testing::tuning().referrer
    });
    let too_many = Ok(Err(ReferrerError::TooManyImages { retry_after: 1 }));
    let mut came = Vec::new();
    for n in 0..50 {
        came.push(bench.ask_as("mallory", many(n), None).await);
    }
    assert!(
        came.iter()
            .take(5)
            .all(|came| *came == Ok(Ok((Verdict::Trusted, false))))
    );
    assert!(came.iter().skip(5).all(|came| *came == too_many));
    assert_eq!(bench.checks(), 5);
    // What is remembered costs nothing, nor does what another looks up just now.
    for n in 0..5 {
        assert_eq!(
            bench.ask_as("mallory", many(n), None).await,
            Ok(Ok((Verdict::Trusted, true)))
        );
    }
    bench.releases.open.set(false);
    let mut modest = Box::pin(bench.ask_as("modest", many(77), None));
    assert!((&mut modest).now_or_never().is_none());
    let mut shared = Box::pin(bench.ask_as("mallory", many(77), None));
    assert!((&mut shared).now_or_never().is_none());
    testing::until(|| bench.checks() == 6).await;
    bench.releases.open.set(true);
    assert_eq!(modest.await, Ok(Ok((Verdict::Trusted, false))));
    assert_eq!(shared.await, Ok(Ok((Verdict::Trusted, false))));
    bench.pass(1);
    assert_eq!(
        bench.ask_as("mallory", many(78), None).await,
        Ok(Ok((Verdict::Trusted, false)))
    );
    assert_eq!(bench.ask_as("mallory", many(79), None).await, too_many);
}

#[actix::test]
async fn a_tenant_beyond_its_rate_opens_no_circuit() {
    let bench = bench_with(ReferrerPolicy {
        lookups: LookupRate { qps: 1, burst: 4 },
        ..testing::tuning().referrer
    });
    // The registry throttles whoever asks for what it does not know.
    bench
        .releases
        .answer
        .set(Err(ReleaseError::Unavailable("429".into())));
    bench
        .releases
        .about
        .set([(image(7), Ok(testing::report(Verdict::Trusted)))].into());
    for n in 0..100 {
        let came = bench.ask_as("mallory", many(n), None).await;
        assert!(matches!(came, Ok(Err(_))));
    }
    assert_eq!(bench.checks(), 4);
    assert!(bench.health.borrow().iter().all(|repository| !repository.open));
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
}

#[actix::test]
async fn one_who_gives_up_leaves_the_others_their_turn() {
    tokio::time::pause();
    let bench = bench_with(ReferrerPolicy {
        concurrency: 1,
        queue: Duration::from_millis(50),
        ..testing::tuning().referrer
    });
    bench.releases.open.set(false);
    let mut first = Box::pin(bench.ask_as("a", image(0), None));
    assert!((&mut first).now_or_never().is_none());
    testing::until(|| bench.checks() == 1).await;
    let mut early = Box::pin(bench.ask_as("a", image(1), None));
    assert!((&mut early).now_or_never().is_none());
    tokio::time::sleep(Duration::from_millis(30)).await;
    let mut late = Box::pin(bench.ask_as("b", image(1), None));
    assert!((&mut late).now_or_never().is_none());
    assert_eq!(early.await, Ok(Err(ReferrerError::Timeout)));
    bench.releases.open.set(true);
    assert_eq!(late.await, Ok(Ok((Verdict::Trusted, false))));
    assert_eq!(first.await, Ok(Ok((Verdict::Trusted, false))));
    assert_eq!(bench.checks(), 2);
}
