//! Verifying a DPoP proof at the token endpoint (RFC 9449 §4.3 and §5).

use actix_web::HttpRequest;

use super::jws::{Jws, thumbprint};
use super::keeper::{Added, Keeper};
use crate::adapters::jose::header::Use;

/// How old a proof may be, in seconds.
const MAX_AGE: i64 = 60;
/// How far in the future its clock may be, in seconds.
const MAX_AHEAD: i64 = 30;
/// The longest `jti` that is remembered, in bytes.
const MAX_JTI: usize = 128;
const UNREADABLE: &str = "the proof cannot be read: send a compact JWS with typ dpop+jwt, alg ES256 and its public P-256 key as jwk";

/// Checks the one proof of this request and remembers its identifier. Answers the thumbprint of its key.
pub(super) async fn verify(
    request: &HttpRequest,
    method: &str,
    url: &str,
    seen: &Keeper,
    now: i64,
) -> Result<String, &'static str> {
    let mut fields = request.headers().get_all("DPoP");
    let proof = match (fields.next(), fields.next()) {
        (Some(one), None) => one.to_str().map_err(|_| "the proof is no ASCII text")?,
        (None, _) => return Err("a DPoP proof is required: send one DPoP field"),
        (Some(_), Some(_)) => return Err("there is more than one DPoP field: send one"),
    };
    let proof = Jws::parse(proof, Use::Proof).map_err(|_| UNREADABLE)?;
    if proof.typ() != "dpop+jwt" {
        return Err("the typ of the proof is not dpop+jwt");
    }
    let jwk = proof.jwk().map_err(|_| UNREADABLE)?;
    if !proof.verify(&jwk) {
        return Err("the proof is not signed with ES256 by the key in its jwk");
    }
    if proof.text("htm") != Some(method) {
        return Err("htm is not the method of this request");
    }
    if proof.text("htu") != Some(url) {
        return Err("htu is not the URL of this endpoint");
    }
    let iat = proof.number("iat").ok_or("the proof has no iat")?;
    if iat < now.saturating_sub(MAX_AGE) || iat > now.saturating_add(MAX_AHEAD) {
        return Err("iat is not within the accepted window: make a fresh proof");
    }
    let jti = proof.text("jti").ok_or("the proof has no jti")?;
    if jti.is_empty() || jti.len() > MAX_JTI {
        return Err("the jti is empty or too long");
    }
    // Last, so that nobody can burn identifiers without the key.
    let thumbprint = thumbprint(&jwk);
    let name = format!("{thumbprint} {jti}");
    match seen.add(name, now, iat.saturating_add(MAX_AGE)).await {
        Some(Added::New) => Ok(thumbprint),
        Some(Added::Known) => Err("the proof was used before: make a fresh one"),
        Some(Added::Full) | None => Err("too many proofs are remembered: try again in a minute"),
    }
}
