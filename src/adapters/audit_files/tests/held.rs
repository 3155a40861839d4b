//! A checkpoint that was kept elsewhere, and the time of the newest record, as they are read from the files.

use signer_actors::domain::audit::OutcomeKind;
use signer_actors::ports::{AuditLog, Unobserved};

use super::*;
use crate::adapters::audit_files::held::{goes_on_from, proves};
use crate::adapters::audit_files::newest::newest_in;
use crate::adapters::audit_files::{FileAuditLog, Settings};

/// A log of refusals with these numbers, published; its checkpoint.
fn published(disk: &Disk, numbers: std::ops::Range<u64>) -> Vec<u8> {
    let (mut log, mut tree) = open_whole(disk).unwrap();
    for n in numbers {
        log.append(&[refusal(n)]).unwrap();
        log.sync().unwrap();
    }
    tree.publish(log.size()).unwrap();
    disk.get("checkpoint").unwrap()
}

fn proven(disk: &Disk, held: &[u8]) -> Result<u64, String> {
    let (_, tree) = open_whole(disk).unwrap();
    proves(disk, &key(), tree.head(), held)
}

#[test]
fn a_trail_goes_on_from_what_was_kept_of_it_or_is_refused() {
    let disk = Disk::default();
    let kept: Vec<_> = [0, 1, 255, 256, 300, 600]
        .into_iter()
        .scan(0, |from, to| {
            let numbers = *from..to;
            *from = to;
            Some((to, published(&disk, numbers)))
        })
        .collect();
    for (size, note) in &kept {
        assert_eq!(proven(&disk, note), Ok(*size));
    }
    // As it was answered.
    let note = String::from_utf8(kept[3].1.clone()).unwrap();
    let answer = serde_json::json!({ "size": 256, "checkpoint": note, "consistency": null });
    assert_eq!(proven(&disk, answer.to_string().as_bytes()), Ok(256));

    // Rewritten by who has the key: consistent in itself.
    let forged = Disk::default();
    published(&forged, 1000..1600);
    for (size, note) in &kept[1..] {
        let error = proven(&forged, note).unwrap_err();
        assert!(error.contains("was rewritten"), "{size}: {error}");
    }
    // Taken back to an earlier state.
    let older = Disk::default();
    published(&older, 0..300);
    assert_eq!(proven(&older, &kept[4].1), Ok(300));
    assert!(
        proven(&older, &kept[5].1)
            .unwrap_err()
            .contains("has lost records")
    );
    assert!(
        proven(&Disk::default(), &kept[1].1)
            .unwrap_err()
            .contains("has lost records")
    );
}

#[test]
fn only_a_checkpoint_of_this_log_counts() {
    let disk = Disk::default();
    let note = String::from_utf8(published(&disk, 0..3)).unwrap();
    for (text, why) in [
        (note.replace("\n3\n", "\n2\n"), "not signed"),
        (note.split("\n\n").next().unwrap().to_owned(), "not signed"),
        (String::new(), "not signed"),
        ("{}".to_owned(), "not signed"),
    ] {
        let error = proven(&disk, text.as_bytes()).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    assert!(proven(&disk, &[0xff]).unwrap_err().contains("not text"));
}

#[test]
fn a_start_with_another_trail_is_refused_before_anything_is_written() {
    let temporary = tempfile::tempdir().unwrap();
    let open = |held: Option<Vec<u8>>| {
        let settings = Settings {
            directory: temporary.path().join("trail"),
            segment_bytes: Settings::SEGMENT_BYTES,
            keep_bytes: Settings::KEEP_BYTES,
            interval: std::time::Duration::from_secs(3600),
            held,
        };
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        FileAuditLog::open(&settings, signer(), std::sync::Arc::new(Unobserved), silent).map(|(log, _)| log)
    };
    let mut log = open(None).unwrap();
    log.append(&[refusal(1)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let file = temporary.path().join("trail/checkpoint");
    let kept = std::fs::read(&file).unwrap();
    open(Some(kept.clone())).unwrap();
    assert_eq!(
        goes_on_from(&temporary.path().join("trail"), &key(), &kept),
        Ok(1)
    );

    let elsewhere = Disk::default();
    let foreign = published(&elsewhere, 7..8);
    let error = open(Some(foreign.clone())).unwrap_err();
    assert!(error.0.contains("was rewritten"), "{error}");
    assert!(goes_on_from(&temporary.path().join("trail"), &key(), &foreign).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), kept);
    assert!(goes_on_from(&temporary.path().join("none"), &key(), &kept).is_err());
}

#[test]
fn the_newest_record_tells_the_time_without_opening_the_trail() {
    let disk = Disk::default();
    assert_eq!(newest_in(&disk), Ok(None));
    let (mut log, _) = open_whole(&disk).unwrap();
    assert_eq!(newest_in(&disk), Ok(None));
    for n in 0..40 {
        log.append(&[intent(n), outcome(n, OutcomeKind::Signed)]).unwrap();
        log.sync().unwrap();
        assert_eq!(newest_in(&disk), Ok(Some(time())));
    }
    let all = segments(&disk).unwrap();
    assert!(all.len() > 2);
    // A segment that was begun and holds nothing, and one whose end is torn.
    let last = segment_path(*all.last().unwrap());
    let bytes = disk.get(&last).unwrap();
    disk.put(&last, &bytes[..bytes.len() - 1]);
    assert_eq!(newest_in(&disk), Ok(Some(time())));
    disk.put(&last, b"");
    assert_eq!(newest_in(&disk), Ok(Some(time())));
}
