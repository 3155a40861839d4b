//! SIGHUP: keys and trust change while requests go on, and none of these fails.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use toml::{Table, Value as Toml};

use crate::sign::{holds, pae};
use crate::support::{Answer, Call, Child, KEY, Mint, OTHER_KEY, TIMESTAMPS, VERIFY, World, p256, until};

const NEXT_KEY: &str = "main-2027";
const IDEMPOTENCY: &str = "idempotency-key";

/// A process whose configuration can be changed.
struct Reloaded<'a> {
    world: &'a World,
    child: Child,
    config: PathBuf,
}

impl<'a> Reloaded<'a> {
    fn start(world: &'a World) -> Self {
        world.write(
            &format!("{NEXT_KEY}.pem"),
            p256().private_key_to_pem_pkcs8().unwrap(),
        );
        let config = world.config_file();
        let child = Child::serve(world, "reloaded");
        Self { world, child, config }
    }

    fn told(&self, what: &str) -> usize {
        self.child.log().matches(what).count()
    }

    /// Changes the configuration and waits for what comes of it.
    async fn reload(&self, result: &str, change: impl FnOnce(&mut Table)) {
        let mut config: Table = std::fs::read_to_string(&self.config).unwrap().parse().unwrap();
        change(&mut config);
        self.world.write("signer.toml", config.to_string());
        self.signal(result).await;
    }

    async fn signal(&self, result: &str) {
        let before = self.reloads(result).await;
        self.child.hang_up();
        let reloaded = async {
            while self.reloads(result).await == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), reloaded).await;
        waited.unwrap_or_else(|_| panic!("not {result}: {}", self.child.log()));
    }

    async fn get(&self, url: String) -> String {
        self.world
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    async fn metric(&self, series: &str) -> f64 {
        let metrics = self.get(format!("{}/metrics", self.child.operations())).await;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series));
        value.unwrap().trim().parse().unwrap()
    }

    async fn reloads(&self, result: &str) -> f64 {
        self.metric(&format!(r#"signer_reloads_total{{result="{result}"}}"#))
            .await
    }

    /// What is published of a key.
    async fn published(&self, id: &str) -> Option<Value> {
        let keys = self
            .get(format!("{}/api/v1/signer/trust/keys", self.child.base))
            .await;
        let keys: Value = serde_json::from_str(&keys).unwrap();
        let mut keys = keys["keys"].as_array().unwrap().iter();
        keys.find(|key| key["id"] == id).cloned()
    }

    async fn state_of(&self, id: &str) -> Value {
        self.published(id)
            .await
            .map_or(Value::Null, |key| key["state"].clone())
    }

    async fn sign(&self) -> Answer {
        self.world.sign().try_send(&self.child.base).await.unwrap()
    }

    /// The newest record of a reload.
    fn recorded(&self) -> Value {
        let records = self.world.audit();
        let mut reloads = records.into_iter().filter(|record| record["what"] == "reloaded");
        reloads.next_back().unwrap()["facts"].clone()
    }
}

const APPLIED: &str = "applied";
const UNCHANGED: &str = "unchanged";
const REFUSED: &str = "refused";

fn signing(config: &mut Table) -> &mut Table {
    config["signing"].as_table_mut().unwrap()
}

fn backends(config: &mut Table) -> &mut Vec<Toml> {
    signing(config)["backends"].as_array_mut().unwrap()
}

fn backend<'a>(config: &'a mut Table, id: &str) -> &'a mut Table {
    let mut all = backends(config).iter_mut();
    let found = all.find(|backend| backend["id"].as_str() == Some(id));
    found.unwrap().as_table_mut().unwrap()
}

fn add_next_key(config: &mut Table) {
    let text = format!(
        "kind = \"file\"\nid = \"{NEXT_KEY}\"\nkey = \"file:{NEXT_KEY}.pem\"\nalgorithm = \"ecdsa-p256-sha256\""
    );
    backends(config).push(Toml::Table(text.parse().unwrap()));
}

/// The next key signs from here on, and the one before it not any more.
fn change_over(config: &mut Table, state: &str) {
    signing(config).insert("default_key".into(), NEXT_KEY.into());
    backend(config, KEY).insert("state".into(), state.into());
    if state == "revoked" {
        backend(config, KEY).insert("revoked_from".into(), "2026-11-01T00:00:00Z".into());
    } else {
        backend(config, KEY).insert("retired_from".into(), in_seconds(60).into());
    }
}

fn in_seconds(seconds: i64) -> String {
    let time = chrono::Utc::now() + chrono::TimeDelta::seconds(seconds);
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn key_of(answer: &Answer) -> String {
    answer.ok()["bundle"]["signingIdentity"]["keyId"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[actix::test]
async fn keys_are_rotated_under_load_and_no_request_fails() {
    let world = World::new("server.workers = 2").await;
    let service = Reloaded::start(&world);
    let (stop, by_next) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let callers = (0..8).map(async |_| {
        let mut answers = Vec::new();
        while stop.load(Ordering::Relaxed) == 0 {
            let call = world.sign().tenant("busy", [10_000, 10_000, 64, 100_000]);
            let answer = call.try_send(&service.child.base).await.unwrap();
            if answer.status == 200 && key_of(&answer) == NEXT_KEY {
                by_next.fetch_add(1, Ordering::Relaxed);
            }
            answers.push(answer);
        }
        answers
    });
    let rotation = async {
        service.reload(APPLIED, add_next_key).await;
        assert_eq!(service.state_of(NEXT_KEY).await, "active");
        assert_eq!(by_next.load(Ordering::Relaxed), 0, "nobody asked for it");
        service
            .reload(APPLIED, |config| change_over(config, "retired"))
            .await;
        until("signatures of the next key", || {
            (by_next.load(Ordering::Relaxed) > 40).then_some(())
        })
        .await;
        stop.store(1, Ordering::Relaxed);
    };
    let (answers, ()) = futures_util::join!(futures_util::future::join_all(callers), rotation);
    let answers: Vec<Answer> = answers.into_iter().flatten().collect();
    let (mut old, mut new) = (0, 0);
    let published = (
        service.published(KEY).await.unwrap(),
        service.published(NEXT_KEY).await.unwrap(),
    );
    for answer in &answers {
        let body = answer.ok();
        let id = key_of(answer);
        let published = if id == KEY { &published.0 } else { &published.1 };
        let bytes = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
        let dsse = &body["bundle"]["dsse"];
        let (payload, signature) = (bytes(&dsse["payload"]), bytes(&dsse["signatures"][0]["sig"]));
        let pem = published["publicKey"].as_str().unwrap();
        assert!(holds(pem.as_bytes(), &pae(&payload), &signature), "{id}");
        match id.as_str() {
            KEY => old += 1,
            NEXT_KEY => new += 1,
            other => panic!("{other}"),
        }
    }
    assert!(old > 0 && new > 40, "{old} and {new}");
    assert_eq!(service.state_of(KEY).await, "retired");
    assert_eq!(
        (service.reloads("applied").await, service.reloads("refused").await),
        (2.0, 0.0)
    );
    assert!(service.metric("signer_reload_timestamp_seconds").await > 1.7e9);
    let facts = service.recorded();
    assert_eq!(facts["keysChanged"], KEY);
    assert!(
        facts["keyStates"]
            .as_str()
            .unwrap()
            .contains(&format!("{KEY}=retired"))
    );
    let named = world
        .sign()
        .option("keyId", KEY)
        .try_send(&service.child.base)
        .await
        .unwrap();
    named.refused(403, "mode_not_entitled", "entitlement");
    println!("{old} signatures of the old key, {new} of the new one, none failed");
}

/// As `openssl rand -hex 20` and editors write it; `openssl -pass file:` reads the first line.
#[actix::test]
async fn a_key_whose_passphrase_ends_with_a_line_break_signs() {
    let world = World::new("").await;
    let service = Reloaded::start(&world);
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    let pem = p256().private_key_to_pem_pkcs8_passphrase(cipher, b"of 2027");
    world.write(&format!("{NEXT_KEY}.pem"), pem.unwrap());
    world.write("next.pass", "of 2027\n");
    let encrypted = |config: &mut Table| {
        add_next_key(config);
        backend(config, NEXT_KEY).insert("passphrase".into(), "file:next.pass".into());
        change_over(config, "retired");
    };
    service.reload(APPLIED, encrypted).await;
    assert_eq!(key_of(&service.sign().await), NEXT_KEY);
}

#[actix::test]
async fn a_configuration_with_errors_changes_nothing_and_all_of_them_are_told() {
    let world = World::new("").await;
    let service = Reloaded::start(&world);
    let good = std::fs::read_to_string(&service.config).unwrap();
    let before = service
        .get(format!("{}/api/v1/signer/trust/keys", service.child.base))
        .await;
    let broken = |config: &mut Table| {
        add_next_key(config);
        backend(config, NEXT_KEY).insert("key".into(), "file:nowhere.pem".into());
        signing(config).insert("stampp".into(), true.into());
        config["log"]
            .as_table_mut()
            .unwrap()
            .insert("level".into(), "error".into());
    };
    service.reload(REFUSED, broken).await;
    until("both problems", || {
        let log = service.child.log();
        (log.contains("nowhere.pem") && log.contains("stampp")).then_some(())
    })
    .await;
    // Not even valid TOML.
    world.write("signer.toml", "[signing");
    service.signal(REFUSED).await;
    // A key elsewhere that cannot be asked: it would be of no use to whoever chooses it.
    world.write("vault.token", "token");
    world.write("elsewhere.pub", p256().public_key_to_pem().unwrap());
    world.write("signer.toml", &good);
    let unopened = |config: &mut Table| {
        let text = "kind = \"vault-transit\"\nid = \"elsewhere\"\nurl = \"http://127.0.0.1:1\"\nkey = \"k\"\nkey_version = 1\n\
            token = \"file:vault.token\"\npublic_key = \"elsewhere.pub\"\nalgorithm = \"ecdsa-p256-sha256\"";
        backends(config).push(Toml::Table(text.parse().unwrap()));
        change_over_to_other(config);
    };
    service.reload(REFUSED, unopened).await;
    let unopened = "the key elsewhere cannot be opened";
    until(unopened, || (service.told(unopened) == 1).then_some(())).await;
    let after = service
        .get(format!("{}/api/v1/signer/trust/keys", service.child.base))
        .await;
    assert_eq!(after, before);
    assert_eq!(key_of(&service.sign().await), KEY);
    assert_eq!(
        (service.reloads("applied").await, service.reloads("refused").await),
        (0.0, 3.0)
    );
    assert!(world.audit().iter().all(|record| record["what"] != "reloaded"));
    // And it is still listening.
    world.write("signer.toml", &good);
    service.signal(UNCHANGED).await;
    service.reload(APPLIED, change_over_to_other).await;
    assert_eq!(key_of(&service.sign().await), OTHER_KEY);
}

fn change_over_to_other(config: &mut Table) {
    signing(config).insert("default_key".into(), OTHER_KEY.into());
}

#[actix::test]
async fn what_a_key_has_answered_counts_until_it_is_revoked() {
    let world = World::new("").await;
    let service = Reloaded::start(&world);
    let keyed = || world.sign().field(IDEMPOTENCY, "k").try_send(&service.child.base);
    let first = keyed().await.unwrap();
    assert_eq!(key_of(&first), KEY);
    let is_replay = |answer: &Answer| answer.header("idempotent-replayed") == Some("true");
    service
        .reload(APPLIED, |config| {
            add_next_key(config);
            change_over(config, "retired");
        })
        .await;
    let again = keyed().await.unwrap();
    assert!(
        is_replay(&again) && again.body == first.body,
        "a retired key's signature verifies"
    );
    service
        .reload(APPLIED, |config| change_over(config, "revoked"))
        .await;
    let key = service.published(KEY).await.unwrap();
    assert_eq!(
        (&key["state"], key["revokedFrom"].is_string()),
        (&Value::from("revoked"), true)
    );
    let anew = keyed().await.unwrap();
    assert_eq!((key_of(&anew).as_str(), is_replay(&anew)), (NEXT_KEY, false));
    let intent = &world.audited(&anew.ok()["auditId"])[0];
    assert_eq!(intent["retryOf"], first.ok()["auditId"]);
    let last = keyed().await.unwrap();
    assert!(is_replay(&last) && last.body == anew.body);
}

/// Contract §7: a retired key verifies what was timestamped before. What was timestamped since may be anybody's doing who kept
/// the key.
#[actix::test]
async fn a_retired_keys_signature_counts_by_its_timestamp() {
    let world = World::new(TIMESTAMPS).await;
    let service = Reloaded::start(&world);
    let answer = world
        .sign()
        .option("returnBundle", "sigstore")
        .json(|body| body["predicate"] = json!({ "finding": "parrot" }))
        .try_send(&service.child.base)
        .await
        .unwrap();
    let bundle = answer.ok()["bundle"].clone();
    let ask = async |document: serde_json::Value| {
        let call = Call::new(&world, reqwest::Method::POST, VERIFY);
        let call = call
            .content_type(Some("application/json"))
            .bytes(document.to_string());
        call.try_send(&service.child.base).await.unwrap().ok()["verified"] == true
    };
    let stamped = || ask(json!({ "sigstoreBundle": bundle["sigstoreBundle"] }));
    let bare = || ask(json!({ "dsse": bundle["dsse"] }));
    assert_eq!(
        (stamped().await, bare().await),
        (true, true),
        "while it is active"
    );
    for (seconds, counts) in [(-60, false), (60, true)] {
        let from = in_seconds(seconds);
        service
            .reload(APPLIED, |config| {
                backends(config).retain(|backend| backend["id"].as_str() != Some(NEXT_KEY));
                add_next_key(config);
                change_over(config, "retired");
                backend(config, KEY).insert("retired_from".into(), from.clone().into());
            })
            .await;
        assert_eq!(service.published(KEY).await.unwrap()["notAfter"], from);
        assert_eq!(
            (stamped().await, bare().await),
            (counts, false),
            "retired from {from}"
        );
    }
    let told = service.told("requests may still have ended with it");
    assert_eq!(told, 1, "in time, and it signed until then");
}

/// What was changed in the file and takes a restart goes on as it was: the trail's key signs no statements beside it, and what
/// the Authority was last seen to publish is not ours, whatever its file says by now.
#[actix::test]
async fn a_key_that_something_running_uses_signs_nothing() {
    let world = World::new("").await;
    let service = Reloaded::start(&world);
    service.sign().await.ok();
    let copy = |from: &str| std::fs::read(world.folder.path().join(from)).unwrap();
    let good = copy("signer.toml");
    world.write(&format!("{NEXT_KEY}.pem"), copy("audit.key"));
    let checkpoints = openssl::pkey::PKey::generate_ed25519().unwrap();
    world.write("audit.key", checkpoints.private_key_to_pem_pkcs8().unwrap());
    service
        .reload(REFUSED, |config| {
            add_next_key(config);
            backend(config, NEXT_KEY).insert("algorithm".into(), "ed25519".into());
        })
        .await;
    let told = "is the same key as one in audit.checkpoint_key, as the service runs";
    until(told, || (service.told(told) == 1).then_some(())).await;
    // By a file that says something else by now.
    world.write("signer.toml", &good);
    let authority = world.mint.authority.private_key_to_pem_pkcs8().unwrap();
    world.write(&format!("{NEXT_KEY}.pem"), authority);
    world.write("authority.json", Mint::jwks(&p256(), "authority-2").to_string());
    service.reload(REFUSED, add_next_key).await;
    let told = "is the same key as one in auth.jwks_file, as the service runs";
    until(told, || (service.told(told) == 1).then_some(())).await;
    assert_eq!(service.published(NEXT_KEY).await, None);
    assert_eq!(key_of(&service.sign().await), KEY);
}

/// Answers every request with the document of the moment.
async fn publish(document: watch::Receiver<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    actix_rt::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let body = document.borrow().clone();
            let head =
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length";
            // Whoever has gone needs no answer; the request is short and comes in one piece.
            let _ = peer.read(&mut [0; 4096]).await;
            let _ = peer
                .write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes())
                .await;
        }
    });
    address
}

/// No file names the keys behind `jwks_uri`: it is what was fetched that counts, until it is fetched again.
#[actix::test]
async fn a_key_that_the_authority_was_seen_to_publish_signs_nothing() {
    let keys = watch::Sender::new(String::new());
    let address = publish(keys.subscribe()).await;
    let world = World::new(&format!(
        "auth.jwks_file = \"\"\nauth.jwks_uri = \"http://{address}/jwks\""
    ))
    .await;
    keys.send_replace(Mint::jwks(&world.mint.authority, "authority-1").to_string());
    let service = Reloaded::start(&world);
    service.sign().await.ok();
    let authority = world.mint.authority.private_key_to_pem_pkcs8().unwrap();
    let own = std::fs::read(world.folder.path().join(format!("{NEXT_KEY}.pem"))).unwrap();
    world.write(&format!("{NEXT_KEY}.pem"), authority);
    service.reload(REFUSED, add_next_key).await;
    let told = "a new key is key authority-1 of";
    until(told, || (service.told(told) == 1).then_some(())).await;
    assert_eq!(service.published(NEXT_KEY).await, None);
    world.write(&format!("{NEXT_KEY}.pem"), own);
    service.signal(APPLIED).await;
    assert_eq!(service.state_of(NEXT_KEY).await, "active");
}

#[actix::test]
async fn another_trust_in_releases_counts_at_once() {
    let world = World::new("").await;
    let service = Reloaded::start(&world);
    let ours = |config: &mut Table| config["release"]["keys"].clone();
    let mut trusted = None;
    // The verdict is believed for ten minutes.
    service.sign().await.ok();
    service
        .reload(APPLIED, |config| {
            trusted = Some(ours(config));
            config["release"]
                .as_table_mut()
                .unwrap()
                .insert("keys".into(), vec!["foreign.pub"].into());
        })
        .await;
    service.sign().await.refused(403, "release_untrusted", "release");
    let distrust = service.recorded()["releaseTrustDigest"].clone();
    service
        .reload(APPLIED, |config| {
            config["release"]
                .as_table_mut()
                .unwrap()
                .insert("keys".into(), trusted.take().unwrap());
        })
        .await;
    service.sign().await.ok();
    assert_ne!(service.recorded()["releaseTrustDigest"], distrust);
}

#[actix::test]
async fn what_takes_a_restart_is_named() {
    let world = World::new("").await;
    let service = Reloaded::start(&world);
    let change = |config: &mut Table| {
        let server = config["server"].as_table_mut().unwrap();
        server.insert("request_timeout".into(), "9s".into());
        let log = config["log"].as_table_mut().unwrap();
        log.insert("level".into(), "warn".into());
    };
    service.reload(UNCHANGED, change).await;
    let late = || service.told("takes a restart");
    until("the warning", || (late() == 1).then_some(())).await;
    assert!(service.child.log().contains("server.request_timeout"));
    // The log level is in force: that it was read is told at the level `info`.
    until("the first reading", || (service.told(READ) == 1).then_some(())).await;
    service.signal(UNCHANGED).await;
    until("the second warning", || (late() == 2).then_some(())).await;
    assert_eq!(service.told(READ), 1);
}

const READ: &str = "the configuration was read again";
