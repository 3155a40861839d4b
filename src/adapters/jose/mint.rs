//! Making JWTs and JWKs: for the embedded neighbours of `signer dev`, for the command-line client (DPoP proofs) and for
//! tests. The service itself signs no JWT.

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::EcKeyRef;
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKeyRef, Private};
use openssl::rsa::Padding;
use openssl::sha::{Sha256, sha384};
use openssl::sign::{RsaPssSaltlen, Signer};
use serde_json::{Value, json};

use super::b64url;

/// Why a token or a JWK could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The key is none of EC P-256, EC P-384, Ed25519, RSA.
    #[error("the key is of a kind that signs no token: use EC P-256, EC P-384, Ed25519 or RSA")]
    UnsupportedKey,
    /// The header is no JSON object, or names another algorithm than the key's.
    #[error("the header must be a JSON object whose `alg` is absent or the key's algorithm")]
    Header,
    /// OpenSSL failed.
    #[error("openssl could not use the key")]
    OpenSsl(#[from] openssl::error::ErrorStack),
}

/// The one algorithm that tokens by this key use: `ES256`, `ES384`, `EdDSA` or `PS256` (RFC 7518 §3.1, RFC 8037 §3.1).
pub fn algorithm_of<T: HasPublic>(key: &PKeyRef<T>) -> Result<&'static str, MintError> {
    match key.id() {
        Id::ED25519 => Ok("EdDSA"),
        Id::RSA => Ok("PS256"),
        Id::EC => Ok(Curve::of(&*key.ec_key()?)?.algorithm()),
        _ => Err(MintError::UnsupportedKey),
    }
}

/// The public JWK of a key, required members only (RFC 7517, RFC 7518 §6, RFC 8037 §2): callers add `kid`, `use`, `alg`.
pub fn jwk_of<T: HasPublic>(key: &PKeyRef<T>) -> Result<Value, MintError> {
    match key.id() {
        Id::ED25519 => {
            let x = b64url(&key.raw_public_key()?);
            Ok(json!({ "kty": "OKP", "crv": "Ed25519", "x": x }))
        }
        Id::RSA => {
            let rsa = key.rsa()?;
            Ok(json!({ "kty": "RSA", "n": b64url(&rsa.n().to_vec()), "e": b64url(&rsa.e().to_vec()) }))
        }
        Id::EC => {
            let ec = key.ec_key()?;
            let curve = Curve::of(&ec)?;
            let (mut x, mut y, mut context) = (BigNum::new()?, BigNum::new()?, BigNumContext::new()?);
            ec.public_key()
                .affine_coordinates(ec.group(), &mut x, &mut y, &mut context)?;
            let coordinate = |n: &BigNum| n.to_vec_padded(curve.coordinate_len());
            let (x, y) = (b64url(&coordinate(&x)?), b64url(&coordinate(&y)?));
            Ok(json!({ "kty": "EC", "crv": curve.name(), "x": x, "y": y }))
        }
        _ => Err(MintError::UnsupportedKey),
    }
}

/// A compact JWS (RFC 7515 §7.1) over the claims, by the key's own algorithm. `alg` is added to the header if absent.
pub fn sign_compact(header: &Value, claims: &Value, key: &PKeyRef<Private>) -> Result<String, MintError> {
    let algorithm = algorithm_of(key)?;
    let mut header = header.as_object().cloned().ok_or(MintError::Header)?;
    match header.get("alg") {
        None => {
            header.insert("alg".to_owned(), json!(algorithm));
        }
        Some(named) if named == algorithm => {}
        Some(_) => return Err(MintError::Header),
    }
    let header = Value::Object(header).to_string();
    let input = format!(
        "{}.{}",
        b64url(header.as_bytes()),
        b64url(claims.to_string().as_bytes())
    );
    let signature = sign_bytes(input.as_bytes(), key)?;
    Ok(format!("{input}.{}", b64url(&signature)))
}

/// The JWS signature of these bytes: ECDSA as r and s of fixed length (RFC 7518 §3.4), Ed25519 (RFC 8037 §3.1), or
/// RSASSA-PSS with a salt as long as the hash (RFC 7518 §3.5).
pub fn sign_bytes(input: &[u8], key: &PKeyRef<Private>) -> Result<Vec<u8>, MintError> {
    match key.id() {
        Id::ED25519 => Ok(Signer::new_without_digest(key)?.sign_oneshot_to_vec(input)?),
        Id::RSA => {
            let mut signer = Signer::new(MessageDigest::sha256(), key)?;
            signer.set_rsa_padding(Padding::PKCS1_PSS)?;
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
            Ok(signer.sign_oneshot_to_vec(input)?)
        }
        Id::EC => {
            let ec = key.ec_key()?;
            let curve = Curve::of(&ec)?;
            let signature = EcdsaSig::sign(&curve.digest(input), &ec)?;
            let len = curve.coordinate_len();
            let mut raw = signature.r().to_vec_padded(len)?;
            raw.extend(signature.s().to_vec_padded(len)?);
            Ok(raw)
        }
        _ => Err(MintError::UnsupportedKey),
    }
}

enum Curve {
    P256,
    P384,
}

impl Curve {
    fn of<T: HasPublic>(key: &EcKeyRef<T>) -> Result<Self, MintError> {
        match key.group().curve_name() {
            Some(Nid::X9_62_PRIME256V1) => Ok(Self::P256),
            Some(Nid::SECP384R1) => Ok(Self::P384),
            _ => Err(MintError::UnsupportedKey),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::P256 => "ES256",
            Self::P384 => "ES384",
        }
    }

    /// Bytes of a coordinate, and of r and of s.
    fn coordinate_len(&self) -> i32 {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    fn digest(&self, input: &[u8]) -> Vec<u8> {
        match self {
            Self::P256 => {
                let mut hasher = Sha256::new();
                hasher.update(input);
                hasher.finish().to_vec()
            }
            Self::P384 => sha384(input).to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use openssl::ec::{EcGroup, EcKey};
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::sign::Verifier;

    use super::*;
    use crate::adapters::jose::from_b64url;

    fn ec(nid: Nid) -> PKey<Private> {
        let group = EcGroup::from_curve_name(nid).unwrap();
        PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
    }

    #[test]
    fn a_token_by_every_kind_of_key_verifies_with_openssl() {
        let keys = [
            ("ES256", ec(Nid::X9_62_PRIME256V1), 64),
            ("ES384", ec(Nid::SECP384R1), 96),
            ("EdDSA", PKey::generate_ed25519().unwrap(), 64),
            (
                "PS256",
                PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
                256,
            ),
        ];
        for (algorithm, key, len) in keys {
            let token = sign_compact(&json!({ "typ": "JWT" }), &json!({ "a": 1 }), &key).unwrap();
            let (input, signature) = token.rsplit_once('.').unwrap();
            let header = from_b64url(input.split_once('.').unwrap().0).unwrap();
            let header: Value = serde_json::from_slice(&header).unwrap();
            assert_eq!(header, json!({ "typ": "JWT", "alg": algorithm }));
            let signature = from_b64url(signature).unwrap();
            assert_eq!(signature.len(), len, "{algorithm}");
            assert!(
                holds(algorithm, input.as_bytes(), &signature, &key),
                "{algorithm}"
            );
        }
    }

    fn holds(algorithm: &str, input: &[u8], signature: &[u8], key: &PKey<Private>) -> bool {
        let digest = match algorithm {
            "ES384" => MessageDigest::sha384(),
            _ => MessageDigest::sha256(),
        };
        match algorithm {
            "EdDSA" => Verifier::new_without_digest(key)
                .unwrap()
                .verify_oneshot(signature, input)
                .unwrap(),
            "PS256" => {
                let mut verifier = Verifier::new(digest, key).unwrap();
                verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(32)).unwrap();
                verifier.verify_oneshot(signature, input).unwrap()
            }
            _ => {
                let (r, s) = signature.split_at(signature.len() / 2);
                let (r, s) = (BigNum::from_slice(r).unwrap(), BigNum::from_slice(s).unwrap());
                let der = EcdsaSig::from_private_components(r, s).unwrap().to_der().unwrap();
                Verifier::new(digest, key)
                    .unwrap()
                    .verify_oneshot(&der, input)
                    .unwrap()
            }
        }
    }

    #[test]
    fn refuses_a_header_that_lies_about_the_algorithm_and_unsuitable_keys() {
        let key = ec(Nid::X9_62_PRIME256V1);
        for header in [
            json!({ "alg": "ES384" }),
            json!({ "alg": "none" }),
            json!([]),
            json!(null),
        ] {
            assert!(matches!(
                sign_compact(&header, &json!({}), &key),
                Err(MintError::Header)
            ));
        }
        assert!(sign_compact(&json!({ "alg": "ES256" }), &json!({}), &key).is_ok());
        let odd = ec(Nid::SECP256K1);
        assert!(matches!(jwk_of(&odd), Err(MintError::UnsupportedKey)));
        assert!(matches!(
            sign_compact(&json!({}), &json!({}), &odd),
            Err(MintError::UnsupportedKey)
        ));
    }

    #[test]
    fn a_public_jwk_has_no_private_member() {
        let jwk = jwk_of(&PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()).unwrap();
        let members: Vec<_> = jwk.as_object().unwrap().keys().cloned().collect();
        assert_eq!(members, ["e", "kty", "n"]);
        assert_eq!(jwk["e"], "AQAB");
    }

    #[test]
    fn the_jwk_of_the_example_key_of_rfc_8037() {
        // RFC 8037 appendix A.1 and A.2.
        let d = from_b64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let key = PKey::private_key_from_raw_bytes(&d, Id::ED25519).unwrap();
        let expected =
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        assert_eq!(jwk_of(&key).unwrap(), expected);
        // Appendix A.4: Ed25519 is deterministic.
        let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let expected =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(b64url(&sign_bytes(input, &key).unwrap()), expected);
    }
}
