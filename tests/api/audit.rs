//! The trail: everything that left is in it, whatever happens to the process.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::sign::envelope;
use crate::support::{Child, KEY, SIGNER, TestApp, World, journal_groups, sha256_hex, until};

/// `signer audit verify DIR`, as an auditor runs it.
fn verify(world: &World) -> String {
    let output = Command::new(SIGNER)
        .args(["audit", "verify", "--key", &world.checkpoint_key().to_string()])
        .arg(world.audit_folder())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// An answer's intent and outcome, in this order, and what they say of it.
fn assert_recorded(trail: &BTreeMap<String, Vec<Value>>, answer: &Value) {
    let id = answer["auditId"].as_str().unwrap();
    let records = trail.get(id).unwrap_or_else(|| panic!("{id} left no trace"));
    let [intent, outcome] = records.as_slice() else {
        panic!("{id}: {records:?}");
    };
    let (payload, signature) = envelope(answer);
    assert_eq!(intent["event"], "intent");
    assert_eq!(intent["payloadDigest"], sha256_hex(&payload));
    assert_eq!(outcome["event"], "outcome");
    assert_eq!(outcome["outcome"], "signed");
    assert_eq!(outcome["signatureDigest"], sha256_hex(&signature));
}

/// Records by audit id.
fn by_id(world: &World) -> BTreeMap<String, Vec<Value>> {
    let mut trail: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in world.audit() {
        if let Some(id) = record["auditId"].as_str() {
            trail.entry(id.to_owned()).or_default().push(record);
        }
    }
    trail
}

#[actix::test]
async fn a_signature_is_recorded_in_full_before_it_leaves() {
    let app = TestApp::start().await;
    let answer = app.sign().field("x-correlation-id", "trail-1").send().await.ok();
    // No waiting: it was durable before the answer.
    assert_recorded(&by_id(&app), &answer);
    let intent = app.audited(&answer["auditId"]).remove(0);
    for (name, expected) in [
        ("correlationId", json!("trail-1")),
        ("license", json!("lic-1")),
        ("plan", json!("pro")),
        ("scannerDigest", json!(app.mint.scanner)),
        ("releaseTag", json!("2026.10")),
        ("scannerBound", json!(true)),
        ("subjects", json!([format!("sha256:{}", "ab".repeat(32))])),
        ("subjectCount", json!(1)),
        ("predicateType", json!("https://stella.ops/report/v1")),
        ("backend", json!(KEY)),
        ("schema", json!(1)),
    ] {
        assert_eq!(intent[name], expected, "{name}");
    }
    let caller = json!({
        "tenant": "acme", "installation": "acme-1", "subject": "scanner-7", "clientId": "scanner",
        "senderBinding": "dpop",
    });
    assert_eq!(intent["caller"], caller);
    let summary = verify(&app);
    assert!(summary.contains("intents 1, outcomes 1, signed 1"), "{summary}");
}

#[actix::test]
async fn refusals_are_recorded_under_the_id_that_the_problem_names() {
    let app = TestApp::start().await;
    let answer = app.sign().poe(|poe| poe.claim("tid", "globex")).send().await;
    let problem = answer.refused(403, "tenant_mismatch", "entitlement");
    assert!(problem["auditId"].is_string());
    let records = until("the record", || {
        Some(app.audited(&problem["auditId"])).filter(|records| !records.is_empty())
    })
    .await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["event"], "refusal");
    assert_eq!(records[0]["code"], "tenant_mismatch");
    assert_eq!(records[0]["stage"], "entitlement");
    assert_eq!(records[0]["caller"]["tenant"], "acme");
    assert_eq!(records[0]["correlationId"], problem["correlationId"]);
    assert_eq!(records[0]["dryRun"], false);
}

#[actix::test]
async fn a_refused_body_is_recorded_with_who_sent_it() {
    let app = TestApp::start().await;
    let proven = |body: &'static str| {
        let digest = BASE64_URL_SAFE_NO_PAD.encode(openssl::sha::sha256(body.as_bytes()));
        app.sign()
            .bytes(body)
            .proof(|proof| proof.claim("body_sha256", digest))
    };
    let rows = [
        (app.sign().bytes("{"), (400, "invalid_json", "body")),
        (proven("{}"), (400, "invalid_request", "shape")),
        (
            app.sign().json(|body| body["subject"] = json!([])),
            (422, "invalid_subject", "shape"),
        ),
    ];
    for (call, (status, code, stage)) in rows {
        let problem = call.send().await.refused(status, code, stage);
        let records = until("the record", || {
            Some(app.audited(&problem["auditId"])).filter(|records| !records.is_empty())
        })
        .await;
        let [record] = records.as_slice() else {
            panic!("{records:?}")
        };
        let told = [
            &record["event"],
            &record["stage"],
            &record["code"],
            &record["caller"]["tenant"],
        ];
        assert_eq!(told, ["refusal", stage, code, "acme"]);
    }
}

/// Strangers are recorded, but could fill the trail: at a bounded rate, and the rest is counted.
#[actix::test]
async fn strangers_leave_a_bounded_number_of_records() {
    let app = TestApp::with("audit.unauthenticated_burst = 2").await;
    let anonymous = async || {
        let answer = app.sign().anonymous().send().await;
        let problem = answer.refused(401, "invalid_token", "authentication");
        assert_eq!(problem["auditId"], json!(null), "it is not waited for");
    };
    let of_strangers = || {
        let mut records = app.audit();
        records.retain(|record| record["event"] == "stranger-refusal");
        records
    };
    let mut sent = 0;
    // However slow this machine is: until some were left out, and a record has said so.
    let told = loop {
        anonymous().await;
        sent += 1;
        let told = of_strangers()
            .iter()
            .find(|record| record["leftOut"] != 0)
            .cloned();
        match told {
            Some(told) => break told,
            None => assert!(sent < 500, "none was left out"),
        }
    };
    for (name, expected) in [
        ("schema", json!(1)),
        ("scope", json!("signer.sign")),
        ("stage", json!("authentication")),
        ("code", json!("invalid_token")),
    ] {
        assert_eq!(told[name], expected, "{name}");
    }
    assert!(told["correlationId"].is_string() && told["caller"] == json!(null));
    let records = of_strangers();
    let left_out: u64 = records
        .iter()
        .map(|record| record["leftOut"].as_u64().unwrap())
        .sum();
    assert!(records.len() as u64 + left_out <= sent);
    assert_eq!(records[0]["leftOut"], 0);
    let metrics = app.metrics().await;
    let counted = |result: &str| -> u64 {
        let name = format!("signer_audit_unauthenticated_refusals_total{{result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap().parse().unwrap()
    };
    assert!(counted("recorded") >= records.len() as u64);
    assert!(counted("left_out") >= left_out);
    verify(&app);
}

#[actix::test]
async fn a_start_is_recorded_with_what_was_trusted() {
    let app = TestApp::start().await;
    let first = app.audit().remove(0);
    assert_eq!(first["event"], "service");
    assert_eq!(first["what"], "started");
    let keys = app.http.get(format!("{}/api/v1/signer/trust/keys", app.base()));
    let keys = keys.send().await.unwrap().bytes().await.unwrap();
    assert_eq!(first["facts"]["publishedKeysDigest"], sha256_hex(&keys));
}

/// A full disk, as a limit on the size of files has it: nothing is signed, quickly, until there is room again.
#[actix::test]
async fn a_trail_that_cannot_be_written_stops_signatures_and_nothing_else() {
    let world = World::new("").await;
    let child = Child::serve_with_file_limit(&world, "full", 16);
    let sign = || async { world.sign().try_send(&child.base).await.unwrap() };
    let mut answers = Vec::new();
    let refused = loop {
        let answer = sign().await;
        match answer.status {
            200 => answers.push(answer.ok()),
            _ => break answer,
        }
        assert!(answers.len() < 100, "16 KiB are full by now");
    };
    refused.refused(503, "audit_unavailable", "audit");
    assert!(answers.len() >= 3);
    let begun = std::time::Instant::now();
    sign().await.refused(503, "audit_unavailable", "audit");
    assert!(begun.elapsed() < Duration::from_secs(2), "a fast 503");
    let ready = world.http.get(format!("{}/readyz", child.base));
    assert_eq!(ready.send().await.unwrap().status(), 503);
    let trust = world.http.get(format!("{}/api/v1/signer/trust", child.base));
    assert_eq!(trust.send().await.unwrap().status(), 200);

    // There is room again.
    let lifted = Command::new("prlimit")
        .args(["--pid", &child.pid().to_string(), "--fsize=unlimited:unlimited"])
        .status();
    // Without it the recovery would go unproven.
    assert!(
        lifted.is_ok_and(|status| status.success()),
        "prlimit (util-linux) lifts the limit"
    );
    let waited = async {
        loop {
            let answer = sign().await;
            if answer.status == 200 {
                return answer.ok();
            }
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(10), waited).await;
    answers.push(again.expect("signatures again"));
    let trail = by_id(&world);
    answers.iter().for_each(|answer| assert_recorded(&trail, answer));
    verify(&world);
}

/// Six callers sign without end until the process is killed, a random while after this many answers. What they received.
async fn killed_while_signing(world: &World, child: &mut Child, answers: usize) -> Vec<Value> {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let base = child.base.clone();
    let caller = async || {
        while let Ok(answer) = world
            .sign()
            .tenant("busy", [10_000, 10_000, 64, 1000])
            .try_send(&base)
            .await
        {
            sender.send(answer.ok()).unwrap();
        }
    };
    let mut received = Vec::new();
    let killer = async {
        while received.len() < answers {
            received.push(receiver.recv().await.unwrap());
        }
        let mut random = [0];
        openssl::rand::rand_bytes(&mut random).unwrap();
        tokio::time::sleep(Duration::from_millis(u64::from(random[0]))).await;
        child.kill();
    };
    // Keep-alive connections break with the process, and that ends the callers.
    let callers = futures_util::future::join_all((0..6).map(|_| caller()));
    futures_util::join!(callers, killer);
    drop(sender);
    while let Some(answer) = receiver.recv().await {
        received.push(answer);
    }
    received
}

/// `SIGNER_ROUNDS=200 cargo test --test api killed_again -- --ignored --nocapture`
#[actix::test]
#[ignore = "takes minutes"]
async fn killed_again_and_again_nothing_that_was_answered_is_lost() {
    let rounds = std::env::var("SIGNER_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap());
    let world = World::new("audit.checkpoint_interval = \"100ms\"").await;
    let (mut received, mut last) = (Vec::new(), 0);
    for round in 0..rounds {
        let mut child = Child::serve(&world, &format!("round-{round}"));
        received.extend(killed_while_signing(&world, &mut child, round % 20).await);
        let summary = Command::new(SIGNER)
            .args(["audit", "verify", "--key", &world.checkpoint_key().to_string()])
            .arg(world.audit_folder())
            .output()
            .unwrap();
        // A torn end is told, and repaired by the next start.
        let said = String::from_utf8_lossy(&summary.stderr).into_owned();
        assert!(
            summary.status.success() || said.contains("torn write"),
            "round {round}: {said}"
        );
        let records = world.audit().len();
        assert!(records >= last, "round {round}");
        last = records;
    }
    drop(Child::serve(&world, "last"));
    let trail = by_id(&world);
    received.iter().for_each(|answer| assert_recorded(&trail, answer));
    let open = |records: &&Vec<Value>| records[0]["event"] == "intent" && records.len() != 2;
    assert_eq!(trail.values().find(open), None);
    let unknown = trail
        .values()
        .filter(|records| records.len() == 2 && records[1]["outcome"] == "unknown");
    println!(
        "{rounds} kills, {} answers, {} closed as unknown",
        received.len(),
        unknown.count()
    );
    verify(&world);
}

#[actix::test]
async fn a_killed_process_leaves_no_answer_without_its_records() {
    let world = World::new("").await;
    let mut child = Child::serve(&world, "killed");
    let received = killed_while_signing(&world, &mut child, 50).await;

    let trail = by_id(&world);
    received.iter().for_each(|answer| assert_recorded(&trail, answer));
    let orphans: Vec<String> = trail
        .iter()
        .filter(|(_, records)| records.len() == 1 && records[0]["event"] == "intent")
        .map(|(id, _)| id.clone())
        .collect();

    // The next start closes what the last one left open, and goes on.
    let child = Child::serve(&world, "restarted");
    let answer = world.sign().try_send(&child.base).await.unwrap().ok();
    let trail = by_id(&world);
    assert_recorded(&trail, &answer);
    received.iter().for_each(|answer| assert_recorded(&trail, answer));
    for id in &orphans {
        assert_eq!(trail[id].len(), 2);
        assert_eq!(trail[id][1]["outcome"], "unknown");
    }
    for records in trail.values().filter(|records| records[0]["event"] == "intent") {
        assert_eq!(records.len(), 2, "every intent has its outcome");
    }
    let starts = world
        .audit()
        .iter()
        .filter(|record| record["what"] == "started")
        .count();
    assert_eq!(starts, 2);
    drop(child);
    println!("{} answers, {} orphans", received.len(), orphans.len());
    verify(&world);
}

/// A group with these entries in the place of another.
fn journal_group(other: &[u8], entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    entries
        .iter()
        .for_each(|entry| assert!(signer::tlog::push_entry(&mut bytes, entry)));
    let mut group = b"SLJ1".to_vec();
    group.extend((entries.len() as u32).to_be_bytes());
    group.extend((bytes.len() as u32).to_be_bytes());
    group.extend(&other[12..20]);
    let digest = sha256_hex(&[&group[..], &bytes].concat());
    group.extend(hex::decode(digest).unwrap());
    group.extend(bytes);
    group
}

/// As if the power had gone after an intent and before its outcome reached the disk.
#[actix::test]
async fn an_intent_without_outcome_is_closed_as_unknown_by_the_next_start() {
    // No checkpoint that covers the outcome: that one would be missed.
    let world = World::new("audit.checkpoint_interval = \"1h\"").await;
    let mut child = Child::serve(&world, "first");
    world.sign().try_send(&child.base).await.unwrap().ok();
    let lost = world.sign().try_send(&child.base).await.unwrap().ok();
    child.kill();
    let segment = world.audit_folder().join("journal/00000000000000000000");
    let mut journal = std::fs::read(&segment).unwrap();
    let (last, entries) = journal_groups(&journal).last().unwrap();
    let outcome = journal.split_off(last);
    // The group of both, as if the intent had been alone in it.
    assert_eq!(entries.len(), 2);
    journal.extend(journal_group(&outcome, &entries[..1]));
    // Torn in the middle of the group.
    journal.extend(&outcome[..outcome.len() - 30]);
    std::fs::write(&segment, &journal).unwrap();

    let child = Child::serve(&world, "second");
    let records = world.audited(&lost["auditId"]);
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["event"], "intent");
    assert_eq!(records[1]["outcome"], "unknown");
    assert_eq!(records[1]["signatureDigest"], json!(null));
    world.sign().try_send(&child.base).await.unwrap().ok();
    drop(child);
    assert!(verify(&world).contains("intents without outcome: 0"));
    // Closed once, not by every start.
    drop(Child::serve(&world, "third"));
    assert_eq!(world.audited(&lost["auditId"]).len(), 2);
}

#[actix::test]
async fn one_folder_has_one_writer() {
    let world = World::new("").await;
    let _child = Child::serve(&world, "first");
    let second = Command::new(SIGNER)
        .args(["serve", "--config"])
        .arg(world.config_file())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("audit"));
}

/// A trail in the place of another, by who may write the directory: a checkpoint that was kept elsewhere tells.
#[actix::test]
async fn a_start_with_another_trail_than_the_one_that_was_kept_of_is_refused() {
    let world = World::new("audit.checkpoint_interval = \"100ms\"").await;
    let child = Child::serve(&world, "first");
    let (folder, file) = (world.audit_folder(), world.audit_folder().join("checkpoint"));
    let kept = until("a checkpoint over a record", || {
        let note = std::fs::read_to_string(&file).ok()?;
        (note.lines().nth(1)? != "0").then_some(note)
    })
    .await;
    drop(child);
    world.write("held.note", &kept);
    let run = |command: &[&str]| {
        // A service that starts all the same does not end by itself.
        let output = Command::new("timeout")
            .args(["--signal=KILL", "60", SIGNER])
            .args(command)
            .arg("--config")
            .arg(world.config_file())
            .env("SIGNER__AUDIT__HELD_CHECKPOINT", "held.note")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (_, said) = run(&["check", "--offline"]);
    assert!(said.contains("goes on from the checkpoint"), "{said}");

    let away = folder.with_extension("before");
    std::fs::rename(&folder, &away).unwrap();
    let (code, said) = run(&["serve"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("has lost records"), "{said}");
    let (code, said) = run(&["check", "--offline"]);
    assert_ne!(code, Some(0));
    assert!(said.contains("has lost records"), "{said}");
}
