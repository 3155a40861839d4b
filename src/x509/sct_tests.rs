//! Promises by a log of the tests' own; real ones are judged where release signatures are (`adapters::registry::cosign`).

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer;
use serde_json::{Value, json};

use super::*;
use crate::crypto::{self, PrivateKey};
use crate::x509::test_pki::{LeafSpec, TestCa};

/// A list with promises of these bytes.
fn list(promises: &[Vec<u8>]) -> Vec<u8> {
    let vector = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    vector(
        &promises
            .iter()
            .flat_map(|promise| vector(promise))
            .collect::<Vec<u8>>(),
    )
}

#[test]
fn lists_are_read_strictly() {
    let promise = [
        &[0][..],
        &[7; 32],
        &1_u64.to_be_bytes(),
        &[0, 0],
        &[4, 3],
        &[0, 1, 9],
    ]
    .concat();
    let expected = Promise {
        log: &[7; 32],
        millis: 1,
        extensions: &[],
        scheme: [4, 3],
        signature: &[9],
    };
    assert_eq!(
        read_list(&list(std::slice::from_ref(&promise))),
        Some(vec![expected])
    );
    assert!(read_list(&list(&vec![promise.clone(); MAX_PROMISES])).is_some());
    let second_version = [&[1], &promise[1..]].concat();
    let longer = [&promise[..], &[0]].concat();
    for bad in [
        Vec::new(),
        list(&[]),
        list(&[Vec::new()]),
        list(&[second_version]),
        list(&[longer]),
        list(&[promise[..promise.len() - 1].to_vec()]),
        list(&vec![promise.clone(); MAX_PROMISES + 1]),
        [list(std::slice::from_ref(&promise)), vec![0]].concat(),
        list(std::slice::from_ref(&promise))[..20].to_vec(),
    ] {
        assert_eq!(read_list(&bad), None, "{bad:02x?}");
    }
}

const AT: fn() -> DateTime<Utc> = || DateTime::from_timestamp(1_750_000_000, 0).unwrap();

/// A log with this key.
fn log(key: &PKey<Private>) -> CtLog {
    CtLog::new(&key.public_key_to_pem().unwrap(), None, None).unwrap()
}

/// The promise that `key` makes of an entry at [`AT`].
fn signature(key: &PKey<Private>, promise: &Promise<'_>, entry: &Entry<'_>) -> Vec<u8> {
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    signer
        .sign_oneshot_to_vec(&promise.signed(entry).unwrap())
        .unwrap()
}

fn unsigned(log: &[u8], scheme: [u8; 2]) -> Promise<'_> {
    Promise {
        log,
        millis: u64::try_from(AT().timestamp_millis()).unwrap(),
        extensions: &[],
        scheme,
        signature: &[],
    }
}

#[test]
fn each_kind_of_key_has_its_scheme() {
    let p256 = crypto::generate_p256().unwrap();
    let rsa = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let entry = Entry::Certificate(b"a certificate");
    for (key, scheme) in [(&p256, [4, 3]), (&rsa, [4, 1])] {
        let log = log(key);
        let name = log.key().fingerprint();
        for claimed in [[4, 1], [4, 3], [8, 7], [2, 3]] {
            let mut promise = unsigned(&name.0, claimed);
            let made = signature(key, &promise, &entry);
            promise.signature = &made;
            assert_eq!(
                log.check(&promise, &entry, AT()).is_ok(),
                claimed == scheme,
                "{claimed:?}"
            );
        }
    }
}

#[test]
fn logs_have_keys_of_the_specification() {
    let ed25519 = PKey::generate_ed25519().unwrap().public_key_to_pem().unwrap();
    let refused = CtLog::new(&ed25519, None, None).unwrap_err();
    assert!(refused.contains("must be P-256, or RSA"), "{refused}");
    assert!(CtLog::new(b"no key", None, None).is_err());
}

/// What the log with this key answers about a certificate (DER).
pub(crate) fn answer_of(key: &PKey<Private>, leaf: &[u8], at: DateTime<Utc>) -> Value {
    let name = log(key).key().fingerprint();
    let mut promise = unsigned(&name.0, [4, 3]);
    promise.millis = u64::try_from(at.timestamp_millis()).unwrap();
    let made = signature(key, &promise, &Entry::Certificate(leaf));
    let signed = [
        &[4, 3][..],
        &u16::try_from(made.len()).unwrap().to_be_bytes(),
        &made,
    ]
    .concat();
    json!({
        "sct_version": 0,
        "id": STANDARD.encode(name.0),
        "timestamp": promise.millis,
        "extensions": "",
        "signature": STANDARD.encode(signed),
    })
}

/// A certificate without promises in it, and its issuer.
fn issued() -> (Vec<u8>, X509) {
    let ca = TestCa::root();
    let subject = PrivateKey::generate_p256().unwrap();
    let leaf = ca.issue(subject.public().pkey(), &LeafSpec::at(AT()));
    (leaf.to_der().unwrap(), ca.chain[0].clone())
}

#[test]
fn a_promise_beside_the_certificate_is_of_the_whole() {
    let key = crypto::generate_p256().unwrap();
    let (leaf, issuer) = issued();
    let answer = answer_of(&key, &leaf, AT());
    let logs = CtLogs::new(vec![log(&key)]);
    let check =
        |leaf: &[u8], answer: &Value| logs.check(leaf, Some(&issuer), answer.to_string().as_bytes(), AT());
    assert_eq!(check(&leaf, &answer), Ok(true));
    assert_eq!(
        logs.check(&leaf, Some(&issuer), b"", AT()),
        Ok(false),
        "it carries none"
    );
    let (other, _) = issued();
    assert!(check(&other, &answer).unwrap_err().contains("does not hold"));
    let foreign = CtLogs::new(vec![log(&crypto::generate_p256().unwrap())]);
    let refused = foreign.check(&leaf, Some(&issuer), answer.to_string().as_bytes(), AT());
    assert!(refused.unwrap_err().contains("a log that is not configured"));
    for (member, value) in [
        ("sct_version", json!(1)),
        ("id", json!("AAAA")),
        ("extensions", json!("AAAA")),
        ("timestamp", json!(1)),
        ("signature", json!("BAMAAA==")),
        ("signature", json!("BA==")),
        ("signature", json!(null)),
    ] {
        let mut altered = answer.clone();
        altered[member] = value;
        assert!(check(&leaf, &altered).is_err(), "{altered}");
    }
}
