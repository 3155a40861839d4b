//! `signer dev`: the service with embedded neighbours on loopback and ready credentials.
//!
//! The caller ([`crate::bootstrap`]) runs [`prepare`], starts the service with the configuration it answers exactly as
//! `serve` does, then runs [`Prepared::announce`].

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Mode, dev_config, say, say_ready};
use crate::bundle::verify::Report;
use crate::client::{Client, ClientError, Credentials, SignOptions, Signed, files};
use crate::dev::listener::loopback_only;
use crate::dev::registry::Referrers;
use crate::dev::{Neighbours, Options, credentials, neighbours};
use crate::telemetry::metrics::Metrics;

/// How often `credentials.json` gets a token with a full life.
const RENEW_TOKEN: Duration = Duration::from_secs(240);

/// Arguments of `signer dev`.
#[derive(Clone, Debug, clap::Args)]
pub struct DevArgs {
    /// Sign and verify this file once the service is up
    #[arg(long, value_name = "FILE")]
    pub sign: Option<PathBuf>,
    /// Folder for credentials.json and for what is signed
    #[arg(long, value_name = "DIR", default_value = "signer-dev")]
    pub out: PathBuf,
    /// Signing mode
    #[arg(long, value_enum, default_value = "keyless")]
    pub mode: Mode,
    /// Loopback address of the service; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Stop afterwards
    #[arg(long)]
    pub once: bool,
    /// How the embedded registry lists signatures
    #[arg(long, value_enum, default_value = "api")]
    pub referrers: Referrers,
}

/// Running neighbours, a configuration and credentials. Everything ends when this is dropped.
#[derive(Debug)]
pub struct Prepared {
    /// The neighbours.
    pub neighbours: Neighbours,
    /// Configuration for the service.
    pub config: PathBuf,
    /// Origin of the service.
    pub base_url: String,
    /// `credentials.json`.
    pub credentials_file: PathBuf,
    credentials: Credentials,
    request_file: PathBuf,
    renewal: actix_rt::task::JoinHandle<()>,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

/// Where the service listens, and what it measures.
#[derive(Clone, Debug)]
pub struct Service {
    /// The API.
    pub listen: SocketAddr,
    /// The metrics, if on.
    pub metrics: Option<SocketAddr>,
    /// Time spent in each stage: of the one request that has been made so far.
    pub measured: Arc<Metrics>,
}

/// Starts the neighbours, writes configuration and credentials.
///
/// # Errors
/// [`ClientError::Usage`]: the address is not loopback or taken, or a file cannot be written.
pub async fn prepare(args: &DevArgs) -> Result<Prepared, ClientError> {
    let usage = |error: io::Error| ClientError::Usage(error.to_string());
    if let Some(file) = &args.sign
        && !file.is_file()
    {
        return Err(ClientError::Usage(format!(
            "{} is no file that could be signed",
            file.display()
        )));
    }
    let listen = free_address(args.listen).map_err(usage)?;
    let base_url = format!("http://{listen}");
    let options = Options {
        referrers: args.referrers,
    };
    let neighbours = neighbours(options).await.map_err(usage)?;
    let config = dev_config::write(&neighbours, listen, args.mode).map_err(usage)?;
    let credentials = credentials::obtain(&neighbours, &base_url).await?;
    let credentials_file = credentials::write(&args.out, &credentials)
        .map_err(|error| ClientError::Usage(format!("{} cannot be written: {error}", args.out.display())))?;
    let request_file = neighbours.directory().join("request.json");
    files::write_private(&request_file, example_request(&credentials).as_bytes()).map_err(usage)?;
    Ok(Prepared {
        renewal: renew_credentials(credentials.clone(), credentials_file.clone()),
        neighbours,
        config,
        base_url,
        credentials_file,
        credentials,
        request_file,
    })
}

/// The address, with a free port in place of 0: proofs name the origin, so it must be known beforehand.
fn free_address(asked: SocketAddr) -> io::Result<SocketAddr> {
    let taken = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("{asked} cannot be bound ({error}): choose another with --listen"),
        )
    };
    let listener = TcpListener::bind(loopback_only(asked)?).map_err(taken)?;
    listener.local_addr()
}

/// Keeps the token in `credentials.json` alive for people who read it there.
fn renew_credentials(mut credentials: Credentials, path: PathBuf) -> actix_rt::task::JoinHandle<()> {
    actix_rt::spawn(async move {
        loop {
            tokio::time::sleep(RENEW_TOKEN).await;
            credentials.access_token.clear();
            let Ok(mut client) = Client::new(credentials.clone()) else {
                return;
            };
            // A failure leaves the old file; the next round tries again.
            if client.ensure_token().await.is_ok() && path.exists() {
                let _: io::Result<()> = client.credentials().write(&path);
            }
        }
    })
}

/// A request for curl: a made-up report about a made-up artifact.
fn example_request(credentials: &Credentials) -> String {
    let request = json!({
        "subject": [{ "name": "example", "digest": { "sha256": "0".repeat(64) } }],
        "predicateType": "https://stella.ops/example/v1",
        "predicate": { "findings": [], "scanner": "example" },
        "scannerImageDigest": credentials.scanner_image_digest,
        "poe": { "format": "jwt", "value": credentials.poe },
    });
    request.to_string()
}

impl Prepared {
    /// Prints where everything is and lines that can be pasted; signs and verifies with `--sign`; then the ready
    /// line. Answers the exit code of signing; when it is not 0, no ready line is printed with `--once`.
    pub async fn announce(
        &self,
        args: &DevArgs,
        service: Service,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> u8 {
        self.print_places(&service, out);
        self.print_commands(out);
        let mut code = 0;
        if let Some(file) = &args.sign {
            code = match self.sign_and_verify(file, args, &service.measured, out).await {
                Ok(true) => 0,
                Ok(false) => 1,
                Err(error) => {
                    say(err, &format!("error: {}: {error}", file.display()));
                    error.exit_code()
                }
            };
        }
        if code == 0 || !args.once {
            say_ready(out, service.listen, service.metrics);
        }
        code
    }

    fn print_places(&self, service: &Service, out: &mut dyn Write) {
        let neighbours = &self.neighbours;
        let metrics = service
            .metrics
            .map_or("off".to_owned(), |address| format!("http://{address}/metrics"));
        say(
            out,
            "StellaOps Signer for development. The neighbours are real but small, and on loopback only.",
        );
        for (name, place) in [
            ("service", self.base_url.as_str()),
            ("metrics", &metrics),
            ("authority", &neighbours.authority.running.base_url),
            ("licensing", &neighbours.licensing.running.base_url),
            ("fulcio", &neighbours.fulcio.running.base_url),
            ("registry", &neighbours.registry.repository),
            ("scanner image", &neighbours.registry.scanner_digest),
            ("unsigned image", &neighbours.registry.unsigned_digest),
            ("configuration", &self.config.display().to_string()),
            (
                "audit trail",
                &neighbours.directory().join("audit").display().to_string(),
            ),
            ("credentials", &self.credentials_file.display().to_string()),
        ] {
            say(out, &format!("  {name:<15} {place}"));
        }
    }

    fn print_commands(&self, out: &mut dyn Write) {
        let exe = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("signer"));
        let exe = quoted(&exe);
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let credentials = quoted(&absolute(&self.credentials_file));
        let request = quoted(&self.request_file);
        let url = format!("{}/api/v1/signer/sign/dsse", self.base_url);
        say(out, "\nsign with curl:");
        say(out, &format!("  curl -sS {url} \\"));
        say(
            out,
            &format!("    -H \"Authorization: DPoP $({exe} proof --credentials {credentials} --token)\" \\"),
        );
        let proof =
            format!("{exe} proof --credentials {credentials} --method POST --url {url} --body {request}");
        say(out, &format!("    -H \"DPoP: $({proof})\" \\"));
        say(
            out,
            &format!("    -H 'Content-Type: application/json' --data-binary @{request}"),
        );
        say(out, "sign a file:");
        say(
            out,
            &format!("  {exe} sign --credentials {credentials} --out signed {request}"),
        );
        say(
            out,
            "revoke the licence (for good, and see entitlement_revoked afterwards):",
        );
        say(
            out,
            &format!(
                "  curl -sS -X POST '{}'\n",
                self.neighbours.entitlement.revoke_url
            ),
        );
    }

    async fn sign_and_verify(
        &self,
        file: &Path,
        args: &DevArgs,
        measured: &Metrics,
        out: &mut dyn Write,
    ) -> Result<bool, ClientError> {
        let mut client = Client::new(self.credentials.clone())?;
        let options = SignOptions {
            mode: Some(args.mode.as_str().to_owned()),
            ..SignOptions::default()
        };
        let started = Instant::now();
        let signed = client.sign(file, &options).await?;
        let signing = started.elapsed();
        let trusted_root = client.trusted_root().await?;
        let started = Instant::now();
        let verified = client.verify(&signed.bundle).await?;
        let verifying = started.elapsed();
        signed.write(&args.out, &trusted_root).map_err(|error| {
            ClientError::Usage(format!("{} cannot be written: {error}", args.out.display()))
        })?;
        self.print_signed(file, &signed, signing, measured, out);
        print_verified(&verified, verifying, out);
        say(out, &format!("written to {}\n", args.out.display()));
        Ok(verified.verified)
    }

    /// What was checked, and by which gate.
    fn print_signed(
        &self,
        file: &Path,
        signed: &Signed,
        took: Duration,
        measured: &Metrics,
        out: &mut dyn Write,
    ) {
        let summary = &signed.summary;
        let (authority, licensing) = (&self.neighbours.authority, &self.neighbours.licensing);
        say(out, &format!("signed {} in {}", file.display(), millis(took)));
        for (gate, stages, passed) in [
            (
                "caller",
                &["authenticate"][..],
                format!("DPoP-bound token of {}", authority.running.base_url),
            ),
            (
                "entitlement",
                &["entitlement"],
                format!(
                    "plan {}, introspected at {}",
                    summary.plan, licensing.running.base_url
                ),
            ),
            ("quota", &["quota"], format!("within plan {}", summary.plan)),
            (
                "release",
                &["release"],
                format!(
                    "scanner {} signed by {}",
                    summary.release_tag, summary.release_signer
                ),
            ),
            (
                "signature",
                &["sign"],
                format!("{}, {} by {}", summary.mode, summary.algorithm, summary.signer),
            ),
            (
                "audit",
                &["audit_intent", "audit_outcome"],
                format!("record {} was durable before the answer", summary.audit_id),
            ),
        ] {
            let took: Duration = stages.iter().map(|stage| measured.stage_total(stage)).sum();
            say(out, &format!("  [ok] {gate:<12} {:>9}  {passed}", millis(took)));
        }
        say(out, &format!("  statement sha256:{}", summary.statement_sha256));
    }
}

fn print_verified(verified: &Report, took: Duration, out: &mut dyn Write) {
    let verdict = if verified.verified {
        "verified"
    } else {
        "NOT verified"
    };
    say(out, &format!("{verdict} in {}", millis(took)));
    for check in &verified.checks {
        let mark = if check.ok { "[ok]" } else { "[failure]" };
        say(out, &format!("  {mark} {:<12} {}", check.name, check.detail));
    }
}

fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1000.0)
}

/// A path as one word of a POSIX shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if text.bytes().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
#[path = "dev_tests.rs"]
mod tests;
