//! Probes of the release gate: what each repository is able to do, and with `--image` what it says of one image.

use std::sync::Arc;

use chrono::Utc;
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::release::{ReleaseReport, Verdict};
use signer_actors::ports::{ReleaseError, combine};

use super::finding::{Finding, Probe, probe};
use super::network;
use crate::adapters::registry::{Listing, Seen};
use crate::bootstrap::probes::{RepositoryAnswer, repositories};
use crate::config::Settings;

const PAGE: &str = "see docs/reference/release-integrity.md";
const RUNBOOK: &str = "see docs/runbooks/registry-error.md";

pub(super) fn probes(settings: &Settings, image: Option<ImageDigest>) -> Vec<Box<dyn Probe>> {
    let settings = Arc::new(settings.clone());
    vec![probe(move || {
        let settings = Arc::clone(&settings);
        async move {
            match repositories(&settings, image).await {
                Ok(answers) => findings(&answers, image),
                Err(problem) => vec![Finding::failure("release gate", problem, PAGE)],
            }
        }
    })]
}

fn findings(answers: &[RepositoryAnswer], image: Option<ImageDigest>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = answers.iter().flat_map(of_repository).collect();
    if let Some(image) = image {
        for answer in answers {
            findings.extend(answer.image.iter().flat_map(|said| of_image(&answer.name, said)));
        }
        let said = answers.iter().filter_map(|answer| answer.image.clone());
        findings.push(verdict(image, &combine(said)));
    }
    findings
}

fn of_repository(answer: &RepositoryAnswer) -> Vec<Finding> {
    let what = format!("repository {}", answer.name);
    let seen = match &answer.seen {
        Ok(seen) => seen,
        Err(error) => return vec![Finding::failure(&what, error.to_string(), RUNBOOK)],
    };
    let mut findings = vec![able(&what, answer, seen)];
    if !seen.tls && !answer.loopback {
        let advice = "its answers can be changed on their way: use TLS and remove it from release.plain_http";
        findings.push(Finding::warning(&what, "is asked without TLS", advice));
    }
    if !seen.authorized && answer.has_credentials {
        let detail = "answers without asking for the credentials that are configured for it";
        let advice = "fine for a public repository; else look at the registry's access rules";
        findings.push(Finding::warning(&what, detail, advice));
    }
    let date = seen.date.as_deref();
    findings.extend(date.and_then(|date| network::skew(&what, date, Utc::now())));
    findings
}

fn able(what: &str, answer: &RepositoryAnswer, seen: &Seen) -> Finding {
    let tls = if seen.tls { "over TLS" } else { "without TLS" };
    let who = match (seen.authorized, answer.has_credentials) {
        (true, true) => "credentials accepted",
        (true, false) => "anonymous token accepted",
        (false, _) => "no authorization asked for",
    };
    let listing = match seen.listing {
        Listing::Api => "signatures by the Referrers API",
        Listing::Tags => "no Referrers API, signatures by tags",
        Listing::Unknown => {
            "404 for an unknown image's referrers, so by tags unless --image of a known one shows the Referrers API"
        }
    };
    Finding::ok(what, format!("answers {tls}, {who}, {listing}"))
}

/// What one repository says of an image, and of every candidate signature in it.
fn of_image(name: &str, said: &Result<ReleaseReport, ReleaseError>) -> Vec<Finding> {
    let what = format!("image in {name}");
    let report = match said {
        Ok(report) => report,
        Err(ReleaseError::NotFound) => {
            let advice = "push or mirror it with its signatures, if this repository is to have it";
            return vec![Finding::warning(&what, "is not there", advice)];
        }
        Err(error) => return vec![Finding::failure(&what, error.to_string(), RUNBOOK)],
    };
    let sources: Vec<String> = report.sources.iter().map(text_of).collect();
    let detail = format!("{}, listed by {}", text_of(&report.verdict), sources.join(", "));
    let mut findings = vec![match report.verdict {
        Verdict::Trusted => Finding::ok(&what, format!("{detail}, {}", report.signer_name())),
        Verdict::Untrusted | Verdict::Unsigned => Finding::warning(&what, detail, PAGE),
    }];
    for candidate in &report.signatures {
        let what = format!(
            "signature {} ({})",
            candidate.manifest_digest,
            text_of(&candidate.format)
        );
        findings.push(match &candidate.reason {
            None if candidate.verified => Finding::ok(&what, "counts"),
            reason => {
                let reason = reason.clone().unwrap_or_else(|| "does not count".to_owned());
                Finding::warning(&what, reason, PAGE)
            }
        });
    }
    findings
}

fn verdict(image: ImageDigest, said: &Result<ReleaseReport, ReleaseError>) -> Finding {
    let what = format!("image {image}");
    let untrusted = "see docs/runbooks/release-untrusted.md";
    match said {
        Ok(report) if report.verdict == Verdict::Trusted => Finding::ok(
            &what,
            format!("is trusted: {} in {}", report.signer_name(), report.repository),
        ),
        Ok(report) => Finding::failure(&what, format!("is {}", text_of(&report.verdict)), untrusted),
        Err(ReleaseError::NotFound) => Finding::failure(&what, "is in no configured repository", untrusted),
        Err(error) => Finding::failure(&what, format!("has no verdict: {error}"), RUNBOOK),
    }
}

/// As callers see it.
fn text_of(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or("unknown").to_owned()
}
