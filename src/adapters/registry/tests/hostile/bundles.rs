//! What may be wrong with a bundle and what carries it.

use serde_json::{Value, json};
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::Verdict::Untrusted;

use super::super::Expect::Is;
use super::super::{World, forge};
use super::Row;

pub(super) fn rows() -> Vec<Row> {
    vec![
        (
            "subject of the manifest is another image",
            |w| {
                w.edit_carrier(|v| {
                    v["subject"]["digest"] = json!(forge::digest_of(b"other"));
                })
            },
            Is(Untrusted),
            "subject is another image",
        ),
        (
            "manifest without subject",
            |w| {
                w.edit_carrier(|v| {
                    v.as_object_mut().unwrap().remove("subject");
                })
            },
            Is(Untrusted),
            "subject is another image",
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
            "exactly one bundle",
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
            "an attestation of type",
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
            "an attestation of type",
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
            "an attestation of type",
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
            "the signature is over another image",
        ),
        (
            "over a prefix of the digest",
            |w| {
                w.carry_bundle(signed(w, &forge::statement(&w.digest[..40], forge::SIGN)));
            },
            Is(Untrusted),
            "the signature is over another image",
        ),
        (
            "digest under another algorithm",
            |w| {
                let mut statement = forge::statement(&w.digest, forge::SIGN);
                statement["subject"][0]["digest"] = json!({ "sha512": &w.digest[7..] });
                w.carry_bundle(signed(w, &statement));
            },
            Is(Untrusted),
            "the signature is over another image",
        ),
        (
            "older statement type",
            |w| {
                let mut statement = forge::statement(&w.digest, forge::SIGN);
                statement["_type"] = json!("https://in-toto.io/Statement/v0.1");
                w.carry_bundle(signed(w, &statement));
            },
            Is(Untrusted),
            "the statement is of type",
        ),
        (
            "by another key",
            |w| {
                let statement = forge::statement(&w.digest, forge::SIGN);
                w.carry_bundle(forge::bundle(&forge::key(), forge::by_key(), &statement));
            },
            Is(Untrusted),
            "no release key made this signature",
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
            "must be exactly one",
        ),
        (
            "no signature",
            |w| edit_bundle(w, |v| v["dsseEnvelope"]["signatures"] = json!([])),
            Is(Untrusted),
            "must be exactly one",
        ),
        (
            "another payload",
            |w| edit_bundle(w, |v| v["dsseEnvelope"]["payload"] = json!("e30=")),
            Is(Untrusted),
            "no release key made this signature",
        ),
        (
            "another payload type",
            |w| edit_bundle(w, |v| v["dsseEnvelope"]["payloadType"] = json!("text/plain")),
            Is(Untrusted),
            "the payload is of type",
        ),
        (
            "older bundle version",
            |w| {
                edit_bundle(w, |v| {
                    v["mediaType"] = json!("application/vnd.dev.sigstore.bundle+json;version=0.2");
                })
            },
            Is(Untrusted),
            "mediaType must be",
        ),
        (
            "unknown member",
            |w| edit_bundle(w, |v| v["messageSignature"] = json!({})),
            Is(Untrusted),
            "unknown field",
        ),
        (
            "key and certificate",
            |w| {
                edit_bundle(w, |v| {
                    v["verificationMaterial"]["certificate"] = json!({ "rawBytes": "AA==" });
                })
            },
            Is(Untrusted),
            "either a publicKey or a certificate",
        ),
        (
            "certificate without roots",
            |w| {
                edit_bundle(w, |v| {
                    v["verificationMaterial"] = json!({ "certificate": { "rawBytes": "AA==" } });
                })
            },
            Is(Untrusted),
            "certificate cannot be read",
        ),
        (
            "no material",
            |w| edit_bundle(w, |v| v["verificationMaterial"] = json!({})),
            Is(Untrusted),
            "either a publicKey or a certificate",
        ),
        (
            "revoked image",
            |w| w.settings.revoked = vec![ImageDigest::parse(&w.digest).unwrap()],
            Is(Untrusted),
            "the image is revoked",
        ),
        (
            "another release key",
            |w| w.settings.keys = vec![forge::pem(&forge::key())],
            Is(Untrusted),
            "no release key made this signature",
        ),
        (
            "over this image in another repository's words, and another",
            |w| {
                let mut statement = forge::statement(&forge::digest_of(b"other"), forge::SIGN);
                statement["subject"][0]["name"] = json!(w.digest);
                w.carry_bundle(signed(w, &statement));
            },
            Is(Untrusted),
            "the signature is over another image",
        ),
        (
            "the good signature twice, the second by another key",
            |w| {
                edit_bundle(w, |v| {
                    let mut other = v["dsseEnvelope"]["signatures"][0].clone();
                    other["sig"] = json!("AAAA");
                    v["dsseEnvelope"]["signatures"]
                        .as_array_mut()
                        .unwrap()
                        .push(other);
                })
            },
            Is(Untrusted),
            "must be exactly one",
        ),
        (
            "signature with whitespace",
            |w| {
                edit_bundle(w, |v| {
                    let signature = v["dsseEnvelope"]["signatures"][0]["sig"]
                        .as_str()
                        .unwrap()
                        .to_owned();
                    v["dsseEnvelope"]["signatures"][0]["sig"] = json!(format!("{signature}\n"));
                })
            },
            Is(Untrusted),
            "signature is not base64",
        ),
        (
            "payload in two spellings",
            |w| {
                edit_bundle(w, |v| {
                    let payload = v["dsseEnvelope"]["payload"]
                        .as_str()
                        .unwrap()
                        .trim_end_matches('=')
                        .to_owned();
                    v["dsseEnvelope"]["payload"] = json!(format!("{payload}===="));
                })
            },
            Is(Untrusted),
            "payload is not base64",
        ),
        (
            "log entries by the thousand",
            |w| {
                edit_bundle(w, |v| {
                    v["verificationMaterial"]["tlogEntries"] = json!(vec![0; 5000])
                })
            },
            Is(Untrusted),
            "more than 64",
        ),
        (
            "nested without end",
            |w| {
                let deep = "[".repeat(100_000);
                let text = format!("{{\"mediaType\":{deep}");
                carry_text(w, text.as_bytes());
            },
            Is(Untrusted),
            "invalid type: sequence",
        ),
        (
            "no JSON",
            |w| carry_text(w, b"bundle"),
            Is(Untrusted),
            "expected value at line 1 column 1",
        ),
        (
            "a member twice",
            |w| {
                let text = w.reply(&w.blob.clone()).bytes().to_vec();
                let twice = String::from_utf8(text)
                    .unwrap()
                    .replacen('{', "{\"mediaType\":\"x\",", 1);
                carry_text(w, twice.as_bytes());
            },
            Is(Untrusted),
            "duplicate field",
        ),
    ]
}

fn signed(world: &World, statement: &Value) -> Value {
    forge::bundle(&world.release, forge::by_key(), statement)
}

/// Changes the carried bundle without signing it again.
fn edit_bundle(world: &mut World, edit: impl FnOnce(&mut Value)) {
    let path = world.blob.clone();
    let mut bundle = serde_json::from_slice(world.reply(&path).bytes()).unwrap();
    edit(&mut bundle);
    world.carry_bundle(bundle);
}

/// Carries any text where a bundle should be.
fn carry_text(world: &mut World, text: &[u8]) {
    world.blob = world.put_blob(text);
    let layer = forge::descriptor(forge::BUNDLE, text);
    world.carry(&forge::manifest(&[layer], Some(&world.image.clone())));
}
