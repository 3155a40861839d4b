//! What fails beside the gates: signatures, trails, callers, actors.

use super::*;

#[actix::test]
async fn a_wrong_signature_is_discarded_and_disables_its_key() {
    for always in [true, false] {
        let rig = rig(|world| {
            world.fakes.keyful.verify_always = always;
            world.tuning.policy.verify_sample = 1;
        });
        rig.world.fakes.keyful.corrupt.set(true);
        let failed = rig.sign().await;
        assert_eq!(why(&failed), (Stage::Signing, Code::SigningBackendError));
        let trail = rig.trail();
        let [AuditRecord::Intent(_), AuditRecord::Outcome(outcome)] = &trail[..] else {
            panic!("{trail:?}");
        };
        assert_eq!(outcome.outcome, OutcomeKind::Failed);
        assert_eq!(outcome.code.as_deref(), Some("signing_backend_error"));
        assert_eq!(
            failed.err().and_then(|failure| failure.audit_id),
            Some(outcome.audit_id)
        );
        rig.world.fakes.keyful.corrupt.set(false);
        assert_eq!(
            why(&rig.sign().await),
            (Stage::Signing, Code::SigningBackendUnavailable)
        );
        assert_eq!(rig.signed(), 1);
        assert!(!rig.trail().iter().any(says_signed));
    }
}

#[actix::test]
async fn nothing_leaves_when_the_intent_may_be_lost() {
    nothing_leaves(rig(|world| world.tuning.audit_linger = Duration::from_millis(2))).await;
}

#[actix::test]
async fn nothing_leaves_when_the_intent_may_be_lost_at_a_desk() {
    let mut rig = rig(|world| world.tuning.audit_linger = Duration::from_millis(2));
    rig.services = rig.services.on_worker(None);
    nothing_leaves(rig).await;
}

async fn nothing_leaves(rig: Rig) {
    rig.world.fakes.keyful.sign_open.set(false);
    let mut signing = Box::pin(rig.sign());
    assert!((&mut signing).now_or_never().is_none());
    // The intent is accepted; the sync that would make it durable fails while the backend signs.
    rig.world.fakes.log.syncs_work.set(false);
    let mut healthy = rig.services.audit_healthy.clone();
    futures_util::future::select(&mut signing, Box::pin(healthy.wait_for(|healthy| !healthy))).await;
    rig.world.fakes.log.syncs_work.set(true);
    rig.world.fakes.keyful.sign_open.set(true);
    assert_eq!(why(&signing.await), (Stage::Audit, Code::AuditUnavailable));
    assert_eq!(rig.signed(), 1);
    assert!(!rig.trail().iter().any(says_signed));
    rig.sign().await.expect("the trail works again");
}

#[actix::test]
async fn a_caller_that_hangs_up_leaks_no_permit_and_no_open_intent() {
    let rig = rig(|world| world.fakes.releases.open.set(false));
    let mut signing = Box::pin(rig.sign());
    assert!((&mut signing).now_or_never().is_none());
    futures_util::future::select(
        &mut signing,
        Box::pin(until(|| {
            rig.world.fakes.releases.checks.load(Ordering::SeqCst) == 1
        })),
    )
    .await;
    drop(signing);
    assert!(!rig.has_room(1).await, "the work goes on and keeps its permit");
    rig.world.fakes.releases.open.set(true);
    until(|| rig.trail().len() == 2).await;
    assert!(matches!(rig.trail()[0], AuditRecord::Intent(_)));
    assert!(says_signed(&rig.trail()[1]));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(rig.has_room(1).await);
}

#[actix::test]
async fn a_backend_that_hangs_or_panics_closes_its_intent() {
    type Row = (fn(&mut World), Code);
    let rows: [Row; 2] = [
        (
            |world| {
                world.fakes.keyful.sign_open.set(false);
                world.patience = Duration::from_millis(20);
            },
            Code::DeadlineExceeded,
        ),
        (|world| world.fakes.keyful.sign_bomb.arm(), Code::Internal),
    ];
    for (change, code) in rows {
        let rig = rig(change);
        assert_eq!(why(&rig.sign().await), (Stage::Signing, code));
        until(|| rig.trail().len() >= 2).await;
        let trail = rig.trail();
        let [AuditRecord::Intent(intent), AuditRecord::Outcome(outcome)] = &trail[..] else {
            panic!("{trail:?}");
        };
        assert_eq!(intent.audit_id, outcome.audit_id);
        assert_eq!(outcome.code.as_deref(), Some(code.as_str()));
        assert!(rig.has_room(1).await);
        rig.world.fakes.keyful.sign_open.set(true);
        rig.sign().await.expect("the next one");
    }
}

#[actix::test]
async fn a_panic_anywhere_costs_one_request_at_most() {
    type Row = (&'static str, fn(&Fakes), Stage, Code);
    let bombs: [Row; 4] = [
        (
            "authority",
            |f| f.authority.bomb.arm(),
            Stage::Authentication,
            Code::Internal,
        ),
        (
            "licensing",
            |f| f.licensing.bomb.arm(),
            Stage::Entitlement,
            Code::Internal,
        ),
        (
            "releases",
            |f| f.releases.bomb.arm(),
            Stage::Release,
            Code::RegistryError,
        ),
        ("log", |f| f.log.bomb.arm(), Stage::Audit, Code::Internal),
    ];
    for (name, arm, stage, code) in bombs {
        let rig = rig(|_| ());
        arm(&rig.world.fakes);
        assert_eq!(why(&rig.sign().await), (stage, code), "{name}");
        assert_eq!(rig.signed(), 0, "{name}");
        // Past the cool-down of an Authority without keys.
        rig.world.fakes.clock.advance(Duration::from_secs(1));
        rig.sign()
            .await
            .unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
    }
    for round in 0..6 {
        let rig = rig(|_| ());
        rig.sign().await.expect("a signature");
        let services = &rig.services;
        match round {
            0 => services.auth.first().crash().await,
            1 => {
                futures_util::future::join_all(services.entitlement.iter().map(|shard| shard.crash()))
                    .map(drop)
                    .await
            }
            2 => {
                futures_util::future::join_all(services.quota.iter().map(|shard| shard.crash()))
                    .map(drop)
                    .await
            }
            3 => services.referrer.crash().await,
            4 => services.signers().backends[0].mailbox.crash().await,
            _ => services.audit.crash().await,
        }
        rig.sign()
            .await
            .unwrap_or_else(|failure| panic!("{round}: {failure:?}"));
        assert_eq!(rig.trail().iter().filter(|record| says_signed(record)).count(), 2);
    }
}
