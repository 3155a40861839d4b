//! Nonces of ours for DPoP proofs (RFC 9449 §8, §9): stateless, by a rotating HMAC.

use std::fmt;

use chrono::{DateTime, Utc};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;

use crate::adapters::jose::{array_from_b64url, b64url};

/// How long a nonce is handed out, in seconds; it is accepted during its own period and the next.
const PERIOD: i64 = 60;
/// Bytes of the period's number, then of the tag.
const NUMBER: usize = 8;
const TAG: usize = 16;

/// Makes and recognises nonces. A nonce is the number of its period and a tag over it, 24 bytes in base64url: nobody
/// without the key can make one, so a proof with one was made in the last two minutes.
pub struct Nonces {
    key: PKey<Private>,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces")
    }
}

impl Nonces {
    /// With a key shared by replicas, so that each knows the others' nonces, or a fresh random one.
    pub fn new(shared_key: Option<&[u8; 32]>) -> Result<Self, ErrorStack> {
        let mut fresh = zeroize::Zeroizing::new([0u8; 32]);
        let key = match shared_key {
            Some(key) => key,
            None => {
                openssl::rand::rand_priv_bytes(fresh.as_mut())?;
                &*fresh
            }
        };
        Ok(Self {
            key: PKey::hmac(key)?,
        })
    }

    /// The nonce of the current period; `None` only if OpenSSL fails.
    pub fn current(&self, now: DateTime<Utc>) -> Option<String> {
        let number = period(now).to_be_bytes();
        Some(b64url(&[&number[..], &self.tag(&number)?].concat()))
    }

    /// True for a nonce of the current or the previous period.
    pub fn accepts(&self, nonce: &str, now: DateTime<Utc>) -> bool {
        let Some(bytes) = array_from_b64url::<{ NUMBER + TAG }>(nonce) else {
            return false;
        };
        let Some((number, tag)) = bytes.split_first_chunk::<NUMBER>() else {
            return false;
        };
        let age = period(now).checked_sub(i64::from_be_bytes(*number));
        let Some(expected) = self.tag(number).filter(|_| matches!(age, Some(0 | 1))) else {
            return false;
        };
        tag.len() == expected.len() && memcmp::eq(tag, &expected)
    }

    fn tag(&self, number: &[u8; NUMBER]) -> Option<[u8; TAG]> {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).ok()?;
        signer.update(b"stellaops-signer dpop nonce\0").ok()?;
        signer.update(number).ok()?;
        let mut full = [0u8; 32];
        signer.sign(&mut full).ok()?;
        full.first_chunk().copied()
    }
}

fn period(now: DateTime<Utc>) -> i64 {
    now.timestamp().div_euclid(PERIOD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::jose::testkit::at;

    #[test]
    fn a_nonce_lives_for_its_period_and_the_next() {
        let nonces = Nonces::new(None).unwrap();
        let nonce = nonces.current(at(600)).unwrap();
        assert_eq!(nonces.current(at(659)).unwrap(), nonce);
        assert_ne!(nonces.current(at(660)).unwrap(), nonce);
        for (now, expected) in [
            (540, false),
            (599, false),
            (600, true),
            (659, true),
            (719, true),
            (720, false),
        ] {
            assert_eq!(nonces.accepts(&nonce, at(now)), expected, "{now}");
        }
    }

    #[test]
    fn only_the_key_makes_nonces() {
        let (nonces, others) = (Nonces::new(None).unwrap(), Nonces::new(None).unwrap());
        let nonce = nonces.current(at(600)).unwrap();
        assert!(!others.accepts(&nonce, at(600)));
        let mut bytes = crate::adapters::jose::from_b64url(&nonce).unwrap();
        bytes[23] ^= 1;
        for bad in [
            b64url(&bytes),
            format!("{nonce}="),
            nonce[..31].to_owned(),
            String::new(),
            "x".repeat(9000),
        ] {
            assert!(!nonces.accepts(&bad, at(600)), "{bad:.40}");
        }
        let shared = Nonces::new(Some(&[7; 32])).unwrap();
        let replica = Nonces::new(Some(&[7; 32])).unwrap();
        assert!(replica.accepts(&shared.current(at(600)).unwrap(), at(600)));
    }
}
