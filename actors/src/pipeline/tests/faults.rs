//! Every refusal of the flow, alone and against every later one.

use super::*;
use crate::ports::TimestampSourceError;

/// One thing that is wrong, and what it is answered with.
struct Fault {
    name: &'static str,
    cause: fn(&mut World),
    stage: Stage,
    code: Code,
    /// How often a backend was asked to sign all the same.
    calls: u32,
}

const fn fault(name: &'static str, stage: Stage, code: Code, cause: fn(&mut World)) -> Fault {
    Fault {
        name,
        cause,
        stage,
        code,
        calls: 0,
    }
}

fn without(world: &mut World, prefix: &str) {
    let kept = world
        .entitlement
        .features
        .iter()
        .filter(|f| !f.starts_with(prefix))
        .map(str::to_owned);
    world.entitlement.features = Features::new(kept.collect());
}

fn window(min: &str, max: &str) -> Option<VersionWindow> {
    Some(VersionWindow {
        min: CalendarTag::parse(min),
        max: CalendarTag::parse(max),
    })
}

/// Independent of each other, in the order of contract §2.6: of two, the first one answers.
fn in_order() -> Vec<Fault> {
    use Code::*;
    use Stage::*;
    let mut all = vec![
        fault("authority down", Authentication, AuthorityUnavailable, |w| {
            w.fakes.authority.published.set(None)
        }),
        fault("token", Authentication, InvalidToken, |w| {
            w.own_dials[0] = true;
            w.fakes
                .authority
                .token
                .set(Err(TokenRejection::Invalid("expired".into())));
        }),
        fault("proof", Authentication, InvalidDpopProof, |w| {
            w.fakes
                .proofs
                .proof
                .set(Err(ProofRejection::Invalid("htu".into())))
        }),
        fault("binding", Authentication, InvalidToken, |w| {
            w.proof.thumbprint = Sha256Digest([9; 32])
        }),
        fault("scope", Authentication, InsufficientScope, |w| {
            w.token.scopes = vec!["signer.verify".into()]
        }),
        fault("replay", Authentication, InvalidDpopProof, |w| {
            w.proof.issued = testing::NOW() - chrono::Duration::seconds(1)
        }),
        fault("unknown key", Shape, InvalidRequest, |w| {
            w.options.key = KeyId::parse("nobody")
        }),
        fault("timestamp", Shape, InvalidRequest, |w| {
            w.options.timestamp = Some(true)
        }),
        fault("no poe", Entitlement, EntitlementRequired, |w| w.poe = None),
        fault("poe", Entitlement, EntitlementInvalid, |w| {
            w.own_dials[1] = true;
            w.fakes
                .licensing
                .local
                .set(Err(PoeRejection::Invalid("signature".into())));
        }),
        fault("revoked", Entitlement, EntitlementRevoked, |w| {
            w.fakes.licensing.online.set(Ok(Some(Introspection::Revoked)))
        }),
        fault("expired", Entitlement, EntitlementExpired, |w| {
            w.entitlement.expires = testing::NOW()
        }),
        fault("poe of another sender", Entitlement, EntitlementInvalid, |w| {
            w.entitlement.confirmation = Some(Confirmation {
                jkt: Some(Sha256Digest([8; 32])),
                x5t_s256: None,
            })
        }),
        fault("tenant", Entitlement, TenantMismatch, |w| {
            w.entitlement.tenant = testing::tenant("other")
        }),
        fault("mode", Entitlement, ModeNotEntitled, |w| without(w, "mode:kms")),
        fault("predicate of the plan", Entitlement, PredicateNotAllowed, |w| {
            without(w, "predicate:")
        }),
        fault(
            "predicate of the service",
            Entitlement,
            PredicateNotAllowed,
            |w| w.tuning.policy.predicate_types.clear(),
        ),
        fault("retired", Entitlement, ModeNotEntitled, |w| {
            w.fakes.keyful.info.state = KeyState::Retired
        }),
        fault("rate", Quota, RateLimited, |w| w.entitlement.limits.burst = 0),
        fault("concurrency", Quota, ConcurrencyLimited, |w| {
            w.entitlement.limits.concurrency = 0
        }),
        fault("size", Quota, ArtifactTooLarge, |w| {
            w.entitlement.limits.max_artifact_bytes = 1
        }),
        fault("scanner", Release, ScannerMismatch, |w| {
            w.token.scanner_image = Some(Sha256Digest([8; 32]).into())
        }),
        fault("release", Release, ReleaseUntrusted, |w| {
            w.report.verdict = Verdict::Untrusted
        }),
        fault("version", Release, VersionNotEntitled, |w| {
            w.entitlement.versions = window("2025.01", "2025.12")
        }),
        // A record names the key, so a key is there before the intent.
        fault("no key", Signing, SigningBackendUnavailable, |w| {
            w.fakes
                .keyful
                .open
                .set(Err(BackendError::Unavailable("sealed".into())))
        }),
        fault("audit", Audit, AuditUnavailable, |w| w.fakes.log.works.set(false)),
        fault("signature", Signing, SigningBackendError, |w| {
            w.fakes
                .keyful
                .refuse
                .set(Some(BackendError::Failed("500".into())))
        }),
    ];
    if let Some(last) = all.last_mut() {
        last.calls = 1;
    }
    all
}

/// Further ways to the same codes, and codes that exclude each other.
fn others() -> Vec<Fault> {
    use Code::*;
    use Stage::*;
    let mut all = vec![
        fault("every mailbox full", Authentication, Overloaded, |w| {
            w.tuning.mailbox_capacity = 0
        }),
        fault("replay store full", Authentication, Overloaded, |w| {
            w.tuning.replay_capacity = 0
        }),
        fault("nonce required", Authentication, UseDpopNonce, |w| {
            w.fakes.proofs.proof.set(Err(ProofRejection::NonceRequired))
        }),
        fault(
            "older than the store, nonces on",
            Authentication,
            UseDpopNonce,
            |w| {
                w.proof.issued = testing::NOW() - chrono::Duration::seconds(1);
                w.fakes.proofs.nonce.set(Some("n".into()));
            },
        ),
        fault(
            "perhaps older than the store, nonces on",
            Authentication,
            UseDpopNonce,
            |w| {
                // The caller's clock may be 30 s ahead of ours.
                w.proof.issued = testing::NOW() + chrono::Duration::seconds(29);
                w.fakes.proofs.nonce.set(Some("n".into()));
            },
        ),
        fault("no proof", Authentication, InvalidDpopProof, |w| {
            w.credentials.proof = None
        }),
        fault("bearer", Authentication, InvalidToken, |w| {
            w.credentials.scheme = Scheme::Bearer
        }),
        fault("unbound", Authentication, InvalidToken, |w| {
            w.token.confirmation = Confirmation::default()
        }),
        fault("certificate", Authentication, InvalidToken, |w| {
            w.token.confirmation.x5t_s256 = Some(Sha256Digest([5; 32]))
        }),
        fault("unknown kid", Authentication, InvalidToken, |w| {
            w.fakes.authority.kid.set("k9".into())
        }),
        fault("mode not configured", Shape, InvalidRequest, |w| {
            w.fakes.keyless.info.mode = SigningMode::Kms;
            w.options.mode = Some(SigningMode::Keyless);
        }),
        fault("key id of keyless", Shape, InvalidRequest, |w| {
            w.options.mode = Some(SigningMode::Keyless);
            w.options.key = KeyId::parse("fulcio");
        }),
        fault("key of the other mode", Shape, InvalidRequest, |w| {
            w.options.key = KeyId::parse("fulcio")
        }),
        fault("poe expired", Entitlement, EntitlementExpired, |w| {
            w.own_dials[1] = true;
            w.fakes.licensing.local.set(Err(PoeRejection::Expired));
        }),
        fault("poe of an unknown key", Entitlement, EntitlementInvalid, |w| {
            w.own_dials[1] = true;
            w.fakes
                .licensing
                .local
                .set(Err(PoeRejection::UnknownKey { kid: "p9".into() }));
        }),
        fault("mismatch", Entitlement, EntitlementInvalid, |w| {
            w.fakes.licensing.online.set(Ok(Some(Introspection::Mismatch)))
        }),
        fault("licensing down", Entitlement, EntitlementUnavailable, |w| {
            w.fakes
                .licensing
                .online
                .set(Err(SourceUnavailable("down".into())))
        }),
        fault("licensing hangs", Entitlement, EntitlementUnavailable, |w| {
            w.fakes.licensing.open.set(false);
            w.patience = Duration::from_millis(20);
        }),
        fault("licensing's keys", Entitlement, EntitlementUnavailable, |w| {
            w.fakes.licensing.keys_up.set(false)
        }),
        fault("installation", Entitlement, TenantMismatch, |w| {
            w.entitlement.installation = InstallationId::parse("acme-2").expect("an installation")
        }),
        fault("keyless mode", Entitlement, ModeNotEntitled, |w| {
            w.options.mode = Some(SigningMode::Keyless);
            without(w, "mode:keyless");
        }),
        fault("another key", Entitlement, ModeNotEntitled, |w| {
            w.fakes.keyless.info.mode = SigningMode::Kms;
            w.options.key = KeyId::parse("fulcio");
        }),
        fault("revoked key", Entitlement, ModeNotEntitled, |w| {
            w.fakes.keyful.info.state = KeyState::Revoked
        }),
        fault("a release signature", Entitlement, PredicateNotAllowed, |w| {
            w.tuning.policy.predicate_types = vec!["*".into()];
            w.predicate_type = RELEASE_SIGNATURE_TYPE.into();
        }),
        fault("binding required", Release, ScannerMismatch, |w| {
            w.token.scanner_image = None;
            w.tuning.policy.scanner_binding_required = true;
        }),
        fault("unsigned", Release, ReleaseUntrusted, |w| {
            w.report.verdict = Verdict::Unsigned
        }),
        fault("report of another image", Release, ReleaseUntrusted, |w| {
            w.report.digest = Sha256Digest([6; 32]).into()
        }),
        fault("absent", Release, ReleaseUntrusted, |w| {
            w.own_dials[2] = true;
            w.fakes.releases.answer.set(Err(ReleaseError::NotFound));
        }),
        fault("doubt", Release, RegistryError, |w| {
            w.own_dials[2] = true;
            w.fakes
                .releases
                .answer
                .set(Err(ReleaseError::Doubt("401".into())));
        }),
        fault("registry timeout", Release, DeadlineExceeded, |w| {
            w.own_dials[2] = true;
            w.fakes.releases.answer.set(Err(ReleaseError::Timeout));
        }),
        fault("registry hangs", Release, DeadlineExceeded, |w| {
            w.fakes.releases.open.set(false);
            w.patience = Duration::from_millis(20);
        }),
        fault("no release tag", Release, VersionNotEntitled, |w| {
            w.report.release_tag = None;
            w.entitlement.versions = window("2025.01", "2027.12");
        }),
        fault("key cannot be opened", Signing, SigningBackendError, |w| {
            w.fakes.keyful.open.set(Err(BackendError::Failed("403".into())))
        }),
        fault("short life", Signing, SigningBackendUnavailable, |w| {
            w.fakes.keyful.open.set(Ok(Some(Duration::from_secs(300))));
            w.options.min_life = Duration::from_secs(301);
        }),
        fault("last minute", Signing, SigningBackendUnavailable, |w| {
            w.fakes.keyful.open.set(Ok(Some(Duration::from_secs(59))))
        }),
        fault("record too long", Audit, Internal, |w| {
            w.entitlement.license = "x".repeat(70_000)
        }),
        fault("syncs fail", Audit, AuditUnavailable, |w| {
            w.fakes.log.syncs_work.set(false)
        }),
        fault("backend down", Signing, SigningBackendUnavailable, |w| {
            w.fakes
                .keyful
                .refuse
                .set(Some(BackendError::Unavailable("throttled".into())))
        }),
        fault("wrong signature", Signing, SigningBackendError, |w| {
            w.fakes.keyful.corrupt.set(true)
        }),
        fault("no timestamp", Timestamp, TimestampError, |w| {
            let authority = testing::FakeTimestamps::default();
            authority
                .answer
                .set(Err(TimestampSourceError::Unusable("over something else".into())));
            w.fakes.timestamps = Some(authority);
        }),
    ];
    for fault in all.iter_mut().rev().take(3) {
        fault.calls = 1;
    }
    all
}

/// Runs one request with these faults and checks that `first` answers, and that nothing leaves.
async fn check(faults: &[&Fault], first: &Fault) {
    let names: Vec<_> = faults.iter().map(|fault| fault.name).collect();
    let rig = rig(|world| faults.iter().for_each(|fault| (fault.cause)(world)));
    let result = rig.sign().await;
    assert!(result.is_err(), "{names:?} was signed");
    assert_eq!(why(&result), (first.stage, first.code), "{names:?}");
    assert_eq!(rig.signed(), first.calls, "{names:?}");
    assert!(!rig.trail().iter().any(says_signed), "{names:?}");
    let Err(failure) = result else { return };
    assert_eq!(
        failure.rate.is_some(),
        first.stage >= Stage::Quota,
        "{names:?}: the rate is told once known"
    );
    let log_works = rig.world.fakes.log.works.get() && rig.world.fakes.log.syncs_work.get();
    if first.stage <= Stage::Authentication || !log_works {
        assert!(rig.trail().is_empty(), "{names:?}: {:?}", rig.trail());
        return;
    }
    // A refusal of a known caller is on record under its code, whoever still waits for it.
    let told = |record: &AuditRecord| match record {
        AuditRecord::Refusal(refusal) => {
            let named = failure.audit_id.is_none_or(|id| id == refusal.audit_id);
            named
                && refusal.code.as_deref() == Some(first.code.as_str())
                && refusal.stage.as_deref() == Some(first.stage.as_str())
        }
        AuditRecord::Outcome(outcome) => {
            failure.audit_id == Some(outcome.audit_id) && outcome.code.as_deref() == Some(first.code.as_str())
        }
        _ => false,
    };
    until(|| rig.trail().last().is_some_and(told)).await;
}

#[actix::test]
async fn every_fault_is_refused_with_its_code() {
    for fault in in_order().iter().chain(&others()) {
        check(&[fault], fault).await;
    }
}

#[actix::test]
async fn of_two_faults_the_earlier_stage_answers() {
    let all = in_order();
    for (index, first) in all.iter().enumerate() {
        for second in &all[index + 1..] {
            check(&[first, second], first).await;
        }
    }
}

#[test]
fn every_code_of_the_flow_is_in_the_table() {
    let in_table: BTreeSet<_> = in_order()
        .iter()
        .chain(&others())
        .map(|fault| fault.code.as_str())
        .collect();
    // What the flow cannot answer: codes of HTTP, of shapes, of stores and stages that are not part of it; and, tested
    // beside the table, an image that is asked for and absent, and an actor that has stopped.
    let elsewhere = [
        "invalid_json",
        "invalid_digest",
        "not_found",
        "method_not_allowed",
        "request_timeout",
        "unsupported_media_type",
        "headers_too_large",
        "idempotency_conflict",
        "idempotency_in_flight",
        "invalid_subject",
        "invalid_predicate",
        "state_unavailable",
        "shutting_down",
    ];
    for code in Code::ALL {
        let (here, there) = (
            in_table.contains(code.as_str()),
            elsewhere.contains(&code.as_str()),
        );
        assert!(here != there, "{}", code.as_str());
    }
}

#[actix::test]
async fn a_proof_is_good_once() {
    let rig = rig(|world| world.fakes.proofs.fresh.set(false));
    rig.sign().await.expect("a signature");
    assert_eq!(
        why(&rig.sign().await),
        (Stage::Authentication, Code::InvalidDpopProof)
    );
    assert_eq!(rig.signed(), 1);
}

#[actix::test]
async fn one_burst_and_no_more_is_signed() {
    let rig = rig(|world| {
        world.entitlement.limits.burst = 3;
        world.entitlement.limits.concurrency = 100;
    });
    let all = futures_util::future::join_all((0..10).map(|_| rig.sign())).await;
    assert_eq!(all.iter().filter(|result| result.is_ok()).count(), 3);
    assert!(
        all.iter()
            .filter(|result| result.is_err())
            .all(|result| why(result) == (Stage::Quota, Code::RateLimited))
    );
    assert_eq!(rig.signed(), 3);
}

#[actix::test]
async fn no_more_than_the_plan_allows_is_in_progress() {
    let rig = rig(|world| {
        world.entitlement.limits.concurrency = 2;
        world.fakes.keyful.sign_open.set(false);
    });
    let refused = std::cell::Cell::new(0);
    let count = |result: &Result<_, _>| refused.set(refused.get() + u32::from(result.is_err()));
    let calls = (0..5).map(|_| rig.sign().inspect(count));
    let mut all = Box::pin(futures_util::future::join_all(calls));
    assert!((&mut all).now_or_never().is_none());
    // Nobody is done with a permit before all have asked for one.
    let settled = until(|| rig.signed() + refused.get() == 5);
    futures_util::future::select(&mut all, Box::pin(settled)).await;
    rig.world.fakes.keyful.sign_open.set(true);
    let all = all.await;
    assert_eq!(all.iter().filter(|result| result.is_ok()).count(), 2);
    assert!(
        all.iter()
            .filter(|result| result.is_err())
            .all(|result| why(result) == (Stage::Quota, Code::ConcurrencyLimited))
    );
}

#[actix::test]
async fn errors_of_asking_have_their_codes() {
    for (error, code) in [
        (AskError::Overloaded, Code::Overloaded),
        (AskError::Deadline, Code::DeadlineExceeded),
        (AskError::Panicked, Code::Internal),
        (AskError::Abandoned, Code::Internal),
        (AskError::Stopped, Code::ShuttingDown),
    ] {
        assert_eq!(Refusal::from(error).code(), code);
    }
}
