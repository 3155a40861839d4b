//! The command line. Every count and time has a bound.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use self::scale::{Footprint, Latency, Many, Memory, Scale, Sizes, Turns, Workers};

mod scale;

/// Measures the service under load, over real connections, as a process of its own.
#[derive(Debug, Parser)]
#[command(name = "load", disable_version_flag = true)]
pub(crate) struct Args {
    /// Worker threads of the server; 0: one per core.
    #[arg(long, global = true, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=64))]
    pub(crate) workers: u16,
    /// The service's program that is measured.
    #[arg(long, global = true, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_signer"), hide_default_value = true)]
    pub(crate) signer: PathBuf,
    /// Which key signs.
    #[arg(long, global = true, value_enum, default_value_t = Mode::Kms)]
    pub(crate) mode: Mode,
    /// Further `[[signing.backends]]` in TOML, to be measured by `--key`.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) backends: Option<PathBuf>,
    /// Id of the backend that signs with `--mode kms`.
    #[arg(long, global = true, default_value = "bench-2026")]
    pub(crate) key: String,
    /// Environment variables that the server gets, such as the one that a PKCS #11 module reads.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) pass: Vec<String>,
    /// Speak TLS.
    #[arg(long, global = true)]
    pub(crate) tls: bool,
    /// Speak TLS with callers who show a certificate, to which their tokens are bound instead of to proofs.
    #[arg(long, global = true)]
    pub(crate) mtls: bool,
    /// Write everything that was measured to this file, as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw the latencies' percentiles into this file, as SVG.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Where the server's files go, the audit trail above all; removed at the end.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// `cargo bench` says so.
    #[arg(long, global = true, hide = true)]
    bench: bool,
    #[command(subcommand)]
    pub(crate) scenario: Option<Scenario>,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Signing: closed loop, or at a fixed rate.
    Sign(Sign),
    /// A tenant's latency beside another that asks for many times its limit; fails when its bound is broken.
    Neighbour(Neighbour),
    /// What refusals cost, and what signatures do; fails unless every refusal is cheaper.
    Refusals(Refusals),
    /// Signing beside what it cannot do without, a bare HTTP server, and OpenBao; fails beyond the limits it is given.
    Compare(Compare),
    /// Another build beside this one, in turn; fails beyond the limit it is given.
    Builds(Builds),
    /// How the cost of a signature grows: with workers, tenants, tokens and sizes; memory; latency.
    #[command(subcommand)]
    Scale(Scale),
    /// The bare HTTP server of `compare`.
    #[command(hide = true)]
    Echo(Echo),
    /// What is remembered, in a process of its own, for `scale memory`.
    #[command(hide = true)]
    Footprint(Footprint),
}

/// The key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// A key in a file, with deterministic nonces: every signature is verified before it leaves.
    Kms,
    /// An ephemeral key with a certificate.
    Keyless,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    /// Sizes of the predicate, in bytes; `k` and `m` are thousands and millions.
    #[arg(long, value_delimiter = ',', default_value = "1k,10k,100k,1m")]
    pub(crate) sizes: Vec<Size>,
    /// Seconds measured for each size.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=30))]
    pub(crate) seconds: u64,
    /// Requests a second, at fixed times (open loop); without it each connection asks again at once (closed loop).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(crate) rate: Option<u32>,
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) connections: u16,
    /// Tenants that take turns, each with a token, a key and an entitlement of its own.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) tenants: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Neighbour {
    /// Rounds of each kind.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) rounds: u16,
    /// Seconds measured in each round.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=30))]
    pub(crate) seconds: u64,
    /// Rate of the well-behaved tenant's plan, which it uses in full, evenly.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(crate) qps: u32,
    /// Connections of the well-behaved tenant.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) connections: u16,
    /// Rate of the abusive tenant's plan.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) abuser_qps: u32,
    /// How many times its plan's rate the abusive tenant asks for.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) times: u32,
    /// Connections of the abusive tenant.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) abuser_connections: u16,
    /// Size of the predicates, in bytes.
    #[arg(long, default_value = "1k")]
    pub(crate) size: Size,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Refusals {
    /// Rounds of each kind.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) rounds: u16,
    /// Seconds measured in each round.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=5))]
    pub(crate) seconds: u64,
    /// Requests a second, the same for each kind; without it each connection asks again at once.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) rate: Option<u32>,
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) connections: u16,
    /// Size of the predicates, in bytes.
    #[arg(long, default_value = "1k")]
    pub(crate) size: Size,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// Rounds of each kind, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) rounds: u16,
    /// Seconds measured in each round.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=10))]
    pub(crate) seconds: u64,
    /// As many as keep every core busy.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) connections: u16,
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) tenants: u32,
    /// Size of the predicates, in bytes.
    #[arg(long, default_value = "1k")]
    pub(crate) size: Size,
    /// OpenBao's program, `bao`; without it there is no comparison with it.
    #[arg(long, value_name = "FILE")]
    pub(crate) openbao: Option<PathBuf>,
    /// Fail when a signature costs more than so many times the floor.
    #[arg(long, value_name = "RATIO")]
    pub(crate) most_floors: Option<f64>,
    /// Fail when a signature costs more than so many times the floor, the canonical form and base64 together.
    #[arg(long, value_name = "RATIO")]
    pub(crate) most_passes: Option<f64>,
    /// Fail when half the load costs more than so many times the floor.
    #[arg(long, value_name = "RATIO")]
    pub(crate) most_floors_at_half: Option<f64>,
    /// Fail unless it signs so many times as often as OpenBao.
    #[arg(long, value_name = "RATIO", requires = "openbao")]
    pub(crate) least_openbaos: Option<f64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Builds {
    /// The other build's program.
    #[arg(value_name = "SIGNER")]
    pub(crate) other: PathBuf,
    #[command(flatten)]
    pub(crate) turns: Turns,
    /// Size of the predicates, in bytes.
    #[arg(long, default_value = "1k")]
    pub(crate) size: Size,
    /// Fail when a signature of the other build costs more than so many times what it costs with this one.
    #[arg(long, value_name = "RATIO")]
    pub(crate) most: Option<f64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Echo {
    /// Worker threads; 0: one per core.
    #[arg(long, default_value_t = 0)]
    pub(crate) threads: usize,
    /// Speak TLS by this certificate and this key, in PEM.
    #[arg(long, num_args = 2, value_names = ["CERTIFICATE", "KEY"])]
    pub(crate) tls_files: Vec<PathBuf>,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (digits, unit) = match lower.strip_suffix('k') {
            Some(digits) => (digits, 1_000),
            None => lower
                .strip_suffix('m')
                .map_or((lower.as_str(), 1), |digits| (digits, 1_000_000)),
        };
        let bytes = digits
            .parse::<usize>()
            .ok()
            .and_then(|count| count.checked_mul(unit));
        bytes
            .filter(|bytes| (200..=16_000_000).contains(bytes))
            .map(Self)
            .ok_or_else(|| "use 200 to 16m bytes, for example 1k or 1m".to_owned())
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            bytes if bytes % 1_000_000 == 0 => write!(f, "{} MB", bytes / 1_000_000),
            bytes if bytes % 1_000 == 0 => write!(f, "{} KB", bytes / 1_000),
            bytes => write!(f, "{bytes} B"),
        }
    }
}
