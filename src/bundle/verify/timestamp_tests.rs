//! What a timestamp proves: certificates that have ended, keys that sign no more.

use chrono::Duration;

use super::tests::{failing, identity, keyless_with, now, sign, statement, trusted_root};
use super::*;
use crate::bundle::trusted_root::{PublishedKey, PublishedKeys, TrustedRoot};
use crate::crypto::PrivateKey;
use crate::dev::timestamps::{Asked, Stamper};
use crate::x509::der::{OCTET_STRING, OID, SEQUENCE};
use crate::x509::test_pki::TestCa;
use signer_actors::domain::signing::KeyLife;

/// As an authority is asked (RFC 3161 §2.4.1): `SEQUENCE { SEQUENCE { id-sha256 }, OCTET STRING }`.
fn stamp(stamper: &Stamper, signature: &[u8], time: DateTime<Utc>) -> Vec<u8> {
    let mut imprint = vec![
        SEQUENCE,
        0x2f,
        SEQUENCE,
        0x0b,
        OID,
        9,
        0x60,
        0x86,
        0x48,
        0x01,
        0x65,
        3,
        4,
        2,
        1,
        OCTET_STRING,
        0x20,
    ];
    imprint.extend(Sha256Digest::of(signature).0);
    let asked = Asked {
        imprint,
        nonce: None,
        certificates: true,
    };
    stamper.respond(&asked, time).unwrap()
}

fn trusting(mut trust: Trust, stamper: &Stamper) -> Trust {
    let chain = X509::stack_from_pem(stamper.chain_pem().unwrap().as_bytes()).unwrap();
    let mut root = TrustedRoot::default();
    root.add_timestamp_authority("", &[chain]).unwrap();
    trust.add(&serde_json::to_vec(&root).unwrap()).unwrap();
    trust
}

fn told<'a>(report: &'a Report, name: &str) -> &'a str {
    let check = report.checks.iter().find(|check| check.name == name);
    &check.unwrap_or_else(|| panic!("{:?}", report.checks)).detail
}

#[test]
fn a_keyless_bundle_outlives_its_certificate_by_a_timestamp_inside_its_life() {
    let (ca, stamper) = (TestCa::with_intermediate(), Stamper::generate().unwrap());
    let signed = now();
    let make = |time: &[i64]| {
        keyless_with(&ca, signed, |signature| {
            time.iter()
                .map(|seconds| stamp(&stamper, signature, signed + Duration::seconds(*seconds)))
                .collect()
        })
    };
    let trust = trusting(trusted_root(&ca), &stamper);
    let later = Options::at_present(signed + Duration::hours(2));
    let verify = |bundle: &SigstoreBundle, trust: &Trust| {
        Document::bundle(bundle.clone())
            .unwrap()
            .verify(Some(trust), &later)
    };
    let bare = verify(&make(&[]), &trust);
    assert_eq!(failing(&bare), ["certificateValidity"]);
    let good = verify(&make(&[5]), &trust);
    assert!(good.verified, "{:?}", good.checks);
    assert!(told(&good, "certificateValidity").contains("proven by a timestamp"));
    assert!(told(&good, "timestamps").starts_with("1 of 1 verified"));
    // The earliest counts: that another saw it later takes nothing away.
    assert!(verify(&make(&[5400, 5]), &trust).verified);
    // What was signed after the certificate's life, with a key that leaked.
    assert_eq!(failing(&verify(&make(&[5400]), &trust)), ["certificateValidity"]);
    // Nobody who is trusted says when.
    let unproven = verify(&make(&[5]), &trusted_root(&ca));
    assert_eq!(failing(&unproven), ["certificateValidity"]);
    assert!(told(&unproven, "timestamps").contains("no timestamp authority is trusted"));
    let other = trusting(trusted_root(&ca), &Stamper::generate().unwrap());
    let foreign = verify(&make(&[5]), &other);
    assert_eq!(failing(&foreign), ["certificateValidity"]);
    assert!(told(&foreign, "timestamps").contains("prove no time"));
    // A given time does not outweigh a proven one.
    let given = Options {
        at: Some(signed + Duration::seconds(5)),
        ..later.clone()
    };
    let bundle = Document::bundle(make(&[5400])).unwrap();
    assert_eq!(
        failing(&bundle.verify(Some(&trust), &given)),
        ["certificateValidity"]
    );
}

#[test]
fn timestamps_over_something_else_spoil_a_bundle() {
    let (ca, stamper) = (TestCa::with_intermediate(), Stamper::generate().unwrap());
    let signed = now();
    let trust = trusting(trusted_root(&ca), &stamper);
    let options = Options::at_present(signed);
    let good = |signature: &[u8]| stamp(&stamper, signature, signed);
    for spoil in [
        |_: Vec<u8>, other: Vec<u8>| other,
        |mut good: Vec<u8>, _: Vec<u8>| {
            *good.last_mut().unwrap() ^= 1;
            good
        },
        |_: Vec<u8>, _: Vec<u8>| b"nonsense".to_vec(),
        |_: Vec<u8>, _: Vec<u8>| Vec::new(),
    ] {
        let bundle = keyless_with(&ca, signed, |signature| {
            vec![
                good(signature),
                spoil(good(signature), good(b"another signature")),
            ]
        });
        let report = Document::bundle(bundle).unwrap().verify(Some(&trust), &options);
        assert_eq!(failing(&report), ["timestamps"]);
    }
    let mut bundle = keyless_with(&ca, signed, |signature| vec![good(signature)]);
    let data = bundle
        .verification_material
        .timestamp_verification_data
        .as_mut()
        .unwrap();
    data.rfc3161_timestamps[0].signed_timestamp = "?".into();
    let report = Document::bundle(bundle).unwrap().verify(Some(&trust), &options);
    assert_eq!(failing(&report), ["timestamps"]);
}

/// Contract §7: a retired key verifies what was timestamped before its retirement; a revoked one what was before
/// `revokedFrom`, and before its retirement if it was retired first.
#[test]
fn keys_that_sign_no_more_vouch_for_what_a_timestamp_proves() {
    let stamper = Stamper::generate().unwrap();
    let key = PrivateKey::generate_p256().unwrap();
    let payload = statement().to_string().into_bytes();
    let (envelope, identity) = (sign(&key, &payload), identity(&key, &[]));
    let signed = now();
    let signature = envelope.decode().unwrap().signature;
    let response = stamp(&stamper, &signature, signed);
    let bundle = SigstoreBundle::new(envelope.clone(), &identity, &[&response]);
    let bare = SigstoreBundle::new(envelope, &identity, &[]);
    let options = Options::at_present(signed + Duration::days(3));
    let from = |seconds| Some(signed + Duration::seconds(seconds));
    for (state, retired_from, revoked_from, with, without) in [
        (KeyState::Active, None, None, true, true),
        (KeyState::Retired, None, None, false, false),
        (KeyState::Retired, from(-1), None, false, false),
        (KeyState::Retired, from(0), None, true, false),
        (KeyState::Retired, from(1), None, true, false),
        (KeyState::Revoked, None, None, false, false),
        (KeyState::Revoked, None, from(-1), false, false),
        (KeyState::Revoked, None, from(0), false, false),
        (KeyState::Revoked, None, from(1), true, false),
        (KeyState::Revoked, from(0), from(1), true, false),
        (KeyState::Revoked, from(-1), from(1), false, false),
    ] {
        let life = KeyLife {
            state,
            retired_from,
            revoked_from,
        };
        let published = PublishedKeys {
            keys: vec![PublishedKey::new(&identity, life)],
        };
        let trust = Trust::parse(&serde_json::to_vec(&published).unwrap()).unwrap();
        let trust = trusting(trust, &stamper);
        for (bundle, expected) in [(&bundle, with), (&bare, without)] {
            let report = Document::bundle(bundle.clone())
                .unwrap()
                .verify(Some(&trust), &options);
            assert_eq!(report.verified, expected, "{life:?} {:?}", report.checks);
        }
    }
}

/// What an authority says to within a second may have been a second later.
#[test]
fn a_retirement_is_compared_with_the_latest_time_that_is_proven() {
    let (identity, end) = (identity(&PrivateKey::generate_p256().unwrap(), &[]), now());
    let life = KeyLife {
        state: KeyState::Retired,
        retired_from: Some(end),
        revoked_from: None,
    };
    let mut trust = Trust::default();
    let keys = vec![PublishedKey::new(&identity, life)];
    trust.add_published(&PublishedKeys { keys }).unwrap();
    let [key] = &trust.keys[..] else {
        panic!("{trust:?}")
    };
    let judged = |before, accuracy| {
        let time = end - Duration::milliseconds(before);
        key_state(key, Moment::Proven(time, Duration::milliseconds(accuracy))).is_ok()
    };
    for (before, accuracy, counts) in [
        (0, 0, true),
        (1000, 1000, true),
        (999, 1000, false),
        (0, 1, false),
    ] {
        assert_eq!(judged(before, accuracy), counts, "{before} {accuracy}");
    }
    assert!(key_state(key, Moment::Given(end)).is_ok());
    assert!(key_state(key, Moment::Given(end + Duration::seconds(1))).is_err());
}

#[test]
fn a_key_that_is_given_adds_no_trust() {
    let (key, other) = (
        PrivateKey::generate_p256().unwrap(),
        PrivateKey::generate_p256().unwrap(),
    );
    let payload = statement().to_string().into_bytes();
    let envelope = sign(&key, &payload);
    let trust = Trust::parse(key.public().pem().as_bytes()).unwrap();
    let foreign = Trust::parse(other.public().pem().as_bytes()).unwrap();
    let options = |key: &PrivateKey| Options {
        public_key: Some(GivenKey::from_pem(key.public().pem().as_bytes()).unwrap()),
        ..Options::at_present(now())
    };
    let verify = |trust: &Trust, given: &PrivateKey| {
        let report = Document::envelope(envelope.clone()).verify(Some(trust), &options(given));
        failing(&report)
    };
    assert!(verify(&trust, &key).is_empty());
    assert_eq!(
        verify(&foreign, &key),
        ["key"],
        "whole, and by nobody who is trusted"
    );
    assert_eq!(
        verify(&trust, &other),
        ["publicKey", "key"],
        "by a trusted key, and not the one that was meant"
    );
    assert_eq!(verify(&foreign, &other), ["publicKey", "signature"]);
}

#[test]
fn only_identities_that_are_trusted_count() {
    let ca = TestCa::with_intermediate();
    let bundle = keyless_with(&ca, now(), |_| Vec::new());
    let options = Options::at_present(now());
    use crate::x509::test_pki::{ISSUER, SUBJECT};
    for (issuer, subject, expected) in [
        (ISSUER, SUBJECT, true),
        (ISSUER, "https://stellaops.example/another", false),
        ("https://issuer.example", SUBJECT, false),
    ] {
        let mut trust = trusted_root(&ca);
        trust.add_identity(issuer, subject);
        let report = Document::bundle(bundle.clone())
            .unwrap()
            .verify(Some(&trust), &options);
        assert_eq!(report.verified, expected, "{issuer} {subject}");
        trust.add_identity(ISSUER, SUBJECT);
        let report = Document::bundle(bundle.clone())
            .unwrap()
            .verify(Some(&trust), &options);
        assert!(report.verified);
    }
}
