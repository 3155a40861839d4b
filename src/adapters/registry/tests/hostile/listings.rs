//! What may be wrong with a listing.

use serde_json::{Value, json};
use signer_actors::domain::release::Verdict::{Unsigned, Untrusted};

use super::super::Expect::{Doubt, Is, Timeout};
use super::super::fake::{Body, Reply};
use super::super::{World, forge};
use super::Row;

pub(super) fn rows() -> Vec<Row> {
    vec![
        (
            "empty",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"] = json!([])),
            Is(Unsigned),
            "",
        ),
        (
            "filtered",
            |w| filtered(w),
            Doubt,
            "the registry filtered a listing",
        ),
        (
            "html",
            |w| *w.reply(&w.listing.clone()) = Reply::ok("<html>"),
            Doubt,
            "expected value at line 1 column 1",
        ),
        (
            "null",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"] = Value::Null),
            Doubt,
            "neither an image manifest nor an index",
        ),
        (
            "an image manifest",
            |w| *w.reply(&w.listing.clone()) = Reply::ok(w.image.clone()),
            Doubt,
            "the listing of referrers is not an index",
        ),
        (
            "broken off",
            |w| w.reply(&w.listing.clone()).body = Body::Broken(vec![b' '; 1024 * 1024]),
            Doubt,
            "breaks off its answer",
        ),
        (
            "oversize",
            |w| w.reply(&w.listing.clone()).body = Body::Whole(vec![b' '; 1024 * 1024 + 1]),
            Doubt,
            "than the 1048576 bytes expected",
        ),
        (
            "endless body",
            |w| *w.reply(&w.listing.clone()) = Reply::body(Body::Endless),
            Doubt,
            "than the 1048576 bytes expected",
        ),
        (
            "content encoding",
            |w| add_header(w, "Content-Encoding", "gzip"),
            Doubt,
            "content encoding that was not asked for",
        ),
        (
            "cyclic pages",
            |w| {
                let page = Reply::ok(forge::index(&[]).to_string());
                second_page(w, page.with("Link", "<?page=2>; rel=\"next\""));
            },
            Doubt,
            "pages form a cycle",
        ),
        (
            "endless pages",
            |w| endless_pages(w, 40),
            Doubt,
            "more than 32 pages",
        ),
        (
            "page too many",
            |w| endless_pages(w, 32),
            Doubt,
            "more than 32 pages",
        ),
        (
            "foreign link",
            |w| add_header(w, "Link", "<http://127.0.0.1:9/v2/x>; rel=\"next\""),
            Doubt,
            "away from the registry",
        ),
        (
            "malformed link",
            |w| add_header(w, "Link", "nowhere"),
            Doubt,
            "Link header is malformed",
        ),
        (
            "second page absent",
            |w| add_header(w, "Link", "<?page=2>; rel=\"next\""),
            Doubt,
            "answers 404 for the listing",
        ),
        (
            "second page fails",
            |w| second_page(w, Reply::status(500)),
            Doubt,
            "answers 500 for the listing",
        ),
        (
            "second page malformed",
            |w| second_page(w, Reply::ok("[]")),
            Doubt,
            "malformed manifest: invalid length 0",
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
            "the registry filtered a listing",
        ),
        (
            "too many referrers",
            |w| w.edit_json(&w.listing.clone(), too_many),
            Doubt,
            "more than 64 referrers",
        ),
        (
            "sha512 referrer",
            |w| {
                w.edit_json(&w.listing.clone(), |v| {
                    v["manifests"][0]["digest"] = json!(format!("sha512:{}", "a".repeat(128)));
                })
            },
            Doubt,
            "digest is not sha256",
        ),
        (
            "path in a digest",
            |w| {
                w.edit_json(&w.listing.clone(), |v| {
                    v["manifests"][0]["digest"] = json!("sha256:../../../../v2/other/manifests/latest");
                })
            },
            Doubt,
            "digest is not sha256",
        ),
        (
            "wrong size",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"][0]["size"] = json!(3)),
            Doubt,
            "bytes expected",
        ),
        (
            "larger size",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"][0]["size"] = json!(9999)),
            Doubt,
            "not the size its descriptor says",
        ),
        (
            "negative size",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"][0]["size"] = json!(-1)),
            Doubt,
            "negative size",
        ),
        (
            "oversize referrer",
            |w| w.edit_json(&w.listing.clone(), |v| v["manifests"][0]["size"] = json!(1 << 30)),
            Doubt,
            "at most 1048576 are read",
        ),
        (
            "silence",
            |w| {
                w.settings.timeout = std::time::Duration::from_millis(300);
                *w.reply(&w.listing.clone()) = Reply::body(Body::Silence);
            },
            Timeout,
            "",
        ),
        (
            "filter claimed, and not applied",
            |w| add_header(w, "OCI-Filters-Applied", "artifactType"),
            Doubt,
            "the registry filtered a listing",
        ),
        (
            "filter of no name",
            |w| add_header(w, "oci-filters-applied", ""),
            Doubt,
            "the registry filtered a listing",
        ),
        (
            "filter claimed as drafts had it",
            |w| annotate(w, "org.opencontainers.referrers.filtersApplied"),
            Doubt,
            "the registry filtered a listing",
        ),
        (
            "filter claimed as zot 1.4 has it",
            |w| annotate(w, "org.opencontainers.references.filtersApplied"),
            Doubt,
            "the registry filtered a listing",
        ),
        (
            "second page withheld",
            |w| second_page(w, Reply::status(403)),
            Doubt,
            "answers 403 for the listing",
        ),
        (
            "second page of nothing",
            |w| second_page(w, Reply::ok("")),
            Doubt,
            "EOF while parsing",
        ),
        (
            "second page is an image",
            |w| second_page(w, Reply::ok(w.image.clone())),
            Doubt,
            "the listing of referrers is not an index",
        ),
        (
            "second page in part",
            |w| {
                let mut part = Reply::ok(forge::index(&[]).to_string());
                part.status = 206;
                second_page(w, part);
            },
            Doubt,
            "answers 206 for the listing",
        ),
        (
            "second page without end",
            |w| second_page(w, Reply::body(Body::Endless)),
            Doubt,
            "than the 1048576 bytes expected",
        ),
        (
            "second page that is the first",
            |w| {
                let itself = format!("<{}>; rel=\"next\"", w.listing);
                add_header(w, "Link", &itself);
            },
            Doubt,
            "pages form a cycle",
        ),
        (
            "pages that differ in a fragment alone",
            |w| {
                add_header(w, "Link", "<?page=1#0>; rel=\"next\"");
                let again = Reply::ok(forge::index(&[]).to_string());
                let path = format!("{}?page=1", w.listing);
                w.routes
                    .insert(path, again.with("Link", "<?page=1#0>; rel=\"next\""));
            },
            Doubt,
            "pages form a cycle",
        ),
        (
            "two links",
            |w| {
                add_header(w, "Link", "<?page=1>; rel=\"next\"");
                add_header(w, "Link", "<?page=2>; rel=\"next\"");
            },
            Doubt,
            "Link header is malformed",
        ),
        (
            "link back",
            |w| add_header(w, "Link", "<?page=0>; rel=\"prev\""),
            Doubt,
            "Link header is malformed",
        ),
        (
            "link out of the registry's API",
            |w| add_header(w, "Link", "</v2/../admin>; rel=\"next\""),
            Doubt,
            "away from the registry",
        ),
        (
            "link out of it in disguise",
            |w| add_header(w, "Link", "</v2/%2e%2e/admin>; rel=\"next\""),
            Doubt,
            "away from the registry",
        ),
        (
            "link to another port",
            |w| {
                let link = format!("<http://127.0.0.1:{}/v2/x>; rel=\"next\"", w.trap.port);
                add_header(w, "Link", &link);
            },
            Doubt,
            "away from the registry",
        ),
        (
            "link without a scheme",
            |w| {
                let link = format!("<//127.0.0.1:{}/v2/x>; rel=\"next\"", w.trap.port);
                add_header(w, "Link", &link);
            },
            Doubt,
            "away from the registry",
        ),
        (
            "link with credentials",
            |w| {
                let link = format!("<http://user:secret@{}/v2/x>; rel=\"next\"", w.host);
                add_header(w, "Link", &link);
            },
            Doubt,
            "carries credentials",
        ),
        (
            "link with a backslash",
            |w| {
                let link = format!("<\\\\127.0.0.1:{}\\v2\\x>; rel=\"next\"", w.trap.port);
                add_header(w, "Link", &link);
            },
            Doubt,
            "away from the registry",
        ),
        (
            "link of nine thousand bytes",
            |w| {
                let link = format!("<?page={}>; rel=\"next\"", "1".repeat(9000));
                add_header(w, "Link", &link);
            },
            Doubt,
            "a url is longer than",
        ),
        (
            "API gone, tag withheld",
            |w| {
                w.move_listing_to_tag();
                *w.reply(&w.listing.clone()) = Reply::status(403);
            },
            Doubt,
            "answers 403 for a tag",
        ),
        (
            "API gone, tag throttled",
            |w| {
                w.move_listing_to_tag();
                *w.reply(&w.listing.clone()) = Reply::status(429).with("Retry-After", "0");
            },
            Doubt,
            "answers 429 for a tag",
        ),
        (
            "API gone, tag names the image",
            |w| {
                w.move_listing_to_tag();
                *w.reply(&w.listing.clone()) = Reply::ok(w.image.clone());
            },
            Doubt,
            "the listing of referrers is not an index",
        ),
        (
            "API gone, tag of another digest than its header says",
            |w| {
                w.move_listing_to_tag();
                add_header(w, "Docker-Content-Digest", &forge::digest_of(b"other"));
            },
            Doubt,
            "header Docker-Content-Digest does not name",
        ),
        (
            "API gone, tag gone",
            |w| {
                w.move_listing_to_tag();
                w.routes.remove(&w.listing);
            },
            Is(Unsigned),
            "",
        ),
        (
            "throttled, with an invitation to wait",
            |w| *w.reply(&w.listing.clone()) = Reply::status(503).with("Retry-After", "3600"),
            Doubt,
            "answers 503 for the listing",
        ),
        (
            "redirected",
            |w| {
                let found = w.routes[&w.listing].clone();
                w.routes.insert("/elsewhere".into(), found);
                *w.reply(&w.listing.clone()) = Reply::status(307).with("Location", "/elsewhere");
            },
            Doubt,
            "answers 307 for the listing",
        ),
        (
            "not the referrers of this image",
            |w| {
                let other = forge::manifest(&[], None).to_string();
                w.edit_carrier(|v| v["subject"] = forge::descriptor("a/b", other.as_bytes()));
            },
            Is(Untrusted),
            "subject is another image",
        ),
        (
            "the image itself",
            |w| {
                let image = w.image.clone();
                let listing = forge::index(&[&image]).to_string();
                w.reply(&w.listing.clone()).body = Body::Whole(listing.into_bytes());
            },
            Is(Unsigned),
            "",
        ),
        (
            "an index in place of the referrer",
            |w| {
                let bytes = forge::index(&[]).to_string().into_bytes();
                w.put_manifest(&bytes);
                let listing = forge::index(&[&bytes]).to_string();
                w.reply(&w.listing.clone()).body = Body::Whole(listing.into_bytes());
            },
            Is(Unsigned),
            "",
        ),
        (
            "the same entry by the thousand",
            |w| {
                w.edit_json(&w.listing.clone(), |v| {
                    v["manifests"] = json!(vec![v["manifests"][0].clone(); 1000]);
                })
            },
            Doubt,
            "more than 256 descriptors",
        ),
        (
            "entries of nothing, a page full",
            |w| {
                let text = format!(
                    "{{\"schemaVersion\":2,\"manifests\":[{}{{}}]}}",
                    "{},".repeat(300_000)
                );
                w.reply(&w.listing.clone()).body = Body::Whole(text.into_bytes());
            },
            Doubt,
            "missing field",
        ),
        (
            "nested without end",
            |w| w.reply(&w.listing.clone()).body = Body::Whole(vec![b'['; 1024 * 1024]),
            Doubt,
            "invalid type: sequence",
        ),
        (
            "nested without end where nobody looks",
            |w| {
                let text = format!("{{\"schemaVersion\":2,\"x\":{}", "[".repeat(1_000_000));
                w.reply(&w.listing.clone()).body = Body::Whole(text.into_bytes());
            },
            Doubt,
            "EOF while parsing",
        ),
        (
            "no text where nobody looks",
            |w| {
                let text = b"{\"schemaVersion\":2,\"manifests\":[],\"x\":\"\xf2\"}";
                w.reply(&w.listing.clone()).body = Body::Whole(text.to_vec());
            },
            Doubt,
            "not UTF-8",
        ),
        (
            "the member manifests twice",
            |w| {
                let text = w.reply(&w.listing.clone()).bytes().to_vec();
                let twice = String::from_utf8(text)
                    .unwrap()
                    .replacen('{', "{\"manifests\":[],", 1);
                w.reply(&w.listing.clone()).body = Body::Whole(twice.into_bytes());
            },
            Doubt,
            "duplicate field",
        ),
        (
            "two documents",
            |w| {
                let text = [w.reply(&w.listing.clone()).bytes(), b"{}"].concat();
                w.reply(&w.listing.clone()).body = Body::Whole(text);
            },
            Doubt,
            "trailing characters",
        ),
        (
            "another schema version",
            |w| w.edit_json(&w.listing.clone(), |v| v["schemaVersion"] = json!(1)),
            Doubt,
            "schemaVersion is not 2",
        ),
        (
            "another media type",
            |w| w.edit_json(&w.listing.clone(), |v| v["mediaType"] = json!("text/html")),
            Doubt,
            "neither an image manifest nor an index",
        ),
    ]
}

fn add_header(world: &mut World, name: &str, value: &str) {
    let path = world.listing.clone();
    let reply = world.reply(&path).clone().with(name, value);
    world.routes.insert(path, reply);
}

fn annotate(world: &mut World, name: &'static str) {
    world.edit_json(&world.listing.clone(), |v| v["annotations"] = json!({ name: "" }));
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
