//! What may be wrong with simple signing and what carries it.

use serde_json::{Value, json};
use signer_actors::domain::release::Verdict::{Unsigned, Untrusted};

use super::super::Expect::{Doubt, Is};
use super::super::fake::{Body, Reply};
use super::super::{Layout, World, forge};
use super::Row;

/// Changes the payload, which the release key then signs.
fn signed(world: &mut World, edit: impl FnOnce(&World, &mut Value)) {
    let layout = if world.listing.is_empty() {
        Layout::Legacy
    } else {
        Layout::Oci11
    };
    let mut payload = forge::payload(&world.digest, Value::Null);
    edit(world, &mut payload);
    world.carry_simple(layout, &payload.to_string());
}

/// What the release key did sign, and is no release signature of this image; in a referrer and under cosign's tag.
pub(super) fn payloads() -> Vec<Row> {
    vec![
        (
            "payload about another image",
            |w| {
                signed(w, |_, v| {
                    *v = forge::payload(&forge::digest_of(b"other"), Value::Null)
                })
            },
            Is(Untrusted),
            "the signature is over another image",
        ),
        (
            "payload about a prefix of the digest",
            |w| signed(w, |w, v| *v = forge::payload(&w.digest[..40], Value::Null)),
            Is(Untrusted),
            "the signature is over another image",
        ),
        (
            "payload about the digest in upper case",
            |w| {
                signed(w, |w, v| {
                    *v = forge::payload(&w.digest.to_uppercase(), Value::Null)
                })
            },
            Is(Untrusted),
            "the signature is over another image",
        ),
        (
            "payload about the digest without its algorithm",
            |w| signed(w, |w, v| *v = forge::payload(&w.digest[7..], Value::Null)),
            Is(Untrusted),
            "the signature is over another image",
        ),
        (
            "payload of another type",
            |w| {
                signed(w, |_, v| {
                    v["critical"]["type"] = json!("atomic container signature")
                })
            },
            Is(Untrusted),
            "the payload is of type",
        ),
        (
            "payload without critical",
            |w| signed(w, |_, v| *v = json!({ "optional": null })),
            Is(Untrusted),
            "the payload is not simple signing",
        ),
        (
            "payload with an unknown critical member",
            |w| signed(w, |_, v| v["critical"]["image"]["name"] = json!("x")),
            Is(Untrusted),
            "the payload is not simple signing",
        ),
        (
            "payload that names two images",
            |w| {
                signed(w, |w, v| {
                    v["critical"]["image"]["docker-manifest-digest"] = json!([w.digest, "sha256:00"])
                })
            },
            Is(Untrusted),
            "the payload is not simple signing",
        ),
        (
            "payload that is a statement",
            |w| signed(w, |w, v| *v = forge::statement(&w.digest, forge::SIGN)),
            Is(Untrusted),
            "the payload is not simple signing",
        ),
    ]
}

/// What may be wrong with a referrer that carries simple signing.
pub(super) fn carriers() -> Vec<Row> {
    vec![
        (
            "subject is another image",
            |w| {
                w.edit_carrier(|v| {
                    v["subject"]["digest"] = json!(forge::digest_of(b"other"));
                })
            },
            Is(Untrusted),
            "subject is another image",
        ),
        (
            "no subject",
            |w| {
                w.edit_carrier(|v| {
                    v.as_object_mut().unwrap().remove("subject");
                })
            },
            Is(Untrusted),
            "subject is another image",
        ),
        (
            "no signature",
            |w| w.edit_carrier(|v| v["layers"][0]["annotations"] = json!({})),
            Is(Untrusted),
            "the layer carries no signature",
        ),
        (
            "signature of something else",
            |w| {
                let signature = forge::sign(&w.release, b"something else");
                w.edit_carrier(|v| {
                    v["layers"][0]["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature })
                });
            },
            Is(Untrusted),
            "no release key made this signature",
        ),
        (
            "signature is not base64",
            |w| {
                w.edit_carrier(|v| {
                    v["layers"][0]["annotations"] = json!({ "dev.cosignproject.cosign/signature": "%%" });
                })
            },
            Is(Untrusted),
            "the signature is not base64",
        ),
        (
            "layer of another media type",
            |w| w.edit_carrier(|v| v["layers"][0]["mediaType"] = json!("a/b")),
            Is(Unsigned),
            "",
        ),
        (
            "duplicate digest in the payload",
            |w| {
                let other = forge::digest_of(b"other");
                let payload = forge::payload(&w.digest, Value::Null).to_string();
                let image = format!("\"docker-manifest-digest\":\"{}\"", w.digest);
                let both =
                    payload.replace(&image, &format!("{image},\"docker-manifest-digest\":\"{other}\""));
                assert_ne!(both, payload);
                w.carry_simple(Layout::Oci11, &both);
            },
            Is(Untrusted),
            "the payload is not simple signing",
        ),
    ]
}

/// What may be wrong under cosign's tag.
pub(super) fn tags() -> Vec<Row> {
    vec![
        (
            "tag names an index",
            |w| *w.reply(&w.carrier.clone()) = Reply::ok(forge::index(&[]).to_string()),
            Doubt,
            "names an index",
        ),
        (
            "tag with another digest in its header",
            |w| {
                let path = w.carrier.clone();
                let reply = w
                    .reply(&path)
                    .clone()
                    .with("Docker-Content-Digest", &forge::digest_of(b"other"));
                w.routes.insert(path, reply);
            },
            Doubt,
            "header Docker-Content-Digest does not name",
        ),
        (
            "too many layers",
            |w| {
                w.edit_json(&w.carrier.clone(), |v| {
                    let layer = v["layers"][0].clone();
                    v["layers"] = json!(vec![layer; 65]);
                })
            },
            Doubt,
            "more than 64 signatures",
        ),
        (
            "tag names something longer than a signature",
            |w| {
                let path = w.carrier.clone();
                w.reply(&path).body = Body::Whole(vec![b' '; 1024 * 1024 + 1]);
            },
            Doubt,
            "than the 1048576 bytes expected",
        ),
        (
            "tag is withheld",
            |w| *w.reply(&w.carrier.clone()) = Reply::status(403),
            Doubt,
            "answers 403 for a tag",
        ),
        (
            "tag is redirected",
            |w| {
                let found = w.routes[&w.carrier].clone();
                w.routes.insert("/elsewhere".into(), found);
                *w.reply(&w.carrier.clone()) = Reply::status(307).with("Location", "/elsewhere");
            },
            Doubt,
            "answers 307 for a tag",
        ),
        (
            "tag names the image itself",
            |w| *w.reply(&w.carrier.clone()) = Reply::ok(w.image.clone()),
            Is(Unsigned),
            "",
        ),
        (
            "the signature of another layer",
            |w| {
                w.edit_json(&w.carrier.clone(), |v| {
                    let mut other = v["layers"][0].clone();
                    other["annotations"] = json!({});
                    let signature = v["layers"][0]["annotations"].take();
                    v["config"]["annotations"] = signature;
                    v["layers"] = json!([other]);
                })
            },
            Is(Untrusted),
            "the layer carries no signature",
        ),
    ]
}
