//! A certificate for the server, and the client that trusts nothing else.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use signer::crypto::generate_p256;

use crate::Fallible;

/// The name in the certificate.
pub(crate) const NAME: &str = "signer.bench";

pub(crate) struct Certified {
    /// PEM.
    pub(crate) certificate: Vec<u8>,
    /// PEM.
    pub(crate) key: Vec<u8>,
}

/// A P-256 key with a certificate of its own making.
pub(crate) fn certify() -> Fallible<Certified> {
    let key = generate_p256()?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", NAME)?;
    let name = name.build();
    let mut certificate = X509::builder()?;
    certificate.set_version(2)?;
    certificate.set_serial_number(&*BigNum::from_u32(1)?.to_asn1_integer()?)?;
    certificate.set_subject_name(&name)?;
    certificate.set_issuer_name(&name)?;
    certificate.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    certificate.set_not_after(&*Asn1Time::days_from_now(1)?)?;
    certificate.set_pubkey(&key)?;
    certificate.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    let context = certificate.x509v3_context(None, None);
    let names = SubjectAlternativeName::new().dns(NAME).build(&context)?;
    certificate.append_extension(names)?;
    certificate.sign(&key, MessageDigest::sha256())?;
    Ok(Certified {
        certificate: certificate.build().to_pem()?,
        key: key.private_key_to_pem_pkcs8()?,
    })
}

/// TLS 1.3, this certificate alone.
pub(crate) fn connector(certified: &Certified) -> Fallible<SslConnector> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    builder
        .cert_store_mut()
        .add_cert(X509::from_pem(&certified.certificate)?)?;
    Ok(builder.build())
}
