//! The command line.

pub mod dev;
pub mod dev_config;
pub mod proof;
pub mod sign;

use std::io::{self, Write};

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
