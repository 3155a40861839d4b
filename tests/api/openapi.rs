//! `/openapi.json` and `/docs`. That answers and bodies are as described is checked with every request of these tests
//! (`support/described.rs`).

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use signer::http::problem::status_of;
use signer::http::routes::PATTERNS;
use signer_actors::domain::code::Code;

use crate::support::{Answer, Call, TestApp, document, resolved, violations};

async fn get(app: &TestApp, path: &str) -> Answer {
    Call::get(app, path, "").anonymous().send().await
}

#[actix::test]
async fn anyone_may_have_the_document() {
    let app = TestApp::start().await;
    let answer = get(&app, "/openapi.json").await;
    let served = answer.ok();
    assert_eq!(&served, document());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(served["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[actix::test]
async fn what_is_described_is_what_is_there() {
    let app = TestApp::start().await;
    let paths = document()["paths"].as_object().unwrap();
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    assert_eq!(described, PATTERNS.iter().copied().collect());
    for (template, item) in paths {
        let base = if template == "/metrics" {
            &app.operations
        } else {
            app.base()
        };
        let path = template.replace("{auditId}", "01a20390-1f6a-7132-b4b8-87c2661c5cd7");
        let [method] = ["get", "post"]
            .into_iter()
            .filter(|method| item.get(method).is_some())
            .collect::<Vec<_>>()[..]
        else {
            panic!("{template} has not one method");
        };
        let there = app
            .http
            .request(method.to_uppercase().parse().unwrap(), format!("{base}{path}"))
            .header("content-type", "application/json");
        let there = Answer::of(there.send().await.unwrap(), Vec::new()).await;
        assert!(
            ![404, 405].contains(&there.status),
            "{method} {path}: {}",
            there.text()
        );
        // Who may ask is as described, too.
        let public = item[method]["security"].as_array().unwrap().is_empty();
        assert_eq!(there.status == 401, !public, "{method} {path}: {}", there.status);
        let other = app.http.request(Method::PUT, format!("{base}{path}"));
        let other = Answer::of(other.send().await.unwrap(), Vec::new()).await;
        other.refused(405, "method_not_allowed", "http");
        assert_eq!(other.header("allow"), Some(method.to_uppercase().as_str()));
    }
}

#[test]
fn every_code_is_described_with_its_status() {
    let schemas = &document()["components"]["schemas"];
    let described: BTreeSet<&str> = schemas["Code"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(described, Code::ALL.iter().map(|code| code.as_str()).collect());
    let mut told = Vec::new();
    for response in document()["components"]["responses"]
        .as_object()
        .unwrap()
        .values()
    {
        let only = &response["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"];
        for code in only["code"]["enum"].as_array().unwrap() {
            told.push((code.as_str().unwrap(), only["status"]["const"].as_u64().unwrap()));
        }
    }
    told.sort_unstable();
    let mut all: Vec<(&str, u64)> = Code::ALL
        .iter()
        .map(|code| (code.as_str(), status_of(*code).0.as_u16().into()))
        .collect();
    all.sort_unstable();
    assert_eq!(told, all);
    // And each is where it belongs.
    for item in document()["paths"].as_object().unwrap().values() {
        for operation in item
            .as_object()
            .unwrap()
            .values()
            .filter(|operation| operation.is_object())
        {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let schema = &resolved(response)["content"]["application/problem+json"]["schema"]["allOf"][1];
                let said = &schema["properties"]["status"]["const"];
                assert!(
                    said.is_null() || said.as_u64() == status.parse().ok(),
                    "{status} is described as {said}"
                );
            }
        }
    }
}

#[actix::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    let answer = get(&app, "/docs").await;
    answer.common();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let html = answer.text();
    for foreign in [
        "<script",
        "<link",
        "<img",
        "<iframe",
        "<object",
        "src=",
        "url(",
        "@import",
        "http-equiv",
        " style=",
    ] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    let links = html.split("href=\"").skip(1);
    assert!(
        links
            .clone()
            .all(|link| link.starts_with('#') || link.starts_with("openapi.json\""))
    );
    assert!(links.count() > 40);
    // Every link leads somewhere.
    for target in html
        .split("href=\"#")
        .skip(1)
        .map(|link| link.split('"').next().unwrap())
    {
        assert!(html.contains(&format!("id=\"{target}\"")), "{target}");
    }
    for path in PATTERNS {
        assert!(html.contains(path), "{path}");
    }
    for code in Code::ALL {
        assert!(html.contains(code.as_str()), "{}", code.as_str());
    }
    // CSP Level 3 §2.3.1: the hash is over the text between the tags.
    let style = html
        .split("<style>")
        .nth(1)
        .unwrap()
        .split("</style>")
        .next()
        .unwrap();
    let hash = STANDARD.encode(openssl::sha::sha256(style.as_bytes()));
    let policy = answer.header("content-security-policy").unwrap();
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    );
}

/// The checks that every other test relies on notice what they should.
#[test]
fn what_is_not_as_described_is_noticed() {
    let schema = |name: &str| &document()["components"]["schemas"][name];
    let gate = json!({ "gate": "quota", "verdict": "fail", "code": "rate_limited" });
    assert_eq!(violations(schema("Gate"), &gate), [""; 0]);
    for (member, value, says) in [
        ("gate", json!("other"), "$.gate must not be"),
        ("gate", json!(1), "$.gate must not be"),
        ("code", json!("none"), "$.code must not be"),
        ("detail", json!(1), "$.detail is integer"),
        ("more", json!(1), "$.more is not described"),
    ] {
        let mut gate = gate.clone();
        gate[member] = value;
        let found = violations(schema("Gate"), &gate);
        assert!(
            found.iter().any(|found| found.starts_with(says)),
            "{member}: {found:?}"
        );
    }
    assert!(violations(schema("Gate"), &json!({ "gate": "quota" }))[0].contains("has no verdict"));
    let either = json!({ "dsse": {}, "sigstoreBundle": {} });
    assert!(
        violations(schema("VerifyRequest"), &either)
            .iter()
            .any(|found| found.contains("exactly one"))
    );
    assert!(
        !violations(
            schema("BatchRequest"),
            &json!({ "items": [], "scannerImageDigest": "" })
        )
        .is_empty()
    );
    assert!(!violations(schema("SignedItem"), &json!({ "status": 200, "problem": {} })).is_empty());
}
