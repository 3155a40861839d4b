//! DPoP proofs (RFC 9449 §4.3), verified in full on every request; only single use is left to the core.

use std::fmt;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};
use openssl::memcmp;
use serde_json::Value;
use signer_actors::domain::caller::{AccessToken, Credentials, VerifiedProof};
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::jws::JwsAlgorithm;
use signer_actors::ports::{ProofRejection, ProofVerifier, StoreEpoch};
use url::Url;
use zeroize::Zeroizing;

use super::htu;
use super::nonce::Nonces;
use super::proof_keys::{self, ProofKey};
use crate::adapters::jose::claims::Claims;
use crate::adapters::jose::header::{MAX_TOKEN, Parts, Use};
use crate::adapters::jose::jwk::PublicJwk;
use crate::adapters::jose::{Refused, array_from_b64url};

/// A proof is accepted this long after its `iat`, in seconds (contract §3).
const MAX_AGE: i64 = 60;
/// A proof is accepted this long before its `iat`, in seconds, for clocks that differ.
const MAX_AHEAD: i64 = 30;
/// Longest accepted `jti`, in bytes: each is hashed, none is stored, but none need be longer.
const MAX_JTI: usize = 256;

/// Whether proofs carry nonces of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceMode {
    /// None is handed out, and what a proof says of one is ignored.
    Off,
    /// They are handed out; a proof may go without, but one it carries must be good.
    Optional,
    /// A proof without is refused.
    Required,
}

/// What the service is told about proofs.
#[derive(Clone)]
pub struct DpopSettings {
    /// Scheme, host and port that callers reach the service by.
    pub public_origin: Url,
    /// Accepted algorithms.
    pub algorithms: Vec<JwsAlgorithm>,
    /// Whether nonces are used.
    pub nonce: NonceMode,
    /// A secret that replicas behind one origin share, so that each accepts the others' nonces; `None`: random at start.
    /// Only together with a shared replay store that sets `epoch`: a nonce from before a restart excuses a proof from
    /// being younger than the store, which a store that forgot everything cannot afford.
    pub nonce_key: Option<Zeroizing<[u8; 32]>>,
    /// What the shared replay store calls its memory; nonces carry it. Left at 0 without one.
    pub epoch: StoreEpoch,
}

impl fmt::Debug for DpopSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopSettings")
            .field("public_origin", &self.public_origin.as_str())
            .field("algorithms", &self.algorithms)
            .field("nonce", &self.nonce)
            .finish_non_exhaustive()
    }
}

/// Verifies proofs for the endpoints under one origin.
#[derive(Debug)]
pub struct DpopVerifier {
    origin: String,
    algorithms: Vec<JwsAlgorithm>,
    mode: NonceMode,
    nonces: Nonces,
}

impl DpopVerifier {
    /// Refuses an origin with more than scheme, host and port.
    pub fn new(settings: &DpopSettings) -> Result<Self, Refused> {
        let url = &settings.public_origin;
        let normal = htu::normalise(url.as_str()).filter(|normal| normal.matches('/').count() == 3);
        let origin = normal
            .as_deref()
            .and_then(|normal| normal.strip_suffix('/'))
            .filter(|_| url.query().is_none() && url.fragment().is_none())
            .ok_or_else(|| Refused::from("the public origin is not scheme, host and port alone"))?;
        let nonces = Nonces::new(settings.nonce_key.as_deref(), settings.epoch.clone())
            .map_err(|_| Refused::from("openssl could not make the key of the nonces"))?;
        Ok(Self {
            origin: origin.to_owned(),
            algorithms: settings.algorithms.clone(),
            mode: settings.nonce,
            nonces,
        })
    }

    /// The URL that a request for this path is for: never from the request's own `Host` or forwarding fields.
    fn expected_htu(&self, path: &str) -> Result<String, Refused> {
        let path =
            htu::normalise_path(path).ok_or_else(|| Refused::from("the request's path is malformed"))?;
        Ok(format!("{}{path}", self.origin))
    }

    /// §4.3 step 9. The URL that the proof is for, normalised.
    fn check_htu(&self, htu: &str, path: &str) -> Result<String, Refused> {
        // Mostly they are spelled alike and there is nothing to normalise.
        if htu::is_plain_path(path) && htu.strip_prefix(&self.origin) == Some(path) {
            return Ok(htu.to_owned());
        }
        let expected = self.expected_htu(path)?;
        if htu::normalise(htu).as_deref() != Some(expected.as_str()) {
            return Err(
                "its `htu` is not the URL of this endpoint: compare its scheme, host and port with the service's \
                 server.public_origin, its path with the request's"
                    .into(),
            );
        }
        Ok(expected)
    }

    /// Everything but nonce and signature, cheapest first, so that a flood of bad proofs costs little.
    fn check_claims(
        &self,
        claims: &Claims,
        credentials: &Credentials,
        token: &AccessToken,
        now: DateTime<Utc>,
    ) -> Result<Facts, Refused> {
        // §4.3 step 8: methods are case-sensitive (RFC 9110 §9.1).
        if claims.string("htm")? != credentials.method {
            return Err("its `htm` is not the request's method, in capitals".into());
        }
        let htu = self.check_htu(claims.string("htu")?, &credentials.path)?;
        // Step 11, whether or not a nonce is present.
        let issued = claims.required_date("iat")?;
        let age = now - issued;
        if age > TimeDelta::seconds(MAX_AGE) || age < TimeDelta::seconds(-MAX_AHEAD) {
            return Err("its `iat` is not within the last 60 or next 30 seconds: check the clocks".into());
        }
        // Not asked for by RFC 9449, but what a JWT says of its own life holds (RFC 7519 §4.1.4, §4.1.5).
        let skew = TimeDelta::seconds(MAX_AHEAD);
        if claims.date("exp")?.is_some_and(|expires| now >= expires + skew)
            || claims.date("nbf")?.is_some_and(|from| from > now + skew)
        {
            return Err(
                "its own `exp` is past or its `nbf` in the future: leave them out, `iat` is enough".into(),
            );
        }
        // Step 12: bound to this token.
        let ath = digest(claims, "ath")?
            .ok_or_else(|| Refused::from("it has no `ath`: put the hash of the token there"))?;
        if !memcmp::eq(&ath.0, &token.digest.0) {
            return Err(
                "its `ath` is not the hash of the token: hash the token that the request carries".into(),
            );
        }
        let jti = claims.string("jti")?;
        if !(1..=MAX_JTI).contains(&jti.len()) {
            return Err("its `jti` is not 1 to 256 bytes long".into());
        }
        Ok(Facts {
            htu,
            jti: jti.to_owned(),
            issued,
            body: digest(claims, "body_sha256")?,
        })
    }

    /// Step 10. The epoch of the good nonce that the proof carries.
    fn check_nonce(&self, claims: &Claims, now: DateTime<Utc>) -> Result<Option<u64>, ProofRejection> {
        match (self.mode, claims.get("nonce")) {
            (NonceMode::Off, _) | (NonceMode::Optional, None) => Ok(None),
            (NonceMode::Required, None) => Err(ProofRejection::NonceRequired),
            (_, Some(Value::String(nonce))) => match self.nonces.accepts(nonce, now) {
                Some(epoch) => Ok(Some(epoch)),
                // Old, or of another replica or start: the answer brings a fresh one (RFC 9449 §9).
                None => Err(ProofRejection::NonceRequired),
            },
            (_, Some(_)) => Err(invalid("its `nonce` is not a string".into())),
        }
    }

    /// Steps 4 to 6 and the first half of 12: type, algorithm, and the key that the token is bound to.
    fn check_key(&self, parts: &Parts<'_>, token: &AccessToken) -> Result<Key, ProofRejection> {
        let bound_to = token.confirmation.jkt;
        if let Some(bound_to) = bound_to
            && let Some(known) = proof_keys::recall(&bound_to, parts.header)
            && self.algorithms.contains(&known.key.algorithm())
        {
            return Ok(Key::Known(known, bound_to));
        }
        let (jwk, thumbprint) = self.read_key(parts).map_err(invalid)?;
        if bound_to.is_some_and(|bound_to| memcmp::eq(&thumbprint.0, &bound_to.0)) {
            Ok(Key::New(jwk, thumbprint))
        } else {
            Err(ProofRejection::WrongKey)
        }
    }

    fn read_key(&self, parts: &Parts<'_>) -> Result<(PublicJwk, Sha256Digest), Refused> {
        let header = parts.header(Use::Proof)?;
        if header.typ != "dpop+jwt" {
            return Err("its `typ` is not `dpop+jwt`".into());
        }
        let jwk = header
            .jwk
            .as_ref()
            .ok_or_else(|| Refused::from("its header has no `jwk`"))?;
        let jwk = PublicJwk::parse(jwk)?;
        let algorithm = jwk.algorithm();
        if header.algorithm != algorithm || !self.algorithms.contains(&algorithm) {
            return Err("its `alg` is not that of its key, or not accepted".into());
        }
        let thumbprint = jwk.thumbprint();
        Ok((jwk, thumbprint))
    }
}

/// The key that a proof brings, which is the one that its token is bound to; with its thumbprint.
enum Key {
    /// Built already, for an earlier proof with the same header.
    Known(Rc<ProofKey>, Sha256Digest),
    New(PublicJwk, Sha256Digest),
}

impl Key {
    fn thumbprint(&self) -> Sha256Digest {
        match self {
            Self::Known(_, thumbprint) | Self::New(_, thumbprint) => *thumbprint,
        }
    }

    /// Step 6: whether the signature holds. A key whose signature held is kept.
    fn verify(self, parts: &Parts<'_>, signature: &[u8]) -> bool {
        let input = parts.signing_input.as_bytes();
        match self {
            Self::Known(known, _) => known.key.verify(input, signature),
            Self::New(jwk, thumbprint) => match jwk.verifying_key() {
                Ok(key) if key.verify(input, signature) => {
                    let header = parts.header.into();
                    proof_keys::remember(thumbprint, ProofKey { header, key });
                    true
                }
                _ => false,
            },
        }
    }
}

impl ProofVerifier for DpopVerifier {
    fn verify(
        &self,
        credentials: &Credentials,
        token: &AccessToken,
        now: DateTime<Utc>,
    ) -> Result<VerifiedProof, ProofRejection> {
        let Some(proof) = credentials.proof.as_deref() else {
            return Err(invalid("there is none".into()));
        };
        let parts = Parts::split(proof, MAX_TOKEN).map_err(invalid)?;
        let key = self.check_key(&parts, token)?;
        let thumbprint = key.thumbprint();
        let claims = parts.payload().and_then(|payload| Claims::parse(&payload));
        let claims = claims.map_err(invalid)?;
        let signature = parts.signature().map_err(invalid)?;
        let facts = self
            .check_claims(&claims, credentials, token, now)
            .map_err(invalid)?;
        let nonce = self.check_nonce(&claims, now)?;
        // Step 6, the dear one, last.
        if !key.verify(&parts, &signature) {
            return Err(invalid(
                "its signature does not hold: sign with the key in `jwk`, and write r and s of ECDSA as they are, not \
                 in DER"
                    .into(),
            ));
        }
        Ok(VerifiedProof {
            thumbprint,
            replay_id: facts.replay_id(thumbprint),
            issued: facts.issued,
            nonce,
            body: facts.body,
        })
    }

    fn uses_nonces(&self) -> bool {
        match self.mode {
            NonceMode::Off => false,
            NonceMode::Optional | NonceMode::Required => true,
        }
    }

    fn nonce(&self, now: DateTime<Utc>) -> Option<String> {
        self.uses_nonces().then(|| self.nonces.current(now)).flatten()
    }

    fn window_seconds(&self) -> i64 {
        MAX_AGE
    }
}

/// What a proof says, checked but for its signature.
struct Facts {
    htu: String,
    jti: String,
    issued: DateTime<Utc>,
    body: Option<Sha256Digest>,
}

impl Facts {
    /// RFC 9449 §11.1, over the *normalised* URL: another spelling of it is no other use. Lengths come first, so that no
    /// two triples hash the same bytes.
    fn replay_id(&self, thumbprint: Sha256Digest) -> Sha256Digest {
        let length = |part: &str| (part.len() as u64).to_be_bytes();
        Sha256Digest::of_parts(&[
            &32u64.to_be_bytes(),
            &thumbprint.0,
            &length(&self.htu),
            self.htu.as_bytes(),
            &length(&self.jti),
            self.jti.as_bytes(),
        ])
    }
}

/// A claim that is base64url of a SHA-256 digest, if present.
fn digest(claims: &Claims, name: &str) -> Result<Option<Sha256Digest>, Refused> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let digest = value.as_str().and_then(array_from_b64url).map(Sha256Digest);
    digest
        .map(Some)
        .ok_or_else(|| Refused(format!("its `{name}` is not base64url of 32 bytes")))
}

fn invalid(why: Refused) -> ProofRejection {
    ProofRejection::Invalid(format!("the proof is not accepted: {why}"))
}

#[cfg(test)]
#[path = "dpop_tests.rs"]
mod tests;
