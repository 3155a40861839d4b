//! What a worker repeats: it saves a question, and nothing that has ended is repeated.

use std::sync::Arc;

use super::*;
use crate::testing::FakeReleases;

/// On a worker that has signed often enough to know the answers.
async fn warm(change: impl FnOnce(&mut World)) -> Rig {
    let rig = rig(change);
    for _ in 0..2 {
        rig.sign().await.expect("a signature");
    }
    rig
}

impl Rig {
    async fn sign_with_poe(&self, poe: &str) -> Result<Answer, Failure> {
        let poe = Poe::new(poe);
        self.answer(SignRequest {
            poe,
            ..self.request()
        })
        .await
    }

    async fn refused_with(&self, stage: Stage, code: Code) {
        assert_eq!(why(&self.sign().await), (stage, code));
    }
}

#[actix::test]
async fn a_worker_that_knows_the_answer_asks_nobody() {
    let rig = warm(|world| world.tuning.mailbox_capacity = 1).await;
    // Someone else's proof takes the only place of the shard.
    rig.world.fakes.licensing.held.set(Some("slow".into()));
    let mut slow = Box::pin(rig.sign_with_poe("slow"));
    assert!((&mut slow).now_or_never().is_none());
    let asked = Box::pin(until(|| rig.world.fakes.licensing.under_way() == 1));
    futures_util::future::select(&mut slow, asked).await;
    assert!(rig.sign_with_poe("unknown").await.is_err());
    rig.sign().await.expect("a signature");
}

#[actix::test]
async fn a_licence_that_is_revoked_is_not_repeated() {
    let rig = warm(|_| ()).await;
    rig.world
        .fakes
        .licensing
        .online
        .set(Ok(Some(Introspection::Revoked)));
    // Of the same licence, on the same worker, in the same instant.
    assert_eq!(
        why(&rig.sign_with_poe("another").await),
        (Stage::Entitlement, Code::EntitlementRevoked)
    );
    rig.refused_with(Stage::Entitlement, Code::EntitlementRevoked)
        .await;
}

#[actix::test]
async fn what_was_said_on_another_licence_file_is_not_repeated() {
    let rig = warm(|_| ()).await;
    let licensing = &rig.world.fakes.licensing;
    licensing.online.set(Ok(Some(Introspection::Revoked)));
    licensing.basis.set(Some(1));
    rig.refused_with(Stage::Entitlement, Code::EntitlementRevoked)
        .await;

    let rig = warm(|_| ()).await;
    rig.world.fakes.licensing.basis.set(None);
    rig.refused_with(Stage::Entitlement, Code::EntitlementUnavailable)
        .await;
}

#[actix::test]
async fn a_licence_that_has_expired_is_not_repeated() {
    let rig = warm(|world| {
        world.entitlement.expires = testing::NOW() + chrono::TimeDelta::milliseconds(500);
    })
    .await;
    rig.world.fakes.clock.advance(Duration::from_millis(500));
    rig.refused_with(Stage::Entitlement, Code::EntitlementExpired)
        .await;
}

#[actix::test]
async fn a_release_is_not_repeated_on_another_trust() {
    let rig = warm(|_| ()).await;
    let other = FakeReleases::default();
    other.answer.set(Ok(testing::report(Verdict::Untrusted)));
    let trusted = rig.controls.trust(Arc::new(other), rig.context().deadline).await;
    trusted.expect("the actor hears it");
    rig.refused_with(Stage::Release, Code::ReleaseUntrusted).await;
}

#[actix::test]
async fn a_release_that_is_withdrawn_is_not_repeated() {
    let second = Duration::from_secs(1);
    let rig = warm(|world| world.tuning.referrer.positive_ttl = second).await;
    let releases = &rig.world.fakes.releases;
    releases.answer.set(Ok(testing::report(Verdict::Untrusted)));
    let before = releases.checks.load(Ordering::SeqCst);
    // In the last quarter of its life it is looked up anew, as it is in use.
    rig.world.fakes.clock.advance(second * 9 / 10);
    until(|| releases.checks.load(Ordering::SeqCst) > before).await;
    tokio::task::yield_now().await;
    rig.refused_with(Stage::Release, Code::ReleaseUntrusted).await;
}
