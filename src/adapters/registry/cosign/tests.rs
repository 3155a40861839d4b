//! The policy over what cosign made (`testdata/README.md`): one image, signed with a certificate of ten minutes, witnessed
//! by a timestamp and a log entry, in both formats.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use signer_actors::domain::digest::{ImageDigest, Sha256Digest};
use signer_actors::domain::release::{ReleaseSigner, SignatureFormat};

use super::keys::ReleaseKey;
use super::*;
use crate::adapters::registry::{
    Identity, Life, Repository, Requirement, Settings, SignerKey, TransparencyLog,
};

macro_rules! witnessed {
    ($name:expr) => {
        include_bytes!(concat!("testdata/witnessed/", $name)).as_slice()
    };
}

const FORMATS: [SignatureFormat; 2] = [SignatureFormat::CosignLegacy, SignatureFormat::SigstoreBundle];

/// While the certificate was valid (19:20:44 to 19:30:44), and when it was not.
const EARLY: &str = "2026-11-22T19:25:00Z";
const LATE: &str = "2027-03-01T00:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn image() -> ImageDigest {
    ImageDigest::from(Sha256Digest::of(witnessed!("image.json")))
}

/// The certificate's key, as a key of its own.
fn leaf_key() -> Vec<u8> {
    let pem = annotations()["dev.sigstore.cosign/certificate"].clone();
    let leaf = openssl::x509::X509::from_pem(pem.as_bytes()).unwrap();
    leaf.public_key().unwrap().public_key_to_pem().unwrap()
}

fn annotations() -> BTreeMap<String, String> {
    let manifest: Value = serde_json::from_slice(witnessed!("legacy-manifest.json")).unwrap();
    serde_json::from_value(manifest["layers"][0]["annotations"].clone()).unwrap()
}

fn none() -> Settings {
    Settings::new(vec![Repository::parse("registry.example/a").unwrap()])
}

/// The identity alone.
fn identity() -> Settings {
    let mut settings = none();
    settings.roots = Some([witnessed!("root.crt"), witnessed!("intermediate.crt")].concat());
    settings.identities = vec![Identity::new(
        "https://authority.example",
        "https://stellaops.example/release",
    )];
    settings
}

/// The certificate's key as a release key with a life until shortly after it signed.
fn key() -> Settings {
    let mut settings = none();
    settings.signers = vec![SignerKey {
        pem: leaf_key(),
        life: until("2026-11-22T20:00:00Z"),
        require: Vec::new(),
    }];
    settings
}

fn until(end: &str) -> Life {
    Life {
        not_before: None,
        not_after: Some(at(end)),
    }
}

fn timestamped(mut settings: Settings) -> Settings {
    settings.timestamp_roots = Some(witnessed!("tsa.crt").to_vec());
    settings
}

fn logged(mut settings: Settings) -> Settings {
    settings.logs = vec![TransparencyLog {
        key: witnessed!("log.pub").to_vec(),
        origin: String::new(),
        life: Life::default(),
    }];
    settings
}

fn legacy(settings: &Settings, annotations: &BTreeMap<String, String>, now: &str) -> Result<Signed, String> {
    let place = Place {
        manifest_digest: String::new(),
        format: SignatureFormat::CosignLegacy,
    };
    let policy = Policy::new(settings).unwrap();
    policy
        .simple_signing(
            image(),
            place,
            annotations,
            witnessed!("legacy-payload.json"),
            at(now),
        )
        .outcome
}

fn bundled(settings: &Settings, bundle: &[u8], now: &str) -> Result<Signed, String> {
    let policy = Policy::new(settings).unwrap();
    policy.bundle(image(), String::new(), bundle, at(now)).outcome
}

fn verify(format: SignatureFormat, settings: &Settings, now: &str) -> Result<Signed, String> {
    match format {
        SignatureFormat::SigstoreBundle => bundled(settings, witnessed!("bundle.json"), now),
        _ => legacy(settings, &annotations(), now),
    }
}

#[track_caller]
fn holds(settings: &Settings, now: &str) -> Vec<Signed> {
    FORMATS
        .into_iter()
        .map(|format| verify(format, settings, now).unwrap_or_else(|reason| panic!("{format:?}: {reason}")))
        .collect()
}

#[track_caller]
fn fails(settings: &Settings, now: &str, reason: &str) {
    for format in FORMATS {
        let given = verify(format, settings, now).unwrap_err();
        assert!(given.contains(reason), "{format:?}: {given}, not {reason}");
    }
}

#[test]
fn a_certificate_counts_while_it_is_valid_or_was_when_it_signed() {
    for signed in holds(&identity(), EARLY) {
        assert_eq!(signed.annotations["org.opencontainers.image.version"], "2026.10");
        let signer = ReleaseSigner::Certificate {
            identity: "https://stellaops.example/release".into(),
            issuer: "https://authority.example".into(),
        };
        assert_eq!(signed.signer, signer);
    }
    fails(&identity(), LATE, "must be valid now");
    // Either witness says when it signed.
    holds(&timestamped(identity()), LATE);
    holds(&logged(identity()), LATE);
    holds(&logged(timestamped(identity())), LATE);
    // Before it was made, nothing is: a clock set back is no way around the validity.
    fails(&identity(), "2026-11-22T19:00:00Z", "not yet valid");
    fails(&timestamped(identity()), "2026-11-22T19:00:00Z", "future");
    fails(&logged(identity()), "2026-11-22T19:00:00Z", "future");
}

#[test]
fn witnesses_that_are_not_configured_say_nothing() {
    let mut foreign = identity();
    foreign.timestamp_roots = Some(include_bytes!("../../../timestamp/testdata/root.crt").to_vec());
    // cosign 2 asks for the certificate, cosign 3 does not.
    fails(&foreign, LATE, "configured");
    holds(&foreign, EARLY);
    let mut foreign = logged(identity());
    foreign.logs[0].key = include_bytes!("testdata/p256.pub").to_vec();
    fails(&foreign, LATE, "of a log that is not configured");
    holds(&foreign, EARLY);
}

#[test]
fn what_is_required_must_be_there() {
    let all = || logged(timestamped(identity()));
    for required in [Requirement::Timestamp, Requirement::Log] {
        let mut settings = all();
        settings.require = vec![required];
        holds(&settings, LATE);
        let mut own = all();
        own.identities[0].require = vec![required];
        holds(&own, LATE);
    }
    // cosign 2 keeps the promise alone, cosign 3 the proof with it.
    let mut proven = all();
    proven.require = vec![Requirement::Inclusion];
    assert!(verify(SignatureFormat::SigstoreBundle, &proven, LATE).is_ok());
    let lacking = verify(SignatureFormat::CosignLegacy, &proven, LATE).unwrap_err();
    assert!(lacking.contains("lacks a proof of inclusion"), "{lacking}");
    // Without the evidence, valid as the certificate is.
    for (annotation, required, reason) in [
        (
            "dev.sigstore.cosign/rfc3161timestamp",
            Requirement::Timestamp,
            "lacks a timestamp",
        ),
        ("dev.sigstore.cosign/bundle", Requirement::Log, "lacks an entry"),
    ] {
        let mut settings = all();
        settings.identities[0].require = vec![required];
        let mut stripped = annotations();
        stripped.remove(annotation);
        let given = legacy(&settings, &stripped, EARLY).unwrap_err();
        assert!(given.contains(reason), "{given}");
    }
}

/// Evidence of another signature, malformed, or altered.
#[test]
fn evidence_that_is_false_is_held_against_the_signature() {
    use base64::Engine as _;
    let other = STANDARD.encode(include_bytes!("../../../timestamp/testdata/good.tsr"));
    let timestamp = |value: String| ("dev.sigstore.cosign/rfc3161timestamp", value);
    let log = |edit: fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&annotations()["dev.sigstore.cosign/bundle"]).unwrap();
        edit(&mut value);
        ("dev.sigstore.cosign/bundle", value.to_string())
    };
    let rows = [
        (
            "over something else",
            timestamp(format!(r#"{{"SignedRFC3161Timestamp":"{other}"}}"#)),
        ),
        ("malformed", timestamp("{}".into())),
        (
            "malformed",
            timestamp(format!(r#"{{"SignedRFC3161Timestamp":"{other}","x":1}}"#)),
        ),
        (
            "not base64",
            timestamp(r#"{"SignedRFC3161Timestamp":"%"}"#.into()),
        ),
        ("strict DER", timestamp(r#"{"SignedRFC3161Timestamp":""}"#.into())),
        (
            "does not hold",
            log(|v| v["Payload"]["integratedTime"] = 1_795_375_000.into()),
        ),
        ("does not hold", log(|v| v["Payload"]["logIndex"] = 8.into())),
        ("malformed", log(|v| v["Payload"]["logIndex"] = (-7).into())),
        ("malformed", log(|v| v["Payload"]["logID"] = "x".into())),
        ("malformed", log(|v| v["x"] = 1.into())),
        ("malformed", log(|v| v["Payload"]["body"] = "e30=".into())),
    ];
    for (reason, (name, value)) in rows {
        let mut changed = annotations();
        changed.insert(name.into(), value);
        let given = legacy(&logged(timestamped(identity())), &changed, EARLY).unwrap_err();
        assert!(given.contains(reason), "{given}, not {reason}");
        // Where nobody is asked, nobody is heard.
        assert!(legacy(&identity(), &changed, EARLY).is_ok());
    }
}

/// A certificate whose witness saw it sign before it began is not believed later.
#[test]
fn the_verified_time_must_be_inside_the_certificates_life() {
    // The same key signed the bundle under another certificate, of the next hour.
    let mut settings = logged(identity());
    settings.identities[0].life.not_before = Some(at("2026-11-22T19:21:30Z"));
    fails(&settings, EARLY, "outside its configured life at 2026-11-22T19:2");
    settings.identities[0].life = until("2026-11-22T19:21:30Z");
    holds(&settings, LATE);
    // A log's key that had ended by then.
    let mut retired = logged(identity());
    retired.logs[0].life = until("2026-11-22T19:00:00Z");
    fails(&retired, EARLY, "outside the life of the log's key");
}

/// A proof without a promise tells no time: the timestamp beside it does, else it is now that counts.
#[test]
fn a_proof_without_a_promise_needs_a_living_log() {
    let mut bundle: Value = serde_json::from_slice(witnessed!("bundle.json")).unwrap();
    let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
    entry.as_object_mut().unwrap().remove("inclusionPromise").unwrap();
    let bundle = serde_json::to_vec(&bundle).unwrap();
    let with = |mut settings: Settings, required, end| {
        settings.require = vec![required];
        settings.logs[0].life = until(end);
        settings
    };
    for required in [Requirement::Log, Requirement::Inclusion] {
        let end = "2026-11-22T20:00:00Z";
        let stamped = with(logged(timestamped(identity())), required, end);
        bundled(&stamped, &bundle, LATE).unwrap();
        let retired = with(logged(timestamped(identity())), required, "2026-11-22T19:00:00Z");
        for now in [EARLY, LATE] {
            let reason = bundled(&retired, &bundle, now).unwrap_err();
            assert!(reason.contains("outside its life at 2026-11-22T19:2"), "{reason}");
        }
        let mut unstamped = with(logged(none()), required, end);
        unstamped.keys = vec![leaf_key()];
        bundled(&unstamped, &bundle, EARLY).unwrap();
        let reason = bundled(&unstamped, &bundle, LATE).unwrap_err();
        assert!(reason.contains("outside its life at 2027-03-01"), "{reason}");
    }
}

#[test]
fn keys_count_for_their_life() {
    holds(&key(), EARLY);
    fails(&key(), LATE, "outside its configured life");
    holds(&timestamped(key()), LATE);
    holds(&logged(key()), LATE);
    let mut ended = timestamped(key());
    ended.signers[0].life = until("2026-11-22T19:20:00Z");
    fails(&ended, LATE, "the verified time of signing");
    let mut unwitnessed = timestamped(logged(key()));
    unwitnessed.signers[0].require = vec![Requirement::Timestamp, Requirement::Log];
    holds(&unwitnessed, LATE);
    let mut forever = none();
    forever.keys = vec![leaf_key()];
    holds(&forever, LATE);
}

#[test]
fn revoked_keys_never_count() {
    let id = ReleaseKey::from_pem(&leaf_key()).unwrap().fingerprint();
    for settings in [identity(), timestamped(identity()), key(), logged(key())] {
        let mut settings = settings;
        settings.revoked_keys = vec![id];
        // Another signer, so that the policy can be met at all.
        settings.keys = vec![include_bytes!("testdata/p256.pub").to_vec()];
        fails(&settings, EARLY, "is revoked");
    }
    let mut revoked = identity();
    revoked.revoked = vec![image()];
    fails(&revoked, EARLY, "the image is revoked");
}

/// Roots of one identity vouch for no other.
#[test]
fn identities_have_their_own_roots() {
    let mut settings = identity();
    let mut other = Identity::new("https://other.example", "https://stellaops.example/release");
    other.roots = settings
        .roots
        .replace(include_bytes!("../../../timestamp/testdata/root.crt").to_vec());
    settings.identities.push(other);
    fails(&settings, EARLY, "no release root vouches");
    let own = settings.identities[1].roots.take();
    settings.identities[0].roots = own;
    holds(&settings, EARLY);
}

#[test]
fn policies_that_cannot_be_right_are_refused() {
    type Edit = fn(&mut Settings);
    let cases: [(&str, Edit); 10] = [
        ("require timestamps or log entries", |s| {
            s.require = vec![Requirement::Timestamp]
        }),
        ("require timestamps or log entries", |s| {
            s.identities[0].require = vec![Requirement::Log]
        }),
        ("also a transparency log's", |s| {
            s.keys = vec![witnessed!("log.pub").to_vec()];
            *s = logged(s.clone());
        }),
        ("configured twice", |s| {
            s.keys = vec![leaf_key()];
            s.signers = key().signers;
        }),
        ("configured twice", |s| {
            let mut again = s.identities[0].clone();
            again.life = until(LATE);
            s.identities.push(again);
        }),
        ("timestamp roots", |s| {
            s.timestamp_roots = Some(b"no certificate".to_vec())
        }),
        ("transparency log", |s| {
            *s = logged(s.clone());
            s.logs[0].key = b"no key".to_vec();
        }),
        ("log is revoked", |s| {
            *s = logged(s.clone());
            s.revoked_keys = vec![ReleaseKey::from_pem(&s.logs[0].key).unwrap().fingerprint()];
        }),
        ("threshold", |s| {
            s.keys = vec![leaf_key()];
            s.threshold = 2;
            s.revoked_keys = vec![ReleaseKey::from_pem(&leaf_key()).unwrap().fingerprint()];
        }),
        ("roots", |s| s.roots = None),
    ];
    for (reason, edit) in cases {
        let mut settings = identity();
        edit(&mut settings);
        let given = Policy::new(&settings).unwrap_err();
        assert!(given.contains(reason), "{given}, not {reason}");
    }
}

/// What is said of a signature is short and printable, whatever it quotes.
#[test]
fn reasons_are_plain() {
    let finding = Finding {
        place: Place {
            manifest_digest: String::new(),
            format: SignatureFormat::CosignLegacy,
        },
        outcome: Err(format!("a\u{1b}[31m\r\nb{}", "x".repeat(10_000))),
    };
    let reason = finding.report().reason.unwrap();
    assert!(reason.starts_with("a\u{fffd}[31m\u{fffd}\u{fffd}b"));
    assert!(reason.chars().count() == MAX_REASON && !reason.contains(char::is_control));
    assert!(!shown("\u{202e}\u{7}").contains(['\u{202e}', '\u{7}']));
}

/// One bit of a character anywhere: whoever is trusted then has signed the same.
#[test]
fn one_character_changes_nobodys_mind() {
    let mut settings = logged(timestamped(identity()));
    settings.require = vec![Requirement::Timestamp, Requirement::Log];
    let honest = holds(&settings, LATE);
    let policy = Policy::new(&settings).unwrap();
    let bundle = witnessed!("bundle.json");
    let mut survivors = 0;
    for at_byte in (0..bundle.len()).step_by(7) {
        let mut changed = bundle.to_vec();
        changed[at_byte] ^= 1;
        if let Ok(signed) = policy.bundle(image(), String::new(), &changed, at(LATE)).outcome {
            assert_eq!(signed, honest[1], "{at_byte}");
            survivors += 1;
        }
    }
    // Parts of the timestamp that nobody signs, among them a certificate that is not needed; spaces.
    assert!(survivors < 40, "{survivors}");
    for (name, value) in annotations() {
        for at_byte in (0..value.len()).step_by(7) {
            let mut changed = annotations();
            let mut bytes = value.clone().into_bytes();
            bytes[at_byte] ^= 1;
            let Ok(value) = String::from_utf8(bytes) else {
                continue;
            };
            changed.insert(name.clone(), value);
            if let Ok(signed) = legacy_with(&policy, &changed) {
                assert_eq!(signed, honest[0], "{name} {at_byte}");
                // The chain is a help only: the intermediate is configured.
                let helps = [
                    "dev.sigstore.cosign/chain",
                    "dev.sigstore.cosign/rfc3161timestamp",
                    "dev.sigstore.cosign/certificate",
                ];
                assert!(helps.contains(&name.as_str()), "{name} {at_byte}");
            }
        }
    }
}

fn legacy_with(policy: &Policy, annotations: &BTreeMap<String, String>) -> Result<Signed, String> {
    let place = Place {
        manifest_digest: String::new(),
        format: SignatureFormat::CosignLegacy,
    };
    let payload = witnessed!("legacy-payload.json");
    policy
        .simple_signing(image(), place, annotations, payload, at(LATE))
        .outcome
}
