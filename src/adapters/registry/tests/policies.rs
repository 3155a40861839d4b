//! What a whole check makes of thresholds, tags and images of several platforms.

use serde_json::{Value, json};
use signer_actors::domain::release::Verdict::{Trusted, Unsigned, Untrusted};

use super::Expect::Is;
use super::fake::Reply;
use super::*;

/// A world of two release keys, both needed; each signs with these annotations, as a bundle and under cosign's tag.
fn two_signers(image: Value, first: Value, second: Value) -> World {
    let mut world = World::with(Layout::Bundle, image, |content, _| {
        content["subject"][0]["annotations"] = first;
    });
    let (listing, digest, one) = (world.listing.clone(), world.digest.clone(), world.release.clone());
    world.release = forge::key();
    world.settings.keys = vec![forge::pem(&one), forge::pem(&world.release)];
    world.settings.threshold = 2;
    world.carry_simple(Layout::Legacy, &forge::payload(&digest, second).to_string());
    world.listing = listing;
    world
}

#[actix_web::test]
async fn the_tag_needs_the_threshold_too() {
    let tag = |tag: &str| json!({ forge::TAG: tag });
    let rows = [
        ("both", json!({}), tag("2026.10"), tag("2026.10"), Some("2026.10")),
        ("one", json!({}), tag("2026.10"), Value::Null, None),
        (
            "one, and the image",
            tag("2026.10"),
            tag("2026.10"),
            Value::Null,
            Some("2026.10"),
        ),
        (
            "one, and the image another",
            tag("2026.11"),
            tag("2026.10"),
            Value::Null,
            None,
        ),
        (
            "none, and the image",
            tag("2026.11"),
            json!({}),
            Value::Null,
            Some("2026.11"),
        ),
        (
            "both, differently",
            tag("2026.10"),
            tag("2026.10"),
            tag("2026.11"),
            None,
        ),
        (
            "both, and the image another",
            tag("2026.11"),
            tag("2026.10"),
            tag("2026.10"),
            Some("2026.10"),
        ),
    ];
    for (name, image, first, second, expected) in rows {
        let outcome = two_signers(image, first, second).outcome().await;
        assert_outcome(name, &outcome, Is(Trusted));
        assert_eq!(outcome.unwrap().release_tag.as_deref(), expected, "{name}");
    }
}

/// An index over the world's image, in the same repository, signed instead of it or beside it.
fn with_index(signed: bool) -> (World, String) {
    let mut world = World::new(Layout::Bundle);
    let mut index = forge::index(&[&world.image]);
    index["annotations"] = json!({ forge::TAG: "2026.10" });
    let index = serde_json::to_vec(&index).unwrap();
    let digest = forge::digest_of(&index);
    world.put_manifest(&index);
    let listing = format!("referrers/{digest}");
    world.route(&listing, Reply::ok(forge::index(&[]).to_string()));
    if signed {
        let (image, platform) = (world.image.clone(), world.digest.clone());
        (world.image, world.digest) = (index, digest.clone());
        let statement = forge::statement(&digest, forge::SIGN);
        world.carry_bundle(forge::bundle(&world.release, forge::by_key(), &statement));
        (world.image, world.digest) = (image, platform);
    }
    (world, digest)
}

/// The digest that a scanner claims is the index's or its platform's, as its runtime tells it: only what is signed itself
/// counts. `cosign sign -r` signs both.
#[actix_web::test]
async fn an_index_and_its_platforms_are_signed_each_for_itself() {
    let (world, index) = with_index(true);
    let mut asked = world;
    asked.digest = index.clone();
    let outcome = asked.outcome().await;
    assert_outcome("index", &outcome, Is(Trusted));
    assert_eq!(
        outcome.unwrap().release_tag.as_deref(),
        Some("2026.10"),
        "bound to the index"
    );

    let (world, _) = with_index(true);
    assert_outcome("platform, signed too", &world.outcome().await, Is(Trusted));

    // The index alone.
    let (mut world, _) = with_index(true);
    let listing = format!("referrers/{}", world.digest);
    world.route(&listing, Reply::ok(forge::index(&[]).to_string()));
    assert_outcome("platform of a signed index", &world.outcome().await, Is(Unsigned));

    // The platform alone.
    let (mut world, index) = with_index(false);
    world.digest = index;
    assert_outcome("index of a signed platform", &world.outcome().await, Is(Unsigned));

    // The index's signature, shown as the platform's.
    let (mut world, index) = with_index(true);
    let taken = world.routes[&World::path(&format!("referrers/{index}"))].clone();
    let listing = format!("referrers/{}", world.digest);
    world.route(&listing, taken);
    assert_outcome("signature of the index", &world.outcome().await, Is(Untrusted));
}
