//! Entries of Sigstore's logs (`testdata/README.md`): what sigstore-conformance expects of every verifier.

use openssl::x509::X509;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::decode_base64;
use super::super::evidence::Evidence;
use super::super::witness::{Witnessed, Witnesses};
use super::*;
use crate::adapters::registry::{Repository, Requirement, Settings};
use crate::bundle::sigstore::VerificationMaterial;

#[derive(Deserialize)]
struct Vectors {
    logs: Vec<LogVector>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct LogVector {
    key: String,
    origin: String,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    message: Option<String>,
    payload_type: Option<String>,
    payload: Option<String>,
    signature: String,
    certificate: Option<String>,
    key: Option<String>,
    tlog_entries: Vec<Box<RawValue>>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../testdata/conformance.json")).unwrap()
}

fn case(name: &str) -> Case {
    vectors()
        .cases
        .into_iter()
        .find(|case| case.name == name)
        .unwrap()
}

fn settings() -> Settings {
    let mut settings = Settings::new(vec![Repository::parse("registry.example/a").unwrap()]);
    settings.logs = vectors()
        .logs
        .into_iter()
        .map(|log| TransparencyLog {
            key: log.key.into_bytes(),
            origin: log.origin,
            life: Life::default(),
        })
        .collect();
    settings
}

fn now() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn bytes(text: &str) -> Vec<u8> {
    decode_base64(text, "").unwrap()
}

fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut pae = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    pae.extend_from_slice(payload);
    pae
}

impl Case {
    fn hear(&self, settings: &Settings) -> Result<Witnessed, String> {
        self.hear_by(&Witnesses::new(settings)?, now())
    }

    fn hear_by(&self, witnesses: &Witnesses, now: DateTime<Utc>) -> Result<Witnessed, String> {
        let payload = self.payload.as_deref().map(bytes);
        let message = match (&self.payload_type, &payload) {
            (Some(kind), Some(payload)) => pae(kind, payload),
            _ => bytes(self.message.as_ref().unwrap()),
        };
        let certificate = self.certificate.as_deref().map(bytes);
        let key = match (&certificate, &self.key) {
            (Some(der), _) => ReleaseKey::new(X509::from_der(der).unwrap().public_key().unwrap()),
            (None, pem) => ReleaseKey::from_pem(pem.as_ref().unwrap().as_bytes()),
        };
        let key = key.unwrap();
        let signature = bytes(&self.signature);
        let signature = Signature {
            message: &message,
            payload: payload.as_deref(),
            bytes: &signature,
        };
        let maker = Maker {
            key: key.der(),
            certificate: certificate.as_deref(),
        };
        let material = VerificationMaterial {
            public_key: None,
            certificate: None,
            tlog_entries: self.tlog_entries.clone(),
            timestamp_verification_data: None,
        };
        witnesses.hear(Evidence::Bundle(&material), &signature, &maker, now)
    }

    /// The case with a member of its first entry changed.
    fn edited(&self, edit: impl FnOnce(&mut serde_json::Value)) -> Self {
        let mut entry: serde_json::Value = serde_json::from_str(self.tlog_entries[0].get()).unwrap();
        edit(&mut entry);
        let mut edited = self.clone();
        edited.tlog_entries[0] = serde_json::value::to_raw_value(&entry).unwrap();
        edited
    }
}

/// The happy cases: with their times from `integratedTime`, and none from logs of version 2.
#[test]
fn entries_of_real_logs_hold() {
    let settings = settings();
    let cases = vectors().cases;
    let good: Vec<&Case> = cases
        .iter()
        .filter(|case| !case.name.ends_with("_fail"))
        .collect();
    assert_eq!(good.len(), 9);
    for case in good {
        let heard = case
            .hear(&settings)
            .unwrap_or_else(|reason| panic!("{}: {reason}", case.name));
        let all = [Requirement::Log, Requirement::Inclusion];
        assert_eq!(heard.satisfies(all.into_iter()), Ok(()), "{}", case.name);
        assert_eq!(
            heard.time().is_none(),
            case.name.starts_with("rekor2"),
            "{}",
            case.name
        );
    }
    let known = case("happy-path-intoto-in-dsse-v3")
        .hear(&settings)
        .unwrap()
        .time();
    assert_eq!(known.unwrap().timestamp(), 1_734_374_576);
    assert!(crate::openssl_errors::was_empty());
}

/// The cases that must fail, each for its own reason.
#[test]
fn entries_that_prove_nothing() {
    let settings = settings();
    let expected = [
        ("checkpoint-bad-keyhint_fail", "not signed by the log"),
        ("checkpoint-wrong-roothash_fail", "another tree"),
        ("dsse-mismatch-envelope_fail", "another signature"),
        ("dsse-mismatch-sig_fail", "another signature"),
        ("inclusion-proof-corrupted-hash_fail", "not in the log"),
        ("intoto-log-entry-mismatch_fail", ""),
        ("invalid-checkpoint-signature_fail", "not signed by the log"),
        ("invalid-inclusion-proof_fail", "malformed"),
        (
            "rekor2-checkpoint-missing-log-signature_fail",
            "no signed tree head",
        ),
        ("rekor2-checkpoint-missing-origin_fail", "no signed tree head"),
        ("rekor2-checkpoint-missing-root-hash_fail", "no signed tree head"),
        ("rekor2-checkpoint-missing-size_fail", "no signed tree head"),
        ("rekor2-checkpoint-no-matching-signature_fail", "another origin"),
        ("rekor2-dsse-mismatch-sig_fail", "another signature"),
        ("rekor2-no-inclusion-proof_fail", "neither"),
        ("set-invalid-signature_fail", "does not hold"),
        ("wrong-hashedrekord-artifact_fail", "another signature"),
        ("wrong-hashedrekord-cert-and-sig_fail", "another"),
        ("wrong-hashedrekord-entry_fail", ""),
    ];
    let mut others = Vec::new();
    for (name, reason) in expected {
        match case(name).hear(&settings) {
            Err(given) if given.contains(reason) => {}
            other => others.push((name, other.map(|heard| heard.time()))),
        }
    }
    assert!(others.is_empty(), "{others:#?}");
    // This time is outside the certificate's life, which is for the policy to see. Ahead of our clock, 30 s are forgiven.
    let (future, witnesses) = (
        case("integrated-time-in-future_fail"),
        Witnesses::new(&settings).unwrap(),
    );
    let time = future.hear_by(&witnesses, now()).unwrap().time().unwrap();
    for (behind, holds) in [(30, true), (31, false)] {
        let heard = future.hear_by(&witnesses, time - TimeDelta::seconds(behind));
        assert_eq!(heard.is_ok(), holds, "{behind}: {heard:?}");
    }
    // Staging's log is not production's: a foreign witness says nothing.
    let mut production = settings;
    production.logs.truncate(1);
    let heard = case("rekor2-happy-path").hear(&production).unwrap();
    let lacking = heard.satisfies([Requirement::Log].into_iter()).unwrap_err();
    assert!(lacking.contains("not configured"), "{lacking}");
    assert_eq!(heard.time(), None);
}

/// One change to an entry that holds.
#[test]
fn whatever_is_changed_is_noticed() {
    let settings = settings();
    let v1 = case("happy-path-intoto-in-dsse-v3");
    let v2 = case("rekor2-dsse-happy-path");
    let other_body =
        serde_json::to_value(&case("happy-path-v0.3").tlog_entries[0]).unwrap()["canonicalizedBody"].clone();
    let rows: Vec<(&str, Case)> = vec![
        ("time", v1.edited(|e| e["integratedTime"] = "1734374577".into())),
        ("no time", v1.edited(|e| e["integratedTime"] = "0".into())),
        ("negative time", v1.edited(|e| e["integratedTime"] = "-1".into())),
        ("index", v1.edited(|e| e["logIndex"] = "155690851".into())),
        (
            "body of another entry",
            v1.edited(|e| e["canonicalizedBody"] = other_body),
        ),
        (
            "type of another entry",
            v1.edited(|e| e["kindVersion"]["kind"] = "hashedrekord".into()),
        ),
        (
            "version of another entry",
            v1.edited(|e| e["kindVersion"]["version"] = "0.0.2".into()),
        ),
        (
            "place in the tree",
            v1.edited(|e| e["inclusionProof"]["logIndex"] = "33786587".into()),
        ),
        (
            "size of the tree",
            v1.edited(|e| e["inclusionProof"]["treeSize"] = "33786590".into()),
        ),
        (
            "path cut",
            v1.edited(|e| drop(e["inclusionProof"]["hashes"].as_array_mut().unwrap().pop())),
        ),
        (
            "path swapped",
            v1.edited(|e| e["inclusionProof"]["hashes"].as_array_mut().unwrap().swap(0, 1)),
        ),
        ("checkpoint of another log", {
            let other =
                serde_json::to_value(&v2.tlog_entries[0]).unwrap()["inclusionProof"]["checkpoint"].clone();
            v1.edited(|e| e["inclusionProof"]["checkpoint"] = other)
        }),
        ("promise of another log", {
            let own = case("intoto-with-custom-trust-root");
            let other = serde_json::to_value(&own.tlog_entries[0]).unwrap()["inclusionPromise"].clone();
            v1.edited(|e| e["inclusionPromise"] = other)
        }),
        ("unknown member", v1.edited(|e| e["x"] = 1.into())),
        (
            "place in the tree, version 2",
            v2.edited(|e| e["inclusionProof"]["logIndex"] = "4026477".into()),
        ),
        (
            "neither promise nor proof",
            v1.edited(|e| {
                let entry = e.as_object_mut().unwrap();
                entry.remove("inclusionPromise");
                entry.remove("inclusionProof");
            }),
        ),
        ("twice", {
            let mut twice = v1.clone();
            twice.tlog_entries.extend(v1.tlog_entries.clone());
            twice
        }),
        ("too many", {
            let mut many = v1.clone();
            many.tlog_entries = vec![v1.tlog_entries[0].clone(); 9];
            many
        }),
    ];
    for (what, case) in rows {
        assert!(case.hear(&settings).is_err(), "{what}");
    }
    // Without its promise the entry is in the log, at a time that nobody signed.
    let unpromised = v1.edited(|e| drop(e.as_object_mut().unwrap().remove("inclusionPromise")));
    assert_eq!(unpromised.hear(&settings).unwrap().time(), None);
    // A log counts for its life.
    let mut retired = settings;
    for log in &mut retired.logs {
        log.life.not_after = Some("2024-12-16T00:00:00Z".parse().unwrap());
    }
    assert!(v1.hear(&retired).unwrap_err().contains("outside the life"));
}

/// Who has the key of a retired log makes proofs by it today: without a promise, the present has to be in its life.
#[test]
fn a_proof_alone_counts_for_the_life_of_the_logs_key() {
    let promised = case("happy-path-intoto-in-dsse-v3");
    let unpromised = promised.edited(|e| drop(e.as_object_mut().unwrap().remove("inclusionPromise")));
    let version_2 = case("rekor2-dsse-happy-path");
    let second = TimeDelta::seconds(1);
    let life = |not_before, not_after| Life {
        not_before,
        not_after,
    };
    for (life, counts) in [
        (life(None, None), true),
        (life(Some(now()), Some(now())), true),
        (life(None, Some(now() - second)), false),
        (life(Some(now() + second), None), false),
    ] {
        let mut settings = settings();
        settings.logs.iter_mut().for_each(|log| log.life = life);
        for case in [&unpromised, &version_2] {
            // It is no false evidence, so it is not held against the signature.
            let heard = case.hear(&settings).unwrap();
            assert_eq!(heard.time(), None);
            for required in [Requirement::Log, Requirement::Inclusion] {
                let satisfied = heard.satisfies([required].into_iter());
                assert_eq!(satisfied.is_ok(), counts, "{life:?}: {satisfied:?}");
                if let Err(reason) = satisfied {
                    assert!(
                        reason.contains("outside its life at 2026-11-22T12:00:00"),
                        "{reason}"
                    );
                }
            }
        }
    }
    // With its promise the entry counts by the time that is in it.
    let mut retired = settings();
    for log in &mut retired.logs {
        log.life = life(None, Some("2025-01-01T00:00:00Z".parse().unwrap()));
    }
    let heard = promised.hear(&retired).unwrap();
    assert_eq!(heard.satisfies([Requirement::Inclusion].into_iter()), Ok(()));
}

/// No character of an entry can be changed and its witness with it.
#[test]
fn one_character_changes_no_witness() {
    let witnesses = Witnesses::new(&settings()).unwrap();
    for name in ["intoto-with-custom-trust-root", "managed-key-happy-path"] {
        let honest = case(name);
        let time = honest.hear_by(&witnesses, now()).unwrap().time();
        let text = honest.tlog_entries[0].get().as_bytes();
        for at in (0..text.len()).step_by(5) {
            let mut changed = text.to_vec();
            changed[at] ^= 1;
            let Some(raw) = String::from_utf8(changed)
                .ok()
                .and_then(|text| RawValue::from_string(text).ok())
            else {
                continue;
            };
            let mut case = honest.clone();
            case.tlog_entries[0] = raw;
            if let Ok(heard) = case.hear_by(&witnesses, now()) {
                // Another log, which is not known, or a space.
                let unknown = heard.satisfies([Requirement::Log].into_iter()).is_err();
                assert!(
                    heard.time() == time || unknown && heard.time().is_none(),
                    "{name}: {at}"
                );
            }
        }
    }
}

/// An Ed25519 log is named by its origin; without one it cannot be recognised.
#[test]
fn logs_need_what_names_them() {
    let mut log = settings().logs.pop().unwrap();
    assert!(Log::new(&log).is_ok());
    let ed25519 = settings()
        .logs
        .into_iter()
        .find(|log| log.origin.starts_with("log2025"))
        .unwrap();
    log.key = ed25519.key;
    log.origin.clear();
    assert!(Log::new(&log).unwrap_err().contains("origin"));
    log.key = b"no key".to_vec();
    assert!(Log::new(&log).is_err());
}
