//! What every key that does not come and go has: an algorithm, and a life.

use chrono::{DateTime, TimeDelta, Utc};
use signer_actors::domain::signing::{Algorithm, KeyLife, KeyState};

use super::super::parse;
use super::super::reader::{Section, key, required};

/// How far ahead a retirement may be without a word: the replicas are reloaded one after the other.
const AHEAD: TimeDelta = TimeDelta::days(1);

/// The key's only algorithm.
pub(super) fn algorithm(s: &mut Section<'_>) -> Option<Algorithm> {
    let algorithms = [
        Algorithm::EcdsaP256Sha256,
        Algorithm::EcdsaP384Sha384,
        Algorithm::Ed25519,
        Algorithm::RsaPssSha256,
        Algorithm::RsaPkcs1Sha256,
    ];
    s.choice(
        required(
            "algorithm",
            "ecdsa-p256-sha256",
            "ecdsa-p256-sha256, ecdsa-p384-sha384, ed25519, rsa-pss-sha256 or rsa-pkcs1-sha256. The key's only one.",
        ),
        &algorithms.map(|algorithm| (algorithm.as_str(), algorithm)),
    )
}

/// `state`, `retired_from` and `revoked_from`, which have to agree.
pub(super) fn life(s: &mut Section<'_>) -> Option<KeyLife> {
    let state = s.choice(
        key(
            "state",
            "active",
            "active: signs; retired: see retired_from; revoked: see revoked_from.",
        ),
        &[
            ("active", KeyState::Active),
            ("retired", KeyState::Retired),
            ("revoked", KeyState::Revoked),
        ],
    );
    let retired_from = s.optional(
        key(
            "retired_from",
            "",
            "For a retired key: the time, RFC 3339, from which it signs no more. What a timestamp proves to be of before counts.",
        ),
        |text, _| parse::moment(text),
    );
    let revoked_from = s.optional(
        key(
            "revoked_from",
            "",
            "For a revoked key: the time, RFC 3339, from which its signatures count for nothing.",
        ),
        |text, _| parse::moment(text),
    );
    let life = KeyLife {
        state: state?,
        retired_from: retired_from?,
        revoked_from: revoked_from?,
    };
    check_retirement(s, life, Utc::now());
    check_revocation(s, life);
    Some(life)
}

/// Without the time nobody could tell a timestamp of before the retirement from one of after it.
fn check_retirement(s: &mut Section<'_>, life: KeyLife, now: DateTime<Utc>) {
    match (life.state, life.retired_from) {
        (KeyState::Retired, None) => s.refuse(
            "retired_from",
            "is not set though the key is retired",
            "give the time from which no replica signs with it any more: \"2026-10-01T12:00:00Z\"",
        ),
        (KeyState::Active, Some(_)) => s.refuse(
            "retired_from",
            "is set though the key is active",
            "set state = \"retired\", or remove it",
        ),
        (_, Some(from)) if from.signed_duration_since(now) > AHEAD => s.warn(
            "retired_from",
            "is more than a day ahead: until then timestamps prove the key's signatures",
            "give the time from which no replica signs with it any more",
        ),
        _ => {}
    }
}

fn check_revocation(s: &mut Section<'_>, life: KeyLife) {
    match (life.state, life.revoked_from) {
        (KeyState::Revoked, None) => s.refuse(
            "revoked_from",
            "is not set though the key is revoked",
            "give the time of the compromise",
        ),
        (KeyState::Active | KeyState::Retired, Some(_)) => s.refuse(
            "revoked_from",
            "is set though the key is not revoked",
            "set state = \"revoked\", or remove it",
        ),
        _ => {}
    }
}
