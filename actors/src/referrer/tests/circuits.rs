//! Repositories that do not answer are left alone.

use super::*;

const A: &str = "a.example/scanner";
const B: &str = "b.example/scanner";

fn unavailable() -> crate::testing::Answer {
    Err(ReleaseError::Unavailable("503".into()))
}

fn two() -> Bench {
    bench_of(FakeReleases::named(&[A, B]), testing::tuning().referrer)
}

impl Bench {
    fn says(&self, repository: &str, answer: crate::testing::Answer) {
        let mut of = self.releases.of.get();
        of.insert(repository.to_owned(), answer);
        self.releases.of.set(of);
    }

    fn asked(&self, repository: &str) -> usize {
        let asked = self.releases.asked.get();
        asked.iter().filter(|(_, name)| name == repository).count()
    }

    fn open(&self) -> Vec<String> {
        let health = self.health.borrow();
        let open = health.iter().filter(|repository| repository.open);
        open.map(|repository| repository.name.to_string()).collect()
    }

    /// Lookups of images that nobody asked for before.
    async fn cold(&self, images: std::ops::Range<u8>) -> Vec<Came> {
        let mut came = Vec::new();
        for n in images {
            came.push(self.ask(n, None).await.expect("the actor answers"));
        }
        came
    }
}

#[actix::test]
async fn a_dead_registry_is_not_waited_for_and_others_still_trust() {
    let bench = two();
    bench.says(A, unavailable());
    bench.says(B, Err(ReleaseError::NotFound));
    assert_eq!(bench.cold(0..5).await, vec![Err(ReferrerError::Registry); 5]);
    assert_eq!(bench.open(), [A]);
    // B does not have it, and A, which may, is not asked: doubt, and never absence.
    let came = bench.cold(5..8).await;
    assert_eq!(came, vec![Err(ReferrerError::CircuitOpen { retry_after: 1 }); 3]);
    assert_eq!(bench.asked(A), 5);
    assert_eq!(bench.asked(B), 8);
    bench.says(B, Ok(testing::report(Verdict::Trusted)));
    assert_eq!(bench.cold(8..9).await, [Ok((Verdict::Trusted, false))]);
    bench.says(B, Ok(testing::report(Verdict::Untrusted)));
    let came = bench.cold(9..10).await;
    assert_eq!(came, [Err(ReferrerError::CircuitOpen { retry_after: 1 })]);
    // A alone: nobody is asked.
    let before = bench.checks();
    let alone = bench.ask(10, Some(A)).await.expect("the actor answers");
    assert_eq!(alone, Err(ReferrerError::CircuitOpen { retry_after: 1 }));
    assert_eq!(bench.checks(), before);
    // What is known counts all the while.
    assert_eq!(bench.cold(8..9).await, [Ok((Verdict::Trusted, true))]);
}

#[actix::test]
async fn it_closes_with_the_first_answer() {
    let bench = two();
    bench.says(A, unavailable());
    bench.says(B, Err(ReleaseError::NotFound));
    bench.cold(0..5).await;
    bench.pass(1);
    // One sees whether it is over; it is not, and the pause doubles.
    assert_eq!(bench.cold(5..6).await, [Err(ReferrerError::Registry)]);
    assert_eq!(bench.asked(A), 6);
    bench.pass(1);
    let came = bench.cold(6..7).await;
    assert_eq!(came, [Err(ReferrerError::CircuitOpen { retry_after: 1 })]);
    bench.pass(1);
    bench.says(A, Ok(testing::report(Verdict::Trusted)));
    assert_eq!(bench.cold(7..8).await, [Ok((Verdict::Trusted, false))]);
    assert!(bench.open().is_empty());
}

#[actix::test]
async fn a_probe_that_nobody_waited_for_keeps_nobody_out() {
    let bench = two();
    bench.says(A, Err(ReleaseError::NotFound));
    bench.says(B, unavailable());
    bench.cold(0..5).await;
    assert_eq!(bench.open(), [B]);
    bench.pass(1);
    bench.says(A, Ok(testing::report(Verdict::Trusted)));
    // A's answer counts before B's has come, which never does.
    bench.releases.held.set(Some(B.to_owned()));
    for n in 20..30 {
        assert_eq!(bench.cold(n..n + 1).await, [Ok((Verdict::Trusted, false))]);
        bench.pass(40);
    }
    bench.releases.held.set(None);
    bench.says(A, Err(ReleaseError::NotFound));
    bench.says(B, Ok(testing::report(Verdict::Trusted)));
    assert_eq!(bench.cold(30..31).await, [Ok((Verdict::Trusted, false))]);
    assert!(bench.open().is_empty());
}

#[actix::test]
async fn of_several_that_trust_the_first_configured_gives_the_tag() {
    let tagged = |tag: &str| {
        let mut report = testing::report(Verdict::Trusted);
        report.release_tag = Some(tag.to_owned());
        Ok(report)
    };
    let bench = two();
    bench.says(A, tagged("2026.10"));
    bench.says(B, tagged("2026.09"));
    for (n, slow) in [A, B].into_iter().enumerate() {
        bench.releases.held.set(Some(slow.to_owned()));
        let check = Check {
            tenant: testing::tenant("acme"),
            digest: image(n as u8),
            repository: None,
        };
        let mut ask = Box::pin(bench.mailbox.ask(check, Deadline::after(Duration::from_secs(5))));
        assert!((&mut ask).now_or_never().is_none());
        let asked = |repository| bench.asked(repository) > n;
        testing::until(|| asked(if slow == A { B } else { A })).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let early = (&mut ask).now_or_never();
        assert_eq!(early.is_none(), slow == A, "{slow} is waited for");
        bench.releases.held.set(None);
        let checked = match early {
            Some(checked) => checked,
            None => ask.await,
        };
        let report = checked.expect("the actor answers").expect("a verdict").report;
        assert_eq!(report.release_tag.as_deref(), Some("2026.10"), "{slow} is slower");
    }
}

#[actix::test]
async fn images_that_make_a_registry_fail_do_not_close_it_to_others() {
    let bench = bench(8);
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
    let hostile = (100..200).map(|n| (image(n), unavailable())).collect();
    bench.releases.about.set(hostile);
    for n in 100..200 {
        let came = bench.ask_as("mallory", image(n), None).await;
        assert_eq!(came, Ok(Err(ReferrerError::Registry)));
        // The witness was asked about in between, once in five times.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(bench.open().is_empty(), "after {n}");
    }
    assert_eq!(bench.ask(8, None).await, Ok(Ok((Verdict::Trusted, false))));
    let asked = bench.releases.asked.get();
    let witness = asked.iter().filter(|(digest, _)| *digest == image(7)).count();
    assert_eq!(witness, 1 + 20);
}

#[actix::test]
async fn refreshes_leave_a_dead_registry_alone() {
    let bench = bench(8);
    bench.check().await.expect("a verdict");
    bench.check().await.expect("a verdict");
    bench.releases.answer.set(unavailable());
    bench.cold(20..25).await;
    testing::until(|| !bench.open().is_empty()).await;
    let before = bench.checks();
    bench.pass(530);
    // The circuit may be tried again by now; its probe fails.
    bench.cold(25..26).await;
    testing::until(|| bench.checks() >= before + 2).await;
    let before = bench.checks();
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, true)));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.checks(), before);
}

#[actix::test]
async fn a_panic_of_the_actor_opens_every_way_again() {
    let bench = bench(8);
    bench.releases.answer.set(unavailable());
    bench.cold(0..5).await;
    assert_eq!(bench.open().len(), 1);
    bench.mailbox.crash().await;
    testing::until(|| bench.open().is_empty()).await;
    assert_eq!(bench.cold(5..6).await, [Err(ReferrerError::Registry)]);
}

#[actix::test]
async fn a_panicking_repository_leaves_the_word_to_others() {
    let bench = two();
    bench.says(A, Err(ReleaseError::NotFound));
    bench.releases.bomb.arm();
    // A's check panics, B trusts.
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
}
