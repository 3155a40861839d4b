//! The hostile table: one row, one lie. Each row starts from a world that is trusted, and changes one thing; what must
//! come of it is a verdict and the reason for it, so that no lie is caught by accident.
//!
//! Every check also proves that nobody went where nobody may (the world's trap), and that it ended in time.

mod authentication;
mod bundles;
mod contents;
mod listings;
mod redirects;
mod simple;
mod tls;
mod wire;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use signer_actors::domain::release::ReleaseReport;
use signer_actors::domain::release::Verdict::{Trusted, Unsigned, Untrusted};
use signer_actors::ports::ReleaseError;

use super::Expect::{self, Doubt, Is, NotFound};
use super::fake::Reply;
use super::{LAYOUTS, Layout, World, assert_outcome, forge};

/// Name, lie, verdict, and a part of the reason.
type Row = (&'static str, fn(&mut World), Expect, &'static str);

/// Rows about one thing, and the world that they start from.
struct Group {
    name: &'static str,
    layout: Layout,
    rows: fn() -> Vec<Row>,
}

const GROUPS: [Group; 10] = [
    group("listings", Layout::Bundle, listings::rows),
    group("contents", Layout::Bundle, contents::rows),
    group("redirects", Layout::Bundle, redirects::rows),
    group("authentication", Layout::Bundle, authentication::rows),
    group("wire", Layout::Bundle, wire::rows),
    group("tls", Layout::Bundle, tls::rows),
    group("bundles", Layout::Bundle, bundles::rows),
    group("referrers with payloads", Layout::Oci11, simple::payloads),
    group("carriers of payloads", Layout::Oci11, simple::carriers),
    group("signature tags", Layout::Legacy, simple::tags),
];

const fn group(name: &'static str, layout: Layout, rows: fn() -> Vec<Row>) -> Group {
    Group { name, layout, rows }
}

/// How much longer than its settings allow a check may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every row of a group; what fails is told together.
async fn check(name: &str) {
    let group = GROUPS.iter().find(|group| group.name == name).expect("a group");
    let mut failed = Vec::new();
    for (row, lie, expected, reason) in (group.rows)() {
        let mut world = World::new(group.layout);
        lie(&mut world);
        let (begun, limit) = (Instant::now(), world.settings.timeout + PATIENCE);
        let outcome = world.outcome().await;
        let given = reason_of(&outcome);
        if super::verdict(&outcome) != expected || !given.contains(reason) {
            failed.push(format!(
                "{row}: expected {expected:?} because of {reason:?}: {outcome:?}"
            ));
        }
        assert!(
            begun.elapsed() < limit,
            "{name}: {row}: took {:?}",
            begun.elapsed()
        );
    }
    assert!(failed.is_empty(), "{name}:\n{}", failed.join("\n"));
}

/// Why there is no trust: the doubt, or what is wrong with the first signature.
fn reason_of(outcome: &Result<ReleaseReport, ReleaseError>) -> String {
    match outcome {
        Ok(report) => {
            let first = report.signatures.first();
            first.and_then(|first| first.reason.clone()).unwrap_or_default()
        }
        Err(ReleaseError::Doubt(reason)) => reason.clone(),
        Err(_) => String::new(),
    }
}

/// The names are distinct, no row expects trust, and every doubt and every refused signature has its reason.
#[test]
fn the_table_is_whole() {
    let (mut names, mut total) = (BTreeSet::new(), 0);
    for group in &GROUPS {
        let rows = (group.rows)();
        println!("{:<24} {:>4}", group.name, rows.len());
        total += rows.len();
        for (name, _, expected, reason) in rows {
            assert!(names.insert((group.name, name)), "{}: {name} twice", group.name);
            assert_ne!(expected, Is(Trusted), "{name}");
            let reasoned = matches!(expected, Doubt | Is(Untrusted));
            assert_eq!(reasoned, !reason.is_empty(), "{}: {name}", group.name);
        }
    }
    println!("{:<24} {total:>4}", "all");
    assert!(total >= 160, "{total}");
}

/// The worlds that the lies are told in are trusted without them, those with TLS and with authentication too.
#[actix_web::test]
async fn without_its_lie_every_world_is_trusted() {
    for group in &GROUPS {
        let world = World::new(group.layout);
        assert_outcome(group.name, &world.outcome().await, Is(Trusted));
    }
    let mut world = World::new(Layout::Bundle);
    tls::serve(&mut world, &forge::Host::default());
    assert_outcome("tls", &world.outcome().await, Is(Trusted));
    let mut world = World::new(Layout::Bundle);
    authentication::honest(&mut world);
    assert_outcome("authentication", &world.outcome().await, Is(Trusted));
}

#[actix_web::test]
async fn listings_are_not_believed() {
    check("listings").await;
}

#[actix_web::test]
async fn contents_are_rehashed_and_bounded() {
    check("contents").await;
}

#[actix_web::test]
async fn redirects_lead_nowhere() {
    check("redirects").await;
}

#[actix_web::test]
async fn authentication_fails_closed() {
    check("authentication").await;
}

#[actix_web::test]
async fn what_is_no_http_is_no_answer() {
    check("wire").await;
}

#[actix_web::test]
async fn registries_have_certificates() {
    check("tls").await;
}

#[actix_web::test]
async fn bundles_that_do_not_count() {
    check("bundles").await;
}

#[actix_web::test]
async fn payloads_that_do_not_count() {
    check("referrers with payloads").await;
}

#[actix_web::test]
async fn carriers_of_payloads_that_do_not_count() {
    check("carriers of payloads").await;
}

#[actix_web::test]
async fn signature_tags_that_do_not_count() {
    check("signature tags").await;
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
