use chrono::Duration;

use super::test_pki::{Change, ISSUER, LeafSpec, Name, SUBJECT, TestCa};
use super::*;
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Public};

fn key() -> PKey<Public> {
    let key = PKey::ec_gen("prime256v1").unwrap();
    PKey::public_key_from_der(&key.public_key_to_der().unwrap()).unwrap()
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap()
}

#[test]
fn a_leaf_says_who_signs() {
    let spec = LeafSpec::at(now());
    let certificate = TestCa::root().issue(&key(), &spec);
    let serial = certificate
        .serial_number()
        .to_bn()
        .unwrap()
        .to_hex_str()
        .unwrap()
        .to_lowercase();
    let leaf = Leaf::read(certificate).unwrap();
    assert_eq!((leaf.issuer.as_str(), leaf.subject.as_str()), (ISSUER, SUBJECT));
    assert_eq!(
        (leaf.not_before, leaf.not_after),
        (spec.not_before, spec.not_after)
    );
    assert_eq!(leaf.serial, serial);
    assert_eq!(leaf.expect(ISSUER, SUBJECT), Ok(()));
    assert!(leaf.expect("https://authority.example/", SUBJECT).is_err());
    assert!(leaf.expect(ISSUER, "https://stellaops.example/signer2").is_err());
}

#[test]
fn both_issuer_forms_and_both_kinds_of_name_are_read() {
    let ca = TestCa::root();
    let mut old = LeafSpec::at(now());
    old.issuer_v2 = None;
    old.names = vec![Name::Email("signer@stellaops.example".into())];
    let leaf = Leaf::read(ca.issue(&key(), &old)).unwrap();
    assert_eq!(
        (leaf.issuer.as_str(), leaf.subject.as_str()),
        (ISSUER, "signer@stellaops.example")
    );
    let mut new = LeafSpec::at(now());
    new.issuer_v1 = None;
    assert_eq!(Leaf::read(ca.issue(&key(), &new)).unwrap().issuer, ISSUER);
}

#[test]
fn a_leaf_that_leaves_a_doubt_is_refused() {
    let cases: [(&str, Change); 8] = [
        ("no name", |s| s.names.clear()),
        ("two names", |s| {
            s.names.push(Name::Uri("https://other.example".into()))
        }),
        ("a host name", |s| {
            s.names = vec![Name::Dns("stellaops.example".into())]
        }),
        ("no issuer", |s| (s.issuer_v1, s.issuer_v2) = (None, None)),
        ("two issuers", |s| {
            s.issuer_v1 = Some("https://other.example".into())
        }),
        ("another purpose", |s| s.code_signing = false),
        ("no digital signatures", |s| s.digital_signature = false),
        ("an unknown extension twice", |s| s.unknown = 2),
    ];
    for (what, change) in cases {
        let mut spec = LeafSpec::at(now());
        change(&mut spec);
        assert!(Leaf::read(TestCa::root().issue(&key(), &spec)).is_err(), "{what}");
    }
    // Once, it is nobody's business (RFC 5280 §4.2: unknown and not critical).
    let mut spec = LeafSpec::at(now());
    spec.unknown = 1;
    assert!(Leaf::read(TestCa::root().issue(&key(), &spec)).is_ok());
}

#[test]
fn one_certificate_fills_its_der() {
    let der = TestCa::root().chain[0].to_der().unwrap();
    assert_eq!(parse_der(&der).unwrap().to_der().unwrap(), der);
    let long = [&der[..], &vec![0; MAX_CERTIFICATE]].concat();
    for bad in [&[&der[..], &[0]].concat()[..], &der[..40], &[], &long] {
        assert!(parse_der(bad).is_err(), "{} bytes", bad.len());
    }
}

#[test]
fn a_path_ends_at_a_configured_root() {
    let ca = TestCa::with_intermediate();
    let leaf = ca.issue(&key(), &LeafSpec::at(now()));
    let helpers = &ca.chain[..1];
    let roots = Authorities::from_pem(&ca.root_pem()).unwrap();
    let path = roots.verify(&leaf, helpers, now()).unwrap();
    let expected: Vec<_> = std::iter::once(&leaf)
        .chain(&ca.chain)
        .map(|c| c.to_der().unwrap())
        .collect();
    assert_eq!(
        path.iter().map(|c| c.to_der().unwrap()).collect::<Vec<_>>(),
        expected
    );
    assert!(
        roots.verify(&leaf, &[], now()).is_err(),
        "the intermediate is missing"
    );
    // A root that the answer brings along is not trusted.
    let other = Authorities::from_pem(&TestCa::with_intermediate().chain_pem()).unwrap();
    assert!(other.verify(&leaf, &ca.chain, now()).is_err());
    assert!(
        ErrorStack::get().errors().is_empty(),
        "nothing is left for a TLS connection to stumble over"
    );
    // Configured beside the root, the intermediate need not come along.
    let both = Authorities::from_pem(&ca.chain_pem()).unwrap();
    assert!(both.verify(&leaf, &[], now()).is_ok());
    // OpenSSL leaves the last second out (X509_cmp_time), which errs on the safe side.
    for (offset, expected) in [(-1, false), (0, true), (599, true), (600, false)] {
        let at = to_utc(leaf.not_before()).unwrap() + Duration::seconds(offset);
        assert_eq!(both.verify(&leaf, &[], at).is_ok(), expected, "{offset}");
    }
}

#[test]
fn an_authority_for_other_purposes_does_not_vouch() {
    let ca = TestCa::root().intermediate(true);
    let leaf = ca.issue(&key(), &LeafSpec::at(now()));
    let roots = Authorities::from_pem(&ca.chain_pem()).unwrap();
    assert!(roots.verify(&leaf, &[], now()).is_err());
    // Nor does a leaf issue certificates.
    let honest = TestCa::root();
    let client = LeafSpec {
        code_signing: false,
        ..LeafSpec::at(now())
    };
    let roots = Authorities::from_pem(&honest.root_pem()).unwrap();
    assert!(roots.verify(&honest.issue(&key(), &client), &[], now()).is_err());
}

#[test]
fn paths_run_from_the_issuing_authority_to_the_root() {
    let ders = |paths: &[Vec<X509>]| -> Vec<Vec<Vec<u8>>> {
        paths
            .iter()
            .map(|p| p.iter().map(|c| c.to_der().unwrap()).collect())
            .collect()
    };
    let (two, one) = (TestCa::with_intermediate(), TestCa::root());
    let mut pem = two.root_pem();
    pem.extend(one.root_pem());
    let mut authorities = Authorities::from_pem(&pem).unwrap();
    assert_eq!(authorities.paths().len(), 2);
    authorities.learn(two.chain.clone());
    authorities.learn(two.chain.clone());
    assert_eq!(ders(&authorities.paths()), ders(&[two.chain.clone(), one.chain]));
}

#[test]
fn certificates_are_bounded_and_have_a_root() {
    let ca = TestCa::with_intermediate();
    assert!(Authorities::from_pem(b"").is_err());
    assert!(
        Authorities::from_pem(&ca.chain[0].to_pem().unwrap()).is_err(),
        "an intermediate alone"
    );
    let many: Vec<u8> = std::iter::repeat_n(ca.root_pem(), MAX_CERTIFICATES + 1)
        .flatten()
        .collect();
    assert!(Authorities::from_pem(&many).is_err());
    assert!(parse_chain_pem(&vec![b'\n'; MAX_CHAIN_PEM + 1]).is_err());
}
