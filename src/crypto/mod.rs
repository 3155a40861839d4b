//! Keys and signatures through OpenSSL: every key pins one [`Algorithm`], and nothing else is done with it.

mod message;
mod private;
mod public;

use openssl::ec::EcKey;
use openssl::error::ErrorStack;
use openssl::hash::{MessageDigest, hash};
use openssl::md::{Md, MdRef};
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKeyRef, Public};
use openssl::pkey_ctx::PkeyCtxRef;
use openssl::rsa::Padding;
use openssl::sign::RsaPssSaltlen;
use signer_actors::domain::signing::Algorithm;

pub use self::message::{Message, Pae};
pub use self::private::{Nonce, PrivateKey, generate_p256};
pub(crate) use self::public::plain_ec;
pub use self::public::{PublicKey, parse_public_pem};

/// The largest PEM text of one key, in bytes.
pub const MAX_KEY_PEM: usize = 32 * 1024;
/// Sizes of RSA moduli, in bits: NIST SP 800-131A rev. 2 asks for 2048, Fulcio and the common clients stop at 4096.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=4096;
/// Salt of RSASSA-PSS: as long as the hash (RFC 8017 §9.1, note 4).
const PSS_SALT_BYTES: i32 = 32;

/// The part of a key that OpenSSL's fast calls want.
enum Half<T> {
    Ec(EcKey<T>),
    Other,
}

/// The algorithms a key can be pinned to: RSA keys fit two, others one, foreign kinds none.
pub fn algorithms_of(pkey: &PKeyRef<Public>) -> Vec<Algorithm> {
    [
        Algorithm::EcdsaP256Sha256,
        Algorithm::EcdsaP384Sha384,
        Algorithm::Ed25519,
        Algorithm::RsaPssSha256,
        Algorithm::RsaPkcs1Sha256,
    ]
    .into_iter()
    .filter(|algorithm| fits(pkey, *algorithm))
    .collect()
}

/// True when the key is of the kind, curve and size that the algorithm asks for.
pub fn fits<T: HasPublic>(pkey: &PKeyRef<T>, algorithm: Algorithm) -> bool {
    check_kind(pkey, algorithm).is_ok()
}

/// Reads an algorithm's name as configuration and responses spell it.
pub fn parse_algorithm(name: &str) -> Option<Algorithm> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

fn check_pem_size(pem: &[u8]) -> Result<(), String> {
    if pem.len() > MAX_KEY_PEM {
        return Err(format!("the key's PEM is longer than {MAX_KEY_PEM} bytes"));
    }
    Ok(())
}

/// The key's kind, curve and size must be the algorithm's.
fn check_kind<T: HasPublic>(pkey: &PKeyRef<T>, algorithm: Algorithm) -> Result<Half<T>, String> {
    let mismatch =
        || format!("the key does not fit {algorithm}: configure the algorithm that it was made for");
    let curve = match algorithm {
        Algorithm::EcdsaP256Sha256 => Nid::X9_62_PRIME256V1,
        Algorithm::EcdsaP384Sha384 => Nid::SECP384R1,
        Algorithm::Ed25519 if pkey.id() == Id::ED25519 => return Ok(Half::Other),
        Algorithm::RsaPssSha256 | Algorithm::RsaPkcs1Sha256 if pkey.id() == Id::RSA => {
            return if RSA_BITS.contains(&pkey.bits()) {
                Ok(Half::Other)
            } else {
                let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
                Err(format!(
                    "the RSA key has {} bits: {least} to {most} are accepted",
                    pkey.bits()
                ))
            };
        }
        _ => return Err(mismatch()),
    };
    let key = pkey.ec_key().map_err(|_| mismatch())?;
    if key.group().curve_name() != Some(curve) {
        return Err(mismatch());
    }
    Ok(Half::Ec(key))
}

pub(crate) fn digest<M: Message + ?Sized>(algorithm: Algorithm, message: &M) -> Result<Vec<u8>, ErrorStack> {
    match algorithm {
        Algorithm::EcdsaP384Sha384 => hash(MessageDigest::sha384(), &message.bytes()).map(|d| d.to_vec()),
        _ => Ok(message.sha256().0.to_vec()),
    }
}

/// Hash and padding of an algorithm that signs digests.
fn configure<T>(ctx: &mut PkeyCtxRef<T>, algorithm: Algorithm) -> Result<(), ErrorStack> {
    let md: &MdRef = match algorithm {
        Algorithm::EcdsaP384Sha384 => Md::sha384(),
        _ => Md::sha256(),
    };
    match algorithm {
        Algorithm::RsaPssSha256 => {
            ctx.set_rsa_padding(Padding::PKCS1_PSS)?;
            ctx.set_signature_md(md)?;
            ctx.set_rsa_mgf1_md(md)?;
            ctx.set_rsa_pss_saltlen(RsaPssSaltlen::custom(PSS_SALT_BYTES))
        }
        Algorithm::RsaPkcs1Sha256 => {
            ctx.set_rsa_padding(Padding::PKCS1)?;
            ctx.set_signature_md(md)
        }
        _ => ctx.set_signature_md(md),
    }
}

/// OpenSSL's own texts may quote key material's context: one plain sentence instead.
fn unusable(_: ErrorStack) -> String {
    "OpenSSL cannot use the key".to_owned()
}

#[cfg(test)]
mod tests;
