//! Public JWKs (RFC 7517), parsed strictly from JSON, and direct signature verification with them.

use std::collections::HashSet;
use std::fmt;

use jsonwebtoken::DecodingKey;
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::Rsa;
use serde_json::{Map, Value};
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::jws::JwsAlgorithm;

use super::header::MAX_KID;
use super::verifying::{Ready, VerifyingKey, p256_key, p384_key};
use super::{Refused, array_from_b64url, b64url, ed25519, from_b64url, is_visible};
use crate::openssl_errors;

/// Members that hold a private or symmetric key (RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2).
const PRIVATE_MEMBERS: [&str; 9] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];
/// Accepted lengths of an RSA modulus, in bits. Below is weak (RFC 7518 §3.5); above is work for an attacker to give us.
const RSA_BITS: std::ops::RangeInclusive<i32> = 2048..=4096;
/// Longest accepted public exponent, in bytes.
const MAX_EXPONENT: usize = 8;

/// A public key that is well formed and suits exactly one algorithm, which the *key* decides (RFC 8725 §3.1). That an EC
/// point lies on its curve is checked when the key is built: [`Self::pkey`], [`Self::verifying_key`], [`super::jwks`].
#[derive(Clone, PartialEq, Eq)]
pub struct PublicJwk {
    kid: Option<String>,
    material: Material,
}

#[derive(Clone, PartialEq, Eq)]
enum Material {
    P256 { x: [u8; 32], y: [u8; 32] },
    P384 { x: [u8; 48], y: [u8; 48] },
    Ed25519 { x: [u8; 32] },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl fmt::Debug for PublicJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicJwk")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm())
            .field("thumbprint", &self.thumbprint())
            .finish()
    }
}

impl PublicJwk {
    /// Reads a public signature key: EC P-256 or P-384, Ed25519, or RSA. Duplicate members were refused when the JSON
    /// was read. Unknown members are ignored (RFC 7517 §4), private ones are not.
    pub fn parse(jwk: &Map<String, Value>) -> Result<Self, Refused> {
        if PRIVATE_MEMBERS.iter().any(|name| jwk.contains_key(*name)) {
            return Err("the key has private members: publish its public part only".into());
        }
        let material = match (text(jwk, "kty")?, jwk.get("crv").and_then(Value::as_str)) {
            ("EC", Some("P-256")) => Material::P256 {
                x: coordinate(jwk, "x")?,
                y: coordinate(jwk, "y")?,
            },
            ("EC", Some("P-384")) => Material::P384 {
                x: coordinate(jwk, "x")?,
                y: coordinate(jwk, "y")?,
            },
            ("OKP", Some("Ed25519")) => ed25519_material(jwk)?,
            ("RSA", _) => rsa_material(jwk)?,
            _ => return Err("the key is none of EC P-256, EC P-384, Ed25519, RSA".into()),
        };
        let key = Self {
            kid: kid(jwk)?,
            material,
        };
        key.check_purpose(jwk)?;
        Ok(key)
    }

    /// RFC 7517 §4.2 to §4.4: what the key says of its purpose must agree with verifying signatures by its algorithm.
    fn check_purpose(&self, jwk: &Map<String, Value>) -> Result<(), Refused> {
        let names = self.algorithm().names();
        if jwk
            .get("alg")
            .is_some_and(|alg| alg.as_str().is_none_or(|alg| !names.contains(&alg)))
        {
            return Err("the key's `alg` is not the algorithm of its kind".into());
        }
        if jwk.get("use").is_some_and(|value| value != "sig") {
            return Err("the key's `use` is not `sig`".into());
        }
        match jwk.get("key_ops") {
            None => Ok(()),
            Some(Value::Array(ops)) if ops.iter().any(|op| op == "verify") && are_unique_texts(ops) => Ok(()),
            Some(_) => Err("the key's `key_ops` are not strings, each once, with `verify` among them".into()),
        }
    }

    /// `kid`
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm that this key verifies.
    pub fn algorithm(&self) -> JwsAlgorithm {
        match &self.material {
            Material::P256 { .. } => JwsAlgorithm::Es256,
            Material::P384 { .. } => JwsAlgorithm::Es384,
            Material::Ed25519 { .. } => JwsAlgorithm::EdDsa,
            Material::Rsa { .. } => JwsAlgorithm::Ps256,
        }
    }

    /// SHA-256 thumbprint (RFC 7638 §3; RFC 8037 §2): required members in lexical order, without white space. Base64url
    /// was read strictly, so writing it anew gives the text that was received.
    pub fn thumbprint(&self) -> Sha256Digest {
        let ec = |crv: &str, x: &[u8], y: &[u8]| {
            format!(
                r#"{{"crv":"{crv}","kty":"EC","x":"{}","y":"{}"}}"#,
                b64url(x),
                b64url(y)
            )
        };
        let canonical = match &self.material {
            Material::P256 { x, y } => ec("P-256", x, y),
            Material::P384 { x, y } => ec("P-384", x, y),
            Material::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64url(x)),
            Material::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, b64url(e), b64url(n)),
        };
        Sha256Digest::of(canonical.as_bytes())
    }

    /// The key for OpenSSL. Refuses a point off its curve.
    pub fn pkey(&self) -> Result<PKey<Public>, Refused> {
        self.build().map_err(|_| Self::off_its_curve())
    }

    fn off_its_curve() -> Refused {
        openssl_errors::forget();
        "the key is not valid: its point is not on its curve".into()
    }

    fn build(&self) -> Result<PKey<Public>, ErrorStack> {
        match self.ready()? {
            Ready::P256(key) | Ready::P384(key) => PKey::from_ec_key(key),
            Ready::Ed25519(key) | Ready::Rsa(key) => Ok(key),
        }
    }

    fn ready(&self) -> Result<Ready, ErrorStack> {
        Ok(match &self.material {
            Material::P256 { x, y } => Ready::P256(p256_key(x, y)?),
            Material::P384 { x, y } => Ready::P384(p384_key(x, y)?),
            Material::Ed25519 { x } => Ready::Ed25519(PKey::public_key_from_raw_bytes(x, Id::ED25519)?),
            Material::Rsa { n, e } => Ready::Rsa(PKey::from_rsa(Rsa::from_public_components(
                BigNum::from_slice(n)?,
                BigNum::from_slice(e)?,
            )?)?),
        })
    }

    /// The key for the `jsonwebtoken` crate.
    pub(crate) fn decoding_key(&self) -> Result<DecodingKey, Refused> {
        let built = match &self.material {
            Material::P256 { x, y } => DecodingKey::from_ec_components(&b64url(x), &b64url(y)),
            Material::P384 { x, y } => DecodingKey::from_ec_components(&b64url(x), &b64url(y)),
            Material::Ed25519 { x } => DecodingKey::from_ed_components(&b64url(x)),
            Material::Rsa { n, e } => Ok(DecodingKey::from_rsa_raw_components(n, e)),
        };
        built.map_err(|_| "the key is not valid".into())
    }

    /// The key, ready to verify. Refuses a point off its curve.
    pub fn verifying_key(&self) -> Result<VerifyingKey, Refused> {
        self.ready()
            .map(VerifyingKey::new)
            .map_err(|_| Self::off_its_curve())
    }

    /// True when the signature over the input holds, for a key that is used once.
    pub fn verify(&self, input: &[u8], signature: &[u8]) -> bool {
        self.verifying_key().is_ok_and(|key| key.verify(input, signature))
    }
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refused> {
    jwk.get(name)
        .and_then(Value::as_str)
        .ok_or_else(|| Refused(format!("the key has no `{name}`")))
}

/// A coordinate of exactly the curve's length (RFC 7518 §6.2.1.2: leading zeros stay).
fn coordinate<const N: usize>(jwk: &Map<String, Value>, name: &str) -> Result<[u8; N], Refused> {
    array_from_b64url(text(jwk, name)?)
        .ok_or_else(|| Refused(format!("the key's `{name}` is not base64url of {N} bytes")))
}

/// RFC 7517 §4.3: strings, none of them twice.
fn are_unique_texts(values: &[Value]) -> bool {
    let mut seen = HashSet::new();
    values
        .iter()
        .all(|value| value.as_str().is_some_and(|text| seen.insert(text)))
}

/// RFC 8037 §2. OpenSSL takes any 32 bytes, so they are looked at here (RFC 8725 §3.4).
fn ed25519_material(jwk: &Map<String, Value>) -> Result<Material, Refused> {
    let x = coordinate(jwk, "x")?;
    if !ed25519::is_canonical_and_of_large_order(&x) {
        return Err("the key's `x` is no canonical point, or one of small order".into());
    }
    Ok(Material::Ed25519 { x })
}

/// RFC 7518 §6.3.1: `n` and `e` as Base64urlUInt, which has no leading zero octet.
fn rsa_material(jwk: &Map<String, Value>) -> Result<Material, Refused> {
    let number = |name: &str| {
        from_b64url(text(jwk, name)?)
            .filter(|bytes| bytes.first().is_some_and(|b| *b != 0))
            .ok_or_else(|| Refused(format!("the key's `{name}` is no Base64urlUInt")))
    };
    let (n, e) = (number("n")?, number("e")?);
    let odd = |bytes: &[u8]| bytes.last().is_some_and(|b| b & 1 == 1);
    let bits = BigNum::from_slice(&n).map_or(0, |n| n.num_bits());
    if !RSA_BITS.contains(&bits) || !odd(&n) {
        return Err("the key's `n` is not odd and of 2048 to 4096 bits".into());
    }
    let exponent = e.iter().fold(0u64, |value, b| (value << 8) | u64::from(*b));
    if e.len() > MAX_EXPONENT || exponent < 65_537 || !odd(&e) {
        return Err("the key's `e` is not odd and at least 65537".into());
    }
    Ok(Material::Rsa { n, e })
}

fn kid(jwk: &Map<String, Value>) -> Result<Option<String>, Refused> {
    match jwk.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if is_visible(kid, MAX_KID) => Ok(Some(kid.clone())),
        Some(_) => Err("the key's `kid` is not 1 to 256 visible characters".into()),
    }
}

#[cfg(test)]
#[path = "jwk_tests.rs"]
mod tests;
