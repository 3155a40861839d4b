//! The command line (contract §9): one file per command.

pub mod audit;
pub mod dev;
pub mod dev_config;
pub mod exit;
pub mod proof;
pub mod serve;
pub mod sign;
pub mod verify;

use std::io::{self, Write};

use clap::{Parser, Subcommand};

pub use exit::Exit;

/// StellaOps Signer: signs in-toto statements as DSSE bundles, only after every gate.
#[derive(Debug, Parser)]
#[command(name = "signer", version, propagate_version = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service
    Serve(serve::ServeArgs),
    /// Run the service with embedded neighbours on loopback, and ready credentials
    Dev(dev::DevArgs),
    /// Sign files through a service
    Sign(sign::SignArgs),
    /// Verify an envelope, a Sigstore bundle or a response of the service, offline
    Verify(verify::VerifyArgs),
    /// Look at an audit trail
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Print a DPoP proof or the token, for curl
    Proof(proof::ProofArgs),
}

/// Runs a command to its end.
pub fn run(cli: Cli) -> Exit {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Dev(args) => serve::run_dev(&args),
        Command::Sign(args) => on_system(async move { sign::run(&args, &mut out, &mut err).await }),
        Command::Proof(args) => on_system(async move { proof::run(&args, &mut out, &mut err).await }),
        Command::Verify(args) => verify::run(&args, &mut out, &mut err),
        Command::Audit(command) => audit::run(&command, &mut out, &mut err),
    }
}

/// Runs a client command, which needs a reactor but no actor.
fn on_system(work: impl Future<Output = u8>) -> Exit {
    Exit::from_code(actix_rt::System::new().block_on(work))
}

/// Signing modes by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// An ephemeral key with a certificate of Fulcio.
    Keyless,
    /// A key of ours.
    Kms,
}

impl Mode {
    /// As in requests and configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyless => "keyless",
            Self::Kms => "kms",
        }
    }
}

/// One line for people. A reader that went away (`| head`) is no reason to stop.
fn say(out: &mut dyn Write, line: &str) {
    let _: io::Result<()> = writeln!(out, "{line}");
}
