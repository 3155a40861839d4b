//! Against an honest authority, and one that lies.

use actix_web::{HttpResponse, web};
use chrono::TimeDelta;
use signer_actors::ports::{SystemClock, TimestampSourceError};

use super::*;
use crate::adapters::jose::testkit::{self, nowhere};
use crate::dev::listener::{Bound, Running};
use crate::dev::timestamps::{Stamper, read};

/// How one answer comes about: from the authority and the question.
type Behave = fn(&Stamper, &[u8]) -> HttpResponse;

struct Bench {
    running: Running,
    stamper: web::Data<Stamper>,
}

fn bench(behave: Behave) -> Bench {
    bench_with(Stamper::generate().unwrap(), behave)
}

fn bench_with(stamper: Stamper, behave: Behave) -> Bench {
    let stamper = web::Data::new(stamper);
    let shared = stamper.clone();
    let running = Bound::any_port().unwrap().serve(move |routes| {
        let answer = move |stamper: web::Data<Stamper>, question: web::Bytes| async move {
            behave(&stamper, &question)
        };
        routes
            .app_data(shared.clone())
            .route("/tsa", web::post().to(answer));
    });
    Bench {
        running: running.unwrap(),
        stamper,
    }
}

impl Bench {
    fn settings(&self) -> Settings {
        Settings {
            url: Url::parse(&format!("{}/tsa", self.running.base_url)).unwrap(),
            chain_pem: self.stamper.chain_pem().unwrap().into(),
            tls_roots_pem: None,
            timeout: Duration::from_secs(5),
        }
    }

    async fn stamp(&self) -> Result<Timestamp, TimestampSourceError> {
        stamp(&self.settings()).await
    }
}

async fn stamp(settings: &Settings) -> Result<Timestamp, TimestampSourceError> {
    let source = HttpTimestamps::new(settings, Arc::new(SystemClock::default())).unwrap();
    source.stamp(Signature(b"signature".to_vec())).await
}

fn reply(body: Option<Vec<u8>>) -> HttpResponse {
    HttpResponse::Ok().content_type(REPLY).body(body.unwrap())
}

#[actix::test]
async fn a_timestamp_is_verified_and_whole() {
    let bench = bench(|stamper, question| {
        HttpResponse::Created()
            .content_type("application/timestamp-reply; charset=binary")
            .body(stamper.answer(question, Utc::now()).unwrap())
    });
    let before = Utc::now();
    let timestamp = bench.stamp().await.unwrap();
    assert!((before - timestamp.time).abs() < TimeDelta::seconds(5));
    let chain = Authorities::from_chain_pem(bench.stamper.chain_pem().unwrap().as_bytes()).unwrap();
    let verified = chain
        .verify(&timestamp.response, b"signature", Utc::now())
        .unwrap();
    assert_eq!(verified.time, timestamp.time);
    assert!(chain.verify(&timestamp.response, b"another", Utc::now()).is_err());
}

/// Everything that is wrong alone: whether asking again may help, and what the log says.
#[actix::test]
async fn answers_that_are_of_no_use() {
    async fn check(behave: Behave, again: bool, reason: &str) {
        let error = bench(behave).stamp().await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}, not {reason}");
        assert_eq!(
            matches!(error, TimestampSourceError::Unavailable(_)),
            again,
            "{error}"
        );
    }
    fn changed(
        stamper: &Stamper,
        question: &[u8],
        change: fn(&mut crate::dev::timestamps::Asked),
    ) -> HttpResponse {
        let mut asked = read(question).unwrap();
        change(&mut asked);
        reply(stamper.respond(&asked, Utc::now()))
    }
    check(
        |stamper, question| changed(stamper, question, |asked| asked.nonce = None),
        false,
        "has not the nonce",
    )
    .await;
    check(
        |stamper, question| changed(stamper, question, |asked| asked.nonce = Some(vec![0x41; 8])),
        false,
        "has not the nonce",
    )
    .await;
    check(
        |stamper, question| {
            changed(stamper, question, |asked| {
                let last = asked.imprint.last_mut().unwrap();
                *last ^= 1;
            })
        },
        false,
        "over something else",
    )
    .await;
    let late = |stamper: &Stamper, question: &[u8]| {
        reply(stamper.answer(question, Utc::now() - TimeDelta::seconds(40)))
    };
    // Its certificate is from now on: before that, it signs nothing.
    check(late, false, "").await;
    let early = |stamper: &Stamper, question: &[u8]| {
        reply(stamper.answer(question, Utc::now() + TimeDelta::seconds(40)))
    };
    check(early, false, "in the future").await;
    let foreign =
        |_: &Stamper, question: &[u8]| reply(Stamper::generate().unwrap().answer(question, Utc::now()));
    check(foreign, false, "no configured timestamp root").await;
    let rejected = |_: &Stamper, _: &[u8]| reply(Some(vec![0x30, 0x05, 0x30, 0x03, 0x02, 0x01, 0x02]));
    check(rejected, false, "PKIStatus 2").await;
    let page = |stamper: &Stamper, question: &[u8]| {
        HttpResponse::Ok()
            .content_type("text/html")
            .body(stamper.answer(question, Utc::now()).unwrap())
    };
    check(page, false, "timestamp-reply").await;
    check(
        |_, _| reply(Some(vec![0x30; MAX_ANSWER + 1])),
        false,
        "longer than",
    )
    .await;
    check(|_, _| reply(Some(Vec::new())), false, "strict DER").await;
    check(|_, _| HttpResponse::BadRequest().finish(), false, "answered 400").await;
    check(
        |_, _| {
            HttpResponse::Found()
                .insert_header(("location", "/other"))
                .finish()
        },
        false,
        "answered 302",
    )
    .await;
    check(
        |_, _| HttpResponse::TooManyRequests().finish(),
        true,
        "answered 429",
    )
    .await;
    check(|_, _| HttpResponse::BadGateway().finish(), true, "answered 502").await;
}

#[actix::test]
async fn an_authority_behind_the_time_is_found_out() {
    /// The service's clock, ahead.
    #[derive(Debug)]
    struct Ahead(i64);
    impl Clock for Ahead {
        fn now(&self) -> DateTime<Utc> {
            Utc::now() + TimeDelta::seconds(self.0)
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }
    let bench = bench(|stamper, question| reply(stamper.answer(question, Utc::now())));
    for (ahead, good) in [(25, true), (35, false)] {
        let source = HttpTimestamps::new(&bench.settings(), Arc::new(Ahead(ahead))).unwrap();
        let stamped = source.stamp(Signature(b"signature".to_vec())).await;
        assert_eq!(stamped.is_ok(), good, "{ahead}");
        if let Err(error) = stamped {
            assert!(error.to_string().contains("behind ours"), "{error}");
        }
    }
}

#[actix::test]
async fn silence_and_absence_are_told_apart_from_nonsense() {
    let settings = |url: Url| Settings {
        url,
        timeout: Duration::from_millis(300),
        ..bench(|_, _| HttpResponse::Ok().finish()).settings()
    };
    let silent = testkit::Server::start(|_, _| testkit::Reply::Silence).await;
    for url in [silent.url.clone(), nowhere().await] {
        let error = stamp(&settings(url)).await.unwrap_err();
        assert!(matches!(error, TimestampSourceError::Unavailable(_)), "{error}");
    }
}

/// Another certificate of the same root: verifiers that know the published one would refuse it.
#[actix::test]
async fn only_certificates_that_are_published_sign() {
    let [published, other] = Stamper::siblings().unwrap();
    let bench = bench_with(other, |stamper, question| {
        reply(stamper.answer(question, Utc::now()))
    });
    let mut settings = Settings {
        chain_pem: published.chain_pem().unwrap().into(),
        ..bench.settings()
    };
    let error = stamp(&settings).await.unwrap_err();
    assert!(error.to_string().contains("another certificate"), "{error}");
    // While it changes them, both are named.
    settings
        .chain_pem
        .extend(bench.stamper.chain_pem().unwrap().into_bytes());
    assert!(stamp(&settings).await.is_ok());
}

#[test]
fn settings_name_the_authority_itself() {
    let stamper = Stamper::generate().unwrap();
    let root = stamper.root_pem();
    assert!(
        Authorities::from_chain_pem(&root)
            .unwrap_err()
            .contains("its own certificate")
    );
    let chain = stamper.chain_pem().unwrap();
    assert_eq!(
        Authorities::from_chain_pem(chain.as_bytes())
            .unwrap()
            .own_certificates()
            .len(),
        1
    );
    assert_eq!(
        Authorities::from_chain_pem(chain.as_bytes()).unwrap().paths()[0].len(),
        2
    );
    let settings = Settings {
        url: Url::parse("http://tsa.example/").unwrap(),
        chain_pem: chain.into(),
        tls_roots_pem: None,
        timeout: Duration::from_secs(1),
    };
    let refused = HttpTimestamps::new(&settings, Arc::new(SystemClock::default()));
    assert!(refused.unwrap_err().contains("https"));
}
