//! Signatures by certificate identities.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::x509::X509;
use serde_json::{Value, json};
use signer_actors::domain::release::ReleaseSigner;
use signer_actors::domain::release::Verdict::{Trusted, Untrusted};

use super::super::Identity;
use super::Expect::Is;
use super::fake::Fake;
use super::forge::{Authority, Leaf};
use super::*;

/// A world whose policy is one identity, signed by a leaf of the authority.
struct Certified {
    authority: Authority,
    leaf: Leaf,
    /// The key that signs, when it is not the certificate's.
    signs: Option<PKey<Private>>,
    now: DateTime<Utc>,
    edit: fn(&mut World),
}

impl Certified {
    fn new() -> Self {
        let now = Utc::now() + chrono::Duration::minutes(1);
        Self {
            authority: Authority::new(),
            leaf: Leaf::default(),
            signs: None,
            now,
            edit: |_| {},
        }
    }

    fn world(&self, layout: Layout) -> World {
        let mut world = World::new(layout);
        world.settings.keys.clear();
        world.settings.roots = Some(self.authority.root.to_pem().unwrap());
        world.settings.identities = vec![Identity::new(
            "https://authority.example",
            "https://stellaops.example/release",
        )];
        let key = forge::key();
        let leaf = self.authority.issue(&key, &self.leaf);
        world.release = self.signs.clone().unwrap_or(key);
        carry(&mut world, layout, &leaf);
        (self.edit)(&mut world);
        world
    }

    async fn outcomes(&self) -> Vec<(Layout, Result<ReleaseReport, ReleaseError>)> {
        let mut outcomes = Vec::new();
        for layout in LAYOUTS {
            let world = self.world(layout);
            let digest = ImageDigest::parse(&world.digest).unwrap();
            let fake = Fake::start(world.listener, world.routes);
            let releases = RegistryReleases::new(&world.settings, Arc::new(At(self.now))).unwrap();
            outcomes.push((layout, releases.check(digest, None).await));
            fake.stop().await;
        }
        outcomes
    }
}

fn carry(world: &mut World, layout: Layout, leaf: &X509) {
    match layout {
        Layout::Bundle | Layout::FallbackTag => {
            let statement = forge::statement(&world.digest, forge::SIGN);
            world.carry_bundle(forge::bundle(
                &world.release,
                forge::by_certificate(leaf),
                &statement,
            ));
            if layout == Layout::FallbackTag {
                world.move_listing_to_tag();
            }
        }
        Layout::Oci11 | Layout::Legacy => {
            world.carry_simple(
                layout,
                &forge::payload(&world.digest.clone(), Value::Null).to_string(),
            );
            let pem = String::from_utf8(leaf.to_pem().unwrap()).unwrap();
            let annotate =
                |v: &mut Value| v["layers"][0]["annotations"]["dev.sigstore.cosign/certificate"] = json!(pem);
            match layout {
                Layout::Legacy => world.edit_json(&world.carrier.clone(), annotate),
                _ => world.edit_carrier(annotate),
            }
        }
    }
}

#[actix_web::test]
async fn a_certified_identity_is_trusted_while_its_certificate_is_valid() {
    for (layout, outcome) in Certified::new().outcomes().await {
        assert_outcome(&format!("{layout:?}"), &outcome, Is(Trusted));
        let signer = ReleaseSigner::Certificate {
            identity: "https://stellaops.example/release".into(),
            issuer: "https://authority.example".into(),
        };
        assert_eq!(outcome.unwrap().signer, Some(signer));
    }
    let older = Leaf {
        issuer: None,
        issuer_v1: Some("https://authority.example".into()),
        ..Leaf::default()
    };
    for (layout, outcome) in (Certified {
        leaf: older,
        ..Certified::new()
    })
    .outcomes()
    .await
    {
        assert_outcome(
            &format!("{layout:?}: older issuer extension"),
            &outcome,
            Is(Trusted),
        );
    }
}

#[actix_web::test]
async fn certificates_that_do_not_count() {
    let leaf = |edit: fn(&mut Leaf)| {
        let mut certified = Certified::new();
        edit(&mut certified.leaf);
        certified
    };
    let cases = [
        (
            "valid now",
            Certified {
                now: Utc::now() + chrono::Duration::days(2),
                ..Certified::new()
            },
        ),
        (
            "valid now",
            Certified {
                now: Utc::now() - chrono::Duration::days(1),
                ..Certified::new()
            },
        ),
        (
            "did not make",
            Certified {
                signs: Some(forge::key()),
                ..Certified::new()
            },
        ),
        (
            "release root",
            Certified {
                edit: |w| w.settings.roots = Some(Authority::new().root.to_pem().unwrap()),
                ..Certified::new()
            },
        ),
        (
            "no release identity",
            leaf(|l| l.subjects = vec!["https://stellaops.example/release/evil".into()]),
        ),
        (
            "no release identity",
            leaf(|l| l.issuer = Some("https://authority.example.evil".into())),
        ),
        (
            "more than one subject",
            leaf(|l| l.subjects.push("https://evil.example".into())),
        ),
        ("no OIDC issuer", leaf(|l| l.issuer = None)),
        (
            "issuer extensions differ",
            leaf(|l| l.issuer_v1 = Some("https://evil.example".into())),
        ),
        ("code signing", leaf(|l| l.code_signing = false)),
    ];
    for (reason, certified) in cases {
        for (layout, outcome) in certified.outcomes().await {
            assert_outcome(&format!("{layout:?}: {reason}"), &outcome, Is(Untrusted));
            let given = outcome.unwrap().signatures[0].reason.clone().unwrap();
            assert!(given.contains(reason), "{layout:?}: {given}");
        }
    }
}

#[actix_web::test]
async fn a_bundle_with_a_mangled_certificate_does_not_count() {
    for mangle in [
        |der: &mut Vec<u8>| der.push(0),
        |der: &mut Vec<u8>| der.truncate(40),
        |der: &mut Vec<u8>| der.clear(),
    ] {
        let certified = Certified::new();
        let mut world = certified.world(Layout::Bundle);
        let leaf = certified.authority.issue(&world.release, &certified.leaf);
        let mut der = leaf.to_der().unwrap();
        mangle(&mut der);
        let statement = forge::statement(&world.digest, forge::SIGN);
        let material = json!({ "certificate": { "rawBytes": STANDARD.encode(der) } });
        world.carry_bundle(forge::bundle(&world.release, material, &statement));
        assert_outcome("mangled", &world.outcome().await, Is(Untrusted));
    }
}

/// A release key inside a certificate is the same signer as the key alone.
#[actix_web::test]
async fn a_key_and_its_certificate_are_one_signer() {
    let certified = Certified::new();
    let mut world = certified.world(Layout::Bundle);
    world.settings.keys = vec![forge::pem(&world.release)];
    world.settings.threshold = 2;
    let listing = world.listing.clone();
    world.carry_simple(
        Layout::Legacy,
        &forge::payload(&world.digest.clone(), Value::Null).to_string(),
    );
    world.listing = listing;
    assert_outcome("one signer", &world.outcome().await, Is(Untrusted));
}
