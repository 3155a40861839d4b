//! The table: a code, what the contract says of it, and a request that provokes it.

use std::pin::Pin;
use std::time::Duration;

use signer_actors::domain::code::Code;

use super::fakes;
use crate::support::{Answer, Call, Child, Draft, RETIRED_KEY, Raw, Says, TIMESTAMPS, TestApp, World};

type Provoke = for<'a> fn(&'a TestApp) -> Pin<Box<dyn Future<Output = Answer> + 'a>>;

/// A code with a request that provokes it.
pub(super) struct Case {
    pub(super) code: Code,
    pub(super) status: u16,
    pub(super) stage: &'static str,
    pub(super) meaning: &'static str,
    pub(super) remedy: &'static str,
    pub(super) provoke: Provoke,
}

macro_rules! cases {
    ($($code:ident $status:literal $stage:literal, $meaning:literal, $remedy:literal, |$app:ident| $provoke:expr;)+) => {
        /// Every code that can be met.
        pub(super) const CASES: &[Case] = &[$(Case {
            code: Code::$code,
            status: $status,
            stage: $stage,
            meaning: $meaning,
            remedy: $remedy,
            provoke: |$app| Box::pin(async move { $provoke }),
        }),+];
    };
}

cases! {
    InvalidRequest 400 "shape",
        "the request makes no sense here: an unknown or missing member, an unknown `keyId`, a mode that is not configured, a repository that is not ours",
        "correct what `detail` names",
        |app| app.sign().json(|body| body["extra"] = 1.into()).send().await;
    InvalidJson 400 "body",
        "the body is not strict JSON: syntax, a duplicate member, nesting beyond 64, text that is not UTF-8",
        "send JSON as RFC 7493 wants it",
        |app| app.sign().bytes(r#"{"subject":1,"subject":2}"#).send().await;
    InvalidDigest 400 "shape",
        "a digest is not lowercase hexadecimal of its algorithm's length",
        "correct the digest",
        |app| app.sign().json(|body| body["scannerImageDigest"] = "sha256:AB".into()).send().await;
    InvalidToken 401 "authentication",
        "the operational token is absent, expired, not for this service, not from the Authority, or not bound to this sender",
        "obtain a new token from the Authority; without a token the challenge names no error",
        |app| app.sign().token(|token| token.claim("aud", "another")).send().await;
    InvalidDpopProof 401 "authentication",
        "the DPoP proof is absent, used before, or not for this request",
        "make a new proof for every request, with the key that the token is bound to",
        |app| {
            let token = app.mint.token(|_| ());
            let proof = app.signing_proof(&token);
            let call = || app.sign().raw_token(token.clone()).proofs(std::slice::from_ref(&proof));
            call().send().await.ok();
            call().send().await
        };
    UseDpopNonce 401 "authentication",
        "the proof must carry a nonce of this server",
        "repeat with the value of `DPoP-Nonce` as claim `nonce` of a new proof",
        |_app| {
            let app = TestApp::with("auth.dpop.nonce = \"required\"").await;
            app.sign().send().await
        };
    InsufficientScope 403 "authentication",
        "the token lacks the scope that `WWW-Authenticate` names",
        "obtain a token with that scope",
        |app| app.sign().token(|token| token.claim("scope", "signer.verify")).send().await;
    TenantMismatch 403 "entitlement",
        "token and proof of entitlement belong to different tenants or installations",
        "use the proof of entitlement of the token's own installation",
        |app| app.sign().poe(|poe| poe.claim("tid", "globex")).send().await;
    EntitlementRequired 403 "entitlement",
        "the request carries no proof of entitlement",
        "send `poe`",
        |app| app.sign().json(|body| { body.as_object_mut().unwrap().remove("poe"); }).send().await;
    EntitlementInvalid 403 "entitlement",
        "the proof of entitlement is not from Licensing, not for this service, malformed, bound to another sender, or of a licence that the licence file does not list",
        "obtain a new one from Licensing",
        |app| app.sign().poe(|poe| poe.claim("aud", "another")).send().await;
    EntitlementExpired 403 "entitlement",
        "the proof of entitlement has expired",
        "obtain a new one from Licensing",
        |app| app.sign().poe(Draft::expired).send().await;
    EntitlementRevoked 403 "entitlement",
        "Licensing says that the licence does not hold any more",
        "talk to Licensing",
        |app| {
            app.licensing.says(Says::Inactive);
            let answer = app.sign().send().await;
            app.licensing.says(Says::Active);
            answer
        };
    IdempotencyConflict 409 "idempotency",
        "the `Idempotency-Key` was used for another request, by content or options",
        "use a new key for a new request",
        |app| {
            app.sign().field("idempotency-key", "conflict").send().await.ok();
            app.sign().field("idempotency-key", "conflict").option("expirySeconds", 61).send().await
        };
    IdempotencyInFlight 409 "idempotency",
        "a request with this `Idempotency-Key` is in progress; though not `retryable` by its status, the same request will be answered once that one has ended",
        "repeat it after `Retry-After`, which is a second",
        |_app| second_of_one_key().await;
    VersionNotEntitled 403 "release",
        "the plan does not cover the scanner's release",
        "use a scanner release inside the plan's version window",
        |app| {
            let window = serde_json::json!({ "min": "2026.01", "max": "2026.09" });
            app.sign().poe(|poe| poe.claim("versionWindow", window)).send().await
        };
    ModeNotEntitled 403 "entitlement",
        "the plan does not cover the signing mode or the key, or the key is retired",
        "leave `keyId` out, choose another mode, or extend the plan",
        |app| {
            let features = ["mode:kms", "predicate:*", "key:main-2025"];
            let call = app.sign().option("keyId", RETIRED_KEY);
            call.poe(|poe| poe.claim("features", features.as_slice())).send().await
        };
    PredicateNotAllowed 403 "entitlement",
        "the plan or this service does not cover the predicate type",
        "use a covered type, extend the plan, or the operator extends `signing.predicate_types`",
        |app| app.sign().json(|body| body["predicateType"] = "https://other.example/v1".into()).send().await;
    ReleaseUntrusted 403 "release",
        "the scanner image is unsigned, signed by someone else, or in no configured repository",
        "use a released scanner image",
        |app| {
            let unsigned = app.neighbours.registry.unsigned_digest.clone();
            let call = app.sign().token(|token| token.claim("scanner_image", unsigned.clone()));
            call.json(|body| body["scannerImageDigest"] = unsigned.into()).send().await
        };
    ScannerMismatch 403 "release",
        "`scannerImageDigest` is not the image that the token was issued to",
        "name the image that runs",
        |app| {
            let other = format!("sha256:{}", "cd".repeat(32));
            app.sign().json(|body| body["scannerImageDigest"] = other.into()).send().await
        };
    NotFound 404 "http",
        "nothing is here, or the image is in no configured repository",
        "correct the path or the digest",
        |app| Call::get(app, "/api/v1/signer/nothing", "").send().await;
    MethodNotAllowed 405 "http",
        "the method is not allowed here",
        "use the method that `Allow` names",
        |app| {
            let answer = Call::get(app, crate::support::SIGN, "").send().await;
            // RFC 9110 §15.5.6: MUST.
            assert_eq!(answer.header("allow"), Some("POST"));
            answer
        };
    RequestTimeout 408 "body",
        "the head or the body of the request did not arrive in time",
        "send it faster, or a smaller one",
        |_app| {
            let app = TestApp::with("server.body_timeout = \"300ms\"").await;
            let mut raw = Raw::connect(app.base()).await;
            let body = raw.head(app.sign(), &["content-length: 2000"]).await;
            raw.send(&body[..20]).await;
            raw.answer().await.unwrap()
        };
    ArtifactTooLarge 413 "quota",
        "the body is larger than the service takes, or the predicate than the plan allows",
        "split it, or extend the plan",
        |app| app.sign().tenant("small", [100, 100, 4, 8]).send().await;
    UnsupportedMediaType 415 "http",
        "the body is not `application/json`, or it is compressed",
        "set `Content-Type: application/json` and leave `Content-Encoding` out",
        |app| app.sign().content_type(Some("text/plain")).send().await;
    InvalidSubject 422 "shape",
        "a subject has no digest, too many members or an annotation of ours; or there are none, or more than 1024",
        "correct the subject that `detail` names",
        |app| app.sign().json(|body| body["subject"] = serde_json::json!([])).send().await;
    InvalidPredicate 422 "shape",
        "the predicate is no object or an empty one, or has a number that canonical JSON would change, or a member name beyond 1 KiB",
        "correct what `detail` names; write such numbers as strings",
        |app| app.sign().json(|body| body["predicate"] = "text".into()).send().await;
    RateLimited 429 "quota",
        "the plan's rate is used up; at stage `release` the tenant names unknown images too fast (`release.lookup_qps`)",
        "wait for `Retry-After`",
        |app| {
            let call = || app.sign().tenant("slow", [1, 1, 4, 1000]);
            call().send().await.ok();
            call().send().await
        };
    ConcurrencyLimited 429 "quota",
        "as many requests of the tenant are in progress as the plan allows",
        "wait for one of them to end",
        |_app| concurrency_limited().await;
    HeadersTooLarge 431 "http",
        "the header section has more than 64 fields or 32 KiB",
        "send fewer or shorter fields",
        |app| {
            let mut call = app.sign();
            for number in 0..64 {
                call = call.field(&format!("x-filler-{number}"), "1");
            }
            call.send().await
        };
    Internal 500 "http",
        "a defect of the service",
        "report the correlation id",
        |app| {
            let base = fakes::brittle();
            let digest = signer_actors::testing::image().to_string();
            let call = || {
                app.sign()
                    .json(|body| body["scannerImageDigest"] = digest.clone().into())
            };
            let answer = call().try_send(&base).await.unwrap();
            // One request is lost, the service is not.
            assert_eq!(call().try_send(&base).await.unwrap().status, 200);
            answer
        };
    RegistryError 502 "release",
        "the registry left a doubt about the scanner image, which therefore counts as untrusted",
        "try again; if it stays, the operator looks at the registry",
        |_app| {
            let app = TestApp::start().await;
            app.registry.answers(500);
            app.sign().send().await
        };
    SigningBackendError 502 "signing",
        "the signing backend failed, or made a signature that does not verify",
        "try again; if it stays, the operator looks at the backend",
        |_app| {
            let world = World::new("").await;
            world.fulcio.babbles();
            let app = TestApp::within(world).await;
            app.sign().option("signingMode", "keyless").send().await
        };
    TimestampError 502 "timestamp",
        "the timestamp authority did not answer, or gave no timestamp over the signature; the signature does not leave",
        "try again; if it stays, the operator looks at the authority",
        |_app| {
            let app = TestApp::with(TIMESTAMPS).await;
            app.timestamps.answers(400);
            app.sign().send().await
        };
    AuthorityUnavailable 503 "authentication",
        "the Authority's keys cannot be fetched",
        "try again shortly",
        |_app| {
            // Port 1 of loopback: nobody listens there.
            let changes = "auth.jwks_file = \"\"\nauth.jwks_uri = \"http://127.0.0.1:1/jwks\"";
            TestApp::with(changes).await.sign().send().await
        };
    EntitlementUnavailable 503 "entitlement",
        "Licensing does not answer, and no grace covers the entitlement; in mode `offline`, no licence file holds now",
        "try again shortly",
        |app| {
            app.licensing.says(Says::Status(500));
            let answer = app.sign().send().await;
            app.licensing.says(Says::Active);
            answer
        };
    SigningBackendUnavailable 503 "signing",
        "the signing backend is down, sealed or throttled, or no certificate lives as long as `expirySeconds` asks",
        "try again shortly, or ask for a smaller `expirySeconds`",
        |_app| {
            let world = World::new("").await;
            world.fulcio.answers(503);
            let app = TestApp::within(world).await;
            app.sign().option("signingMode", "keyless").send().await
        };
    AuditUnavailable 503 "audit",
        "the audit trail cannot be written, so nothing is signed; or a record is not published yet",
        "try again shortly; the operator looks at the disk",
        |_app| audit_unavailable().await;
    Overloaded 503 "authentication",
        "the service, or the tenant's share of it, is full",
        "try again with backoff",
        |_app| {
            let app = TestApp::with("auth.dpop.replay_capacity = 1024").await;
            // One tenant holds at most an eighth of the store (contract §3).
            for _ in 0..128 {
                app.referrers("").send().await.refused(400, "invalid_request", "shape");
            }
            app.referrers("").send().await
        };
    StateUnavailable 503 "authentication",
        "what is shared by replicas, or the store of idempotency keys, cannot be reached, so nobody knows what was used or answered before; nothing is signed",
        "try again shortly, or without `Idempotency-Key`; the operator looks at the store",
        |_app| TestApp::within(crate::shared::world(9).await).await.sign().send().await;
    ShuttingDown 503 "http",
        "this replica ends",
        "try another one",
        |_app| {
            let app = TestApp::start().await;
            app.service.as_ref().unwrap().state.lifecycle.drain();
            app.sign().send().await
        };
    DeadlineExceeded 504 "release",
        "the request took too long; nothing was signed",
        "try again",
        |_app| {
            let app = TestApp::with("release.timeout = \"200ms\"").await;
            app.registry.hold();
            let answer = app.sign().send().await;
            app.registry.open();
            answer
        };
}

/// One attempt is held by the registry while the next one comes.
async fn second_of_one_key() -> Answer {
    let app = TestApp::start().await;
    app.registry.hold();
    let call = || app.sign().field("idempotency-key", "in-flight");
    let first = call().send();
    let second = async {
        crate::support::until("the first attempt at the registry", || {
            (app.registry.seen() > 0).then_some(())
        })
        .await;
        let answer = call().send().await;
        app.registry.open();
        answer
    };
    let (first, second) = futures_util::join!(first, second);
    first.ok();
    second
}

/// One request in flight, held by the registry, is all that the plan allows.
async fn concurrency_limited() -> Answer {
    let app = TestApp::start().await;
    app.registry.hold();
    let call = || app.sign().tenant("single", [100, 100, 1, 1000]);
    let second = async {
        crate::support::until("the first request at the registry", || {
            (app.registry.seen() > 0).then_some(())
        })
        .await;
        let answer = call().send().await;
        app.registry.open();
        answer
    };
    let (first, second) = futures_util::join!(call().send(), second);
    first.ok();
    // The permit is back once the work is done.
    call().send().await.ok();
    second
}

/// A process whose files may not grow any more.
async fn audit_unavailable() -> Answer {
    let world = World::new("").await;
    let child = Child::serve_with_file_limit(&world, "full", 8);
    let signing = async {
        loop {
            let answer = world.sign().try_send(&child.base).await.unwrap();
            if answer.status != 200 {
                return answer;
            }
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), signing).await;
    waited.expect("8 KiB are full soon")
}
