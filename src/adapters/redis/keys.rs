//! Idempotency keys that replicas share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use signer_actors::domain::ids::AuditId;
use signer_actors::ports::{Claim, Claimed, End, IdempotencyStore, Ownership, PortFuture, StateUnavailable};
use uuid::Uuid;

use super::failure::Failure;
use super::scripts::{Answer, BEGIN, CLAIM, Call, GIVE_UP, KEEP};
use super::{RedisState, Settings, millis};

/// A call about a key. Keys and tenants are hashed: the store learns no text of a caller.
fn call(settings: &Settings, claim: &Claim) -> Call {
    let id = hex::encode(claim.key.id());
    Call::default()
        .key(settings.key("birth"))
        .key(settings.key(&format!("idem:{id}")))
        .key(settings.key("idem-all"))
        .key(settings.key(&format!("idem-of:{}", hex::encode(claim.key.share()))))
        .bytes(id)
        .bytes(claim.attempt.0.as_bytes().as_slice())
}

fn strange(answer: &Answer) -> Failure {
    Failure::Answer(format!("an unexpected answer {:?}", answer.word))
}

fn attempt(bytes: &[u8]) -> Option<AuditId> {
    Uuid::from_slice(bytes).ok().map(AuditId)
}

fn claimed(answer: Answer) -> Result<Claimed, Failure> {
    let claimed = match (answer.word.as_str(), answer.texts.as_slice()) {
        ("ok", []) => Some(Claimed::Taken { earlier: None }),
        ("again", [earlier]) => attempt(earlier).map(|earlier| Claimed::Taken {
            earlier: Some(earlier),
        }),
        ("kept", [by, kept]) => attempt(by).map(|attempt| Claimed::Kept {
            attempt,
            answer: Bytes::copy_from_slice(kept),
        }),
        ("other", []) => Some(Claimed::OtherRequest),
        ("busy", []) => Some(Claimed::InFlight),
        ("full", []) => Some(Claimed::Full),
        _ => None,
    };
    claimed.ok_or_else(|| strange(&answer))
}

fn owned(answer: Answer) -> Result<Ownership, Failure> {
    match answer.word.as_str() {
        "ok" => Ok(Ownership::Own),
        "taken" => Ok(Ownership::TakenOver),
        _ => Err(strange(&answer)),
    }
}

impl IdempotencyStore for RedisState {
    fn claim(&self, claim: Claim) -> PortFuture<Result<Claimed, StateUnavailable>> {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let settings = &link.settings;
            let call = call(settings, &claim)
                .bytes(claim.request.0)
                .number(millis(settings.claim_life))
                .number(millis(settings.answer_ttl))
                .number(settings.answer_capacity)
                .bytes(
                    claim
                        .void
                        .map_or_else(Vec::new, |void| void.0.as_bytes().to_vec()),
                );
            let answer = link.run(CLAIM, call).await?;
            Ok(link.judged(CLAIM, claimed(answer))?)
        })
    }

    fn begin(&self, claim: Claim) -> PortFuture<Result<Ownership, StateUnavailable>> {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let settings = &link.settings;
            let call = call(settings, &claim)
                .bytes(claim.request.0)
                .number(millis(settings.claim_life))
                .number(millis(settings.answer_ttl));
            let answer = link.run(BEGIN, call).await?;
            Ok(link.judged(BEGIN, owned(answer))?)
        })
    }

    fn keep(&self, claim: Claim, answer: Bytes) -> PortFuture<Result<Ownership, StateUnavailable>> {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let settings = &link.settings;
            let call = call(settings, &claim)
                .bytes(claim.request.0)
                .bytes(answer)
                .number(millis(settings.answer_ttl));
            let answer = link.run(KEEP, call).await?;
            Ok(link.judged(KEEP, owned(answer))?)
        })
    }

    fn give_up(&self, claim: Claim, end: End) -> PortFuture<Result<(), StateUnavailable>> {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let end = match end {
                End::Nothing => "nothing",
                End::Unknown => "unknown",
            };
            let call = call(&link.settings, &claim).bytes(end);
            let answer = link.run(GIVE_UP, call).await?;
            Ok(link.judged(GIVE_UP, owned(answer)).map(drop)?)
        })
    }

    /// The scripts forget what has expired.
    fn tend(&self) -> PortFuture<()> {
        Box::pin(std::future::ready(()))
    }

    fn claim_life(&self) -> Option<Duration> {
        Some(self.link.settings.claim_life)
    }
}
