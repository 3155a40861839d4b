//! Crashes and failing disks: what was acknowledged is never lost, and nothing is skipped silently.

use proptest::prelude::*;
use signer_actors::domain::audit::OutcomeKind;
use signer_actors::ports::AuditLog;

use super::disk::{Disk, Trouble};
use super::*;
use crate::adapters::audit_files::Settings;
use crate::adapters::audit_files::chain::Line;
use crate::adapters::audit_files::verify::{verify_dir, verify_storage};

const FIRST: &str = "trail-00000000000000000000.jsonl";

/// The records in the trail as a reader finds them.
fn records(disk: &Disk) -> Vec<Vec<u8>> {
    let firsts = crate::adapters::audit_files::scan::segments(disk).unwrap();
    let mut all = Vec::new();
    for first in firsts {
        let bytes = disk
            .get(&crate::adapters::audit_files::scan::segment_name(first))
            .unwrap();
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            all.push(
                Line::parse(line.strip_suffix(b"\n").unwrap())
                    .unwrap()
                    .record
                    .to_vec(),
            );
        }
    }
    all
}

#[test]
fn orphans_are_reported_and_can_be_closed() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    assert_eq!((log.orphans(), log.newest_record()), (vec![], None));
    log.append(&[
        intent(3),
        intent(1),
        refusal(7),
        intent(2),
        outcome(1, OutcomeKind::Failed),
    ])
    .unwrap();
    log.sync().unwrap();
    let mut log = open(&disk).unwrap();
    assert_eq!(
        (log.orphans(), log.newest_record()),
        (vec![id(2), id(3)], Some(time()))
    );
    log.append(&[outcome(2, OutcomeKind::Unknown), outcome(3, OutcomeKind::Unknown)])
        .unwrap();
    log.sync().unwrap();
    assert_eq!(open(&disk).unwrap().orphans(), vec![]);
    assert_eq!(
        verify_storage(&disk, None, |_| {}).map(|s| (s.records, s.signed)),
        Ok((7, 0))
    );
}

#[test]
fn a_torn_line_is_cut_off_and_kept() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    log.append(&[refusal(0), refusal(1)]).unwrap();
    let whole = disk.get(FIRST).unwrap();
    let second = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    for cut in second + 1..whole.len() {
        let disk = Disk::default();
        disk.put(FIRST, &whole[..cut]);
        let mut log = open(&disk).unwrap();
        assert_eq!(disk.get(FIRST).unwrap(), &whole[..second], "{cut}");
        assert_eq!(
            disk.get("trail-00000000000000000000.torn").unwrap(),
            [&whole[second..cut], b"\n"].concat(),
            "{cut}"
        );
        log.append(&[refusal(1)]).unwrap();
        assert_eq!(disk.get(FIRST).unwrap(), whole, "{cut}");
    }
}

#[test]
fn a_batch_is_one_write() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    log.append(&[refusal(0), refusal(1), refusal(2)]).unwrap();
    log.append(&[]).unwrap();
    assert_eq!(disk.writes(), 1);
}

#[test]
fn a_failed_write_is_reported_and_undone() {
    for trouble in [
        Trouble::ShortWrite(0),
        Trouble::ShortWrite(300),
        Trouble::WriteError(0),
        Trouble::WriteError(900),
    ] {
        let disk = Disk::default();
        let mut log = open(&disk).unwrap();
        log.append(&[refusal(0)]).unwrap();
        disk.trouble(trouble);
        assert!(
            log.append(&[refusal(1), refusal(2), refusal(3)]).is_err(),
            "{trouble:?}"
        );
        assert_eq!(log.head().0, 1);
        log.append(&[refusal(4)]).unwrap();
        log.sync().unwrap();
        assert_eq!(records(&disk), [refusal(0), refusal(4)], "{trouble:?}");
        assert_eq!(
            verify_storage(&disk, None, |_| {}).map(|s| (s.records, s.head)),
            Ok(log.head())
        );
    }
}

#[test]
fn after_a_failed_sync_records_are_written_again() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    log.append(&[refusal(0)]).unwrap();
    log.sync().unwrap();
    log.append(&[refusal(1)]).unwrap();
    disk.trouble(Trouble::SyncError);
    assert!(log.sync().is_err());
    // Still failing: nothing is appended meanwhile.
    disk.trouble(Trouble::SyncError);
    assert!(log.append(&[refusal(2)]).is_err());
    log.sync().unwrap();
    // The pages of record 1 were marked clean by the failed sync; a second sync alone would have lost them.
    disk.crash(0);
    assert_eq!(records(&disk), [refusal(0), refusal(1)]);
    assert_eq!(open(&disk).unwrap().head(), log.head());
}

#[test]
fn a_restart_after_a_failed_sync_trusts_no_page() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    log.append(&[refusal(0)]).unwrap();
    disk.trouble(Trouble::SyncError);
    assert!(log.sync().is_err());
    drop(log);
    let mut log = open(&disk).unwrap();
    log.append(&[refusal(1)]).unwrap();
    log.sync().unwrap();
    disk.crash(0);
    assert_eq!(records(&disk), [refusal(0), refusal(1)]);
}

#[test]
fn a_file_that_lost_durable_records_stays_refused() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    log.append(&[refusal(0), refusal(1)]).unwrap();
    log.sync().unwrap();
    let whole = disk.get(FIRST).unwrap();
    let mut other = whole.clone();
    let at = other.len() - 3;
    other[at] ^= 1;
    for lost in [&whole[..whole.len() - 1], &other, b""] {
        disk.trouble(Trouble::ShortWrite(1));
        assert!(log.append(&[refusal(2)]).is_err());
        disk.put(FIRST, lost);
        let error = log.append(&[refusal(2)]).unwrap_err();
        assert!(error.0.contains("has lost records"), "{error}");
        assert!(log.sync().is_err());
        disk.put(FIRST, &whole);
        log.sync().unwrap();
    }
}

#[test]
fn rotation_is_retried_until_the_name_is_durable() {
    let disk = Disk::default();
    let mut log = FileAuditLog::open_in(Box::new(disk.clone()), 1).unwrap();
    log.append(&[refusal(0)]).unwrap();
    disk.trouble(Trouble::NamesError);
    assert!(log.append(&[refusal(1)]).is_err());
    log.append(&[refusal(2)]).unwrap();
    log.sync().unwrap();
    disk.crash(0);
    assert_eq!(records(&disk), [refusal(0), refusal(2)]);
    assert!(disk.get("trail-00000000000000000001.jsonl").is_some());
    // A crash right after rotation leaves an empty segment.
    disk.put("trail-00000000000000000002.jsonl", b"");
    let mut log = open(&disk).unwrap();
    assert_eq!(log.head().0, 2);
    log.append(&[refusal(3)]).unwrap();
    assert_eq!(
        verify_storage(&disk, None, |_| {}).map(|s| (s.records, s.segments)),
        Ok((3, 3))
    );
}

#[test]
fn records_that_break_the_framing_never_reach_the_file() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    for bad in [&b"{\n}"[..], b"{\r}", b"", b"[]", b"{", &[b'{'; 65_536]] {
        assert!(log.append(&[refusal(0), bad.to_vec()]).is_err());
    }
    assert_eq!(disk.get(FIRST).unwrap(), b"");
    let longest = format!("{{\"x\":\"{}\"}}", "y".repeat(65_535 - 8));
    log.append(&[longest.into_bytes()]).unwrap();
}

#[test]
fn a_directory_is_private_and_has_one_owner() {
    use std::os::unix::fs::PermissionsExt;
    let temporary = tempfile::tempdir().unwrap();
    let settings = Settings {
        directory: temporary.path().join("a/trail"),
        segment_bytes: 2000,
    };
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;

    let mut log = FileAuditLog::open(&settings).unwrap();
    assert!(FileAuditLog::open(&settings).unwrap_err().0.contains("in use"));
    for n in 0..5 {
        log.append(&[intent(n), outcome(n, OutcomeKind::Signed)]).unwrap();
        log.sync().unwrap();
    }
    assert_eq!(mode(&settings.directory), 0o700);
    assert_eq!(mode(&settings.directory.join(FIRST)), 0o600);
    assert_eq!(mode(&settings.directory.join("lock")), 0o600);
    let head = log.head();
    // Reading needs no lock.
    let summary = verify_dir(&settings.directory, |_| {}).unwrap();
    assert_eq!(
        ((summary.records, summary.head), summary.signed),
        (head.clone(), 5)
    );
    assert!(summary.segments > 1);
    drop(log);
    assert_eq!(FileAuditLog::open(&settings).unwrap().head(), head);

    std::fs::set_permissions(&settings.directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(FileAuditLog::open(&settings).unwrap_err().0.contains("chmod 700"));
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Sync,
    Fail(Trouble),
    /// The power fails; so many more bytes of each file than were synced had reached the disk.
    Crash(usize),
    /// The process dies and starts anew; the disk knows nothing of it.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let trouble = prop_oneof![
        (0usize..3000).prop_map(Trouble::ShortWrite),
        (0usize..3000).prop_map(Trouble::WriteError),
        Just(Trouble::SyncError),
        Just(Trouble::NamesError),
    ];
    prop_oneof![
        4 => (1u8..5).prop_map(Step::Append),
        3 => Just(Step::Sync),
        2 => trouble.prop_map(Step::Fail),
        1 => (0usize..5000).prop_map(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_survive_everything(steps in proptest::collection::vec(step(), 1..60)) {
        let disk = Disk::default();
        let mut log = open(&disk).unwrap();
        // What the caller knows: appended in order, and how many of those a sync has acknowledged.
        let (mut appended, mut acknowledged, mut next) = (Vec::<Vec<u8>>::new(), 0, 0u64);
        for step in steps {
            match step {
                Step::Append(count) => {
                    let batch: Vec<_> = (next..next + u64::from(count)).map(refusal).collect();
                    next += u64::from(count);
                    if log.append(&batch).is_ok() {
                        appended.extend(batch);
                    }
                }
                Step::Sync => if log.sync().is_ok() {
                    acknowledged = appended.len();
                    prop_assert_eq!(&records(&disk), &appended);
                },
                Step::Fail(trouble) => disk.trouble(trouble),
                Step::Crash(_) | Step::Restart => {
                    if let Step::Crash(more) = step {
                        disk.crash(more);
                    }
                    // A fault may strike while opening; then the process starts once more.
                    log = open(&disk).or_else(|_| open(&disk)).unwrap();
                    let found = records(&disk);
                    prop_assert!(found.len() >= acknowledged);
                    prop_assert_eq!(&found[..acknowledged], &appended[..acknowledged]);
                    // Opening made all of it durable.
                    (appended, acknowledged) = (found.clone(), found.len());
                }
            }
            prop_assert_eq!(log.head().0, appended.len() as u64);
        }
        disk.crash(0);
        let log = open(&disk).unwrap();
        prop_assert_eq!(&records(&disk)[..acknowledged], &appended[..acknowledged]);
        let summary = verify_storage(&disk, None, |_| {}).unwrap();
        prop_assert_eq!((summary.records, summary.head), log.head());
    }
}
