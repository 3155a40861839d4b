//! The command `signer`.

use std::process::ExitCode;

fn main() -> ExitCode {
    signer::cli::main(std::env::args_os()).into()
}
