//! The actor with a fake registry.

use std::sync::atomic::Ordering;

use actix::Arbiter;
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::sync::watch;

use super::*;
use crate::domain::digest::Sha256Digest;
use crate::runtime::{AskError, Deadline, Mailbox, start};
use crate::testing::{self, FakeClock, FakeIds, FakeReleases};

mod circuits;
mod fairness;
mod refreshing;
mod trust;

struct Bench {
    releases: FakeReleases,
    clock: FakeClock,
    mailbox: Mailbox<Referrers>,
    health: watch::Receiver<Arc<[RepositoryHealth]>>,
}

fn bench(concurrency: usize) -> Bench {
    bench_with(ReferrerPolicy {
        concurrency,
        ..testing::tuning().referrer
    })
}

fn bench_with(policy: ReferrerPolicy) -> Bench {
    bench_of(FakeReleases::default(), policy)
}

fn bench_of(releases: FakeReleases, policy: ReferrerPolicy) -> Bench {
    let (clock, vitals) = (FakeClock::default(), testing::vitals());
    let published = watch::Sender::new(Arc::from([]));
    let health = published.subscribe();
    let actor = Referrers::new(ReferrerParts {
        source: Arc::new(releases.clone()),
        clock: Arc::new(clock.clone()),
        ids: Arc::new(FakeIds::default()),
        observer: Arc::clone(&vitals.observer),
        log: vitals.log.clone(),
        policy,
        bounds: Bounds::of_mailbox(MAILBOX),
        published,
    });
    Bench {
        releases,
        clock,
        mailbox: start(&Arbiter::current(), MAILBOX, vitals, move || actor),
        health,
    }
}

const MAILBOX: usize = 2048;

type Came = Result<(Verdict, bool), ReferrerError>;

fn image(n: u8) -> ImageDigest {
    ImageDigest::from(Sha256Digest([n; 32]))
}

impl Bench {
    async fn ask(&self, n: u8, repository: Option<&str>) -> Result<Came, AskError> {
        self.ask_as("acme", image(n), repository).await
    }

    async fn ask_as(
        &self,
        tenant: &str,
        digest: ImageDigest,
        repository: Option<&str>,
    ) -> Result<Came, AskError> {
        let check = Check {
            tenant: testing::tenant(tenant),
            digest,
            repository: repository.map(Arc::from),
        };
        let answer = self
            .mailbox
            .ask(check, Deadline::after(Duration::from_secs(5)))
            .await?;
        Ok(answer.map(|checked| (checked.report.verdict, checked.cached)))
    }

    async fn check(&self) -> Came {
        self.ask(7, None).await.expect("the actor answers")
    }

    fn checks(&self) -> u32 {
        self.releases.checks.load(Ordering::SeqCst)
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

#[actix::test]
async fn each_answer_lives_as_long_as_its_kind() {
    let doubt = ReleaseError::Doubt("401".into());
    for (answer, expected, ttl) in [
        (Ok(testing::report(Verdict::Trusted)), Ok(Verdict::Trusted), 600),
        (
            Ok(testing::report(Verdict::Untrusted)),
            Ok(Verdict::Untrusted),
            10,
        ),
        (Ok(testing::report(Verdict::Unsigned)), Ok(Verdict::Unsigned), 10),
        (Err(ReleaseError::NotFound), Err(ReferrerError::NotFound), 10),
        (Err(doubt), Err(ReferrerError::Registry), 0),
        (Err(ReleaseError::Timeout), Err(ReferrerError::Timeout), 0),
    ] {
        let bench = bench(8);
        bench.releases.answer.set(answer);
        let came = |cached: bool| expected.clone().map(|verdict| (verdict, cached));
        assert_eq!(bench.check().await, came(false));
        if ttl > 0 {
            bench
                .clock
                .advance(Duration::from_secs(ttl) - Duration::from_nanos(1));
            // A refresh that is due by now does not come to an end.
            bench.releases.open.set(false);
            assert_eq!(bench.check().await, came(true), "{expected:?}");
            assert_eq!(bench.check().await, came(true), "{expected:?}");
            bench.clock.advance(Duration::from_nanos(1));
            bench.releases.open.set(true);
        }
        assert_eq!(bench.check().await, came(false), "{expected:?}");
        assert_eq!(bench.checks(), 2, "{expected:?}");
    }
}

#[actix::test]
async fn doubt_does_not_outlive_its_cause() {
    let bench = bench(8);
    bench.releases.answer.set(Err(ReleaseError::Doubt("503".into())));
    assert_eq!(bench.check().await, Err(ReferrerError::Registry));
    bench.releases.answer.set(Ok(testing::report(Verdict::Trusted)));
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
}

#[actix::test]
async fn requests_for_one_image_share_one_lookup() {
    let bench = bench(8);
    bench.releases.open.set(false);
    let tenants: Vec<String> = (0..5).map(|n| format!("tenant-{n}")).collect();
    let asks = (0..500).map(|n| bench.ask_as(&tenants[n % 5], image(7), None));
    let mut all = Box::pin(join_all(asks));
    assert!((&mut all).now_or_never().is_none());
    testing::until(|| bench.checks() == 1).await;
    bench.releases.open.set(true);
    assert!(
        all.await
            .into_iter()
            .all(|came| came == Ok(Ok((Verdict::Trusted, false))))
    );
    assert_eq!(bench.checks(), 1);
    for (n, repository) in [(8, None), (7, Some("registry.example/scanner"))] {
        bench
            .ask(n, repository)
            .await
            .expect("the actor answers")
            .expect("a verdict");
    }
    assert_eq!(
        bench.checks(),
        3,
        "another image or repository is another question"
    );
}

#[actix::test]
async fn lookups_at_once_are_bounded() {
    let bench = bench(2);
    bench.releases.open.set(false);
    let tenants = ["a", "b", "c", "d", "e"];
    let asks = (0..5).map(|n| bench.ask_as(tenants[usize::from(n)], image(n), None));
    let mut all = Box::pin(join_all(asks));
    assert!((&mut all).now_or_never().is_none());
    testing::until(|| bench.checks() == 2).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.checks(), 2);
    bench.releases.open.set(true);
    assert!(all.await.into_iter().all(|came| matches!(came, Ok(Ok(_)))));
    assert_eq!(bench.checks(), 5);
}

#[actix::test]
async fn a_panicking_lookup_is_a_doubt_and_frees_its_place() {
    let bench = bench(1);
    bench.releases.bomb.arm();
    assert_eq!(bench.check().await, Err(ReferrerError::Registry));
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
}

#[actix::test]
async fn a_panic_of_the_actor_abandons_who_waits_and_forgets_verdicts() {
    let bench = bench(8);
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
    bench.releases.open.set(false);
    let mut waiting = Box::pin(bench.ask(8, None));
    assert!((&mut waiting).now_or_never().is_none());
    testing::until(|| bench.checks() == 2).await;
    bench.mailbox.crash().await;
    assert_eq!(waiting.await, Err(AskError::Abandoned));
    bench.releases.open.set(true);
    assert_eq!(bench.check().await, Ok((Verdict::Trusted, false)));
}

#[actix::test]
async fn a_lookup_waits_for_its_turn_no_longer_than_anyone_listens() {
    let bench = bench_with(ReferrerPolicy {
        concurrency: 1,
        queue: Duration::from_millis(20),
        ..testing::tuning().referrer
    });
    bench.releases.open.set(false);
    let mut first = Box::pin(bench.ask(0, None));
    assert!((&mut first).now_or_never().is_none());
    testing::until(|| bench.checks() == 1).await;
    for n in [1, 2] {
        assert_eq!(bench.ask(n, None).await, Ok(Err(ReferrerError::Timeout)));
    }
    assert_eq!(bench.checks(), 1, "they never began");
    bench.releases.open.set(true);
    assert_eq!(
        first.await,
        Ok(Ok((Verdict::Trusted, false))),
        "whose turn it is may take its time"
    );
}
