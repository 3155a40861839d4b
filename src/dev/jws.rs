//! Strict reading of compact JWS (RFC 7515 §7.1), for the neighbours that verify tokens and proofs. ES256 only: that is
//! what the neighbours and the client make.

use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::Public;
use serde_json::{Map, Value};
use signer_actors::domain::digest::Sha256Digest;

use crate::adapters::jose::{b64url, from_b64url};

/// The longest token or proof that is read, in bytes.
pub(super) const MAX_LEN: usize = 8 * 1024;

/// A compact JWS taken apart; nothing is verified yet.
pub(super) struct Compact<'a> {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    signing_input: &'a str,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Three parts of base64url, two of them JSON objects, no critical extension (RFC 7515 §4.1.11).
    pub(super) fn parse(token: &'a str) -> Result<Self, &'static str> {
        if token.len() > MAX_LEN {
            return Err("the token is too long");
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or("the token has no three parts")?;
        let (header, claims) = signing_input
            .split_once('.')
            .ok_or("the token has no three parts")?;
        let object =
            |part: &str| -> Option<Map<String, Value>> { serde_json::from_slice(&from_b64url(part)?).ok() };
        let header = object(header).ok_or("the header is no JSON object in base64url")?;
        if header.contains_key("crit") {
            return Err("the header names critical extensions, and none is understood");
        }
        Ok(Self {
            header,
            claims: object(claims).ok_or("the claims are no JSON object in base64url")?,
            signing_input,
            signature: from_b64url(signature).ok_or("the signature is no base64url")?,
        })
    }

    /// True when the header says ES256 and the signature holds under the key (RFC 7518 §3.4).
    pub(super) fn verify(&self, key: &EcKey<Public>) -> bool {
        if self.header.get("alg").and_then(Value::as_str) != Some("ES256") || self.signature.len() != 64 {
            return false;
        }
        let (r, s) = self.signature.split_at(32);
        let digest = Sha256Digest::of(self.signing_input.as_bytes());
        let verified = || -> Result<bool, openssl::error::ErrorStack> {
            EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?
                .verify(&digest.0, key)
        };
        verified().unwrap_or(false)
    }

    pub(super) fn header_text(&self, name: &str) -> Option<&str> {
        self.header.get(name).and_then(Value::as_str)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.claims.get(name).and_then(Value::as_i64)
    }
}

/// A P-256 public key, and its thumbprint (RFC 7638 §3.2: the required members in lexical order).
pub(super) struct PublicJwk {
    pub(super) key: EcKey<Public>,
    pub(super) thumbprint: String,
}

impl PublicJwk {
    /// Reads a JWK. A private member is refused (RFC 9449 §4.3, check 7).
    pub(super) fn parse(jwk: &Value) -> Result<Self, &'static str> {
        let jwk = jwk.as_object().ok_or("the jwk is no JSON object")?;
        if jwk.contains_key("d") || jwk.contains_key("k") {
            return Err("the jwk holds a private key: send the public one");
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("kty") != Some("EC") || text("crv") != Some("P-256") {
            return Err("the jwk is no EC P-256 key");
        }
        let (Some(x), Some(y)) = (text("x"), text("y")) else {
            return Err("the jwk lacks a coordinate");
        };
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        Ok(Self {
            key: point(x, y).ok_or("the jwk names no point of P-256")?,
            thumbprint: b64url(&Sha256Digest::of(canonical.as_bytes()).0),
        })
    }
}

fn point(x: &str, y: &str) -> Option<EcKey<Public>> {
    let coordinate = |value: &str| -> Option<BigNum> {
        let bytes = from_b64url(value)?;
        (bytes.len() == 32).then(|| BigNum::from_slice(&bytes).ok())?
    };
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).ok()?;
    let (x, y) = (coordinate(x)?, coordinate(y)?);
    let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y).ok()?;
    key.check_key().ok()?;
    Some(key)
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
    PublicJwk::parse(key).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // RFC 9449 §4.1, figure 1: a proof with its key, and the thumbprint of §6.1, figure 8.
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

    #[test]
    fn the_example_proof_of_rfc_9449_verifies() {
        let proof = Compact::parse(PROOF).unwrap();
        let jwk = PublicJwk::parse(&proof.header["jwk"]).unwrap();
        assert_eq!(jwk.thumbprint, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert!(proof.verify(&jwk.key));
        assert_eq!(proof.text("htu"), Some("https://server.example.com/token"));
        assert_eq!(proof.number("iat"), Some(1562262616));
    }

    #[test]
    fn a_changed_proof_does_not() {
        let jwk = PublicJwk::parse(&Compact::parse(PROOF).unwrap().header["jwk"]).unwrap();
        let (input, signature) = PROOF.rsplit_once('.').unwrap();
        let other = format!("{input}.{}", signature.replacen('2', "3", 1));
        assert!(!Compact::parse(&other).unwrap().verify(&jwk.key));
        let short = format!("{input}.AAAA");
        assert!(!Compact::parse(&short).unwrap().verify(&jwk.key));
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
            assert!(Compact::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Compact::parse(&"a".repeat(MAX_LEN + 1)).is_err());
        let good = Compact::parse(PROOF).unwrap().header["jwk"].clone();
        for (name, value) in [
            ("kty", json!("RSA")),
            ("crv", json!("P-384")),
            ("d", json!("AA")),
            ("x", json!("AA")),
            ("y", good["x"].clone()),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(PublicJwk::parse(&bad).is_err(), "{name}");
        }
    }
}
