//! Equal content, equal bytes.

use serde_json::json;

use crate::sign::{envelope, published_key};
use crate::support::{KEY, TestApp};

/// The same request in two spellings: order of members, white space, escapes, spellings of numbers.
fn spellings(app: &TestApp) -> [String; 2] {
    let (scanner, poe) = (&app.mint.scanner, app.mint.poe(|_| ()));
    let digest = "ab".repeat(32);
    let one = format!(
        r#"{{"subject":[{{"name":"app","digest":{{"sha256":"{digest}","sha512":"{digest}{digest}"}}}}],
            "predicateType":"https://stella.ops/report/v1",
            "predicate":{{"b":[1,2.50,1e2,{{"y":null,"x":true}}],"a":"é€","\ud83d\ude00":"smile","ﬀ":0}},
            "scannerImageDigest":"{scanner}","poe":{{"format":"jwt","value":"{poe}"}}}}"#
    );
    let other = format!(
        r#"
        {{ "poe" : {{ "value" : "{poe}", "format" : "jwt" }},
           "scannerImageDigest" : "{scanner}",
           "predicate" : {{ "ﬀ" : -0, "😀" : "sm\u0069le", "a" : "\u00e9\u20ac",
             "b" : [ 1.0, 2.5, 100, {{ "x" : true, "y" : null }} ] }},
           "predicateType" : "https:\/\/stella.ops\/report\/v1",
           "subject" : [ {{ "digest" : {{ "sha512" : "{digest}{digest}", "sha256" : "{digest}" }}, "name" : "app" }} ] }}
        "#
    );
    [one, other]
}

#[actix::test]
async fn equal_content_gives_equal_envelopes() {
    let app = TestApp::start().await;
    let [one, other] = spellings(&app);
    let first = app.sign().bytes(one).send().await.ok();
    let second = app.sign().bytes(other).send().await.ok();
    assert_eq!(first["bundle"], second["bundle"], "the key is deterministic");
    assert_ne!(first["auditId"], second["auditId"]);
    // RFC 8785 §3.2.3: by UTF-16 code units, so the emoji (D83D DE00) comes before U+FB00.
    let (payload, _) = envelope(&first);
    let payload = String::from_utf8(payload).unwrap();
    let predicate = r#""predicate":{"a":"é€","b":[1,2.5,100,{"x":true,"y":null}],"😀":"smile","ﬀ":0}"#;
    assert!(payload.contains(predicate), "{payload}");
    // The key is not of the request alone: other content, other signature.
    let other = app.sign().send().await.ok();
    assert_ne!(
        first["bundle"]["dsse"]["signatures"],
        other["bundle"]["dsse"]["signatures"]
    );
}

#[actix::test]
async fn equal_content_gives_equal_payloads_where_the_key_is_not_deterministic() {
    let app = TestApp::start().await;
    let keyless = |body: &str| {
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        app.sign()
            .json(|old| *old = body)
            .option("signingMode", "keyless")
    };
    let [one, other] = spellings(&app);
    let first = keyless(&one).send().await.ok();
    let second = keyless(&other).send().await.ok();
    assert_eq!(
        first["bundle"]["dsse"]["payload"],
        second["bundle"]["dsse"]["payload"]
    );
    assert_eq!(first["statementDigest"], second["statementDigest"]);
    assert_ne!(
        first["bundle"]["dsse"]["signatures"],
        second["bundle"]["dsse"]["signatures"]
    );
}

#[actix::test]
async fn the_stamp_is_of_the_gates_and_can_be_left_out() {
    let app = TestApp::with("signing.stamp = false").await;
    let (payload, _) = envelope(&app.sign().send().await.ok());
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    let digest = json!({ "sha256": "ab".repeat(32) });
    assert_eq!(payload["subject"], json!([{ "name": "app", "digest": digest }]));
    assert_eq!(published_key(&app, KEY).await["state"], "active");
}
