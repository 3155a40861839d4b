//! Dry runs and questions, which sign nothing.

use super::*;

#[actix::test]
async fn a_dry_run_reports_every_gate_and_costs_nothing() {
    let rig = rig(|world| world.entitlement.limits.burst = 1);
    let probed = rig.probe().await.expect("a report");
    let passed: Vec<_> = probed.gates.iter().map(|report| report.gate.as_str()).collect();
    assert_eq!(passed, ["quota", "release", "signing"]);
    assert!(
        probed
            .gates
            .iter()
            .all(|report| report.verdict == GateVerdict::Pass)
    );
    assert_eq!(probed.rate.remaining, 0);
    let limited = rig.probe().await;
    assert_eq!(
        why(&limited),
        (Stage::Quota, Code::RateLimited),
        "a rate of its own"
    );
    let told = limited.err().and_then(|failure| failure.rate);
    assert_eq!(told.map(|rate| (rate.burst, rate.remaining)), Some((1, 0)));
    assert_eq!(rig.signed(), 0);
    let trail = rig.trail();
    let [AuditRecord::Refusal(first), AuditRecord::Refusal(second)] = &trail[..] else {
        panic!("{trail:?}");
    };
    assert_eq!(
        (first.audit_id, first.dry_run, &first.code),
        (probed.audit_id, true, &None)
    );
    assert_eq!(
        (second.dry_run, second.code.as_deref()),
        (true, Some("rate_limited"))
    );
    rig.sign()
        .await
        .expect("the plan's rate is untouched, and no permit is out");
}

#[actix::test]
async fn a_dry_run_evaluates_all_gates_whatever_each_says() {
    type Row = (fn(&mut World), [Option<Code>; 3]);
    let rows: [Row; 6] = [
        (
            |w| w.entitlement.limits.concurrency = 0,
            [Some(Code::ConcurrencyLimited), None, None],
        ),
        (
            |w| w.entitlement.limits.max_artifact_bytes = 1,
            [Some(Code::ArtifactTooLarge), None, None],
        ),
        (
            |w| w.report = testing::report(Verdict::Unsigned),
            [None, Some(Code::ReleaseUntrusted), None],
        ),
        (
            |w| w.scanner = ImageDigest::from(Sha256Digest([8; 32])),
            [None, Some(Code::ScannerMismatch), None],
        ),
        (
            |w| {
                w.fakes
                    .keyful
                    .open
                    .set(Err(BackendError::Unavailable("sealed".into())))
            },
            [None, None, Some(Code::SigningBackendUnavailable)],
        ),
        (
            |w| {
                w.entitlement.limits.concurrency = 0;
                w.report = testing::report(Verdict::Untrusted);
                w.fakes.keyful.open.set(Err(BackendError::Failed("403".into())));
            },
            [
                Some(Code::ConcurrencyLimited),
                Some(Code::ReleaseUntrusted),
                Some(Code::SigningBackendError),
            ],
        ),
    ];
    for (change, expected) in rows {
        let rig = rig(change);
        let probed = rig.probe().await.expect("a report");
        let codes: Vec<_> = probed
            .gates
            .iter()
            .map(|report| match &report.verdict {
                GateVerdict::Pass => None,
                GateVerdict::Fail(refusal) => Some(refusal.code()),
            })
            .collect();
        assert_eq!(codes, expected);
        assert_eq!(rig.signed(), 0);
        let trail = rig.trail();
        let [AuditRecord::Refusal(record)] = &trail[..] else {
            panic!("{trail:?}")
        };
        let first = expected.iter().flatten().next().map(|code| code.as_str());
        assert_eq!((record.dry_run, record.code.as_deref()), (true, first));
    }
    let unaudited = rig(|world| world.fakes.log.works.set(false));
    assert_eq!(
        why(&unaudited.probe().await),
        (Stage::Audit, Code::AuditUnavailable)
    );
}

#[actix::test]
async fn what_is_known_of_an_image_has_a_rate_of_its_own() {
    let rig = rig(|world| {
        world.token.scopes = vec!["signer.verify".into()];
        world.tuning.policy.verify_limits.burst = 4;
    });
    let context = rig.context();
    let ask = async |repository: Option<&str>| {
        let session = rig.authenticate(Scope::Verify).await?;
        verify_release(&rig.services, &session, testing::image(), repository, &context).await
    };
    for (cached, remaining) in [(false, 3), (true, 2)] {
        let (checked, rate) = ask(None).await.expect("a verdict");
        assert_eq!(
            (checked.report.verdict, checked.cached),
            (Verdict::Trusted, cached)
        );
        assert_eq!(rate.remaining, remaining);
    }
    assert_eq!(
        why(&ask(Some("registry.example/other")).await),
        (Stage::Shape, Code::InvalidRequest)
    );
    rig.world.fakes.releases.answer.set(Err(ReleaseError::NotFound));
    assert_eq!(
        why(&ask(Some("registry.example/scanner")).await),
        (Stage::Release, Code::NotFound)
    );
    ask(None).await.expect("a verdict");
    assert_eq!(why(&ask(None).await), (Stage::Quota, Code::RateLimited));
    assert_eq!(
        why(&rig.sign().await),
        (Stage::Authentication, Code::InsufficientScope)
    );
}
