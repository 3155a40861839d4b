//! One signature for all attempts at a request that have the same idempotency key (contract §8, ADR 0015).

use bytes::Bytes;

use super::answer::Answer;
use super::context::{Context, Idempotent, SignOptions};
use super::error::{AskedAt, Failure, Refusal, Stage};
use super::gates::timed;
use super::services::Services;
use super::signers::Signers;
use super::signing::stamp;
use super::state::{Entitled, Released, Session};
use crate::audit::Durability;
use crate::domain::digest::{ImageDigest, Sha256Digest};
use crate::domain::idempotency::{KeptAnswer, Scope, ScopedKey, framed};
use crate::domain::ids::AuditId;
use crate::domain::signing::{KeyState, SigningMode};
use crate::domain::statement::StatementDraft;
use crate::idempotency::{Hold, IdempotencyError, Keep, Take, Turn};
use crate::ports::Claim;
use crate::quota::{Charge, Lane};
use crate::runtime::AskError;

/// The operation that a key belongs to.
const ROUTE: &str = "POST /sign/dsse";
/// How often one request asks whose turn it is: once more for an answer that counts no more, and once more for another one
/// that was kept meanwhile.
const ASKS: usize = 3;

/// What a request holds of its key; nothing without one.
#[derive(Debug, Default)]
pub(super) struct Held {
    hold: Option<Hold>,
    earlier: Option<AuditId>,
}

/// Names a signature to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) audit_id: AuditId,
    pub(super) retry_of: Option<AuditId>,
}

/// What there is to do.
pub(super) enum Todo {
    /// To sign.
    Sign(Held),
    /// To answer as before.
    Repeat(AuditId, KeptAnswer),
}

/// Whose turn it is to sign this request.
pub(super) async fn take_turn(
    services: &Services,
    session: &Session<Entitled>,
    asked: Option<Idempotent>,
    (draft, scanner, options): (&StatementDraft, ImageDigest, &SignOptions),
    context: &Context,
) -> Result<Todo, Failure> {
    let Some(Idempotent { key, returned }) = asked else {
        return Ok(Todo::Sign(Held::default()));
    };
    timed(services, "idempotency", async {
        let token = session.principal().token();
        let scope = Scope {
            tenant: &token.tenant,
            installation: &token.installation,
            client: &token.client_id,
            subject: &token.subject,
            route: ROUTE,
        };
        let mut claim = Claim {
            key: ScopedKey::new(&scope, &key),
            request: request_digest(draft, scanner, options, returned),
            attempt: AuditId(services.ids.uuid()),
            void: None,
        };
        for _ in 0..ASKS {
            match asked_of_store(services.idempotency.ask(Take(claim), context.deadline).await)? {
                Turn::Yours { hold, earlier } => {
                    let hold = Some(hold);
                    return Ok(Todo::Sign(Held { hold, earlier }));
                }
                Turn::Kept { attempt, answer } if still_counts(&services.signers(), &answer) => {
                    charge_replay(services, session, context).await?;
                    services.observer.idempotency("replayed");
                    return Ok(Todo::Repeat(attempt, answer));
                }
                Turn::Kept { attempt, .. } => {
                    services.observer.idempotency("void");
                    claim.void = Some(attempt);
                }
            }
        }
        // Others were as quick every time: one of them will have an answer.
        Err(Failure::new(Stage::Idempotency, IdempotencyError::InFlight))
    })
    .await
}

/// What was signed with a key that is revoked, or that this service does not know any more, is no answer (ADR 0015). A
/// retired key's signatures go on to count.
fn still_counts(signers: &Signers, answer: &KeptAnswer) -> bool {
    let mut all = signers.backends.iter();
    let signer = all.find(|backend| backend.info.id == answer.backend);
    signer.is_some_and(|backend| backend.info.key == answer.key && backend.info.state != KeyState::Revoked)
}

/// A replay costs the plan nothing, but there are no more of them in a second than of signatures.
async fn charge_replay(
    services: &Services,
    session: &Session<Entitled>,
    context: &Context,
) -> Result<(), Failure> {
    let tenant = session.principal().token().tenant.clone();
    let shard = services.quota.of(tenant.as_str());
    let charge = Charge {
        tenant,
        limits: session.grant().entitlement().limits,
        lane: Lane::Replay,
    };
    let charged = shard.ask(charge, context.deadline).await;
    charged.asked_at(Stage::Quota).map(drop)
}

/// SHA-256 over the request without the proof of entitlement. What has one default for all has it here; mode, key and
/// timestamp that are left to the configuration are their own value.
fn request_digest(
    draft: &StatementDraft,
    scanner: ImageDigest,
    options: &SignOptions,
    returned: &'static str,
) -> Sha256Digest {
    let life = u64::try_from(options.min_life.as_millis()).unwrap_or(u64::MAX);
    framed(&[
        b"stella.ops signer request v1",
        &draft.content_digest().0,
        scanner.to_string().as_bytes(),
        options.mode.map_or("", SigningMode::as_str).as_bytes(),
        options.key.as_ref().map_or("", |key| key.as_str()).as_bytes(),
        &life.to_be_bytes(),
        match options.timestamp {
            None => b"",
            Some(true) => b"true",
            Some(false) => b"false",
        },
        returned.as_bytes(),
    ])
}

/// A store that does not answer in time is one that cannot be asked.
fn asked_of_store<T>(answer: Result<Result<T, IdempotencyError>, AskError>) -> Result<T, Failure> {
    match answer {
        Err(AskError::Deadline) => Err(Failure::new(Stage::Idempotency, IdempotencyError::Unavailable)),
        other => other.asked_at(Stage::Idempotency),
    }
}

/// The answer of an earlier attempt, with the payload of this one: their digests are equal.
pub(super) fn repeat(
    session: &Session<Entitled>,
    draft: StatementDraft,
    scanner: ImageDigest,
    audit_id: AuditId,
    kept: KeptAnswer,
) -> Result<Answer, Failure> {
    // As it was then, whatever is configured now.
    let stamp = kept.stamped.then(|| stamp(session, scanner));
    let statement = draft.finish(stamp.as_ref());
    if statement.digest != kept.payload {
        return Err(Failure::new(Stage::Idempotency, Refusal::Unformed));
    }
    Ok(Answer::Replayed {
        statement,
        audit_id,
        told: kept.told,
    })
}

/// What the signature will be called. With a key it is known beyond a crash, before the trail is, that there may be one.
pub(super) async fn begin(
    services: &Services,
    held: &mut Held,
    context: &Context,
) -> Result<Attempt, Failure> {
    let Some(hold) = &mut held.hold else {
        return Ok(Attempt {
            audit_id: AuditId(services.ids.uuid()),
            retry_of: None,
        });
    };
    timed(services, "idempotency_begin", async {
        let begun = services.idempotency.ask(hold.begin(), context.deadline).await;
        asked_of_store(begun)?;
        Ok(Attempt {
            audit_id: hold.attempt(),
            retry_of: held.earlier,
        })
    })
    .await
}

impl Held {
    /// How firmly the trail has to have the record of a failure: what the store of keys is told durably must be there.
    pub(super) fn failure_durability(&self) -> Durability {
        if self.hold.is_some() {
            Durability::Durable
        } else {
            Durability::InOrder
        }
    }

    /// No signature left: none was made, or it was withheld for want of its timestamp, and is in nobody's hands (ADR 0021). Where
    /// the trail says so, too, the next attempt need not hear of this one; it is charged, and signs anew.
    pub(super) fn failed(&mut self, failure: &Failure) {
        if let Some(hold) = self.hold.as_mut().filter(|_| failure.audit_id.is_some()) {
            hold.left_nothing();
        }
    }
}

/// Keeps the answer before it leaves. If the store fails now, it leaves all the same as long as no other attempt can have
/// the key: to hold it back would make every caller sign a second time, to let it go only one who lost it.
pub(super) async fn keep(
    services: &Services,
    held: Held,
    released: Released,
    told: Bytes,
    context: &Context,
) -> Result<Answer, Failure> {
    let Some(hold) = held.hold else {
        return Ok(Answer::Signed { released, told });
    };
    let identity = released.key().identity();
    let kept = KeptAnswer {
        stamped: services.policy.stamp,
        payload: released.statement().digest,
        backend: identity.backend.clone(),
        key: identity.key_digest(),
        told: told.clone(),
    };
    let until = hold.until();
    let result = timed(services, "idempotency_keep", async {
        // An answer too long to be kept is like one that could not be.
        let answer = kept
            .encode()
            .ok_or(Failure::new(Stage::Idempotency, IdempotencyError::Unavailable))?;
        let keep = Keep { hold, answer };
        asked_of_store(services.idempotency.insist(keep, context.deadline).await)
    })
    .await;
    match result {
        Ok(()) => Ok(Answer::Signed { released, told }),
        Err(failure) if failure.refusal == Refusal::Idempotency(IdempotencyError::InFlight) => {
            Err(unanswered(failure, &released))
        }
        Err(failure) if until.is_some_and(|until| until <= services.clock.monotonic()) => {
            Err(unanswered(failure, &released))
        }
        Err(failure) => {
            services.observer.idempotency("unkept");
            slog::warn!(services.log, "an answer leaves that is not kept for retries";
                "reason" => %failure.refusal, "auditId" => %released.audit_id(), "correlationId" => %context.correlation);
            Ok(Answer::Signed { released, told })
        }
    }
}

fn unanswered(mut failure: Failure, released: &Released) -> Failure {
    failure.audit_id = Some(released.audit_id());
    failure
}
