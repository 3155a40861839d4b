//! What the trail shows of itself: checkpoints for anyone, records with proofs for their own tenant, and nothing that is
//! not theirs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use signer::tlog::{Checkpoint, Hash, TlogProof, leaf_hash, verify_consistency};

use crate::support::{AUDIT_ORIGIN, Answer, Call, Child, SIGNER, TestApp, World, until};

const CHECKPOINT: &str = "/api/v1/signer/audit/checkpoint";

async fn checkpoint(world: &World, base: &str, query: &str) -> Answer {
    let url = format!("{base}{CHECKPOINT}{query}");
    Answer::of(world.http.get(url).send().await.unwrap(), Vec::new()).await
}

fn record<'a>(world: &'a World, id: &str) -> Call<'a> {
    let call = Call::get(world, &format!("/api/v1/signer/audit/{id}"), "");
    call.token(|token| token.claim("scope", "signer.audit"))
}

/// The signed tree head in an answer.
fn head(world: &World, answer: &Value) -> Checkpoint {
    let key = world.checkpoint_key();
    let text = key.open(answer["checkpoint"].as_str().unwrap()).unwrap();
    let head = Checkpoint::parse(text).unwrap();
    assert_eq!(head.origin, AUDIT_ORIGIN);
    head
}

fn hashes(list: &Value) -> Vec<Hash> {
    let hash = |text: &Value| {
        BASE64_STANDARD
            .decode(text.as_str().unwrap())
            .unwrap()
            .try_into()
            .unwrap()
    };
    list.as_array().unwrap().iter().map(hash).collect()
}

#[actix::test]
async fn anyone_gets_the_signed_tree_head_and_a_proof_that_it_goes_on() {
    let app = TestApp::start().await;
    app.sign().send().await.ok();
    let (mut old, mut size) = (json!(null), 0);
    while size < 3 {
        old = checkpoint(&app, app.base(), "").await.ok();
        size = old["size"].as_u64().unwrap();
    }
    assert_eq!(old["consistency"], json!(null));
    let before = head(&app, &old);
    assert_eq!(
        (before.size, BASE64_STANDARD.encode(before.root)),
        (size, old["rootHash"].as_str().unwrap().into())
    );
    assert_eq!(old["origin"], AUDIT_ORIGIN);

    app.sign().send().await.ok();
    let mut new = json!(null);
    while new["size"].as_u64() <= Some(size) {
        new = checkpoint(&app, app.base(), &format!("?from={size}")).await.ok();
    }
    let after = head(&app, &new);
    assert_eq!(new["consistency"]["from"], size);
    let proof = hashes(&new["consistency"]["proof"]);
    assert!(verify_consistency(
        (before.size, &before.root),
        (after.size, &after.root),
        &proof
    ));

    // The note alone, as C2SP tlog-tiles has it.
    let url = format!("{}{CHECKPOINT}", app.base());
    let answer = app
        .http
        .get(url)
        .header("accept", "text/plain")
        .send()
        .await
        .unwrap();
    let answer = Answer::of(answer, Vec::new()).await;
    assert_eq!(answer.status, 200);
    answer.common();
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(app.checkpoint_key().open(&answer.text()).is_ok());
}

#[actix::test]
async fn what_cannot_be_answered_about_the_tree_head_is_refused() {
    let app = TestApp::start().await;
    for query in [
        "?from=1000000",
        "?from=x",
        "?from=-1",
        "?from=1&from=1",
        "?since=1",
        "?from=",
    ] {
        let answer = checkpoint(&app, app.base(), query).await;
        answer.refused(400, "invalid_request", "shape");
    }
    let post = app
        .http
        .request(Method::POST, format!("{}{CHECKPOINT}", app.base()));
    let answer = Answer::of(post.send().await.unwrap(), Vec::new()).await;
    assert_eq!(answer.header("allow"), Some("GET"));
    answer.refused(405, "method_not_allowed", "http");
}

#[actix::test]
async fn a_tenant_gets_its_records_with_proofs_at_once() {
    let app = TestApp::start().await;
    let signed = app.sign().send().await.ok();
    let id = signed["auditId"].as_str().unwrap();
    // No waiting for the next checkpoint.
    let answer = record(&app, id).send().await;
    answer.rate();
    let shown = answer.ok();
    assert_eq!(shown["auditId"], id);
    assert_eq!(shown["auditLog"], signed["auditLog"]);
    let head = head(&app, &shown);
    let records = shown["records"].as_array().unwrap();
    assert_eq!(records.len(), 2);
    for (shown, expected) in records.iter().zip(app.audited(&json!(id))) {
        assert_eq!(shown["record"], expected);
        let entry = BASE64_STANDARD.decode(shown["entry"].as_str().unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&entry).unwrap(), expected);
        let proof = TlogProof::parse(shown["tlogProof"].as_str().unwrap()).unwrap();
        assert_eq!(
            proof.verify(&leaf_hash(&entry), &app.checkpoint_key()),
            Ok(head.clone())
        );
        assert_eq!(Some(proof.index), shown["index"].as_u64());
        assert_eq!(proof.path, hashes(&shown["inclusionProof"]));
    }
    assert_eq!(records[0]["record"]["event"], "intent");
    assert_eq!(records[1]["record"]["outcome"], "signed");
    // A refusal is one record.
    let refused = app.sign().poe(|poe| poe.claim("tid", "globex")).send().await;
    let problem = refused.refused(403, "tenant_mismatch", "entitlement");
    let refused_id = problem["auditId"].as_str().unwrap();
    // It is answered before its record is on disk: nothing leaves with it.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let mut shown = record(&app, refused_id).send().await;
    while shown.status == 404 && tokio::time::Instant::now() < deadline {
        shown = record(&app, refused_id).send().await;
    }
    let shown = shown.ok();
    assert_eq!(shown["records"].as_array().unwrap().len(), 1);
    assert_eq!(shown["records"][0]["record"]["code"], "tenant_mismatch");
}

#[actix::test]
async fn records_of_others_are_as_if_there_were_none() {
    let app = TestApp::start().await;
    let signed = app.sign().send().await.ok();
    let id = signed["auditId"].as_str().unwrap();
    let other = |token: &mut crate::support::Draft| {
        token.claim("scope", "signer.audit");
        token.claim("tid", "globex");
    };
    let foreign = record(&app, id)
        .token(other)
        .send()
        .await
        .refused(404, "not_found", "audit");
    let absent = record(&app, "01a20390-1f6a-7132-b4b8-87c2661c5cd7").send().await;
    let absent = absent.refused(404, "not_found", "audit");
    assert_eq!(foreign["detail"], absent["detail"]);
    for malformed in ["x", &id.to_uppercase(), &id.replace('-', "")] {
        record(&app, malformed)
            .send()
            .await
            .refused(404, "not_found", "shape");
    }
    for scope in ["signer.sign signer.verify", "signer.audits", "signer"] {
        let answer = record(&app, id)
            .token(|token| token.claim("scope", scope))
            .send()
            .await;
        answer.refused(403, "insufficient_scope", "authentication");
    }
    let answer = record(&app, id).anonymous().send().await;
    answer.refused(401, "invalid_token", "authentication");
    record(&app, id).send().await.ok();
}

fn audit(arguments: &[&str], path: &Path) -> (Option<i32>, String) {
    let output = Command::new(SIGNER)
        .arg("audit")
        .args(arguments)
        .arg(path)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[actix::test]
async fn auditors_verify_query_and_compare_with_the_command_line() {
    let world = World::new("").await;
    let mut child = Child::serve(&world, "first");
    let signed = world.sign().try_send(&child.base).await.unwrap().ok();
    let old = checkpoint(&world, &child.base, "").await;
    let size = old.ok()["size"].as_u64().unwrap();
    world.write("old.json", &old.body);
    for _ in 0..3 {
        world.sign().try_send(&child.base).await.unwrap().ok();
    }
    child.terminate();
    crate::support::until("the end", || child.ended()).await;
    // The last checkpoint covers everything, the stop included.
    let key = world.checkpoint_key().to_string();
    world.write("vkey", &key);
    let (folder, here) = (world.audit_folder(), |name: &str| world.folder.path().join(name));
    let old_file = here("old.json");
    let (old_file, vkey) = (old_file.to_str().unwrap(), here("vkey"));
    let records = world.audit().len();
    let verify = [
        "verify",
        "--key",
        vkey.to_str().unwrap(),
        "--checkpoint",
        old_file,
    ];
    let (code, said) = audit(&verify, &folder);
    assert_eq!(code, Some(0), "{said}");
    for part in [
        format!("{records} records\n"),
        format!("over {records} records"),
        "signature verified".to_owned(),
        format!("goes on from the checkpoint over {size} records"),
        "signed 4,".to_owned(),
    ] {
        assert!(said.contains(&part), "{said}");
    }
    assert_eq!(world.audit().last().unwrap()["what"], "stopped");

    let id = signed["auditId"].as_str().unwrap();
    let (code, said) = audit(
        &["query", "--key", crate::support::KEY, "--tenant", "acme"],
        &folder,
    );
    assert_eq!((code, said.lines().count()), (Some(0), 4), "{said}");
    let digest = signed["statementDigest"]["sha256"].as_str().unwrap();
    let (code, said) = audit(&["query", "--digest", digest, "--id", id], &folder);
    assert_eq!(code, Some(0));
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(told["records"][0]["auditId"], id);
    assert_eq!(told["records"][1]["outcome"], "signed");
    assert_eq!(audit(&["query", "--tenant", "globex"], &folder).0, Some(4));

    let consistent = [
        "consistency",
        "--key",
        &key,
        "--directory",
        folder.to_str().unwrap(),
        old_file,
    ];
    let (code, said) = audit(&consistent, &folder.join("checkpoint"));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(&format!("{records} records go on from {size}")),
        "{said}"
    );

    // Another key, an altered record, a checkpoint of a trail that was not this one.
    let other = signer::tlog::VerifierKey::new(AUDIT_ORIGIN, [9; 32])
        .unwrap()
        .to_string();
    assert_eq!(audit(&["verify", "--key", &other], &folder).0, Some(1));
    let bundle = folder.join(format!("tile/entries/000.p/{records}"));
    let text = std::fs::read(&bundle).unwrap();
    let mut altered = text.clone();
    let at = text.windows(4).rposition(|window| window == b"acme").unwrap();
    altered[at] = b'A';
    std::fs::write(&bundle, altered).unwrap();
    let (code, said) = audit(&["verify"], &folder);
    assert_eq!(code, Some(1));
    assert!(said.contains("NOT whole") && said.contains("altered"), "{said}");
    std::fs::write(&bundle, text).unwrap();
    let elsewhere = World::new("").await;
    let foreign = Child::serve(&elsewhere, "elsewhere");
    elsewhere.sign().try_send(&foreign.base).await.unwrap().ok();
    let foreign = loop {
        let answer = checkpoint(&elsewhere, &foreign.base, "").await;
        if answer.ok()["size"].as_u64() >= Some(1) {
            break answer;
        }
    };
    world.write("foreign.json", &foreign.body);
    let (code, said) = audit(
        &["verify", "--checkpoint", here("foreign.json").to_str().unwrap()],
        &folder,
    );
    assert_eq!(code, Some(1));
    assert!(said.contains("forked"), "{said}");
}

fn canary(place: &str) -> String {
    format!("canary-{place}-7d1f")
}

/// With a canary in every place that a caller fills and the trail does not name.
fn planted(call: Call<'_>) -> Call<'_> {
    call.json(|body| {
        body["predicate"] = json!({ canary("member"): canary("content") });
        body["subject"][0]["name"] = json!(canary("subject"));
        body["subject"][0]["annotations"] = json!({ "note": canary("annotation") });
    })
    .token(|token| {
        token.claim("email", canary("email"));
        token.claim("name", canary("name"));
        token.claim("jti", canary("token-id"));
    })
    .proof(|proof| proof.claim("x", canary("proof")))
    .field("user-agent", canary("agent"))
    .field("x-forwarded-for", canary("forwarded"))
    .field("cookie", canary("cookie"))
}

/// The same, by someone whose correlation id is a canary, too.
fn strange(call: Call<'_>) -> Call<'_> {
    planted(call).field("x-correlation-id", canary("correlation"))
}

/// Canaries in every input: none comes to lie in any file of the trail.
#[actix::test]
async fn no_secret_and_no_content_comes_into_the_trail() {
    let app = TestApp::start().await;
    let mut secrets: Vec<String> = Vec::new();
    let call = planted(app.sign());
    secrets.push(call.sent_token().to_owned());
    let signed = call.send().await;
    secrets.extend(signed.secrets.iter().cloned());
    let signed = signed.ok();
    let (_, signature) = crate::sign::envelope(&signed);
    secrets.push(BASE64_STANDARD.encode(signature));
    let refused = planted(app.sign()).poe(|poe| {
        poe.claim("tid", "globex");
        poe.claim("contact", canary("contact"));
    });
    let refused = refused.send().await;
    secrets.extend(refused.secrets.iter().cloned());
    refused.refused(403, "tenant_mismatch", "entitlement");
    // What strangers send is recorded as well: that it came, and nothing of it.
    for (call, code) in [
        (strange(app.sign()).anonymous(), "invalid_token"),
        (strange(app.sign()).raw_token(canary("token")), "invalid_token"),
        (
            strange(app.sign()).token(|token| token.claim("iss", canary("issuer"))),
            "invalid_token",
        ),
        (
            strange(app.sign()).proof(|proof| proof.claim("htm", canary("htm"))),
            "invalid_dpop_proof",
        ),
        (
            strange(app.sign()).proofs(&[canary("no-proof")]),
            "invalid_dpop_proof",
        ),
        (
            strange(app.sign()).token(|token| token.claim("scope", canary("scope"))),
            "insufficient_scope",
        ),
    ] {
        secrets.push(call.sent_token().to_owned());
        let answer = call.send().await;
        secrets.extend(answer.secrets.iter().cloned());
        assert_eq!(answer.json()["code"], code);
        until("its record", || {
            let records = app.audit();
            let newest = records
                .iter()
                .rfind(|record| record["event"] == "stranger-refusal");
            newest.filter(|record| record["code"] == code).cloned()
        })
        .await;
    }
    let body = planted(app.sign()).bytes(canary("body")).send().await;
    secrets.extend(body.secrets.iter().cloned());
    body.refused(400, "invalid_json", "body");
    let dry = planted(app.sign()).option("dryRun", true).send().await;
    secrets.extend(dry.secrets.iter().cloned());
    dry.ok();
    for id in [signed["auditId"].as_str().unwrap()] {
        record(&app, id).send().await.ok();
    }
    let files = files(&app.audit_folder());
    // It looks in the right places.
    let everything: Vec<u8> = files
        .iter()
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect();
    let has = |text: &str| {
        everything
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    assert!(has("acme") && has(signed["auditId"].as_str().unwrap()));
    assert!(files.iter().any(|path| path.ends_with("checkpoint")));
    assert!(!has("canary-") && !has("predicate-canary"));
    assert!(secrets.len() > 5);
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        assert!(!has(secret), "the trail repeats {secret}");
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}
