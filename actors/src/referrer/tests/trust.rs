//! Another trust while the service runs.

use super::*;

async fn trust(bench: &Bench, releases: &FakeReleases) {
    let ask = Trust(Arc::new(releases.clone()));
    let deadline = Deadline::after(Duration::from_secs(5));
    bench.mailbox.ask(ask, deadline).await.expect("an answer");
}

fn of(verdict: Verdict) -> FakeReleases {
    let releases = FakeReleases::default();
    releases.answer.set(Ok(testing::report(verdict)));
    releases
}

#[actix::test]
async fn verdicts_of_before_count_no_more() {
    let bench = bench_of(of(Verdict::Trusted), testing::tuning().referrer);
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, true)));
    trust(&bench, &of(Verdict::Untrusted)).await;
    assert_eq!(bench.check().await, Ok((Verdict::Untrusted, false)));
    // What was refused is asked for again, too.
    trust(&bench, &of(Verdict::Trusted)).await;
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
}

/// Who waits is answered, by the new trust, and what the old one finds afterwards is not remembered.
#[actix::test]
async fn who_waits_is_answered_by_the_new_trust() {
    for concurrency in [8, 1] {
        let old = of(Verdict::Trusted);
        let policy = ReferrerPolicy {
            concurrency,
            ..testing::tuning().referrer
        };
        let bench = bench_of(old.clone(), policy);
        old.open.set(false);
        let asks = [("acme", 1), ("globex", 1), ("acme", 2), ("globex", 3)];
        let waiting = asks.map(|(tenant, n)| bench.ask_as(tenant, image(n), None));
        let mut waiting = Box::pin(join_all(waiting));
        assert!((&mut waiting).now_or_never().is_none());
        testing::until(|| bench.checks() > 0).await;
        let asked = bench.checks();
        let new = of(Verdict::Untrusted);
        trust(&bench, &new).await;
        for came in waiting.await {
            assert_eq!(came.expect("an answer"), Ok((Verdict::Untrusted, false)));
        }
        old.open.set(true);
        for n in [1, 2, 3] {
            let came = bench.ask(n, None).await.expect("an answer");
            assert_eq!(came, Ok((Verdict::Untrusted, true)));
        }
        assert_eq!(
            old.checks.load(Ordering::SeqCst),
            asked,
            "nobody asks it any more"
        );
        assert_eq!(new.checks.load(Ordering::SeqCst), 3, "once for each image");
        assert_eq!(bench.mailbox.in_use(), 0);
    }
}
