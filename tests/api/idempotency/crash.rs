//! Processes that are restarted, killed, or out of disk.

use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::support::until;

/// The signature of an answer, or of a record's intent.
fn intents(world: &World) -> Vec<Value> {
    let mut records = world.audit();
    records.retain(|record| record["event"] == "intent");
    records
}

#[actix::test]
async fn answers_outlive_restarts() {
    let world = World::new("").await;
    let child = Child::serve(&world, "first");
    let first = keyless(&world, "k").try_send(&child.base).await.unwrap();
    let killed = keyless(&world, "k-2").try_send(&child.base).await.unwrap();
    drop(child);
    let mut child = Child::serve(&world, "second");
    assert_same(&first, &keyless(&world, "k").try_send(&child.base).await.unwrap());
    child.terminate();
    until("the end", || child.ended()).await;
    let child = Child::serve(&world, "third");
    assert_same(&first, &keyless(&world, "k").try_send(&child.base).await.unwrap());
    assert_same(
        &killed,
        &keyless(&world, "k-2").try_send(&child.base).await.unwrap(),
    );
    assert_eq!(signatures(&world), 2);
}

/// Whenever it is killed: who got an answer gets it again, and who did not gets one answer, which names the signature
/// that was lost if there was one.
#[actix::test]
async fn a_killed_process_keeps_what_it_answered_and_names_what_it_lost() {
    let world = World::new("").await;
    let mut child = Child::serve(&world, "killed");
    let base = child.base.clone();
    let call = |key: &str| {
        keyless(&world, key)
            .field("x-correlation-id", key)
            .tenant("busy", [10_000, 10_000, 64, 100_000])
    };
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    let (base, call, sender) = (&base, &call, &sender);
    let callers = (0..6).map(async |caller| {
        for number in 0.. {
            let key = format!("k-{caller}-{number}");
            let answer = call(&key)
                .try_send(base)
                .await
                .ok()
                .filter(|answer| answer.status == 200);
            let broken = answer.is_none();
            sender.send((key, answer)).unwrap();
            if broken {
                break;
            }
        }
    });
    let killer = async {
        let mut answers = Vec::new();
        while answers.len() < 40 {
            answers.push(done.recv().await.unwrap());
        }
        let mut random = [0];
        openssl::rand::rand_bytes(&mut random).unwrap();
        tokio::time::sleep(Duration::from_millis(u64::from(random[0]) / 4)).await;
        child.kill();
        answers
    };
    let (_, mut answers) = futures_util::join!(futures_util::future::join_all(callers), killer);
    while let Ok(answer) = done.try_recv() {
        answers.push(answer);
    }
    let before = intents(&world);

    let child = Child::serve(&world, "restarted");
    let (mut lost, mut replayed) = (0, 0);
    for (key, answer) in &answers {
        let again = call(key).try_send(&child.base).await.unwrap();
        let Some(answer) = answer else {
            lost += 1;
            let id = again.ok()["auditId"].clone();
            let earlier = before
                .iter()
                .find(|intent| intent["correlationId"] == key.as_str());
            if is_replay(&again) {
                replayed += 1;
                assert_eq!(
                    earlier.unwrap()["auditId"],
                    id,
                    "{key}: it was kept, and its answer lost"
                );
            } else if let Some(earlier) = earlier {
                assert_eq!(world.audited(&id)[0]["retryOf"], earlier["auditId"], "{key}");
            }
            assert_same_later(&again, &call(key).try_send(&child.base).await.unwrap());
            continue;
        };
        assert_same(answer, &again);
    }
    assert_eq!(lost, 6, "each caller's last");
    println!(
        "{} answers, {replayed} of {lost} lost ones replayed",
        answers.len()
    );
}

#[track_caller]
fn assert_same_later(first: &Answer, again: &Answer) {
    assert_eq!(first.body, again.body);
    assert!(is_replay(again));
}

/// A full disk, as a limit on the size of files has it.
#[actix::test]
async fn a_full_disk_is_a_fast_503_and_passes_without_a_restart() {
    let world = World::new("").await;
    let child = Child::serve_with_file_limit(&world, "full", 16);
    let limit = |bytes: &str| {
        let pid = child.pid().to_string();
        let set = Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")])
            .status();
        assert!(set.unwrap().success(), "prlimit (util-linux)");
    };
    limit("unlimited");
    let first = keyed(&world, "k").try_send(&child.base).await.unwrap();
    first.ok();
    limit("16384");
    let refused = keyed(&world, "k-2").try_send(&child.base).await.unwrap();
    refused.refused(503, "state_unavailable", "idempotency");
    let begun = Instant::now();
    let refused = keyed(&world, "k-3").try_send(&child.base).await.unwrap();
    refused.refused(503, "state_unavailable", "idempotency");
    assert!(begun.elapsed() < Duration::from_secs(2), "a fast 503");
    limit("unlimited");
    let recovered = async {
        loop {
            let answer = keyed(&world, "k-2").try_send(&child.base).await.unwrap();
            if answer.status == 200 {
                return answer;
            }
        }
    };
    let second = tokio::time::timeout(Duration::from_secs(20), recovered)
        .await
        .expect("signatures again");
    assert_same_later(
        &second,
        &keyed(&world, "k-2").try_send(&child.base).await.unwrap(),
    );
    assert_same(&first, &keyed(&world, "k").try_send(&child.base).await.unwrap());
}
