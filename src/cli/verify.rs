//! `signer verify`: offline verification.

use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::{Exit, say};
use crate::bundle::verify::{MAX_DOCUMENT_BYTES, MAX_TRUST_BYTES, Options, Trust, verify};

/// Arguments of `signer verify`.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    /// DSSE envelope, Sigstore bundle, or response of the service
    pub bundle: PathBuf,
    /// Whom to trust: a public key (PEM), certificate authorities (PEM), a trusted root, or published keys (JSON)
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// When the signature was made, as you know from elsewhere (RFC 3339); nothing here proves it
    #[arg(long, value_name = "TIME")]
    pub at: Option<DateTime<Utc>>,
    /// Subject alternative name that the certificate must have
    #[arg(long, value_name = "SAN")]
    pub certificate_identity: Option<String>,
    /// OIDC issuer that the certificate must name
    #[arg(long, value_name = "URL")]
    pub certificate_oidc_issuer: Option<String>,
    /// A digest that one of the subjects must have, as algorithm:hex
    #[arg(long, value_name = "DIGEST")]
    pub subject_digest: Option<String>,
    /// Answer as JSON
    #[arg(long)]
    pub json: bool,
}

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

fn check(args: &VerifyArgs) -> Result<crate::bundle::verify::Report, (Exit, String)> {
    let document = read(&args.bundle, MAX_DOCUMENT_BYTES)?;
    let trust = match &args.trust {
        None => None,
        Some(path) => {
            let text = read(path, MAX_TRUST_BYTES)?;
            Some(Trust::parse(&text).map_err(|what| (Exit::Usage, format!("{}: {what}", path.display())))?)
        }
    };
    let options = Options {
        now: Utc::now(),
        at: args.at,
        expect_issuer: args.certificate_oidc_issuer.clone(),
        expect_subject: args.certificate_identity.clone(),
        subject_digest: args.subject_digest.clone(),
    };
    verify(&document, trust.as_ref(), &options)
        .map_err(|what| (Exit::Refused, format!("{}: {what}", args.bundle.display())))
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
