//! Questions to a trail on a real disk.

use std::path::Path;
use std::sync::mpsc::sync_channel;

use openssl::pkey::{Id, PKey};
use signer_actors::domain::audit::{AuditRecord, Caller, Refusal, SCHEMA_VERSION};
use signer_actors::ports::{AuditLog, Unobserved};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::adapters::audit_files::verify::{Expected, verify_dir};
use crate::adapters::audit_files::{FileAuditLog, Settings};
use crate::tlog::{NoteSigner, VerifierKey};

const NEVER: Duration = Duration::from_secs(3600);

/// With segments of the journal that are soon full, and gone as soon as they may be.
fn open(directory: &Path) -> (FileAuditLog, Trail) {
    let settings = Settings {
        directory: directory.join("trail"),
        segment_bytes: 16 * 1024,
        keep_bytes: 0,
        interval: NEVER,
        held: None,
    };
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    FileAuditLog::open(&settings, signer(), Arc::new(Unobserved), silent).unwrap()
}

fn signer() -> NoteSigner {
    let key = PKey::private_key_from_raw_bytes(&[7; 32], Id::ED25519).unwrap();
    NoteSigner::new("signer.test/log", key).unwrap()
}

fn key() -> VerifierKey {
    signer().verifier().clone()
}

fn id(n: u128) -> AuditId {
    AuditId(Uuid::from_u128(n))
}

fn add_refusal(log: &mut FileAuditLog, n: u128) {
    let record = AuditRecord::Refusal(Box::new(Refusal {
        schema: SCHEMA_VERSION,
        audit_id: id(n),
        correlation_id: "request".into(),
        time: chrono::DateTime::UNIX_EPOCH,
        caller: Caller {
            tenant: "acme".into(),
            installation: "eu-1".into(),
            subject: "scanner".into(),
            client_id: "scanner".into(),
            sender_binding: "dpop".into(),
        },
        dry_run: false,
        stage: None,
        code: None,
    }));
    log.append(&[serde_json::to_vec(&record).unwrap()]).unwrap();
    log.sync().unwrap();
}

/// Until the first checkpoint is there.
async fn ready(trail: &mut Trail) {
    trail.published.wait_for(Option::is_some).await.unwrap();
}

async fn shown(trail: &Trail, n: u128) -> Result<usize, TrailError> {
    trail.records(id(n)).await.map(|shown| shown.records.len())
}

#[tokio::test]
async fn strangers_do_not_keep_tenants_from_their_records_nor_the_other_way_round() {
    let folder = TempDir::new().unwrap();
    let (mut log, mut trail) = open(folder.path());
    ready(&mut trail).await;
    add_refusal(&mut log, 1);
    let strangers = Arc::clone(&trail.anyone).try_acquire_many_owned(4).unwrap();
    assert_eq!(AuditTrail::head(&trail, Some(0)).await, Err(TrailError::Busy));
    assert_eq!(shown(&trail, 1).await, Ok(1));
    drop(strangers);
    let _tenants = Arc::clone(&trail.readers).try_acquire_many_owned(8).unwrap();
    assert_eq!(shown(&trail, 1).await, Err(TrailError::Busy));
    assert!(AuditTrail::head(&trail, Some(1)).await.is_ok());
}

/// 404 would deny a record that is durable and not published.
#[tokio::test]
async fn a_record_that_may_exist_is_not_denied_while_publishing_fails() {
    let folder = TempDir::new().unwrap();
    let (mut log, mut trail) = open(folder.path());
    ready(&mut trail).await;
    let in_the_way = folder.path().join("trail/tile");
    std::fs::write(&in_the_way, "x").unwrap();
    add_refusal(&mut log, 1);
    assert_eq!(shown(&trail, 1).await, Err(TrailError::Unavailable));
    assert_eq!(shown(&trail, 2).await, Err(TrailError::Unavailable));
    std::fs::remove_file(&in_the_way).unwrap();
    assert_eq!(shown(&trail, 1).await, Ok(1));
    // Everything durable has been looked at by now.
    assert_eq!(shown(&trail, 2).await, Ok(0));
}

/// Segments follow one another and go, bundles are moved elsewhere: every proof stays.
#[tokio::test]
async fn proofs_hold_whatever_was_rotated_and_archived() {
    let folder = TempDir::new().unwrap();
    let (directory, file) = (folder.path().join("trail"), |name: &str| {
        folder.path().join("trail").join(name)
    });
    let segments = || {
        std::fs::read_dir(folder.path().join("trail/journal"))
            .unwrap()
            .count()
    };
    let (mut log, mut trail) = open(folder.path());
    ready(&mut trail).await;
    (0..700).for_each(|n| add_refusal(&mut log, n));
    let many = segments();
    assert!(many > 5, "{many}");
    drop((log, trail));
    let kept = std::fs::read(file("checkpoint")).unwrap();
    // The next start takes the segments before for old ones.
    let (mut log, mut trail) = open(folder.path());
    ready(&mut trail).await;
    add_refusal(&mut log, 700);
    assert_eq!(shown(&trail, 700).await, Ok(1));
    assert!(segments() < many);

    let elsewhere = folder.path().join("000");
    std::fs::rename(file("tile/entries/000"), &elsewhere).unwrap();
    let head = AuditTrail::head(&trail, Some(100)).await.unwrap();
    assert!(head.size >= 701 && head.consistency.is_some());
    for (n, found) in [(0, 0), (255, 0), (256, 1), (699, 1)] {
        assert_eq!(shown(&trail, n).await, Ok(found), "{n}");
    }
    drop((log, trail));
    let summary = verify_dir(&directory, Expected::default(), |_, _| {}).unwrap();
    assert_eq!((summary.records, summary.archived), (701, 256));
    let (_log, mut trail) = open(folder.path());
    ready(&mut trail).await;
    assert_eq!(shown(&trail, 699).await, Ok(1));
    assert_eq!(
        super::super::held::goes_on_from(&directory, &key(), &kept),
        Ok(700)
    );
    std::fs::rename(&elsewhere, file("tile/entries/000")).unwrap();
    assert_eq!(shown(&trail, 0).await, Ok(1));
}

#[test]
fn who_asks_waits_for_the_pause_and_no_longer() {
    let (sender, received) = sync_channel(QUEUE);
    let ask = || sender.send(Command::Publish(oneshot::channel().0)).unwrap();
    let long = |now: Instant| now + NEVER;
    let pause = Duration::from_millis(50);

    // Several share one.
    (0..3).for_each(|_| ask());
    let begun = Instant::now();
    let (waiting, stop) = Work::wait(&received, long(begun), begun.checked_add(pause));
    assert_eq!((waiting.len(), stop), (3, false));
    assert!((pause..NEVER).contains(&begun.elapsed()));
    // At once when it is over, or there is none.
    for paused in [Some(begun), None] {
        ask();
        let (waiting, _) = Work::wait(&received, long(begun), paused);
        assert_eq!(waiting.len(), 1);
    }
    // At the regular time without anyone.
    let (waiting, stop) = Work::wait(&received, begun, None);
    assert_eq!((waiting.len(), stop), (0, false));
    sender.send(Command::Stop).unwrap();
    let (_, stop) = Work::wait(&received, long(begun), None);
    assert!(stop);
}
