//! Log entries beside a signature of the release key, where an entry is required. The log has signed two things only: a
//! promise of one honest entry, and a checkpoint of a tree with that entry alone. So an entry counts exactly if it is that
//! entry with one of the two; and a body that the log does promise, whatever it says, only if it is about this signature.
//!
//! The input is an entry of a bundle in JSON, and the body of one. `$body`, `$log`, `$promise`, `$root` and `$checkpoint`,
//! in a body `$signature`, `$twice` (encoded once more), `$key`, `$digest` (of the payload), `$message` and `$encoded` (of
//! what is signed), stand for what is honest.
#![no_main]

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use openssl::base64::{decode_block, encode_block};
use openssl::sha::sha256;
use serde_json::{Value, json};
use signer::adapters::registry::reading::Verifier;
use signer::adapters::registry::{Life, Repository, Requirement, Settings, TransparencyLog};
use signer_fuzz::fit;
use signer_fuzz::release::{IMAGE, KEYS, image, new_key, sign};

const TIME: i64 = 1_767_225_600;
const INDEX: u64 = 7;
const ORIGIN: &str = "log.example";
const KIND: &str = "application/vnd.in-toto+json";

/// One release signature, and what a log said of it.
struct Honest {
    payload: String,
    signature: String,
    key: String,
    digest: String,
    message: [u8; 32],
    body: String,
    log_id: String,
    promise: String,
    root: String,
    checkpoint: String,
    verifier: Verifier,
}

static LOG: LazyLock<openssl::pkey::PKey<openssl::pkey::Private>> = LazyLock::new(new_key);

static HONEST: LazyLock<Honest> = LazyLock::new(|| {
    let payload = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": IMAGE.trim_start_matches("sha256:") } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
    .to_string();
    let pae = format!("DSSEv1 {} {KIND} {} {payload}", KIND.len(), payload.len());
    let signature = sign(&KEYS[0], pae.as_bytes());
    let key = encode_block(&KEYS[0].public_key_to_pem().expect("PEM"));
    let digest = hex(&sha256(payload.as_bytes()));
    let body = json!({
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": { "algorithm": "sha256", "value": "00" },
            "payloadHash": { "algorithm": "sha256", "value": digest },
            "signatures": [{ "signature": signature, "verifier": key }],
        },
    })
    .to_string();
    let root = leaf(body.as_bytes());
    Honest {
        promise: promise(body.as_bytes()),
        checkpoint: checkpoint(&root),
        root: encode_block(&root),
        log_id: encode_block(&log_id()),
        verifier: verifier(),
        payload,
        signature,
        key,
        message: sha256(pae.as_bytes()),
        digest,
        body,
    }
});

fn verifier() -> Verifier {
    let repository = Repository::parse("registry.example/a").expect("a repository");
    let mut settings = Settings::new(vec![repository]);
    settings.keys = vec![KEYS[0].public_key_to_pem().expect("PEM")];
    settings.logs = vec![TransparencyLog {
        key: LOG.public_key_to_pem().expect("PEM"),
        origin: ORIGIN.to_owned(),
        life: Life::default(),
    }];
    settings.require = vec![Requirement::Log];
    Verifier::new(&settings).expect("a policy")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn log_id() -> [u8; 32] {
    sha256(&LOG.public_key_to_der().expect("DER"))
}

/// RFC 6962 §2.1.
fn leaf(body: &[u8]) -> [u8; 32] {
    sha256(&[&[0], body].concat())
}

/// rekor `pkg/api/entries.go`, `signEntry`.
fn promise(body: &[u8]) -> String {
    let (body, log) = (encode_block(body), hex(&log_id()));
    let signed = format!(r#"{{"body":"{body}","integratedTime":{TIME},"logID":"{log}","logIndex":{INDEX}}}"#);
    sign(&LOG, signed.as_bytes())
}

/// C2SP signed-note.md, of a tree with one entry.
fn checkpoint(root: &[u8]) -> String {
    let text = format!("{ORIGIN}\n1\n{}\n", encode_block(root));
    let signature = decode_block(&sign(&LOG, text.as_bytes())).expect("base64");
    let line = encode_block(&[&log_id()[..4], &signature].concat());
    format!("{text}\n\u{2014} {ORIGIN} {line}\n")
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(TIME + 60, 0).expect("a time")
}

/// Whether the release signature counts with this entry.
fn counts(entry: &str) -> Result<(), String> {
    let bundle = format!(
        r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{{"publicKey":{{"hint":"any"}},
        "tlogEntries":[{entry}]}},"dsseEnvelope":{{"payload":"{}","payloadType":"{KIND}","signatures":[{{"sig":"{}"}}]}}}}"#,
        encode_block(HONEST.payload.as_bytes()),
        HONEST.signature,
    );
    HONEST.verifier.bundle(image(), bundle.as_bytes(), now()).map(drop)
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    entry(text);
    body(text);
    drop(openssl::error::ErrorStack::get());
});

/// The input as an entry.
fn entry(text: &str) {
    let in_json = |text: &str| text.replace('\n', "\\n");
    let entry = text
        .replace("$body", &encode_block(HONEST.body.as_bytes()))
        .replace("$log", &HONEST.log_id)
        .replace("$promise", &HONEST.promise)
        .replace("$root", &HONEST.root)
        .replace("$checkpoint", &in_json(&HONEST.checkpoint));
    // More than one entry, or a bundle that is changed around it, is not what is asked here.
    let Ok(Value::Object(said)) = serde_json::from_str::<Value>(&entry) else {
        return;
    };
    match counts(&entry) {
        Err(why) => fit(&why),
        Ok(()) => {
            let of = |value: &Value| decode_block(value.as_str().unwrap_or_default()).unwrap_or_default();
            assert_eq!(of(&said["canonicalizedBody"]), HONEST.body.as_bytes(), "another body");
            assert_eq!(of(&said["logId"]["keyId"]), log_id(), "another log");
            let promised = said.get("inclusionPromise").is_some_and(|promise| !promise.is_null());
            let proven = said.get("inclusionProof").is_some_and(|proof| !proof.is_null());
            assert!(promised || proven, "nobody vouches for it");
            let is = |value: Option<&Value>, number: i64| {
                value.is_some_and(|value| match value {
                    Value::String(text) => text.parse() == Ok(number),
                    other => other.as_i64() == Some(number),
                })
            };
            if promised {
                assert_eq!(of(&said["inclusionPromise"]["signedEntryTimestamp"]), of(&json!(HONEST.promise)));
                assert!(is(said.get("integratedTime"), TIME), "another time");
                assert!(is(said.get("logIndex"), INDEX as i64), "another index");
            }
            if proven {
                let proof = &said["inclusionProof"];
                assert_eq!(of(&proof["rootHash"]), of(&json!(HONEST.root)), "another tree");
                assert!(is(proof.get("treeSize"), 1), "another size");
                assert!(proof.get("hashes").and_then(Value::as_array).is_none_or(Vec::is_empty));
            }
        }
    }
}

/// The input as a body that the log promises.
fn body(text: &str) {
    let body = text
        .replace("$signature", &HONEST.signature)
        .replace("$twice", &encode_block(HONEST.signature.as_bytes()))
        .replace("$key", &HONEST.key)
        .replace("$message", &hex(&HONEST.message))
        .replace("$encoded", &encode_block(&HONEST.message))
        .replace("$digest", &HONEST.digest);
    let said: Value = serde_json::from_str(&body).unwrap_or_default();
    let entry = json!({
        "logIndex": INDEX,
        "logId": { "keyId": HONEST.log_id },
        "kindVersion": { "kind": said["kind"], "version": said["apiVersion"] },
        "integratedTime": TIME,
        "inclusionPromise": { "signedEntryTimestamp": promise(body.as_bytes()) },
        "canonicalizedBody": encode_block(body.as_bytes()),
    });
    match counts(&entry.to_string()) {
        Err(why) => fit(&why),
        Ok(()) => {
            let kinds = ["dsse 0.0.1", "hashedrekord 0.0.1", "hashedrekord 0.0.2", "intoto 0.0.2"];
            let kind = format!("{} {}", said["kind"].as_str().unwrap_or(""), said["apiVersion"].as_str().unwrap_or(""));
            assert!(kinds.contains(&kind.as_str()) || !said.is_object(), "{kind}");
            let spec = said["spec"].to_string();
            let twice = encode_block(HONEST.signature.as_bytes());
            assert!(spec.contains(&HONEST.signature) || spec.contains(&twice), "of another signature");
        }
    }
}
