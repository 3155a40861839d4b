//! The flow with fakes of every port.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::Arbiter;
use futures_util::FutureExt;
use serde_json::value::RawValue;

use super::state::{Released, Session};
use super::*;
use crate::domain::audit::{AuditRecord, OutcomeKind};
use crate::domain::caller::{AccessToken, Confirmation, Credentials, Scheme, Scope, VerifiedProof};
use crate::domain::code::Code;
use crate::domain::digest::{ImageDigest, Sha256Digest};
use crate::domain::entitlement::{CalendarTag, Entitlement, Features, VersionWindow};
use crate::domain::envelope::{PAYLOAD_TYPE, pae};
use crate::domain::ids::KeyId;
use crate::domain::release::{ReleaseReport, Verdict};
use crate::domain::signing::{KeyState, SigningMode};
use crate::domain::statement::{RELEASE_SIGNATURE_TYPE, StatementDraft};
use crate::domain::tenant::InstallationId;
use crate::entitlement::Poe;
use crate::ports::{
    BackendError, Introspection, PoeRejection, ProofRejection, ReleaseError, SourceUnavailable,
    TokenRejection,
};
use crate::quota::{Admit, QuotaError};
use crate::runtime::{AskError, Deadline};
use crate::system::{Controls, Placement, Tuning, start_controlled};
use crate::testing::{self, Fakes, until};

mod batch;
mod dry_run;
mod failing;
mod faults;
mod idempotent;
mod recent;
mod reload;
mod remembered;
mod strangers;
mod timestamps;

/// Everything a request depends on, before the service starts. Tests turn what they need.
struct World {
    fakes: Fakes,
    tuning: Tuning,
    credentials: Credentials,
    token: AccessToken,
    proof: VerifiedProof,
    entitlement: Entitlement,
    report: ReleaseReport,
    predicate_type: String,
    predicate: String,
    poe: Option<Poe>,
    options: SignOptions,
    idempotency: Option<Idempotent>,
    scanner: ImageDigest,
    patience: Duration,
    /// Keep the dials of tokens, local verification and reports as the test set them.
    own_dials: [bool; 3],
}

impl Default for World {
    fn default() -> Self {
        Self {
            fakes: Fakes::default(),
            tuning: testing::tuning(),
            credentials: testing::credentials(),
            token: testing::access_token(),
            proof: testing::proof(),
            entitlement: testing::entitlement(),
            report: testing::report(Verdict::Trusted),
            predicate_type: "https://cyclonedx.org/bom".into(),
            predicate: r#"{"components":[]}"#.into(),
            poe: Poe::new("poe"),
            options: SignOptions::default(),
            idempotency: None,
            scanner: testing::image(),
            patience: Duration::from_secs(5),
            own_dials: [false; 3],
        }
    }
}

/// A service that runs, and the request it is asked.
struct Rig {
    world: World,
    services: Services,
    controls: Controls,
}

/// With every actor on the test's own arbiter, so that what happens when is certain.
fn rig(change: impl FnOnce(&mut World)) -> Rig {
    let here = Arbiter::current();
    rig_on(
        Placement {
            state: here.clone(),
            more_state: vec![here.clone()],
            audit: here,
        },
        change,
    )
}

fn rig_on(placement: Placement, change: impl FnOnce(&mut World)) -> Rig {
    let mut world = World::default();
    change(&mut world);
    let fakes = &world.fakes;
    if !world.own_dials[0] {
        fakes.authority.token.set(Ok(world.token.clone()));
    }
    if !world.own_dials[1] {
        fakes.licensing.local.set(Ok(world.entitlement.clone()));
    }
    if !world.own_dials[2] {
        fakes.releases.answer.set(Ok(world.report.clone()));
    }
    if fakes.proofs.proof.get().is_ok() {
        fakes.proofs.proof.set(Ok(world.proof.clone()));
    }
    let (services, controls) = start_controlled(fakes.parts(), world.tuning.clone(), &placement);
    Rig {
        world,
        // Without a desk, where nothing is written before its moment.
        services: Services {
            desk: None,
            ..services.on_worker(None)
        },
        controls,
    }
}

fn draft(predicate_type: &str, predicate: &str) -> StatementDraft {
    let subjects = format!(
        r#"[{{"name":"app","digest":{{"sha256":"{}"}}}}]"#,
        "ab".repeat(32)
    );
    let subjects = serde_json::from_str(&subjects).expect("subjects");
    let predicate = RawValue::from_string(predicate.to_owned()).expect("a predicate");
    StatementDraft::new(subjects, predicate_type.to_owned(), &*predicate).expect("a draft")
}

impl Rig {
    fn context(&self) -> Context {
        Context {
            deadline: Deadline::after(self.world.patience),
            ..testing::context()
        }
    }

    fn request(&self) -> SignRequest {
        SignRequest {
            draft: draft(&self.world.predicate_type, &self.world.predicate),
            scanner: self.world.scanner,
            poe: self.world.poe.clone(),
            options: self.world.options.clone(),
            idempotency: self.world.idempotency.clone(),
        }
    }

    async fn authenticate(&self, scope: Scope) -> Result<Session<state::Authenticated>, Failure> {
        let session = Session::new(self.world.credentials.clone());
        authenticate(&self.services, session, scope, &self.context()).await
    }

    async fn sign(&self) -> Result<Released, Failure> {
        match self.answer(self.request()).await? {
            Answer::Signed { released, .. } => Ok(released),
            other => panic!("{other:?}"),
        }
    }

    /// Told is the audit id, so that it is seen whose answer it was.
    async fn answer(&self, request: SignRequest) -> Result<Answer, Failure> {
        let context = self.context();
        let session = self.authenticate(Scope::Sign).await?;
        let tell = |released: &Released| Ok(released.audit_id().to_string().into());
        let services = self.services.clone();
        // As a handler does: the work goes on whoever waits.
        let work = actix::spawn(async move { sign(&services, session, request, &context, tell).await });
        work.await.expect("a panic is answered")
    }

    async fn probe(&self) -> Result<Probe, Failure> {
        let context = self.context();
        let session = self.authenticate(Scope::Sign).await?;
        probe(&self.services, session, self.request(), &context).await
    }

    /// What is durable, in order.
    fn trail(&self) -> Vec<AuditRecord> {
        let read = |line: &Vec<u8>| serde_json::from_slice(line).expect("a record");
        self.world.fakes.log.durable.get().iter().map(read).collect()
    }

    fn signed(&self) -> u32 {
        let count = |backend: &testing::FakeBackend| backend.signed.load(Ordering::SeqCst);
        count(&self.world.fakes.keyful) + count(&self.world.fakes.keyless)
    }

    /// Whether one more permit could be had under this concurrency.
    async fn has_room(&self, concurrency: u32) -> bool {
        let tenant = self.world.token.tenant.clone();
        let mut limits = self.world.entitlement.limits;
        limits.concurrency = concurrency;
        let ask = Admit {
            tenant: tenant.clone(),
            limits,
            artifact_bytes: 1,
        };
        let shard = self.services.quota.of(tenant.as_str());
        let (_, admission) = shard.ask(ask, self.context().deadline).await.expect("an answer");
        match admission {
            Ok(_) => true,
            Err(QuotaError::Concurrency { .. }) => false,
            Err(other) => panic!("{other}"),
        }
    }
}

fn says_signed(record: &AuditRecord) -> bool {
    matches!(record, AuditRecord::Outcome(outcome) if outcome.outcome == OutcomeKind::Signed)
}

/// Stage and code of a failure.
fn why<T: std::fmt::Debug>(result: &Result<T, Failure>) -> (Stage, Code) {
    let failure = result.as_ref().expect_err("a refusal");
    (failure.stage, failure.refusal.code())
}

fn features(list: &[&str]) -> Features {
    Features::new(list.iter().map(|feature| (*feature).to_owned()).collect())
}

#[actix::test]
async fn a_signature_leaves_with_its_facts_after_its_records() {
    let rig = rig(|world| {
        world.tuning.audit_linger = Duration::from_millis(5);
        world.entitlement.limits.concurrency = 1;
    });
    let released = rig.sign().await.expect("a signature");
    let log = &rig.world.fakes.log;
    assert_eq!(log.syncs.load(Ordering::SeqCst), 1, "one sync for both records");
    let trail = rig.trail();
    let [AuditRecord::Intent(intent), AuditRecord::Outcome(outcome)] = &trail[..] else {
        panic!("{trail:?}");
    };
    assert_eq!(
        (intent.audit_id, outcome.audit_id),
        (released.audit_id(), released.audit_id())
    );
    assert_eq!(outcome.outcome, OutcomeKind::Signed);
    let payload = &released.statement().payload;
    assert_eq!(intent.payload_digest, Sha256Digest::of(payload).to_hex());
    let signature = &released.signature().0;
    assert_eq!(
        outcome.signature_digest,
        Some(Sha256Digest::of(signature).to_hex())
    );
    assert_eq!(
        *signature,
        Sha256Digest::of(&pae(PAYLOAD_TYPE, payload)).0,
        "over the PAE"
    );
    assert_eq!(intent.caller.tenant, "acme");
    assert_eq!(intent.caller.sender_binding, "dpop");
    assert_eq!((intent.plan.as_str(), intent.backend.as_str()), ("pro", "file"));
    assert_eq!(intent.scanner_digest, testing::image().to_string());
    assert!(intent.scanner_bound && released.release().bound());
    assert_eq!(
        released.rate().map(|rate| (rate.burst, rate.remaining)),
        Some((200, 199))
    );
    assert_eq!(released.session().grant().entitlement().plan, "pro");
    let text = String::from_utf8_lossy(payload).into_owned();
    for stamp in [
        r#""stella.ops/tenant":"acme""#,
        r#""stella.ops/installation":"acme-1""#,
    ] {
        assert!(text.contains(stamp), "{text}");
    }
    assert!(
        rig.has_room(1).await,
        "the permit is given back, though the answer is still held"
    );
    drop(released);
    rig.sign().await.expect("another one");
}

#[actix::test]
async fn equal_requests_give_equal_payloads() {
    let spelled = [
        r#"{"b":[1,2],"a":"\u00e9"}"#,
        "{ \"a\": \"é\",\n\"b\": [1.0, 2e0] }",
    ];
    let mut payloads = Vec::new();
    for predicate in spelled {
        let rig = rig(|world| world.predicate = predicate.into());
        for _ in 0..2 {
            payloads.push(rig.sign().await.expect("a signature").statement().payload.clone());
        }
    }
    assert!(payloads.iter().all(|payload| *payload == payloads[0]));
}

#[actix::test]
async fn mode_and_key_choose_the_backend() {
    let other = KeyId::parse("fulcio");
    type Row = (fn(&mut World), &'static str);
    let rows: [Row; 4] = [
        (|_| (), "file"),
        (|world| world.options.mode = Some(SigningMode::Keyless), "fulcio"),
        (|world| world.options.key = KeyId::parse("file"), "file"),
        (
            |world| {
                // Both keyful: the second needs a feature of its own.
                world.fakes.keyless.info.mode = SigningMode::Kms;
                world.options.key = KeyId::parse("fulcio");
                world.entitlement.features = features(&["mode:kms", "key:fulcio", "predicate:*"]);
            },
            "fulcio",
        ),
    ];
    for (change, expected) in rows {
        let released = rig(change).sign().await.expect("a signature");
        assert_eq!(released.key().identity().backend.as_str(), expected);
    }
    let default = rig(|world| {
        world.fakes.keyless.info.mode = SigningMode::Kms;
        world.tuning.defaults.key = other;
    });
    let released = default.sign().await.expect("no feature for the default key");
    assert_eq!(released.key().identity().backend.as_str(), "fulcio");
}

#[actix::test]
async fn of_signatures_that_need_not_be_verified_a_sample_is() {
    let rig = rig(|world| {
        world.fakes.keyful.verify_always = false;
        world.tuning.policy.verify_sample = 16;
    });
    rig.world.fakes.keyful.corrupt.set(true);
    // Fake identifiers count, so one in sixteen consecutive ones is in the sample.
    let mut failed = 0;
    for _ in 0..16 {
        failed += u32::from(rig.sign().await.is_err());
        if failed > 0 {
            break;
        }
    }
    assert_eq!(failed, 1);
}

#[actix::test]
async fn a_remote_backend_signs_only_what_is_durable() {
    for (remote, calls) in [(true, 0), (false, 1)] {
        let rig = rig(|world| {
            world.fakes.keyful.info.remote = remote;
            world.tuning.audit_linger = Duration::from_millis(2);
            world.fakes.log.syncs_work.set(false);
        });
        assert_eq!(why(&rig.sign().await), (Stage::Audit, Code::AuditUnavailable));
        assert_eq!(rig.signed(), calls, "remote: {remote}");
        assert!(!rig.trail().iter().any(says_signed));
    }
}

#[actix::test]
async fn a_body_is_the_one_that_the_proof_names() {
    let rig = rig(|world| world.proof.body = Some(Sha256Digest::of(b"body")));
    let session = rig.authenticate(Scope::Sign).await.expect("a caller");
    assert!(session.covers_body(b"body") && !session.covers_body(b"bodY"));
    assert_eq!(Refusal::BodyMismatch.code(), Code::InvalidDpopProof);
}

#[actix::test]
async fn a_mutual_tls_caller_needs_no_proof() {
    let certificate = Sha256Digest([5; 32]);
    let rig = rig(|world| {
        world.token.confirmation = Confirmation {
            jkt: None,
            x5t_s256: Some(certificate),
        };
        world.credentials.scheme = Scheme::Bearer;
        world.credentials.proof = None;
        world.credentials.client_certificate = Some(certificate);
    });
    for _ in 0..2 {
        rig.sign().await.expect("a signature");
    }
}

#[actix::test]
async fn rotated_keys_of_the_authority_are_fetched() {
    let rig = rig(|_| ());
    rig.sign().await.expect("a signature");
    let authority = &rig.world.fakes.authority;
    authority.published.set(Some(vec!["k2".into()]));
    authority.kid.set("k2".into());
    assert_eq!(
        why(&rig.sign().await),
        (Stage::Authentication, Code::InvalidToken),
        "cool-down"
    );
    rig.world.fakes.clock.advance(Duration::from_secs(30));
    rig.sign().await.expect("a signature");
    assert_eq!(authority.fetches.load(Ordering::SeqCst), 2);
}

#[actix::test]
async fn actors_on_arbiters_of_their_own_lose_nothing() {
    const COUNT: usize = 200;
    let arbiters = [Arbiter::new(), Arbiter::new(), Arbiter::new()];
    let [state, more, audit] = arbiters.each_ref().map(Arbiter::handle);
    let placement = Placement {
        state,
        more_state: vec![more],
        audit,
    };
    let rig = rig_on(placement, |world| {
        world.entitlement.limits.concurrency = 1000;
        world.entitlement.limits.burst = 1000;
        world.tuning.replay_capacity = 100_000;
        world.tuning.audit_linger = Duration::from_millis(1);
        // All of them may wait for the verdict about the one scanner image.
        world.tuning.mailbox_capacity = 4 * COUNT;
        world.patience = Duration::from_secs(60);
    });
    let all = futures_util::future::join_all((0..COUNT).map(|_| rig.sign())).await;
    for result in all {
        result.expect("a signature");
    }
    let trail = rig.trail();
    assert_eq!(
        (
            trail.len(),
            trail.iter().filter(|record| says_signed(record)).count()
        ),
        (2 * COUNT, COUNT)
    );
    let mut open = BTreeSet::new();
    for record in &trail {
        match record {
            AuditRecord::Intent(intent) => assert!(open.insert(intent.audit_id)),
            AuditRecord::Outcome(outcome) => assert!(open.remove(&outcome.audit_id), "an intent comes first"),
            other => panic!("{other:?}"),
        }
    }
    assert!(open.is_empty());
    assert!(
        rig.world.fakes.log.syncs.load(Ordering::SeqCst) < 2 * COUNT as u32,
        "records share syncs"
    );
    assert_eq!(rig.services.audit.in_use() + rig.services.referrer.in_use(), 0);
    for arbiter in arbiters {
        arbiter.stop();
        arbiter.join().expect("the arbiter ends");
    }
    assert_eq!(
        why(&rig.sign().await),
        (Stage::Authentication, Code::ShuttingDown)
    );
}
