//! The hostile table: one change to a trusted world per row.

mod bundles;
mod contents;
mod listings;
mod simple;

use serde_json::json;
use signer_actors::domain::release::Verdict::{Trusted, Unsigned, Untrusted};

use super::Expect::{self, Doubt, Is, NotFound};
use super::fake::{Body, Reply};
use super::{LAYOUTS, Layout, NAME, World, assert_outcome, forge};

type Row = (&'static str, fn(&mut World), Expect);

async fn check(layout: Layout, rows: &[Row]) {
    for (name, change, expected) in rows {
        let mut world = World::new(layout);
        change(&mut world);
        let name = format!("{layout:?}: {name}");
        assert_ne!(*expected, Is(Trusted), "{name}");
        assert_outcome(&name, &world.outcome().await, *expected);
    }
}

/// Statuses at every step, in every layout.
#[actix_web::test]
async fn no_status_at_any_step_gives_trust() {
    for layout in LAYOUTS {
        for status in [206, 301, 401, 403, 404, 429, 500] {
            for step in ["image", "listing", "carrier", "blob"] {
                let mut world = World::new(layout);
                let path = match step {
                    "image" => World::path(&format!("manifests/{}", world.digest)),
                    "listing" if layout == Layout::Legacy => {
                        World::path(&format!("referrers/{}", world.digest))
                    }
                    "listing" => world.listing.clone(),
                    "carrier" => world.carrier.clone(),
                    _ => world.blob.clone(),
                };
                *world.reply(&path) = Reply::status(status);
                let expected = match (step, status, layout) {
                    ("image", 404, _) => NotFound,
                    // No Referrers API is an empty listing by tag, and so is no tag.
                    ("listing", 404, Layout::Legacy) => continue,
                    ("listing", 404, _) | ("carrier", 404, Layout::Legacy) => Is(Unsigned),
                    _ => Doubt,
                };
                assert_outcome(
                    &format!("{layout:?} {step} {status}"),
                    &world.outcome().await,
                    expected,
                );
            }
        }
    }
}

/// One key, however often it signs and however it is configured, is one signer.
#[actix_web::test]
async fn one_key_twice_is_below_a_threshold_of_two() {
    for layout in LAYOUTS {
        let mut world = World::new(layout);
        // A second signature by the same key, in another format under cosign's tag.
        let (listing, digest) = (world.listing.clone(), world.digest.clone());
        world.carry_simple(
            Layout::Legacy,
            &forge::payload(&digest, json!({ "again": "yes" })).to_string(),
        );
        world.listing = listing;
        world.settings.keys.push(forge::pem(&forge::key()));
        world.settings.threshold = 2;
        assert_outcome(&format!("{layout:?}"), &world.outcome().await, Is(Untrusted));
    }
}

/// Another host that would answer well, is public enough, and is not configured.
#[actix_web::test]
async fn only_configured_hosts_are_asked() {
    for (moved, configured) in [("blob", false), ("blob", true), ("token", false), ("token", true)] {
        let mut world = World::new(Layout::Bundle);
        let (listener, host) = super::fake::listener();
        world.settings.plain_http.push(host.clone());
        if configured {
            world.settings.trusted_hosts = vec![host.clone()];
        }
        let path = World::path(&format!("manifests/{}", world.digest));
        let (blob, good) = (world.blob.clone(), world.routes[&path].clone());
        let routes = if moved == "blob" {
            let redirect = Reply::status(307).with("Location", &format!("http://{host}/blob"));
            [("/blob".to_owned(), world.routes.insert(blob, redirect).unwrap())].into()
        } else {
            let challenge = format!("Bearer realm=\"http://{host}/token\"");
            world.routes.insert(format!("auth {path}"), good);
            world
                .routes
                .insert(path, Reply::status(401).with("WWW-Authenticate", &challenge));
            let scope = format!("/token?scope=repository%3A{}%3Apull", NAME.replace('/', "%2F"));
            [(scope, Reply::ok(r#"{"token":"t"}"#))].into()
        };
        let mut other = super::fake::Fake::start(listener, routes);
        let expected = if configured { Is(Trusted) } else { Doubt };
        assert_outcome(
            &format!("{moved}, configured: {configured}"),
            &world.outcome().await,
            expected,
        );
        assert_eq!(other.seen.try_recv().is_ok(), configured, "{moved}");
        other.stop().await;
    }
}

/// What may be wrong with authentication.
#[actix_web::test]
async fn authentication_that_fails() {
    fn challenge(world: &mut World, realm: &str) {
        let path = World::path(&format!("manifests/{}", world.digest));
        let good = world.routes[&path].clone();
        world.routes.insert(format!("auth {path}"), good);
        let header = format!("Bearer realm=\"{realm}\",service=\"fake\"");
        world
            .routes
            .insert(path, Reply::status(401).with("WWW-Authenticate", &header));
    }
    fn local(world: &mut World, reply: Reply) {
        let realm = format!("http://{}/token", world.host);
        challenge(world, &realm);
        let scope = format!(
            "/token?service=fake&scope=repository%3A{}%3Apull",
            NAME.replace('/', "%2F")
        );
        world.routes.insert(scope, reply);
    }
    let rows: &[Row] = &[
        (
            "foreign realm",
            |w| challenge(w, "https://evil.example/token"),
            Doubt,
        ),
        (
            "realm at an internal address",
            |w| challenge(w, "http://169.254.169.254/token"),
            Doubt,
        ),
        ("realm refuses", |w| local(w, Reply::status(403)), Doubt),
        (
            "realm redirects",
            |w| local(w, Reply::status(307).with("Location", "/elsewhere")),
            Doubt,
        ),
        ("realm throttles", |w| local(w, Reply::status(429)), Doubt),
        ("realm without token", |w| local(w, Reply::ok("{}")), Doubt),
        (
            "realm without end",
            |w| local(w, Reply::body(Body::Endless)),
            Doubt,
        ),
        (
            "token not accepted",
            |w| {
                local(w, Reply::ok(r#"{"token":"t"}"#));
                let path = World::path(&format!("manifests/{}", w.digest));
                w.routes.insert(format!("auth {path}"), Reply::status(401));
            },
            Doubt,
        ),
        (
            "unknown scheme",
            |w| {
                let path = World::path(&format!("manifests/{}", w.digest));
                w.routes
                    .insert(path, Reply::status(401).with("WWW-Authenticate", "Negotiate"));
            },
            Doubt,
        ),
    ];
    check(Layout::Bundle, rows).await;
}
