//! Certificates of keyless signatures and of timestamp authorities: what the leaf says, and its path to a configured root.
//!
//! *Architecture Invariant:* everyone who believes a certificate reads it here; nothing here knows who asks.

mod authorities;
pub(crate) mod der;
pub(crate) mod fields;
mod leaf;
pub(crate) mod precertificate;
pub mod sct;
#[cfg(test)]
pub(crate) mod test_pki;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::x509::{X509, X509Ref};

pub use self::authorities::{Authorities, Purpose};
pub use self::leaf::Leaf;

/// The longest PEM text of certificates that is read, in bytes.
pub const MAX_CHAIN_PEM: usize = 256 * 1024;
/// The longest DER of one certificate, in bytes.
pub const MAX_CERTIFICATE: usize = 64 * 1024;
/// The most certificates in one text.
pub const MAX_CERTIFICATES: usize = 16;

/// Reads one certificate in DER that fills its input, of at most [`MAX_CERTIFICATE`] bytes.
pub fn parse_der(der: &[u8]) -> Result<X509, String> {
    let malformed = "the certificate cannot be read: it must be one in strict DER";
    if der.len() > MAX_CERTIFICATE {
        return Err(format!("the certificate is longer than {MAX_CERTIFICATE} bytes"));
    }
    // OpenSSL's reader stops at the end of the certificate and says nothing of what follows.
    der::only(der, der::SEQUENCE).ok_or(malformed)?;
    X509::from_der(der).map_err(|_| malformed.to_owned())
}

/// Reads certificates in PEM, in order: at most [`MAX_CHAIN_PEM`] bytes and [`MAX_CERTIFICATES`].
pub fn parse_chain_pem(pem: &[u8]) -> Result<Vec<X509>, String> {
    if pem.len() > MAX_CHAIN_PEM {
        return Err(format!("the certificates are longer than {MAX_CHAIN_PEM} bytes"));
    }
    let chain = X509::stack_from_pem(pem).map_err(|_| "a certificate cannot be read: give PEM")?;
    if chain.is_empty() || chain.len() > MAX_CERTIFICATES {
        return Err(format!(
            "there must be 1 to {MAX_CERTIFICATES} certificates in PEM"
        ));
    }
    Ok(chain)
}

/// PEM of a certificate (RFC 7468 §5).
pub fn to_pem(certificate: &X509Ref) -> Result<String, String> {
    let pem = certificate
        .to_pem()
        .map_err(|_| "a certificate has no PEM form")?;
    String::from_utf8(pem).map_err(|_| "a certificate has no PEM form".to_owned())
}

/// A certificate's time.
pub fn to_utc(time: &Asn1TimeRef) -> Option<DateTime<Utc>> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    let seconds = i64::from(since.days)
        .checked_mul(86_400)?
        .checked_add(i64::from(since.secs))?;
    DateTime::from_timestamp(seconds, 0)
}
