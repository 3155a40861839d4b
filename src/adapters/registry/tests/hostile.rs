//! The hostile table: one change to a trusted world per row.

use serde_json::{Value, json};
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::Verdict::{Unsigned, Untrusted};

use super::Expect::{Doubt, Is, NotFound, Timeout};
use super::fake::{Body, Reply};
use super::{Expect, LAYOUTS, Layout, NAME, World, assert_outcome, forge};

type Row = (&'static str, fn(&mut World), Expect);

async fn check(layout: Layout, rows: &[Row]) {
    for (name, change, expected) in rows {
        let mut world = World::new(layout);
        change(&mut world);
        let name = format!("{layout:?}: {name}");
        assert_ne!(
            *expected,
            Is(signer_actors::domain::release::Verdict::Trusted),
            "{name}"
        );
        assert_outcome(&name, &world.outcome().await, *expected);
    }
}

/// Statuses at every step, in every layout.
#[actix_web::test]
async fn no_status_at_any_step_gives_trust() {
    for layout in LAYOUTS {
        for status in [204, 206, 301, 400, 401, 403, 404, 410, 429, 500, 503] {
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

/// What may be wrong with a listing.
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
            |w| w.reply(&w.listing.clone()).body = Body::Broken(b"{\"schemaVersion\":2".to_vec()),
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
            |w| add_header(w, "Link", "<?>; rel=\"next\""),
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

/// What may be wrong with the manifests and blobs themselves.
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
            "carrier with another body",
            |w| {
                w.edit_json(&w.carrier.clone(), |v| v["annotations"] = json!({ "a": "b" }));
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

/// What may be wrong with a bundle and what carries it.
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
