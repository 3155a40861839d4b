//! Key sets (RFC 7517 §5): what an issuer publishes, reduced to what can be used.

use std::collections::{HashMap, HashSet};
use std::fmt;

use jsonwebtoken::DecodingKey;
use serde_json::Value;
use signer_actors::domain::digest::Sha256Digest;

use super::jwk::PublicJwk;
use super::{Refused, json};

/// Longest accepted document, in bytes.
pub const MAX_DOCUMENT: usize = 64 * 1024;
/// Most keys in a document, usable or not.
pub const MAX_KEYS: usize = 16;

/// The usable keys of an issuer, by `kid`. Never empty.
#[derive(Clone)]
pub struct KeySet {
    keys: HashMap<String, IssuerKey>,
}

/// One usable key of an issuer.
#[derive(Clone)]
pub(crate) struct IssuerKey {
    /// The key as published.
    pub(crate) jwk: PublicJwk,
    /// Its thumbprint (RFC 7638), computed once.
    pub(crate) thumbprint: Sha256Digest,
    /// The same for the `jsonwebtoken` crate.
    pub(crate) decoding: DecodingKey,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys().map(PublicJwk::kid)).finish()
    }
}

impl KeySet {
    /// Reads a JWKS. Keys that cannot be used here (symmetric, private, for encryption, of another algorithm or curve,
    /// malformed, without `kid`) are left out (RFC 7517 §5); a document that is ambiguous or has no usable key is refused.
    pub fn parse(document: &[u8]) -> Result<Self, Refused> {
        if document.len() > MAX_DOCUMENT {
            return Err("the key set is longer than 64 KiB".into());
        }
        let object = json::parse_object(document).map_err(|why| Refused(format!("the key set: {why}")))?;
        let Some(Value::Array(listed)) = object.get("keys") else {
            return Err("the key set has no array `keys`".into());
        };
        if listed.len() > MAX_KEYS {
            return Err("the key set has more than 16 keys".into());
        }
        refuse_duplicate_kids(listed)?;
        let keys: HashMap<_, _> = listed.iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(
                "the key set has no usable key: EC P-256, EC P-384, Ed25519 or RSA, with `kid`".into(),
            );
        }
        Ok(Self { keys })
    }

    /// The key with this id.
    pub(crate) fn get(&self, kid: &str) -> Option<&IssuerKey> {
        self.keys.get(kid)
    }

    /// True when a key with this id is in the set.
    pub fn contains(&self, kid: &str) -> bool {
        self.keys.contains_key(kid)
    }

    /// Every key, in no order: to check that signing keys are none of them.
    pub fn keys(&self) -> impl Iterator<Item = &PublicJwk> {
        self.keys.values().map(|key| &key.jwk)
    }
}

/// Counts the ids of unusable keys too: which of two keys an id means must not hang on what we support.
fn refuse_duplicate_kids(listed: &[Value]) -> Result<(), Refused> {
    let mut seen = HashSet::new();
    let mut kids = listed.iter().filter_map(|jwk| jwk.get("kid")?.as_str());
    if kids.all(|kid| seen.insert(kid)) {
        return Ok(());
    }
    Err("the key set has a `kid` twice".into())
}

fn usable(jwk: &Value) -> Option<(String, IssuerKey)> {
    let jwk = PublicJwk::parse(jwk.as_object()?).ok()?;
    let kid = jwk.kid()?.to_owned();
    // Builds the key once for its checks: a point off its curve makes it unusable.
    jwk.pkey().ok()?;
    let decoding = jwk.decoding_key().ok()?;
    let thumbprint = jwk.thumbprint();
    let key = IssuerKey {
        jwk,
        thumbprint,
        decoding,
    };
    Some((kid, key))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::adapters::jose::testkit::{self, jwk_with_kid};

    fn parse(keys: Value) -> Result<KeySet, Refused> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn keeps_usable_keys_and_leaves_the_rest_out() {
        let good = jwk_with_kid(&testkit::p256(), "good");
        let mut enc = jwk_with_kid(&testkit::p256(), "enc");
        enc["use"] = json!("enc");
        let mut private = jwk_with_kid(&testkit::p256(), "private");
        private["d"] = json!("AAAA");
        let mut off = jwk_with_kid(&testkit::p256(), "off-curve");
        off["x"] = json!(super::super::b64url(&[1; 32]));
        let oct = json!({ "kty": "oct", "kid": "oct", "k": "AAAA" });
        let nameless = crate::adapters::jose::mint::jwk_of(&testkit::p256()).unwrap();
        let set = parse(json!([enc, private, off, oct, nameless, 7, null, good])).unwrap();
        assert_eq!(set.keys().map(|k| k.kid().unwrap()).collect::<Vec<_>>(), ["good"]);
        assert!(set.contains("good"));
        assert!(!set.contains("oct"));
        assert!(parse(json!([enc, private, off, oct])).is_err());
    }

    #[test]
    fn refuses_sets_that_are_ambiguous_empty_or_out_of_bounds() {
        let key = |kid: &str| jwk_with_kid(&testkit::p256(), kid);
        let many = |n: usize| (0..n).map(|i| key(&i.to_string())).collect::<Vec<_>>();
        assert!(parse(json!(many(16))).is_ok());
        assert!(parse(json!(many(17))).is_err());
        assert!(parse(json!([key("a"), key("a")])).is_err());
        assert!(parse(json!([key("a"), { "kty": "oct", "k": "AA", "kid": "a" }])).is_err());
        assert!(parse(json!([])).is_err());
        assert!(parse(json!({})).is_err());
        for bad in ["", "[]", "{}", "null", "<html>", r#"{"keys":[],"keys":[]}"#] {
            assert!(KeySet::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let mut padded = json!({ "keys": [key("a")] }).to_string();
        padded.push_str(&" ".repeat(MAX_DOCUMENT));
        assert!(KeySet::parse(padded.as_bytes()).is_err());
        // A member twice inside a key is refused with the whole document.
        let doubled = json!({ "keys": [key("a")] })
            .to_string()
            .replace("\"kty\"", "\"kid\":\"b\",\"kty\"");
        assert!(KeySet::parse(doubled.as_bytes()).is_err());
    }
}
