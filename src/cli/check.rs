//! `signer check`: is everything in place? Reads, binds and asks, but changes nothing.

mod finding;
mod local;
mod network;
mod release;
mod service;

use std::io::Write;

use signer_actors::domain::digest::ImageDigest;

pub use finding::{Finding, Level, Probe, ProbeFuture, probe};

use super::Exit;
use super::args::CheckArgs;
use crate::config::{self, Settings};

/// Runs every probe and prints what was found.
pub async fn run(args: &CheckArgs, out: &mut dyn Write) -> Exit {
    let (findings, exit) = match config::load(args.config.inputs()) {
        Err(errors) => {
            let findings = errors.iter().map(finding::of_error).collect();
            (findings, Exit::Usage)
        }
        Ok(settings) => {
            let findings = run_probes(&probes(&settings, args.offline, args.image)).await;
            let failed = findings
                .iter()
                .any(|finding: &Finding| finding.level == Level::Failure);
            (findings, if failed { Exit::Refused } else { Exit::Done })
        }
    };
    // A reader that went away does not change what was found.
    let _ = if args.json {
        finding::write_json(out, &findings)
    } else {
        finding::write_text(out, &findings)
    };
    exit
}

/// All probes for these settings; `image` is asked about in each repository. Adapters with more to say add theirs with [`probe`].
pub fn probes(settings: &Settings, offline: bool, image: Option<ImageDigest>) -> Vec<Box<dyn Probe>> {
    let mut all = local::probes(settings);
    all.push(service::licence_probe(settings));
    all.push(service::idempotency_probe(settings));
    if !offline {
        all.extend(network::probes(settings));
        all.extend(release::probes(settings, image));
        all.extend(service::probes(settings));
    }
    all
}

/// Runs probes in order. They are few, and each bounds its own time.
pub async fn run_probes(probes: &[Box<dyn Probe>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for probe in probes {
        findings.extend(probe.run().await);
    }
    findings
}
