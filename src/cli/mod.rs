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
