//! Predicates under their types: what has the shape of its type is signed, what has that of another is told which.

use serde_json::{Value, json};

use crate::sign::envelope;
use crate::support::{Answer, Call, TestApp};

/// Everything that the catalogue names, so that configuration refuses none of it.
const ALL: &str = r#"signing.predicate_types = ["https://*"]"#;

fn call<'a>(app: &'a TestApp, predicate_type: &str, predicate: Value) -> Call<'a> {
    app.sign().json(|body| {
        body["predicateType"] = json!(predicate_type);
        body["predicate"] = predicate;
    })
}

/// Written from the specifications that `docs/reference/predicates.md` names.
fn documents() -> Vec<(&'static str, Value)> {
    vec![
        (
            "https://cyclonedx.org/bom",
            json!({ "bomFormat": "CycloneDX", "specVersion": "1.6", "components": [] }),
        ),
        (
            "https://spdx.dev/Document",
            json!({ "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": [] }),
        ),
        (
            "https://spdx.dev/Document/v3",
            json!({ "@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": [] }),
        ),
        (
            "https://openvex.dev/ns/v0.2.0",
            json!({ "@context": "https://openvex.dev/ns/v0.2.0", "statements": [] }),
        ),
        (
            "https://docs.oasis-open.org/csaf/csaf/v2.0",
            json!({ "document": { "category": "csaf_vex", "csaf_version": "2.0" } }),
        ),
        (
            "https://slsa.dev/provenance/v1",
            json!({ "buildDefinition": { "buildType": "x" }, "runDetails": { "builder": {} } }),
        ),
        (
            "https://slsa.dev/provenance/v0.2",
            json!({ "builder": { "id": "x" }, "buildType": "x" }),
        ),
        (
            "https://docs.oasis-open.org/sarif/sarif/v2.1.0",
            json!({ "version": "2.1.0", "runs": [] }),
        ),
        (
            "https://in-toto.io/attestation/test-result/v0.1",
            json!({ "result": "PASSED", "configuration": [] }),
        ),
        (
            "https://cosign.sigstore.dev/attestation/vuln/v1",
            json!({ "invocation": {}, "scanner": {}, "metadata": {} }),
        ),
        (
            "https://stella.ops/promotion@v1",
            json!({ "promotion": { "from": "a", "to": "b" }, "materials": [] }),
        ),
    ]
}

#[track_caller]
fn detail(answer: &Answer) -> String {
    let problem = answer.refused(422, "invalid_predicate", "shape");
    problem["detail"].as_str().unwrap().to_owned()
}

#[actix::test]
async fn each_document_is_signed_under_its_type_and_under_no_other() {
    let app = TestApp::with(ALL).await;
    let documents = documents();
    for (n, (predicate_type, document)) in documents.iter().enumerate() {
        let signed = call(&app, predicate_type, document.clone()).send().await.ok();
        let (payload, _) = envelope(&signed);
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(
            (&statement["predicateType"], &statement["predicate"]),
            (&json!(predicate_type), document)
        );
        let (other_type, other) = &documents[(n + 3) % documents.len()];
        let detail = detail(&call(&app, predicate_type, other.clone()).send().await);
        let named = other_type.trim_end_matches("/v0.2.0").trim_end_matches("/v2.0");
        assert!(detail.contains(&format!("use predicateType {named}")), "{detail}");
    }
}

#[actix::test]
async fn what_is_missing_is_named() {
    let app = TestApp::start().await;
    let bom = json!({ "bomFormat": "CycloneDX", "components": [] });
    let answer = call(&app, "https://cyclonedx.org/bom", bom).send().await;
    assert_eq!(
        detail(&answer),
        "predicate has not the shape of CycloneDX: it has no specVersion, which must be a version such as \"1.6\""
    );
    let spdx = json!({ "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT" });
    let answer = call(&app, "https://cyclonedx.org/bom", spdx).send().await;
    assert!(detail(&answer).ends_with("; it looks like SPDX: use predicateType https://spdx.dev/Document"));
    // Before anybody is asked about a licence: the shape comes first (contract §2.6).
    let answer =
        call(&app, "https://cyclonedx.org/bom", json!({ "a": 1 })).poe(|poe| poe.claim("tid", "globex"));
    detail(&answer.send().await);
    let answer = call(&app, "stella.ops/promotion@v1", json!({ "a": 1 }))
        .send()
        .await;
    assert_eq!(
        detail(&answer),
        "predicateType must be a full URI: write https://stella.ops/promotion@v1"
    );
}

#[actix::test]
async fn checks_can_be_left_out() {
    let app = TestApp::with("signing.predicate_checks = false").await;
    call(&app, "https://cyclonedx.org/bom", json!({ "a": 1 }))
        .send()
        .await
        .ok();
    let answer = call(&app, "cyclonedx", json!({ "a": 1 })).send().await;
    detail(&answer);
}

#[actix::test]
async fn a_plan_may_name_the_types_it_covers() {
    let app = TestApp::with(ALL).await;
    let covered = [
        "mode:kms",
        "predicate:https://stella.ops/promotion@v1",
        "predicate:https://spdx.dev/*",
    ];
    for (predicate_type, document) in documents() {
        let call = call(&app, predicate_type, document).poe(|poe| poe.claim("features", json!(covered)));
        let answer = call.send().await;
        if predicate_type.contains("promotion") || predicate_type.contains("spdx.dev") {
            answer.ok();
        } else {
            answer.refused(403, "predicate_not_allowed", "entitlement");
        }
    }
}

#[actix::test]
async fn a_promotion_of_many_subjects_is_signed_whole() {
    let app = TestApp::start().await;
    let example = include_str!("../../config/examples/promotion.statement.json");
    let example: Value = serde_json::from_str(example).unwrap();
    let promotion = |subjects: &Value, materials: &Value| {
        app.sign().option("returnBundle", "sigstore").json(|body| {
            body["subject"] = subjects.clone();
            body["predicateType"] = example["predicateType"].clone();
            body["predicate"] = example["predicate"].clone();
            body["predicate"]["materials"] = materials.clone();
        })
    };
    let of = |n: usize| json!({ "sha256": format!("{n:064x}"), "sha512": format!("{n:0128x}") });
    let many: Vec<Value> = (0..1024)
        .map(|n| json!({ "name": format!("image-{n}"), "digest": of(n) }))
        .collect();
    let bundles: Vec<Value> = (0..500)
        .map(|n| json!({ "uri": format!("oci://r.example/b-{n}"), "digest": of(n), "annotations": { "role": "sbom" } }))
        .collect();
    for (subjects, materials) in [
        (
            example["subject"].clone(),
            example["predicate"]["materials"].clone(),
        ),
        (json!(many), json!(bundles)),
    ] {
        let answer = promotion(&subjects, &materials).send().await.ok();
        let (payload, _) = envelope(&answer);
        let bundle = &answer["bundle"]["sigstoreBundle"];
        assert_eq!(
            bundle["dsseEnvelope"]["payload"],
            answer["bundle"]["dsse"]["payload"]
        );
        let statement: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(
            statement["predicate"]["materials"], materials,
            "in order, as they were"
        );
        let signed = statement["subject"].as_array().unwrap();
        let asked = subjects.as_array().unwrap();
        assert_eq!(signed.len(), asked.len());
        for (signed, asked) in signed.iter().zip(asked) {
            assert_eq!(
                (&signed["name"], &signed["digest"]),
                (&asked["name"], &asked["digest"])
            );
            assert_eq!(signed["annotations"]["stella.ops/tenant"], "acme");
        }
        let records = app.audited(&answer["auditId"]);
        assert_eq!(records[0]["subjectCount"], asked.len());
        assert_eq!(
            records[0]["subjects"].as_array().unwrap().len(),
            asked.len().min(256)
        );
    }
    let one_more: Vec<Value> = many.iter().chain(many.first()).cloned().collect();
    let one_more = json!(one_more);
    let answer = promotion(&one_more, &json!([])).send().await;
    answer.refused(422, "invalid_subject", "shape");
}
