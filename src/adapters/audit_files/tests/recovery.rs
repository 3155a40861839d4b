//! Crashes and failing disks: what was acknowledged is never lost, and nothing is skipped silently.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use signer_actors::domain::audit::OutcomeKind;
use signer_actors::ports::{AuditLog, Unobserved};

use super::disk::{Disk, Trouble};
use super::*;
use crate::adapters::audit_files::Settings;
use crate::adapters::audit_files::verify::{Expected, Summary, verify_dir, verify_storage};

fn verify(disk: &Disk) -> Summary {
    verify_storage(disk, Expected::default(), |_, _| {}).unwrap()
}

fn commit(log: &mut FileAuditLog, records: &[Vec<u8>]) {
    log.append(records).unwrap();
    log.sync().unwrap();
}

#[test]
fn orphans_are_reported_and_can_be_closed() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    assert_eq!((log.orphans(), log.newest_record()), (vec![], None));
    let batch = [
        intent(3),
        intent(1),
        refusal(7),
        intent(2),
        outcome(1, OutcomeKind::Failed),
    ];
    commit(&mut log, &batch);
    let mut log = open(&disk).unwrap();
    assert_eq!(
        (log.orphans(), log.newest_record()),
        (vec![id(2), id(3)], Some(time()))
    );
    commit(
        &mut log,
        &[outcome(2, OutcomeKind::Unknown), outcome(3, OutcomeKind::Unknown)],
    );
    assert_eq!(open(&disk).unwrap().orphans(), vec![]);
    let summary = verify(&disk);
    assert_eq!((summary.records, summary.signed), (7, 0));
}

#[test]
fn a_torn_group_is_cut_off_and_kept() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    commit(&mut log, &[refusal(0)]);
    let one = disk.get(FIRST).unwrap();
    commit(&mut log, &[refusal(1), refusal(2)]);
    let whole = disk.get(FIRST).unwrap();
    for cut in one.len() + 1..whole.len() {
        let disk = Disk::default();
        disk.put(FIRST, &whole[..cut]);
        let mut log = open(&disk).unwrap();
        assert_eq!(disk.get(FIRST).unwrap(), one, "{cut}");
        let kept = disk.get("journal/00000000000000000000.torn").unwrap();
        assert_eq!(kept, whole[one.len()..cut], "{cut}");
        commit(&mut log, &[refusal(1), refusal(2)]);
        assert_eq!(disk.get(FIRST).unwrap(), whole, "{cut}");
    }
}

/// A full disk or a crash while the torn group is kept leaves the copy unfinished: starts after go on all the same.
#[test]
fn an_unfinished_copy_of_a_torn_group_stops_no_start() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    commit(&mut log, &[refusal(0)]);
    let one = disk.get(FIRST).unwrap();
    commit(&mut log, &[refusal(1)]);
    let whole = disk.get(FIRST).unwrap();
    let torn = &whole[..whole.len() - 1];
    let (kept, under_way) = (format!("{FIRST}.torn"), format!("{FIRST}.torn.tmp"));
    disk.put(FIRST, torn);
    disk.trouble(Trouble::ReplaceError);
    assert!(open(&disk).unwrap_err().contains("cannot keep the torn group"));
    assert_eq!(disk.get(FIRST).unwrap(), torn);
    assert!(disk.get(&under_way).is_some() && disk.get(&kept).is_none());
    // Readers do not mind it either.
    assert_eq!(segments(&disk).unwrap(), [0]);
    open(&disk).unwrap();
    assert_eq!(disk.get(FIRST).unwrap(), one);
    assert_eq!(disk.get(&kept).unwrap(), torn[one.len()..]);
    assert!(disk.get(&under_way).is_none());
    // A crash that took the torn group, and not the copy of it.
    disk.put(&under_way, b"SLJ");
    open(&disk).unwrap();
    assert!(disk.get(&under_way).is_none() && disk.get(&kept).is_some());
    // Nothing else is passed over.
    disk.put(&format!("{FIRST}.tmp"), b"");
    assert!(open(&disk).unwrap_err().contains("is not a segment"));
}

/// A crash may leave out any page of what was never synced, not only the end.
#[test]
fn a_group_with_a_hole_is_torn_and_one_before_others_is_damaged() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    commit(&mut log, &[refusal(0)]);
    let one = disk.get(FIRST).unwrap();
    commit(&mut log, &[refusal(1), refusal(2)]);
    let two = disk.get(FIRST).unwrap();
    commit(&mut log, &[refusal(3)]);
    let three = disk.get(FIRST).unwrap();
    for at in [
        one.len(),
        one.len() + 5,
        one.len() + 30,
        one.len() + 100,
        two.len() - 1,
    ] {
        let hole = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let end = two.len().min(at + 40);
            bytes[at..end].fill(0);
            bytes
        };
        let last = Disk::default();
        last.put(FIRST, &hole(&two));
        assert_eq!(open(&last).unwrap().size(), 1, "{at}");
        let followed = Disk::default();
        followed.put(FIRST, &hole(&three));
        let error = open(&followed).unwrap_err();
        assert!(
            error.contains("record 1") && error.contains("groups follow it"),
            "{error}"
        );
    }
}

#[test]
fn a_group_is_one_write() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    log.append(&[refusal(0), refusal(1)]).unwrap();
    log.append(&[refusal(2)]).unwrap();
    assert_eq!((disk.writes(), log.size()), (0, 0));
    log.sync().unwrap();
    log.append(&[]).unwrap();
    log.sync().unwrap();
    assert_eq!((disk.writes(), log.size()), (1, 3));
    assert_eq!(records(&disk), [refusal(0), refusal(1), refusal(2)]);
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
        commit(&mut log, &[refusal(0)]);
        disk.trouble(trouble);
        log.append(&[refusal(1), refusal(2), refusal(3)]).unwrap();
        assert!(log.sync().is_err(), "{trouble:?}");
        assert_eq!(log.size(), 1);
        commit(&mut log, &[refusal(4)]);
        assert_eq!(records(&disk), [refusal(0), refusal(4)], "{trouble:?}");
        assert_eq!(verify(&disk).records, 2);
    }
}

#[test]
fn after_a_failed_sync_records_are_written_again() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    commit(&mut log, &[refusal(0)]);
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
    assert_eq!(open(&disk).unwrap().size(), log.size());
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
    commit(&mut log, &[refusal(1)]);
    disk.crash(0);
    assert_eq!(records(&disk), [refusal(0), refusal(1)]);
}

#[test]
fn a_file_that_lost_durable_records_stays_refused() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    commit(&mut log, &[refusal(0), refusal(1)]);
    let whole = disk.get(FIRST).unwrap();
    let mut other = whole.clone();
    let at = other.len() - 3;
    other[at] ^= 1;
    for lost in [&whole[..whole.len() - 1], &other, b""] {
        disk.trouble(Trouble::ShortWrite(1));
        log.append(&[refusal(2)]).unwrap();
        assert!(log.sync().is_err());
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
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let (mut log, _) = FileAuditLog::open_in(&storage, 1, 0, signer()).unwrap();
    commit(&mut log, &[refusal(0)]);
    disk.trouble(Trouble::NamesError);
    log.append(&[refusal(1)]).unwrap();
    assert!(log.sync().is_err());
    commit(&mut log, &[refusal(2)]);
    disk.crash(0);
    assert_eq!(records(&disk), [refusal(0), refusal(2)]);
    assert!(disk.get(&segment_path(1)).is_some());
    // A crash right after rotation leaves an empty segment.
    disk.put(&segment_path(2), b"");
    let mut log = open(&disk).unwrap();
    assert_eq!(log.size(), 2);
    commit(&mut log, &[refusal(3)]);
    assert_eq!(verify(&disk).records, 3);
    assert_eq!(segments(&disk).unwrap(), [0, 1, 2]);
}

#[test]
fn what_is_no_record_never_reaches_the_file() {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    for bad in [&b""[..], b"[]", b"{", &[b'{'; 65_536]] {
        assert!(log.append(&[refusal(0), bad.to_vec()]).is_err());
        log.sync().unwrap();
    }
    assert_eq!(disk.get(FIRST).unwrap(), b"");
    let longest = format!("{{\"x\":\"{}\"}}", "y".repeat(65_535 - 8));
    commit(&mut log, &[longest.into_bytes()]);
}

#[test]
fn a_trail_of_the_earlier_format_is_refused() {
    let disk = Disk::default();
    disk.put("trail-00000000000000000000.jsonl", b"{}\n");
    let error = open(&disk).unwrap_err();
    assert!(
        error.contains("earlier format") && error.contains("empty directory"),
        "{error}"
    );
}

#[test]
fn a_directory_is_private_and_has_one_owner() {
    use std::os::unix::fs::PermissionsExt;
    let temporary = tempfile::tempdir().unwrap();
    let settings = Settings {
        directory: temporary.path().join("a/trail"),
        segment_bytes: 2000,
        keep_bytes: 0,
        interval: Duration::from_secs(3600),
        held: None,
    };
    let open = || {
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        FileAuditLog::open(&settings, signer(), Arc::new(Unobserved), silent).map(|(log, _)| log)
    };
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;

    let mut log = open().unwrap();
    assert!(open().unwrap_err().0.contains("in use"));
    for n in 0..150 {
        commit(&mut log, &[intent(n), outcome(n, OutcomeKind::Signed)]);
    }
    let size = log.size();
    // Reading needs no lock.
    assert_eq!(
        verify_dir(&settings.directory, Expected::default(), |_, _| {})
            .unwrap()
            .records,
        size
    );
    // The last checkpoint covers everything.
    drop(log);
    for private in ["", "journal", "tile/0", "tile/entries"] {
        assert_eq!(mode(&settings.directory.join(private)), 0o700, "{private}");
    }
    for private in ["lock", "checkpoint", "index", "tile/0/000", "tile/entries/000"] {
        assert_eq!(mode(&settings.directory.join(private)), 0o600, "{private}");
    }
    let key = key();
    let expected = Expected {
        key: Some(&key),
        held: None,
    };
    let summary = verify_dir(&settings.directory, expected, |_, _| {}).unwrap();
    assert_eq!(
        (summary.records, summary.covered, summary.signed),
        (300, 300, 150)
    );
    assert_eq!(open().unwrap().size(), size);

    std::fs::set_permissions(&settings.directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(open().unwrap_err().0.contains("chmod 700"));
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Sync,
    Publish,
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
        Just(Trouble::ReplaceError),
    ];
    prop_oneof![
        4 => (1u8..150).prop_map(Step::Append),
        4 => Just(Step::Sync),
        2 => Just(Step::Publish),
        2 => trouble.prop_map(Step::Fail),
        1 => (0usize..5000).prop_map(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn acknowledged_records_survive_everything(steps in proptest::collection::vec(step(), 1..60)) {
        let disk = Disk::default();
        let (mut log, mut tree) = open_whole(&disk).unwrap();
        // What the caller knows: appended in order, and how many of those a sync has acknowledged.
        let (mut appended, mut acknowledged, mut next) = (Vec::<Vec<u8>>::new(), 0, 0u64);
        // Appended, and the sync has failed: in the trail later or not at all.
        let mut staged = Vec::new();
        for step in steps {
            match step {
                Step::Append(count) => {
                    let batch: Vec<_> = (next..next + u64::from(count)).map(refusal).collect();
                    next += u64::from(count);
                    if log.append(&batch).is_ok() {
                        staged.extend(batch);
                    }
                }
                Step::Sync => {
                    let group = std::mem::take(&mut staged);
                    let before = log.size() as usize;
                    let synced = log.sync().is_ok();
                    // An earlier group may have been written again before this one.
                    prop_assert!(log.size() as usize >= before);
                    let found = all(&disk, log.size());
                    prop_assert_eq!(&found[..acknowledged], &appended[..acknowledged]);
                    if synced {
                        prop_assert!(found.ends_with(&group));
                    }
                    acknowledged = found.len();
                    appended = found;
                }
                Step::Publish => {
                    // A failure may strike; the next call makes up for it.
                    let _ = tree.publish(log.size());
                }
                Step::Fail(trouble) => disk.trouble(trouble),
                Step::Crash(_) | Step::Restart => {
                    staged.clear();
                    if let Step::Crash(more) = step {
                        disk.crash(more);
                    }
                    // A fault may strike while opening; then the process starts once more.
                    (log, tree) = open_whole(&disk).or_else(|_| open_whole(&disk)).unwrap();
                    let found = all(&disk, log.size());
                    prop_assert!(found.len() >= acknowledged);
                    prop_assert_eq!(&found[..acknowledged], &appended[..acknowledged]);
                    // Opening made all of it durable.
                    (appended, acknowledged) = (found.clone(), found.len());
                }
            }
        }
        disk.crash(0);
        let (log, mut tree) = open_whole(&disk).unwrap();
        let found = all(&disk, log.size());
        prop_assert_eq!(&found[..acknowledged], &appended[..acknowledged]);
        tree.publish(log.size()).unwrap();
        let key = key();
        let summary = verify_storage(&disk, Expected { key: Some(&key), held: None }, |_, _| {}).unwrap();
        prop_assert_eq!((summary.records, summary.covered), (log.size(), log.size()));
    }
}

/// Every durable record: what the journal has dropped is in bundles.
fn all(disk: &Disk, size: u64) -> Vec<Vec<u8>> {
    let oldest = segments(disk).unwrap()[0];
    let mut all = Vec::new();
    for number in 0..oldest.div_ceil(256) {
        let bundle = disk.get(&format!("tile/entries/{number:03}")).unwrap();
        all.extend(entries(&bundle).map(|entry| entry.unwrap().to_vec()));
    }
    all.truncate(oldest as usize);
    all.extend(records(disk));
    all.truncate(size as usize);
    all
}
