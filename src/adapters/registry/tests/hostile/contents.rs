//! What may be wrong with manifests and blobs themselves.

use serde_json::json;
use signer_actors::domain::release::Verdict::Untrusted;

use super::super::Expect::{Doubt, Is};
use super::super::fake::{Body, Reply};
use super::super::{World, forge};
use super::Row;

pub(super) fn rows() -> Vec<Row> {
    vec![
        (
            "image header names another digest",
            |w| {
                let path = World::path(&format!("manifests/{}", w.digest));
                w.reply(&path).headers[0].1 = forge::digest_of(b"other");
            },
            Doubt,
            "header Docker-Content-Digest does not name",
        ),
        (
            "carrier header names another digest",
            |w| {
                let path = w.carrier.clone();
                w.reply(&path).headers[0].1 = forge::digest_of(b"other");
            },
            Doubt,
            "header Docker-Content-Digest does not name",
        ),
        (
            "carrier with another body of its size",
            |w| {
                w.edit_json(&w.carrier.clone(), |v| {
                    v["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+jsoN")
                })
            },
            Doubt,
            "has another digest",
        ),
        (
            "blob with another body of its size",
            |w| {
                let path = w.blob.clone();
                let Body::Whole(bytes) = &mut w.reply(&path).body else {
                    panic!("whole")
                };
                let last = bytes.len() - 1;
                bytes[last] = b' ';
            },
            Doubt,
            "has another digest",
        ),
        (
            "blob cut short",
            |w| {
                let path = w.blob.clone();
                let Body::Whole(bytes) = &mut w.reply(&path).body else {
                    panic!("whole")
                };
                bytes.pop();
            },
            Doubt,
            "not the size its descriptor says",
        ),
        (
            "blob broken off",
            |w| *w.reply(&w.blob.clone()) = Reply::body(Body::Broken(b"{".to_vec())),
            Doubt,
            "breaks off its answer",
        ),
        (
            "blob without end",
            |w| *w.reply(&w.blob.clone()) = Reply::body(Body::Endless),
            Doubt,
            "bytes expected",
        ),
        (
            "oversize blob",
            |w| w.edit_carrier(|v| v["layers"][0]["size"] = json!(1 << 30)),
            Is(Untrusted),
            "a signature has at most 1048576",
        ),
        (
            "an image and an index at once",
            |w| w.edit_carrier(|v| v["manifests"] = json!([])),
            Doubt,
            "neither an image manifest nor an index",
        ),
        (
            "carrier of 200 MiB, declared in its head",
            |w| {
                let path = w.carrier.clone();
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n{";
                *w.reply(&path) = Reply::wire(head);
            },
            Doubt,
            "bytes expected",
        ),
        (
            "carrier of 200 MiB, declared in the listing as well",
            |w| {
                w.edit_json(&w.listing.clone(), |v| {
                    v["manifests"][0]["size"] = json!(209_715_200)
                });
                *w.reply(&w.carrier.clone()) = Reply::body(Body::Endless);
            },
            Doubt,
            "at most 1048576 are read",
        ),
        (
            "carrier without end",
            |w| *w.reply(&w.carrier.clone()) = Reply::body(Body::Endless),
            Doubt,
            "bytes expected",
        ),
        (
            "carrier with a byte too many",
            |w| {
                let bytes = [w.reply(&w.carrier.clone()).bytes(), b" "].concat();
                w.reply(&w.carrier.clone()).body = Body::Whole(bytes);
            },
            Doubt,
            "bytes expected",
        ),
        (
            "carrier that is another one, with the header of the first",
            |w| {
                let other = forge::manifest(&[], Some(&w.image.clone())).to_string();
                w.reply(&w.carrier.clone()).body = Body::Whole(other.into_bytes());
            },
            Doubt,
            "not the size its descriptor says",
        ),
        (
            "carrier with two digest headers",
            |w| {
                let reply = w.reply(&w.carrier.clone()).clone();
                let other = reply.with("Docker-Content-Digest", &forge::digest_of(b"other"));
                *w.reply(&w.carrier.clone()) = other;
            },
            Doubt,
            "header Docker-Content-Digest does not name",
        ),
        (
            "carrier with another algorithm in its digest header",
            |w| {
                let path = w.carrier.clone();
                w.reply(&path).headers[0].1 = format!("sha512:{}", "a".repeat(128));
            },
            Doubt,
            "header Docker-Content-Digest does not name",
        ),
        (
            "carrier with more layers than any builder makes",
            |w| {
                w.edit_carrier(|v| {
                    let layer = v["layers"][0].clone();
                    v["layers"] = json!(vec![layer; 257]);
                })
            },
            Doubt,
            "more than 256 descriptors",
        ),
        (
            "carrier with annotations by the thousand",
            |w| {
                w.edit_carrier(|v| {
                    let many: serde_json::Map<_, _> = (0..1000).map(|n| (n.to_string(), json!(""))).collect();
                    v["layers"][0]["annotations"] = json!(many);
                })
            },
            Doubt,
            "more than 256 members",
        ),
        (
            "carrier whose layer has a path for a digest",
            |w| w.edit_carrier(|v| v["layers"][0]["digest"] = json!("../../../../v2/other/blobs/x")),
            Doubt,
            "digest is not sha256",
        ),
        (
            "carrier whose layer is the carrier",
            |w| {
                let carrier = w.carrier.rsplit('/').next().unwrap().to_owned();
                w.edit_carrier(|v| v["layers"][0]["digest"] = json!(carrier));
            },
            Doubt,
            "answers 404 for a blob",
        ),
        (
            "blob with a byte too many",
            |w| {
                let bytes = [w.reply(&w.blob.clone()).bytes(), b" "].concat();
                w.reply(&w.blob.clone()).body = Body::Whole(bytes);
            },
            Doubt,
            "bytes expected",
        ),
        (
            "blob that is empty",
            |w| w.reply(&w.blob.clone()).body = Body::Whole(Vec::new()),
            Doubt,
            "not the size its descriptor says",
        ),
        (
            "image withheld after it was found",
            |w| {
                let path = World::path(&format!("manifests/{}", w.digest));
                let found = w.routes.remove(&path).unwrap();
                w.routes.insert(format!("HEAD {path}"), found);
                w.routes.insert(path, Reply::status(403));
            },
            Doubt,
            "answers 403 for a listed manifest",
        ),
        (
            "image that has become another one",
            |w| {
                let path = World::path(&format!("manifests/{}", w.digest));
                let found = w.routes.remove(&path).unwrap();
                w.routes.insert(format!("HEAD {path}"), found);
                w.routes
                    .insert(path, Reply::ok(forge::manifest(&[], None).to_string()));
            },
            Doubt,
            "has another digest",
        ),
    ]
}
