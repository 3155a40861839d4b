//! The key of DPoP proofs, and making proofs (RFC 9449 §4.2).

use std::fmt;

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use serde_json::{Value, json};
use signer_actors::domain::digest::Sha256Digest;
use url::Url;

use crate::adapters::jose::{b64url, from_b64url, mint};
use crate::crypto::generate_p256;

/// An EC P-256 key with its public JWK.
pub struct DpopKey {
    key: PKey<Private>,
    jwk: Value,
}

impl fmt::Debug for DpopKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DpopKey").finish_non_exhaustive()
    }
}

/// What one proof proves.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProofOf<'a> {
    /// HTTP method, upper case.
    pub method: &'a str,
    /// The request's URL; query and fragment are left out of `htu`.
    pub url: &'a str,
    /// The access token, for `ath`; none at the token endpoint.
    pub token: Option<&'a str>,
    /// The bytes of the body, for `body_sha256`.
    pub body: Option<&'a [u8]>,
    /// The server's nonce.
    pub nonce: Option<&'a str>,
}

impl DpopKey {
    /// A fresh key.
    ///
    /// # Errors
    /// OpenSSL's, as text.
    pub fn generate() -> Result<Self, String> {
        Self::of(generate_p256().map_err(|_| "openssl could not make a key")?)
    }

    /// Reads a private JWK (RFC 7518 §6.2). The public coordinates must belong to `d`.
    ///
    /// # Errors
    /// What is wrong, without any of the value.
    pub fn from_private_jwk(jwk: &Value) -> Result<Self, String> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if text("kty") != Some("EC") || text("crv") != Some("P-256") {
            return Err("is no EC P-256 JWK".to_owned());
        }
        let d = text("d").and_then(from_b64url).filter(|d| d.len() == 32);
        let d = d.ok_or("has no private part `d` of 32 bytes")?;
        let key = Self::of(from_scalar(&d).map_err(|_| "is no valid key")?)?;
        if ["x", "y"].iter().any(|name| key.jwk.get(name) != jwk.get(name)) {
            return Err("has coordinates that do not belong to its private part".to_owned());
        }
        Ok(key)
    }

    /// The private JWK. A secret.
    ///
    /// # Errors
    /// OpenSSL's, as text.
    pub fn private_jwk(&self) -> Result<Value, String> {
        let scalar = || self.key.ec_key()?.private_key().to_vec_padded(32);
        let d = scalar().map_err(|_| "openssl could not read the key")?;
        let mut jwk = self.jwk.clone();
        if let Some(members) = jwk.as_object_mut() {
            members.insert("d".to_owned(), json!(b64url(&d)));
        }
        Ok(jwk)
    }

    fn of(key: PKey<Private>) -> Result<Self, String> {
        let jwk = mint::jwk_of(&key).map_err(|error| error.to_string())?;
        Ok(Self { key, jwk })
    }

    /// A fresh proof: every request needs its own.
    ///
    /// # Errors
    /// When the URL is none, or OpenSSL fails.
    pub fn proof(&self, of: ProofOf<'_>) -> Result<String, String> {
        let mut url = Url::parse(of.url).map_err(|_| "the URL of the request is no URL")?;
        url.set_query(None);
        url.set_fragment(None);
        let mut claims = json!({
            "htm": of.method,
            "htu": url.as_str(),
            "iat": chrono::Utc::now().timestamp(),
            "jti": uuid::Uuid::now_v7().to_string(),
        });
        let digest = |bytes: &[u8]| json!(b64url(&Sha256Digest::of(bytes).0));
        if let Some(members) = claims.as_object_mut() {
            let optional = [
                ("ath", of.token.map(|token| digest(token.as_bytes()))),
                ("body_sha256", of.body.map(digest)),
                ("nonce", of.nonce.map(|nonce| json!(nonce))),
            ];
            let present = optional
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            members.extend(present);
        }
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk });
        mint::sign_compact(&header, &claims, &self.key).map_err(|error| error.to_string())
    }
}

fn from_scalar(d: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let mut context = BigNumContext::new()?;
    let d = BigNum::from_slice(d)?;
    let mut point = EcPoint::new(&group)?;
    point.mul_generator2(&group, &d, &mut context)?;
    let key = EcKey::from_private_components(&group, &d, &point)?;
    key.check_key()?;
    PKey::from_ec_key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The EC key of RFC 7517 appendix A.2, whose coordinates were computed by others.
    fn example() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"
        })
    }

    #[test]
    fn reads_the_example_of_rfc_7517_and_writes_it_again() {
        let key = DpopKey::from_private_jwk(&example()).unwrap();
        assert_eq!(key.private_jwk().unwrap(), example());
    }

    #[test]
    fn refuses_keys_that_are_not_whole() {
        for (name, value) in [
            ("kty", json!("OKP")),
            ("crv", json!("P-384")),
            ("d", json!("AA")),
            ("d", json!("A".repeat(43))),
            ("x", json!("A".repeat(43))),
            ("d", Value::Null),
        ] {
            let mut jwk = example();
            jwk[name] = value;
            assert!(DpopKey::from_private_jwk(&jwk).is_err(), "{name}");
        }
    }

    fn parts(proof: &str) -> (Value, Value) {
        let mut parts = proof
            .split('.')
            .map(|part| serde_json::from_slice(&from_b64url(part).unwrap()));
        (parts.next().unwrap().unwrap(), parts.next().unwrap().unwrap())
    }

    #[test]
    fn a_proof_binds_method_url_token_body_and_nonce() {
        let key = DpopKey::from_private_jwk(&example()).unwrap();
        let proof = key.proof(ProofOf {
            method: "POST",
            url: "https://signer.example/api?x=1#y",
            // RFC 9449 §7.1, figures 12 and 13.
            token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
            // SHA-256 of "abc", FIPS 180-2 appendix B.1, in base64url.
            body: Some(b"abc"),
            nonce: Some("n-1"),
        });
        let (header, claims) = parts(&proof.unwrap());
        assert_eq!(header["typ"], "dpop+jwt");
        assert!(header["jwk"].get("d").is_none());
        assert_eq!(claims["htm"], "POST");
        assert_eq!(claims["htu"], "https://signer.example/api");
        assert_eq!(claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
        assert_eq!(
            claims["body_sha256"],
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
        );
        assert_eq!(claims["nonce"], "n-1");
        let other = key.proof(ProofOf {
            method: "GET",
            url: "http://127.0.0.1:1",
            ..ProofOf::default()
        });
        let (_, other) = parts(&other.unwrap());
        assert_ne!(other["jti"], claims["jti"]);
        assert!(
            ["ath", "body_sha256", "nonce"]
                .iter()
                .all(|name| other.get(name).is_none())
        );
    }
}
