//! Keys, tokens and proofs, by OpenSSL and the RFCs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sha::sha256;
use serde_json::{Value, json};
use uuid::Uuid;

use super::ORIGIN;

/// Issuer of tokens.
pub(crate) const AUTHORITY: &str = "https://authority.test";
/// Issuer of proofs of entitlement.
pub(crate) const LICENSING: &str = "https://licensing.test";

/// base64url without padding.
pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The reverse.
pub(crate) fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(sha256(bytes))
}

/// A fresh P-256 key.
pub(crate) fn p256() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// The public JWK (RFC 7518 §6.2.1).
pub(crate) fn jwk(key: &PKey<Private>) -> Value {
    let ec = key.ec_key().unwrap();
    let (mut x, mut y, mut context) = (
        BigNum::new().unwrap(),
        BigNum::new().unwrap(),
        BigNumContext::new().unwrap(),
    );
    ec.public_key()
        .affine_coordinates(ec.group(), &mut x, &mut y, &mut context)
        .unwrap();
    let coordinate = |n: &BigNum| b64(n.to_vec_padded(32).unwrap());
    json!({ "kty": "EC", "crv": "P-256", "x": coordinate(&x), "y": coordinate(&y) })
}

/// RFC 7638 §3.
pub(crate) fn thumbprint(key: &PKey<Private>) -> String {
    let jwk = jwk(key);
    let canonical = format!(
        r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#,
        jwk["x"], jwk["y"]
    );
    b64(sha256(canonical.as_bytes()))
}

/// A token before it is signed: everything may be changed.
pub(crate) struct Draft {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    pub(crate) key: PKey<Private>,
}

impl Draft {
    /// A claim; `null` takes it away.
    pub(crate) fn claim(&mut self, name: &str, value: impl Into<Value>) {
        match value.into() {
            Value::Null => {
                self.claims.as_object_mut().unwrap().remove(name);
            }
            value => self.claims[name] = value,
        }
    }

    /// Good for eight minutes, two minutes ago: beyond every skew.
    pub(crate) fn expired(&mut self) {
        let now = now();
        self.claim("iat", now - 600);
        self.claim("nbf", now - 600);
        self.claim("exp", now - 120);
    }

    /// A compact JWS with ES256 (RFC 7515 §7.1, RFC 7518 §3.4), whatever the header says; without signature if it says
    /// `none`.
    pub(crate) fn sign(&self) -> String {
        let input = format!(
            "{}.{}",
            b64(self.header.to_string()),
            b64(self.claims.to_string())
        );
        if self.header["alg"] == "none" {
            return format!("{input}.");
        }
        let signature = EcdsaSig::sign(&sha256(input.as_bytes()), &self.key.ec_key().unwrap()).unwrap();
        let mut raw = signature.r().to_vec_padded(32).unwrap();
        raw.extend(signature.s().to_vec_padded(32).unwrap());
        format!("{input}.{}", b64(raw))
    }
}

/// Every key, and how tokens look unless a test changes them.
pub(crate) struct Mint {
    pub(crate) authority: PKey<Private>,
    pub(crate) licensing: PKey<Private>,
    pub(crate) caller: PKey<Private>,
    /// The scanner image of requests.
    pub(crate) scanner: String,
}

impl Mint {
    pub(crate) fn new(scanner: String) -> Self {
        Self {
            authority: p256(),
            licensing: p256(),
            caller: p256(),
            scanner,
        }
    }

    /// The key set of the Authority or of Licensing (RFC 7517 §5).
    pub(crate) fn jwks(key: &PKey<Private>, kid: &str) -> Value {
        let mut jwk = jwk(key);
        jwk["kid"] = json!(kid);
        json!({ "keys": [jwk] })
    }

    /// An operational token (contract §3).
    pub(crate) fn token(&self, edit: impl FnOnce(&mut Draft)) -> String {
        let now = now();
        let mut draft = Draft {
            header: json!({ "typ": "at+jwt", "alg": "ES256", "kid": "authority-1" }),
            claims: json!({
                "iss": AUTHORITY, "aud": "signer", "iat": now, "nbf": now, "exp": now + 300,
                "jti": Uuid::now_v7().to_string(), "sub": "scanner-7", "client_id": "scanner",
                "scope": "signer.sign signer.verify", "tid": "acme", "inst": "acme-1",
                "cnf": { "jkt": thumbprint(&self.caller) }, "scanner_image": self.scanner,
            }),
            key: self.authority.clone(),
        };
        edit(&mut draft);
        draft.sign()
    }

    /// A DPoP proof (RFC 9449 §4.2).
    pub(crate) fn proof(
        &self,
        method: &str,
        path: &str,
        token: &str,
        edit: impl FnOnce(&mut Draft),
    ) -> String {
        let mut draft = Draft {
            header: json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(&self.caller) }),
            claims: json!({
                "jti": Uuid::now_v7().to_string(), "htm": method, "htu": format!("{ORIGIN}{path}"), "iat": now(),
                "ath": b64(sha256(token.as_bytes())),
            }),
            key: self.caller.clone(),
        };
        edit(&mut draft);
        draft.sign()
    }

    /// A licence file for the PoEs of [`Self::poe`].
    pub(crate) fn licence_file(&self, version: u64, edit: impl FnOnce(&mut Draft)) -> String {
        let now = now();
        let mut draft = Draft {
            header: json!({ "typ": "licence+jwt", "alg": "ES256", "kid": "licensing-1" }),
            claims: json!({
                "iss": LICENSING, "aud": "signer", "version": version, "iat": now, "exp": now + 86_400,
                "licences": [{ "lic": "lic-1", "tid": "acme", "inst": ["acme-1"] }],
            }),
            key: self.licensing.clone(),
        };
        edit(&mut draft);
        draft.sign()
    }

    /// A proof of entitlement (contract §4).
    pub(crate) fn poe(&self, edit: impl FnOnce(&mut Draft)) -> String {
        let now = now();
        let mut draft = Draft {
            header: json!({ "typ": "poe+jwt", "alg": "ES256", "kid": "licensing-1" }),
            claims: json!({
                "iss": LICENSING, "aud": "signer", "iat": now, "nbf": now, "exp": now + 3600,
                "jti": Uuid::now_v7().to_string(), "sub": "acme", "lic": "lic-1", "tid": "acme", "inst": "acme-1",
                "plan": "pro",
                "limits": { "qps": 100, "burst": 200, "concurrency": 16, "maxArtifactBytes": 1_000_000 },
                "versionWindow": { "min": "2026.01", "max": "2026.12" },
                "features": ["mode:keyless", "mode:kms", "predicate:*"],
            }),
            key: self.licensing.clone(),
        };
        edit(&mut draft);
        draft.sign()
    }
}

pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}
