//! DSSE: the pre-authentication encoding and the envelope (secure-systems-lab/dsse, `protocol.md` and `envelope.md`).

use super::digest::Sha256Digest;

/// The only payload type that is signed.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// `PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`, without the body: what comes before it.
///
/// Lengths are ASCII decimal byte counts without leading zeros (`protocol.md`, "Signature Definition").
fn pae_head(payload_type: &str, body_len: usize) -> String {
    format!("DSSEv1 {} {payload_type} {body_len} ", payload_type.len())
}

/// The bytes that are signed.
pub fn pae(payload_type: &str, body: &[u8]) -> Vec<u8> {
    let head = pae_head(payload_type, body.len());
    let mut out = Vec::with_capacity(head.len() + body.len());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
    out
}

/// SHA-256 of [`pae`] without building it: one pass over the body, no copy.
pub fn pae_sha256(payload_type: &str, body: &[u8]) -> Sha256Digest {
    Sha256Digest::of_parts(&[pae_head(payload_type, body.len()).as_bytes(), body])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pae_is_the_specification_example() {
        // protocol.md, "Test Vectors".
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), expected);
        assert_eq!(
            pae_sha256("http://example.com/HelloWorld", b"hello world"),
            Sha256Digest::of(expected)
        );
    }

    #[test]
    fn lengths_count_bytes() {
        assert_eq!(pae("é", b""), "DSSEv1 2 é 0 ".as_bytes());
    }
}
