//! Every kind of tampering is found, at the record where it was done.

use signer_actors::domain::audit::OutcomeKind;
use signer_actors::ports::AuditLog;

use super::disk::Disk;
use super::*;
use crate::adapters::audit_files::verify::{Expected, Fault, Summary, verify_storage};
use crate::tlog::{Checkpoint, Hash, leaf_hash, push_entry};

fn verify(disk: &Disk) -> Result<Summary, Fault> {
    let key = key();
    verify_storage(
        disk,
        Expected {
            key: Some(&key),
            held: None,
        },
        |_, _| {},
    )
}

fn against(disk: &Disk, held: &Checkpoint) -> Result<Summary, Fault> {
    verify_storage(
        disk,
        Expected {
            key: None,
            held: Some(held),
        },
        |_, _| {},
    )
}

/// 300 signatures, which a checkpoint covers, and one intent more.
fn trail() -> Disk {
    let disk = Disk::default();
    let (mut log, mut tree) = open_whole(&disk).unwrap();
    for n in 0..300 {
        log.append(&[intent(n), outcome(n, OutcomeKind::Signed)]).unwrap();
        log.sync().unwrap();
    }
    tree.publish(600).unwrap();
    log.append(&[intent(300)]).unwrap();
    log.sync().unwrap();
    disk
}

fn head(disk: &Disk) -> Checkpoint {
    let note = String::from_utf8(disk.get("checkpoint").unwrap()).unwrap();
    Checkpoint::parse(key().open(&note).unwrap()).unwrap()
}

/// The trail with the entries of a bundle changed.
fn edited(disk: &Disk, bundle: &str, edit: impl FnOnce(&mut Vec<Vec<u8>>)) -> Vec<Vec<u8>> {
    let bytes = disk.get(bundle).unwrap();
    let mut all: Vec<Vec<u8>> = entries(&bytes).map(|entry| entry.unwrap().to_vec()).collect();
    edit(&mut all);
    let mut bytes = Vec::new();
    all.iter()
        .for_each(|entry| assert!(push_entry(&mut bytes, entry)));
    disk.put(bundle, &bytes);
    all
}

fn evil(entry: &mut Vec<u8>) {
    *entry = String::from_utf8(entry.clone())
        .unwrap()
        .replacen("request-", "REQUEST-", 1)
        .into_bytes();
}

const SECOND: &str = "tile/entries/001";
const LAST: &str = "tile/entries/002.p/88";

#[test]
fn a_whole_trail_is_summed_up() {
    let disk = trail();
    let mut heard = Vec::new();
    let summary = verify_storage(&disk, Expected::default(), |done, of| heard.push((done, of))).unwrap();
    assert_eq!(
        (
            summary.records,
            summary.covered,
            summary.intents,
            summary.outcomes,
            summary.signed
        ),
        (601, 600, 301, 300, 300)
    );
    assert_eq!((summary.refusals, summary.archived), (0, 0));
    assert_eq!(summary.orphans, [id(300)]);
    assert_eq!(summary.checkpoint, Some(head(&disk)));
    assert_eq!(heard, [(256, 600), (512, 600), (600, 600)]);
}

#[test]
fn tampering_with_records_is_found_where_it_was_done() {
    type Edit = fn(&mut Vec<Vec<u8>>);
    let table: &[(&str, &str, Edit, u64, &str)] = &[
        ("altered", SECOND, |e| evil(&mut e[4]), 260, "altered: its hash"),
        (
            "the last altered",
            LAST,
            |e| evil(&mut e[86]),
            598,
            "altered: its hash",
        ),
        (
            "removed",
            SECOND,
            |e| drop(e.remove(4)),
            260,
            "removed: record 261 stands here",
        ),
        (
            "two removed",
            SECOND,
            |e| drop(e.drain(4..6)),
            260,
            "removed: record 262 stands here",
        ),
        (
            "swapped",
            SECOND,
            |e| e.swap(4, 5),
            260,
            "reordered: record 261 stands here",
        ),
        (
            "swapped afar",
            SECOND,
            |e| e.swap(4, 100),
            260,
            "reordered: record 356 stands here",
        ),
        (
            "repeated",
            SECOND,
            |e| e.insert(5, e[4].clone()),
            261,
            "repeated: an earlier",
        ),
        (
            "inserted",
            SECOND,
            |e| e.insert(5, refusal(999)),
            261,
            "inserted: a foreign record",
        ),
        (
            "replaced",
            SECOND,
            |e| e[4] = refusal(999),
            260,
            "altered: its hash",
        ),
        (
            "one more",
            SECOND,
            |e| e.push(refusal(999)),
            512,
            "inserted: more records",
        ),
        (
            "the end cut",
            SECOND,
            |e| e.truncate(200),
            456,
            "truncated: it and all after",
        ),
        (
            "the newest cut",
            LAST,
            |e| e.truncate(80),
            592,
            "truncated: it and all after",
        ),
        ("emptied", SECOND, Vec::clear, 256, "truncated: it and all after"),
    ];
    for (case, bundle, edit, record, what) in table {
        let disk = trail();
        edited(&disk, bundle, edit);
        let fault = verify(&disk).expect_err(case);
        assert_eq!(
            (fault.place.as_str(), fault.record),
            (*bundle, Some(*record)),
            "{case}: {fault}"
        );
        assert!(fault.what.contains(what), "{case}: {fault}");
    }
    let disk = trail();
    let bundle = disk.get(SECOND).unwrap();
    disk.put(SECOND, &bundle[..bundle.len() - 3]);
    let fault = verify(&disk).unwrap_err();
    assert_eq!(
        (fault.record, fault.what.as_str()),
        (Some(511), "truncated within this record")
    );
}

fn tile_of(records: &[Vec<u8>]) -> Vec<u8> {
    records.iter().flat_map(|record| leaf_hash(record)).collect()
}

#[test]
fn tampering_with_hashes_is_found_too() {
    let bent = |disk: &Disk, path: &str, at: usize| {
        let mut bytes = disk.get(path).unwrap();
        bytes[at] ^= 1;
        disk.put(path, &bytes);
    };
    let check = |disk: &Disk, place: &str, record: Option<u64>, what: &str| {
        let fault = verify(disk).unwrap_err();
        assert_eq!((fault.place.as_str(), fault.record), (place, record), "{fault}");
        assert!(fault.what.contains(what), "{fault}");
    };
    // A hash alone: the level above vouches for the record.
    let disk = trail();
    bent(&disk, "tile/0/001", 4 * 32);
    check(&disk, "tile/0/001", Some(260), "the tree above has the record's");
    // Record and hash together: the level above tells the bundle.
    let disk = trail();
    let records = edited(&disk, SECOND, |e| evil(&mut e[4]));
    disk.put("tile/0/001", &tile_of(&records));
    check(&disk, "tile/1/000.p/2", Some(256), "records 256 to 511");
    // And that one too: the checkpoint does not fit.
    let mut above = disk.get("tile/1/000.p/2").unwrap();
    let hashes: Vec<Hash> = tile_of(&records)
        .chunks(32)
        .map(|hash| hash.try_into().unwrap())
        .collect();
    above[32..].copy_from_slice(&crate::tlog::tile_root(&hashes));
    disk.put("tile/1/000.p/2", &above);
    check(&disk, "checkpoint", None, "forked");
    // The newest record with its hash.
    let disk = trail();
    let records = edited(&disk, LAST, |e| evil(&mut e[86]));
    disk.put("tile/0/002.p/88", &tile_of(&records));
    check(&disk, "checkpoint", None, "forked");
    // A missing tile.
    let disk = trail();
    disk.remove("tile/0/001");
    check(&disk, "tile/0/001", Some(256), "missing");
    // The checkpoint: altered, of another key, of another log.
    let disk = trail();
    bent(&disk, "checkpoint", ORIGIN.len() + 1);
    check(&disk, "checkpoint", None, "signature does not hold");
    let other = NoteSigner::new(ORIGIN, PKey::generate_ed25519().unwrap()).unwrap();
    disk.put(
        "checkpoint",
        other.sign(&head(&trail()).text()).unwrap().as_bytes(),
    );
    check(&disk, "checkpoint", None, "no signature of the key");
    let text = head(&trail()).text().replace(ORIGIN, "another/log");
    disk.put("checkpoint", signer().sign(&text).unwrap().as_bytes());
    check(&disk, "checkpoint", None, "foreign");
}

#[test]
fn tampering_with_the_journal_is_found() {
    let first = |disk: &Disk| segment_path(segments(disk).unwrap()[0]);
    let disk = trail();
    let mut bytes = disk.get(&first(&disk)).unwrap();
    bytes[200] ^= 1;
    disk.put(&first(&disk), &bytes);
    let fault = verify(&disk).unwrap_err();
    assert!(fault.what.contains("its group is damaged"), "{fault}");
    assert_eq!(fault.record, Some(0));

    // With a digest that fits.
    let disk = trail();
    let file = disk.read(FIRST).unwrap();
    let Found::Group(group) = read_group(file.as_ref(), 0).unwrap() else {
        panic!()
    };
    let entries = swapped(&group.entries, b"Micros\":42", b"Micros\":43");
    let mut changed = super::super::journal::group(0, group.records, &entries);
    changed.extend_from_slice(&disk.get(FIRST).unwrap()[group.len() as usize..]);
    disk.put(FIRST, &changed);
    let fault = verify(&disk).unwrap_err();
    assert_eq!((fault.place.as_str(), fault.record), (FIRST, Some(1)), "{fault}");

    let disk = trail();
    let all = segments(&disk).unwrap();
    disk.remove(&segment_path(all[1]));
    let fault = verify(&disk).unwrap_err();
    assert_eq!(fault.record, Some(all[1]), "{fault}");

    let disk = trail();
    let newest = segment_path(*all.last().unwrap());
    let bytes = disk.get(&newest).unwrap();
    disk.put(&newest, &bytes[..bytes.len() - 1]);
    let fault = verify(&disk).unwrap_err();
    assert!(
        fault.what.contains("torn write") && fault.record == Some(600),
        "{fault}"
    );

    // A copy without the journal is whole as far as the checkpoint goes.
    let disk = trail();
    all.iter().for_each(|first| disk.remove(&segment_path(*first)));
    assert_eq!(verify(&disk).unwrap().records, 600);
    assert!(verify(&Disk::default()).unwrap_err().what.contains("no trail"));
}

#[test]
fn bundles_can_be_archived_from_the_first_on() {
    let disk = trail();
    disk.remove("tile/entries/000");
    let summary = verify(&disk).unwrap();
    assert_eq!(
        (summary.records, summary.archived, summary.outcomes),
        (601, 256, 172)
    );
    // The journal may still have them; a start goes on.
    open_whole(&disk).unwrap();
    let disk = trail();
    disk.remove(SECOND);
    let fault = verify(&disk).unwrap_err();
    assert_eq!(fault.record, Some(256));
    assert!(
        fault.what.contains("removed: the bundle with records 256 to 511"),
        "{fault}"
    );
}

#[test]
fn a_checkpoint_kept_elsewhere_finds_what_the_directory_cannot_tell() {
    let disk = trail();
    let held = head(&disk);
    assert!(against(&disk, &held).is_ok());
    // The trail has grown since.
    let (mut log, mut tree) = open_whole(&disk).unwrap();
    log.append(&[refusal(9)]).unwrap();
    log.sync().unwrap();
    tree.publish(log.size()).unwrap();
    assert!(against(&disk, &held).is_ok());

    let foreign = Checkpoint {
        origin: "another/log".into(),
        ..held.clone()
    };
    assert!(against(&disk, &foreign).unwrap_err().what.contains("foreign"));

    // Rewritten as a whole, by someone with the key: consistent in itself.
    let rewrite = |count: u64| {
        let disk = Disk::default();
        let (mut log, mut tree) = open_whole(&disk).unwrap();
        for n in 0..count {
            let mut intent = intent(n);
            if n == 250 {
                evil(&mut intent);
            }
            log.append(&[intent, outcome(n, OutcomeKind::Signed)]).unwrap();
            log.sync().unwrap();
        }
        tree.publish(log.size()).unwrap();
        disk
    };
    let forked = rewrite(320);
    assert!(verify(&forked).is_ok());
    let fault = against(&forked, &held).unwrap_err();
    assert!(
        fault.what.contains("forked") && fault.record == Some(599),
        "{fault}"
    );
    let shorter = rewrite(200);
    assert!(verify(&shorter).is_ok());
    let fault = against(&shorter, &held).unwrap_err();
    assert!(
        fault.what.contains("truncated") && fault.record == Some(400),
        "{fault}"
    );
}
