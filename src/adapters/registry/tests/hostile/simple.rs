//! What may be wrong with simple signing and what carries it.

use serde_json::{Value, json};
use signer_actors::domain::release::Verdict::{Unsigned, Untrusted};

use super::super::Expect::{Doubt, Is};
use super::super::fake::Reply;
use super::super::{Layout, World, assert_outcome, forge};
use super::{Row, check};

/// What may be wrong with simple signing, in both places.
#[actix_web::test]
async fn simple_signatures_that_do_not_count() {
    async fn each(name: &str, edit: fn(&World, &mut Value)) {
        for layout in [Layout::Oci11, Layout::Legacy] {
            let mut world = World::new(layout);
            let mut payload = forge::payload(&world.digest, Value::Null);
            edit(&world, &mut payload);
            world.carry_simple(layout, &payload.to_string());
            assert_outcome(
                &format!("{layout:?}: {name}"),
                &world.outcome().await,
                Is(Untrusted),
            );
        }
    }
    let image =
        |v: &mut Value, digest: &str| v["critical"]["image"]["docker-manifest-digest"] = json!(digest);
    let _ = image;
    each("another image", |_, v| {
        *v = forge::payload(&forge::digest_of(b"other"), Value::Null)
    })
    .await;
    each("prefix of the digest", |w, v| {
        *v = forge::payload(&w.digest[..40], Value::Null)
    })
    .await;
    each("upper case", |w, v| {
        *v = forge::payload(&w.digest.to_uppercase(), Value::Null)
    })
    .await;
    each("another type", |_, v| {
        v["critical"]["type"] = json!("atomic container signature")
    })
    .await;
    each("no critical", |_, v| *v = json!({ "optional": null })).await;
    each("unknown critical member", |_, v| {
        v["critical"]["image"]["name"] = json!("x")
    })
    .await;
    each("a statement", |w, v| {
        *v = forge::statement(&w.digest, forge::SIGN)
    })
    .await;
}

#[actix_web::test]
async fn simple_signing_carriers_that_do_not_count() {
    let rows: &[Row] = &[
        (
            "subject is another image",
            |w| {
                w.edit_carrier(|v| {
                    v["subject"]["digest"] = json!(forge::digest_of(b"other"));
                })
            },
            Is(Untrusted),
        ),
        (
            "no subject",
            |w| {
                w.edit_carrier(|v| {
                    v.as_object_mut().unwrap().remove("subject");
                })
            },
            Is(Untrusted),
        ),
        (
            "no signature",
            |w| w.edit_carrier(|v| v["layers"][0]["annotations"] = json!({})),
            Is(Untrusted),
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
        ),
        (
            "signature is not base64",
            |w| {
                w.edit_carrier(|v| {
                    v["layers"][0]["annotations"] = json!({ "dev.cosignproject.cosign/signature": "%%" });
                })
            },
            Is(Untrusted),
        ),
        (
            "layer of another media type",
            |w| w.edit_carrier(|v| v["layers"][0]["mediaType"] = json!("a/b")),
            Is(Unsigned),
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
        ),
    ];
    check(Layout::Oci11, rows).await;
    let rows: &[Row] = &[
        (
            "tag names an index",
            |w| *w.reply(&w.carrier.clone()) = Reply::ok(forge::index(&[]).to_string()),
            Doubt,
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
        ),
    ];
    check(Layout::Legacy, rows).await;
}
