//! What the release gate costs: `cargo bench --bench release`. Cached: one question to the ReferrerActor, on the bench's
//! own thread. Uncached: a whole check of one repository on loopback, by where its signature is found.

use std::sync::Arc;

use actix::{Arbiter, System, SystemRunner};
use divan::Bencher;
use signer::adapters::registry::{PrivateNetwork, RegistryReleases, Repository, Settings};
use signer::dev::registry::Referrers as Layout;
use signer::dev::{Neighbours, Options, neighbours};
use signer_actors::domain::digest::ImageDigest;
use signer_actors::pipeline::Services;
use signer_actors::ports::SystemClock;
use signer_actors::referrer::Check;
use signer_actors::runtime::Deadline;
use signer_actors::system::{Placement, start_actors};
use signer_actors::testing::{self, Fakes};

fn main() {
    divan::main();
}

fn services() -> (SystemRunner, Services) {
    let system = System::new();
    let here = system.block_on(async { Arbiter::current() });
    let placement = Placement {
        state: here.clone(),
        more_state: Vec::new(),
        audit: here,
    };
    let parts = Fakes::default().parts();
    let services = system.block_on(async { start_actors(parts, testing::tuning(), &placement) });
    (system, services)
}

#[divan::bench]
fn cached(bencher: Bencher<'_, '_>) {
    let (system, services) = services();
    let check = || Check {
        tenant: testing::tenant("acme"),
        digest: testing::image(),
        repository: None,
    };
    let soon = || Deadline::after(std::time::Duration::from_secs(5));
    bencher.bench_local(|| {
        let answer = system.block_on(services.referrer.ask(check(), soon()));
        assert!(matches!(answer, Ok(Ok(_))), "the fake registry trusts");
    });
}

#[divan::bench(args = [Layout::Api, Layout::Tag, Layout::Off])]
fn uncached(bencher: Bencher<'_, '_>, layout: Layout) {
    let system = System::new();
    let world = system.block_on(neighbours(Options { referrers: layout }));
    let Ok(world) = world else {
        unreachable!("loopback has free ports")
    };
    let (releases, image) = prepared(&world);
    bencher.bench_local(|| {
        let report = system.block_on(releases.check(image, None));
        assert!(report.is_ok(), "the development registry answers");
    });
}

fn prepared(world: &Neighbours) -> (RegistryReleases, ImageDigest) {
    let registry = &world.registry;
    let Ok(repository) = Repository::parse(&registry.repository) else {
        unreachable!("the development registry has a name")
    };
    let mut settings = Settings::new(vec![repository]);
    settings.plain_http = vec![registry.running.addr.to_string()];
    settings.private_networks = vec![PrivateNetwork::parse("127.0.0.0/8")];
    settings.keys = vec![registry.release_public_pem.clone().into_bytes()];
    let releases = RegistryReleases::new(&settings, Arc::new(SystemClock::default()));
    match (releases, ImageDigest::parse(&registry.scanner_digest)) {
        (Ok(releases), Some(image)) => (releases, image),
        _ => unreachable!("settings and image are good"),
    }
}
