use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use signer_actors::domain::signing::Algorithm;

use super::manifest::is_path;
use super::*;
use crate::crypto::{Nonce, Pae, PrivateKey, PublicKey, generate_p256};

const ORIGIN: &str = "signer.example/audit/replica-1";

fn now() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn key() -> PrivateKey {
    let pkey = generate_p256().unwrap();
    PrivateKey::new(pkey, Algorithm::EcdsaP256Sha256, Nonce::Random).unwrap()
}

fn public(key: &PrivateKey) -> Vec<PublicKey> {
    vec![PublicKey::from_pem(key.public().pem().as_bytes(), Algorithm::EcdsaP256Sha256).unwrap()]
}

fn files() -> BTreeMap<String, Vec<u8>> {
    [("keys.json", "{}"), ("public-keys/a.pem", "PEM")]
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .into()
}

fn manifest() -> Manifest {
    Manifest::new(ORIGIN, now(), TimeDelta::days(90), &files()).unwrap()
}

/// A kit in `folder`/kit, and its key.
fn made(folder: &Path) -> (std::path::PathBuf, PrivateKey) {
    let (key, kit) = (key(), folder.join("kit"));
    write(&kit, &seal(&manifest(), &key).unwrap(), &files()).unwrap();
    (kit, key)
}

#[test]
fn a_kit_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let (kit, key) = made(folder.path());
    let (read_manifest, read_files) = read(&kit, &public(&key), now()).unwrap();
    assert_eq!((read_manifest, read_files), (manifest(), files()));
    let listed = Listed {
        path: "public-keys/a.pem".into(),
        // By sha256sum.
        sha256: "384fb9a44fabe158be2757b9b8d8f67029f2280fcc1776ab2a53103e6f0c582d".into(),
        bytes: 3,
    };
    assert_eq!(manifest().files.last(), Some(&listed));
}

#[test]
fn what_is_there_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let (kit, key) = made(folder.path());
    let again = write(&kit, &seal(&manifest(), &key).unwrap(), &files()).unwrap_err();
    assert!(again.contains("there already"), "{again}");
    assert!(read(&kit, &public(&key), now()).is_ok());
}

#[test]
fn any_change_of_the_folder_is_noticed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 8] = [
        ("altered", |kit| fs::write(kit.join("keys.json"), "{ }").unwrap()),
        ("altered", |kit| fs::write(kit.join("keys.json"), "[]").unwrap()),
        ("cannot read", |kit| {
            fs::remove_file(kit.join("public-keys/a.pem")).unwrap()
        }),
        ("not in its manifest", |kit| {
            fs::write(kit.join("public-keys/b.pem"), "evil").unwrap()
        }),
        ("not in its manifest", |kit| {
            fs::write(kit.join("trusted_root.json"), "{}").unwrap()
        }),
        ("not in its manifest", |kit| {
            fs::create_dir_all(kit.join("public-keys/more")).unwrap()
        }),
        ("not a regular file", |kit| {
            fs::rename(kit.join("keys.json"), kit.with_file_name("moved")).unwrap();
            symlink(kit.with_file_name("moved"), kit.join("keys.json")).unwrap();
        }),
        ("cannot read", |kit| fs::remove_file(kit.join(MANIFEST)).unwrap()),
    ];
    for (expected, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        let (kit, key) = made(folder.path());
        change(&kit);
        let fault = read(&kit, &public(&key), now()).unwrap_err();
        assert!(fault.contains(expected), "{expected}: {fault}");
    }
}

#[test]
fn only_the_key_given_counts_and_only_while_the_kit_lasts() {
    let signer = key();
    let sealed = seal(&manifest(), &signer).unwrap();
    assert_eq!(open(&sealed, &public(&signer), now()), Ok(manifest()));
    let fault = open(&sealed, &public(&key()), now()).unwrap_err();
    assert!(fault.contains("not signed by the key given"), "{fault}");
    let moments = [
        (now() - TimeDelta::minutes(5), None),
        (now() - TimeDelta::seconds(301), Some("in the future")),
        (now() + TimeDelta::days(90) - TimeDelta::seconds(1), None),
        (now() + TimeDelta::days(90), Some("expired")),
    ];
    for (moment, expected) in moments {
        let opened = open(&sealed, &public(&signer), moment);
        match expected {
            None => assert!(opened.is_ok(), "{moment}"),
            Some(expected) => assert!(opened.unwrap_err().contains(expected), "{moment}"),
        }
    }
}

/// An envelope of any type and payload, signed by the kit's own key.
fn envelope(key: &PrivateKey, payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let pae = Pae {
        payload_type,
        payload,
    };
    let (payload, sig) = (STANDARD.encode(payload), STANDARD.encode(key.sign(&pae).unwrap()));
    serde_json::to_vec(&serde_json::json!({
        "payloadType": payload_type, "payload": payload, "signatures": [{ "sig": sig }],
    }))
    .unwrap()
}

#[test]
fn what_the_key_signed_besides_is_no_kit() {
    let key = key();
    let text = serde_json::to_string(&manifest()).unwrap();
    assert!(
        open(
            &envelope(&key, PAYLOAD_TYPE, text.as_bytes()),
            &public(&key),
            now()
        )
        .is_ok()
    );
    let alien = envelope(&key, "application/vnd.in-toto+json", text.as_bytes());
    assert!(
        open(&alien, &public(&key), now())
            .unwrap_err()
            .contains("no manifest")
    );
    let bad = [
        text.replace("\"schema\":1", "\"schema\":2"),
        text.replace("\"schema\":1", "\"schema\":1,\"more\":1"),
        text.replace("keys.json", "../keys.json"),
        text.replace("keys.json", "public-keys/a.pem"),
        text.replace("\"bytes\":3", "\"bytes\":4194305"),
        text.replace("\"bytes\":3", "\"bytes\":-3"),
        serde_json::to_string(&serde_json::json!({
            "schema": 1, "origin": ORIGIN, "created": now(), "expires": now() + TimeDelta::days(1), "files": [],
        }))
        .unwrap(),
        String::from("{}"),
    ];
    for bad in bad {
        assert_ne!(bad, text);
        let sealed = envelope(&key, PAYLOAD_TYPE, bad.as_bytes());
        assert!(open(&sealed, &public(&key), now()).is_err(), "{bad}");
    }
    assert!(open(b"nonsense", &public(&key), now()).is_err());
}

#[test]
fn paths_stay_inside() {
    for good in [
        "a",
        "keys.json",
        "public-keys/release-2026.pem",
        "checkpoints/a_b.note",
    ] {
        assert!(is_path(good), "{good}");
    }
    for bad in [
        "",
        ".",
        "..",
        "../a",
        "a/../b",
        "/a",
        "a/",
        "a//b",
        "a/b/c",
        ".hidden",
        "a\\b",
        "a b",
        "a\n",
        MANIFEST,
        &"x".repeat(201),
    ] {
        assert!(!is_path(bad), "{bad:?}");
    }
}
