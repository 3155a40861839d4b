//! The adapter against a server that misbehaves.

mod fake;
mod keys;

use std::sync::atomic::{AtomicU64, Ordering};

use fake::{FakeRedis, Mood};
use signer_actors::domain::digest::Sha256Digest;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

const TIMEOUT: Duration = Duration::from_millis(100);

/// Counts failures by their kind.
#[derive(Debug, Default)]
struct Counts(watch::Sender<Vec<(&'static str, &'static str)>>, AtomicU64);

impl Observer for Counts {
    fn state(&self, operation: &'static str, _: Duration, failure: Option<&'static str>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        if let Some(kind) = failure {
            self.0.send_modify(|all| all.push((operation, kind)));
        }
    }
}

struct Bench {
    fake: FakeRedis,
    state: RedisState,
    epoch: StoreEpoch,
    counts: Arc<Counts>,
    keeper: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

fn settings(fake: &FakeRedis) -> Settings {
    Settings {
        host: "127.0.0.1".into(),
        port: fake.address.port(),
        tls: false,
        roots: None,
        database: 0,
        username: None,
        password: None,
        prefix: "signer".into(),
        timeout: TIMEOUT,
        lease_life: Duration::from_secs(10),
        answer_ttl: Duration::from_secs(3600),
        answer_capacity: 1000,
        claim_life: Duration::from_secs(20),
    }
}

/// Connected, and then in this mood.
async fn bench(mood: Mood) -> Bench {
    let fake = FakeRedis::start(Mood::Good).await;
    let (epoch, counts) = (StoreEpoch::default(), Arc::new(Counts::default()));
    let observer = Arc::clone(&counts) as Arc<dyn Observer>;
    let state = RedisState::new(settings(&fake), epoch.clone(), observer).expect("settings");
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let keeper = tokio::spawn(state.keep(log));
    let bench = Bench {
        fake,
        state,
        epoch,
        counts,
        keeper,
    };
    bench.until_up(true).await;
    bench.fake.set(mood);
    bench
}

impl Bench {
    async fn until_up(&self, wanted: bool) {
        let mut up = self.state.up();
        let came = tokio::time::timeout(Duration::from_secs(10), up.wait_for(|up| *up == wanted)).await;
        assert!(came.is_ok(), "up should become {wanted}");
    }

    /// The verdict, and that it came no later than it may.
    async fn spend(&self) -> Result<Spent, String> {
        let begun = Instant::now();
        let spend = Spend {
            tenant: TenantId::parse("acme").expect("a tenant"),
            id: Sha256Digest([7; 32]),
            issued: chrono::Utc::now(),
            now: chrono::Utc::now(),
            window: Duration::from_secs(60),
            ahead: Duration::from_secs(30),
            nonce_epoch: None,
            most: 100,
        };
        let answer = self.state.spend(spend).await;
        // Generous: the machine may be busy.
        assert!(
            begun.elapsed() < TIMEOUT + Duration::from_secs(2),
            "{:?}",
            begun.elapsed()
        );
        answer.map_err(|StateUnavailable(why)| why)
    }

    async fn recovers(&self) {
        self.fake.set(Mood::Good);
        let spending = async {
            while self.spend().await != Ok(Spent::Recorded) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let came = tokio::time::timeout(Duration::from_secs(20), spending).await;
        assert!(came.is_ok(), "it should recover");
    }

    fn last_failure(&self) -> (&'static str, &'static str) {
        let all = self.counts.0.borrow().clone();
        *all.iter()
            .rfind(|(operation, _)| *operation == "spend")
            .expect("a failure")
    }
}

#[tokio::test]
async fn answers_are_understood() {
    let bench = bench(Mood::Good).await;
    let acme = TenantId::parse("acme").expect("a tenant");
    let limits = PlanLimits {
        qps: 10,
        burst: 20,
        concurrency: 2,
        max_artifact_bytes: 1,
    };
    assert_eq!(bench.spend().await, Ok(Spent::Recorded));
    let id = LeaseId { holder: 1, number: 1 };
    let rate = Rate {
        taken: true,
        missing: 1_000_000,
    };
    let admitted = bench.state.admit(acme.clone(), limits, Some(id)).await;
    assert_eq!(
        admitted,
        Ok(Standing {
            rate,
            in_use: 0,
            leased: true
        })
    );
    assert_eq!(
        bench.state.charge(acme.clone(), limits, SharedRate::Verify).await,
        Ok(rate)
    );
    let leases = vec![(acme, vec![id])];
    assert_eq!(bench.state.renew(leases.clone()).await, Ok(0));
    assert_eq!(bench.state.release(leases).await, Ok(()));
    for (word, spent) in [
        ("spent", Spent::Replayed),
        ("older", Spent::OlderThanStore),
        ("full", Spent::Full),
    ] {
        bench.fake.set(Mood::Word(word));
        assert_eq!(bench.spend().await, Ok(spent));
    }
    assert!(bench.counts.0.borrow().is_empty());
    assert_eq!(bench.epoch.get(), 1_790_000_000_000_000);
    bench.fake.born(1_790_000_000_000_009);
    assert_eq!(bench.spend().await, Ok(Spent::Full));
    assert_eq!(
        bench.epoch.get(),
        1_790_000_000_000_009,
        "each answer tells the birth"
    );
}

#[tokio::test]
async fn what_is_wrong_is_no_answer_and_ends_the_connection() {
    for (mood, kind) in [
        (Mood::Hung, "timeout"),
        (Mood::Slow(TIMEOUT * 20), "timeout"),
        (Mood::Half, "connection"),
        (Mood::Cut, "connection"),
        (
            Mood::Error("READONLY You can't write against a read only replica."),
            "refused",
        ),
        (
            Mood::Error("LOADING Redis is loading the dataset in memory"),
            "refused",
        ),
        (Mood::Error("MASTERDOWN Link with MASTER is down"), "refused"),
        (Mood::Error("NOAUTH Authentication required."), "refused"),
        (Mood::Error("BUSY Redis is busy running a script."), "refused"),
        (Mood::Error("ERR unknown command"), "refused"),
        (Mood::Raw(b"+OK\r\n"), "answer"),
        (Mood::Raw(b":1\r\n"), "answer"),
        (Mood::Raw(b"*1\r\n$2\r\nok\r\n"), "answer"),
        (Mood::Raw(b"*3\r\n$2\r\nok\r\n:-1\r\n:1\r\n"), "answer"),
        (Mood::Raw(b"\x00\x01garbage\r\n"), "answer"),
        (Mood::Word("whatever"), "answer"),
    ] {
        let bench = bench(mood.clone()).await;
        let refused = bench.spend().await;
        assert!(refused.is_err(), "{mood:?} answers {refused:?}");
        assert_eq!(bench.last_failure(), ("spend", kind), "{mood:?}: {refused:?}");
        bench.recovers().await;
    }
}

#[tokio::test]
async fn a_hung_server_is_soon_known_to_be_down_and_then_nobody_waits() {
    let bench = bench(Mood::Hung).await;
    assert!(bench.spend().await.is_err());
    bench.until_up(false).await;
    let asked = bench.fake.seen().len();
    for _ in 0..100 {
        assert_eq!(bench.spend().await, Err("not connected".to_owned()));
    }
    assert!(bench.fake.seen().len() < asked + 10, "only the keeper asks");
    bench.recovers().await;
}

#[tokio::test]
async fn full_memory_and_wrong_clocks_are_told_and_the_connection_stays() {
    for (mood, kind) in [
        (
            Mood::Error("OOM command not allowed when used memory > 'maxmemory'."),
            "memory",
        ),
        (Mood::Word("clock"), "clock"),
        (Mood::ErrorFor("spend", "OOM command not allowed"), "memory"),
    ] {
        let bench = bench(mood).await;
        assert!(bench.spend().await.is_err());
        assert_eq!(bench.last_failure(), ("spend", kind));
        assert!(*bench.state.up().borrow());
        bench.fake.set(Mood::Good);
        assert_eq!(bench.spend().await, Ok(Spent::Recorded));
    }
}

#[tokio::test]
async fn a_forgotten_script_is_sent_again_once() {
    let bench = bench(Mood::Forgetful).await;
    assert_eq!(bench.spend().await, Ok(Spent::Recorded));
    let runs = bench.fake.seen().iter().filter(|name| *name == "spend").count();
    assert_eq!(runs, 3, "loaded, run by digest, run by text");
    assert!(bench.counts.0.borrow().is_empty());
    // What cannot be remembered is not tried forever.
    bench.fake.set(Mood::Error("NOSCRIPT No matching script."));
    assert!(bench.spend().await.is_err());
    assert_eq!(bench.last_failure(), ("spend", "refused"));
}

#[tokio::test]
async fn a_replica_is_not_used_until_it_is_the_primary() {
    let bench = bench(Mood::Error(
        "READONLY You can't write against a read only replica.",
    ))
    .await;
    assert!(bench.spend().await.is_err());
    bench.fake.set(Mood::Replica);
    bench.until_up(false).await;
    for _ in 0..3 {
        assert_eq!(bench.spend().await, Err("not connected".to_owned()));
    }
    bench.recovers().await;
}

#[tokio::test]
async fn a_server_is_told_which_memories_were_left_for_another() {
    let bench = bench(Mood::Good).await;
    let first = 1_790_000_000_000_000;
    let told = || {
        let all = bench.fake.seen();
        all.into_iter()
            .filter(|name| name.starts_with("left "))
            .collect::<Vec<_>>()
    };
    for born in [first, first + 1, first + 2] {
        bench.fake.set(Mood::Error(
            "READONLY You can't write against a read only replica.",
        ));
        assert!(bench.spend().await.is_err());
        bench.fake.set(Mood::Replica);
        bench.until_up(false).await;
        bench.fake.born(born);
        bench.recovers().await;
    }
    // The same memory again was not left, and the one that is met is none either.
    let mut told = told();
    told.dedup();
    assert_eq!(told, [format!("left {first}")]);
}

#[tokio::test]
async fn a_server_that_is_gone_is_found_again() {
    let bench = bench(Mood::Good).await;
    let address = bench.fake.address;
    let mut bench = bench;
    // The old one ends with its last clone.
    bench.fake = FakeRedis::start(Mood::Good).await;
    bench.until_up(false).await;
    assert_eq!(bench.spend().await, Err("not connected".to_owned()));
    bench.fake = FakeRedis::start_at(address, Mood::Good).await;
    bench.until_up(true).await;
    assert_eq!(bench.spend().await, Ok(Spent::Recorded));
}

#[tokio::test]
async fn probes_say_what_they_found() {
    let fake = FakeRedis::start(Mood::Good).await;
    let observer: Arc<dyn Observer> = Arc::new(signer_actors::ports::Unobserved);
    let state = RedisState::new(settings(&fake), StoreEpoch::default(), observer).expect("settings");
    assert!(
        state
            .probe()
            .await
            .is_ok_and(|found| found.starts_with("Redis 7.0.15, primary"))
    );
    fake.set(Mood::Replica);
    assert!(state.probe().await.is_err_and(|why| why.contains("replica")));
}

#[test]
fn nothing_secret_is_printed() {
    let settings = Settings {
        host: "redis.example".into(),
        port: 6379,
        tls: true,
        roots: None,
        database: 1,
        username: Some("signer".into()),
        password: Some(Zeroizing::new("correct horse".into())),
        prefix: "signer".into(),
        timeout: TIMEOUT,
        lease_life: Duration::from_secs(10),
        answer_ttl: Duration::from_secs(3600),
        answer_capacity: 1000,
        claim_life: Duration::from_secs(20),
    };
    let tenant = TenantId::parse("acme").expect("a tenant");
    assert_eq!(
        settings.rate_key(SharedRate::DryRun, &tenant),
        "{signer}:rate-dry:acme"
    );
    let state = RedisState::new(
        settings,
        StoreEpoch::default(),
        Arc::new(signer_actors::ports::Unobserved),
    );
    assert!(!format!("{state:?}").contains("horse"));
}
