//! Tokens and proofs as the neighbours read them: the service's own strict parsing, and ES256 only, which is what the
//! neighbours and the client make.

use serde_json::{Map, Value};
use signer_actors::domain::jws::JwsAlgorithm;

use crate::adapters::jose::header::{Compact, Use};
use crate::adapters::jose::jwk::PublicJwk;
use crate::adapters::jose::{Refused, b64url, json};

/// A compact JWS taken apart, with its claims; nothing is verified yet.
pub(super) struct Jws<'a> {
    parts: Compact<'a>,
    pub(super) claims: Map<String, Value>,
}

impl<'a> Jws<'a> {
    pub(super) fn parse(token: &'a str, used_as: Use) -> Result<Self, Refused> {
        let parts = Compact::parse(token, used_as)?;
        let claims = json::parse_object(&parts.payload)?;
        Ok(Self { parts, claims })
    }

    /// True when the header says ES256 and the signature holds under the key (RFC 7518 §3.4).
    pub(super) fn verify(&self, key: &PublicJwk) -> bool {
        let es256 = [self.parts.header.algorithm, key.algorithm()] == [JwsAlgorithm::Es256; 2];
        es256 && key.verify(self.parts.signing_input.as_bytes(), &self.parts.signature)
    }

    /// The media type, as [`Compact`] reduces it.
    pub(super) fn typ(&self) -> &str {
        &self.parts.header.typ
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.parts.header.kid.as_deref()
    }

    /// The key that a proof brings.
    pub(super) fn jwk(&self) -> Result<PublicJwk, Refused> {
        let jwk = self.parts.header.jwk.as_ref();
        p256(jwk.ok_or_else(|| Refused::from("it brings no key"))?)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.claims.get(name).and_then(Value::as_i64)
    }
}

/// Reads a public P-256 key. Its point must be on the curve.
fn p256(jwk: &Map<String, Value>) -> Result<PublicJwk, Refused> {
    let key = PublicJwk::parse(jwk)?;
    if key.algorithm() != JwsAlgorithm::Es256 {
        return Err("the jwk is no EC P-256 key".into());
    }
    key.pkey()?;
    Ok(key)
}

/// The thumbprint of a key as `jkt` and `kid` spell it (RFC 7638 §3, RFC 9449 §6.1).
pub(super) fn thumbprint(key: &PublicJwk) -> String {
    b64url(&key.thumbprint().0)
}

/// The key of this id in a JWK set.
pub(super) fn find_key(set: &Value, kid: &str) -> Option<PublicJwk> {
    let keys = set.get("keys")?.as_array()?;
    let mut found = keys
        .iter()
        .filter(|key| key.get("kid").and_then(Value::as_str) == Some(kid));
    let key = found.next()?;
    if found.next().is_some() {
        return None;
    }
    p256(key.as_object()?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::adapters::jose::header::MAX_TOKEN;

    // RFC 9449 §4.1, figure 1: a proof with its key, and the thumbprint of §6.1, figure 8.
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

    #[test]
    fn the_example_proof_of_rfc_9449_verifies() {
        let proof = Jws::parse(PROOF, Use::Proof).unwrap();
        let jwk = proof.jwk().unwrap();
        assert_eq!(thumbprint(&jwk), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert!(proof.verify(&jwk));
        assert_eq!(proof.text("htu"), Some("https://server.example.com/token"));
        assert_eq!(proof.number("iat"), Some(1562262616));
    }

    #[test]
    fn a_changed_proof_does_not() {
        let jwk = Jws::parse(PROOF, Use::Proof).unwrap().jwk().unwrap();
        let (input, signature) = PROOF.rsplit_once('.').unwrap();
        let other = format!("{input}.{}", signature.replacen('2', "3", 1));
        assert!(!Jws::parse(&other, Use::Proof).unwrap().verify(&jwk));
        let short = format!("{input}.AAAA");
        assert!(!Jws::parse(&short, Use::Proof).unwrap().verify(&jwk));
    }

    #[test]
    fn refuses_what_is_no_jws_or_no_public_p256_key() {
        for bad in [
            "",
            "a.b",
            "a.b.c",
            "e30.e30",
            "e30.e30.!",
            "e30=.e30.",
            "eyJjcml0IjpbXX0.e30.",
        ] {
            assert!(Jws::parse(bad, Use::Token).is_err(), "{bad:?}");
            assert!(Jws::parse(bad, Use::Proof).is_err(), "{bad:?}");
        }
        assert!(Jws::parse(&"a".repeat(MAX_TOKEN + 1), Use::Proof).is_err());
        let good = json!(Compact::parse(PROOF, Use::Proof).unwrap().header.jwk);
        for (name, value) in [
            ("kty", json!("RSA")),
            ("crv", json!("P-384")),
            ("d", json!("AA")),
            ("x", json!("AA")),
            ("y", good["x"].clone()),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(p256(bad.as_object().unwrap()).is_err(), "{name}");
        }
    }
}
