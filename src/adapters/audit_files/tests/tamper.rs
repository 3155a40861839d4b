//! Every kind of tampering is found, at the record where it was done.

use signer_actors::domain::audit::OutcomeKind;
use signer_actors::ports::AuditLog;

use super::disk::Disk;
use super::*;
use crate::adapters::audit_files::verify::{Checkpoint, Fault, Summary, verify_storage};

fn verify(disk: &Disk) -> Result<Summary, Fault> {
    verify_storage(disk, None, |_| {})
}

/// Records 0 to 11: six signatures, in two segments.
fn trail() -> Disk {
    let disk = Disk::default();
    let mut log = open(&disk).unwrap();
    for n in 0..6 {
        log.append(&[intent(n), outcome(n, OutcomeKind::Signed)]).unwrap();
        log.sync().unwrap();
    }
    assert_eq!(segments(&disk), [FIRST, SECOND]);
    disk
}

const FIRST: &str = "trail-00000000000000000000.jsonl";
const SECOND: &str = "trail-00000000000000000008.jsonl";

fn segments(disk: &Disk) -> Vec<String> {
    use crate::adapters::audit_files::storage::Storage;
    disk.names().unwrap()
}

fn edit(disk: &Disk, name: &str, edit: impl FnOnce(&mut Vec<String>)) {
    let text = String::from_utf8(disk.get(name).unwrap()).unwrap();
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    edit(&mut lines);
    disk.put(name, lines.concat().as_bytes());
}

#[test]
fn a_whole_trail_is_summed_up() {
    let disk = trail();
    let log = open(&disk).unwrap();
    let mut heard = Vec::new();
    let summary = verify_storage(&disk, None, |n| heard.push(n)).unwrap();
    assert_eq!(
        (summary.records, summary.intents, summary.outcomes, summary.signed),
        (12, 6, 6, 6)
    );
    assert_eq!(
        (summary.refusals, summary.segments, summary.orphans.len()),
        (0, 2, 0)
    );
    assert_eq!((summary.records, summary.head), log.head());
    assert_eq!(heard, [12]);
}

#[test]
fn tampering_is_found_where_it_was_done() {
    type Edit = fn(&mut Vec<String>);
    let table: &[(&str, &str, Edit, &str, u64, u64, &str)] = &[
        (
            "a member",
            FIRST,
            |l| l[2] = l[2].replace("acme", "evil"),
            FIRST,
            3,
            2,
            "altered: the next record",
        ),
        (
            "the last of a segment",
            FIRST,
            |l| l[7] = l[7].replace("Micros\":42", "Micros\":43"),
            FIRST,
            8,
            7,
            "altered: the next record",
        ),
        (
            "the first of all",
            FIRST,
            |l| l[0] = l[0].replace("acme", "evil"),
            FIRST,
            1,
            0,
            "altered: the next record",
        ),
        (
            "in the newest segment",
            SECOND,
            |l| l[1] = l[1].replace("Micros\":42", "Micros\":43"),
            SECOND,
            2,
            9,
            "altered: the next record",
        ),
        (
            "white space",
            FIRST,
            |l| l[2] = l[2].replace("\"record\":", "\"record\": "),
            FIRST,
            3,
            2,
            "altered: the next",
        ),
        (
            "prev",
            FIRST,
            |l| l[3] = l[3].replacen(&l[3][17..20].to_owned(), "zzz", 1),
            FIRST,
            4,
            3,
            "not a line",
        ),
        (
            "prev, still hex",
            FIRST,
            |l| {
                let c = if &l[3][20..21] == "0" { "1" } else { "0" };
                l[3].replace_range(20..21, c)
            },
            FIRST,
            4,
            3,
            "altered: it names another",
        ),
        (
            "prev of the first",
            FIRST,
            |l| l[0].replace_range(20..21, "1"),
            FIRST,
            1,
            0,
            "altered: it names another",
        ),
        (
            "seq",
            FIRST,
            |l| l[3] = l[3].replace("\"seq\":3", "\"seq\":30"),
            FIRST,
            4,
            3,
            "altered: it is numbered 30",
        ),
        (
            "seq back",
            FIRST,
            |l| l[3] = l[3].replace("\"seq\":3", "\"seq\":1"),
            FIRST,
            4,
            3,
            "altered: it is numbered 1",
        ),
        (
            "schema",
            FIRST,
            |l| l[4] = l[4].replace("\"schema\":1", "\"schema\":2"),
            FIRST,
            5,
            4,
            "unknown schema 2",
        ),
        (
            "no schema",
            FIRST,
            |l| l[4] = l[4].replace("\"schema\"", "\"schemo\""),
            FIRST,
            5,
            4,
            "schema version",
        ),
        (
            "event",
            FIRST,
            |l| l[4] = l[4].replace("intent", "indent"),
            FIRST,
            5,
            4,
            "does not fit schema 1",
        ),
        (
            "not JSON",
            FIRST,
            |l| l[4] = l[4].replace("\"acme\"", "acme"),
            FIRST,
            5,
            4,
            "not a JSON object",
        ),
        (
            "an outcome for another",
            FIRST,
            |l| l[5] = l[5].replace("0002\"", "0009\""),
            FIRST,
            6,
            5,
            "no open intent",
        ),
        (
            "removed",
            FIRST,
            |l| {
                l.remove(3);
            },
            FIRST,
            4,
            3,
            "removed: record 4 stands here",
        ),
        (
            "removed first",
            FIRST,
            |l| {
                l.remove(0);
            },
            FIRST,
            1,
            0,
            "removed: record 1",
        ),
        (
            "removed across segments",
            FIRST,
            |l| {
                l.pop();
            },
            SECOND,
            0,
            7,
            "removed: records 7 to 7",
        ),
        (
            "removed in the newest",
            SECOND,
            |l| {
                l.remove(1);
            },
            SECOND,
            2,
            9,
            "removed: record 10",
        ),
        (
            "reordered",
            FIRST,
            |l| l.swap(2, 3),
            FIRST,
            3,
            2,
            "reordered: record 3 stands here",
        ),
        (
            "repeated",
            FIRST,
            |l| l.insert(3, l[2].clone()),
            FIRST,
            4,
            3,
            "repeated: record 2",
        ),
        (
            "inserted",
            FIRST,
            |l| l.insert(3, "{}\n".into()),
            FIRST,
            4,
            3,
            "not a line",
        ),
        (
            "empty line",
            FIRST,
            |l| l.insert(3, "\n".into()),
            FIRST,
            4,
            3,
            "not a line",
        ),
        (
            "carriage return",
            FIRST,
            |l| l[2] = l[2].replace('\n', "\r\n"),
            FIRST,
            3,
            2,
            "not a line",
        ),
        (
            "huge",
            FIRST,
            |l| l[2] = "x".repeat(70_000) + "\n",
            FIRST,
            3,
            2,
            "longer than a line",
        ),
        (
            "truncated middle",
            FIRST,
            |l| {
                let n = l[7].len() - 5;
                l[7].truncate(n)
            },
            FIRST,
            8,
            7,
            "truncated in the middle",
        ),
        (
            "lost line feed",
            FIRST,
            |l| {
                l[7].pop();
            },
            FIRST,
            8,
            7,
            "truncated in the middle",
        ),
        (
            "torn end",
            SECOND,
            |l| {
                l[3].pop();
            },
            SECOND,
            4,
            11,
            "truncated: a torn write",
        ),
        (
            "emptied",
            FIRST,
            Vec::clear,
            SECOND,
            0,
            0,
            "removed: records 0 to 7",
        ),
    ];
    for (case, name, how, segment, line, seq, what) in table {
        let disk = trail();
        edit(&disk, name, how);
        let fault = verify(&disk).expect_err(case);
        assert_eq!(
            (fault.segment.as_str(), fault.line, fault.seq),
            (*segment, *line, *seq),
            "{case}: {fault}"
        );
        assert!(fault.what.contains(what), "{case}: {fault}");
        if *case != "torn end" {
            assert!(open(&disk).is_err(), "{case}: opened");
        }
    }
}

#[test]
fn a_missing_segment_is_found() {
    let disk = trail();
    disk.remove(FIRST);
    let fault = verify(&disk).unwrap_err();
    assert_eq!(
        (fault.segment.as_str(), fault.line, fault.seq),
        (SECOND, 0, 0),
        "{fault}"
    );
    assert!(open(&disk).unwrap_err().contains("does not begin with"));
    disk.remove(SECOND);
    assert!(verify(&disk).unwrap_err().what.contains("no trail"));
    disk.put("trail-1.jsonl", b"");
    assert!(
        verify(&disk)
            .unwrap_err()
            .what
            .contains("not the name of a segment")
    );
}

#[test]
fn a_checkpoint_finds_what_the_chain_cannot() {
    let disk = trail();
    let (records, head) = open(&disk).unwrap().head();
    let checkpoint = Checkpoint { records, head };
    let check = |disk: &Disk| verify_storage(disk, Some(&checkpoint), |_| {});
    assert!(check(&disk).is_ok());

    // The trail may have grown since.
    let mut log = open(&disk).unwrap();
    log.append(&[refusal(9)]).unwrap();
    assert!(check(&disk).is_ok());
    drop(log);

    // Cut off at the end, or the newest record altered: the chain alone cannot know.
    let cut = trail();
    edit(&cut, SECOND, |l| l.truncate(2));
    assert!(verify(&cut).is_ok());
    let fault = check(&cut).unwrap_err();
    assert_eq!((fault.line, fault.seq), (2, 10), "{fault}");

    let altered = trail();
    edit(&altered, SECOND, |l| {
        l[3] = l[3].replace("Micros\":42", "Micros\":43")
    });
    assert!(verify(&altered).is_ok());
    let fault = check(&altered).unwrap_err();
    assert_eq!((fault.line, fault.seq), (4, 11), "{fault}");
}
