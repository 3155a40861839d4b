//! Certificates of keyless signatures: what the leaf says, and its path to a configured root.

use std::fmt;

use chrono::{DateTime, Utc};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Public};
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509, X509ExtendedKeyUsage, X509PurposeId, X509Ref, X509StoreContext, X509VerifyResult};

use super::der::{BOOLEAN, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, UTF8_STRING, only};
use crate::openssl_errors;

/// The longest PEM text of certificates that is read, in bytes.
pub const MAX_CHAIN_PEM: usize = 256 * 1024;
/// The most certificates in one text.
pub const MAX_CERTIFICATES: usize = 32;
/// The longest path, leaf and root included.
const MAX_PATH: i32 = 8;
/// OpenSSL's security level 2: 112 bits, no SHA-1 (`SSL_CTX_set_security_level(3)`).
const AUTH_LEVEL: i32 = 2;

/// `id-ce-subjectAltName`, 2.5.29.17 (RFC 5280 §4.2.1.6).
const OID_SAN: &[u8] = &[0x55, 0x1d, 0x11];
/// Fulcio's issuer, 1.3.6.1.4.1.57264.1.8: a DER UTF8String (fulcio `docs/oid-info.md`).
const OID_ISSUER_V2: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x08];
/// Fulcio's first issuer extension, 1.3.6.1.4.1.57264.1.1: raw text (fulcio `docs/oid-info.md`).
const OID_ISSUER_V1: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x01];
/// Context tags of a GeneralName (RFC 5280 §4.2.1.6): `rfc822Name [1]`, `uniformResourceIdentifier [6]`.
const SAN_EMAIL: u8 = 0x81;
const SAN_URI: u8 = 0x86;

/// Trust anchors, with the intermediates that were configured beside them.
#[derive(Clone)]
pub struct Authorities {
    roots: Vec<X509>,
    intermediates: Vec<X509>,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities")
            .field("roots", &self.roots.len())
            .field("intermediates", &self.intermediates.len())
            .finish()
    }
}

impl Authorities {
    /// Reads certificates in PEM: self-issued ones are trust anchors, others help to reach them. One anchor at least.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        Self::new(parse_chain_pem(pem)?)
    }

    /// Sorts certificates into trust anchors and intermediates.
    pub fn new(certificates: Vec<X509>) -> Result<Self, String> {
        let (roots, intermediates): (Vec<_>, Vec<_>) =
            certificates.into_iter().partition(|c| issued_by(c, c));
        if roots.is_empty() {
            return Err(
                "no root certificate: add the self-signed certificate at the end of the chain".into(),
            );
        }
        Ok(Self { roots, intermediates })
    }

    /// Adds intermediates that came with a certificate whose path was verified.
    pub fn learn(&mut self, certificates: impl IntoIterator<Item = X509>) {
        for certificate in certificates {
            let known = self
                .roots
                .iter()
                .chain(&self.intermediates)
                .any(|c| same(c, &certificate));
            if !known && !issued_by(&certificate, &certificate) && self.intermediates.len() < MAX_CERTIFICATES
            {
                self.intermediates.push(certificate);
            }
        }
    }

    /// Paths from each issuing authority up to its root: issuing certificate first, root last.
    pub fn paths(&self) -> Vec<Vec<X509>> {
        let all: Vec<&X509> = self.intermediates.iter().chain(&self.roots).collect();
        let issues_another = |c: &X509| all.iter().any(|other| !same(other, c) && issued_by(other, c));
        let starts = all.iter().filter(|c| !issues_another(c));
        starts.filter_map(|start| self.path_from(start)).collect()
    }

    fn path_from(&self, start: &X509) -> Option<Vec<X509>> {
        let mut path = vec![start.clone()];
        while path.len() < MAX_CERTIFICATES {
            let last = path.last()?;
            if self.roots.iter().any(|root| same(root, last)) {
                return Some(path);
            }
            let next = self
                .roots
                .iter()
                .chain(&self.intermediates)
                .find(|c| issued_by(last, c))?
                .clone();
            path.push(next);
        }
        None
    }

    /// Verifies the path of a code-signing leaf to a root as of `at` (RFC 5280 §6.1), through configured
    /// intermediates and `untrusted` ones. Returns the path: leaf first, root last.
    pub fn verify(&self, leaf: &X509, untrusted: &[X509], at: DateTime<Utc>) -> Result<Vec<X509>, String> {
        let (verified, reason, path) = self
            .run(leaf, untrusted, at)
            .map_err(|_| "OpenSSL cannot verify certificates".to_owned())?;
        openssl_errors::forget();
        if !verified {
            let reason = reason.error_string();
            return Err(format!(
                "the certificate has no valid path to a configured root: {reason}"
            ));
        }
        // An authority that is restricted to other purposes must not vouch for code signing (RFC 5280 §4.2.1.12,
        // applied to the whole path as browsers and Go do).
        let foreign = path.iter().skip(1).any(|authority| {
            let usage = X509ExtendedKeyUsage::CODE_SIGN | X509ExtendedKeyUsage::ANYEKU;
            authority
                .extended_key_usage()
                .is_some_and(|u| !u.intersects(usage))
        });
        if foreign {
            return Err(
                "an authority in the certificate's path may not issue code-signing certificates".into(),
            );
        }
        Ok(path)
    }

    fn run(
        &self,
        leaf: &X509,
        untrusted: &[X509],
        at: DateTime<Utc>,
    ) -> Result<(bool, X509VerifyResult, Vec<X509>), ErrorStack> {
        let store = self.store(at)?;
        let mut helpers = Stack::new()?;
        for certificate in self.intermediates.iter().chain(untrusted) {
            helpers.push(certificate.clone())?;
        }
        let mut context = X509StoreContext::new()?;
        context.init(&store, leaf, &helpers, |context| {
            let verified = context.verify_cert()?;
            let path = context
                .chain()
                .map(|chain| chain.iter().map(X509Ref::to_owned).collect());
            Ok((verified, context.error(), path.unwrap_or_default()))
        })
    }

    fn store(&self, at: DateTime<Utc>) -> Result<X509Store, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for root in &self.roots {
            store.add_cert(root.clone())?;
        }
        let mut param = X509VerifyParam::new()?;
        param.set_time(at.timestamp());
        param.set_depth(MAX_PATH);
        param.set_auth_level(AUTH_LEVEL);
        param.set_purpose(X509PurposeId::CODE_SIGN)?;
        store.set_param(&param)?;
        Ok(store.build())
    }
}

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
    /// Reads a certificate: one URI or e-mail name, an OIDC issuer, the code-signing purpose (fulcio
    /// `docs/certificate-specification.md`). Says nothing about its path: [`Authorities::verify`] does.
    pub fn read(certificate: X509) -> Result<Self, String> {
        let usage = certificate.extended_key_usage();
        if !usage.is_some_and(|usage| usage.contains(X509ExtendedKeyUsage::CODE_SIGN)) {
            return Err("the certificate is not for code signing".into());
        }
        let der = certificate
            .to_der()
            .map_err(|_| "the certificate has no DER form")?;
        let fields = read_fields(&der).ok_or("the certificate is not strict DER")?;
        let names = fields
            .value_of(OID_SAN)?
            .ok_or("the certificate has no subject alternative name")?;
        let subject = read_single_name(names).ok_or(
            "the certificate must have exactly one subject alternative name, a URI or an e-mail address",
        )?;
        let unreadable = "the certificate's times cannot be read";
        Ok(Self {
            public_key: certificate
                .public_key()
                .map_err(|_| "the certificate's public key cannot be read")?,
            subject,
            issuer: fields.issuer()?,
            serial: fields.serial,
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

/// True if `issuer` signed `certificate`, by name and by signature.
fn issued_by(certificate: &X509Ref, issuer: &X509Ref) -> bool {
    let issued = issuer.issued(certificate) == X509VerifyResult::OK
        && issuer
            .public_key()
            .and_then(|key| certificate.verify(&key))
            .unwrap_or(false);
    openssl_errors::forget();
    issued
}

fn same(a: &X509Ref, b: &X509Ref) -> bool {
    matches!((a.to_der(), b.to_der()), (Ok(a), Ok(b)) if a == b)
}

/// What OpenSSL's binding does not give of a certificate.
struct Fields<'a> {
    serial: String,
    extensions: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Fields<'a> {
    /// The value of an extension; an extension that occurs twice is refused (RFC 5280 §4.2).
    fn value_of(&self, oid: &[u8]) -> Result<Option<&'a [u8]>, String> {
        let mut values = self
            .extensions
            .iter()
            .filter(|(id, _)| *id == oid)
            .map(|(_, value)| *value);
        let value = values.next();
        if values.next().is_some() {
            return Err("the certificate has an extension twice".into());
        }
        Ok(value)
    }

    /// The OIDC issuer. Certificates carry both forms; they must not differ.
    fn issuer(&self) -> Result<String, String> {
        let unreadable = "the certificate's issuer extension cannot be read";
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| unreadable.to_owned());
        let second = match self.value_of(OID_ISSUER_V2)? {
            Some(value) => Some(text(only(value, UTF8_STRING).ok_or(unreadable)?)?),
            None => None,
        };
        let first = self.value_of(OID_ISSUER_V1)?.map(text).transpose()?;
        match (first, second) {
            (Some(first), Some(second)) if first != second => {
                Err("the certificate's two issuer extensions differ".into())
            }
            (first, second) => second
                .or(first)
                .ok_or_else(|| "the certificate has no issuer extension of Fulcio".to_owned()),
        }
    }
}

/// Walks `Certificate` and `TBSCertificate` (RFC 5280 §4.1) to serial and extensions.
fn read_fields(der: &[u8]) -> Option<Fields<'_>> {
    let mut tbs = Reader::new(Reader::new(only(der, SEQUENCE)?).expect(SEQUENCE)?);
    tbs.optional(0xa0)?; // version
    let serial = tbs.expect(INTEGER)?;
    // A positive number may carry a zero octet in front of its first bit (X.690 §8.3.3); people leave it out.
    let serial = hex::encode(
        serial
            .strip_prefix(&[0])
            .filter(|rest| !rest.is_empty())
            .unwrap_or(serial),
    );
    for _ in [
        "signature",
        "issuer",
        "validity",
        "subject",
        "subjectPublicKeyInfo",
    ] {
        tbs.expect(SEQUENCE)?;
    }
    tbs.optional(0x81)?; // issuerUniqueID
    tbs.optional(0x82)?; // subjectUniqueID
    let mut extensions = Vec::new();
    if let Some(wrapped) = tbs.optional(0xa3)? {
        let mut list = Reader::new(only(wrapped, SEQUENCE)?);
        while !list.is_empty() {
            let mut extension = Reader::new(list.expect(SEQUENCE)?);
            let oid = extension.expect(OID)?;
            extension.optional(BOOLEAN)?;
            extensions.push((oid, extension.expect(OCTET_STRING)?));
            if !extension.is_empty() {
                return None;
            }
        }
    }
    tbs.is_empty().then_some(Fields { serial, extensions })
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

#[cfg(test)]
pub(crate) mod test_pki;

#[cfg(test)]
mod tests;
