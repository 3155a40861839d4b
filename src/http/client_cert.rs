//! `Client-Cert` (RFC 9440): the client certificate as the proxy that ended TLS has seen it.
//!
//! The field is worth as much as who sends it. From an address in `server.trusted_proxies` it *replaces* what this
//! service saw itself, whose certificate would be the proxy's own; from anyone else it is as if it were not there
//! (RFC 9440 §4). The address is that of the socket: forwarding headers are never consulted.
//!
//! Neither chain nor dates of the certificate are looked at. The proxy has verified the handshake, so the client holds
//! the key, and a token names one certificate by its hash: the trust chain decides nothing here (RFC 8705 §6.2).

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::header::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use openssl::x509::X509;
use signer_actors::domain::digest::Sha256Digest;

/// The field's name (RFC 9440 §2.2). `Client-Cert-Chain` (§2.3) is never read.
pub static CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// Longest value, in bytes: room for a certificate of 12 KiB, some ten times a usual one, within the limit of the header
/// section (RFC 9440 §3.2 leaves the limit to the server).
pub const MAX_VALUE: usize = 16 * 1024;

/// What is wrong with the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It must not occur twice (RFC 9440 §2.2).
    Several,
    /// More than [`MAX_VALUE`] bytes.
    TooLong,
    /// No base64 between two colons, or something beside them (RFC 8941 §3.3.5).
    NotAByteSequence,
    /// Not exactly one certificate in DER (RFC 9440 §2.1).
    NotACertificate,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Several => {
                "there are several Client-Cert fields: the proxy must remove those of its clients and send one"
            }
            Self::TooLong => "the Client-Cert field has more than 16384 bytes, which is this service's limit",
            Self::NotAByteSequence => {
                "the Client-Cert field is not padded base64 between two colons: the proxy must send it as in RFC 9440"
            }
            Self::NotACertificate => {
                "the Client-Cert field is not exactly one certificate in DER: the proxy must send the client's alone"
            }
        })
    }
}

/// Addresses whose word about client certificates counts. Empty: nobody's.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// These ranges.
    pub fn new(ranges: &[IpNet]) -> Self {
        Self(ranges.into())
    }

    /// Whether the other end of the connection is one of them. An IPv4 address that arrives as IPv6 on a socket for both
    /// (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2) is compared as IPv4.
    pub fn include(&self, peer: Option<SocketAddr>) -> bool {
        let address = peer.map(|peer| peer.ip().to_canonical());
        address.is_some_and(|address| self.0.iter().any(|range| range.contains(&address)))
    }
}

/// The certificate that the field names, as the SHA-256 of its DER (RFC 8705 §3.1); `None` without the field.
///
/// # Errors
/// Anything but one well-formed field.
pub fn of_field(headers: &HeaderMap) -> Result<Option<Sha256Digest>, Malformed> {
    let mut fields = headers.get_all(&CLIENT_CERT);
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(Malformed::Several);
    }
    thumbprint(field.as_bytes()).map(Some)
}

/// The same of a field's value.
///
/// An Item that is a Byte Sequence (RFC 8941 and RFC 9651, §3.3.5 and §4.2.7). RFC 9440 §2.2 defines no parameters, and
/// they are refused: one that a proxy means (`;verified=?0`) would go unheard. So is base64 without padding or with pad
/// bits set: parsers may accept it, but no sender may write it (§4.1.8), and here the sender is a proxy of ours.
///
/// # Errors
/// As [`Malformed`] says.
pub fn thumbprint(value: &[u8]) -> Result<Sha256Digest, Malformed> {
    if value.len() > MAX_VALUE {
        return Err(Malformed::TooLong);
    }
    let encoded = trim_spaces(value)
        .strip_prefix(b":")
        .and_then(|rest| rest.strip_suffix(b":"))
        .ok_or(Malformed::NotAByteSequence)?;
    let der = STANDARD
        .decode(encoded)
        .map_err(|_| Malformed::NotAByteSequence)?;
    // OpenSSL reads one certificate and leaves the rest; written again it is equal only if there was nothing else, and
    // if it was DER rather than BER.
    let written = X509::from_der(&der).and_then(|certificate| certificate.to_der());
    match written {
        Ok(written) if written == der => Ok(Sha256Digest::of(&der)),
        _ => Err(Malformed::NotACertificate),
    }
}

/// Without the spaces around an Item (RFC 8941 §4.2, steps 2 and 6); nothing else is white space there.
fn trim_spaces(mut value: &[u8]) -> &[u8] {
    while let Some(rest) = value.strip_prefix(b" ") {
        value = rest;
    }
    while let Some(rest) = value.strip_suffix(b" ") {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    /// The certificate of RFC 9440 Appendix A, as it stands in the field there.
    const EXAMPLE: &str = include_str!("client_cert_example.txt");
    /// What `openssl x509 -inform der -noout -fingerprint -sha256` says of it.
    const EXAMPLE_SHA256: &str = "bfaf1f7e070f9fa8dd62905f158da73f84a1136624fbafcc9393c8f7287a69eb";

    fn example() -> &'static str {
        EXAMPLE.trim_end()
    }

    fn der() -> Vec<u8> {
        STANDARD.decode(example().trim_matches(':')).expect("base64")
    }

    fn field(der: &[u8]) -> String {
        format!(":{}:", STANDARD.encode(der))
    }

    #[test]
    fn the_example_of_the_rfc() {
        let read = thumbprint(example().as_bytes()).map(|digest| hex::encode(digest.0));
        assert_eq!(read.as_deref(), Ok(EXAMPLE_SHA256));
        // Spaces around an Item are dropped. The certificate has expired in 2021, which is the proxy's business.
        let spaced = format!("  {}   ", example());
        assert_eq!(thumbprint(spaced.as_bytes()), thumbprint(example().as_bytes()));
    }

    #[test]
    fn what_is_no_byte_sequence() {
        let good = example();
        let bare = good.trim_matches(':');
        // 428 bytes of DER leave two bytes over: `…yhk=` ends in two pad bits.
        assert!(bare.ends_with("yhk="));
        for bad in [
            String::new(),
            ":".into(),
            " ".into(),
            bare.into(),
            format!(":{bare}"),
            format!("{bare}:"),
            format!("\t{good}"),
            format!("{good};a=1"),
            format!("{good};a"),
            format!("{good}, {good}"),
            format!("{good}{good}"),
            format!("\"{bare}\""),
            format!("({good})"),
            good.replacen('A', " A", 1),
            good.replacen('A', "\nA", 1),
            good.replacen('A', ":A", 1),
            good.replacen('+', "-", 1),
            good.replacen('/', "_", 1),
            good.replace('=', ""),
            good.replace("yhk=", "yhl="),
            good.replace("k=:", "k==:"),
            format!(":-----BEGIN CERTIFICATE-----{bare}-----END CERTIFICATE-----:"),
            format!("%3A{bare}%3A"),
            format!("{good}\u{e9}"),
        ] {
            assert_eq!(
                thumbprint(bad.as_bytes()),
                Err(Malformed::NotAByteSequence),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_is_not_one_certificate() {
        let good = der();
        let key = good.get(200..300).expect("bytes").to_vec();
        let mut ber = good.clone();
        // The outer length in three bytes rather than two (X.690 §10.1).
        ber.splice(1..4, [0x83, 0x00, good[2], good[3]]);
        let mut indefinite = good.clone();
        indefinite.splice(1..4, [0x80]);
        indefinite.extend([0, 0]);
        for (what, bad) in [
            ("nothing", Vec::new()),
            ("a byte", vec![0x30]),
            ("a byte less", good[..good.len() - 1].to_vec()),
            ("a byte more", [&good[..], &[0]].concat()),
            ("two certificates", [&good[..], &good].concat()),
            ("a length that lies", vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
            ("a long length", ber),
            ("an indefinite length", indefinite),
            ("a part of one", key),
            ("an empty sequence", vec![0x30, 0]),
            ("text", b"certificate".to_vec()),
        ] {
            let read = thumbprint(field(&bad).as_bytes());
            assert_eq!(read, Err(Malformed::NotACertificate), "{what}");
        }
    }

    #[test]
    fn the_value_is_bounded() {
        let longest = format!("{}{}", " ".repeat(MAX_VALUE - example().len()), example());
        assert!(thumbprint(longest.as_bytes()).is_ok());
        assert_eq!(
            thumbprint(format!(" {longest}").as_bytes()),
            Err(Malformed::TooLong)
        );
    }

    #[test]
    fn one_field_or_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(of_field(&headers), Ok(None));
        let value = HeaderValue::from_static(example());
        headers.append(CLIENT_CERT.clone(), value.clone());
        assert!(matches!(of_field(&headers), Ok(Some(_))));
        headers.append(CLIENT_CERT.clone(), value);
        assert_eq!(of_field(&headers), Err(Malformed::Several));
    }

    #[test]
    fn proxies_are_known_by_the_socket() {
        let ranges =
            ["10.1.0.0/16", "192.0.2.7/32", "fd00:1::/32"].map(|range| range.parse().expect("a range"));
        let proxies = TrustedProxies::new(&ranges);
        let includes = |address: &str| proxies.include(Some(address.parse().expect("an address")));
        for known in [
            "10.1.255.3:40000",
            "192.0.2.7:1",
            "[::ffff:192.0.2.7]:1",
            "[::ffff:10.1.2.3]:1",
            "[fd00:1::9]:1",
        ] {
            assert!(includes(known), "{known}");
        }
        for unknown in [
            "10.2.0.1:1",
            "192.0.2.8:1",
            "[::ffff:192.0.2.8]:1",
            "[::192.0.2.7]:1",
            "[64:ff9b::192.0.2.7]:1",
            "[fd00:2::9]:1",
        ] {
            assert!(!includes(unknown), "{unknown}");
        }
        assert!(!proxies.include(None));
        assert!(!TrustedProxies::default().include(Some(([127, 0, 0, 1], 1).into())));
    }
}
