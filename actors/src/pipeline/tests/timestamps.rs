//! Timestamps: wanted, had, and missed.

use super::*;
use crate::domain::audit::Outcome;
use crate::ports::TimestampSourceError;
use crate::testing::FakeTimestamps;

fn with_authority(change: impl FnOnce(&mut World)) -> (Rig, FakeTimestamps) {
    let authority = FakeTimestamps::default();
    let rig = rig(|world| {
        world.fakes.timestamps = Some(authority.clone());
        change(world);
    });
    (rig, authority)
}

fn unusable() -> Result<i64, TimestampSourceError> {
    Err(TimestampSourceError::Unusable("over something else".into()))
}

fn last_outcome(rig: &Rig) -> Outcome {
    let outcome = rig.trail().into_iter().rev().find_map(|record| match record {
        AuditRecord::Outcome(outcome) => Some(*outcome),
        _ => None,
    });
    outcome.expect("an outcome")
}

#[actix::test]
async fn a_signature_has_a_timestamp_where_there_is_an_authority() {
    let (with, authority) = with_authority(|_| ());
    let released = with.sign().await.expect("signed");
    let timestamp = released.timestamp().expect("a timestamp");
    assert_eq!(timestamp.response[..], released.signature().0[..]);
    assert!(with.trail().iter().any(says_signed));

    let (without, unasked) = with_authority(|world| world.options.timestamp = Some(false));
    assert!(without.sign().await.expect("signed").timestamp().is_none());
    assert_eq!(unasked.asked.load(Ordering::SeqCst), 0);
    assert_eq!(authority.asked.load(Ordering::SeqCst), 1);

    let none = rig(|_| ());
    assert!(none.sign().await.expect("signed").timestamp().is_none());
    let none = rig(|world| world.options.timestamp = Some(true));
    assert_eq!(why(&none.sign().await), (Stage::Shape, Code::InvalidRequest));
}

#[actix::test]
async fn a_signature_without_its_timestamp_does_not_leave_and_the_trail_says_so() {
    let (rig, authority) = with_authority(|_| ());
    authority.answer.set(unusable());
    let failed = rig.sign().await;
    assert_eq!(why(&failed), (Stage::Timestamp, Code::TimestampError));
    assert_eq!(rig.signed(), 1);
    let trail = rig.trail();
    let [AuditRecord::Intent(intent), AuditRecord::Outcome(outcome)] = &trail[..] else {
        panic!("{trail:?}");
    };
    assert_eq!(outcome.outcome, OutcomeKind::Failed);
    assert_eq!(outcome.code.as_deref(), Some("timestamp_error"));
    assert_eq!(outcome.audit_id, intent.audit_id);
    assert_eq!(
        failed.err().and_then(|failure| failure.audit_id),
        Some(intent.audit_id)
    );
    // The fake's signature is the digest of what was signed, so it is known although it did not leave.
    let statement = draft(&rig.world.predicate_type, &rig.world.predicate);
    let stamp = crate::domain::statement::Stamp {
        tenant: rig.world.token.tenant.clone(),
        installation: rig.world.token.installation.clone(),
        scanner: rig.world.scanner,
    };
    let payload = statement.finish(Some(&stamp)).payload;
    let signature = Sha256Digest::of(&pae(PAYLOAD_TYPE, &payload));
    assert_eq!(
        outcome.signature_digest,
        Some(Sha256Digest::of(&signature.0).to_hex())
    );
    assert!(rig.has_room(1).await, "the permit is given back");
}

#[actix::test]
async fn silence_ends_early_enough_for_the_trail() {
    let (rig, authority) = with_authority(|world| world.patience = Duration::from_millis(700));
    authority.open.set(false);
    let failed = rig.sign().await;
    assert_eq!(why(&failed), (Stage::Timestamp, Code::TimestampError));
    assert_eq!(last_outcome(&rig).code.as_deref(), Some("timestamp_error"));
    assert!(failed.err().and_then(|failure| failure.audit_id).is_some());
}

#[actix::test]
async fn an_authority_that_is_left_alone_costs_no_signature() {
    let (rig, authority) = with_authority(|_| ());
    authority.answer.set(unusable());
    for _ in 0..3 {
        assert_eq!(why(&rig.sign().await), (Stage::Timestamp, Code::TimestampError));
    }
    assert_eq!(rig.signed(), 3);
    let before = rig.trail().len();
    assert_eq!(why(&rig.sign().await), (Stage::Timestamp, Code::TimestampError));
    assert_eq!(rig.signed(), 3);
    let trail = rig.trail();
    let [AuditRecord::Refusal(refusal)] = &trail[before..] else {
        panic!("{trail:?}");
    };
    assert_eq!(refusal.code.as_deref(), Some("timestamp_error"));
    authority.answer.set(Ok(0));
    rig.world.fakes.clock.advance(Duration::from_secs(1));
    rig.sign().await.expect("it is asked again");
}

#[actix::test]
async fn a_timestamp_outside_the_certificates_life_is_of_no_use() {
    // The fake's certificate lives 300 s from now on.
    for (seconds, good) in [(0, true), (299, true), (300, false)] {
        let (rig, authority) = with_authority(|world| {
            world.options.mode = Some(SigningMode::Keyless);
            world.fakes.keyless.open.set(Ok(Some(Duration::from_secs(300))));
        });
        authority.answer.set(Ok(seconds));
        let signed = rig.sign().await;
        assert_eq!(signed.is_ok(), good, "{seconds}");
        if !good {
            assert_eq!(why(&signed), (Stage::Timestamp, Code::TimestampError));
            assert_eq!(last_outcome(&rig).outcome, OutcomeKind::Failed);
        }
    }
}
