//! What every key that does not come and go has: an algorithm, and a state.

use chrono::{DateTime, Utc};
use signer_actors::domain::signing::{Algorithm, KeyState};

use super::super::error::Problem;
use super::super::layers::Layers;
use super::super::reader::{Section, key, required};

/// State and the end of trust.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) state: KeyState,
    pub(super) revoked_from: Option<DateTime<Utc>>,
}

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

/// `state` and `revoked_from`, which have to agree.
pub(super) fn life(s: &mut Section<'_>) -> Option<Life> {
    let state = s.choice(
        key(
            "state",
            "active",
            "active: signs; retired: verifies what it signed; revoked: see revoked_from.",
        ),
        &[
            ("active", KeyState::Active),
            ("retired", KeyState::Retired),
            ("revoked", KeyState::Revoked),
        ],
    );
    let revoked_from = s.optional(
        key(
            "revoked_from",
            "",
            "For a revoked key: the time, RFC 3339, from which its signatures count for nothing.",
        ),
        time,
    );
    let (state, revoked_from) = (state?, revoked_from?);
    check_state(s, state, revoked_from);
    Some(Life { state, revoked_from })
}

fn time(text: &str, _: &Layers) -> Result<DateTime<Utc>, Problem> {
    let parsed = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc));
    parsed.map_err(|_| {
        let problem = format!("{text:?} is not a time");
        Problem::new(problem, "write it as RFC 3339: \"2026-10-01T12:00:00Z\"")
    })
}

fn check_state(s: &mut Section<'_>, state: KeyState, revoked_from: Option<DateTime<Utc>>) {
    match (state, revoked_from) {
        (KeyState::Revoked, None) => {
            s.refuse(
                "revoked_from",
                "is not set though the key is revoked",
                "give the time of the compromise",
            );
        }
        (KeyState::Active | KeyState::Retired, Some(_)) => {
            s.refuse(
                "revoked_from",
                "is set though the key is not revoked",
                "set state = \"revoked\", or remove it",
            );
        }
        _ => {}
    }
}
