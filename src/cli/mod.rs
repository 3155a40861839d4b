//! The command line: one file for each command. Commands write through writers and answer an [`Exit`].

pub mod args;
pub mod check;
mod exit;
pub mod serve;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;

pub use exit::Exit;

use crate::config::ConfigError;
use args::{AuditCommand, Cli, Command};

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
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let runtime = actix_rt::System::new();
    match cli.command {
        Command::Serve(args) => runtime.block_on(serve::run(&args, &mut err)),
        Command::Check(args) => runtime.block_on(check::run(&args, &mut out)),
        Command::Verify(_) => missing(&mut err, "verify"),
        Command::Audit {
            command: AuditCommand::Verify(_),
        } => missing(&mut err, "audit verify"),
    }
}

/// A command whose parts are not in this build.
fn missing(err: &mut dyn Write, command: &str) -> Exit {
    let _ = writeln!(err, "error: signer {command} is not part of this build");
    Exit::Usage
}

/// Writes configuration errors, a block for each: key and place, problem, remedy.
pub fn report_errors(err: &mut dyn Write, errors: &[ConfigError]) -> std::io::Result<()> {
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
