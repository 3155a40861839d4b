//! Certificates of callers, strangers and the service.

use std::sync::LazyLock;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sha::sha256;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

use crate::support::{b64, p256};

/// A certificate and its key.
pub(super) struct Pair {
    pub(super) certificate: X509,
    pub(super) key: PKey<Private>,
}

/// Days of validity, relative to now.
type Days = (i64, i64);

impl Pair {
    pub(super) fn new(name: &str, issuer: Option<&Self>, days: Days) -> Self {
        let key = p256();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_slice(&sha256(name.as_bytes())[..8]).unwrap();
        builder
            .set_serial_number(&serial.to_asn1_integer().unwrap())
            .unwrap();
        builder.set_subject_name(&subject).unwrap();
        let issuer_name = issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name());
        builder.set_issuer_name(issuer_name).unwrap();
        builder.set_pubkey(&key).unwrap();
        let at = |days: i64| {
            let seconds = chrono::Utc::now().timestamp() + days * 86_400;
            Asn1Time::from_unix(seconds).unwrap()
        };
        builder.set_not_before(&at(days.0)).unwrap();
        builder.set_not_after(&at(days.1)).unwrap();
        let mut constraints = BasicConstraints::new();
        constraints.critical();
        if issuer.is_none() {
            constraints.ca();
        }
        builder.append_extension(constraints.build().unwrap()).unwrap();
        if issuer.is_some() {
            let usage = ExtendedKeyUsage::new().client_auth().server_auth().build();
            builder.append_extension(usage.unwrap()).unwrap();
            let context = builder.x509v3_context(None, None);
            let address = SubjectAlternativeName::new().ip("127.0.0.1").build(&context);
            builder.append_extension(address.unwrap()).unwrap();
        }
        let signing = issuer.map_or(&key, |issuer| &issuer.key);
        builder.sign(signing, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        Self { certificate, key }
    }

    pub(super) fn der(&self) -> Vec<u8> {
        self.certificate.to_der().unwrap()
    }

    pub(super) fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    pub(super) fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }

    /// `x5t#S256` (RFC 8705 §3.1).
    pub(super) fn thumbprint(&self) -> String {
        b64(sha256(&self.der()))
    }
}

/// Everyone's certificates.
pub(super) struct People {
    pub(super) authority: Pair,
    pub(super) server: Pair,
    pub(super) caller: Pair,
    pub(super) other: Pair,
    pub(super) expired: Pair,
    pub(super) early: Pair,
    pub(super) stranger: Pair,
    pub(super) self_made: Pair,
}

pub(super) static PEOPLE: LazyLock<People> = LazyLock::new(|| {
    let authority = Pair::new("clients", None, (-30, 30));
    let strange = Pair::new("strangers", None, (-30, 30));
    let of = |name, days| Pair::new(name, Some(&authority), days);
    People {
        server: of("server", (-1, 1)),
        caller: of("caller", (-1, 1)),
        other: of("other", (-1, 1)),
        expired: of("expired", (-10, -1)),
        early: of("early", (1, 10)),
        stranger: Pair::new("caller", Some(&strange), (-1, 1)),
        self_made: Pair::new("caller", None, (-1, 1)),
        authority,
    }
});
