//! What is recorded of those who did not prove who they are, and a disk that does not come back.

use super::*;
use crate::domain::ids::CorrelationId;
use crate::ports::Clock;

fn note(rig: &Rig, correlation: &str, code: Code) {
    let correlation = CorrelationId::parse(correlation).unwrap();
    note_stranger(
        &rig.services,
        &correlation,
        Scope::Sign,
        Stage::Authentication,
        code,
    );
}

/// Records of strangers, as code and how many were left out before.
fn told(rig: &Rig) -> Vec<(String, u64)> {
    let told = rig.trail().into_iter().filter_map(|record| match record {
        AuditRecord::StrangerRefusal(record) => Some((record.code, record.left_out)),
        _ => None,
    });
    told.collect()
}

#[actix::test]
async fn strangers_are_recorded_at_a_bounded_rate_and_the_rest_is_counted() {
    let rig = rig(|world| (world.tuning.stranger_qps, world.tuning.stranger_burst) = (1, 2));
    for _ in 0..10 {
        note(&rig, "x", Code::InvalidToken);
    }
    until(|| told(&rig).len() == 2).await;
    rig.world.fakes.clock.advance(Duration::from_secs(1));
    note(&rig, "x", Code::InvalidDpopProof);
    until(|| told(&rig).len() == 3).await;
    let row = |code: &str, left_out| (code.to_owned(), left_out);
    assert_eq!(
        told(&rig),
        [
            row("invalid_token", 0),
            row("invalid_token", 0),
            row("invalid_dpop_proof", 8)
        ]
    );
    rig.world.fakes.clock.advance(Duration::from_secs(9));
    // A step of the protocol.
    note(&rig, "x", Code::UseDpopNonce);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(told(&rig).len(), 3);
}

#[actix::test]
async fn a_strangers_words_do_not_come_into_the_trail() {
    let rig = rig(|_| ());
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    note(&rig, trace, Code::InvalidToken);
    note(&rig, "jane.doe-canary", Code::InvalidToken);
    until(|| told(&rig).len() == 2).await;
    let ids: Vec<_> = rig
        .trail()
        .into_iter()
        .map(|record| match record {
            AuditRecord::StrangerRefusal(record) => record.correlation_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [Some(trace.to_owned()), None]);
}

#[actix::test]
async fn what_cannot_be_recorded_is_counted_as_left_out() {
    let rig = rig(|_| ());
    // One that finds out that the trail cannot be written, and what comes until it can.
    rig.world.fakes.log.works.set(false);
    assert_eq!(why(&rig.sign().await), (Stage::Audit, Code::AuditUnavailable));
    let mut healthy = rig.services.audit_healthy.clone();
    healthy.wait_for(|healthy| !healthy).await.unwrap();
    note(&rig, "x", Code::InvalidToken);
    note(&rig, "x", Code::InvalidToken);
    rig.world.fakes.log.works.set(true);
    rig.sign().await.expect("the trail works again");
    note(&rig, "x", Code::InvalidToken);
    until(|| !told(&rig).is_empty()).await;
    assert_eq!(told(&rig), [("invalid_token".to_owned(), 2)]);
}

/// Contract §8: a fast 503, never a hang.
#[actix::test]
async fn nothing_is_begun_while_the_disk_does_not_come_back() {
    let rig = rig(|_| ());
    let now = || rig.world.fakes.clock.monotonic();
    rig.services.audit_writing.begin(now());
    rig.sign().await.expect("not for too long yet");
    // The group of that signature has ended.
    rig.services.audit_writing.begin(now());
    rig.world.fakes.clock.advance(Duration::from_millis(2001));
    let before = rig.trail().len();
    assert_eq!(why(&rig.sign().await), (Stage::Audit, Code::AuditUnavailable));
    note(&rig, "x", Code::InvalidToken);
    assert_eq!(
        (rig.trail().len(), rig.services.strangers.take_left_out()),
        (before, 1)
    );
    rig.services.audit_writing.end();
    rig.sign().await.expect("it came back");
}
