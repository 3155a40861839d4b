//! Fresh keys, key sets and secrets. Everything is made at start and gone with the process.

use std::io;

use openssl::pkey::{PKey, Private};
use serde_json::{Value, json};

use super::jws::thumbprint;
use crate::adapters::jose::jwk::PublicJwk;
use crate::adapters::jose::mint;
use crate::crypto::generate_p256;

/// A P-256 key that signs tokens, with its key id (the RFC 7638 thumbprint).
#[derive(Clone)]
pub(super) struct TokenKey {
    key: PKey<Private>,
    kid: String,
    jwks: Value,
}

impl TokenKey {
    pub(super) fn generate() -> io::Result<Self> {
        let key = generate_p256()?;
        let mut jwk = mint::jwk_of(&key).map_err(io::Error::other)?;
        let public = jwk.as_object().map(PublicJwk::parse);
        let public = public.ok_or_else(|| io::Error::other("a JWK is no object"))?;
        let kid = thumbprint(&public.map_err(io::Error::other)?);
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), json!(kid));
            members.insert("use".to_owned(), json!("sig"));
            members.insert("alg".to_owned(), json!("ES256"));
        }
        let jwks = json!({ "keys": [jwk] });
        Ok(Self { key, kid, jwks })
    }

    /// The JWK set to publish (RFC 7517 §5).
    pub(super) fn jwks(&self) -> &Value {
        &self.jwks
    }

    /// A token of this type. `None` only if OpenSSL fails.
    pub(super) fn mint(&self, typ: &str, claims: &Value) -> Option<String> {
        let header = json!({ "typ": typ, "alg": "ES256", "kid": self.kid });
        mint::sign_compact(&header, claims, &self.key).ok()
    }
}

/// A fresh secret of 256 bits, in hexadecimal.
pub(super) fn secret() -> io::Result<String> {
    let mut bytes = [0u8; 32];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(hex::encode(bytes))
}

/// Compares secrets in a time that depends on their length only.
pub(super) fn same_secret(given: &str, kept: &str) -> bool {
    given.len() == kept.len() && openssl::memcmp::eq(given.as_bytes(), kept.as_bytes())
}
