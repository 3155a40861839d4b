//! What the command line takes. Each flag that sets a configuration key says which.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use signer_actors::domain::digest::ImageDigest;

use crate::config::{ConfigFile, FlagValue, Inputs};

/// StellaOps Signer: in-toto statements as DSSE bundles, signed only after every gate.
#[derive(Debug, Parser)]
#[command(
    name = "signer",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Commands (contract §9).
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service
    Serve(ServeArgs),
    /// Run the service with embedded neighbours on loopback, and ready credentials
    Dev(super::dev::DevArgs),
    /// Diagnose configuration, files and every dependency
    Check(CheckArgs),
    /// Sign files through a service
    Sign(super::sign::SignArgs),
    /// Verify an envelope, a Sigstore bundle or a response of the service, offline
    Verify(VerifyArgs),
    /// Print a DPoP proof or the access token, for curl
    Proof(super::proof::ProofArgs),
    /// Look into the audit trail
    Audit {
        /// What to do with it.
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Make or check an offline kit: trust, keys and checkpoints for those who verify without a network
    Kit {
        /// What to do with it.
        #[command(subcommand)]
        command: KitCommand,
    },
}

/// Commands on offline kits.
#[derive(Debug, Subcommand)]
pub enum KitCommand {
    /// Write a signed kit into a new folder
    Export(Box<KitExportArgs>),
    /// Check that a kit is whole, signed by this key, and not expired
    Verify(KitVerifyArgs),
}

/// Arguments of `signer kit export`.
#[derive(Clone, Debug, Args)]
pub struct KitExportArgs {
    /// The configuration of the service that the kit is about.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Private key that signs the kit, PEM; no key of the service
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// File with the passphrase of an encrypted key
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Folder to make
    #[arg(long, value_name = "DIR", default_value = "signer-kit")]
    pub out: PathBuf,
    /// After how many days the kit counts no more
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: u16,
    /// Checkpoint of another replica's log to take along: the note, or the answer of GET /audit/checkpoint
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Vec<PathBuf>,
    /// Its verifier key, as signer check prints it there, or a file with it; one for each --checkpoint
    #[arg(long, value_name = "VKEY")]
    pub checkpoint_key: Vec<String>,
}

/// Arguments of `signer kit verify`.
#[derive(Clone, Debug, Args)]
pub struct KitVerifyArgs {
    /// Folder of the kit
    #[arg(value_name = "DIR")]
    pub kit: PathBuf,
    /// Public key of whoever made the kit, PEM, from elsewhere
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
}

/// Commands on the audit trail.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Prove the trail whole and unaltered
    Verify(AuditVerifyArgs),
    /// Find requests: what did this key sign?
    Query(AuditQueryArgs),
    /// Prove that one checkpoint goes on from another
    Consistency(AuditConsistencyArgs),
}

/// Names the configuration file; every other variable that begins with `SIGNER__` is a key.
const CONFIG_VARIABLE: &str = "SIGNER_CONFIG";

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML); every key also as variable SIGNER__SECTION__KEY
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
    pub config: Option<PathBuf>,
    /// Address and port of the API [server.listen]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Origin that clients use [server.public_origin]
    #[arg(long, value_name = "URL")]
    pub public_origin: Option<String>,
    /// Address and port of the metrics [server.metrics_listen]
    #[arg(long, value_name = "ADDR")]
    pub metrics_listen: Option<String>,
    /// error, warn, info or debug [log.level]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// json or pretty [log.format]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl ConfigArgs {
    /// The layers of the configuration: this file, this process's environment, these flags.
    pub fn inputs(&self) -> Inputs {
        let flags = [
            ("--listen", "server.listen", &self.listen),
            ("--public-origin", "server.public_origin", &self.public_origin),
            ("--metrics-listen", "server.metrics_listen", &self.metrics_listen),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ];
        let set = flags.into_iter().filter_map(|(flag, key, value)| {
            let value = value.clone()?;
            Some(FlagValue { flag, key, value })
        });
        Inputs {
            file: self.config.clone().map(ConfigFile::Path),
            environment: std::env::vars_os()
                .filter(|(name, _)| name != CONFIG_VARIABLE)
                .collect(),
            flags: set.collect(),
        }
    }
}

/// Arguments of `signer serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Arguments of `signer check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print findings as one JSON document
    #[arg(long)]
    pub json: bool,
    /// Look at this machine only, contact no one
    #[arg(long)]
    pub offline: bool,
    /// Ask each repository about this scanner image, and tell of each signature why it counts or not
    #[arg(long, value_name = "DIGEST", value_parser = image_digest, conflicts_with = "offline")]
    pub image: Option<ImageDigest>,
}

fn image_digest(text: &str) -> Result<ImageDigest, String> {
    let wrong = "write sha256: and 64 lower-case hex digits";
    ImageDigest::parse(text).ok_or_else(|| wrong.to_owned())
}

/// Arguments of `signer verify`.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// Sigstore bundle, or response or envelope of the service
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Whom to trust, once or several times: trusted root (GET /trust), published keys (GET /trust/keys), or PEM of a key
    /// or of authorities
    #[arg(long, value_name = "FILE")]
    pub trust: Vec<PathBuf>,
    /// Offline kit to trust, as signer kit export writes it
    #[arg(long, value_name = "DIR", conflicts_with = "trust", requires = "kit_key")]
    pub kit: Option<PathBuf>,
    /// Public key of whoever made the kit, PEM, from elsewhere
    #[arg(long, value_name = "FILE", requires = "kit")]
    pub kit_key: Option<PathBuf>,
    /// When the signature was made, RFC 3339, if known from elsewhere; a timestamp that verifies says it better
    #[arg(long, value_name = "TIME")]
    pub at: Option<chrono::DateTime<chrono::Utc>>,
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

/// Arguments of `signer audit verify`.
#[derive(Clone, Debug, Args)]
pub struct AuditVerifyArgs {
    /// Folder of the trail
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// A checkpoint that was kept elsewhere: the note, or the answer of GET /audit/checkpoint
    #[arg(long, value_name = "FILE")]
    pub checkpoint: Option<PathBuf>,
    /// Verifier key of the log, as signer check prints it, or a file with it
    #[arg(long, value_name = "VKEY")]
    pub key: Option<String>,
}

/// Arguments of `signer audit query`. What is given must all fit.
#[derive(Clone, Debug, Args)]
pub struct AuditQueryArgs {
    /// Folder of the trail
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Audit id, as in the response
    #[arg(long, value_name = "UUID")]
    pub id: Option<uuid::Uuid>,
    /// Tenant of the caller
    #[arg(long)]
    pub tenant: Option<String>,
    /// Key id, backend or certificate serial that signed
    #[arg(long)]
    pub key: Option<String>,
    /// Digest in hex, of payload, subject, signature or scanner image
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// Not earlier than this (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub since: Option<chrono::DateTime<chrono::Utc>>,
    /// Earlier than this (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub until: Option<chrono::DateTime<chrono::Utc>>,
}

/// Arguments of `signer audit consistency`.
#[derive(Clone, Debug, Args)]
pub struct AuditConsistencyArgs {
    /// The earlier checkpoint: note, or answer of GET /audit/checkpoint
    #[arg(value_name = "OLD")]
    pub old: PathBuf,
    /// The later one; an answer of GET /audit/checkpoint?from=N brings the proof along
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Verifier key of the log, as signer check prints it, or a file with it
    #[arg(long, value_name = "VKEY")]
    pub key: Option<String>,
    /// Folder of the trail, to take the proof from
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declaration_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_keys() {
        let cli = Cli::try_parse_from([
            "signer",
            "serve",
            "--listen",
            "127.0.0.1:1",
            "--log-level",
            "debug",
        ]);
        let Ok(Cli {
            command: Command::Serve(args),
        }) = cli
        else {
            panic!("serve")
        };
        let keys: Vec<_> = args
            .config
            .inputs()
            .flags
            .into_iter()
            .map(|flag| (flag.key, flag.value))
            .collect();
        assert_eq!(
            keys,
            [
                ("server.listen", "127.0.0.1:1".into()),
                ("log.level", "debug".into())
            ]
        );
    }
}
