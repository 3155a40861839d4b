//! Public keys of Ed25519 that prove something.
//!
//! Under a point of small order a signature holds for messages that nobody signed: whoever is bound to such a key is
//! bound to nothing. OpenSSL verifies with it all the same.

/// 2^255 − 19, big-endian (RFC 8032 §5.1).
const PRIME: [u8; 32] = {
    let mut prime = [0xff; 32];
    prime[0] = 0x7f;
    prime[31] = 0xed;
    prime
};

/// y of the eight points of order 1, 2, 4 and 8, big-endian: 1, −1, 0, and the two y of order 8, which solve
/// d·y⁴ + 2·y² = 1 (doubling such a point gives y = 0).
const SMALL_ORDER: [[u8; 32]; 5] = [
    {
        let mut one = [0; 32];
        one[31] = 1;
        one
    },
    {
        let mut minus_one = PRIME;
        minus_one[31] = 0xec;
        minus_one
    },
    [0; 32],
    [
        0x05, 0xfc, 0x53, 0x6d, 0x88, 0x02, 0x38, 0xb1, 0x39, 0x33, 0xc6, 0xd3, 0x05, 0xac, 0xdf, 0xd5, 0xf0,
        0x98, 0xef, 0xf2, 0x89, 0xf4, 0xc3, 0x45, 0xb0, 0x27, 0xb2, 0xc2, 0x8f, 0x95, 0xe8, 0x26,
    ],
    [
        0x7a, 0x03, 0xac, 0x92, 0x77, 0xfd, 0xc7, 0x4e, 0xc6, 0xcc, 0x39, 0x2c, 0xfa, 0x53, 0x20, 0x2a, 0x0f,
        0x67, 0x10, 0x0d, 0x76, 0x0b, 0x3c, 0xba, 0x4f, 0xd8, 0x4d, 0x3d, 0x70, 0x6a, 0x17, 0xc7,
    ],
];

/// True for y below the prime (RFC 8032 §5.1.3: decoding fails otherwise; a second spelling of a key would have another
/// thumbprint) and not of small order. The encoding is y, little-endian, with the sign of x as the highest bit.
pub(super) fn is_canonical_and_of_large_order(encoded: &[u8; 32]) -> bool {
    let mut y = *encoded;
    // Big-endian, as which arrays compare like numbers.
    y.reverse();
    if let Some(top) = y.first_mut() {
        *top &= 0x7f;
    }
    y < PRIME && !SMALL_ORDER.contains(&y)
}

#[cfg(test)]
mod tests {
    use openssl::pkey::{Id, PKey};
    use openssl::sign::Verifier;

    use super::*;
    use crate::adapters::jose::from_b64url;

    fn encoded(hex: &str) -> [u8; 32] {
        let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
        std::array::from_fn(byte)
    }

    /// As in libsodium's `ge25519_has_small_order` and "Taming the many EdDSAs" (Chalkias et al., 2020), table 1.
    const WEAK: [&str; 8] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        // Second spellings: p + 0, p + 1, and the largest number that fits.
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];

    #[test]
    fn points_that_prove_nothing_are_refused() {
        for hex in WEAK {
            let mut point = encoded(hex);
            assert!(!is_canonical_and_of_large_order(&point), "{hex}");
            point[31] |= 0x80;
            assert!(!is_canonical_and_of_large_order(&point), "{hex} with the sign");
        }
        // RFC 8037 appendix A.2, and random keys.
        let example = from_b64url("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert!(is_canonical_and_of_large_order(&example.try_into().unwrap()));
        for _ in 0..32 {
            let key = PKey::generate_ed25519().unwrap().raw_public_key().unwrap();
            assert!(is_canonical_and_of_large_order(&key.try_into().unwrap()));
        }
    }

    /// Why it matters: with the neutral element as key, R = S·B holds for every message; S = 0 makes R the neutral
    /// element.
    #[test]
    fn openssl_takes_a_forgery_under_the_neutral_element() {
        let neutral = encoded(WEAK[0]);
        let key = PKey::public_key_from_raw_bytes(&neutral, Id::ED25519).unwrap();
        let forged = [neutral, [0; 32]].concat();
        for message in ["one", "another"] {
            let mut verifier = Verifier::new_without_digest(&key).unwrap();
            assert!(verifier.verify_oneshot(&forged, message.as_bytes()).unwrap());
        }
    }
}
