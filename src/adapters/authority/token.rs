//! Operational tokens (OpTok): OAuth 2.0 access tokens as JWTs (RFC 9068).

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use signer_actors::domain::caller::{AccessToken, PresentedToken};
use signer_actors::domain::digest::ImageDigest;
use signer_actors::ports::{TokenRejection, TokenVerifier};

use super::Settings;
use crate::adapters::jose::Refused;
use crate::adapters::jose::claims::Claims;
use crate::adapters::jose::jwks::KeySet;
use crate::adapters::jose::jwt::{Policy, Rejection, VerifiedJwt};

/// Most scope tokens in one token.
const MAX_SCOPES: usize = 64;
/// Longest claim `scope`, in characters.
const MAX_SCOPE_LEN: usize = 4096;

/// What an operational token must be.
#[derive(Debug)]
pub(super) struct OpTokPolicy {
    jwt: Policy,
    max_lifetime: TimeDelta,
}

impl OpTokPolicy {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            jwt: Policy::new(
                &settings.issuer,
                &settings.audience,
                &settings.token_types,
                &settings.algorithms,
                settings.clock_skew,
            ),
            // A lifetime beyond chrono's range bounds nothing; it becomes zero, which accepts nothing.
            max_lifetime: TimeDelta::from_std(settings.max_token_lifetime).unwrap_or_default(),
        }
    }
}

/// A snapshot of the Authority's keys with the policy for tokens.
pub(super) struct OpTokVerifier {
    policy: Arc<OpTokPolicy>,
    keys: KeySet,
}

impl OpTokVerifier {
    pub(super) fn new(policy: Arc<OpTokPolicy>, keys: KeySet) -> Self {
        Self { policy, keys }
    }
}

impl fmt::Debug for OpTokVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpTokVerifier")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl TokenVerifier for OpTokVerifier {
    fn knows(&self, kid: &str) -> bool {
        self.keys.contains(kid)
    }

    fn verify(&self, token: &PresentedToken<'_>, now: DateTime<Utc>) -> Result<AccessToken, TokenRejection> {
        let jwt =
            self.policy
                .jwt
                .verify(token.text(), &self.keys, now)
                .map_err(|rejection| match rejection {
                    Rejection::UnknownKey { kid } => TokenRejection::UnknownKey { kid },
                    Rejection::Expired => {
                        invalid("it has expired: obtain a new one from the Authority".into())
                    }
                    Rejection::Invalid(why) => invalid(why),
                })?;
        self.policy
            .check_lifetime(&jwt)
            .and_then(|()| read(token, jwt))
            .map_err(invalid)
    }

    fn still_accepts(&self, token: &AccessToken, now: DateTime<Utc>) -> bool {
        // What else the policy asks of a token does not change while the process lives.
        let key = self.keys.get(&token.key_id);
        key.is_some_and(|key| key.thumbprint == token.key)
            && token.validity.check(now, self.policy.jwt.skew()).is_ok()
    }
}

impl OpTokPolicy {
    fn check_lifetime(&self, jwt: &VerifiedJwt) -> Result<(), Refused> {
        if jwt.validity.expires - jwt.validity.issued > self.max_lifetime {
            return Err("its life, `exp` less `iat`, is longer than this service accepts".into());
        }
        Ok(())
    }
}

fn invalid(why: Refused) -> TokenRejection {
    TokenRejection::Invalid(format!("the token is not accepted: {why}"))
}

/// The claims of contract §3, each of its exact type.
fn read(token: &PresentedToken<'_>, jwt: VerifiedJwt) -> Result<AccessToken, Refused> {
    let claims = &jwt.claims;
    Ok(AccessToken {
        digest: token.digest(),
        subject: claims.identifier("sub")?.to_owned(),
        client_id: claims.identifier("client_id")?.to_owned(),
        token_id: claims.identifier("jti")?.to_owned(),
        tenant: claims.tenant()?,
        installation: claims.installation()?,
        scopes: scopes(claims)?,
        confirmation: claims
            .confirmation()?
            .ok_or_else(|| Refused::from("it has no `cnf`: only sender-bound tokens are accepted"))?,
        scanner_image: scanner_image(claims)?,
        validity: jwt.validity,
        key_id: jwt.kid,
        key: jwt.key,
    })
}

/// `scope` (RFC 9068 §2.2.3): scope tokens separated by single spaces (RFC 6749 §3.3:
/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`).
fn scopes(claims: &Claims) -> Result<Vec<String>, Refused> {
    let scope = claims.string("scope")?;
    let is_token =
        |s: &str| !s.is_empty() && s.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    let in_bounds = scope.len() <= MAX_SCOPE_LEN && scope.split(' ').count() <= MAX_SCOPES;
    if !in_bounds || !scope.split(' ').all(is_token) {
        return Err("its `scope` is no list of scope tokens separated by single spaces".into());
    }
    Ok(scope.split(' ').map(str::to_owned).collect())
}

fn scanner_image(claims: &Claims) -> Result<Option<ImageDigest>, Refused> {
    if claims.get("scanner_image").is_none() {
        return Ok(None);
    }
    ImageDigest::parse(claims.string("scanner_image")?)
        .map(Some)
        .ok_or_else(|| "its `scanner_image` is not `sha256:` and 64 lowercase hexadecimal digits".into())
}
