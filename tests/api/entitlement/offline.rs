//! A signed licence file in place of Licensing.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use signer::bootstrap;
use signer_actors::ports::{Clock, SystemClock};
use signer_actors::runtime::Deadline;

use crate::support::{Answer, Draft, SIGNER, TestApp, World, p256};

const OFFLINE: &str = r#"
    [entitlement]
    mode = "offline"
    licence_file = "licence.jwt"
    introspection_url = ""
    credential = ""
"#;

async fn world() -> World {
    let world = World::new(OFFLINE).await;
    put(&world, 1, |_| ());
    world
}

fn put(world: &World, version: u64, edit: impl FnOnce(&mut Draft)) {
    world.write("licence.jwt", world.mint.licence_file(version, edit));
}

fn licence(edit: impl FnOnce(&mut Value)) -> impl FnOnce(&mut Draft) {
    |draft| edit(&mut draft.claims["licences"][0])
}

/// Signs until the answer is as wanted: the file is looked at every two seconds.
async fn until_signing(app: &TestApp, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let answer = app.sign().send().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{}", answer.text());
        // A plan has its rate.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn cannot_start(world: &World, expected: &str) {
    cannot_start_at(world, Arc::new(SystemClock::default()), expected).await;
}

async fn cannot_start_at(world: &World, clock: Arc<dyn Clock>, expected: &str) {
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let why = match bootstrap::start_at(&world.settings(), log, clock).await {
        Ok(_) => panic!("started; expected {expected}"),
        Err(error) => error.to_string(),
    };
    assert!(
        why.starts_with("entitlement: ") && why.contains(expected),
        "{expected}: {why}"
    );
}

#[actix::test]
async fn it_signs_without_asking_anyone_and_the_file_narrows() {
    let app = TestApp::within(world().await).await;
    let answer = app.sign().send().await.ok();
    assert_eq!(
        (&answer["policy"]["plan"], &answer["policy"]["qps"]),
        (&json!("pro"), &json!(100))
    );
    // The proof is verified all the same.
    let foreign = p256();
    app.sign()
        .poe(|poe| poe.key = foreign)
        .send()
        .await
        .refused(403, "entitlement_invalid", "entitlement");
    app.sign()
        .poe(Draft::expired)
        .send()
        .await
        .refused(403, "entitlement_expired", "entitlement");
    let unlisted = app.sign().poe(|poe| poe.claim("lic", "lic-2")).send().await;
    let problem = unlisted.refused(403, "entitlement_invalid", "entitlement");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("does not list this licence"),
        "{problem}"
    );
    app.sign()
        .poe(|poe| poe.claim("tid", "globex"))
        .send()
        .await
        .refused(403, "entitlement_invalid", "entitlement");
    assert_eq!(app.licensing.asked(), 0);
    let metrics = app.metrics().await;
    assert!(metrics.contains("\nsigner_licence_file_version 1\n"));
    let started = app
        .audit()
        .into_iter()
        .find(|record| record["what"] == "started")
        .unwrap();
    assert_eq!(started["facts"]["licenceFileVersion"], "1");
}

#[actix::test]
async fn a_new_file_counts_within_seconds_and_an_old_one_never_again() {
    let app = TestApp::within(world().await).await;
    let first = std::fs::read(app.folder.path().join("licence.jwt")).unwrap();
    app.sign().send().await.ok();
    put(
        &app.world,
        2,
        licence(|licence| licence["limits"] = json!({ "qps": 7 })),
    );
    let answer = until_signing(&app, |answer| answer.ok()["policy"]["qps"] == 7).await;
    assert_eq!(answer.ok()["policy"]["burst"], 200, "the token's own");
    // Version 1, which did not narrow, is put back; a torn file follows.
    let refused = |count: usize| format!("\nsigner_licence_file_refusals_total {count}\n");
    for (count, content) in [(1, first), (2, b"torn".to_vec())] {
        app.write("licence.jwt", content);
        while !app.metrics().await.contains(&refused(count)) {
            assert_eq!(app.sign().send().await.ok()["policy"]["qps"], 7);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    put(&app.world, 3, licence(|licence| licence["revoked"] = json!(true)));
    let answer = until_signing(&app, |answer| answer.status != 200).await;
    answer.refused(403, "entitlement_revoked", "entitlement");
    let versions = || -> Vec<Value> {
        app.audit()
            .into_iter()
            .filter(|record| record["what"] == "licence-file")
            .map(|record| record["facts"]["licenceFileVersion"].clone())
            .collect()
    };
    // Recorded beside requests, so perhaps a moment after the first that felt it.
    let recorded = async {
        while versions().len() < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), recorded).await;
    assert_eq!(versions(), ["2", "3"], "changes of trust are in the trail");
}

#[actix::test]
async fn a_file_that_expires_makes_entitlement_unavailable_not_expired() {
    let world = world().await;
    put(&world, 2, |draft| draft.claim("exp", crate::support::now() + 3));
    let app = TestApp::within(world).await;
    app.sign().send().await.ok();
    // Kept facts do not outlive the file, and the proof itself is good.
    until_signing(&app, |answer| answer.status != 200).await.refused(
        503,
        "entitlement_unavailable",
        "entitlement",
    );
    put(&app.world, 3, |_| ());
    until_signing(&app, |answer| answer.status == 200).await.ok();
}

#[actix::test]
async fn it_does_not_start_with_a_file_that_does_not_hold() {
    let world = world().await;
    for (what, content) in [
        ("compact JWS", "torn".to_owned()),
        ("expired", world.mint.licence_file(1, Draft::expired)),
        (
            "`typ`",
            world
                .mint
                .licence_file(1, |draft| draft.header["typ"] = json!("poe+jwt")),
        ),
        ("`typ`", world.mint.poe(|_| ())),
        (
            "signature",
            world.mint.licence_file(1, |draft| draft.key = p256()),
        ),
        (
            "`iat`",
            world
                .mint
                .licence_file(1, |draft| draft.claim("iat", crate::support::now() + 300)),
        ),
        (
            "`licences[0]`",
            world
                .mint
                .licence_file(1, licence(|licence| licence["revokd"] = json!(true))),
        ),
    ] {
        world.write("licence.jwt", content);
        cannot_start(&world, what).await;
    }
}

#[actix::test]
async fn signer_check_says_what_it_sees_of_the_file() {
    let world = world().await;
    let check = || {
        let mut command = Command::new(SIGNER);
        command
            .args(["check", "--offline", "--json", "--config"])
            .arg(world.config_file());
        let output = command.env_clear().output().unwrap();
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        let all = findings
            .as_array()
            .or_else(|| findings["findings"].as_array())
            .unwrap()
            .clone();
        all.into_iter()
            .find(|finding| finding["what"] == "licence file")
            .expect("a finding")
    };
    put(&world, 12, licence(|licence| licence["revoked"] = json!(true)));
    let finding = check();
    assert_eq!(finding["level"], "ok");
    let detail = finding["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("version 12, expires 20") && detail.ends_with("1 licences, 1 of them revoked"),
        "{detail}"
    );
    assert!(
        !world.folder.path().join("state").exists(),
        "looking writes nothing"
    );
    world.write("licence.jwt", "torn");
    assert_eq!(check()["level"], "failure");
}

/// A clock that is behind.
#[derive(Debug)]
struct Behind(SystemClock, TimeDelta);

impl Clock for Behind {
    fn now(&self) -> DateTime<Utc> {
        self.0.now() - self.1
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

#[actix::test]
async fn it_does_not_start_far_behind_its_last_audit_record() {
    let world = world().await;
    // Old enough that only the trail can tell.
    put(&world, 2, |draft| {
        draft.claim("iat", crate::support::now() - 86_400)
    });
    let mut app = TestApp::within(world).await;
    let service = app.service.take().expect("running");
    for server in &service.servers {
        server.stop(false).await;
    }
    service.stop_actors(Deadline::after(Duration::from_secs(5))).await;
    let behind = |by| Arc::new(Behind(SystemClock::default(), by));
    cannot_start_at(
        &app.world,
        behind(TimeDelta::minutes(10)),
        "s behind what licence file, audit trail",
    )
    .await;
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let started = bootstrap::start_at(&app.world.settings(), log, behind(TimeDelta::minutes(2))).await;
    assert!(started.is_ok(), "a correction by NTP: {:?}", started.err());
}
