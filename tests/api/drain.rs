//! The end: what is under way is finished, what comes is sent away.

use std::time::Duration;

use signer::shutdown::drain;

use crate::support::{Child, Raw, TestApp, World, until};

#[actix::test]
async fn work_in_progress_ends_and_nothing_new_begins() {
    let mut app = TestApp::start().await;
    let service = app.service.take().unwrap();
    let lifecycle = service.state.lifecycle.clone();
    app.registry.hold();
    // A connection from before the drain.
    let mut kept = Raw::connect(app.base()).await;
    kept.send(b"GET /livez HTTP/1.1\r\nhost: signer.test\r\n\r\n")
        .await;
    assert_eq!(kept.answer().await.unwrap().status, 200);

    let under_way = app.sign().send();
    let ending = async {
        until("work in progress", || (app.registry.seen() > 0).then_some(())).await;
        let draining = actix_rt::spawn(drain(service, Duration::from_secs(20)));
        until("the drain", || lifecycle.is_draining().then_some(())).await;
        let body = kept.head(app.sign(), &["content-length: 2"]).await;
        assert!(!body.is_empty());
        kept.answer().await.unwrap().refused(503, "shutting_down", "http");
        // Whoever comes anew is refused or kept waiting, never served.
        let late = tokio::time::timeout(Duration::from_millis(300), app.sign().try_send(app.base())).await;
        assert!(!matches!(late, Ok(Ok(answer)) if answer.status == 200));
        assert!(!draining.is_finished(), "it waits for the work");
        app.registry.open();
        draining.await.unwrap()
    };
    let (answer, abandoned) = futures_util::join!(under_way, ending);
    let answer = answer.ok();
    assert_eq!(abandoned, 0);
    let trail = app.audit();
    let last = trail.last().unwrap();
    assert_eq!(last["event"], "service");
    assert_eq!(last["what"], "stopped");
    assert_eq!(app.audited(&answer["auditId"]).len(), 2);
}

#[actix::test]
async fn a_drain_that_takes_too_long_abandons_and_says_so() {
    let mut app = TestApp::start().await;
    let service = app.service.take().unwrap();
    app.registry.hold();
    let call = app.sign().tenant("slow", [10, 10, 1, 1000]);
    let under_way = tokio::time::timeout(Duration::from_secs(10), call.try_send(app.base()));
    let ending = async {
        until("work in progress", || (app.registry.seen() > 0).then_some(())).await;
        let abandoned = drain(service, Duration::from_millis(200)).await;
        app.registry.open();
        abandoned
    };
    let (answer, abandoned) = futures_util::join!(under_way, ending);
    assert_eq!(abandoned, 1);
    assert!(!matches!(answer, Ok(Ok(answer)) if answer.status == 200));
    assert_eq!(app.audit().last().unwrap()["what"], "stopped");
}

#[actix::test]
async fn a_process_that_is_told_to_end_says_ready_first_and_exits_with_0() {
    let world = World::new("").await;
    let mut child = Child::serve(&world, "told");
    assert_eq!(child.said.len(), 1, "the ready line is the first and the last");
    let ready: serde_json::Value = serde_json::from_str(&child.said[0]).unwrap();
    assert_eq!(ready["ready"], true);
    for name in ["listen", "metrics"] {
        let address: std::net::SocketAddr = ready[name].as_str().unwrap().parse().unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0);
    }
    let base = child.base.clone();
    world.sign().try_send(&base).await.unwrap().ok();
    world.registry.hold();
    let other = format!("sha256:{}", "cd".repeat(32));
    let call = world
        .sign()
        .token(|token| token.claim("scanner_image", other.clone()));
    let under_way = call
        .json(|body| body["scannerImageDigest"] = other.into())
        .try_send(&base);
    let seen = world.registry.seen();
    let ending = async {
        until("work in progress", || {
            (world.registry.seen() > seen).then_some(())
        })
        .await;
        child.terminate();
        until("the drain", || child.log().contains("draining").then_some(())).await;
        world.registry.open();
        until("the end", || child.ended()).await
    };
    let (answer, status) = futures_util::join!(under_way, ending);
    answer.unwrap().refused(403, "release_untrusted", "release");
    assert_eq!(status.code(), Some(0));
    assert_eq!(world.audit().last().unwrap()["what"], "stopped");
}
