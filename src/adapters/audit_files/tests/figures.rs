//! Figures, by hand: `cargo test --release --lib figures -- --ignored --nocapture`.

#![allow(clippy::print_stdout, reason = "figures are printed")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Arbiter;
use futures_util::future::join_all;
use signer_actors::audit::{Append, Audit, Durability, Writing};
use signer_actors::domain::audit::AuditRecord;
use signer_actors::ports::{AuditLog, AuditLogError, SystemClock, Unobserved};
use signer_actors::runtime::{Deadline, start};
use signer_actors::testing::vitals;
use tokio::sync::watch;

use super::*;
use crate::adapters::audit_files::Settings;
use crate::adapters::audit_files::verify::{Expected, verify_dir};

fn open_at(directory: PathBuf, keep_bytes: u64) -> FileAuditLog {
    let settings = Settings {
        directory,
        segment_bytes: Settings::SEGMENT_BYTES,
        keep_bytes,
        interval: Duration::from_secs(1),
        held: None,
    };
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    FileAuditLog::open(&settings, signer(), Arc::new(Unobserved), silent)
        .unwrap()
        .0
}

/// Writes `SIGNER_TRAIL_RECORDS` records (1,000,000) to the empty folder `SIGNER_TRAIL` and verifies them.
#[test]
#[ignore = "a million records"]
fn a_million_records() {
    let directory = PathBuf::from(std::env::var("SIGNER_TRAIL").expect("a folder"));
    let count = std::env::var("SIGNER_TRAIL_RECORDS").map_or(1_000_000, |count| count.parse().unwrap());
    let begun = Instant::now();
    let (all_of_it, usual) = (u64::MAX, Settings::KEEP_BYTES);
    let mut log = open_at(directory.clone(), all_of_it);
    let all: Vec<u64> = (0..count / 2).collect();
    for group in all.chunks(250) {
        let records = group.iter().flat_map(|n| {
            [
                intent(*n),
                outcome(*n, signer_actors::domain::audit::OutcomeKind::Signed),
            ]
        });
        log.append(&records.collect::<Vec<_>>()).unwrap();
        log.sync().unwrap();
    }
    println!("written: {:?}", begun.elapsed());
    drop(log);
    println!("published: {:?}", begun.elapsed());
    // As after a time without checkpoints: every record is read from the journal again.
    let begun = Instant::now();
    let mut log = open_at(directory.clone(), usual);
    println!("opened with all of them in the journal: {:?}", begun.elapsed());
    // What is published next drops what need not be kept.
    log.append(&[refusal(count)]).unwrap();
    log.sync().unwrap();
    drop(log);
    let begun = Instant::now();
    let log = open_at(directory.clone(), usual);
    println!("opened with what is kept in the journal: {:?}", begun.elapsed());
    drop(log);
    let begun = Instant::now();
    let key = key();
    let summary = verify_dir(
        &directory,
        Expected {
            key: Some(&key),
            held: None,
        },
        |_, _| {},
    )
    .unwrap();
    println!(
        "verified: {} records in {:?}; key {key}",
        summary.records,
        begun.elapsed()
    );
}

/// 64 callers, each with one signature's two records after the other, as the pipeline asks for them.
#[actix::test]
#[ignore = "figures"]
async fn group_commit_beside_one_sync_each_and_no_trail() {
    let folder = tempfile::tempdir_in(std::env::var("SIGNER_TRAIL_DISK").unwrap_or(".".into())).unwrap();
    for (name, linger, files) in [
        ("no trail", Duration::from_millis(0), false),
        ("one sync each", Duration::from_millis(0), true),
        ("group commit, 2 ms", Duration::from_millis(2), true),
        ("no trail, 2 ms", Duration::from_millis(2), false),
    ] {
        let log: Box<dyn AuditLog> = if files {
            let folder = folder.path().join(name.replace([' ', ','], "-"));
            Box::new(open_at(folder, Settings::KEEP_BYTES))
        } else {
            Box::new(Nothing)
        };
        measure(name, log, linger).await;
    }
}

/// Keeps nothing.
#[derive(Debug)]
struct Nothing;

impl AuditLog for Nothing {
    fn append(&mut self, _: &[Vec<u8>]) -> Result<(), AuditLogError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AuditLogError> {
        Ok(())
    }

    fn size(&self) -> u64 {
        0
    }
}

async fn measure(name: &str, log: Box<dyn AuditLog>, linger: Duration) {
    let arbiter = Arbiter::new();
    let vitals = vitals();
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    let actor = Audit::new(
        log,
        Arc::new(SystemClock::default()),
        Arc::new(Unobserved),
        silent,
        linger,
        watch::Sender::new(true),
        Writing::default(),
    );
    let mailbox = start(&arbiter.handle(), 4096, vitals, move || actor);
    let record = |bytes: Vec<u8>| -> AuditRecord { serde_json::from_slice(&bytes).unwrap() };
    let (begun, end) = (Instant::now(), Instant::now() + Duration::from_secs(5));
    let callers = (0..64_u64).map(|caller| {
        let mailbox = mailbox.clone();
        async move {
            let mut waits = Vec::new();
            for n in 0.. {
                if Instant::now() > end {
                    break;
                }
                let (id, asked) = (caller << 32 | n, Instant::now());
                let ask = |record, durability| {
                    let append = Append {
                        record,
                        durability,
                        after: None,
                    };
                    mailbox.ask(append, Deadline::after(Duration::from_secs(5)))
                };
                let intent = record(intent(id));
                ask(intent, Durability::InOrder).await.unwrap().unwrap();
                let outcome = record(outcome(id, signer_actors::domain::audit::OutcomeKind::Signed));
                ask(outcome, Durability::Durable).await.unwrap().unwrap();
                waits.push(asked.elapsed());
            }
            waits
        }
    });
    let mut waits: Vec<Duration> = join_all(callers).await.into_iter().flatten().collect();
    let elapsed = begun.elapsed();
    waits.sort_unstable();
    let at = |part: usize| waits[(waits.len() - 1) * part / 100];
    println!(
        "{name}: {:.0} records/s, a signature waits p50 {:?}, p99 {:?}",
        2.0 * waits.len() as f64 / elapsed.as_secs_f64(),
        at(50),
        at(99)
    );
    arbiter.stop();
    let _ = arbiter.join();
}
