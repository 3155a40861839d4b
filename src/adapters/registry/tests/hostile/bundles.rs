//! What may be wrong with a bundle and what carries it.

use serde_json::{Value, json};
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::Verdict::Untrusted;

use super::super::Expect::Is;
use super::super::fake::Body;
use super::super::{Layout, World, forge};
use super::{Row, check};

#[actix_web::test]
async fn bundles_that_do_not_count() {
    let rows: &[Row] = &[
        (
            "subject of the manifest is another image",
            |w| {
                w.edit_carrier(|v| {
                    v["subject"]["digest"] = json!(forge::digest_of(b"other"));
                })
            },
            Is(Untrusted),
        ),
        (
            "manifest without subject",
            |w| {
                w.edit_carrier(|v| {
                    v.as_object_mut().unwrap().remove("subject");
                })
            },
            Is(Untrusted),
        ),
        (
            "two bundles in one manifest",
            |w| {
                w.edit_carrier(|v| {
                    let layer = v["layers"][0].clone();
                    v["layers"].as_array_mut().unwrap().push(layer);
                })
            },
            Is(Untrusted),
        ),
        (
            "attestation of an SBOM by the release key",
            |w| {
                w.carry_bundle(signed(
                    w,
                    &forge::statement(&w.digest, "https://cyclonedx.org/bom"),
                ));
            },
            Is(Untrusted),
        ),
        (
            "attestation that says so in its manifest",
            |w| {
                w.edit_carrier(|v| {
                    v["annotations"] =
                        json!({ "dev.sigstore.bundle.predicateType": "https://cyclonedx.org/bom" });
                })
            },
            Is(Untrusted),
        ),
        (
            "SBOM declared as a signature in its manifest",
            |w| {
                w.carry_bundle(signed(
                    w,
                    &forge::statement(&w.digest, "https://cyclonedx.org/bom"),
                ));
                w.edit_carrier(|v| {
                    v["annotations"] = json!({ "dev.sigstore.bundle.predicateType": forge::SIGN })
                });
            },
            Is(Untrusted),
        ),
        (
            "over another image",
            |w| {
                w.carry_bundle(signed(
                    w,
                    &forge::statement(&forge::digest_of(b"other"), forge::SIGN),
                ));
            },
            Is(Untrusted),
        ),
        (
            "over a prefix of the digest",
            |w| {
                w.carry_bundle(signed(w, &forge::statement(&w.digest[..40], forge::SIGN)));
            },
            Is(Untrusted),
        ),
        (
            "digest under another algorithm",
            |w| {
                let mut statement = forge::statement(&w.digest, forge::SIGN);
                statement["subject"][0]["digest"] = json!({ "sha512": &w.digest[7..] });
                w.carry_bundle(signed(w, &statement));
            },
            Is(Untrusted),
        ),
        (
            "older statement type",
            |w| {
                let mut statement = forge::statement(&w.digest, forge::SIGN);
                statement["_type"] = json!("https://in-toto.io/Statement/v0.1");
                w.carry_bundle(signed(w, &statement));
            },
            Is(Untrusted),
        ),
        (
            "by another key",
            |w| {
                let statement = forge::statement(&w.digest, forge::SIGN);
                w.carry_bundle(forge::bundle(&forge::key(), forge::by_key(), &statement));
            },
            Is(Untrusted),
        ),
        (
            "two signatures",
            |w| {
                edit_bundle(w, |v| {
                    let signature = v["dsseEnvelope"]["signatures"][0].clone();
                    v["dsseEnvelope"]["signatures"]
                        .as_array_mut()
                        .unwrap()
                        .push(signature);
                })
            },
            Is(Untrusted),
        ),
        (
            "no signature",
            |w| edit_bundle(w, |v| v["dsseEnvelope"]["signatures"] = json!([])),
            Is(Untrusted),
        ),
        (
            "another payload",
            |w| edit_bundle(w, |v| v["dsseEnvelope"]["payload"] = json!("e30=")),
            Is(Untrusted),
        ),
        (
            "another payload type",
            |w| edit_bundle(w, |v| v["dsseEnvelope"]["payloadType"] = json!("text/plain")),
            Is(Untrusted),
        ),
        (
            "older bundle version",
            |w| {
                edit_bundle(w, |v| {
                    v["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2");
                })
            },
            Is(Untrusted),
        ),
        (
            "unknown member",
            |w| edit_bundle(w, |v| v["messageSignature"] = json!({})),
            Is(Untrusted),
        ),
        (
            "key and certificate",
            |w| {
                edit_bundle(w, |v| {
                    v["verificationMaterial"]["certificate"] = json!({ "rawBytes": "AA==" });
                })
            },
            Is(Untrusted),
        ),
        (
            "certificate without roots",
            |w| {
                edit_bundle(w, |v| {
                    v["verificationMaterial"] = json!({ "certificate": { "rawBytes": "AA==" } });
                })
            },
            Is(Untrusted),
        ),
        (
            "no material",
            |w| edit_bundle(w, |v| v["verificationMaterial"] = json!({})),
            Is(Untrusted),
        ),
        (
            "revoked image",
            |w| w.settings.revoked = vec![ImageDigest::parse(&w.digest).unwrap()],
            Is(Untrusted),
        ),
        (
            "another release key",
            |w| w.settings.keys = vec![forge::pem(&forge::key())],
            Is(Untrusted),
        ),
    ];
    check(Layout::Bundle, rows).await;
}

fn signed(world: &World, statement: &Value) -> Value {
    forge::bundle(&world.release, forge::by_key(), statement)
}

/// Changes the carried bundle without signing it again.
fn edit_bundle(world: &mut World, edit: impl FnOnce(&mut Value)) {
    let path = world.blob.clone();
    let Body::Whole(bytes) = world.reply(&path).body.clone() else {
        panic!("whole")
    };
    let mut bundle = serde_json::from_slice(&bytes).unwrap();
    edit(&mut bundle);
    world.carry_bundle(bundle);
}
