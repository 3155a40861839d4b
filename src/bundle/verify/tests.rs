use chrono::Duration;
use openssl::pkey::PKey;
use serde_json::{Value, json};
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::{Algorithm, KeyLife, Signature, SigningIdentity, SigningMode};

use super::*;
use crate::bundle::envelope::Envelope;
use crate::bundle::sigstore::SigstoreBundle;
use crate::bundle::trusted_root::{PublishedKey, PublishedKeys, TrustedRoot};
use crate::crypto::{Nonce, PrivateKey};
use crate::x509::test_pki::{ISSUER, LeafSpec, SUBJECT, TestCa};
use crate::x509::{Authorities, to_pem};

const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap()
}

pub(super) fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1", "predicate": { "a": 1 },
        "predicateType": "https://cyclonedx.org/bom", "subject": [{ "digest": { "sha256": DIGEST }, "name": "app" }],
    })
}

pub(super) fn sign(key: &PrivateKey, payload: &[u8]) -> Envelope {
    let signature = key
        .sign(&Pae {
            payload_type: PAYLOAD_TYPE,
            payload,
        })
        .unwrap();
    Envelope::new(payload, &Signature(signature))
}

pub(super) fn identity(key: &PrivateKey, chain: &[X509]) -> SigningIdentity {
    let (id, public) = (KeyId::parse("release-2026").unwrap(), key.public());
    SigningIdentity {
        mode: if chain.is_empty() {
            SigningMode::Kms
        } else {
            SigningMode::Keyless
        },
        certificate_chain: chain.iter().map(|c| to_pem(c).unwrap()).collect(),
        leaf_der: chain.first().map(|c| c.to_der().unwrap()),
        ..SigningIdentity::keyful(id, public.algorithm(), public.der(), public.pem())
    }
}

fn answer(envelope: &Envelope, identity: &SigningIdentity, payload: &[u8]) -> Value {
    json!({
        "bundle": {
            "mode": "kms", "dsse": envelope, "certificateChain": identity.certificate_chain, "timestamps": [],
            "signingIdentity": { "publicKey": identity.public_key_pem, "algorithm": "ecdsa-p256-sha256" },
            "sigstoreBundle": SigstoreBundle::new(envelope.clone(), identity, &[]),
        },
        "statementDigest": { "sha256": Sha256Digest::of(payload).to_hex() },
        "auditId": "x",
    })
}

fn run(document: &impl Serialize, trust: Option<&Trust>, options: &Options) -> Report {
    verify(&serde_json::to_vec(document).unwrap(), trust, options).unwrap()
}

pub(super) fn failing(report: &Report) -> Vec<&'static str> {
    assert_eq!(report.verified, report.checks.iter().all(|c| c.ok));
    report.checks.iter().filter(|c| !c.ok).map(|c| c.name).collect()
}

#[test]
fn every_form_verifies_with_every_kind_of_key() {
    let options = Options::at_present(now());
    let rsa = PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap();
    let keys = [
        (PKey::ec_gen("prime256v1").unwrap(), Algorithm::EcdsaP256Sha256),
        (PKey::ec_gen("secp384r1").unwrap(), Algorithm::EcdsaP384Sha384),
        (PKey::generate_ed25519().unwrap(), Algorithm::Ed25519),
        (rsa.clone(), Algorithm::RsaPssSha256),
        (rsa, Algorithm::RsaPkcs1Sha256),
    ];
    for (pkey, algorithm) in keys {
        let key = PrivateKey::new(pkey, algorithm, Nonce::Random).unwrap();
        let payload = statement().to_string().into_bytes();
        let (envelope, identity) = (sign(&key, &payload), identity(&key, &[]));
        let published = PublishedKeys {
            keys: vec![PublishedKey::new(&identity, KeyLife::ACTIVE)],
        };
        let published = serde_json::to_vec(&published).unwrap();
        for trust in [
            Trust::parse(key.public().pem().as_bytes()),
            Trust::parse(&published),
        ] {
            let trust = Some(trust.unwrap());
            let trust = trust.as_ref();
            let bundle = SigstoreBundle::new(envelope.clone(), &identity, &[]);
            for document in [
                json!(envelope),
                json!(bundle),
                answer(&envelope, &identity, &payload),
            ] {
                let report = run(&document, trust, &options);
                assert!(report.verified, "{algorithm}: {:?}", report.checks);
                assert_eq!(report.statement.unwrap().get().as_bytes(), payload);
            }
        }
    }
}

#[test]
fn what_was_altered_or_is_by_another_key_fails() {
    let (key, other) = (
        PrivateKey::generate_p256().unwrap(),
        PrivateKey::generate_p256().unwrap(),
    );
    let payload = statement().to_string().into_bytes();
    let (envelope, identity) = (sign(&key, &payload), identity(&key, &[]));
    let options = Options::at_present(now());
    let trust = Trust::parse(key.public().pem().as_bytes()).unwrap();
    let foreign = Trust::parse(other.public().pem().as_bytes()).unwrap();
    let bundle = SigstoreBundle::new(envelope.clone(), &identity, &[]);
    assert_eq!(failing(&run(&envelope, Some(&foreign), &options)), ["signature"]);
    assert_eq!(failing(&run(&bundle, Some(&foreign), &options)), ["key"]);

    let mut altered = envelope.clone();
    altered.payload = Envelope::new(
        statement().to_string().replace("app", "abb").as_bytes(),
        &Signature(vec![1]),
    )
    .payload;
    assert_eq!(failing(&run(&altered, Some(&trust), &options)), ["signature"]);
    let mut retyped = envelope.clone();
    retyped.payload_type = "application/json".into();
    assert_eq!(
        failing(&run(&retyped, Some(&trust), &options)),
        ["payloadType", "signature"]
    );
    let mut doubled = envelope.clone();
    doubled.signatures.extend(envelope.signatures.clone());
    assert_eq!(failing(&run(&doubled, Some(&trust), &options)), ["envelope"]);

    let mut wrong = answer(&envelope, &identity, b"something else");
    assert_eq!(failing(&run(&wrong, Some(&trust), &options)), ["statementDigest"]);
    wrong = answer(&envelope, &identity, &payload);
    wrong["bundle"]["sigstoreBundle"]["dsseEnvelope"] = json!(sign(&other, &payload));
    assert_eq!(failing(&run(&wrong, Some(&trust), &options)), ["sigstoreBundle"]);
}

#[test]
fn without_trust_nothing_is_verified() {
    let key = PrivateKey::generate_p256().unwrap();
    let payload = statement().to_string().into_bytes();
    let envelope = sign(&key, &payload);
    let options = Options::at_present(now());
    let full = run(&answer(&envelope, &identity(&key, &[]), &payload), None, &options);
    assert_eq!(failing(&full), ["trust"]);
    assert!(full.checks.iter().any(|c| c.name == "signature" && c.ok));
    assert_eq!(failing(&run(&envelope, None, &options)), ["trust"]);
}

#[test]
fn states_of_published_keys_count() {
    let key = PrivateKey::generate_p256().unwrap();
    let payload = statement().to_string().into_bytes();
    let (envelope, identity) = (sign(&key, &payload), identity(&key, &[]));
    let revoked_from = now() - Duration::days(1);
    let cases = [
        (KeyState::Active, None, true),
        (KeyState::Retired, None, false),
        (KeyState::Retired, Some(now() - Duration::days(2)), true),
        (KeyState::Retired, Some(now()), false), // after its retirement
        (KeyState::Revoked, None, false),
        (KeyState::Revoked, Some(revoked_from), false),
        (KeyState::Revoked, Some(revoked_from - Duration::seconds(1)), true),
    ];
    for (state, at, expected) in cases {
        let life = KeyLife {
            state,
            retired_from: (state == KeyState::Retired).then(|| now() - Duration::hours(1)),
            revoked_from: (state == KeyState::Revoked).then_some(revoked_from),
        };
        let published = PublishedKey::new(&identity, life);
        let mut trust = Trust::default();
        trust
            .add_published(&PublishedKeys {
                keys: vec![published],
            })
            .unwrap();
        let options = Options {
            at,
            ..Options::at_present(now())
        };
        let report = run(&envelope, Some(&trust), &options);
        assert_eq!(report.verified, expected, "{state:?} {at:?}: {:?}", report.checks);
    }
}

/// A keyless document over the statement, its certificate issued at `from`.
fn keyless(ca: &TestCa, from: DateTime<Utc>) -> SigstoreBundle {
    keyless_with(ca, from, |_| Vec::new())
}

/// The same with timestamps, made of the signature.
pub(super) fn keyless_with(
    ca: &TestCa,
    from: DateTime<Utc>,
    timestamps: impl FnOnce(&[u8]) -> Vec<Vec<u8>>,
) -> SigstoreBundle {
    let key = PrivateKey::generate_p256().unwrap();
    let leaf = ca.issue(key.public().pkey(), &LeafSpec::at(from));
    let envelope = sign(&key, statement().to_string().as_bytes());
    let timestamps = timestamps(&envelope.decode().unwrap().signature);
    let timestamps: Vec<&[u8]> = timestamps.iter().map(Vec::as_slice).collect();
    SigstoreBundle::new(envelope, &identity(&key, &[leaf]), &timestamps)
}

pub(super) fn trusted_root(ca: &TestCa) -> Trust {
    let mut root = TrustedRoot::default();
    root.add_fulcio(
        "https://fulcio.example",
        &Authorities::from_pem(&ca.chain_pem()).unwrap(),
    )
    .unwrap();
    Trust::parse(&serde_json::to_vec(&root).unwrap()).unwrap()
}

#[test]
fn keyless_bundles_need_root_time_and_identity() {
    let ca = TestCa::with_intermediate();
    let trust = trusted_root(&ca);
    let fresh = keyless(&ca, now());
    let present = Options::at_present(now());
    assert_eq!(failing(&run(&fresh, Some(&trust), &present)), [""; 0]);
    assert_eq!(
        failing(&run(&fresh, Some(&trusted_root(&TestCa::root())), &present)),
        ["certificate"]
    );
    let key_only = Trust::parse(PrivateKey::generate_p256().unwrap().public().pem().as_bytes()).unwrap();
    assert_eq!(failing(&run(&fresh, Some(&key_only), &present)), ["certificate"]);

    let signed = now() - Duration::hours(1);
    let old = keyless(&ca, signed);
    let report = run(&old, Some(&trust), &present);
    assert_eq!(failing(&report), ["certificateValidity"]);
    assert!(
        report
            .checks
            .iter()
            .any(|c| c.detail.contains("expired") && c.detail.contains("no timestamp"))
    );
    for (offset, expected) in [(-1, false), (0, true), (599, true), (600, false)] {
        let options = Options {
            at: Some(signed + Duration::seconds(offset)),
            ..present.clone()
        };
        assert_eq!(run(&old, Some(&trust), &options).verified, expected, "{offset}");
    }
    for (issuer, subject, expected) in [
        (ISSUER, SUBJECT, true),
        ("https://evil.example", SUBJECT, false),
        (ISSUER, "https://stellaops.example", false),
    ] {
        let options = Options {
            expect_issuer: Some(issuer.into()),
            expect_subject: Some(subject.into()),
            ..present.clone()
        };
        assert_eq!(
            run(&fresh, Some(&trust), &options).verified,
            expected,
            "{issuer} {subject}"
        );
    }
}

#[test]
fn a_whole_answer_brings_its_intermediates() {
    let ca = TestCa::with_intermediate();
    let key = PrivateKey::generate_p256().unwrap();
    let leaf = ca.issue(key.public().pkey(), &LeafSpec::at(now()));
    let payload = statement().to_string().into_bytes();
    let identity = identity(&key, &[vec![leaf], ca.chain.clone()].concat());
    let trust = Trust::parse(&ca.root_pem()).unwrap();
    let document = answer(&sign(&key, &payload), &identity, &payload);
    let report = run(&document, Some(&trust), &Options::at_present(now()));
    assert!(report.verified, "{:?}", report.checks);
}

#[test]
fn statements_are_checked_for_what_they_say() {
    let key = PrivateKey::generate_p256().unwrap();
    let trust = Trust::parse(key.public().pem().as_bytes()).unwrap();
    let text = statement().to_string();
    let cases: [(&str, String); 7] = [
        ("statement", "[]".into()),
        ("statement", text.replace("Statement/v1", "Statement/v0.1")),
        (
            "statement",
            text.replace(r#""predicate":{"#, r#""predicate":{"a":2,"#),
        ),
        ("subjects", text.replace(DIGEST, &DIGEST[1..])),
        ("subjects", text.replace(DIGEST, &DIGEST.to_uppercase())),
        (
            "subjects",
            text.replace(&format!(r#"{{"sha256":"{DIGEST}"}}"#), "{}"),
        ),
        ("predicateType", text.replace("https://cyclonedx.org/bom", "")),
    ];
    for (expected, payload) in cases {
        let report = run(
            &sign(&key, payload.as_bytes()),
            Some(&trust),
            &Options::at_present(now()),
        );
        assert_eq!(failing(&report), [expected], "{payload}");
    }
    for (digest, expected) in [(DIGEST.to_owned(), true), ("0".repeat(64), false)] {
        let options = Options {
            subject_digest: Some(format!("sha256:{digest}")),
            ..Options::at_present(now())
        };
        assert_eq!(
            run(&sign(&key, text.as_bytes()), Some(&trust), &options).verified,
            expected
        );
    }
}

#[test]
fn canonical_form_is_told_and_not_required() {
    let key = PrivateKey::generate_p256().unwrap();
    let trust = Trust::parse(key.public().pem().as_bytes()).unwrap();
    let text = statement().to_string();
    for (payload, expected) in [
        (text.clone(), "RFC 8785"),
        (text.replace(',', ", "), "not canonical"),
    ] {
        let report = run(
            &sign(&key, payload.as_bytes()),
            Some(&trust),
            &Options::at_present(now()),
        );
        assert!(report.verified, "{:?}", report.checks);
        let check = report.checks.iter().find(|c| c.name == "canonicalForm").unwrap();
        assert!(check.detail.contains(expected), "{}", check.detail);
    }
}

#[test]
fn what_is_no_document_or_no_trust_is_an_error() {
    let options = Options::at_present(now());
    let twice = br#"{"payloadType":"a","payloadType":"b","payload":"e30=","signatures":[]}"#;
    for bad in [
        &b""[..],
        b"{}",
        b"[]",
        b"null",
        b"not json",
        twice,
        br#"{"bundle":{}}"#,
        br#"{"verificationMaterial":{}}"#,
    ] {
        assert!(
            verify(bad, None, &options).is_err(),
            "{}",
            String::from_utf8_lossy(bad)
        );
    }
    for bad in [
        &b""[..],
        b"{}",
        b"{\"keys\":[]}",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN PUBLIC KEY-----",
    ] {
        assert!(Trust::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
    }
}
