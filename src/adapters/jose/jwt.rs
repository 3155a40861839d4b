//! Verifying a JWT of a known issuer: what operational tokens and proofs of entitlement have in common.

use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Validation;
use jsonwebtoken::errors::ErrorKind;
use serde::de::IgnoredAny;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::jws::JwsAlgorithm;
use signer_actors::domain::validity::{NotNow, Validity};

use super::Refused;
use super::claims::Claims;
use super::header::{Compact, MAX_TOKEN, Use, media_type};
use super::jwks::{IssuerKey, KeySet};
use crate::openssl_errors;

/// Longest accepted clock skew (contract §3).
pub const MAX_SKEW: Duration = Duration::from_secs(30);

const BAD_SIGNATURE: &str = "its signature does not hold: it was changed, or another key made it";

/// What a token must be to be accepted.
#[derive(Clone, Debug)]
pub struct Policy {
    issuer: String,
    audience: String,
    types: Vec<String>,
    algorithms: Vec<JwsAlgorithm>,
    skew: TimeDelta,
    most: usize,
}

/// A token whose type, signature, issuer, audience and times hold.
#[derive(Debug)]
pub struct VerifiedJwt {
    /// Id of the key that signed it.
    pub kid: String,
    /// Thumbprint of that key (RFC 7638).
    pub key: Sha256Digest,
    /// What it says.
    pub claims: Claims,
    /// `iat`, `nbf`, `exp`
    pub validity: Validity,
}

/// Why a token was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The issuer publishes no key of this id, as far as known.
    UnknownKey {
        /// `kid` of the header, at most 256 visible characters.
        kid: String,
    },
    /// Type, signature, issuer and audience hold, but `exp` is past.
    Expired,
    /// It is not acceptable, for this reason.
    Invalid(Refused),
}

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        Self::Invalid(refused)
    }
}

impl From<&str> for Rejection {
    fn from(reason: &str) -> Self {
        Self::Invalid(reason.into())
    }
}

impl Policy {
    /// Tokens of these types (`typ`, compared as media types) by this issuer for this audience, by these algorithms. The
    /// skew is cut to [`MAX_SKEW`].
    pub fn new(
        issuer: &str,
        audience: &str,
        types: &[String],
        algorithms: &[JwsAlgorithm],
        skew: Duration,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            types: types.iter().map(|typ| media_type(typ)).collect(),
            algorithms: algorithms.to_vec(),
            skew: TimeDelta::from_std(skew.min(MAX_SKEW)).unwrap_or_default(),
            most: MAX_TOKEN,
        }
    }

    /// The same for tokens of up to this many bytes instead of [`MAX_TOKEN`].
    pub fn up_to(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Verifies the token. CPU only; what it costs, and why tokens are remembered: docs/reference/performance.md.
    pub fn verify(&self, token: &str, keys: &KeySet, now: DateTime<Utc>) -> Result<VerifiedJwt, Rejection> {
        let compact = Compact::parse_within(token, Use::Token, self.most)?;
        if !self.types.contains(&compact.header.typ) {
            // RFC 8725 §3.11: a token of another kind by the same issuer must not pass.
            return Err("its `typ` is not that of a token accepted here".into());
        }
        let Some(kid) = compact.header.kid else {
            return Err("its header has no `kid`".into());
        };
        let Some(key) = keys.get(&kid) else {
            return Err(Rejection::UnknownKey { kid });
        };
        // RFC 8725 §3.1: the key decides the algorithm; the header must say the same, and policy must allow it.
        let algorithm = key.jwk.algorithm();
        if compact.header.algorithm != algorithm || !self.algorithms.contains(&algorithm) {
            return Err("its `alg` is not that of its key, or not accepted".into());
        }
        // The library does not know the name `Ed25519` (RFC 9864 §2.2), and takes a PSS salt of any length where RFC 7518
        // §3.5 wants that of the hash.
        if algorithm != JwsAlgorithm::EdDsa {
            self.check_signature(token, key)?;
        }
        if matches!(algorithm, JwsAlgorithm::EdDsa | JwsAlgorithm::Ps256)
            && !key
                .jwk
                .verify(compact.signing_input.as_bytes(), &compact.signature)
        {
            return Err(BAD_SIGNATURE.into());
        }
        let claims = Claims::parse(&compact.payload)?;
        let validity = self.check_claims(&claims, now)?;
        Ok(VerifiedJwt {
            kid,
            key: key.thumbprint,
            claims,
            validity,
        })
    }

    /// Accepted difference of clocks.
    pub fn skew(&self) -> TimeDelta {
        self.skew
    }

    /// The signature, and once more issuer and audience, by the library. Its clock is the machine's, not ours, and its
    /// defaults are lenient, so [`Self::check_claims`] repeats everything without it.
    fn check_signature(&self, token: &str, key: &IssuerKey) -> Result<(), Rejection> {
        install_provider();
        let mut validation = Validation::new(library(key.jwk.algorithm()));
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.leeway = 0;
        let decoded = jsonwebtoken::decode::<IgnoredAny>(token, &key.decoding, &validation);
        let reason = match decoded {
            Ok(_) => return Ok(()),
            Err(error) => match error.kind() {
                ErrorKind::InvalidSignature => BAD_SIGNATURE,
                ErrorKind::InvalidIssuer => "its `iss` is not the issuer that this service trusts",
                ErrorKind::InvalidAudience => "its `aud` does not name this service",
                ErrorKind::MissingRequiredClaim(_) => {
                    "it lacks one of `iss`, `aud`, `exp`, or has it mistyped"
                }
                _ => "it is not well formed",
            },
        };
        // What OpenSSL queued must not surface in a later, unrelated call on this thread.
        openssl_errors::forget();
        Err(reason.into())
    }

    fn check_claims(&self, claims: &Claims, now: DateTime<Utc>) -> Result<Validity, Rejection> {
        // One string, never an array that contains the issuer (RFC 7519 §4.1.1).
        if claims.string("iss")? != self.issuer {
            return Err("its `iss` is not the issuer that this service trusts".into());
        }
        if !claims.is_for(&self.audience) {
            return Err("its `aud` does not name this service".into());
        }
        let validity = Validity {
            issued: claims.required_date("iat")?,
            not_before: claims.date("nbf")?,
            expires: claims.required_date("exp")?,
        };
        if validity.expires <= validity.issued {
            return Err("its `exp` is not after its `iat`".into());
        }
        match validity.check(now, self.skew) {
            Ok(()) => Ok(validity),
            Err(NotNow::IssuedLater) => Err("its `iat` is in the future: check the clocks".into()),
            Err(NotNow::NotYet) => Err("its `nbf` is in the future: it is not valid yet".into()),
            Err(NotNow::Expired) => Err(Rejection::Expired),
        }
    }
}

/// Tells `jsonwebtoken` to use OpenSSL, once for the process.
fn install_provider() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    // An error means that a provider is installed already; this crate installs no other, and builds none in.
    INSTALLED.get_or_init(|| {
        let _ = jsonwebtoken_openssl::DEFAULT_PROVIDER.install_default();
    });
}

/// What the `jsonwebtoken` crate calls an algorithm.
fn library(algorithm: JwsAlgorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        JwsAlgorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        JwsAlgorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        JwsAlgorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        JwsAlgorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use openssl::hash::MessageDigest;
    use openssl::rsa::Padding;
    use openssl::sign::RsaPssSaltlen;
    use serde_json::{Value, json};

    use super::*;
    use crate::adapters::jose::testkit::{self, Issuer, NOW, at};
    use crate::adapters::jose::{b64url, mint};

    fn policy() -> Policy {
        Policy::new(
            "https://authority.example",
            "signer",
            &["at+jwt".to_owned()],
            &JwsAlgorithm::ALL,
            Duration::from_secs(30),
        )
    }

    fn claims() -> Value {
        json!({ "iss": "https://authority.example", "aud": "signer", "iat": NOW, "exp": NOW + 300 })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    fn outcome(issuer: &Issuer, token: &str, now: DateTime<Utc>) -> String {
        match policy().verify(token, &issuer.key_set(), now) {
            Ok(_) => "ok".to_owned(),
            Err(Rejection::UnknownKey { kid }) => format!("unknown {kid}"),
            Err(Rejection::Expired) => "expired".to_owned(),
            Err(Rejection::Invalid(why)) => why.0,
        }
    }

    #[test]
    fn a_token_by_each_kind_of_key_is_accepted() {
        for key in testkit::one_key_of_each_kind() {
            let issuer = Issuer::with_key(key);
            assert_eq!(outcome(&issuer, &issuer.sign("at+jwt", &claims()), at(NOW)), "ok");
        }
    }

    #[test]
    fn a_pss_salt_of_another_length_than_the_hash_is_refused() {
        // RFC 7518 §3.5.
        let issuer = Issuer::with_key(testkit::rsa());
        let header = json!({ "typ": "at+jwt", "kid": "k1", "alg": "PS256" }).to_string();
        let input = format!(
            "{}.{}",
            b64url(header.as_bytes()),
            b64url(claims().to_string().as_bytes())
        );
        for (salt, expected) in [
            (32, "ok"),
            (0, "signature"),
            (20, "signature"),
            (222, "signature"),
        ] {
            let mut signer = openssl::sign::Signer::new(MessageDigest::sha256(), &issuer.key).unwrap();
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt)).unwrap();
            let signature = signer.sign_oneshot_to_vec(input.as_bytes()).unwrap();
            let got = outcome(&issuer, &format!("{input}.{}", b64url(&signature)), at(NOW));
            assert!(got.contains(expected), "{salt}: {got}");
            assert!(openssl_errors::was_empty());
        }
    }

    #[test]
    fn an_ed25519_token_may_name_its_algorithm_either_way() {
        let key = openssl::pkey::PKey::generate_ed25519().unwrap();
        let issuer = Issuer::with_key(key);
        for alg in ["EdDSA", "Ed25519", "ES256", "Ed448"] {
            let header = json!({ "typ": "at+jwt", "kid": "k1", "alg": alg }).to_string();
            let part = |text: &str| b64url(text.as_bytes());
            let input = format!("{}.{}", part(&header), part(&claims().to_string()));
            let mut signature = mint::sign_bytes(input.as_bytes(), &issuer.key).unwrap();
            let got = outcome(&issuer, &format!("{input}.{}", b64url(&signature)), at(NOW));
            let known = alg.starts_with("Ed") && alg != "Ed448";
            assert!(got.contains(if known { "ok" } else { "`alg`" }), "{alg}: {got}");
            signature[0] ^= 1;
            let got = outcome(&issuer, &format!("{input}.{}", b64url(&signature)), at(NOW));
            assert!(
                got.contains(if known { "signature" } else { "`alg`" }),
                "{alg}: {got}"
            );
        }
    }

    #[test]
    fn claims_decide() {
        let issuer = Issuer::new();
        for (claims, expected) in [
            (claims(), "ok"),
            (with("aud", json!(["x", "signer"])), "ok"),
            (with("nbf", json!(NOW + 30)), "ok"),
            (with("nbf", json!(NOW + 31)), "`nbf`"),
            (with("nbf", json!("1")), "`nbf`"),
            (with("nbf", json!(null)), "`nbf`"),
            (with("iat", json!(NOW + 30)), "ok"),
            (with("iat", json!(NOW + 31)), "`iat`"),
            (with("iat", json!(null)), "`iat`"),
            (with("iat", json!("1")), "`iat`"),
            (with("iat", json!(true)), "`iat`"),
            (with("exp", json!(NOW + 300).to_string().into()), "exp"),
            (with("exp", json!(null)), "exp"),
            (with("exp", json!(NOW)), "`exp`"),
            (with("exp", json!(1e300)), "exp"),
            (with("iss", json!(["https://authority.example"])), "`iss`"),
            (with("iss", json!("https://authority.example/")), "`iss`"),
            (with("iss", json!(null)), "`iss`"),
            (with("aud", json!("other")), "`aud`"),
            (with("aud", json!([])), "`aud`"),
            (with("aud", json!(["signer", 1])), "`aud`"),
        ] {
            let got = outcome(&issuer, &issuer.sign("at+jwt", &claims), at(NOW));
            assert!(got.contains(expected), "{claims}: {got}");
        }
        for name in ["iss", "aud", "exp", "iat"] {
            let mut claims = claims();
            claims.as_object_mut().unwrap().remove(name);
            let got = outcome(&issuer, &issuer.sign("at+jwt", &claims), at(NOW));
            assert!(got.contains(name), "without {name}: {got}");
        }
    }

    #[test]
    fn expiry_ends_with_the_skew() {
        let issuer = Issuer::new();
        let token = issuer.sign("at+jwt", &claims());
        assert_eq!(outcome(&issuer, &token, at(NOW + 329)), "ok");
        assert_eq!(outcome(&issuer, &token, at(NOW + 330)), "expired");
        let stricter = Policy::new("i", "a", &[], &[], Duration::from_secs(3600));
        assert_eq!(stricter.skew, TimeDelta::seconds(30));
    }

    #[test]
    fn types_keys_and_algorithms_decide() {
        let issuer = Issuer::new();
        let sign = |header: Value| mint::sign_compact(&header, &claims(), &issuer.key).unwrap();
        for (token, expected) in [
            (sign(json!({ "typ": "APPLICATION/AT+JWT", "kid": "k1" })), "ok"),
            (sign(json!({ "typ": "JWT", "kid": "k1" })), "`typ`"),
            (sign(json!({ "typ": "poe+jwt", "kid": "k1" })), "`typ`"),
            (sign(json!({ "kid": "k1" })), "`typ`"),
            (sign(json!({ "typ": "at+jwt" })), "`kid`"),
            (sign(json!({ "typ": "at+jwt", "kid": "k2" })), "unknown k2"),
            (sign(json!({ "typ": "at+jwt", "kid": "k1", "jwk": {} })), "`jwk`"),
        ] {
            assert!(outcome(&issuer, &token, at(NOW)).contains(expected), "{expected}");
        }
        // The same id, another key of the same kind.
        let impostor = Issuer::new();
        let forged = impostor.sign("at+jwt", &claims());
        assert!(outcome(&issuer, &forged, at(NOW)).contains("signature"));
        assert!(openssl_errors::was_empty());
        // The header names the algorithm of another key of the set, or an HMAC with the public key as its secret.
        for alg in ["ES384", "EdDSA", "PS256", "HS256", "none"] {
            let header = json!({ "typ": "at+jwt", "kid": "k1", "alg": alg }).to_string();
            let input = format!(
                "{}.{}",
                b64url(header.as_bytes()),
                b64url(claims().to_string().as_bytes())
            );
            let signature = mint::sign_bytes(input.as_bytes(), &issuer.key).unwrap();
            for signature in [b64url(&signature), String::new()] {
                let got = outcome(&issuer, &format!("{input}.{signature}"), at(NOW));
                assert!(got.contains("`alg`"), "{alg}: {got}");
            }
        }
    }

    #[test]
    fn an_algorithm_that_policy_leaves_out_is_refused() {
        let issuer = Issuer::new();
        let policy = Policy {
            algorithms: vec![JwsAlgorithm::EdDsa],
            ..policy()
        };
        assert!(
            policy
                .verify(&issuer.sign("at+jwt", &claims()), &issuer.key_set(), at(NOW))
                .is_err()
        );
    }

    #[test]
    fn duplicate_claims_and_changed_bytes_are_refused() {
        let issuer = Issuer::new();
        let header = b64url(br#"{"typ":"at+jwt","kid":"k1","alg":"ES256"}"#);
        let doubled = claims().to_string().replacen('{', "{\"aud\":\"other\",", 1);
        let input = format!("{header}.{}", b64url(doubled.as_bytes()));
        let signature = b64url(&mint::sign_bytes(input.as_bytes(), &issuer.key).unwrap());
        assert_ne!(outcome(&issuer, &format!("{input}.{signature}"), at(NOW)), "ok");

        let token = issuer.sign("at+jwt", &claims());
        let (head, rest) = token.split_once('.').unwrap();
        let (_, signature) = rest.split_once('.').unwrap();
        let payload = b64url(with("aud", json!(["signer", "more"])).to_string().as_bytes());
        let got = outcome(&issuer, &format!("{head}.{payload}.{signature}"), at(NOW));
        assert!(got.contains("signature"), "{got}");
        assert!(outcome(&issuer, &format!("{head}.{payload}."), at(NOW)).contains("signature"));
    }
}
