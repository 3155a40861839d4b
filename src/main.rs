//! `signer`: see [`signer::cli`].

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    signer::cli::run(signer::cli::Cli::parse()).into()
}
