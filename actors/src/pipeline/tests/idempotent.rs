//! One signature for all attempts with one key.

use super::*;
use crate::domain::idempotency::IdempotencyKey;
use crate::domain::tenant::TenantId;
use crate::testing::FakeKeys;

fn key(text: &str) -> Option<Idempotent> {
    let key = IdempotencyKey::parse(text.as_bytes()).expect("a key");
    Some(Idempotent {
        key,
        returned: "dsse",
    })
}

/// With the key `k-1`.
fn keyed(change: impl FnOnce(&mut World)) -> Rig {
    rig(|world| {
        world.idempotency = key("k-1");
        change(world);
    })
}

impl Rig {
    fn keys(&self) -> &FakeKeys {
        &self.world.fakes.keys
    }

    async fn ask(&self) -> Result<Answer, Failure> {
        self.answer(self.request()).await
    }

    /// The request with something changed.
    async fn ask_other(&self, change: impl FnOnce(&mut SignRequest)) -> Result<Answer, Failure> {
        let mut request = self.request();
        change(&mut request);
        self.answer(request).await
    }

    /// What the newest intent says of an earlier attempt.
    fn retry_of(&self) -> Option<String> {
        let trail = self.trail();
        let newest = trail.iter().rev().find_map(|record| match record {
            AuditRecord::Intent(intent) => Some(intent.retry_of),
            _ => None,
        });
        newest.expect("an intent").map(|id| id.to_string())
    }
}

#[actix::test]
async fn a_retry_is_answered_as_before_and_neither_signed_nor_charged() {
    let rig = keyed(|world| {
        (world.entitlement.limits.qps, world.entitlement.limits.burst) = (1, 1);
    });
    let first = rig.ask().await.expect("a signature");
    assert!(!first.is_replay() && first.rate().is_some());
    // Replays have a rate of their own, equal to the plan's.
    for _ in 0..3 {
        rig.world.fakes.clock.advance(Duration::from_secs(1));
        let other = rig.ask_other(|request| request.idempotency = None).await;
        other.expect("the plan's token is there, however often was replayed");
        let again = rig.ask().await.expect("the same");
        assert!(again.is_replay() && again.rate().is_none());
        assert_eq!(again.told(), first.told());
        assert_eq!(again.payload(), first.payload());
        assert_eq!(again.audit_id(), first.audit_id());
    }
    assert_eq!(
        (rig.signed(), rig.trail().len()),
        (4, 8),
        "the others', and the first"
    );
    let beyond = rig.ask().await;
    assert_eq!(why(&beyond), (Stage::Quota, Code::RateLimited), "but no faster");
    let other = rig.ask_other(|request| request.idempotency = key("k-2")).await;
    assert_eq!(
        why(&other),
        (Stage::Quota, Code::RateLimited),
        "the burst is used up"
    );
    let without = rig.ask_other(|request| request.idempotency = None).await;
    assert_eq!(why(&without), (Stage::Quota, Code::RateLimited));
}

#[actix::test]
async fn the_same_content_is_the_same_request_and_any_other_a_conflict() {
    let rig = keyed(|world| {
        world.predicate = r#"{"b":[1,2],"a":"é"}"#.into();
        world.tuning.policy.predicate_types = vec!["*".into()];
    });
    rig.ask().await.expect("a signature");
    let bom = "https://cyclonedx.org/bom";
    let spelled = "{ \"a\": \"\\u00e9\",\n\"b\": [1.0, 2e0] }";
    let same = rig.ask_other(|request| request.draft = draft(bom, spelled)).await;
    assert!(same.expect("the same").is_replay());
    let poe = rig.ask_other(|request| request.poe = Poe::new("renewed")).await;
    assert!(
        poe.expect("a new proof of entitlement is no other request")
            .is_replay()
    );
    type Change = (&'static str, fn(&mut SignRequest));
    let changes: [Change; 9] = [
        ("predicate", |r| {
            r.draft = draft("https://cyclonedx.org/bom", r#"{"b":[1,2],"a":"e"}"#)
        }),
        ("type", |r| {
            r.draft = draft("https://spdx.dev/Document", r#"{"b":[1,2],"a":"é"}"#)
        }),
        ("mode", |r| r.options.mode = Some(SigningMode::Keyless)),
        ("default mode, but named", |r| {
            r.options.mode = Some(SigningMode::Kms)
        }),
        ("key", |r| r.options.key = KeyId::parse("file")),
        ("life", |r| r.options.min_life = Duration::from_secs(7)),
        ("timestamp", |r| r.options.timestamp = Some(false)),
        ("scanner", |r| r.scanner = Sha256Digest([6; 32]).into()),
        ("returned", |r| {
            r.idempotency.as_mut().expect("a key").returned = "sigstore"
        }),
    ];
    for (name, change) in changes {
        let result = rig.ask_other(change).await;
        assert!(result.is_err(), "{name} was answered");
        assert_eq!(
            why(&result),
            (Stage::Idempotency, Code::IdempotencyConflict),
            "{name}"
        );
    }
    assert_eq!(rig.signed(), 1);
}

#[actix::test]
async fn a_key_is_of_one_caller() {
    let keys = keyed(|_| ());
    keys.ask().await.expect("a signature");
    let shared = keys.keys().clone();
    type Change = fn(&mut World);
    let callers: [Change; 4] = [
        |w| {
            w.token.tenant = TenantId::parse("globex").expect("a tenant");
            w.entitlement.tenant = w.token.tenant.clone();
        },
        |w| {
            w.token.installation = InstallationId::parse("acme-2").expect("an installation");
            w.entitlement.installation = w.token.installation.clone();
        },
        |w| w.token.client_id = "other".into(),
        |w| w.token.subject = "other".into(),
    ];
    for change in callers {
        let rig = keyed(|world| {
            world.fakes.keys = shared.clone();
            world.predicate = r#"{"other":1}"#.into();
            change(world);
        });
        assert!(!rig.ask().await.expect("no conflict").is_replay());
    }
    let again = keyed(|world| world.fakes.keys = shared.clone());
    assert!(again.ask().await.expect("the same caller elsewhere").is_replay());
    assert_eq!(again.signed(), 0);
}

#[actix::test]
async fn of_many_at_once_one_signs() {
    let rig = keyed(|world| {
        world.fakes.keyful.sign_open.set(false);
        world.tuning.replay_capacity = 100_000;
    });
    let mut all = Box::pin(futures_util::future::join_all((0..64).map(|_| rig.ask())));
    assert!((&mut all).now_or_never().is_none());
    futures_util::future::select(&mut all, Box::pin(until(|| rig.signed() == 1))).await;
    rig.world.fakes.keyful.sign_open.set(true);
    let all = all.await;
    let told: BTreeSet<_> = all.iter().flatten().map(|answer| answer.told().clone()).collect();
    assert_eq!(told.len(), 1, "one answer, however often");
    assert!(
        all.iter()
            .filter(|result| result.is_err())
            .all(|result| why(result) == (Stage::Idempotency, Code::IdempotencyInFlight))
    );
    assert_eq!(rig.signed(), 1);
    assert!(rig.ask().await.expect("the same").is_replay());
    let status = rig.ask_other(|request| request.idempotency = None).await;
    let rate = status.expect("another").rate().map(|rate| rate.remaining);
    assert_eq!(rate, Some(198), "two tokens are gone");
}

#[actix::test]
async fn while_one_is_in_progress_another_request_with_its_key_is_a_conflict() {
    let rig = keyed(|world| world.fakes.keyful.sign_open.set(false));
    let mut first = Box::pin(rig.ask());
    assert!((&mut first).now_or_never().is_none());
    futures_util::future::select(&mut first, Box::pin(until(|| rig.signed() == 1))).await;
    let other = rig
        .ask_other(|request| request.options.timestamp = Some(false))
        .await;
    assert_eq!(why(&other), (Stage::Idempotency, Code::IdempotencyConflict));
    rig.world.fakes.keyful.sign_open.set(true);
    first.await.expect("a signature");
}

/// Whatever refuses, the key is free again, and the next attempt knows of no other.
#[actix::test]
async fn refusals_are_not_kept() {
    type Fault = (&'static str, fn(&World), fn(&World));
    let faults: [Fault; 5] = [
        (
            "release",
            |w| {
                w.fakes
                    .releases
                    .answer
                    .set(Err(ReleaseError::Doubt("401".into())))
            },
            |w| w.fakes.releases.answer.set(Ok(w.report.clone())),
        ),
        (
            "no key",
            |w| {
                w.fakes
                    .keyful
                    .open
                    .set(Err(BackendError::Unavailable("sealed".into())))
            },
            |w| w.fakes.keyful.open.set(Ok(None)),
        ),
        (
            "signature",
            |w| {
                w.fakes
                    .keyful
                    .refuse
                    .set(Some(BackendError::Failed("500".into())))
            },
            |w| w.fakes.keyful.refuse.set(None),
        ),
        (
            "begin",
            |w| w.fakes.keys.up.set(false),
            |w| w.fakes.keys.up.set(true),
        ),
        (
            "hung",
            |w| w.fakes.keyful.sign_open.set(false),
            |w| w.fakes.keyful.sign_open.set(true),
        ),
    ];
    for (name, break_it, mend_it) in faults {
        let rig = keyed(|world| {
            world.own_dials[2] = name == "release";
            break_it(world);
            world.patience = Duration::from_millis(if name == "hung" { 50 } else { 5000 });
        });
        assert!(rig.ask().await.is_err(), "{name}");
        mend_it(&rig.world);
        until(|| rig.keys().is_empty()).await;
        rig.world.fakes.clock.advance(Duration::from_secs(30));
        let answer = rig.ask().await;
        let answer = answer.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        assert!(!answer.is_replay(), "{name}");
        assert_eq!(rig.retry_of(), None, "{name}");
        assert!(rig.ask().await.expect("the same").is_replay(), "{name}");
    }
}

#[actix::test]
async fn a_rate_that_is_used_up_leaves_the_key_free() {
    let rig = keyed(|world| {
        world.entitlement.limits.burst = 1;
        world.entitlement.limits.qps = 1;
    });
    rig.ask_other(|request| request.idempotency = None)
        .await
        .expect("a signature");
    assert_eq!(why(&rig.ask().await), (Stage::Quota, Code::RateLimited));
    until(|| rig.keys().is_empty()).await;
    rig.world.fakes.clock.advance(Duration::from_secs(1));
    assert!(!rig.ask().await.expect("a signature").is_replay());
}

/// A signature may exist that nobody got: the next one says so in the trail.
#[actix::test]
async fn after_an_attempt_of_unknown_end_a_retry_signs_anew_and_names_it() {
    let rig = keyed(|world| {
        // The intent is taken, and the sync of both records fails.
        world.tuning.audit_linger = Duration::from_millis(2);
        world.fakes.log.syncs_work.set(false);
    });
    let failed = rig.ask().await;
    assert_eq!(why(&failed), (Stage::Audit, Code::AuditUnavailable));
    assert_eq!(rig.signed(), 1, "made, and never left");
    let lost = failed
        .err()
        .and_then(|failure| failure.audit_id)
        .expect("an id")
        .to_string();
    rig.world.fakes.log.syncs_work.set(true);
    let calls = || rig.keys().calls.get();
    until(|| calls().contains(&"give_up")).await;
    let answer = rig.ask().await.expect("a signature");
    assert_eq!((answer.is_replay(), rig.retry_of()), (false, Some(lost)));
    assert!(rig.ask().await.expect("the same").is_replay());
    assert_eq!(rig.signed(), 2);
}

#[actix::test]
async fn an_answer_that_cannot_be_kept_leaves_all_the_same() {
    let rig = keyed(|world| world.fakes.keys.keeps.set(false));
    let first = rig.ask().await.expect("a signature that was paid for");
    rig.keys().keeps.set(true);
    until(|| rig.keys().calls.get().contains(&"give_up")).await;
    let second = rig.ask().await.expect("another");
    assert!(!second.is_replay());
    assert_eq!(rig.retry_of(), Some(first.audit_id().to_string()));
    assert!(rig.ask().await.expect("kept now").is_replay());
}

#[actix::test]
async fn a_store_that_is_down_is_refused_before_anything_is_charged() {
    let rig = keyed(|world| world.entitlement.limits.burst = 1);
    rig.keys().up.set(false);
    assert_eq!(
        why(&rig.ask().await),
        (Stage::Idempotency, Code::StateUnavailable)
    );
    let without = rig.ask_other(|request| request.idempotency = None).await;
    without.expect("who has no key is not concerned, and the burst is untouched");
    let hung = keyed(|world| {
        world.fakes.keys.open.set(false);
        world.patience = Duration::from_millis(20);
    });
    assert_eq!(
        why(&hung.ask().await),
        (Stage::Idempotency, Code::StateUnavailable)
    );
    let full = keyed(|world| world.fakes.keys.change(|model| model.capacity = 0));
    assert_eq!(why(&full.ask().await), (Stage::Idempotency, Code::Overloaded));
}

/// An attempt that took longer than it may, as in a machine that slept, does not answer beside its successor.
#[actix::test]
async fn who_was_taken_over_does_not_answer() {
    let rig = keyed(|world| {
        world.fakes.keyful.sign_open.set(false);
        world
            .fakes
            .keys
            .change(|model| model.life = Some(Duration::from_secs(20)));
    });
    let mut first = Box::pin(rig.ask());
    assert!((&mut first).now_or_never().is_none());
    futures_util::future::select(&mut first, Box::pin(until(|| rig.signed() == 1))).await;
    assert_eq!(
        why(&rig.ask().await),
        (Stage::Idempotency, Code::IdempotencyInFlight)
    );
    rig.world.fakes.clock.advance(Duration::from_secs(20));
    let mut second = Box::pin(rig.ask());
    futures_util::future::select(&mut second, Box::pin(until(|| rig.signed() == 2))).await;
    rig.world.fakes.keyful.sign_open.set(true);
    let (first, second) = futures_util::future::join(first, second).await;
    assert_eq!(why(&first), (Stage::Idempotency, Code::IdempotencyInFlight));
    let second = second.expect("a signature");
    assert_eq!(rig.ask().await.expect("the same").told(), second.told());
}

/// Not even if nobody can say that it was.
#[actix::test]
async fn who_may_have_been_taken_over_does_not_answer_either() {
    let rig = keyed(|world| {
        world.fakes.keyful.sign_open.set(false);
        world
            .fakes
            .keys
            .change(|model| model.life = Some(Duration::from_secs(20)));
        world.fakes.keys.keeps.set(false);
    });
    let mut first = Box::pin(rig.ask());
    futures_util::future::select(&mut first, Box::pin(until(|| rig.signed() == 1))).await;
    rig.world.fakes.clock.advance(Duration::from_secs(20));
    rig.world.fakes.keyful.sign_open.set(true);
    assert_eq!(why(&first.await), (Stage::Idempotency, Code::StateUnavailable));
}

/// The service as it is configured later, with the same store.
fn later(first: &Rig, change: impl FnOnce(&mut World)) -> Rig {
    keyed(|world| {
        world.fakes.keys = first.keys().clone();
        world.tuning.defaults.mode = SigningMode::Keyless;
        change(world);
    })
}

#[actix::test]
async fn what_a_retired_key_has_signed_goes_on_to_count() {
    let first = keyed(|_| ());
    let answer = first.ask().await.expect("a signature");
    let rig = later(&first, |world| world.fakes.keyful.info.state = KeyState::Retired);
    let again = rig.ask().await.expect("the same");
    assert_eq!(
        (again.is_replay(), again.told(), rig.signed()),
        (true, answer.told(), 0)
    );
}

#[actix::test]
async fn whoever_named_the_key_gets_its_answer_again_and_no_new_one() {
    let named = |world: &mut World| {
        world.options.mode = Some(SigningMode::Kms);
        world.options.key = KeyId::parse("file");
    };
    let first = keyed(named);
    let answer = first.ask().await.expect("a signature");
    let retired = later(&first, |world| {
        named(world);
        world.fakes.keyful.info.state = KeyState::Retired;
    });
    assert_eq!(retired.ask().await.expect("the same").told(), answer.told());
    let refused = (Stage::Entitlement, Code::ModeNotEntitled);
    for idempotency in [None, key("k-2")] {
        let other = retired
            .ask_other(|request| request.idempotency = idempotency)
            .await;
        assert_eq!(why(&other), refused);
    }
    until(|| first.keys().len() == 1).await;
    let revoked = later(&first, |world| {
        named(world);
        world.fakes.keyful.info.state = KeyState::Revoked;
    });
    assert_eq!(why(&revoked.ask().await), refused, "nor the old one");
}

#[actix::test]
async fn what_a_revoked_or_unknown_key_has_signed_is_signed_anew() {
    type Change = fn(&mut World);
    let changes: [Change; 3] = [
        |world| world.fakes.keyful.info.state = KeyState::Revoked,
        |world| world.fakes.keyful.info.id = KeyId::parse("file-2").expect("an id"),
        |world| world.fakes.keyful.info.key = Some(Sha256Digest([9; 32])),
    ];
    for change in changes {
        let first = keyed(|_| ());
        let void = first.ask().await.expect("a signature");
        let rig = later(&first, change);
        let anew = rig.ask().await.expect("a signature");
        assert!(!anew.is_replay() && anew.rate().is_some(), "it is charged");
        assert_eq!(rig.retry_of(), Some(void.audit_id().to_string()));
        let again = rig.ask().await.expect("the same");
        assert_eq!((again.is_replay(), again.told()), (true, anew.told()));
        assert_eq!(rig.world.fakes.keyless.signed.load(Ordering::SeqCst), 1);
    }
}

/// Not even if the one that would sign anew fails: the next one is told of the void answer again.
#[actix::test]
async fn what_is_void_stays_so() {
    let first = keyed(|_| ());
    let void = first.ask().await.expect("a signature");
    let rig = later(&first, |world| world.fakes.keyful.info.state = KeyState::Revoked);
    let keyless = &rig.world.fakes.keyless;
    keyless.refuse.set(Some(BackendError::Failed("500".into())));
    assert!(rig.ask().await.is_err());
    keyless.refuse.set(None);
    until(|| first.keys().calls.get().contains(&"give_up")).await;
    rig.ask().await.expect("a signature");
    assert_eq!(rig.retry_of(), Some(void.audit_id().to_string()));
}

/// What the trail says of a failure may be lost with the machine; then the next one has to know of this attempt.
#[actix::test]
async fn a_failure_that_is_not_on_record_is_named_to_the_next() {
    let rig = keyed(|world| {
        world.tuning.audit_linger = Duration::from_millis(2);
        world.fakes.log.syncs_work.set(false);
        let failed = BackendError::Failed("500".into());
        world.fakes.keyful.refuse.set(Some(failed));
    });
    assert!(rig.ask().await.is_err());
    rig.world.fakes.log.syncs_work.set(true);
    rig.world.fakes.keyful.refuse.set(None);
    until(|| rig.keys().calls.get().contains(&"give_up")).await;
    rig.ask().await.expect("a signature");
    assert!(rig.retry_of().is_some());
}

#[actix::test]
async fn who_is_not_entitled_any_more_gets_no_replay() {
    let rig = keyed(|_| ());
    rig.ask().await.expect("a signature");
    rig.world
        .fakes
        .licensing
        .online
        .set(Ok(Some(Introspection::Revoked)));
    rig.world.fakes.clock.advance(Duration::from_secs(61));
    assert_eq!(
        why(&rig.ask().await),
        (Stage::Entitlement, Code::EntitlementRevoked)
    );
}

#[actix::test]
async fn a_dry_run_has_no_key() {
    let rig = keyed(|_| ());
    rig.probe().await.expect("a report");
    assert!(rig.keys().calls.get().is_empty());
    assert!(!rig.ask().await.expect("a signature").is_replay());
    rig.probe().await.expect("a report");
}

#[actix::test]
async fn the_stamp_is_the_first_attempts() {
    let first = keyed(|_| ());
    let answer = first.ask().await.expect("a signature");
    let other = keyed(|world| {
        world.fakes.keys = first.keys().clone();
        world.tuning.policy.stamp = false;
    });
    let again = other.ask().await.expect("the same");
    assert_eq!((again.is_replay(), again.payload()), (true, answer.payload()));
}

#[actix::test]
async fn panics_leave_no_key_behind() {
    let rig = keyed(|_| ());
    rig.services.idempotency.crash().await;
    rig.ask().await.expect("a signature");
    rig.keys().bomb.arm();
    assert_eq!(
        why(&rig.ask().await),
        (Stage::Idempotency, Code::StateUnavailable)
    );
    assert!(rig.ask().await.expect("the same").is_replay());
    rig.world.fakes.keyful.sign_open.set(false);
    let held = rig.request();
    let mut second = Box::pin(rig.answer(SignRequest {
        idempotency: key("k-2"),
        ..held
    }));
    futures_util::future::select(&mut second, Box::pin(until(|| rig.signed() == 2))).await;
    rig.services.idempotency.crash().await;
    rig.world.fakes.keyful.sign_open.set(true);
    let second = second.await.expect("a signature");
    let again = rig.ask_other(|request| request.idempotency = key("k-2")).await;
    assert_eq!(again.expect("the same").told(), second.told());
}
