//! A service whose state is in a store that replicas share, when that store is not there.

#[path = "../../src/adapters/redis/tests/fake.rs"]
#[allow(dead_code, reason = "the adapter's own tests use the rest")]
mod fake;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fake::{FakeRedis, Mood};

use crate::support::{Answer, TestApp, World};

/// Whose store is at this port of loopback.
pub(crate) async fn world(port: u16) -> World {
    let changes = format!(
        "[state]\nstore = \"redis\"\nurl = \"redis://127.0.0.1:{port}\"\n\
         [auth.dpop]\nnonce = \"optional\"\nnonce_key = \"file:nonce.key\"\n"
    );
    let world = World::new(&changes).await;
    world.write("nonce.key", "0f".repeat(32));
    world
}

async fn app(fake: &FakeRedis) -> TestApp {
    TestApp::within(world(fake.address.port()).await).await
}

async fn is_ready(app: &TestApp) -> bool {
    let answer = app
        .http
        .get(format!("{}/readyz", app.operations))
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert_eq!(text.contains(r#""state":"ok""#), status == 200, "{text}");
    status == 200
}

/// Signs; the answer, and that it came in time.
async fn sign(app: &TestApp) -> Answer {
    let begun = Instant::now();
    let answer = app.sign().send().await;
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "after {:?}",
        begun.elapsed()
    );
    answer
}

async fn until_signed(app: &TestApp) {
    let signing = async {
        while app.sign().send().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), signing)
        .await
        .expect("it recovers");
}

#[actix::test]
async fn a_store_that_is_down_is_a_fast_503_and_recovers() {
    let address = {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        held.local_addr().unwrap()
    };
    let app = TestApp::within(world(address.port()).await).await;
    for _ in 0..3 {
        sign(&app)
            .await
            .refused(503, "state_unavailable", "authentication");
    }
    assert!(!is_ready(&app).await);
    let metrics = app.metrics().await;
    assert!(
        metrics.contains("signer_state_up{store=\"redis\"} 0"),
        "{metrics}"
    );
    assert!(
        metrics.contains(r#"signer_state_errors_total{kind="down",operation="spend"} 3"#),
        "{metrics}"
    );
    let _fake = FakeRedis::start_at(SocketAddr::from(([127, 0, 0, 1], address.port())), Mood::Good).await;
    until_signed(&app).await;
    assert!(is_ready(&app).await);
    assert!(app.metrics().await.contains("signer_state_up{store=\"redis\"} 1"));
}

#[actix::test]
async fn a_hung_store_makes_nobody_wait_for_long() {
    let fake = FakeRedis::start(Mood::Good).await;
    let app = app(&fake).await;
    sign(&app).await.ok();
    fake.set(Mood::Hung);
    for _ in 0..5 {
        sign(&app)
            .await
            .refused(503, "state_unavailable", "authentication");
    }
    fake.set(Mood::Good);
    until_signed(&app).await;
}

#[actix::test]
async fn each_gate_that_needs_the_store_says_so() {
    let fake = FakeRedis::start(Mood::Good).await;
    let app = app(&fake).await;
    let full = "OOM command not allowed when used memory > 'maxmemory'.";
    fake.set(Mood::ErrorFor("spend", full));
    sign(&app)
        .await
        .refused(503, "state_unavailable", "authentication");
    fake.set(Mood::ErrorFor("admit", full));
    let problem = sign(&app).await.refused(503, "state_unavailable", "quota");
    assert!(
        !problem.to_string().contains("memory"),
        "operators are told why, callers are not"
    );
    // A dry run needs it for its own rate, and to look at the plan's.
    fake.set(Mood::ErrorFor("charge", full));
    let dry = app.sign().option("dryRun", true).send().await;
    dry.refused(503, "state_unavailable", "quota");
    app.referrers("")
        .send()
        .await
        .refused(400, "invalid_request", "shape");
    fake.set(Mood::Good);
    sign(&app).await.ok();
}

#[actix::test]
async fn what_the_store_says_is_what_callers_hear() {
    let fake = FakeRedis::start(Mood::Good).await;
    let app = app(&fake).await;
    fake.set(Mood::Word("spent"));
    sign(&app)
        .await
        .refused(401, "invalid_dpop_proof", "authentication");
    fake.set(Mood::Word("full"));
    sign(&app).await.refused(503, "overloaded", "authentication");
    fake.set(Mood::Word("older"));
    let answer = sign(&app).await;
    answer.refused(401, "use_dpop_nonce", "authentication");
    let first = answer.header("dpop-nonce").unwrap().to_owned();
    // Another memory, another nonce: known from the very answer that refuses the old one.
    fake.born(1_790_000_000_000_001);
    let second = sign(&app).await.header("dpop-nonce").unwrap().to_owned();
    assert_ne!(first, second);
    fake.set(Mood::Good);
    let with = |nonce: String| app.sign().proof(move |proof| proof.claim("nonce", nonce));
    with(second).send().await.ok();
}
