//! Keys, tokens and proofs, by OpenSSL and the RFCs.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Padding;
use openssl::sha::{sha256, sha384};
use openssl::sign::{RsaPssSaltlen, Signer};
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

/// The public JWK of an EC key (RFC 7518 §6.2.1), RSA key (§6.3.1) or Ed25519 key (RFC 8037 §2).
pub(crate) fn jwk(key: &PKey<Private>) -> Value {
    match key.id() {
        Id::EC => {
            let (x, y) = coordinates(key);
            let crv = if x.len() == 32 { "P-256" } else { "P-384" };
            json!({ "kty": "EC", "crv": crv, "x": b64(x), "y": b64(y) })
        }
        Id::RSA => {
            let rsa = key.rsa().unwrap();
            json!({ "kty": "RSA", "n": b64(rsa.n().to_vec()), "e": b64(rsa.e().to_vec()) })
        }
        _ => json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(key.raw_public_key().unwrap()) }),
    }
}

/// The point of an EC key, each coordinate as long as its curve's field.
fn coordinates(key: &PKey<Private>) -> (Vec<u8>, Vec<u8>) {
    let ec = key.ec_key().unwrap();
    let (mut x, mut y, mut context) = (
        BigNum::new().unwrap(),
        BigNum::new().unwrap(),
        BigNumContext::new().unwrap(),
    );
    ec.public_key()
        .affine_coordinates(ec.group(), &mut x, &mut y, &mut context)
        .unwrap();
    let length = i32::try_from(ec.group().degree().div_ceil(8)).unwrap();
    (x.to_vec_padded(length).unwrap(), y.to_vec_padded(length).unwrap())
}

/// The thumbprint of a key's JWK.
pub(crate) fn thumbprint(key: &PKey<Private>) -> String {
    thumbprint_of(&jwk(key))
}

/// RFC 7638 §3, RFC 8037 §2: over the required members that are there, in the order of their names.
pub(crate) fn thumbprint_of(jwk: &Value) -> String {
    let required = ["crv", "e", "k", "kty", "n", "x", "y"];
    let members = required
        .into_iter()
        .filter_map(|name| Some((name, jwk.get(name)?)));
    let members: BTreeMap<&str, &Value> = members.collect();
    b64(sha256(serde_json::to_string(&members).unwrap().as_bytes()))
}

/// `alg` of what this key signs.
pub(crate) fn algorithm(key: &PKey<Private>) -> &'static str {
    match key.id() {
        Id::EC if coordinates(key).0.len() == 32 => "ES256",
        Id::EC => "ES384",
        Id::RSA => "PS256",
        Id::HMAC => "HS256",
        _ => "EdDSA",
    }
}

/// A JWS signature (RFC 7518 §3.2 to §3.5, RFC 8037 §3.1).
fn signature(key: &PKey<Private>, input: &[u8]) -> Vec<u8> {
    match algorithm(key) {
        "ES256" => ecdsa(key, &sha256(input), 32),
        "ES384" => ecdsa(key, &sha384(input), 48),
        "PS256" => {
            let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
            signer.sign_oneshot_to_vec(input).unwrap()
        }
        "HS256" => {
            let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
            signer.sign_oneshot_to_vec(input).unwrap()
        }
        _ => {
            let mut signer = Signer::new_without_digest(key).unwrap();
            signer.sign_oneshot_to_vec(input).unwrap()
        }
    }
}

fn ecdsa(key: &PKey<Private>, digest: &[u8], length: i32) -> Vec<u8> {
    let signature = EcdsaSig::sign(digest, &key.ec_key().unwrap()).unwrap();
    let mut raw = signature.r().to_vec_padded(length).unwrap();
    raw.extend(signature.s().to_vec_padded(length).unwrap());
    raw
}

/// A token before it is signed: everything may be changed.
pub(crate) struct Draft {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    pub(crate) key: PKey<Private>,
    rewrites: Vec<(Part, Rewrite)>,
}

/// What is rewritten, byte by byte, while a token is put together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    Payload,
    Signature,
    Whole,
}

type Rewrite = Box<dyn FnOnce(Vec<u8>) -> Vec<u8>>;

impl Draft {
    fn new(header: Value, claims: Value, key: &PKey<Private>) -> Self {
        Self {
            header,
            claims,
            key: key.clone(),
            rewrites: Vec::new(),
        }
    }

    /// The header's text becomes another before it is signed.
    pub(crate) fn header_text(&mut self, rewrite: impl FnOnce(String) -> String + 'static) {
        self.rewrites.push((Part::Header, as_text(rewrite)));
    }

    /// The claims' text becomes another before it is signed.
    pub(crate) fn claims_text(&mut self, rewrite: impl FnOnce(String) -> String + 'static) {
        self.rewrites.push((Part::Payload, as_text(rewrite)));
    }

    /// What is signed as payload.
    pub(crate) fn payload(&mut self, rewrite: impl FnOnce(Vec<u8>) -> Vec<u8> + 'static) {
        self.rewrites.push((Part::Payload, Box::new(rewrite)));
    }

    /// The signature becomes another.
    pub(crate) fn signature(&mut self, rewrite: impl FnOnce(Vec<u8>) -> Vec<u8> + 'static) {
        self.rewrites.push((Part::Signature, Box::new(rewrite)));
    }

    /// The finished token becomes another.
    pub(crate) fn whole(&mut self, rewrite: impl FnOnce(String) -> String + 'static) {
        self.rewrites.push((Part::Whole, as_text(rewrite)));
    }

    /// Signed by this key, with its algorithm.
    pub(crate) fn by(&mut self, key: &PKey<Private>) {
        self.header["alg"] = json!(algorithm(key));
        self.key = key.clone();
    }

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

    /// A compact JWS (RFC 7515 §7.1) by the algorithm of the key, whatever the header says; without signature if it
    /// says `none`.
    pub(crate) fn sign(self) -> String {
        let mut rewrites = self.rewrites;
        let mut rewritten = |part: Part, bytes: Vec<u8>| {
            let (of_part, others) = std::mem::take(&mut rewrites)
                .into_iter()
                .partition(|(of, _)| *of == part);
            rewrites = others;
            let of_part: Vec<(Part, Rewrite)> = of_part;
            of_part
                .into_iter()
                .fold(bytes, |bytes, (_, rewrite)| rewrite(bytes))
        };
        let header = rewritten(Part::Header, self.header.to_string().into_bytes());
        let claims = rewritten(Part::Payload, self.claims.to_string().into_bytes());
        let input = format!("{}.{}", b64(header), b64(claims));
        let made = if self.header["alg"] == "none" {
            Vec::new()
        } else {
            signature(&self.key, input.as_bytes())
        };
        let made = rewritten(Part::Signature, made);
        let whole = format!("{input}.{}", b64(made));
        String::from_utf8(rewritten(Part::Whole, whole.into_bytes())).unwrap()
    }
}

fn as_text(rewrite: impl FnOnce(String) -> String + 'static) -> Rewrite {
    Box::new(|bytes| rewrite(String::from_utf8(bytes).unwrap()).into_bytes())
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
        let mut draft = Draft::new(
            json!({ "typ": "at+jwt", "alg": "ES256", "kid": "authority-1" }),
            json!({
                "iss": AUTHORITY, "aud": "signer", "iat": now, "nbf": now, "exp": now + 300,
                "jti": Uuid::now_v7().to_string(), "sub": "scanner-7", "client_id": "scanner",
                "scope": "signer.sign signer.verify", "tid": "acme", "inst": "acme-1",
                "cnf": { "jkt": thumbprint(&self.caller) }, "scanner_image": self.scanner,
            }),
            &self.authority,
        );
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
        let mut draft = Draft::new(
            json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(&self.caller) }),
            json!({
                "jti": Uuid::now_v7().to_string(), "htm": method, "htu": format!("{ORIGIN}{path}"), "iat": now(),
                "ath": b64(sha256(token.as_bytes())),
            }),
            &self.caller,
        );
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
            rewrites: Vec::new(),
        };
        edit(&mut draft);
        draft.sign()
    }

    /// A proof of entitlement (contract §4).
    pub(crate) fn poe(&self, edit: impl FnOnce(&mut Draft)) -> String {
        let now = now();
        let mut draft = Draft::new(
            json!({ "typ": "poe+jwt", "alg": "ES256", "kid": "licensing-1" }),
            json!({
                "iss": LICENSING, "aud": "signer", "iat": now, "nbf": now, "exp": now + 3600,
                "jti": Uuid::now_v7().to_string(), "sub": "acme", "lic": "lic-1", "tid": "acme", "inst": "acme-1",
                "plan": "pro",
                "limits": { "qps": 100, "burst": 200, "concurrency": 16, "maxArtifactBytes": 1_000_000 },
                "versionWindow": { "min": "2026.01", "max": "2026.12" },
                "features": ["mode:keyless", "mode:kms", "predicate:*"],
            }),
            &self.licensing,
        );
        edit(&mut draft);
        draft.sign()
    }
}

pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}
