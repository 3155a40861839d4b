//! Whole checks against scripted registries. Every hostile case starts from a world that is trusted and changes one
//! thing; none may stay trusted.
//!
//! The lies are in `hostile`, one a row; `mutations` makes more of them by chance; `separate` is about what one repository
//! may learn of another.

mod certificates;
mod fake;
mod forge;
mod hostile;
mod mutations;
mod policies;
mod separate;
mod trusted;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use openssl::pkey::{PKey, Private};
use serde_json::{Value, json};
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::{ReleaseReport, Verdict};
use signer_actors::ports::{Clock, ReleaseError, ReleaseSource};

use self::fake::{Fake, Reply, Routes, Trap};
use super::{PrivateNetwork, RegistryReleases, Repository, Settings};

const NAME: &str = "stellaops/scanner";

/// A clock that stands still.
#[derive(Debug)]
struct At(DateTime<Utc>);

impl Clock for At {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// Where the one good signature is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    /// A bundle, listed by the Referrers API.
    Bundle,
    /// A bundle, listed under the referrers tag.
    FallbackTag,
    /// Simple signing with a subject, listed by the Referrers API.
    Oci11,
    /// Simple signing under cosign's tag.
    Legacy,
}

const LAYOUTS: [Layout; 4] = [Layout::Bundle, Layout::FallbackTag, Layout::Oci11, Layout::Legacy];

/// A registry with one image and one signature, before it is started; public parts are for tests to change.
struct World {
    host: String,
    listener: std::net::TcpListener,
    /// How it ends TLS, if it does.
    tls: Option<tokio_native_tls::TlsAcceptor>,
    /// Where no case may lead the service.
    trap: Trap,
    settings: Settings,
    release: PKey<Private>,
    image: Vec<u8>,
    /// `sha256:<hex>` of the image.
    digest: String,
    routes: Routes,
    /// The listing's path (API or tag), empty for [`Layout::Legacy`].
    listing: String,
    /// The path of the manifest that carries the signature.
    carrier: String,
    /// The path of the signature's blob.
    blob: String,
}

impl World {
    fn new(layout: Layout) -> Self {
        Self::with(layout, json!({ forge::TAG: "2026.10" }), |_, _| {})
    }

    /// `annotations` of the image's manifest; `edit` changes the statement or payload before it is signed.
    fn with(layout: Layout, annotations: Value, edit: impl FnOnce(&mut Value, &PKey<Private>)) -> Self {
        let (listener, host) = fake::listener();
        let release = forge::key();
        let mut settings = Settings::new(vec![Repository::parse(&format!("{host}/{NAME}")).unwrap()]);
        settings.plain_http = vec![host.clone()];
        settings.keys = vec![forge::pem(&release)];
        let mut image = forge::manifest(&[], None);
        image["annotations"] = annotations;
        let image = serde_json::to_vec(&image).unwrap();
        let digest = forge::digest_of(&image);
        let routes = Routes::new();
        let (listing, carrier, blob) = (String::new(), String::new(), String::new());
        let mut world = Self {
            host,
            listener,
            tls: None,
            trap: Trap::set(),
            settings,
            release,
            image,
            digest,
            routes,
            listing,
            carrier,
            blob,
        };
        world.put_manifest(&world.image.clone());
        world.route(
            &format!("referrers/{}", world.digest),
            Reply::ok(forge::index(&[]).to_string()),
        );
        let mut content = match layout {
            Layout::Bundle | Layout::FallbackTag => forge::statement(&world.digest, forge::SIGN),
            Layout::Oci11 | Layout::Legacy => forge::payload(&world.digest, Value::Null),
        };
        edit(&mut content, &world.release);
        match layout {
            Layout::Bundle | Layout::FallbackTag => {
                world.carry_bundle(forge::bundle(&world.release, forge::by_key(), &content));
            }
            Layout::Oci11 | Layout::Legacy => world.carry_simple(layout, &content.to_string()),
        }
        if layout == Layout::FallbackTag {
            world.move_listing_to_tag();
        }
        world
    }

    fn path(rest: &str) -> String {
        format!("/v2/{NAME}/{rest}")
    }

    fn route(&mut self, rest: &str, reply: Reply) -> String {
        let path = Self::path(rest);
        self.routes.insert(path.clone(), reply);
        path
    }

    fn put_manifest(&mut self, bytes: &[u8]) -> String {
        let digest = forge::digest_of(bytes);
        let reply = Reply::ok(bytes).with("Docker-Content-Digest", &digest);
        self.route(&format!("manifests/{digest}"), reply)
    }

    fn put_blob(&mut self, bytes: &[u8]) -> String {
        self.route(&format!("blobs/{}", forge::digest_of(bytes)), Reply::ok(bytes))
    }

    /// Carries a bundle in a referrer of the image, the only one in the listing.
    fn carry_bundle(&mut self, bundle: Value) {
        let bytes = serde_json::to_vec(&bundle).unwrap();
        self.blob = self.put_blob(&bytes);
        let layer = forge::descriptor(forge::BUNDLE, &bytes);
        self.carry(&forge::manifest(&[layer], Some(&self.image.clone())));
    }

    /// Carries a simple-signing payload signed by the release key.
    fn carry_simple(&mut self, layout: Layout, payload: &str) {
        let signature = forge::sign(&self.release, payload.as_bytes());
        self.blob = self.put_blob(payload.as_bytes());
        let mut layer = forge::descriptor(forge::SIMPLE, payload.as_bytes());
        layer["annotations"] = json!({ "dev.cosignproject.cosign/signature": signature });
        if layout == Layout::Legacy {
            let manifest = forge::manifest(&[layer], None).to_string();
            self.carrier = self.route(&self.signature_tag(), Reply::ok(manifest));
        } else {
            self.carry(&forge::manifest(&[layer], Some(&self.image.clone())));
        }
    }

    /// Makes this manifest the only referrer.
    fn carry(&mut self, manifest: &Value) {
        let bytes = serde_json::to_vec(manifest).unwrap();
        self.carrier = self.put_manifest(&bytes);
        let listing = format!("referrers/{}", self.digest);
        self.listing = self.route(&listing, Reply::ok(forge::index(&[&bytes]).to_string()));
    }

    fn move_listing_to_tag(&mut self) {
        let listing = self.routes.remove(&self.listing).unwrap();
        self.listing = self.route(&format!("manifests/{}", self.digest.replace(':', "-")), listing);
    }

    fn signature_tag(&self) -> String {
        format!("manifests/{}.sig", self.digest.replace(':', "-"))
    }

    /// The scripted reply at a path, to change it.
    fn reply(&mut self, path: &str) -> &mut Reply {
        self.routes.get_mut(path).unwrap()
    }

    /// The JSON body at a path, changed in place (its digest no longer fits; use it for listings and tags).
    fn edit_json(&mut self, path: &str, edit: impl FnOnce(&mut Value)) {
        let reply = self.reply(path);
        let mut value: Value = serde_json::from_slice(reply.bytes()).unwrap();
        edit(&mut value);
        reply.body = fake::Body::Whole(serde_json::to_vec(&value).unwrap());
    }

    /// The carrier's manifest, changed and listed again under its new digest.
    fn edit_carrier(&mut self, edit: impl FnOnce(&mut Value)) {
        let path = self.carrier.clone();
        let mut value: Value = serde_json::from_slice(self.reply(&path).bytes()).unwrap();
        edit(&mut value);
        self.carry(&value);
    }

    /// Starts the registry and checks the image in it.
    async fn check(self) -> (Result<ReleaseReport, ReleaseError>, Fake) {
        let digest = ImageDigest::parse(&self.digest).unwrap();
        let fake = Fake::start_with(self.listener, self.routes, self.tls);
        let releases = RegistryReleases::new(&self.settings, Arc::new(At(Utc::now()))).unwrap();
        let outcome = releases.check(digest, None).await;
        assert_eq!(
            self.trap.visits().await,
            0,
            "somebody went where nobody may: {outcome:?}"
        );
        (outcome, fake)
    }

    async fn outcome(self) -> Result<ReleaseReport, ReleaseError> {
        let (outcome, fake) = self.check().await;
        fake.stop().await;
        outcome
    }
}

/// What a test expects of a check.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Expect {
    Is(Verdict),
    Doubt,
    Timeout,
    NotFound,
}

#[track_caller]
fn assert_outcome(name: &str, outcome: &Result<ReleaseReport, ReleaseError>, expected: Expect) {
    assert_eq!(verdict(outcome), expected, "{name}: {outcome:?}");
}

fn verdict(outcome: &Result<ReleaseReport, ReleaseError>) -> Expect {
    match outcome {
        Ok(report) => Expect::Is(report.verdict),
        Err(ReleaseError::Doubt(_) | ReleaseError::Unavailable(_)) => Expect::Doubt,
        Err(ReleaseError::Timeout) => Expect::Timeout,
        Err(ReleaseError::NotFound) => Expect::NotFound,
    }
}
