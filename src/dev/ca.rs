//! A root and an issuing certificate, made at start, and the leaves they certify.

use std::io;

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, PKeyRef, Private, Public};
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
    SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name, X509NameBuilder};

use crate::crypto::generate_p256;

/// Life of a leaf, in seconds: what Fulcio gives.
pub(super) const LEAF_LIFE: i64 = 600;
/// Life of root and issuing certificate, in days. They are forgotten with the process.
const CA_DAYS: u32 = 30;
/// Fulcio's issuer extension, a raw string (deprecated, still read by many).
const ISSUER_V1: &str = "1.3.6.1.4.1.57264.1.1";
/// Fulcio's issuer extension, a DER `UTF8String`.
const ISSUER_V2: &str = "1.3.6.1.4.1.57264.1.8";

/// Root → intermediate; leaves are signed by the intermediate.
#[derive(Clone)]
pub(super) struct Hierarchy {
    intermediate: X509,
    intermediate_key: PKey<Private>,
    pub(super) root_pem: String,
    pub(super) intermediate_pem: String,
}

impl Hierarchy {
    pub(super) fn generate() -> io::Result<Self> {
        let (root_key, intermediate_key) = (generate_p256()?, generate_p256()?);
        let root = ca_certificate("StellaOps development root", &root_key, None)?;
        let issuer = Some((&root, &root_key));
        let intermediate = ca_certificate("StellaOps development CA", &intermediate_key, issuer)?;
        Ok(Self {
            root_pem: pem(&root)?,
            intermediate_pem: pem(&intermediate)?,
            intermediate,
            intermediate_key,
        })
    }

    /// A leaf for this key in PEM: empty subject, the URI as critical SAN, code signing, the token's issuer.
    pub(super) fn issue(&self, key: &PKeyRef<Public>, subject: &str, issuer: &str) -> io::Result<String> {
        let now = chrono::Utc::now().timestamp();
        let mut leaf = builder(key)?;
        leaf.set_issuer_name(self.intermediate.subject_name())?;
        leaf.set_subject_name(&X509NameBuilder::new()?.build())?;
        leaf.set_not_before(&*Asn1Time::from_unix(now)?)?;
        leaf.set_not_after(&*Asn1Time::from_unix(now.saturating_add(LEAF_LIFE))?)?;
        leaf.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
        leaf.append_extension(ExtendedKeyUsage::new().code_signing().build()?)?;
        identifiers(&mut leaf, Some(&self.intermediate))?;
        let context = leaf.x509v3_context(Some(&self.intermediate), None);
        let name = SubjectAlternativeName::new()
            .critical()
            .uri(subject)
            .build(&context)?;
        leaf.append_extension(name)?;
        leaf.append_extension(extension(ISSUER_V1, issuer.as_bytes())?)?;
        let text = der_utf8(issuer).ok_or_else(|| io::Error::other("the issuer is too long"))?;
        leaf.append_extension(extension(ISSUER_V2, &text)?)?;
        leaf.sign(&self.intermediate_key, MessageDigest::sha256())?;
        pem(&leaf.build())
    }
}

/// A root for timestamp authorities.
pub(super) fn timestamp_root() -> io::Result<(PKey<Private>, X509)> {
    let key = generate_p256()?;
    let root = ca_certificate("StellaOps development timestamp root", &key, None)?;
    Ok((key, root))
}

/// A timestamp authority's certificate (RFC 3161 §2.3) with its key.
pub(super) fn timestamp_authority(
    root_key: &PKey<Private>,
    root: &X509,
) -> io::Result<(PKey<Private>, X509)> {
    let key = generate_p256()?;
    let mut leaf = builder(&key)?;
    leaf.set_subject_name(&*common_name("StellaOps development timestamp authority")?)?;
    leaf.set_issuer_name(root.subject_name())?;
    leaf.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    leaf.set_not_after(&*Asn1Time::days_from_now(CA_DAYS)?)?;
    leaf.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    leaf.append_extension(ExtendedKeyUsage::new().critical().time_stamping().build()?)?;
    identifiers(&mut leaf, Some(root))?;
    leaf.sign(root_key, MessageDigest::sha256())?;
    Ok((key, leaf.build()))
}

fn ca_certificate(
    name: &str,
    key: &PKey<Private>,
    issuer: Option<(&X509, &PKey<Private>)>,
) -> io::Result<X509> {
    let mut certificate = builder(key)?;
    let subject = common_name(name)?;
    certificate.set_subject_name(&subject)?;
    let issuer_name = issuer.map_or(&*subject, |(issuer, _)| issuer.subject_name());
    certificate.set_issuer_name(issuer_name)?;
    certificate.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    certificate.set_not_after(&*Asn1Time::days_from_now(CA_DAYS)?)?;
    let mut constraints = BasicConstraints::new();
    constraints.critical().ca();
    if issuer.is_some() {
        constraints.pathlen(0);
    }
    certificate.append_extension(constraints.build()?)?;
    certificate.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    if issuer.is_some() {
        certificate.append_extension(ExtendedKeyUsage::new().code_signing().build()?)?;
    }
    identifiers(&mut certificate, issuer.map(|(issuer, _)| issuer))?;
    certificate.sign(issuer.map_or(key, |(_, key)| key), MessageDigest::sha256())?;
    Ok(certificate.build())
}

fn builder<T: openssl::pkey::HasPublic>(key: &PKeyRef<T>) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    // 159 bits at random: positive and within the 20 octets of RFC 5280 §4.1.2.2.
    let mut serial = BigNum::new()?;
    serial.rand(159, MsbOption::MAYBE_ZERO, false)?;
    builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
    builder.set_pubkey(key)?;
    Ok(builder)
}

/// Subject key identifier, and the issuer's where there is one (RFC 5280 §4.2.1.1, §4.2.1.2).
fn identifiers(certificate: &mut X509Builder, issuer: Option<&X509>) -> Result<(), ErrorStack> {
    let context = certificate.x509v3_context(issuer.map(|issuer| &**issuer), None);
    let subject = SubjectKeyIdentifier::new().build(&context)?;
    let authority = match issuer {
        Some(_) => Some(AuthorityKeyIdentifier::new().keyid(true).build(&context)?),
        None => None,
    };
    certificate.append_extension(subject)?;
    authority.map_or(Ok(()), |authority| certificate.append_extension(authority))
}

fn common_name(name: &str) -> Result<X509Name, ErrorStack> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_text("O", "StellaOps development")?;
    builder.append_entry_by_text("CN", name)?;
    Ok(builder.build())
}

fn extension(oid: &str, value: &[u8]) -> Result<X509Extension, ErrorStack> {
    X509Extension::new_from_der(
        &*Asn1Object::from_str(oid)?,
        false,
        &*Asn1OctetString::new_from_bytes(value)?,
    )
}

/// X.690 §8.23 with the short and the two-byte form of the length (§8.1.3).
fn der_utf8(text: &str) -> Option<Vec<u8>> {
    let length = u8::try_from(text.len()).ok()?;
    let mut der = if length < 0x80 {
        vec![0x0c, length]
    } else {
        vec![0x0c, 0x81, length]
    };
    der.extend_from_slice(text.as_bytes());
    Some(der)
}

fn pem(certificate: &X509) -> io::Result<String> {
    String::from_utf8(certificate.to_pem()?).map_err(io::Error::other)
}
