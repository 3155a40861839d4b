//! Between what the service signs and what tokens do: mechanisms, what they are given, and what they give back.

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use signer_actors::domain::signing::Algorithm;

use super::super::remote::Input;

/// `DigestInfo` of SHA-256 up to the hash (RFC 8017 §9.2, note 1).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];
/// `CKA_EC_PARAMS` of P-256 and P-384: the curve's object identifier in DER (RFC 5480 §2.1.1.1).
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
/// Of Ed25519: `curveName` as PrintableString, or the object identifier (PKCS #11 3.0 §2.3.5; RFC 8410 §3).
const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];

/// What a token does with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `CKM_ECDSA` over a hash.
    Ecdsa,
    /// `CKM_EDDSA`, pure.
    Eddsa,
    /// `CKM_RSA_PKCS_PSS` over a SHA-256 hash: MGF1 with SHA-256, 32 bytes of salt.
    Pss,
    /// `CKM_RSA_PKCS` over a DigestInfo.
    Pkcs1,
}

/// The kinds of keys that are told apart (`CKA_KEY_TYPE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Ec,
    Edwards,
    Rsa,
    Other,
}

impl Scheme {
    pub(super) fn of(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha384 => Self::Ecdsa,
            Algorithm::Ed25519 => Self::Eddsa,
            Algorithm::RsaPssSha256 => Self::Pss,
            Algorithm::RsaPkcs1Sha256 => Self::Pkcs1,
        }
    }

    pub(super) fn kind(self) -> KeyKind {
        match self {
            Self::Ecdsa => KeyKind::Ec,
            Self::Eddsa => KeyKind::Edwards,
            Self::Pss | Self::Pkcs1 => KeyKind::Rsa,
        }
    }

    /// What the token is given.
    pub(super) fn data(self, input: Input) -> Vec<u8> {
        match (self, input) {
            (Self::Pkcs1, Input::Digest(digest)) => [&SHA256_INFO[..], &digest].concat(),
            (_, Input::Digest(bytes) | Input::Message(bytes)) => bytes,
        }
    }
}

/// True if these are the algorithm's curve parameters.
pub(super) fn is_curve_of(algorithm: Algorithm, params: &[u8]) -> bool {
    match algorithm {
        Algorithm::EcdsaP256Sha256 => params == P256,
        Algorithm::EcdsaP384Sha384 => params == P384,
        Algorithm::Ed25519 => params == ED25519_NAME || params == ED25519,
        Algorithm::RsaPssSha256 | Algorithm::RsaPkcs1Sha256 => false,
    }
}

/// The signature as it leaves the service. Tokens give ECDSA's as r and s one after the other, each as long as the order
/// of the curve (PKCS #11 3.0 §2.3.1); it leaves as `Ecdsa-Sig-Value` in DER (RFC 3279 §2.2.3).
pub(super) fn signature(algorithm: Algorithm, raw: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    let (length, text) = match algorithm {
        Algorithm::EcdsaP256Sha256 => (64, "the token's signature is not r and s of 32 bytes each"),
        Algorithm::EcdsaP384Sha384 => (96, "the token's signature is not r and s of 48 bytes each"),
        Algorithm::Ed25519 => (64, "the token's signature is not 64 bytes long"),
        Algorithm::RsaPssSha256 | Algorithm::RsaPkcs1Sha256 => return Ok(raw),
    };
    if raw.len() != length {
        return Err(text);
    }
    if algorithm == Algorithm::Ed25519 {
        return Ok(raw);
    }
    let (r, s) = raw.split_at(length / 2);
    let der = || EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?.to_der();
    der().map_err(|_| "the token's signature cannot be written in DER")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6979 §A.2.5, P-256 with SHA-256, message "sample", and what `openssl asn1parse` reads as its DER.
    const R: &str = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716";
    const S: &str = "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8";

    #[test]
    fn r_and_s_become_der() {
        let raw = hex::decode([R, S].concat()).unwrap();
        let der = signature(Algorithm::EcdsaP256Sha256, raw).unwrap();
        // Both begin with a set bit: each INTEGER takes a zero octet in front (X.690 §8.3.3).
        assert_eq!(hex::encode(der), format!("3046022100{R}022100{S}"));
    }

    #[test]
    fn leading_zeroes_are_dropped() {
        let mut raw = vec![0; 96];
        raw[47] = 0x7f;
        raw[48 + 46] = 1;
        raw[48 + 47] = 2;
        let der = signature(Algorithm::EcdsaP384Sha384, raw).unwrap();
        assert_eq!(hex::encode(der), "300702017f02020102");
    }

    #[test]
    fn other_lengths_are_no_signatures() {
        for (algorithm, lengths) in [
            (Algorithm::EcdsaP256Sha256, [0, 63, 65, 70, 96]),
            (Algorithm::EcdsaP384Sha384, [0, 64, 95, 97, 132]),
            (Algorithm::Ed25519, [0, 32, 63, 65, 114]),
        ] {
            for length in lengths {
                assert!(
                    signature(algorithm, vec![1; length]).is_err(),
                    "{algorithm} {length}"
                );
            }
        }
        assert_eq!(
            signature(Algorithm::RsaPssSha256, vec![7; 256]).unwrap(),
            vec![7; 256]
        );
    }

    /// From RFC 8017 §9.2, note 1: `(0x)30 31 30 0d 06 09 60 86 48 01 65 03 04 02 01 05 00 04 20 || H`.
    #[test]
    fn pkcs1_signs_a_digest_info() {
        let given = Scheme::Pkcs1.data(Input::Digest(vec![0xab; 32]));
        assert_eq!(
            hex::encode(given),
            format!("3031300d060960864801650304020105000420{}", "ab".repeat(32))
        );
        for scheme in [Scheme::Ecdsa, Scheme::Pss] {
            assert_eq!(scheme.data(Input::Digest(vec![1; 32])), vec![1; 32]);
        }
        assert_eq!(
            Scheme::Eddsa.data(Input::Message(b"all of it".to_vec())),
            b"all of it"
        );
    }

    #[test]
    fn curves_are_told_apart() {
        // As `openssl ecparam -name … -outform DER` writes them.
        let p256 = hex::decode("06082a8648ce3d030107").unwrap();
        let p384 = hex::decode("06052b81040022").unwrap();
        for (algorithm, params, expected) in [
            (Algorithm::EcdsaP256Sha256, &p256, true),
            (Algorithm::EcdsaP256Sha256, &p384, false),
            (Algorithm::EcdsaP384Sha384, &p384, true),
            (Algorithm::EcdsaP384Sha384, &p256, false),
            (Algorithm::Ed25519, &p256, false),
            (Algorithm::RsaPssSha256, &p256, false),
        ] {
            assert_eq!(is_curve_of(algorithm, params), expected, "{algorithm}");
        }
        assert!(is_curve_of(Algorithm::Ed25519, b"\x13\x0cedwards25519"));
        assert!(is_curve_of(Algorithm::Ed25519, &[6, 3, 0x2b, 0x65, 0x70]));
        assert!(!is_curve_of(Algorithm::Ed25519, b"\x13\x0aedwards448"));
    }
}
