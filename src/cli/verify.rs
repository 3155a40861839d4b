//! `signer verify`: offline verification.

use std::io::Write;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::args::VerifyArgs;
use super::{Exit, kit, say};
use crate::bundle::verify::{Check, MAX_DOCUMENT_BYTES, MAX_TRUST_BYTES, Options, Report, Trust, verify};

/// The most trust files.
const MAX_TRUST_FILES: usize = 16;

/// Runs the command.
pub fn run(args: &VerifyArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let report = match check(args) {
        Ok(report) => report,
        Err((exit, what)) => {
            say(err, &format!("error: {what}"));
            return exit;
        }
    };
    if args.json {
        say(out, &serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        for check in &report.checks {
            let mark = if check.ok { "[ok]" } else { "[failure]" };
            say(out, &format!("{mark} {:<14} {}", check.name, check.detail));
        }
        say(
            out,
            if report.verified {
                "verified"
            } else {
                "NOT verified"
            },
        );
    }
    if report.verified {
        Exit::Done
    } else {
        Exit::Refused
    }
}

fn check(args: &VerifyArgs) -> Result<Report, (Exit, String)> {
    let document = read(&args.bundle, MAX_DOCUMENT_BYTES)?;
    let now = Utc::now();
    let (trust, kit) = trust(args, now)?;
    let options = Options {
        now,
        at: args.at,
        expect_issuer: args.certificate_oidc_issuer.clone(),
        expect_subject: args.certificate_identity.clone(),
        subject_digest: args.subject_digest.clone(),
        public_key: None,
    };
    let mut report = verify(&document, trust.as_ref(), &options)
        .map_err(|what| (Exit::Refused, format!("{}: {what}", args.bundle.display())))?;
    if let Some(detail) = kit {
        let (name, ok) = ("kit", true);
        report.checks.insert(0, Check { name, ok, detail });
    }
    Ok(report)
}

/// Whom to trust, and what to say about the kit that says so.
fn trust(args: &VerifyArgs, now: DateTime<Utc>) -> Result<(Option<Trust>, Option<String>), (Exit, String)> {
    if let (Some(folder), Some(key)) = (&args.kit, &args.kit_key) {
        let (trust, line) = kit::trust(folder, key, now)?;
        return Ok((Some(trust), Some(line)));
    }
    if args.trust.is_empty() {
        return Ok((None, None));
    }
    if args.trust.len() > MAX_TRUST_FILES {
        let what = format!("there are more than {MAX_TRUST_FILES} trust files");
        return Err((Exit::Usage, what));
    }
    let mut trust = Trust::default();
    for path in &args.trust {
        let added = trust.add(&read(path, MAX_TRUST_BYTES)?);
        added.map_err(|what| (Exit::Usage, format!("{}: {what}", path.display())))?;
    }
    Ok((Some(trust), None))
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, (Exit, String)> {
    let not_found = |error: std::io::Error| (Exit::NotFound, format!("{}: {error}", path.display()));
    let length = std::fs::metadata(path).map_err(not_found)?.len();
    if length > limit as u64 {
        return Err((
            Exit::Usage,
            format!("{} is larger than {limit} bytes", path.display()),
        ));
    }
    std::fs::read(path).map_err(not_found)
}
