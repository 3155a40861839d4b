//! Vectors by independent tools (`testdata/README.md`), and what becomes of them when anything is changed.

use super::*;

macro_rules! vector {
    ($name:expr) => {
        include_bytes!(concat!("testdata/", $name)).as_slice()
    };
}

const MESSAGE: &[u8] = vector!("message.bin");

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A day after the vectors were made.
fn now() -> DateTime<Utc> {
    at("2026-11-23T18:00:00Z")
}

fn authorities(pem: &[&[u8]]) -> Authorities {
    Authorities::from_pem(&pem.concat()).unwrap()
}

/// The root alone: everything else has to come along.
fn root() -> Authorities {
    authorities(&[vector!("root.crt")])
}

/// Answers by `openssl ts -reply -text`.
#[test]
fn timestamps_of_openssl_hold() {
    #[track_caller]
    fn check(response: &[u8], imprint: Hash, nonce: bool) {
        let timestamp = root().verify(response, MESSAGE, now()).unwrap();
        assert!((at("2026-11-22T19:31:00Z")..at("2026-11-22T19:33:00Z")).contains(&timestamp.time));
        assert_eq!(timestamp.accuracy, TimeDelta::milliseconds(1500));
        assert_eq!((timestamp.imprint, timestamp.nonce.is_some()), (imprint, nonce));
        assert_eq!(timestamp.path.len(), 3);
        assert!(crate::openssl_errors::was_empty());
    }
    check(vector!("good.tsr"), Hash::Sha256, true);
    check(vector!("sha384.tsr"), Hash::Sha384, false);
    check(vector!("sha512-rsa.tsr"), Hash::Sha512, true);
    check(vector!("ess-v1.tsr"), Hash::Sha256, true);
    check(vector!("cms.tsr"), Hash::Sha256, true);
    check(vector!("cms-key-id.tsr"), Hash::Sha256, true);
    let all = authorities(&[
        vector!("root.crt"),
        vector!("intermediate.crt"),
        vector!("p256.crt"),
    ]);
    let timestamp = all
        .verify(vector!("no-certificates.tsr"), MESSAGE, now())
        .unwrap();
    assert_eq!(timestamp.path.len(), 3);
}

/// Answers of Sigstore's timestamp authority, with the times that `openssl ts -reply -text` shows.
#[test]
fn timestamps_of_sigstore_hold() {
    #[track_caller]
    fn check(pem: &[u8], response: &[u8], signature: &[u8], time: &str) {
        let timestamp = authorities(&[pem]).verify(response, signature, now()).unwrap();
        assert_eq!(timestamp.time, at(time));
    }
    macro_rules! check {
        ($pem:literal, $name:literal, $time:literal) => {
            check(
                vector!(concat!("sigstore/", $pem, ".pem")),
                vector!(concat!("sigstore/", $name, ".tsr")),
                vector!(concat!("sigstore/", $name, ".sig")),
                $time,
            )
        };
    }
    check!("staging", "dsse-happy-path", "2026-05-13T19:23:33Z");
    check!("staging", "with-embedded-cert", "2025-08-06T18:51:36Z");
    check!("staging", "without-embedded-cert", "2025-08-06T19:03:51Z");
    check!("staging", "with-incorrect-time", "2025-07-15T10:33:31Z");
    check!(
        "intoto-with-custom-trust-root",
        "intoto-with-custom-trust-root",
        "2023-02-01T00:00:00Z"
    );
    // The authority has expired since; what it said then holds.
    check!(
        "with-expired-cert-chain",
        "with-expired-cert-chain",
        "2025-08-07T15:32:26Z"
    );
}

/// Everything that is wrong alone, and what is said of it.
#[test]
fn timestamps_that_prove_nothing() {
    #[track_caller]
    fn check(authorities: &Authorities, response: &[u8], message: &[u8], invalid: bool, reason: &str) {
        let failure = authorities.verify(response, message, now()).unwrap_err();
        assert!(failure.to_string().contains(reason), "{failure}, not {reason}");
        assert_eq!(matches!(failure, Failure::Invalid(_)), invalid, "{failure}");
    }
    let staging = authorities(&[vector!("sigstore/staging.pem")]);
    let tampered = authorities(&[vector!("sigstore/with-expired-cert-chain.pem")]);
    let good = vector!("good.tsr");
    let ours = root();
    check(&ours, good, b"other bytes", true, "over something else");
    check(&ours, &[good, b"\0"].concat(), MESSAGE, true, "strict DER");
    check(&ours, &good[..good.len() - 1], MESSAGE, true, "strict DER");
    check(&ours, b"", MESSAGE, true, "strict DER");
    check(&ours, &vec![0x30; MAX_RESPONSE + 1], MESSAGE, true, "longer than");
    check(&ours, vector!("not-granted.tsr"), MESSAGE, true, "PKIStatus 2");
    check(&ours, vector!("two-signers.tsr"), MESSAGE, true, "one signer");
    check(
        &ours,
        vector!("no-signing-certificate.tsr"),
        MESSAGE,
        true,
        "incomplete",
    );
    check(&ours, vector!("sha1.tsr"), MESSAGE, false, "none of SHA-256");
    check(&ours, vector!("expired.tsr"), MESSAGE, false, "expired");
    check(
        &ours,
        vector!("no-usage.tsr"),
        MESSAGE,
        false,
        "for timestamps alone",
    );
    check(
        &ours,
        vector!("not-critical.tsr"),
        MESSAGE,
        false,
        "for timestamps alone",
    );
    check(
        &ours,
        vector!("two-uses.tsr"),
        MESSAGE,
        false,
        "for timestamps alone",
    );
    check(&ours, vector!("code.tsr"), MESSAGE, false, "for timestamps alone");
    check(&ours, vector!("foreign.tsr"), MESSAGE, false, "may not issue");
    check(
        &ours,
        vector!("no-certificates.tsr"),
        MESSAGE,
        false,
        "none is configured",
    );
    check(
        &authorities(&[vector!("other-root.crt")]),
        good,
        MESSAGE,
        false,
        "root vouches",
    );
    let near = authorities(&[vector!("root.crt"), vector!("intermediate.crt")]);
    check(&near, vector!("twin.tsr"), MESSAGE, false, "none is configured");
    macro_rules! sigstore {
        ($authorities:expr, $name:literal, $invalid:literal, $reason:literal) => {
            check(
                $authorities,
                vector!(concat!("sigstore/", $name, ".tsr")),
                vector!(concat!("sigstore/", $name, ".sig")),
                $invalid,
                $reason,
            )
        };
    }
    sigstore!(&staging, "payload-mismatch", true, "over something else");
    sigstore!(&staging, "untrusted-tsa-with-embedded-cert", false, "");
    sigstore!(&staging, "untrusted-tsa-without-embedded-cert", false, "");
    sigstore!(&tampered, "outside-tsa-cert-validity", false, "expired");
    // A clock behind the authority's: 30 s are forgiven.
    let time = ours.verify(good, MESSAGE, now()).unwrap().time;
    for (behind, holds) in [(30, true), (31, false)] {
        let now = time - TimeDelta::seconds(behind);
        assert_eq!(ours.verify(good, MESSAGE, now).is_ok(), holds, "{behind}");
    }
}

/// No bit of an answer can be changed and its time with it: what still verifies says the same, and differs only where
/// nothing is signed and nothing is read.
#[test]
fn one_bit_changes_no_time() {
    let ours = root();
    for response in [
        vector!("good.tsr"),
        vector!("sha512-rsa.tsr"),
        vector!("cms-key-id.tsr"),
        vector!("ess-v1.tsr"),
    ] {
        let honest = ours.verify(response, MESSAGE, now()).unwrap();
        let mut survivors = 0;
        // One bit of every third byte: another one each time.
        for byte in (0..response.len()).step_by(3) {
            let mut changed = response.to_vec();
            changed[byte] ^= 1 << (byte % 8);
            if let Ok(timestamp) = ours.verify(&changed, MESSAGE, now()) {
                assert_eq!(
                    (timestamp.time, &timestamp.serial),
                    (honest.time, &honest.serial),
                    "byte {byte}"
                );
                survivors += 1;
            }
        }
        // PKIStatus 1 for 0, the set of digest algorithms, and tags or signatures of certificates that are not needed.
        assert!(survivors < 20, "{survivors}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        let _ = root().verify(&bytes, MESSAGE, now());
        let _ = root().verify_token(&bytes, MESSAGE, now());
    }

    #[test]
    fn any_mixture_is_safe(from in 0usize..1300, with in proptest::collection::vec(proptest::num::u8::ANY, 1..8)) {
        let mut bytes = vector!("good.tsr").to_vec();
        let end = (from + with.len()).min(bytes.len());
        let start = from.min(end);
        bytes.splice(start..end, with);
        let _ = root().verify(&bytes, MESSAGE, now());
    }
}
