//! Documents of each kind, written from the specifications that `catalogue` cites, under each type.

use serde_json::value::RawValue;

use super::*;
use crate::domain::statement::{StatementDraft, StatementError};

/// Type and document, the members that are asked for in an order that is not the canonical one.
const GOOD: &[(&str, &str)] = &[
    (
        "https://cyclonedx.org/bom",
        r#"{"specVersion":"1.6","version":1,"bomFormat":"CycloneDX","components":[{"type":"library","name":"a"}]}"#,
    ),
    (
        "https://cyclonedx.org/bom/v1.4",
        r#"{"components":[],"\u0062omFormat":"Cyclone\u0044X","specVersion":"1.4"}"#,
    ),
    (
        "https://spdx.dev/Document",
        r#"{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","name":"a","dataLicense":"CC0-1.0"}"#,
    ),
    (
        "https://spdx.dev/Document/v2.3",
        r#"{"SPDXID":"SPDXRef-DOCUMENT","spdxVersion":"SPDX-2.3"}"#,
    ),
    (
        "https://spdx.dev/Document/v3",
        r#"{"@graph":[],"@context":["https://spdx.org/rdf/3.0.1/spdx-context.jsonld"]}"#,
    ),
    (
        "https://spdx.dev/Document/v3.0.1",
        r#"{"@context":[{"own":"https://example.com/"},"https://spdx.org/rdf/3.0.1/spdx-context.jsonld"],"type":"x"}"#,
    ),
    (
        "https://openvex.dev/ns",
        r#"{"@context":"https://openvex.dev/ns","@id":"x","author":"a","statements":[{"status":"fixed"}],"version":1}"#,
    ),
    (
        "https://openvex.dev/ns/v0.2.0",
        r#"{"@context":"https://openvex.dev/ns/v0.2.0","@id":"x","statements":[],"version":1}"#,
    ),
    (
        "https://docs.oasis-open.org/csaf/csaf/v2.0/csaf_json_schema.json",
        r#"{"vulnerabilities":[],"document":{"title":"t","csaf_version":"2.0","category":"csaf_vex"}}"#,
    ),
    (
        "https://slsa.dev/provenance/v1",
        r#"{"runDetails":{"builder":{"id":"x"}},"buildDefinition":{"buildType":"x","externalParameters":{}}}"#,
    ),
    (
        "https://slsa.dev/provenance/v0.2",
        r#"{"buildType":"x","builder":{"id":"x"},"materials":[]}"#,
    ),
    (
        "https://slsa.dev/verification_summary/v1",
        r#"{"verifier":{"id":"x"},"timeVerified":"2026-10-01T00:00:00Z","verificationResult":"PASSED"}"#,
    ),
    (
        "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        r#"{"version":"2.1.0","$schema":"x","runs":[]}"#,
    ),
    (
        "https://docs.oasis-open.org/sarif/sarif/v2.1.0",
        r#"{"version":"2.1.0","runs":null}"#,
    ),
    (
        "https://docs.oasis-open.org/csaf/csaf/v2.1/schema/csaf.json",
        r#"{"$schema":"x","document":{"title":"t","csaf_version":"2.1","category":"csaf_base","distribution":{}}}"#,
    ),
    (
        "https://in-toto.io/attestation/test-result/v0.1",
        r#"{"result":"PASSED","configuration":[],"passedTests":["a"]}"#,
    ),
    (
        "https://cosign.sigstore.dev/attestation/vuln/v1",
        r#"{"scanner":{"uri":"x","result":{}},"invocation":{},"metadata":{"scanFinishedOn":"x"}}"#,
    ),
    (
        "https://in-toto.io/attestation/vulns/v0.2",
        r#"{"scanner":{"uri":"x","result":[]},"metadata":{"scanFinishedOn":"x"}}"#,
    ),
    (
        "https://stella.ops/promotion@v1",
        r#"{"promotion":{"to":"prod","from":"stage"},"materials":[]}"#,
    ),
];

fn shaped(predicate_type: &str, predicate: &str) -> Result<(), String> {
    let subjects = format!(r#"[{{"name":"a","digest":{{"sha256":"{}"}}}}]"#, "ab".repeat(32));
    let subjects = serde_json::from_str(&subjects).expect("subjects");
    let predicate = RawValue::from_string(predicate.to_owned()).expect("a predicate");
    let draft = StatementDraft::new(subjects, predicate_type.to_owned(), &*predicate);
    match draft.and_then(StatementDraft::of_its_shape) {
        Ok(_) => Ok(()),
        Err(StatementError::Predicate(what)) => Err(what),
        Err(other) => panic!("{other}"),
    }
}

fn good(predicate_type: &str) -> &'static str {
    let mut all = GOOD.iter();
    all.find(|(known, _)| *known == predicate_type)
        .expect("a document")
        .1
}

#[test]
fn the_table_is_in_order() {
    assert!(NOTED.is_sorted_by(|a, b| a < b));
    let plain =
        |name: &&str| name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    assert!(NOTED.iter().all(|name| plain(name) && !name.contains('\\')));
    for known in all() {
        let needs = known.shapes.iter().copied().flatten().chain(known.marks);
        for need in needs.chain(catalogue::WRAPPERS.iter().flat_map(|wrapper| wrapper.marks)) {
            let outer = need.path.split('.').next().expect("a name");
            assert!(NOTED.contains(&outer), "{outer} is not noted");
        }
        for other in known.also {
            assert!(all().any(|known| known.name == *other), "{other}");
        }
        for bare in known.bare {
            assert!(!bare.contains(':'), "{bare} is a URI");
            assert_eq!(uri_of_bare(bare), Some(known.uri), "{bare} names two");
        }
        assert!(known.uri.starts_with("https://"), "{}", known.uri);
    }
}

#[test]
fn each_document_fits_under_its_type() {
    for (predicate_type, document) in GOOD {
        assert_eq!(shaped(predicate_type, document), Ok(()), "{predicate_type}");
    }
    // Either of what SPDX was, under the type without a version.
    assert_eq!(
        shaped("https://spdx.dev/Document", good("https://spdx.dev/Document/v3")),
        Ok(())
    );
}

#[test]
fn each_document_is_refused_under_every_other_type_with_the_right_one_named() {
    let mut refused = 0;
    for (predicate_type, _) in GOOD {
        for (own_type, document) in GOOD {
            let (meant, own) = (meant_by(predicate_type), meant_by(own_type));
            let (meant, own) = (meant.expect("known"), own.expect("known"));
            // One is the other, too: SPDX with and without a version.
            let family = |known: &Known| known.name.split(' ').next().unwrap_or_default() == "SPDX";
            if meant.name == own.name || (family(meant) && family(own)) {
                continue;
            }
            let what = shaped(predicate_type, document).expect_err(predicate_type);
            assert!(what.contains(meant.name), "{what}");
            let right =
                all().find(|known| known.uri.len() <= own.uri.len() && own.uri.starts_with(known.uri));
            let right = right.expect("known").uri;
            assert!(
                what.contains(&format!("use predicateType {right}")),
                "{own_type}: {what}"
            );
            refused += 1;
        }
    }
    assert!(refused > 150, "{refused}");
}

#[test]
fn each_member_that_is_asked_for_is_missed() {
    for (predicate_type, document) in GOOD {
        let known = meant_by(predicate_type).expect("known");
        let whole: serde_json::Value = serde_json::from_str(document).expect("JSON");
        let closest = known.shapes.iter().copied().filter(|shape| {
            let has = |need: &&Need| {
                whole
                    .pointer(&format!("/{}", need.path.replace('.', "/")))
                    .is_some()
            };
            shape.iter().all(|need| has(&need))
        });
        let closest: Vec<_> = closest.collect();
        let asked = |need: &&Need, shape: &[Need]| shape.iter().any(|other| other.path == need.path);
        let always = |need: &&Need| closest.iter().all(|shape| asked(need, shape));
        for need in closest.iter().copied().flatten().filter(always) {
            for other in [None, Some(serde_json::json!(17)), Some(serde_json::json!("x\"{"))] {
                if matches!(need.is, need::Is::Text) && other.as_ref().is_some_and(|value| value.is_string())
                {
                    continue;
                }
                let mut changed = whole.clone();
                let (outer, inner) = match need.path.split_once('.') {
                    Some((outer, inner)) => (changed.get_mut(outer), inner),
                    None => (Some(&mut changed), need.path),
                };
                let object = outer.and_then(|outer| outer.as_object_mut()).expect("an object");
                let says = if other.is_some() { "must be" } else { "it has no" };
                match other {
                    Some(value) => drop(object.insert(inner.to_owned(), value)),
                    None => drop(object.remove(inner)),
                }
                // Something must be left to be said.
                changed["x-other"] = serde_json::json!(1);
                let what = shaped(predicate_type, &changed.to_string()).expect_err(need.path);
                assert!(what.contains(need.path) && what.contains(says), "{what}");
            }
        }
    }
}

/// COSIGN_VULN_ATTESTATION_SPEC.md and vulns_02.md: the same members but for what the result is.
#[test]
fn records_of_scans_are_told_by_their_result() {
    let (cosign, in_toto) = (
        "https://cosign.sigstore.dev/attestation/vuln/v1",
        "https://in-toto.io/attestation/vulns/v0.2",
    );
    let record = |invocation: &str, result: &str| {
        format!(
            r#"{{{invocation}"scanner":{{"uri":"x","result":{result}}},"metadata":{{"scanFinishedOn":"x"}}}}"#
        )
    };
    let invoked = r#""invocation":{"parameters":null,"uri":"","event_id":"","builder.id":""},"#;
    for (document, of_cosign, of_in_toto) in [
        (record(invoked, "{}"), true, false),
        (record(invoked, "null"), true, false),
        (record("", "{}"), true, false),
        (record("", "[]"), false, true),
        // What cosign 3 writes of a list, and in-toto's v0.1 in its example.
        (record(invoked, r#"[{"id":"x"}]"#), true, true),
    ] {
        assert_eq!(shaped(cosign, &document).is_ok(), of_cosign, "{document}");
        assert_eq!(shaped(in_toto, &document).is_ok(), of_in_toto, "{document}");
    }
}

#[test]
fn the_platforms_own_are_only_not_to_be_something_else() {
    let own = [
        "sbom",
        "vex",
        "vexDecision",
        "graph",
        "replay",
        "policy",
        "evidence",
    ];
    for name in own {
        let predicate_type = format!("https://stella.ops/{name}@v1");
        assert!(meant_by(&predicate_type).is_some());
        assert_eq!(shaped(&predicate_type, r#"{"anything":[1,2]}"#), Ok(()), "{name}");
        let provenance = shaped(&predicate_type, good("https://slsa.dev/provenance/v1")).expect_err(name);
        assert!(
            provenance.ends_with("use predicateType https://slsa.dev/provenance/v1"),
            "{provenance}"
        );
    }
    let may = |name: &str, of: &str| shaped(&format!("https://stella.ops/{name}@v1"), good(of)).is_ok();
    let (cyclonedx, openvex) = ("https://cyclonedx.org/bom", "https://openvex.dev/ns/v0.2.0");
    let (spdx, spdx3) = ("https://spdx.dev/Document", "https://spdx.dev/Document/v3");
    let csaf = "https://docs.oasis-open.org/csaf/csaf/v2.0/csaf_json_schema.json";
    assert!(may("sbom", cyclonedx) && may("sbom", spdx) && may("sbom", spdx3) && !may("sbom", openvex));
    assert!(may("vex", openvex) && may("vex", csaf) && may("vex", cyclonedx) && !may("vex", spdx));
    assert!(may("vexDecision", openvex) && !may("policy", openvex));
}

#[test]
fn what_is_around_a_predicate_is_told_from_it() {
    let statement =
        r#"{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x","predicate":{}}"#;
    let envelope = r#"{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[]}"#;
    for (document, name) in [
        (statement, "a whole in-toto statement"),
        (envelope, "a signed DSSE envelope"),
    ] {
        for predicate_type in ["https://cyclonedx.org/bom", "https://stella.ops/policy@v1"] {
            let what = shaped(predicate_type, document).expect_err(name);
            assert!(what.contains(&format!("it looks like {name}: send")), "{what}");
        }
    }
}

#[test]
fn what_is_not_known_is_not_looked_at() {
    for predicate_type in [
        "https://stella.ops/report/v1",
        "https://cyclonedx.org/bomb",
        "https://stella.ops/promotion@v12",
        "https://example.com/x",
    ] {
        assert!(meant_by(predicate_type).is_none(), "{predicate_type}");
        assert_eq!(shaped(predicate_type, GOOD[0].1), Ok(()), "{predicate_type}");
    }
}

#[test]
fn only_the_outermost_members_count() {
    let nested = r#"{"a":{"bomFormat":"CycloneDX","specVersion":"1.6"},"b":[{"bomFormat":"CycloneDX"}]}"#;
    let what = shaped("https://cyclonedx.org/bom", nested).expect_err("nested");
    assert!(what.contains("it has no bomFormat"), "{what}");
}

#[test]
fn a_bare_name_is_refused_with_its_uri() {
    for (bare, uri) in [
        ("cyclonedx", "https://cyclonedx.org/bom"),
        ("spdxjson", "https://spdx.dev/Document"),
        ("stella.ops/promotion@v1", "https://stella.ops/promotion@v1"),
        ("vexDecision@v1", "https://stella.ops/vexDecision@v1"),
    ] {
        let what = shaped(bare, r#"{"a":1}"#).expect_err(bare);
        assert_eq!(what, format!("predicateType must be a full URI: write {uri}"));
    }
    let what = shaped("sbomish", r#"{"a":1}"#).expect_err("no URI");
    assert!(
        what.contains("an absolute URI") && !what.contains("sbomish"),
        "{what}"
    );
}
