//! Keys and certificates that the configuration names: they must be what they claim to be, and must not be shared.

use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public};
use openssl::x509::X509;

use super::error::Problem;
use super::files::{self, PublicFile};
use super::layers::Layers;
use super::secret::Secret;
use crate::crypto;

/// SubjectPublicKeyInfo in DER: the identity of a key, whatever file it stands in and however its point is encoded.
pub(crate) type Spki = Vec<u8>;

/// A private key in PEM; `passphrase` when it is encrypted.
pub(crate) fn private_key(key: &Secret, passphrase: Option<&Secret>) -> Result<PKey<Private>, Problem> {
    let wrong = || {
        let problem = format!(
            "{} is not a private key in PEM that can be opened",
            key.reference()
        );
        Problem::new(
            problem,
            "give a PKCS#8 PEM file; an encrypted one needs its passphrase, and the right one",
        )
    };
    let parsed = match passphrase {
        Some(passphrase) => {
            PKey::private_key_from_pem_passphrase(key.expose(), passphrase.expose_text().as_bytes())
        }
        // A callback, because OpenSSL would ask on the terminal otherwise.
        None => PKey::private_key_from_pem_callback(key.expose(), |_| Ok(0)),
    };
    parsed.map_err(|_| wrong())
}

/// A file of certificates in PEM, as a key names it.
pub(crate) fn certificates_file(text: &str, layers: &Layers) -> Result<PublicFile, Problem> {
    let file = files::public(text, layers)?;
    certificates(&file).map(|_| file)
}

/// A public key in PEM (SubjectPublicKeyInfo).
pub(crate) fn public_key(file: &PublicFile) -> Result<PKey<Public>, Problem> {
    PKey::public_key_from_pem(&file.bytes).map_err(|_| {
        let problem = format!("{} is not a public key in PEM", file.path.display());
        Problem::new(problem, "give a file that starts with -----BEGIN PUBLIC KEY-----")
    })
}

/// One or more certificates in PEM.
pub(crate) fn certificates(file: &PublicFile) -> Result<Vec<X509>, Problem> {
    let parsed = X509::stack_from_pem(&file.bytes).unwrap_or_default();
    if parsed.is_empty() {
        let problem = format!("{} holds no certificate in PEM", file.path.display());
        Err(Problem::new(
            problem,
            "give a file that starts with -----BEGIN CERTIFICATE-----",
        ))
    } else {
        Ok(parsed)
    }
}

/// The key's identity. EC keys may be encoded in several ways (RFC 5480 §2.1.1, §2.2): as everywhere here, the named
/// curve and the uncompressed point are what is compared and hashed. `None` for a curve without a name.
pub(crate) fn spki<T: HasPublic>(key: &PKeyRef<T>) -> Option<Spki> {
    if key.id() != Id::EC {
        return key.public_key_to_der().ok();
    }
    let plain = crypto::plain_ec(&*key.ec_key().ok()?).ok()?;
    plain.public_key_to_der().ok()
}

/// Public keys of a JWK set (RFC 7517 §5), as far as they are of a kind that could also sign here. Others are left to
/// the component that uses the set.
pub(crate) fn jwk_set(file: &PublicFile) -> Result<Vec<Spki>, Problem> {
    let set: Option<serde_json::Value> = serde_json::from_slice(&file.bytes).ok();
    let keys = set.as_ref().and_then(|set| set.get("keys")?.as_array());
    let keys = keys.filter(|keys| !keys.is_empty()).ok_or_else(|| {
        let problem = format!("{} is not a JWK set with keys", file.path.display());
        Problem::new(problem, "give a JSON file of the form { \"keys\": [ … ] }")
    })?;
    if keys
        .iter()
        .any(|key| key.get("d").is_some() || key.get("k").is_some())
    {
        let problem = format!("{} holds a private or symmetric key", file.path.display());
        return Err(Problem::new(
            problem,
            "give the public keys only, and replace the key that leaked into it",
        ));
    }
    Ok(keys.iter().filter_map(jwk_spki).collect())
}

/// One JWK (RFC 7518 §6, RFC 8037 §2) as SubjectPublicKeyInfo.
fn jwk_spki(jwk: &serde_json::Value) -> Option<Spki> {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::rsa::Rsa;

    let text = |name: &str| jwk.get(name)?.as_str();
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let number = |name: &str| BigNum::from_slice(&bytes(name)?).ok();
    let key = match (text("kty")?, text("crv")) {
        ("EC", Some(curve)) => {
            let curve = match curve {
                "P-256" => Nid::X9_62_PRIME256V1,
                "P-384" => Nid::SECP384R1,
                _ => return None,
            };
            let group = EcGroup::from_curve_name(curve).ok()?;
            let (x, y) = (number("x")?, number("y")?);
            PKey::from_ec_key(EcKey::from_public_key_affine_coordinates(&group, &x, &y).ok()?).ok()?
        }
        ("OKP", Some("Ed25519")) => PKey::public_key_from_raw_bytes(&bytes("x")?, Id::ED25519).ok()?,
        ("RSA", _) => PKey::from_rsa(Rsa::from_public_components(number("n")?, number("e")?).ok()?).ok()?,
        _ => return None,
    };
    spki(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jwk_and_its_pem_are_one_key() {
        // RFC 7517 appendix A.1, the EC key; its SubjectPublicKeyInfo put together by RFC 5480 §2.
        let set = br#"{"keys":[{"kty":"EC","crv":"P-256","use":"enc","kid":"1",
            "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
        let file = PublicFile {
            path: "set.json".into(),
            bytes: set.to_vec(),
        };
        let expected = concat!(
            "3059301306072a8648ce3d020106082a8648ce3d03010703420004",
            "30a0424cd21c2944838a2d75c92b37e76ea20d9f00893a3b4eee8a3c0aafec3e",
            "e04b65e92456d9888b52b379bdfbd51ee869ef1f0fc65b6659695b6cce081723",
        );
        let keys = jwk_set(&file).expect("a set");
        assert_eq!(keys.iter().map(hex::encode).collect::<Vec<_>>(), [expected]);
    }

    /// The same key with its point compressed (RFC 5480 §2.2; y ends in 0x23, so it is odd: SEC 1 §2.3.3 writes 03).
    #[test]
    fn a_compressed_point_is_the_same_key() {
        let compressed = concat!(
            "3039301306072a8648ce3d020106082a8648ce3d030107032200",
            "0330a0424cd21c2944838a2d75c92b37e76ea20d9f00893a3b4eee8a3c0aafec3e",
        );
        let whole = concat!(
            "3059301306072a8648ce3d020106082a8648ce3d03010703420004",
            "30a0424cd21c2944838a2d75c92b37e76ea20d9f00893a3b4eee8a3c0aafec3e",
            "e04b65e92456d9888b52b379bdfbd51ee869ef1f0fc65b6659695b6cce081723",
        );
        for form in [compressed, whole] {
            let key = PKey::public_key_from_der(&hex::decode(form).expect("hex")).expect("a key");
            assert_eq!(spki(&key).map(hex::encode).as_deref(), Some(whole));
        }
    }

    #[test]
    fn a_set_with_a_private_member_is_refused() {
        for bad in [
            r#"{"keys":[{"kty":"OKP","d":"AA"}]}"#,
            r#"{"keys":[{"kty":"oct","k":"AA"}]}"#,
            r#"{"keys":[]}"#,
            "x",
        ] {
            let file = PublicFile {
                path: "set.json".into(),
                bytes: bad.as_bytes().to_vec(),
            };
            assert!(jwk_set(&file).is_err(), "{bad}");
        }
    }
}
