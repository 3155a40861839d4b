//! The command line (contract §9): one file per command. Commands write through writers and answer an [`Exit`].

pub mod args;
pub mod audit;
pub mod check;
pub mod dev;
pub mod dev_config;
mod exit;
pub mod kit;
pub mod proof;
pub mod serve;
pub mod sign;
pub mod verify;

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;

use clap::Parser;

pub use exit::Exit;

use crate::config::ConfigError;
use args::{AuditCommand, Cli, Command, KitCommand};

/// Runs the command that the arguments ask for.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(message) => {
            // Help and version are answers, not errors. A reader that went away changes nothing about either.
            let _ = message.print();
            return if message.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
        }
    };
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let runtime = actix_rt::System::new();
    match cli.command {
        Command::Serve(args) => runtime.block_on(serve::run(&args, &mut out, &mut err)),
        Command::Dev(args) => runtime.block_on(serve::run_dev(&args, &mut out, &mut err)),
        Command::Check(args) => runtime.block_on(check::run(&args, &mut out)),
        Command::Sign(args) => Exit::from_code(runtime.block_on(sign::run(&args, &mut out, &mut err))),
        Command::Proof(args) => Exit::from_code(runtime.block_on(proof::run(&args, &mut out, &mut err))),
        Command::Verify(args) => verify::run(&args, &mut out, &mut err),
        Command::Audit { command } => match command {
            AuditCommand::Verify(args) => audit::verify(&args, &mut out, &mut err),
            AuditCommand::Query(args) => audit::query(&args, &mut out, &mut err),
            AuditCommand::Consistency(args) => audit::consistency(&args, &mut out, &mut err),
        },
        Command::Kit { command } => match command {
            KitCommand::Export(args) => kit::export(&args, &mut out, &mut err),
            KitCommand::Verify(args) => kit::verify(&args, &mut out, &mut err),
        },
    }
}

/// Writes configuration errors, a block for each: key and place, problem, remedy.
pub fn report_errors(err: &mut dyn Write, errors: &[ConfigError]) -> io::Result<()> {
    for error in errors {
        let key = if error.key.is_empty() {
            "configuration"
        } else {
            &error.key
        };
        writeln!(err, "error: {key} {}", error.problem)?;
        writeln!(err, "  where: {}", error.source)?;
        writeln!(err, "  help:  {}\n", error.remedy)?;
    }
    let noun = if errors.len() == 1 { "error" } else { "errors" };
    writeln!(
        err,
        "{} {noun} in the configuration; signer check tells more once they are gone",
        errors.len()
    )
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

/// The last line of a start (contract §9).
fn say_ready(out: &mut dyn Write, listen: SocketAddr, metrics: Option<SocketAddr>) {
    // Addresses need no escaping.
    let metrics = metrics.map_or("null".to_owned(), |address| format!("\"{address}\""));
    say(
        out,
        &format!("{{\"ready\":true,\"listen\":\"{listen}\",\"metrics\":{metrics}}}"),
    );
    let _: io::Result<()> = out.flush();
}

/// One line for people. A reader that went away (`| head`) is no reason to stop.
fn say(out: &mut dyn Write, line: &str) {
    let _: io::Result<()> = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn parse<A: Args + FromArgMatches>(words: &[&str]) -> Result<A, clap::Error> {
        let mut command = A::augment_args(Command::new("signer"));
        command.build();
        command.clone().debug_assert();
        let words = std::iter::once("signer").chain(words.iter().copied());
        A::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn arguments_are_as_the_contract_says() {
        let dev: dev::DevArgs = parse(&["--sign", "f", "--out", "d", "--mode", "kms", "--once"]).unwrap();
        assert_eq!(
            (dev.mode, dev.once, dev.out.to_str()),
            (Mode::Kms, true, Some("d"))
        );
        let dev: dev::DevArgs = parse(&[]).unwrap();
        assert_eq!(
            (dev.listen.to_string(), dev.out.to_str()),
            ("127.0.0.1:8080".to_owned(), Some("signer-dev"))
        );
        assert!(parse::<dev::DevArgs>(&["--mode", "hsm"]).is_err());
        assert!(parse::<sign::SignArgs>(&[]).is_err());
        assert_eq!(parse::<sign::SignArgs>(&["a", "b"]).unwrap().files.len(), 2);
        assert!(parse::<proof::ProofArgs>(&["--method", "GET"]).is_err());
        assert!(parse::<proof::ProofArgs>(&["--token"]).unwrap().token);
    }
}
