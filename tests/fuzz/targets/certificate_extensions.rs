//! Leaves of keyless signatures: what is read of names and issuer is what OpenSSL reads, once, and is in the bytes.
//!
//! The input is a certificate in DER, or else the values of extensions, which are put into one: a length byte and as many
//! bytes each, for the alternative names, the issuer and the issuer's older form.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::x509::extension::{ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509, X509Extension, X509NameBuilder};
use signer::x509::{Leaf, MAX_CERTIFICATE, parse_der};
use signer_fuzz::fit;
use signer_fuzz::release::KEYS;

const OIDS: [&str; 3] = ["2.5.29.17", "1.3.6.1.4.1.57264.1.8", "1.3.6.1.4.1.57264.1.1"];

fuzz_target!(|data: &[u8]| {
    read(data);
    if let Some(built) = build(data) {
        read(&built);
    }
});

fn read(der: &[u8]) {
    let certificate = match parse_der(der) {
        Ok(certificate) => certificate,
        Err(why) => return fit(&why),
    };
    assert!(der.len() <= MAX_CERTIFICATE);
    let again = certificate.to_der().expect("DER");
    let leaf = match Leaf::read(certificate) {
        Ok(leaf) => leaf,
        Err(why) => return fit(&why),
    };
    let names = leaf.certificate.subject_alt_names().expect("names");
    assert_eq!(names.len(), 1, "more than one name");
    let theirs = names[0].uri().or(names[0].email()).expect("a URI or an address");
    assert_eq!(theirs, leaf.subject);
    assert!(leaf.subject.bytes().all(|byte| byte.is_ascii_graphic()));
    let holds = |text: &str| text.is_empty() || again.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds(&leaf.issuer) && holds(&leaf.subject), "not in the bytes");
    // Each extension that decides is there once.
    for oid in [&b"\x06\x0a\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x08"[..], b"\x06\x0a\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x01"] {
        let value = |at: usize| again.get(at..at + oid.len()) == Some(oid);
        // The same bytes may also be inside of a value, of which this leaf has few.
        assert!((0..again.len()).filter(|at| value(*at)).count() <= 8);
    }
    let usage = leaf.certificate.extended_key_usage().expect("a usage");
    assert!(usage.contains(openssl::x509::X509ExtendedKeyUsage::CODE_SIGN));
    drop(openssl::error::ErrorStack::get());
}

static TEMPLATE: LazyLock<[X509Extension; 2]> = LazyLock::new(|| {
    [
        KeyUsage::new().critical().digital_signature().build().expect("a usage"),
        ExtendedKeyUsage::new().code_signing().build().expect("a usage"),
    ]
});

/// A certificate with these values.
fn build(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut builder = X509::builder().ok()?;
    builder.set_version(2).ok()?;
    let serial = BigNum::from_u32(7).ok()?.to_asn1_integer().ok()?;
    builder.set_serial_number(&serial).ok()?;
    let mut issuer = X509NameBuilder::new().ok()?;
    issuer.append_entry_by_text("CN", "fuzz").ok()?;
    builder.set_issuer_name(&issuer.build()).ok()?;
    builder.set_pubkey(&KEYS[0]).ok()?;
    builder.set_not_before(&*Asn1Time::from_unix(0).ok()?).ok()?;
    builder.set_not_after(&*Asn1Time::from_unix(1).ok()?).ok()?;
    for extension in TEMPLATE.iter() {
        builder.append_extension2(extension).ok()?;
    }
    for oid in OIDS {
        let (&length, rest) = data.split_first()?;
        let (value, rest) = rest.split_at_checked(usize::from(length))?;
        data = rest;
        if length == 0 {
            continue;
        }
        let oid = Asn1Object::from_str(oid).ok()?;
        let value = Asn1OctetString::new_from_bytes(value).ok()?;
        builder.append_extension(X509Extension::new_from_der(&oid, false, &value).ok()?).ok()?;
    }
    builder.sign(&KEYS[0], MessageDigest::sha256()).ok()?;
    builder.build().to_der().ok()
}
