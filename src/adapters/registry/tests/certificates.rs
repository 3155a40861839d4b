//! Signatures by certificate identities.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::x509::X509;
use serde_json::{Value, json};
use signer_actors::domain::release::ReleaseSigner;
use signer_actors::domain::release::Verdict::{Trusted, Untrusted};

use super::super::{CertificateLog, Identity, Life, TransparencyLog};
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

/// Where certificate transparency logs are configured, one of them has to have promised the certificate.
#[actix_web::test]
async fn certificates_need_a_promise_of_a_configured_log() {
    for (promised, configured, expected, reason) in [
        (true, Some(true), Trusted, ""),
        (true, None, Trusted, ""),
        (false, None, Trusted, ""),
        (true, Some(false), Untrusted, "of a log that is not configured"),
        (
            false,
            Some(true),
            Untrusted,
            "carries no signed certificate timestamp",
        ),
    ] {
        let (log, other) = (forge::key(), forge::key());
        let mut certified = Certified::new();
        certified.leaf.ct_log = promised.then(|| log.clone());
        for layout in LAYOUTS {
            let mut world = certified.world(layout);
            let believed = configured.map(|right| if right { &log } else { &other });
            world.settings.ct_logs = believed
                .map(|key| CertificateLog {
                    key: forge::pem(key),
                    life: Life::default(),
                })
                .into_iter()
                .collect();
            let outcome = world.outcome().await;
            assert_outcome(&format!("{layout:?}: {reason}"), &outcome, Is(expected));
            let given = outcome.unwrap().signatures[0].reason.clone().unwrap_or_default();
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

/// What a log promises in a test.
#[derive(Clone)]
struct Promised {
    /// Seconds after the certificate's start.
    offset: i64,
    /// Over another payload, of another signature, of another certificate of the same key.
    other: Option<&'static str>,
    /// By a log that is configured.
    configured: bool,
}

const INSIDE: Promised = Promised {
    offset: 3600,
    other: None,
    configured: true,
};

/// A certificate of one day, seen two days later, with a log's promise.
async fn promised(case: &Promised) -> ReleaseReport {
    let start = Utc::now();
    let certified = Certified {
        now: start + chrono::Duration::days(2),
        ..Certified::new()
    };
    let mut world = certified.world(Layout::Legacy);
    let log = forge::key();
    let configured = if case.configured {
        log.clone()
    } else {
        forge::key()
    };
    world.settings.logs = vec![TransparencyLog {
        key: forge::pem(&configured),
        origin: String::new(),
        life: Life::default(),
    }];
    let mut payload = forge::payload(&world.digest, Value::Null).to_string();
    let again = certified.authority.issue(
        &world.release,
        &Leaf {
            days: 2,
            ..Leaf::default()
        },
    );
    let other_signature = forge::sign(&world.release, payload.as_bytes());
    world.edit_json(&world.carrier.clone(), |manifest| {
        let annotations = &mut manifest["layers"][0]["annotations"];
        let text = |name: &str| annotations[name].as_str().unwrap().to_owned();
        let mut certificate = text("dev.sigstore.cosign/certificate").into_bytes();
        let mut signature = text("dev.cosignproject.cosign/signature");
        match case.other {
            Some("payload") => payload.push(' '),
            Some("signature") => signature = other_signature,
            Some(_) => certificate = again.to_pem().unwrap(),
            None => {}
        }
        let time = start.timestamp() + case.offset;
        let entry = forge::promise(&log, payload.as_bytes(), &signature, &certificate, time);
        annotations["dev.sigstore.cosign/bundle"] = json!(entry.to_string());
    });
    let digest = ImageDigest::parse(&world.digest).unwrap();
    let fake = Fake::start(world.listener, world.routes);
    let releases = RegistryReleases::new(&world.settings, Arc::new(At(certified.now))).unwrap();
    let report = releases.check(digest, None).await.unwrap();
    fake.stop().await;
    report
}

/// A log's promise says when it was signed, and the certificate must have been valid then.
#[actix_web::test]
async fn a_certificate_counts_at_the_verified_time_of_signing() {
    assert_eq!(promised(&INSIDE).await.verdict, Trusted);
    let at = |offset| Promised { offset, ..INSIDE };
    let of = |other| Promised {
        other: Some(other),
        ..INSIDE
    };
    let foreign = Promised {
        configured: false,
        ..INSIDE
    };
    let rows = [
        ("expired", at(25 * 3600)),
        ("not yet valid", at(-1800)),
        ("future", at(3 * 24 * 3600)),
        ("over something else", of("payload")),
        ("of another signature", of("signature")),
        ("of another key or certificate", of("certificate")),
        ("not configured", foreign),
    ];
    for (reason, case) in rows {
        let report = promised(&case).await;
        assert_eq!(report.verdict, Untrusted, "{reason}");
        let given = report.signatures[0].reason.clone().unwrap();
        assert!(given.contains(reason), "{given}, not {reason}");
    }
}
