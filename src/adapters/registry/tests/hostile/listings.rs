//! What may be wrong with a listing.

use serde_json::{Value, json};
use signer_actors::domain::release::Verdict::Unsigned;

use super::super::Expect::{Doubt, Is, Timeout};
use super::super::fake::{Body, Reply};
use super::super::{Layout, World, forge};
use super::{Row, check};

#[actix_web::test]
async fn listings_are_not_believed() {
    let rows: &[Row] = &[
        (
            "empty",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"] = json!([])),
            Is(Unsigned),
        ),
        ("filtered", |w| filtered(w), Doubt),
        (
            "html",
            |w| *w.reply(&w.listing.clone()) = Reply::ok("<html>"),
            Doubt,
        ),
        (
            "null",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"] = Value::Null),
            Doubt,
        ),
        (
            "an image manifest",
            |w| *w.reply(&w.listing.clone()) = Reply::ok(w.image.clone()),
            Doubt,
        ),
        (
            "broken off",
            |w| w.reply(&w.listing.clone()).body = Body::Broken(vec![b' '; 1024 * 1024]),
            Doubt,
        ),
        (
            "oversize",
            |w| w.reply(&w.listing.clone()).body = Body::Whole(vec![b' '; 4 * 1024 * 1024 + 1]),
            Doubt,
        ),
        (
            "endless body",
            |w| *w.reply(&w.listing.clone()) = Reply::body(Body::Endless),
            Doubt,
        ),
        (
            "content encoding",
            |w| add_header(w, "Content-Encoding", "gzip"),
            Doubt,
        ),
        (
            "cyclic pages",
            |w| {
                let page = Reply::ok(forge::index(&[]).to_string());
                second_page(w, page.with("Link", "<?page=2>; rel=\"next\""));
            },
            Doubt,
        ),
        ("endless pages", |w| endless_pages(w, 40), Doubt),
        ("page too many", |w| endless_pages(w, 32), Doubt),
        (
            "foreign link",
            |w| add_header(w, "Link", "<http://127.0.0.1:9/v2/x>; rel=\"next\""),
            Doubt,
        ),
        ("malformed link", |w| add_header(w, "Link", "nowhere"), Doubt),
        (
            "second page absent",
            |w| add_header(w, "Link", "<?page=2>; rel=\"next\""),
            Doubt,
        ),
        ("second page fails", |w| second_page(w, Reply::status(500)), Doubt),
        (
            "second page malformed",
            |w| second_page(w, Reply::ok("[]")),
            Doubt,
        ),
        (
            "second page filtered",
            |w| {
                second_page(
                    w,
                    Reply::ok(forge::index(&[]).to_string()).with("OCI-Filters-Applied", "artifactType"),
                );
            },
            Doubt,
        ),
        (
            "too many referrers",
            |w| w.edit_json(&w.listing.clone(), too_many),
            Doubt,
        ),
        (
            "sha512 referrer",
            |w| {
                w.edit_json(&w.listing.clone(), |v| {
                    v["manifests"][0]["digest"] = json!(format!("sha512:{}", "a".repeat(128)));
                })
            },
            Doubt,
        ),
        (
            "path in a digest",
            |w| {
                w.edit_json(&w.listing.clone(), |v| {
                    v["manifests"][0]["digest"] = json!("sha256:../../../../v2/other/manifests/latest");
                })
            },
            Doubt,
        ),
        (
            "wrong size",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"][0]["size"] = json!(3)),
            Doubt,
        ),
        (
            "larger size",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"][0]["size"] = json!(9999)),
            Doubt,
        ),
        (
            "negative size",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"][0]["size"] = json!(-1)),
            Doubt,
        ),
        (
            "oversize referrer",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"][0]["size"] = json!(1 << 30)),
            Doubt,
        ),
        (
            "silence",
            |w| {
                w.settings.timeout = std::time::Duration::from_millis(300);
                *w.reply(&w.listing.clone()) = Reply::body(Body::Silence);
            },
            Timeout,
        ),
    ];
    check(Layout::Bundle, rows).await;
}

fn add_header(world: &mut World, name: &str, value: &str) {
    let path = world.listing.clone();
    let reply = world.reply(&path).clone().with(name, value);
    world.routes.insert(path, reply);
}

fn filtered(world: &mut World) {
    world.edit_json(&world.listing.clone(), |v| v["manifests"] = json!([]));
    add_header(world, "OCI-Filters-Applied", "artifactType");
}

/// `pages` further pages, each naming the next.
fn endless_pages(world: &mut World, pages: usize) {
    add_header(world, "Link", "<?page=1>; rel=\"next\"");
    for page in 1..=pages {
        let next = format!("<?page={}>; rel=\"next\"", page + 1);
        let reply = Reply::ok(forge::index(&[]).to_string()).with("Link", &next);
        world
            .routes
            .insert(format!("{}?page={page}", world.listing), reply);
    }
    world.routes.insert(
        format!("{}?page={}", world.listing, pages + 1),
        Reply::ok(forge::index(&[]).to_string()),
    );
}

fn second_page(world: &mut World, reply: Reply) {
    add_header(world, "Link", "<?page=2>; rel=\"next\"");
    world.routes.insert(format!("{}?page=2", world.listing), reply);
}

fn too_many(listing: &mut Value) {
    let other = |n: u32| forge::descriptor("application/vnd.oci.image.manifest.v1+json", &n.to_be_bytes());
    let manifests = listing["manifests"].as_array_mut().unwrap();
    manifests.extend((0..64).map(other));
}
