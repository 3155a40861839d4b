//! The leaf of a keyless signature, read the way Fulcio writes it.

use std::fmt;

use chrono::{DateTime, Utc};
use openssl::pkey::{PKey, Public};
use openssl::x509::{X509, X509ExtendedKeyUsage, X509KeyUsage};

use super::der::{self, Reader, SEQUENCE, only};
use super::fields::Fields;
use super::{MAX_CERTIFICATE, to_utc};
use crate::openssl_errors;

/// `id-ce-subjectAltName`, 2.5.29.17 (RFC 5280 §4.2.1.6).
const OID_SAN: &[u8] = &[0x55, 0x1d, 0x11];
/// Fulcio's issuer, 1.3.6.1.4.1.57264.1.8: a DER UTF8String (fulcio `docs/oid-info.md`).
const OID_ISSUER_V2: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x08];
/// Fulcio's first issuer extension, 1.3.6.1.4.1.57264.1.1: raw text (fulcio `docs/oid-info.md`).
const OID_ISSUER_V1: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x01];
/// Context tags of a GeneralName (RFC 5280 §4.2.1.6): `rfc822Name [1]`, `uniformResourceIdentifier [6]`.
const SAN_EMAIL: u8 = 0x81;
const SAN_URI: u8 = 0x86;

/// What a keyless signing certificate says.
pub struct Leaf {
    /// The certificate.
    pub certificate: X509,
    /// Its public key.
    pub public_key: PKey<Public>,
    /// The one subject alternative name: a URI or an e-mail address.
    pub subject: String,
    /// The OIDC issuer that Fulcio put in.
    pub issuer: String,
    /// Serial number, lowercase hex.
    pub serial: String,
    /// Start of validity.
    pub not_before: DateTime<Utc>,
    /// End of validity.
    pub not_after: DateTime<Utc>,
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf")
            .field("subject", &self.subject)
            .field("issuer", &self.issuer)
            .field("serial", &self.serial)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Leaf {
    /// Reads a certificate: one URI or e-mail name, an OIDC issuer, digital signatures and code signing as its purpose
    /// (fulcio `docs/certificate-specification.md`; RFC 5280 §4.2.1.3, §4.2.1.12). Says nothing about its path:
    /// [`super::Authorities::verify`] does.
    pub fn read(certificate: X509) -> Result<Self, String> {
        let leaf = Self::try_read(certificate);
        // Reading the usages parses every extension, and queues what it does not like.
        openssl_errors::forget();
        leaf
    }

    fn try_read(certificate: X509) -> Result<Self, String> {
        let usage = certificate.key_usage();
        if !usage.is_some_and(|usage| usage.contains(X509KeyUsage::DIGITAL_SIGNATURE)) {
            return Err("the certificate is not for digital signatures".into());
        }
        if usage.is_some_and(|usage| usage.contains(X509KeyUsage::KEY_CERT_SIGN)) {
            return Err("the certificate is an authority's, not a signer's".into());
        }
        let usage = certificate.extended_key_usage();
        if !usage.is_some_and(|usage| usage.contains(X509ExtendedKeyUsage::CODE_SIGN)) {
            return Err("the certificate is not for code signing".into());
        }
        let der = certificate
            .to_der()
            .map_err(|_| "the certificate has no DER form")?;
        if der.len() > MAX_CERTIFICATE {
            return Err(format!("the certificate is longer than {MAX_CERTIFICATE} bytes"));
        }
        let fields = Fields::read(&der).ok_or("the certificate is not strict DER")?;
        fields.check_extensions()?;
        if fields.is_authority() {
            return Err("the certificate is an authority's, not a signer's".into());
        }
        let names = fields
            .value_of(OID_SAN)
            .ok_or("the certificate has no subject alternative name")?;
        let subject = read_single_name(names).ok_or(
            "the certificate must have exactly one subject alternative name, a URI or an e-mail address: \
             it names more than one subject, or one of another kind",
        )?;
        let unreadable = "the certificate's times cannot be read";
        Ok(Self {
            public_key: certificate
                .public_key()
                .map_err(|_| "the certificate's public key cannot be read")?,
            subject,
            issuer: issuer(&fields)?,
            serial: fields.serial_hex(),
            not_before: to_utc(certificate.not_before()).ok_or(unreadable)?,
            not_after: to_utc(certificate.not_after()).ok_or(unreadable)?,
            certificate,
        })
    }

    /// The identity must be exactly the configured one.
    pub fn expect(&self, issuer: &str, subject: &str) -> Result<(), String> {
        if self.issuer != issuer {
            return Err("the certificate names another issuer than expect_issuer".into());
        }
        if self.subject != subject {
            return Err("the certificate names another subject than expect_subject".into());
        }
        Ok(())
    }
}

/// The OIDC issuer. Certificates carry both forms; they must not differ.
fn issuer(fields: &Fields<'_>) -> Result<String, String> {
    let unreadable = "the certificate's issuer extension cannot be read";
    let second = fields.value_of(OID_ISSUER_V2).map(der::utf8_string);
    let first = fields.value_of(OID_ISSUER_V1);
    let first = first.map(|value| std::str::from_utf8(value).ok());
    let second = second.map(|text| text.ok_or(unreadable)).transpose()?;
    let first = first.map(|text| text.ok_or(unreadable)).transpose()?;
    match (first, second) {
        (Some(first), Some(second)) if first != second => {
            Err("the certificate's two issuer extensions differ".into())
        }
        (first, second) => second.or(first).map(str::to_owned).ok_or_else(|| {
            "the certificate has no issuer extension of Fulcio: it names no OIDC issuer".to_owned()
        }),
    }
}

/// `GeneralNames` of exactly one name, URI or e-mail, in visible ASCII (IA5String).
fn read_single_name(names: &[u8]) -> Option<String> {
    let mut list = Reader::new(only(names, SEQUENCE)?);
    let (tag, value) = list.any()?;
    let plain = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
    let single = list.is_empty() && matches!(tag, SAN_EMAIL | SAN_URI) && plain;
    if single {
        String::from_utf8(value.to_vec()).ok()
    } else {
        None
    }
}
