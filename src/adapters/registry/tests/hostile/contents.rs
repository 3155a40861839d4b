//! What may be wrong with manifests and blobs themselves.

use serde_json::json;

use super::super::Expect::Doubt;
use super::super::fake::{Body, Reply};
use super::super::{Layout, World, forge};
use super::{Row, check};

#[actix_web::test]
async fn contents_are_rehashed_and_redirects_bounded() {
    let rows: &[Row] = &[
        (
            "image header names another digest",
            |w| {
                let path = World::path(&format!("manifests/{}", w.digest));
                w.reply(&path).headers[0].1 = forge::digest_of(b"other");
            },
            Doubt,
        ),
        (
            "carrier header names another digest",
            |w| {
                let path = w.carrier.clone();
                w.reply(&path).headers[0].1 = forge::digest_of(b"other");
            },
            Doubt,
        ),
        (
            "carrier with another body of its size",
            |w| {
                w.edit_json(&w.carrier.clone(), |v| {
                    v["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+jsoN")
                })
            },
            Doubt,
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
        ),
        (
            "blob broken off",
            |w| *w.reply(&w.blob.clone()) = Reply::body(Body::Broken(b"{".to_vec())),
            Doubt,
        ),
        (
            "blob without end",
            |w| *w.reply(&w.blob.clone()) = Reply::body(Body::Endless),
            Doubt,
        ),
        (
            "oversize blob",
            |w| w.edit_carrier(|v| v["layers"][0]["size"] = json!(1 << 30)),
            Doubt,
        ),
        (
            "redirect to the metadata address",
            |w| redirect(w, "http://169.254.169.254/latest"),
            Doubt,
        ),
        (
            "redirect to the metadata address, though trusted",
            |w| {
                w.settings.trusted_hosts = vec!["169.254.169.254".into()];
                redirect(w, "https://169.254.169.254/latest");
            },
            Doubt,
        ),
        (
            "redirect to another port of loopback",
            |w| redirect(w, "http://127.0.0.1:1/blob"),
            Doubt,
        ),
        (
            "redirect to another name of loopback",
            |w| {
                let port = w.host.rsplit_once(':').unwrap().1.to_owned();
                w.settings.trusted_hosts = vec![format!("localhost:{port}")];
                redirect(w, &format!("https://localhost:{port}/blob"));
            },
            Doubt,
        ),
        ("redirect to a file", |w| redirect(w, "file:///etc/passwd"), Doubt),
        (
            "redirect to nowhere",
            |w| *w.reply(&w.blob.clone()) = Reply::status(307),
            Doubt,
        ),
        (
            "two redirects",
            |w| {
                redirect(w, "/once");
                w.routes
                    .insert("/once".into(), Reply::status(307).with("Location", "/twice"));
            },
            Doubt,
        ),
        (
            "manifest redirected",
            |w| {
                let found = w.routes[&w.carrier].clone();
                w.routes.insert("/elsewhere".into(), found);
                *w.reply(&w.carrier.clone()) = Reply::status(307).with("Location", "/elsewhere");
            },
            Doubt,
        ),
        (
            "an image and an index at once",
            |w| w.edit_carrier(|v| v["manifests"] = json!([])),
            Doubt,
        ),
    ];
    check(Layout::Bundle, rows).await;
}

fn redirect(world: &mut World, location: &str) {
    let path = world.blob.clone();
    *world.reply(&path) = Reply::status(307).with("Location", location);
}
