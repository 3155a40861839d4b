//! What an authority is asked: `TimeStampReq` (RFC 3161 §2.4.1).

use openssl::error::ErrorStack;
use openssl::rand::rand_bytes;
use signer_actors::domain::digest::Sha256Digest;

/// The nonce's length, in octets: 64 bits, as RFC 3161 §2.4.1 has it.
const NONCE: usize = 8;

/// Everything before the digest: `version` 1; `messageImprint` with SHA-256, parameters absent (RFC 5754 §2); the octet
/// string that holds the digest.
const BEFORE_DIGEST: [u8; 22] = [
    0x30, 0x41, // TimeStampReq: 65 octets
    0x02, 0x01, 0x01, // version
    0x30, 0x2f, // messageImprint
    0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
    0x01, // 2.16.840.1.101.3.4.2.1
    0x04, 0x20, // hashedMessage
];

/// A question and what its answer must repeat.
#[derive(Debug)]
pub(super) struct Question {
    /// Content of the INTEGER, big-endian, positive and minimal.
    pub(super) nonce: [u8; NONCE],
    /// `TimeStampReq` in DER.
    pub(super) der: Vec<u8>,
}

impl Question {
    /// About this digest, with a fresh nonce; the answer is to carry the authority's certificates.
    pub(super) fn new(digest: &Sha256Digest) -> Result<Self, ErrorStack> {
        let mut nonce = [0; NONCE];
        rand_bytes(&mut nonce)?;
        Ok(Self::with(digest, nonce))
    }

    fn with(digest: &Sha256Digest, mut nonce: [u8; NONCE]) -> Self {
        // Not negative, and no octet too many (X.690 §8.3.2).
        let [first, ..] = &mut nonce;
        *first = (*first & 0x7f) | 0x40;
        let der = [
            &BEFORE_DIGEST[..],
            &digest.0,
            &[0x02, 0x08],
            &nonce,
            &[0x01, 0x01, 0xff], // certReq
        ];
        Self {
            nonce,
            der: der.concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `openssl ts -query -data abc -sha256 -cert` writes it, apart from the parameters of SHA-256, which OpenSSL sets to
    /// NULL: `openssl asn1parse` of both was compared.
    #[test]
    fn the_form_is_rfc_3161s() {
        let digest = Sha256Digest::of(b"abc");
        let question = Question::with(&digest, [0xff; 8]);
        let expected = "3041020101302f300b0609608648016503040201\
                        0420ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\
                        02087fffffffffffffff0101ff";
        assert_eq!(hex::encode(&question.der), expected);
        assert_eq!(Question::with(&digest, [0; 8]).nonce, [0x40, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn nonces_differ() {
        let digest = Sha256Digest([0; 32]);
        let (one, two) = (Question::new(&digest).unwrap(), Question::new(&digest).unwrap());
        assert_ne!(one.nonce, two.nonce);
    }
}
