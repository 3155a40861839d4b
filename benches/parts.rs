//! Micro benches of what `micro`, `authenticate` and `release` leave out: `cargo bench --bench parts`. A question to an actor,
//! here and on another thread; records into the trail; an envelope written; a document verified.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, System};
use chrono::Utc;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use openssl::pkey::PKey;
use signer::adapters::audit_files::{FileAuditLog, Settings};
use signer::bundle::envelope::Envelope;
use signer::bundle::verify::{GivenKey, Options, Trust, verify};
use signer::crypto::{Pae, PrivateKey};
use signer::http::dto::told::{place_of_payload, whole};
use signer::tlog::NoteSigner;
use signer_actors::domain::audit::{AuditRecord, Outcome, OutcomeKind, SCHEMA_VERSION};
use signer_actors::domain::envelope::PAYLOAD_TYPE;
use signer_actors::domain::ids::AuditId;
use signer_actors::domain::signing::Signature;
use signer_actors::ports::{AuditLog, Unobserved};
use signer_actors::runtime::{ActorState, Cx, Deadline, Reply, Request, Serve, start};
use signer_actors::testing::vitals;
use uuid::Uuid;

fn main() {
    divan::main();
}

/// An actor that answers at once.
struct Echo;

struct Ping;

impl ActorState for Echo {
    const NAME: &'static str = "echo";

    fn recover(&mut self) {}
}

impl Request for Ping {
    type Answer = Result<(), Infallible>;
}

impl Serve<Ping> for Echo {
    fn serve(&mut self, _: Ping, _cx: &mut Cx<'_, Self>) -> Reply<Result<(), Infallible>> {
        Reply::Now(Ok(()))
    }
}

/// To an actor on the asker's own thread, or on another that sleeps until it is asked: the difference is the wake-up.
#[divan::bench(args = [true, false])]
fn mailbox_hop(bencher: Bencher<'_, '_>, here: bool) {
    let system = System::new();
    let mailbox = system.block_on(async {
        let arbiter = match here {
            true => Arbiter::current(),
            false => Arbiter::new().handle(),
        };
        start(&arbiter, 16, vitals(), || Echo)
    });
    let deadline = Deadline::after(Duration::from_secs(600));
    bencher.bench_local(|| {
        let answer = system.block_on(mailbox.ask(Ping, deadline));
        assert!(matches!(answer, Ok(Ok(()))), "it answers");
    });
}

fn record(n: u128) -> AuditRecord {
    AuditRecord::Outcome(Box::new(Outcome {
        schema: SCHEMA_VERSION,
        audit_id: AuditId(Uuid::from_u128(n)),
        time: Utc::now(),
        outcome: OutcomeKind::Signed,
        signature_digest: Some("ab".repeat(32)),
        code: None,
        duration_micros: 1234,
    }))
}

#[divan::bench]
fn audit_record(bencher: Bencher<'_, '_>) {
    let record = record(7);
    bencher.bench(|| serde_json::to_vec(black_box(&record)));
}

/// Groups of so many records into the trail, each with one sync: in the folder of `SIGNER_BENCH_DISK`, or in memory, where a
/// sync costs nothing. Few of them: the trail grows.
#[divan::bench(args = [2, 32, 256], sample_count = 100, sample_size = 4)]
fn audit_append(bencher: Bencher<'_, '_>, records: usize) {
    let disk = std::env::var_os("SIGNER_BENCH_DISK").unwrap_or_else(|| "/dev/shm".into());
    let folder = done(tempfile::tempdir_in(disk));
    let settings = Settings {
        directory: folder.path().join("trail"),
        segment_bytes: Settings::SEGMENT_BYTES,
        keep_bytes: 0,
        interval: Duration::from_secs(1),
        held: None,
    };
    let signer = done(NoteSigner::new("bench/parts", done(PKey::generate_ed25519())));
    let silent = slog::Logger::root(slog::Discard, slog::o!());
    let (mut log, _trail) = done(FileAuditLog::open(
        &settings,
        signer,
        Arc::new(Unobserved),
        silent,
    ));
    let group: Vec<Vec<u8>> = (0..records as u128)
        .map(|n| done(serde_json::to_vec(&record(n))))
        .collect();
    bencher.counter(ItemsCount::new(records)).bench_local(|| {
        done(log.append(&group));
        done(log.sync());
    });
}

/// A statement of about this many bytes.
fn statement(bytes: usize) -> Vec<u8> {
    let (hex, text) = ("ab".repeat(32), "x".repeat(bytes));
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{"text":"{text}"}},"predicateType":"https://stella.ops/bench","subject":[{{"digest":{{"sha256":"{hex}"}},"name":"app"}}]}}"#
    )
    .into_bytes()
}

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];

#[divan::bench(args = SIZES)]
fn envelope(bencher: Bencher<'_, '_>, size: usize) {
    let (payload, signature) = (statement(size), Signature(vec![7; 71]));
    bencher.bench(|| serde_json::to_vec(&Envelope::new(black_box(&payload), &signature)));
}

/// The answer's own way: base64 put into a text that is there.
#[divan::bench(args = SIZES)]
fn envelope_told(bencher: Bencher<'_, '_>, size: usize) {
    let (payload, id) = (statement(size), AuditId(Uuid::from_u128(7)));
    let told = format!(
        r#"{{"bundle":{{"dsse":{{"payload":"{}"}}}}}}"#,
        place_of_payload(id)
    );
    bencher.bench(|| whole(told.as_bytes(), id, black_box(&payload)));
}

/// An envelope by a key that is trusted: what `POST /verify/dsse` and `signer verify` do, reading included.
#[divan::bench(args = SIZES)]
fn verifier(bencher: Bencher<'_, '_>, size: usize) {
    let key = done(PrivateKey::generate_p256());
    let payload = statement(size);
    let pae = Pae {
        payload_type: PAYLOAD_TYPE,
        payload: &payload,
    };
    let envelope = Envelope::new(&payload, &Signature(done(key.sign(&pae))));
    let document = done(serde_json::to_vec(&envelope));
    let pem = done(PKey::public_key_from_der(key.public().der()));
    let pem = done(pem.public_key_to_pem());
    let trust = done(Trust::parse(&pem));
    let options = Options {
        public_key: Some(done(GivenKey::from_pem(&pem))),
        ..Options::at_present(Utc::now())
    };
    let report = done(verify(&document, Some(&trust), &options));
    assert!(report.verified, "{:?}", report.checks);
    bencher.bench(|| verify(black_box(&document), Some(&trust), &options).map(|report| report.verified));
}

fn done<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => unreachable!("a bench cannot be set up: {error:?}"),
    }
}
