//! Certificates for the server and its callers, and the client that trusts nothing else.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sha::sha256;
use openssl::ssl::{SslConnector, SslMethod, SslVersion};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use signer::crypto::generate_p256;

use crate::Fallible;

/// The name in the certificate.
pub(crate) const NAME: &str = "signer.bench";

#[derive(Clone)]
pub(crate) struct Certified {
    /// PEM.
    pub(crate) certificate: Vec<u8>,
    /// PEM.
    pub(crate) key: Vec<u8>,
    /// SHA-256 of the certificate's DER: what tokens are bound to (RFC 8705 §3.1).
    pub(crate) thumbprint: [u8; 32],
}

/// Who the server is, and who its callers are where they show a certificate.
pub(crate) struct Identities {
    pub(crate) server: Certified,
    pub(crate) client: Option<Certified>,
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
    let certificate = certificate.build();
    Ok(Certified {
        certificate: certificate.to_pem()?,
        thumbprint: sha256(&certificate.to_der()?),
        key: key.private_key_to_pem_pkcs8()?,
    })
}

/// TLS 1.3, the server's certificate alone; with that of the callers, if there is one.
pub(crate) fn connector(identities: &Identities) -> Fallible<SslConnector> {
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    builder
        .cert_store_mut()
        .add_cert(X509::from_pem(&identities.server.certificate)?)?;
    if let Some(client) = &identities.client {
        builder.set_certificate(&*X509::from_pem(&client.certificate)?)?;
        builder.set_private_key(&*PKey::private_key_from_pem(&client.key)?)?;
    }
    Ok(builder.build())
}
