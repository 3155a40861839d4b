use std::os::unix::fs::PermissionsExt;

use chrono::Utc;
use serde_json::json;
use signer_actors::domain::digest::Sha256Digest;

use super::*;

const ISSUER: &str = "https://licensing.example";

/// A file of this version with this content.
fn file(version: u64, content: &str) -> LicenceFile {
    LicenceFile::of_version(version, Sha256Digest::of(content.as_bytes()), Utc::now())
}

fn fresh() -> (tempfile::TempDir, HighWater) {
    let folder = tempfile::tempdir().unwrap();
    let high_water = HighWater::new(&folder.path().join("a/state"), ISSUER);
    (folder, high_water)
}

#[test]
fn a_first_start_needs_nothing_and_leaves_a_private_file() {
    let (_folder, high_water) = fresh();
    assert_eq!(high_water.check(&file(3, "a")), Ok(()));
    assert!(!high_water.directory.exists(), "looking writes nothing");
    assert_eq!(high_water.raise(&file(3, "a")), Ok(()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&high_water.directory), mode(&high_water.path())),
        (0o700, 0o600)
    );
    assert_eq!(fs::read_dir(&high_water.directory).unwrap().count(), 1);
}

#[test]
fn older_versions_and_other_files_of_a_version_are_refused() {
    let (_folder, high_water) = fresh();
    high_water.raise(&file(3, "a")).unwrap();
    // Whoever starts next reads the same.
    let next = HighWater::new(&high_water.directory, ISSUER);
    for (version, content, good) in [
        (2, "a", false),
        (3, "a", true),
        (3, "b", false),
        (4, "b", true),
        (3, "a", false),
    ] {
        let file = file(version, content);
        assert_eq!(next.check(&file).is_ok(), good, "{version} {content}");
        assert_eq!(next.raise(&file).is_ok(), good, "{version} {content}");
    }
    let why = next.check(&file(3, "a")).unwrap_err();
    assert!(
        why.contains("version 3 is older than 4") && why.contains("install"),
        "{why}"
    );
}

#[test]
fn what_cannot_be_understood_is_refused_with_the_remedy() {
    let (_folder, high_water) = fresh();
    high_water.raise(&file(3, "a")).unwrap();
    let good: serde_json::Value = serde_json::from_slice(&fs::read(high_water.path()).unwrap()).unwrap();
    let with = |name: &str, value: serde_json::Value| {
        let mut all = good.clone();
        all[name] = value;
        all.to_string()
    };
    for (content, remedy) in [
        (String::new(), "restore it from a backup"),
        ("{".to_owned(), "restore it from a backup"),
        ("\0".repeat(100), "restore it from a backup"),
        (with("schema", json!(2)), "restore it from a backup"),
        (with("version", json!("3")), "restore it from a backup"),
        (with("version", json!(-3)), "restore it from a backup"),
        (with("more", json!(1)), "restore it from a backup"),
        (format!("{good}{}", " ".repeat(5000)), ""),
        (
            with("issuer", json!("https://other.example")),
            "if Licensing has changed on purpose, remove it",
        ),
    ] {
        fs::write(high_water.path(), &content).unwrap();
        if remedy.is_empty() {
            // Blanks behind the object mean nothing.
            assert_eq!(high_water.check(&file(3, "a")), Ok(()));
            continue;
        }
        for outcome in [high_water.check(&file(9, "z")), high_water.raise(&file(9, "z"))] {
            let why = outcome.unwrap_err();
            assert!(why.contains(remedy) && why.contains(NAME), "{content:?}: {why}");
        }
        assert_eq!(
            fs::read(high_water.path()).unwrap(),
            content.as_bytes(),
            "left as evidence"
        );
    }
}

#[test]
fn what_stands_in_the_way_is_told() {
    let (_folder, high_water) = fresh();
    fs::create_dir_all(high_water.path()).unwrap();
    assert!(
        high_water
            .check(&file(1, "a"))
            .unwrap_err()
            .contains("regular file")
    );
    let (folder, _) = fresh();
    fs::write(folder.path().join("occupied"), "x").unwrap();
    let high_water = HighWater::new(&folder.path().join("occupied/state"), ISSUER);
    assert!(high_water.raise(&file(1, "a")).is_err());
}

#[test]
fn what_a_crash_left_behind_does_not_matter() {
    let (_folder, high_water) = fresh();
    high_water.raise(&file(3, "a")).unwrap();
    fs::write(high_water.directory.join(format!(".{NAME}.new")), "half").unwrap();
    assert_eq!(high_water.check(&file(3, "a")), Ok(()));
    high_water.raise(&file(4, "b")).unwrap();
    assert!(high_water.check(&file(3, "a")).is_err());
    assert_eq!(fs::read_dir(&high_water.directory).unwrap().count(), 1);
}
