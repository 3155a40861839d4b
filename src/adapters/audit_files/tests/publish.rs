//! What is published is the journal, laid out as C2SP tlog-tiles says, and a restart goes on from it or refuses.

use signer_actors::domain::audit::OutcomeKind;
use signer_actors::ports::AuditLog;
use uuid::Uuid;

use super::disk::{Disk, Trouble};
use super::*;
use crate::adapters::audit_files::reader::Published;
use crate::adapters::audit_files::verify::{Expected, verify_storage};
use crate::tlog::{
    Checkpoint, TileNodes, consistency_proof, inclusion_proof, leaf_hash, verify_consistency,
    verify_inclusion,
};

/// A log with so many refusals.
fn grown(count: u64) -> (Disk, FileAuditLog, Tree) {
    let disk = Disk::default();
    let (mut log, tree) = open_whole(&disk).unwrap();
    add(&mut log, 0..count);
    (disk, log, tree)
}

fn add(log: &mut FileAuditLog, numbers: std::ops::Range<u64>) {
    let all: Vec<_> = numbers.map(refusal).collect();
    for batch in all.chunks(7) {
        log.append(batch).unwrap();
        log.sync().unwrap();
    }
}

fn head(disk: &Disk) -> Checkpoint {
    let note = String::from_utf8(disk.get("checkpoint").unwrap()).unwrap();
    Checkpoint::parse(key().open(&note).unwrap()).unwrap()
}

fn published(disk: &Disk) -> Vec<String> {
    let mut paths = disk.paths();
    paths.retain(|path| path.starts_with("tile/"));
    paths
}

#[test]
fn an_empty_log_has_a_checkpoint() {
    let (disk, log, mut tree) = grown(0);
    tree.publish(log.size()).unwrap();
    let head = head(&disk);
    assert_eq!(
        (head.origin.as_str(), head.size, head.root),
        (ORIGIN, 0, crate::tlog::empty_root())
    );
    assert!(published(&disk).is_empty());
    open_whole(&disk).unwrap();
}

#[test]
fn the_layout_is_that_of_tlog_tiles() {
    let (disk, mut log, mut tree) = grown(100);
    tree.publish(100).unwrap();
    assert_eq!(published(&disk), ["tile/0/000.p/100", "tile/entries/000.p/100"]);
    add(&mut log, 100..255);
    tree.publish(255).unwrap();
    // Until the full tile is there, every part that a checkpoint was signed over stays.
    let parts = [
        "tile/0/000.p/100",
        "tile/0/000.p/255",
        "tile/entries/000.p/100",
        "tile/entries/000.p/255",
    ];
    assert_eq!(published(&disk), parts);
    add(&mut log, 255..600);
    tree.publish(600).unwrap();
    let full = [
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
    ];
    assert_eq!(published(&disk), full);
    for (number, width) in [(0, 256), (1, 256), (2, 88)] {
        let suffix = if width < 256 {
            format!(".p/{width}")
        } else {
            String::new()
        };
        let bundle = disk.get(&format!("tile/entries/{number:03}{suffix}")).unwrap();
        let tile = disk.get(&format!("tile/0/{number:03}{suffix}")).unwrap();
        let found: Vec<Vec<u8>> = entries(&bundle).map(|entry| entry.unwrap().to_vec()).collect();
        let expected: Vec<Vec<u8>> = (number * 256..number * 256 + width).map(refusal).collect();
        assert_eq!(found, expected);
        let hashes: Vec<u8> = expected.iter().flat_map(|entry| leaf_hash(entry)).collect();
        assert_eq!(tile, hashes);
    }
    assert_eq!(head(&disk).size, 600);
    // Nothing new, nothing written.
    let before = disk.get("checkpoint");
    tree.publish(600).unwrap();
    assert_eq!(disk.get("checkpoint"), before);
}

/// However publishing and starting anew alternate, the tree is the same.
#[test]
fn a_restart_goes_on_where_the_checkpoint_ends() {
    let (whole, _, mut tree) = grown(1400);
    tree.publish(1400).unwrap();
    let (disk, mut log, mut tree) = grown(0);
    let mut at = 0;
    for step in [1, 254, 1, 1, 255, 0, 300, 212, 100, 276] {
        add(&mut log, at..at + step);
        at += step;
        tree.publish(at).unwrap();
        if at % 2 == 0 {
            drop(log);
            (log, tree) = open_whole(&disk).unwrap();
        }
    }
    assert_eq!(at, 1400);
    // Parts that earlier checkpoints were signed over stay until the full tile is there.
    let mut once = published(&disk);
    once.retain(|path| !path.starts_with("tile/1/000.p/") || path == "tile/1/000.p/5");
    assert_eq!(once, published(&whole));
    assert_eq!(head(&disk), head(&whole));
    for path in published(&whole) {
        assert_eq!(disk.get(&path), whole.get(&path), "{path}");
    }
    assert_eq!(disk.get("index"), whole.get("index"));
    // What full bundles cover is dropped from the journal by the starts after, but never the newest segment.
    let segments = segments(&disk).unwrap();
    assert!(segments[0] > 0 && segments[0] <= 1280, "{segments:?}");
}

#[test]
fn a_failure_to_publish_is_made_up_for() {
    let (disk, mut log, mut tree) = grown(300);
    for trouble in [Trouble::ReplaceError, Trouble::NamesError, Trouble::SyncError] {
        disk.trouble(trouble);
        assert!(tree.publish(300).is_err(), "{trouble:?}");
    }
    assert!(disk.get("checkpoint").is_none());
    tree.publish(300).unwrap();
    add(&mut log, 300..700);
    disk.trouble(Trouble::ReplaceError);
    assert!(tree.publish(700).is_err());
    assert_eq!(head(&disk).size, 300);
    // A crash in between changes nothing.
    disk.crash(0);
    let (log, mut tree) = open_whole(&disk).unwrap();
    tree.publish(log.size()).unwrap();
    let (whole, _, mut tree) = grown(700);
    tree.publish(700).unwrap();
    assert_eq!(head(&disk), head(&whole));
}

/// A disk that fails on: what was half done is not gone on from, even if it cannot be read back at first either.
#[test]
fn a_failure_that_lasts_loses_nothing() {
    let (disk, mut log, mut tree) = grown(100);
    tree.publish(100).unwrap();
    for n in 100..800 {
        log.append(&[refusal(n)]).unwrap();
        log.sync().unwrap();
    }
    let (whole, _, mut tree) = grown(800);
    tree.publish(800).unwrap();
    // Bundle and tile 0, 1 and 2, then the tile and bundle that are not full, the tile above them, and the checkpoint.
    let places = (0..10).map(|replaced| (replaced, Trouble::ReplaceError));
    // Names are made durable before the checkpoint is there, and after.
    for (replaced, publishing) in places.chain([(9, Trouble::NamesError), (10, Trouble::NamesError)]) {
        for loading in [1, 3] {
            let disk = disk.copy();
            // After a start, segments that full bundles cover are dropped at once.
            let (log, mut tree) = open_whole(&disk).unwrap();
            let before = (disk.get("checkpoint"), records(&disk));
            let mut troubles = vec![Trouble::Replaced; replaced];
            troubles.push(publishing);
            troubles.extend(vec![Trouble::SyncError; loading]);
            disk.troubles(&troubles);
            while disk.has_trouble() {
                assert!(tree.publish(log.size()).is_err(), "{troubles:?}");
                assert!(records(&disk) == before.1, "{troubles:?}");
                assert!(replaced == 10 || disk.get("checkpoint") == before.0);
            }
            tree.publish(log.size()).unwrap();
            assert_eq!(head(&disk), head(&whole), "{troubles:?}");
            for path in published(&whole) {
                assert!(disk.get(&path) == whole.get(&path), "{path}, {troubles:?}");
            }
            assert_eq!(disk.get("index"), whole.get("index"), "{troubles:?}");
            // The journal has been cut, and a start agrees.
            assert!(segments(&disk).unwrap()[0] > 0);
            open_whole(&disk).unwrap();
            let (key, held) = (key(), None);
            let expected = Expected {
                key: Some(&key),
                held,
            };
            let summary = verify_storage(&disk, expected, |_, _| {}).unwrap();
            assert_eq!((summary.records, summary.covered), (800, 800));
        }
    }
}

#[test]
fn proofs_come_from_the_files() {
    let (disk, mut log, mut tree) = grown(300);
    tree.publish(300).unwrap();
    let old = head(&disk);
    add(&mut log, 300..900);
    tree.publish(900).unwrap();
    let new = head(&disk);
    let nodes = TileNodes::new(Published::new(&disk), 900);
    let proof = consistency_proof(&nodes, 300, 900).unwrap();
    assert!(verify_consistency((300, &old.root), (900, &new.root), &proof));
    for index in [0, 255, 256, 600, 899] {
        let path = inclusion_proof(&nodes, index, 900).unwrap();
        assert!(verify_inclusion(
            &leaf_hash(&refusal(index)),
            index,
            900,
            &path,
            &new.root
        ));
    }
    // At the old size too, whose partial tiles are gone.
    let nodes = TileNodes::new(Published::new(&disk), 300);
    let path = inclusion_proof(&nodes, 299, 300).unwrap();
    assert!(verify_inclusion(
        &leaf_hash(&refusal(299)),
        299,
        300,
        &path,
        &old.root
    ));
    // A tile that is missing or cut is an error, not another proof.
    let tile = disk.get("tile/0/001").unwrap();
    for broken in [&tile[..8191], &tile[..8160], b""] {
        disk.put("tile/0/001", broken);
        let nodes = TileNodes::new(Published::new(&disk), 900);
        assert!(inclusion_proof(&nodes, 300, 900).is_err());
    }
}

/// UUIDv7 of this millisecond (RFC 9562 §5.7).
fn v7(milliseconds: u64, n: u64) -> u64 {
    (milliseconds << 16) | 0x7000 | n
}

fn v7_id(milliseconds: u64, n: u64) -> AuditId {
    AuditId(Uuid::from_u64_pair(v7(milliseconds, n), n))
}

fn named(bytes: Vec<u8>, n: u64, id: AuditId) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap();
    text.replace(&super::id(n).to_string(), &id.to_string())
        .into_bytes()
}

#[test]
fn records_are_found_by_their_audit_id() {
    let disk = Disk::default();
    let (mut log, mut tree) = open_whole(&disk).unwrap();
    for n in 1..=400 {
        // The clock goes back in the middle.
        let time = 1000 + if n < 200 { n } else { n - 100 };
        let pair = [intent(n), outcome(n, OutcomeKind::Signed)];
        log.append(&pair.map(|record| named(record, n, v7_id(time, n))))
            .unwrap();
        log.sync().unwrap();
    }
    // An outcome long after its intent.
    log.append(&[named(intent(500), 500, v7_id(3, 500))]).unwrap();
    log.sync().unwrap();
    for n in 600..900 {
        log.append(&[named(refusal(n), n, v7_id(n * 10, n))]).unwrap();
        log.sync().unwrap();
    }
    log.append(&[named(outcome(500, OutcomeKind::Unknown), 500, v7_id(3, 500))])
        .unwrap();
    log.sync().unwrap();
    let size = log.size();
    tree.publish(size).unwrap();
    let find = |id| -> Vec<u64> {
        let found = Published::new(&disk).find(id, size).unwrap();
        found.into_iter().map(|(index, _)| index).collect()
    };
    assert_eq!(find(v7_id(1001, 1)), [0, 1]);
    assert_eq!(find(v7_id(1000 + 250 - 100, 250)), [498, 499]);
    assert_eq!(find(v7_id(1000 + 300, 400)), [798, 799]);
    assert_eq!(find(v7_id(3, 500)), [800, 1101]);
    assert_eq!(find(v7_id(6000, 600)), [801]);
    assert_eq!(find(v7_id(8990, 899)), [1100]);
    assert!(find(v7_id(8990, 898)).is_empty() && find(v7_id(99_999, 1)).is_empty());
    // An index that was lost or cut is made anew by the next start.
    let index = disk.get("index").unwrap();
    assert_eq!(index.len(), 16 * 4);
    for left in [0, 5, 40] {
        disk.put("index", &index[..left]);
        open_whole(&disk).unwrap();
        assert_eq!(disk.get("index").unwrap(), index, "{left}");
    }
}

/// Rollback and rewriting are noticed by the next start, not by the next audit.
#[test]
fn a_start_refuses_what_does_not_go_on_from_the_checkpoint() {
    let (disk, mut log, mut tree) = grown(600);
    tree.publish(600).unwrap();
    add(&mut log, 600..700);
    assert_eq!(log.size(), 700);
    let refused = |what: &str, change: &dyn Fn(&Disk)| {
        let disk = disk.copy();
        change(&disk);
        let error = open_whole(&disk).map(drop).expect_err(what);
        assert!(error.contains(what), "{error}");
    };
    let newest = segment_path(*segments(&disk).unwrap().last().unwrap());
    refused("has lost its newest records", &|disk| {
        for first in segments(disk).unwrap().into_iter().filter(|first| *first > 400) {
            disk.remove(&segment_path(first));
        }
    });
    refused("begins with record", &|disk| {
        for first in segments(disk).unwrap().into_iter().filter(|first| *first < 540) {
            disk.remove(&segment_path(first));
        }
    });
    refused("has lost its newest records", &|disk| {
        segments(disk)
            .unwrap()
            .into_iter()
            .for_each(|first| disk.remove(&segment_path(first)));
    });
    refused("is not the one that its checkpoint signs", &|disk| {
        let mut tile = disk.get("tile/0/001").unwrap();
        tile[77] ^= 1;
        disk.put("tile/0/001", &tile);
    });
    refused("tile/0/000 is missing", &|disk| disk.remove("tile/0/000"));
    refused("is not signed by audit.checkpoint_key", &|disk| {
        let other = NoteSigner::new(ORIGIN, PKey::generate_ed25519().unwrap()).unwrap();
        disk.put("checkpoint", other.sign(&head(disk).text()).unwrap().as_bytes());
    });
    refused("is not signed by audit.checkpoint_key", &|disk| {
        disk.put("checkpoint", b"")
    });
    refused("is of another log", &|disk| {
        let text = head(disk).text().replace(ORIGIN, "another/log");
        disk.put("checkpoint", signer().sign(&text).unwrap().as_bytes());
    });
    // A journal rewritten with fitting digests, where the checkpoint covers it.
    refused("is not the one that its checkpoint signs", &|disk| {
        for first in segments(disk).unwrap() {
            let mut bytes = Vec::new();
            let file = disk.read(&segment_path(first)).unwrap();
            let mut offset = 0;
            while let Found::Group(group) = read_group(file.as_ref(), offset).unwrap() {
                offset += group.len();
                let changed = swapped(&group.entries, b"request-599\"", b"request-600\"");
                bytes.extend(super::super::journal::group(group.first, group.records, &changed));
            }
            disk.put(&segment_path(first), &bytes);
        }
    });
    // The end of the journal behind the checkpoint is not known to anyone but those who were answered.
    let file = disk.get(&newest).unwrap();
    assert!(!file.is_empty());
}
