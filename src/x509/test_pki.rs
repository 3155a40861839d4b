//! A small certificate authority in the manner of Fulcio, for tests.

use chrono::{DateTime, Duration, Utc};
use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, PKeyRef, Private, Public};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name};

pub(crate) const ISSUER: &str = "https://authority.example";
pub(crate) const SUBJECT: &str = "https://stellaops.example/signer";

/// A name in a leaf.
#[derive(Clone, Debug)]
pub(crate) enum Name {
    Uri(String),
    Email(String),
    Dns(String),
}

/// What a leaf shall say; the default is what Fulcio would issue to the service.
#[derive(Clone, Debug)]
pub(crate) struct LeafSpec {
    pub(crate) names: Vec<Name>,
    pub(crate) issuer_v1: Option<String>,
    pub(crate) issuer_v2: Option<String>,
    pub(crate) not_before: DateTime<Utc>,
    pub(crate) not_after: DateTime<Utc>,
    pub(crate) digital_signature: bool,
    pub(crate) code_signing: bool,
    /// An extension that nobody knows, this many times.
    pub(crate) unknown: usize,
}

/// What a dishonest or broken authority does to an honest leaf.
pub(crate) type Change = fn(&mut LeafSpec);

impl LeafSpec {
    pub(crate) fn at(now: DateTime<Utc>) -> Self {
        Self {
            names: vec![Name::Uri(SUBJECT.into())],
            issuer_v1: Some(ISSUER.into()),
            issuer_v2: Some(ISSUER.into()),
            not_before: now,
            not_after: now + Duration::minutes(10),
            digital_signature: true,
            code_signing: true,
            unknown: 0,
        }
    }
}

/// An authority: its certificates, issuing one first, and the key of the issuing one.
#[derive(Clone)]
pub(crate) struct TestCa {
    pub(crate) chain: Vec<X509>,
    key: PKey<Private>,
}

fn name(common: &str) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("O", "stellaops.example").unwrap();
    name.append_entry_by_text("CN", common).unwrap();
    name.build()
}

fn start<T: openssl::pkey::HasPublic>(
    key: &PKeyRef<T>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> X509Builder {
    let mut builder = X509Builder::new().unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, openssl::bn::MsbOption::ONE, false).unwrap();
    builder.set_version(2).unwrap();
    builder
        .set_serial_number(&Asn1Integer::from_bn(&serial).unwrap())
        .unwrap();
    builder
        .set_not_before(&Asn1Time::from_unix(from.timestamp()).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::from_unix(to.timestamp()).unwrap())
        .unwrap();
    builder.set_pubkey(key).unwrap();
    builder
}

fn authority(common: &str, key: &PKey<Private>, parent: Option<(&X509, &PKey<Private>)>, eku: bool) -> X509 {
    let now = Utc::now();
    let mut builder = start(key, now - Duration::days(1), now + Duration::days(365));
    let subject = name(common);
    builder.set_subject_name(&subject).unwrap();
    builder
        .set_issuer_name(parent.map_or(&*subject, |(parent, _)| parent.subject_name()))
        .unwrap();
    builder
        .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
        .unwrap();
    builder
        .append_extension(
            KeyUsage::new()
                .critical()
                .key_cert_sign()
                .crl_sign()
                .build()
                .unwrap(),
        )
        .unwrap();
    if eku {
        builder
            .append_extension(ExtendedKeyUsage::new().server_auth().build().unwrap())
            .unwrap();
    }
    builder
        .sign(parent.map_or(key, |(_, key)| key), MessageDigest::sha256())
        .unwrap();
    builder.build()
}

impl TestCa {
    /// A root that issues by itself.
    pub(crate) fn root() -> Self {
        let key = PKey::ec_gen("secp384r1").unwrap();
        let root = authority("test root", &key, None, false);
        Self {
            chain: vec![root],
            key,
        }
    }

    /// A root with an intermediate that issues.
    pub(crate) fn with_intermediate() -> Self {
        Self::root().intermediate(false)
    }

    /// An intermediate below this authority, for TLS servers only if `foreign`.
    pub(crate) fn intermediate(self, foreign: bool) -> Self {
        let key = PKey::ec_gen("secp384r1").unwrap();
        let parent = (&self.chain[0], &self.key);
        let intermediate = authority("test intermediate", &key, Some(parent), foreign);
        let chain = [vec![intermediate], self.chain].concat();
        Self { chain, key }
    }

    pub(crate) fn root_pem(&self) -> Vec<u8> {
        self.chain.last().unwrap().to_pem().unwrap()
    }

    pub(crate) fn chain_pem(&self) -> Vec<u8> {
        self.chain.iter().flat_map(|c| c.to_pem().unwrap()).collect()
    }

    pub(crate) fn issue(&self, key: &PKeyRef<Public>, spec: &LeafSpec) -> X509 {
        let mut builder = start(key, spec.not_before, spec.not_after);
        builder.set_issuer_name(self.chain[0].subject_name()).unwrap();
        let mut usage = KeyUsage::new();
        let usage = if spec.digital_signature {
            usage.digital_signature()
        } else {
            usage.key_agreement()
        };
        builder
            .append_extension(usage.critical().build().unwrap())
            .unwrap();
        let mut eku = ExtendedKeyUsage::new();
        let eku = if spec.code_signing {
            eku.code_signing()
        } else {
            eku.client_auth()
        };
        builder.append_extension(eku.build().unwrap()).unwrap();
        if !spec.names.is_empty() {
            let mut san = SubjectAlternativeName::new();
            san.critical();
            for name in &spec.names {
                match name {
                    Name::Uri(uri) => san.uri(uri),
                    Name::Email(email) => san.email(email),
                    Name::Dns(dns) => san.dns(dns),
                };
            }
            let san = san.build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(san).unwrap();
        }
        if let Some(issuer) = &spec.issuer_v1 {
            builder
                .append_extension(extension("1.3.6.1.4.1.57264.1.1", issuer.as_bytes()))
                .unwrap();
        }
        if let Some(issuer) = &spec.issuer_v2 {
            let der = [&[0x0c, u8::try_from(issuer.len()).unwrap()], issuer.as_bytes()].concat();
            builder
                .append_extension(extension("1.3.6.1.4.1.57264.1.8", &der))
                .unwrap();
        }
        for _ in 0..spec.unknown {
            builder
                .append_extension(extension("1.3.6.1.4.1.57264.99", b"\x05\x00"))
                .unwrap();
        }
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        builder.build()
    }
}

fn extension(oid: &str, value: &[u8]) -> X509Extension {
    let oid = Asn1Object::from_str(oid).unwrap();
    X509Extension::new_from_der(&oid, false, &Asn1OctetString::new_from_bytes(value).unwrap()).unwrap()
}
