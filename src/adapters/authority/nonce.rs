//! Nonces of ours for DPoP proofs (RFC 9449 §8, §9): stateless, by a rotating HMAC.

use std::fmt;

use chrono::{DateTime, Utc};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use signer_actors::ports::StoreEpoch;

use crate::adapters::jose::{array_from_b64url, b64url};

/// How long a nonce is handed out, in seconds; it is accepted during its own period and the next.
const PERIOD: i64 = 60;
/// Bytes of the period's number and of the epoch, each; then of the tag.
const NUMBER: usize = 8;
const TAG: usize = 16;

/// Makes and recognises nonces. A nonce is the number of its period, the epoch of the replay store, and a tag over both,
/// 32 bytes in base64url: nobody without the key can make one, so a proof with one was made in the last two minutes,
/// and after this epoch of the store began.
pub struct Nonces {
    key: PKey<Private>,
    epoch: StoreEpoch,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces")
    }
}

impl Nonces {
    /// With a key shared by replicas, so that each knows the others' nonces, or a fresh random one. `epoch` is that of the
    /// store that replicas share; of one replica's own store it stays 0, and the fresh key tells starts apart.
    pub fn new(shared_key: Option<&[u8; 32]>, epoch: StoreEpoch) -> Result<Self, ErrorStack> {
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
            epoch,
        })
    }

    /// The nonce of the current period and epoch; `None` only if OpenSSL fails.
    pub fn current(&self, now: DateTime<Utc>) -> Option<String> {
        let (number, epoch) = (period(now).to_be_bytes(), self.epoch.get().to_be_bytes());
        let said = [number, epoch].concat();
        Some(b64url(&[&said[..], &self.tag(&said)?].concat()))
    }

    /// The epoch of a nonce of the current or the previous period. Whether that epoch lasts is for the store to say:
    /// another replica may know a newer one than we do.
    pub fn accepts(&self, nonce: &str, now: DateTime<Utc>) -> Option<u64> {
        let bytes = array_from_b64url::<{ NUMBER + NUMBER + TAG }>(nonce)?;
        let (said, tag) = bytes.split_first_chunk::<{ NUMBER + NUMBER }>()?;
        let (number, epoch) = said.split_first_chunk::<NUMBER>()?;
        let age = period(now).checked_sub(i64::from_be_bytes(*number));
        let expected = self.tag(said).filter(|_| matches!(age, Some(0 | 1)))?;
        let good = tag.len() == expected.len() && memcmp::eq(tag, &expected);
        good.then_some(u64::from_be_bytes(*epoch.first_chunk()?))
    }

    fn tag(&self, said: &[u8]) -> Option<[u8; TAG]> {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).ok()?;
        signer.update(b"stellaops-signer dpop nonce\0").ok()?;
        signer.update(said).ok()?;
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
        let nonces = Nonces::new(None, StoreEpoch::default()).unwrap();
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
            assert_eq!(nonces.accepts(&nonce, at(now)), expected.then_some(0), "{now}");
        }
    }

    #[test]
    fn only_the_key_makes_nonces() {
        let (nonces, others) = (
            Nonces::new(None, StoreEpoch::default()).unwrap(),
            Nonces::new(None, StoreEpoch::default()).unwrap(),
        );
        let nonce = nonces.current(at(600)).unwrap();
        assert_eq!(others.accepts(&nonce, at(600)), None);
        let mut bytes = crate::adapters::jose::from_b64url(&nonce).unwrap();
        bytes[31] ^= 1;
        for bad in [
            b64url(&bytes),
            format!("{nonce}="),
            nonce[..42].to_owned(),
            String::new(),
            "x".repeat(9000),
        ] {
            assert_eq!(nonces.accepts(&bad, at(600)), None, "{bad:.40}");
        }
        let shared = Nonces::new(Some(&[7; 32]), StoreEpoch::default()).unwrap();
        let replica = Nonces::new(Some(&[7; 32]), StoreEpoch::default()).unwrap();
        assert_eq!(
            replica.accepts(&shared.current(at(600)).unwrap(), at(600)),
            Some(0)
        );
    }

    #[test]
    fn a_nonce_says_in_which_epoch_it_was_made() {
        let epochs = [StoreEpoch::default(), StoreEpoch::default()];
        let [one, two] = epochs
            .clone()
            .map(|epoch| Nonces::new(Some(&[7; 32]), epoch).unwrap());
        epochs[0].set(41);
        let old = one.current(at(600)).unwrap();
        epochs[0].set(42);
        let new = one.current(at(600)).unwrap();
        // The other replica has not heard of either yet, and passes on what they say.
        assert_eq!(
            (two.accepts(&old, at(600)), two.accepts(&new, at(600))),
            (Some(41), Some(42))
        );
        let mut forged = crate::adapters::jose::from_b64url(&old).unwrap();
        forged[15] = 42;
        assert_eq!(two.accepts(&b64url(&forged), at(600)), None);
    }
}
