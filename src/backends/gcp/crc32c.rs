//! CRC-32C (Castagnoli, RFC 3720 §12.1): what Cloud KMS guards requests and answers with. A few bytes at a time, so the
//! plain way does.

/// The reflected polynomial 0x1EDC6F41.
const POLYNOMIAL: u32 = 0x82F6_3B78;

pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 }
        })
    })
}

/// As the JSON of `google.protobuf.Int64Value` has it: a decimal number in text.
pub(super) fn matches(shown: &str, bytes: &[u8]) -> bool {
    shown.parse() == Ok(crc32c(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_specification() {
        // RFC 3720 §B.4, whose bytes are the checksum in little-endian order.
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, expected) in [
            (vec![0; 32], [0xaa, 0x36, 0x91, 0x8a]),
            (vec![0xff; 32], [0x43, 0xab, 0xa8, 0x62]),
            (ascending, [0x4e, 0x79, 0xdd, 0x46]),
        ] {
            assert_eq!(crc32c(&bytes), u32::from_le_bytes(expected));
        }
        assert!(matches("3808858755", b"123456789"));
        for bad in ["3808858756", "-486108541", "", "0xe3069283", "3808858755 "] {
            assert!(!matches(bad, b"123456789"), "{bad}");
        }
    }
}
