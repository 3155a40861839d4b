//! What is trusted, why, and what several repositories add up to.

use serde_json::{Value, json};
use signer_actors::domain::release::Verdict::{Trusted, Unsigned, Untrusted};
use signer_actors::domain::release::{ListingSource, ReleaseReport, ReleaseSigner, SignatureFormat};
use zeroize::Zeroizing;

use super::super::Credentials;
use super::Expect::{Doubt, Is, NotFound, Timeout};
use super::fake::{Body, Fake, Reply};
use super::*;

async fn trusted(world: World) -> ReleaseReport {
    let outcome = world.outcome().await;
    assert_outcome("trusted", &outcome, Is(Trusted));
    outcome.unwrap()
}

#[actix_web::test]
async fn every_layout_is_trusted_and_says_why() {
    for layout in LAYOUTS {
        let world = World::new(layout);
        let repository = format!("{}/{NAME}", world.host);
        let report = trusted(world).await;
        let (format, sources): (_, &[ListingSource]) = match layout {
            Layout::Bundle => (SignatureFormat::SigstoreBundle, &[ListingSource::ReferrersApi]),
            Layout::FallbackTag => (SignatureFormat::SigstoreBundle, &[ListingSource::ReferrersTag]),
            Layout::Oci11 => (SignatureFormat::CosignOci11, &[ListingSource::ReferrersApi]),
            Layout::Legacy => (
                SignatureFormat::CosignLegacy,
                &[ListingSource::ReferrersApi, ListingSource::SignatureTag],
            ),
        };
        assert_eq!(report.sources, sources, "{layout:?}");
        assert_eq!(report.repository, repository);
        assert_eq!(
            report.release_tag.as_deref(),
            Some("2026.10"),
            "{layout:?}: from the image's own annotation"
        );
        assert!(matches!(report.signer, Some(ReleaseSigner::Key { .. })));
        let [candidate] = report.signatures.as_slice() else {
            panic!("one candidate: {report:?}")
        };
        assert!(candidate.verified && candidate.reason.is_none());
        assert_eq!(candidate.format, format);
    }
}

/// What cosign itself pushed (`cosign/testdata/README.md`), served byte for byte.
#[actix_web::test]
async fn signatures_of_cosign_are_trusted() {
    const IMAGE: &[u8] = include_bytes!("../cosign/testdata/image.json");
    type Case<'a> = (Layout, &'a [u8], &'a [&'a [u8]], Option<&'a str>);
    let cases: [Case<'_>; 3] = [
        (
            Layout::FallbackTag,
            include_bytes!("../cosign/testdata/bundle-manifest.json"),
            &[include_bytes!("../cosign/testdata/bundle.json")],
            Some("2026.10"),
        ),
        (
            Layout::Legacy,
            include_bytes!("../cosign/testdata/legacy-manifest.json"),
            &[include_bytes!("../cosign/testdata/legacy-payload.json")],
            Some("2026.10"),
        ),
        (
            Layout::Oci11,
            include_bytes!("../cosign/testdata/oci11-manifest.json"),
            &[
                include_bytes!("../cosign/testdata/legacy-payload.json"),
                include_bytes!("../cosign/testdata/oci11-payload-2.json"),
            ],
            Some("2026.10"),
        ),
    ];
    for (layout, manifest, blobs, tag) in cases {
        let mut world = World::new(layout);
        world.routes.clear();
        world.image = IMAGE.to_vec();
        world.digest = forge::digest_of(IMAGE);
        world.settings.keys = vec![include_bytes!("../cosign/testdata/p256.pub").to_vec()];
        world.put_manifest(IMAGE);
        for blob in blobs {
            world.put_blob(blob);
        }
        if layout == Layout::Legacy {
            world.route(&world.signature_tag(), Reply::ok(manifest));
        } else {
            world.put_manifest(manifest);
            let listing = format!("referrers/{}", world.digest);
            world.listing = world.route(&listing, Reply::ok(forge::index(&[manifest]).to_string()));
        }
        if layout == Layout::FallbackTag {
            world.move_listing_to_tag();
        }
        let report = trusted(world).await;
        assert_eq!(report.release_tag.as_deref(), tag, "{layout:?}");
        assert!(report.signatures.iter().all(|s| s.verified), "{report:?}");
    }
}

#[actix_web::test]
async fn the_tag_comes_from_signed_or_bound_content_only() {
    // Signed content wins over the image's own annotation.
    let other = json!({ forge::TAG: "2020.01" });
    for layout in LAYOUTS {
        let world = World::with(layout, other.clone(), |content, _| match layout {
            Layout::Bundle | Layout::FallbackTag => {
                content["subject"][0]["annotations"] = json!({ forge::TAG: "2026.11" });
            }
            Layout::Oci11 | Layout::Legacy => content["optional"] = json!({ forge::TAG: "2026.11" }),
        });
        assert_eq!(
            trusted(world).await.release_tag.as_deref(),
            Some("2026.11"),
            "{layout:?}"
        );
    }
    // Descriptors, layers and the carrier's manifest are not signed.
    let mut world = World::with(Layout::Oci11, json!({}), |_, _| {});
    world.edit_carrier(|v| {
        v["annotations"] = json!({ forge::TAG: "2099.01" });
        v["layers"][0]["annotations"][forge::TAG] = json!("2099.01");
    });
    world.edit_json(&world.listing.clone(), |v| {
        v["manifests"][0]["annotations"] = json!({ forge::TAG: "2099.01" })
    });
    assert_eq!(trusted(world).await.release_tag, None);
    // An unusable or ambiguous signed tag is no tag, and does not fall back.
    for tag in [json!("2026.11\n"), json!(""), json!("x".repeat(129))] {
        let world = World::with(Layout::Legacy, json!({ forge::TAG: "2026.10" }), |content, _| {
            content["optional"] = json!({ forge::TAG: tag });
        });
        assert_eq!(trusted(world).await.release_tag, None, "{tag}");
    }
    let mut world = World::new(Layout::Bundle);
    world.settings.tag_annotation = String::new();
    assert_eq!(trusted(world).await.release_tag, None);
}

#[actix_web::test]
async fn two_keys_meet_a_threshold_of_two() {
    let mut world = World::new(Layout::Bundle);
    let second = forge::key();
    world.settings.keys.push(forge::pem(&second));
    world.settings.threshold = 2;
    let listing = world.listing.clone();
    let first = std::mem::replace(&mut world.release, second);
    world.carry_simple(
        Layout::Legacy,
        &forge::payload(&world.digest.clone(), Value::Null).to_string(),
    );
    (world.listing, world.release) = (listing, first);
    let report = trusted(world).await;
    assert_eq!(report.signatures.len(), 2);
}

#[actix_web::test]
async fn pages_and_local_redirects_are_followed() {
    let mut world = World::new(Layout::Bundle);
    let listing = world.listing.clone();
    let last = world
        .routes
        .insert(listing.clone(), Reply::ok(forge::index(&[]).to_string()))
        .unwrap();
    let first = world
        .reply(&listing)
        .clone()
        .with("Link", "<?last=a%2Fb&n=1>; rel=\"next\"");
    world.routes.insert(listing.clone(), first);
    world.routes.insert(format!("{listing}?last=a%2Fb&n=1"), last);
    let blob = world.blob.clone();
    let content = world
        .routes
        .insert(blob, Reply::status(307).with("Location", "/storage?sig=x"))
        .unwrap();
    world.routes.insert("/storage?sig=x".into(), content);
    trusted(world).await;
}

#[actix_web::test]
async fn a_token_is_fetched_with_credentials_and_kept_from_other_hosts() {
    let mut world = World::new(Layout::Bundle);
    let (storage, storage_host) = fake::listener();
    world.settings.trusted_hosts = vec![storage_host.clone()];
    world.settings.plain_http.push(storage_host.clone());
    world.settings.credentials = vec![Credentials {
        host: world.host.clone(),
        name: None,
        username: "robot".into(),
        password: Zeroizing::new("secret".into()),
    }];
    // Everything needs a token; the blob is stored elsewhere.
    let blob = world.blob.clone();
    let content = world.routes[&blob].clone();
    *world.reply(&blob) = Reply::status(307).with("Location", &format!("http://{storage_host}/blob"));
    world.routes = world
        .routes
        .drain()
        .map(|(path, reply)| (format!("auth {path}"), reply))
        .collect();
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"fake\"", world.host);
    let image = World::path(&format!("manifests/{}", world.digest));
    world
        .routes
        .insert(image, Reply::status(401).with("WWW-Authenticate", &challenge));
    let token = "auth /token?service=fake&scope=repository%3Astellaops%2Fscanner%3Apull";
    world
        .routes
        .insert(token.into(), Reply::ok(r#"{"access_token":"t0k3n"}"#));
    let mut elsewhere = Fake::start(storage, [("/blob".to_owned(), content)].into());
    let (outcome, mut fake) = world.check().await;
    assert_outcome("with token", &outcome, Is(Trusted));
    let seen = elsewhere.seen.try_recv().unwrap();
    assert_eq!((seen.target.as_str(), seen.authorization), ("/blob", None));
    let mut sent = Vec::new();
    while let Ok(seen) = fake.seen.try_recv() {
        sent.push((seen.target.starts_with("/token"), seen.authorization));
    }
    assert_eq!(sent[0], (false, None));
    assert_eq!(sent[1], (true, Some("Basic cm9ib3Q6c2VjcmV0".to_owned())));
    assert!(sent.len() > 4);
    assert!(
        sent[2..]
            .iter()
            .all(|(_, sent)| sent.as_deref() == Some("Bearer t0k3n")),
        "{sent:?}"
    );
    elsewhere.stop().await;
    fake.stop().await;
}

/// What two repositories, each a world of its own with the same image, add up to.
#[actix_web::test]
async fn repositories_add_up() {
    type Change = fn(&mut World);
    const GOOD: Change = |_| {};
    const UNTRUSTED: Change = |w| w.carry_bundle(json!({}));
    const UNSIGNED: Change = |w| w.carry(&forge::manifest(&[], None));
    const ABSENT: Change = |w| w.routes.clear();
    const FAILING: Change = |w| {
        w.routes
            .values_mut()
            .for_each(|reply| *reply = Reply::status(500))
    };
    const SILENT: Change = |w| {
        w.routes
            .values_mut()
            .for_each(|reply| *reply = Reply::body(Body::Silence))
    };
    let cases: [(&str, Change, Change, Expect); 10] = [
        ("trusted, failing", GOOD, FAILING, Is(Trusted)),
        ("silent, trusted", SILENT, GOOD, Is(Trusted)),
        ("untrusted, failing", UNTRUSTED, FAILING, Doubt),
        ("absent, failing", ABSENT, FAILING, Doubt),
        ("silent, failing", SILENT, FAILING, Doubt),
        ("unsigned, silent", UNSIGNED, SILENT, Timeout),
        ("unsigned, untrusted", UNSIGNED, UNTRUSTED, Is(Untrusted)),
        ("untrusted, unsigned", UNTRUSTED, UNSIGNED, Is(Untrusted)),
        ("absent, unsigned", ABSENT, UNSIGNED, Is(Unsigned)),
        ("absent, absent", ABSENT, ABSENT, NotFound),
    ];
    for (name, first, second, expected) in cases {
        let mut world = World::new(Layout::Bundle);
        let (listener, host) = fake::listener();
        let good = world.routes.clone();
        second(&mut world);
        let other = Fake::start(listener, std::mem::replace(&mut world.routes, good));
        let repository = Repository::parse(&format!("{host}/{NAME}")).unwrap();
        world.settings.repositories.push(repository);
        world.settings.plain_http.push(host);
        // Only what waits for silence to end is kept short.
        if name.contains("silent") && expected != Is(Trusted) {
            world.settings.timeout = Duration::from_millis(1500);
        }
        first(&mut world);
        assert_outcome(name, &world.outcome().await, expected);
        other.stop().await;
    }
}

#[actix_web::test]
async fn only_the_repository_asked_for_is_asked() {
    let world = World::new(Layout::Bundle);
    let releases = RegistryReleases::new(&world.settings, Arc::new(At(Utc::now()))).unwrap();
    let known = releases.repositories();
    assert_eq!(known, [Arc::<str>::from(format!("{}/{NAME}", world.host))]);
    let digest = ImageDigest::parse(&world.digest).unwrap();
    let fake = Fake::start(world.listener, world.routes);
    let outcome = releases
        .check(digest, Some("registry.example/other".into()))
        .await;
    assert_outcome("foreign", &outcome, Doubt);
    let outcome = releases.check(digest, Some(Arc::clone(&known[0]))).await;
    assert_outcome("known", &outcome, Is(Trusted));
    fake.stop().await;
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |edit: fn(&mut Settings)| {
        let mut settings = Settings::new(vec![Repository::parse("registry.example/a").unwrap()]);
        settings.keys = vec![forge::pem(&forge::key())];
        edit(&mut settings);
        RegistryReleases::new(&settings, Arc::new(At(Utc::now()))).err()
    };
    assert_eq!(refused(|_| {}), None);
    type Case = (&'static str, fn(&mut Settings));
    let cases: [Case; 9] = [
        ("repositories", |s| s.repositories.clear()),
        ("threshold", |s| s.threshold = 0),
        ("threshold", |s| s.threshold = 2),
        ("threshold", |s| {
            (s.threshold, s.keys) = (2, vec![s.keys[0].clone(), s.keys[0].clone()])
        }),
        ("threshold", |s| s.keys.clear()),
        ("roots", |s| {
            s.identities = vec![super::super::Identity::new("a", "b")]
        }),
        ("timeout", |s| s.timeout = Duration::ZERO),
        ("release key", |s| s.keys = vec![b"no key".to_vec()]),
        ("private_networks", |s| {
            s.repositories = vec![Repository::parse("10.0.0.1/a").unwrap()]
        }),
    ];
    for (word, edit) in cases {
        let text = refused(edit).unwrap_or_else(|| panic!("{word} is accepted"));
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(
        refused(|s| {
            s.repositories = vec![Repository::parse("10.0.0.1/a").unwrap()];
            s.private_networks = vec![PrivateNetwork::parse("10.0.0.0/8")];
        }),
        None
    );
}
