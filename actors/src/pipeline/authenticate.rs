//! The first gate: who asks, from the headers alone.

use std::sync::Arc;

use super::context::Context;
use super::error::{AskedAt, At, Failure, Refusal, Stage};
use super::gates::timed;
use super::services::Services;
use super::state::{Authenticated, Session, Unverified};
use super::turns::{Party, turn_of};
use crate::auth::{AuthError, AuthorityKeys, KeysFor, SpendProof, check_binding, proof_required};
use crate::domain::caller::{AccessToken, PresentedToken, Scope};
use crate::evidence::Principal;
use crate::ports::TokenRejection;
use crate::runtime::AskError;

/// How far a proof's `iat` may lie ahead of our clock (contract §3).
const PROOF_AHEAD_SECONDS: i64 = 30;

/// From the headers alone: token, sender binding, scope, and last the single use of the proof. Before this has passed,
/// no byte of a body is read.
pub async fn authenticate(
    services: &Services,
    session: Session<Unverified>,
    scope: Scope,
    context: &Context,
) -> Result<Session<Authenticated>, Failure> {
    timed(services, "authenticate", async {
        let credentials = session.credentials();
        let token = known_token(services, &credentials.token, context).await?;
        let proof = if proof_required(&token, credentials).at(Stage::Authentication)? {
            let turn = turn_of(&Party::Tenant(token.tenant.clone()), context.deadline).await;
            turn.at(Stage::Authentication)?;
            // As of now: waiting for a turn makes no proof younger.
            let proof = services
                .proofs
                .verify(credentials, &token, services.clock.now())
                .map_err(AuthError::from);
            Some(proof.at(Stage::Authentication)?)
        } else {
            None
        };
        let binding = check_binding(&token, credentials, proof.as_ref()).at(Stage::Authentication)?;
        // Who may sign may ask, too (contract §2.3).
        let implied = scope == Scope::Verify && token.has_scope(Scope::Sign);
        if !(token.has_scope(scope) || implied) {
            return Err(Failure::new(Stage::Authentication, AuthError::Scope(scope)));
        }
        let body = proof.as_ref().and_then(|proof| proof.body);
        let uses_nonces = proof.as_ref().is_some_and(|proof| proof.nonce.is_some());
        if let Some(proof) = proof {
            let window_seconds = services.proofs.window_seconds();
            // Where no nonce can be asked for, a proof is taken at its word about its age.
            let ahead_seconds = if services.proofs.uses_nonces() {
                PROOF_AHEAD_SECONDS
            } else {
                0
            };
            let spend = SpendProof {
                tenant: token.tenant.clone(),
                proof,
                window_seconds,
                ahead_seconds,
            };
            let shard = services.auth.of(token.tenant.as_str());
            let spent = shard
                .ask(spend, context.deadline)
                .await
                .asked_at(Stage::Authentication);
            spent.map_err(|failure| without_nonces(services, failure))?;
        }
        let principal = Principal::new(token, binding, body).using_nonces(uses_nonces);
        Ok(session.authenticated(principal))
    })
    .await
}

/// A server that hands out no nonces cannot ask for one.
fn without_nonces(services: &Services, failure: Failure) -> Failure {
    let asks = failure.refusal == Refusal::Auth(AuthError::NonceRequired);
    if asks && !services.proofs.uses_nonces() {
        let what = "the proof is older than this server: make a new one for every request";
        return Failure::new(failure.stage, AuthError::Proof(what.into()));
    }
    failure
}

/// From memory if the current keys and the time allow it, else verified in full and remembered. Without usable keys of the
/// Authority, memory counts for nothing.
async fn known_token(
    services: &Services,
    token: &str,
    context: &Context,
) -> Result<Arc<AccessToken>, Failure> {
    let presented = PresentedToken::of(token);
    let keys = authority_keys(services, None, context).await?;
    if let Some(token) = recall(services, &presented, &keys) {
        return Ok(token);
    }
    // Anyone can send tokens that are never remembered: they wait for one another, not others for them.
    let turn = turn_of(&Party::Strangers, context.deadline).await;
    turn.at(Stage::Authentication)?;
    // As of now: keys may have been withdrawn meanwhile.
    let keys = authority_keys(services, None, context).await?;
    let token = Arc::new(verify_token(services, &presented, keys, context).await?);
    if let Some(tokens) = &services.tokens {
        // Not heard, it is verified once more next time.
        let _ = tokens.ask(|tokens| tokens.remember(Arc::clone(&token)));
    }
    Ok(token)
}

/// Whatever keeps memory from answering costs a verification and nothing else.
fn recall(
    services: &Services,
    presented: &PresentedToken<'_>,
    keys: &AuthorityKeys,
) -> Option<Arc<AccessToken>> {
    let (digest, now) = (presented.digest(), services.clock.now());
    let tokens = services.tokens.as_ref()?;
    tokens.ask(|tokens| tokens.recall(&digest, &*keys.keys, now))?
}

/// With these keys; with freshly fetched ones when the token names a key that these do not have.
async fn verify_token(
    services: &Services,
    token: &PresentedToken<'_>,
    mut keys: AuthorityKeys,
    context: &Context,
) -> Result<AccessToken, Failure> {
    for fetched in [false, true] {
        match keys.keys.verify(token, services.clock.now()) {
            Ok(token) => return Ok(token),
            Err(TokenRejection::UnknownKey { kid }) if !fetched => {
                keys = authority_keys(services, Some(kid), context).await?;
            }
            Err(rejection) => return Err(Failure::new(Stage::Authentication, AuthError::from(rejection))),
        }
    }
    Err(Failure::new(
        Stage::Authentication,
        AuthError::Token("the token's key is not known".into()),
    ))
}

async fn authority_keys(
    services: &Services,
    missing: Option<String>,
    context: &Context,
) -> Result<AuthorityKeys, Failure> {
    if missing.is_none() {
        let age = |keys: &AuthorityKeys| services.clock.monotonic().saturating_sub(keys.fetched);
        let published = services.authority_keys.borrow().clone();
        if let Some(keys) = published.filter(|keys| age(keys) < services.policy.keys_refresh_after) {
            return Ok(keys);
        }
    }
    let asked = services
        .auth
        .first()
        .ask(KeysFor { missing }, context.deadline)
        .await;
    match asked {
        // The fetch has not come back in time: the Authority is what is missing, not this service's patience.
        Err(AskError::Deadline) => Err(Failure::new(
            Stage::Authentication,
            AuthError::AuthorityUnavailable,
        )),
        other => other.asked_at(Stage::Authentication),
    }
}
