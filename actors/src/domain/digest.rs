//! Digests, and the one place that computes them.

use std::fmt;

use openssl::sha::Sha256;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest(pub [u8; 32]);

impl Sha256Digest {
    /// Digest of one slice.
    pub fn of(bytes: &[u8]) -> Self {
        // The struct, not `openssl::sha::sha256()`: the function looks its algorithm up on every call.
        let mut hasher = Sha256::new();
        hasher.update(bytes);
        Self(hasher.finish())
    }

    /// Digest of several slices, as if they were one.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        Self(hasher.finish())
    }

    /// Reads 64 lowercase hexadecimal digits.
    pub fn parse_hex(value: &str) -> Option<Self> {
        if !is_lower_hex(value, 64) {
            return None;
        }
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(value, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// 64 lowercase hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.with_hex(str::to_owned)
    }

    fn with_hex<T>(self, done: impl FnOnce(&str) -> T) -> T {
        let mut digits = [0; 64];
        // Never fails: two digits for each byte, all of them ASCII.
        let _ = hex::encode_to_slice(self.0, &mut digits);
        done(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_hex(|digits| f.write_str(digits))
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_hex(|digits| f.write_str(digits))
    }
}

/// True for exactly `len` lowercase hexadecimal digits.
pub fn is_lower_hex(value: &str, len: usize) -> bool {
    value.len() == len
        && value
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The digest of an image manifest in OCI form: `sha256:<64 hex>` (OCI image-spec, descriptor §digests).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageDigest(Sha256Digest);

impl ImageDigest {
    /// Reads `sha256:<64 lowercase hex>`; other algorithms are not accepted for scanner images.
    pub fn parse(value: &str) -> Option<Self> {
        value
            .strip_prefix("sha256:")
            .and_then(Sha256Digest::parse_hex)
            .map(Self)
    }

    /// The bare digest.
    pub fn sha256(self) -> Sha256Digest {
        self.0
    }
}

impl From<Sha256Digest> for ImageDigest {
    fn from(digest: Sha256Digest) -> Self {
        Self(digest)
    }
}

impl fmt::Display for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_the_standard_example() {
        // FIPS 180-2 appendix B.1: SHA-256("abc").
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256Digest::of(b"abc").to_hex(), expected);
        assert_eq!(Sha256Digest::of_parts(&[b"a", b"", b"bc"]).to_hex(), expected);
    }

    #[test]
    fn image_digest_is_strict() {
        let hex = "a".repeat(64);
        assert!(ImageDigest::parse(&format!("sha256:{hex}")).is_some());
        for bad in [
            hex.clone(),
            format!("sha512:{hex}"),
            format!("sha256:{}", "A".repeat(64)),
            format!("sha256:{}", "a".repeat(63)),
            format!("sha256:{}\n", "a".repeat(64)),
            format!(" sha256:{hex}"),
        ] {
            assert!(ImageDigest::parse(&bad).is_none(), "{bad:?}");
        }
    }
}
