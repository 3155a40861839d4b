//! Batches: what is about all of them, what is about one, how many at once, and when it ends.

use super::*;

impl Rig {
    fn item(&self, place: usize, predicate: &str) -> BatchItem {
        BatchItem {
            place,
            draft: draft(&self.world.predicate_type, predicate),
            options: self.world.options.clone(),
        }
    }

    /// So many items, each unlike the others.
    fn items(&self, count: usize) -> Vec<BatchItem> {
        (0..count)
            .map(|place| self.item(place, &format!(r#"{{"n":{place}}}"#)))
            .collect()
    }

    /// By place: the payload of a signature, or why there is none.
    async fn batch(&self, items: Vec<BatchItem>) -> Result<Vec<Result<String, Failure>>, Failure> {
        let context = self.context();
        let session = self.authenticate(Scope::Sign).await?;
        let count = items.len();
        let batch = BatchRequest {
            items,
            scanner: self.world.scanner,
            poe: self.world.poe.clone(),
        };
        let tell = |_: usize, released: Released| {
            Ok(String::from_utf8_lossy(&released.statement().payload).into_owned())
        };
        let services = self.services.clone();
        // As a handler does: the work goes on whoever waits.
        let work = actix::spawn(async move { sign_batch(&services, session, batch, &context, tell).await });
        let answer = work.await.expect("a panic is answered")?;
        let mut results = answer.results;
        results.sort_by_key(|(place, _)| *place);
        let places: Vec<usize> = results.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, (0..count).collect::<Vec<_>>(), "one result for each item");
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    /// What becomes of so many items.
    async fn codes(&self, items: Vec<BatchItem>) -> Vec<&'static str> {
        let results = self.batch(items).await.expect("results");
        results.iter().map(code).collect()
    }

    fn signing(&self) -> u32 {
        self.world.fakes.keyful.signed.load(Ordering::SeqCst)
    }
}

fn code(result: &Result<String, Failure>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(failure) => failure.refusal.code().as_str(),
    }
}

#[actix::test]
async fn each_item_is_signed_with_records_of_its_own() {
    let rig = rig(|_| ());
    let results = rig.batch(rig.items(20)).await.expect("results");
    for (place, result) in results.iter().enumerate() {
        let payload = result.as_ref().expect("a signature");
        assert!(
            payload.contains(&format!(r#""predicate":{{"n":{place}}}"#)),
            "{payload}"
        );
        assert!(payload.contains(r#""stella.ops/tenant":"acme""#), "{payload}");
    }
    let (mut intents, mut outcomes) = (BTreeSet::new(), BTreeSet::new());
    for record in rig.trail() {
        match record {
            AuditRecord::Intent(intent) => assert!(intents.insert(intent.audit_id)),
            AuditRecord::Outcome(outcome) => {
                assert!(intents.contains(&outcome.audit_id), "an intent comes first");
                assert!(outcomes.insert(outcome.audit_id));
                assert_eq!(outcome.outcome, OutcomeKind::Signed);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((intents.len(), outcomes.len()), (20, 20));
    assert_eq!(rig.world.fakes.releases.checks.load(Ordering::SeqCst), 1);
    let asked = rig.world.fakes.licensing.introspections.load(Ordering::SeqCst);
    assert_eq!(asked, 1, "one proof for all");
    assert!(rig.has_room(1).await, "all permits are given back");
}

#[actix::test]
async fn tokens_are_taken_in_order_and_after_the_first_that_is_missing_none_is_asked_for() {
    let rig = rig(|world| {
        world.entitlement.limits.qps = 1;
        world.entitlement.limits.burst = 7;
        world.entitlement.limits.concurrency = 3;
    });
    let codes = rig.codes(rig.items(10)).await;
    assert_eq!(codes[..7], ["ok"; 7]);
    assert_eq!(codes[7..], ["rate_limited"; 3]);
    rig.world.fakes.clock.advance(Duration::from_secs(2));
    // Two more have come, and nothing was owed.
    let codes = rig.codes(rig.items(4)).await;
    assert_eq!(codes, ["ok", "ok", "rate_limited", "rate_limited"]);
}

#[actix::test]
async fn what_is_wrong_with_one_item_is_its_own_and_costs_nothing() {
    let rig = rig(|world| {
        world.entitlement.limits.burst = 2;
        world.entitlement.features = features(&["mode:kms", "predicate:https://cyclonedx.org/*"]);
    });
    let mut items = rig.items(7);
    items[1].options.key = KeyId::parse("unknown");
    items[2].options.mode = Some(SigningMode::Keyless);
    items[3].draft = draft("https://stella.ops/x", r#"{"a":1}"#);
    items[4].draft = draft("https://example.com/x", r#"{"a":1}"#);
    let codes = rig.codes(items).await;
    let expected = [
        "ok",
        "invalid_request",
        "mode_not_entitled",
        "predicate_not_allowed",
        "predicate_not_allowed",
        "ok",
        "rate_limited",
    ];
    assert_eq!(codes, expected);
    let refused = |record: &AuditRecord| matches!(record, AuditRecord::Refusal(_));
    until(|| rig.trail().iter().filter(|record| refused(record)).count() == 5).await;
}

#[actix::test]
async fn what_is_about_all_of_them_fails_the_batch() {
    type Row = (fn(&mut World), Stage, Code);
    let rows: [Row; 6] = [
        (
            |world| world.poe = None,
            Stage::Entitlement,
            Code::EntitlementRequired,
        ),
        (
            |world| world.entitlement.expires = testing::NOW(),
            Stage::Entitlement,
            Code::EntitlementExpired,
        ),
        (
            |world| world.entitlement.tenant = testing::tenant("other"),
            Stage::Entitlement,
            Code::TenantMismatch,
        ),
        (
            |world| world.report = testing::report(Verdict::Untrusted),
            Stage::Release,
            Code::ReleaseUntrusted,
        ),
        (
            |world| world.scanner = ImageDigest::from(Sha256Digest([9; 32])),
            Stage::Release,
            Code::ScannerMismatch,
        ),
        (
            |world| {
                world.entitlement.versions = Some(VersionWindow {
                    min: CalendarTag::parse("2027.01"),
                    max: None,
                });
            },
            Stage::Release,
            Code::VersionNotEntitled,
        ),
    ];
    for (change, stage, expected) in rows {
        let rig = rig(change);
        assert_eq!(why(&rig.batch(rig.items(5)).await), (stage, expected));
        assert_eq!(rig.signed(), 0);
        assert!(rig.has_room(1).await);
        until(|| rig.trail().len() == 1).await;
        assert!(matches!(&rig.trail()[0], AuditRecord::Refusal(refusal) if refusal.code.is_some()));
    }
}

#[actix::test]
async fn a_batch_with_nothing_to_sign_asks_no_registry() {
    let rig = rig(|world| world.options.key = KeyId::parse("unknown"));
    assert_eq!(rig.codes(rig.items(3)).await, ["invalid_request"; 3]);
    assert_eq!(rig.world.fakes.releases.checks.load(Ordering::SeqCst), 0);
    let refused = rig_with_untrusted_poe();
    assert_eq!(
        why(&refused.batch(refused.items(3)).await),
        (Stage::Entitlement, Code::TenantMismatch),
        "but its proof of entitlement is judged"
    );
}

fn rig_with_untrusted_poe() -> Rig {
    rig(|world| {
        world.options.key = KeyId::parse("unknown");
        world.entitlement.tenant = testing::tenant("other");
    })
}

#[actix::test]
async fn as_many_run_at_once_as_the_plan_leaves_and_the_others_wait() {
    let rig = rig(|world| world.entitlement.limits.concurrency = 3);
    rig.world.fakes.keyful.sign_open.set(false);
    let mut batch = Box::pin(rig.codes(rig.items(8)));
    assert!((&mut batch).now_or_never().is_none());
    futures_util::future::select(&mut batch, Box::pin(until(|| rig.signing() == 3))).await;
    // What waits has time to do wrong.
    for _ in 0..2000 {
        tokio::task::yield_now().await;
        assert!((&mut batch).now_or_never().is_none());
    }
    assert_eq!(rig.signing(), 3);
    assert!(!rig.has_room(3).await, "each has a permit");
    assert!(rig.has_room(4).await, "and no more than one");
    rig.world.fakes.keyful.sign_open.set(true);
    assert_eq!(batch.await, ["ok"; 8]);
    assert!(rig.has_room(1).await);
}

#[actix::test]
async fn a_batch_that_gets_no_permit_at_all_is_refused_item_by_item_at_the_cost_of_one_token() {
    let rig = rig(|world| {
        world.entitlement.limits.concurrency = 1;
        world.entitlement.limits.burst = 3;
    });
    rig.world.fakes.keyful.sign_open.set(false);
    let mut other = Box::pin(rig.sign());
    assert!((&mut other).now_or_never().is_none());
    futures_util::future::select(&mut other, Box::pin(until(|| rig.signing() == 1))).await;
    assert_eq!(rig.codes(rig.items(4)).await, ["concurrency_limited"; 4]);
    assert_eq!(
        rig.world.fakes.releases.checks.load(Ordering::SeqCst),
        1,
        "that of the other"
    );
    rig.world.fakes.keyful.sign_open.set(true);
    other.await.expect("a signature");
    assert_eq!(rig.codes(rig.items(2)).await, ["ok", "rate_limited"]);
}

#[actix::test]
async fn what_the_tenants_other_requests_give_back_is_used() {
    let rig = rig(|world| world.entitlement.limits.concurrency = 2);
    rig.world.fakes.keyless.sign_open.set(false);
    let mut long = rig.request();
    long.options.mode = Some(SigningMode::Keyless);
    let mut long = Box::pin(rig.answer(long));
    assert!((&mut long).now_or_never().is_none());
    let keyless = &rig.world.fakes.keyless.signed;
    futures_util::future::select(&mut long, Box::pin(until(|| keyless.load(Ordering::SeqCst) == 1))).await;
    // Of two permits one is left: the first item has it, the second waits for it.
    rig.world.fakes.keyful.sign_open.set(false);
    let mut batch = Box::pin(rig.codes(rig.items(6)));
    assert!((&mut batch).now_or_never().is_none());
    futures_util::future::select(&mut batch, Box::pin(until(|| rig.signing() == 1))).await;
    rig.world.fakes.keyless.sign_open.set(true);
    long.await.expect("a signature");
    rig.world.fakes.clock.advance(Duration::from_millis(50));
    rig.world.fakes.keyful.sign_open.set(true);
    assert_eq!(batch.await, ["ok"; 6]);
    assert!(rig.has_room(1).await);
}

#[actix::test]
async fn one_slow_item_holds_up_no_other() {
    let rig = rig(|world| world.entitlement.limits.concurrency = 2);
    rig.world.fakes.keyless.sign_open.set(false);
    let mut items = rig.items(9);
    items[0].options.mode = Some(SigningMode::Keyless);
    let mut batch = Box::pin(rig.codes(items));
    assert!((&mut batch).now_or_never().is_none());
    futures_util::future::select(&mut batch, Box::pin(until(|| rig.signing() == 8))).await;
    rig.world.fakes.keyless.sign_open.set(true);
    assert_eq!(batch.await, ["ok"; 9]);
}

#[actix::test]
async fn what_has_not_begun_by_the_end_is_told_so_and_takes_no_token() {
    tokio::time::pause();
    let rig = rig(|world| {
        world.entitlement.limits.concurrency = 2;
        world.entitlement.limits.burst = 10;
    });
    rig.world.fakes.keyful.sign_open.set(false);
    // Time goes on by itself when nothing else does.
    let codes = rig.codes(rig.items(6)).await;
    assert_eq!(codes, ["deadline_exceeded"; 6]);
    assert_eq!(rig.signing(), 2, "four have not begun");
    rig.world.fakes.keyful.sign_open.set(true);
    let mut left = 0;
    while code(&rig.sign().await.map(|_| String::new())) == "ok" {
        left += 1;
    }
    assert_eq!(left, 8, "what only waited has taken none");
}

#[actix::test]
async fn the_size_limit_holds_for_each() {
    let rig = rig(|world| {
        world.entitlement.limits.max_artifact_bytes = 9;
        world.entitlement.limits.burst = 5;
    });
    let mut items: Vec<BatchItem> = Vec::new();
    for (place, predicate) in [r#"{"n":123}"#, r#"{"n":1234}"#, r#"{"n":12}"#, r#"{"n":99999}"#]
        .iter()
        .enumerate()
    {
        items.push(rig.item(place, predicate));
    }
    let codes = rig.codes(items).await;
    assert_eq!(codes, ["ok", "artifact_too_large", "ok", "artifact_too_large"]);
    // Charged at admission, whatever comes of it (contract §5).
    assert_eq!(rig.codes(rig.items(2)).await, ["ok", "rate_limited"]);
}

#[actix::test]
async fn the_first_that_is_too_large_leaves_the_others_their_permits() {
    let rig = rig(|world| {
        world.entitlement.limits.max_artifact_bytes = 9;
        world.entitlement.limits.concurrency = 1;
    });
    let mut items = rig.items(3);
    items[0] = rig.item(0, r#"{"n":1234567}"#);
    assert_eq!(rig.codes(items).await, ["artifact_too_large", "ok", "ok"]);
    assert!(rig.has_room(1).await);
}

#[actix::test]
async fn a_panic_of_one_is_that_ones() {
    let rig = rig(|world| world.entitlement.limits.concurrency = 1);
    rig.world.fakes.keyful.sign_bomb.arm();
    let codes = rig.codes(rig.items(4)).await;
    assert_eq!(codes, ["internal", "ok", "ok", "ok"]);
    assert!(rig.has_room(1).await);
}

#[actix::test]
async fn an_answer_that_cannot_be_formed_is_that_items() {
    let rig = rig(|_| ());
    let session = rig.authenticate(Scope::Sign).await.expect("a caller");
    let batch = BatchRequest {
        items: rig.items(2),
        scanner: rig.world.scanner,
        poe: rig.world.poe.clone(),
    };
    let tell = |place: usize, _: Released| match place {
        0 => Err(Failure::new(Stage::Signing, Refusal::Unformed)),
        _ => panic!("told to panic"),
    };
    let answer = sign_batch::<()>(&rig.services, session, batch, &rig.context(), tell).await;
    for (_, result) in answer.expect("results").results {
        assert_eq!(why(&result), (Stage::Signing, Code::Internal));
    }
}

#[actix::test]
async fn a_caller_that_hangs_up_leaves_no_intent_without_its_outcome() {
    let rig = rig(|world| world.entitlement.limits.concurrency = 2);
    rig.world.fakes.keyful.sign_open.set(false);
    let mut batch = Box::pin(rig.batch(rig.items(5)));
    assert!((&mut batch).now_or_never().is_none());
    futures_util::future::select(&mut batch, Box::pin(until(|| rig.signing() == 2))).await;
    drop(batch);
    assert!(!rig.has_room(2).await, "the work goes on");
    rig.world.fakes.keyful.sign_open.set(true);
    until(|| rig.trail().iter().filter(|record| says_signed(record)).count() == 5).await;
    until(|| rig.trail().len() == 10).await;
}

#[actix::test]
async fn a_trail_that_fails_lets_nothing_leave() {
    let rig = rig(|world| world.entitlement.limits.concurrency = 2);
    rig.world.fakes.log.syncs_work.set(false);
    let codes = rig.codes(rig.items(4)).await;
    assert_eq!(codes, ["audit_unavailable"; 4]);
    assert!(!rig.trail().iter().any(says_signed));
}

#[actix::test]
async fn a_thousand_are_signed() {
    let rig = rig(|world| {
        world.entitlement.limits.burst = 1001;
        world.patience = Duration::from_secs(60);
    });
    let codes = rig.codes(rig.items(1000)).await;
    assert_eq!(codes, ["ok"; 1000]);
    assert!(rig.has_room(1).await);
    assert_eq!(rig.trail().len(), 2000);
}

#[actix::test]
async fn a_token_that_comes_later_is_for_later_requests() {
    let rig = rig(|world| {
        world.entitlement.limits.qps = 1;
        world.entitlement.limits.burst = 1;
    });
    let refused = |record: &AuditRecord| matches!(record, AuditRecord::Refusal(_));
    let refill = async {
        until(|| rig.trail().iter().any(refused)).await;
        rig.world.fakes.clock.advance(Duration::from_secs(1));
    };
    let (codes, ()) = futures_util::future::join(rig.codes(rig.items(80)), refill).await;
    assert_eq!(codes[0], "ok");
    assert_eq!(codes[1..], ["rate_limited"; 79]);
    assert_eq!(rig.codes(rig.items(1)).await, ["ok"], "there was one");
}
