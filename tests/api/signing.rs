//! The keys, and what becomes of a signature that is none.

use std::time::Duration;

use crate::support::{RETIRED_FROM, RETIRED_KEY, TestApp, World, until};

#[actix::test]
async fn a_certificate_must_live_as_long_as_asked() {
    let app = TestApp::start().await;
    let call = |seconds: u64| {
        let call = app.sign().option("signingMode", "keyless");
        call.option("expirySeconds", seconds)
    };
    call(120).send().await.ok();
    // Certificates live for ten minutes, and none is used in its last: nothing has 600 s left.
    call(600)
        .send()
        .await
        .refused(503, "signing_backend_unavailable", "signing");
    // A key without a certificate lives for ever.
    app.sign().option("expirySeconds", 600).send().await.ok();
}

#[actix::test]
async fn one_certificate_serves_many_signatures() {
    let app = TestApp::start().await;
    let call = || app.sign().option("signingMode", "keyless").send();
    let first = call().await.ok();
    let asked = app.fulcio.seen();
    let answers = futures_util::future::join_all((0..10).map(|_| call())).await;
    for answer in answers {
        let chain = answer.ok()["bundle"]["certificateChain"].clone();
        assert_eq!(chain, first["bundle"]["certificateChain"]);
    }
    assert_eq!(app.fulcio.seen(), asked);
}

#[actix::test]
async fn a_service_whose_authority_is_down_signs_with_its_keys_and_recovers() {
    let world = World::new("").await;
    world.fulcio.answers(503);
    let app = TestApp::within(world).await;
    let keyless = || app.sign().option("signingMode", "keyless");
    keyless()
        .send()
        .await
        .refused(503, "signing_backend_unavailable", "signing");
    app.sign().send().await.ok();
    app.fulcio.open();
    // However long the circuit stays open, it closes again.
    let recovered = async {
        while keyless().send().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recovered)
        .await
        .expect("a signature");
}

#[actix::test]
async fn a_certificate_for_someone_else_is_not_used() {
    let world = World::expecting("https://stellaops.local/another").await;
    let app = TestApp::within(world).await;
    let answer = app.sign().option("signingMode", "keyless").send().await;
    assert!([502, 503].contains(&answer.status), "{}", answer.text());
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    assert!(code.starts_with("signing_backend_"), "{code}");
    answer.refused(answer.status, &code, "signing");
    assert!(app.audit().iter().all(|record| record["outcome"] != "signed"));
}

#[actix::test]
async fn a_retired_key_is_published_and_signs_no_more() {
    let app = TestApp::start().await;
    let key = crate::sign::published_key(&app, RETIRED_KEY).await;
    assert_eq!(
        (&key["state"], &key["notAfter"]),
        (&"retired".into(), &RETIRED_FROM.into())
    );
    let features = ["mode:kms", "predicate:*", "key:main-2025"];
    let call = app.sign().option("keyId", RETIRED_KEY);
    let answer = call
        .poe(|poe| poe.claim("features", features.as_slice()))
        .send()
        .await;
    answer.refused(403, "mode_not_entitled", "entitlement");
    // Nor does it keep the service from being ready.
    let ready = until_ready(&app).await;
    assert_eq!(ready, 200);
}

async fn until_ready(app: &TestApp) -> u16 {
    let mut status = 0;
    for _ in 0..200 {
        let url = format!("{}/readyz", app.base());
        status = app.http.get(url).send().await.unwrap().status().as_u16();
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    status
}

#[actix::test]
async fn what_cosign_signs_is_never_signed_here() {
    // A signature over this type would make a release (contract §7), so no configuration allows it.
    let app = TestApp::with("signing.predicate_types = [\"https://*\"]").await;
    let call = || {
        app.sign()
            .json(|body| body["predicateType"] = "https://sigstore.dev/cosign/sign/v1".into())
    };
    call()
        .send()
        .await
        .refused(403, "predicate_not_allowed", "entitlement");
    app.sign()
        .json(|body| body["predicateType"] = "https://any.example/v1".into())
        .send()
        .await
        .ok();
    let service = app.service.as_ref().unwrap();
    until("nothing in flight", || (service.in_flight() == 0).then_some(())).await;
}
