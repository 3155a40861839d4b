//! The backend in its actor while Fulcio is well, hangs and is gone, on a clock of the tests.

use std::sync::atomic::{AtomicU32, Ordering};

use actix::Arbiter;
use signer_actors::runtime::{Deadline, Mailbox, start};
use signer_actors::signer::{Lease, Signer, SignerError};
use signer_actors::testing::{self, Dial, FakeClock};
use tokio::sync::watch;

use super::tests::{answer, fake, requested_key, settings};
use super::*;
use crate::x509::test_pki::{LeafSpec, TestCa};

/// How the fake Fulcio is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Well,
    /// It takes requests and says nothing.
    Hangs,
    /// Connections break off.
    Gone,
}

struct Bench {
    clock: FakeClock,
    health: Dial<Health>,
    asked: Arc<AtomicU32>,
    begun: DateTime<Utc>,
    mailbox: Mailbox<Signer>,
}

/// Certificates for 10 minutes, each used for 5; Fulcio's answer is waited for so long.
async fn bench(patience: Duration) -> Bench {
    let clock = FakeClock::default();
    // Certificates have whole seconds, and the authority is of today.
    match (Utc::now() - clock.now()).to_std() {
        Ok(ahead) => clock.jump(ahead),
        Err(_) => clock.set_back((clock.now() - Utc::now()).to_std().unwrap()),
    }
    let begun = DateTime::from_timestamp(clock.now().timestamp(), 0).unwrap();
    clock.set_back((clock.now() - begun).to_std().unwrap());
    let (ca, health, asked) = (
        TestCa::root(),
        Dial::new(Health::Well),
        Arc::new(AtomicU32::new(0)),
    );
    let roots = ca.root_pem();
    let (time, state, count) = (clock.clone(), health.clone(), Arc::clone(&asked));
    let url = fake(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        match state.get() {
            Health::Well => {
                let leaf = ca.issue(&requested_key(&request), &LeafSpec::at(time.now()));
                Some(("201 Created", answer("signedCertificateDetachedSct", &[leaf])))
            }
            Health::Hangs => None,
            Health::Gone => Some(("", Vec::new())),
        }
    })
    .await;
    let mut settings = settings(url, roots);
    settings.timeout = patience;
    let backend = FulcioBackend::new(settings, Arc::new(clock.clone())).unwrap();
    let vitals = testing::vitals();
    let actor = Signer::new(
        Arc::new(backend),
        Arc::new(clock.clone()),
        Arc::clone(&vitals.observer),
        vitals.log.clone(),
        watch::Sender::new(None),
    );
    Bench {
        mailbox: start(&Arbiter::current(), 64, vitals, move || actor),
        clock,
        health,
        asked,
        begun,
    }
}

impl Bench {
    /// The second in which the leased certificate ends, since the beginning.
    async fn lease(&self) -> Result<i64, SignerError> {
        let min_life = Duration::ZERO;
        let answer = self
            .mailbox
            .ask(Lease { min_life }, Deadline::after(Duration::from_secs(20)))
            .await;
        let key = answer.expect("the actor answers")?;
        Ok((key.identity().not_after.unwrap() - self.begun).num_seconds())
    }

    fn at(&self, second: u64) {
        let now = self.clock.monotonic();
        self.clock
            .advance(Duration::from_secs(second).saturating_sub(now));
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Polls until the certificate is the one that ends in this second; no lease fails meanwhile.
    async fn replaced_by(&self, end: i64) {
        let polling = async {
            while self.lease().await.expect("no lease fails") != end {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), polling)
            .await
            .expect("the certificate is replaced");
    }
}

#[actix::test]
async fn no_request_waits_for_a_renewal() {
    // Renewals that hang do so for longer than the test runs.
    let bench = bench(Duration::from_secs(60)).await;
    assert_eq!(bench.lease().await, Ok(600));
    bench.at(299);
    assert_eq!(bench.lease().await, Ok(600));
    assert_eq!(bench.asked(), 1, "one certificate serves all");
    bench.health.set(Health::Hangs);
    bench.at(300);
    let served = async {
        while bench.asked() < 2 {
            assert_eq!(bench.lease().await, Ok(600));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for second in [300, 420, 539] {
            bench.at(second);
            assert_eq!(bench.lease().await, Ok(600), "while the renewal hangs");
        }
    };
    timeout(Duration::from_secs(20), served)
        .await
        .expect("nobody waits");
    assert_eq!(bench.asked(), 2, "one renewal at a time");
}

#[actix::test]
async fn a_renewal_replaces_the_certificate_ahead_of_need() {
    let bench = bench(Duration::from_secs(20)).await;
    for (second, end) in [(0, 600), (300, 900), (600, 1200), (900, 1500)] {
        bench.at(second);
        bench.replaced_by(end).await;
    }
    assert_eq!(bench.asked(), 4);
}

#[actix::test]
async fn an_outage_is_felt_in_the_last_minute_and_ends_by_itself() {
    let bench = bench(Duration::from_millis(300)).await;
    assert_eq!(bench.lease().await, Ok(600));
    bench.health.set(Health::Gone);
    for second in (300..=540).step_by(20) {
        bench.at(second);
        assert_eq!(bench.lease().await, Ok(600), "second {second}");
    }
    // The last minute is nobody's: 503 `signing_backend_unavailable`.
    for second in [541, 600, 700, 5000] {
        bench.at(second);
        assert_eq!(
            bench.lease().await,
            Err(SignerError::Unavailable),
            "second {second}"
        );
    }
    bench.health.set(Health::Well);
    bench.at(6000);
    let recovered = async {
        // A try that began before fails yet; the next may begin a second later.
        while bench.lease().await.is_err() {
            bench.clock.advance(Duration::from_secs(1));
        }
    };
    timeout(Duration::from_secs(20), recovered)
        .await
        .expect("it recovers");
    assert!(bench.lease().await.is_ok_and(|end| end >= 6600));
}
