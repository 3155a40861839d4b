//! The command line of `scale`.

use clap::Subcommand;

use super::Size;

/// What grows.
#[derive(Debug, Subcommand)]
pub(crate) enum Scale {
    /// Two servers, with one worker and with two.
    Workers(Workers),
    /// Few and many tenants, few and many remembered tokens: three servers with one worker each.
    Many(Many),
    /// Sizes of the predicate, each beside its floor.
    Sizes(Sizes),
    /// Memory: large bodies at once, tenants, and what each thing remembered takes.
    Memory(Memory),
    /// Latency at half the load, alone and beside an abusive tenant.
    Latency(Latency),
}

/// How rounds are taken, of each kind in turn.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Turns {
    /// Rounds of each kind.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) rounds: u16,
    /// Seconds measured in each round.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=10))]
    pub(crate) seconds: u64,
    /// As many as keep every core busy.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) connections: u16,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Workers {
    #[command(flatten)]
    pub(crate) turns: Turns,
    /// Size of the predicates, in bytes.
    #[arg(long, default_value = "1k")]
    pub(crate) size: Size,
    /// Workers of the larger server.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=64))]
    pub(crate) to: u16,
    /// Fail when a signature costs more than so many times what it costs with one worker.
    #[arg(long, value_name = "RATIO")]
    pub(crate) most: Option<f64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Many {
    #[command(flatten)]
    pub(crate) turns: Turns,
    /// Size of the predicates, in bytes.
    #[arg(long, default_value = "1k")]
    pub(crate) size: Size,
    /// Tenants where there are many, each with one token.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=50_000))]
    pub(crate) tenants: u32,
    /// Tokens where there are many, of ten tenants.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=200_000))]
    pub(crate) tokens: u32,
    /// Fail when a signature costs more than so many times what it costs with ten tenants and a hundred tokens.
    #[arg(long, value_name = "RATIO")]
    pub(crate) most: Option<f64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Sizes {
    #[command(flatten)]
    pub(crate) turns: Turns,
    /// Sizes of the predicate, in bytes.
    #[arg(long, value_delimiter = ',', default_value = "1k,10k,100k,1m")]
    pub(crate) sizes: Vec<Size>,
    /// Fail when a signature costs more than so many times the floor, the canonical form and base64 together: one ratio for
    /// each size.
    #[arg(long, value_delimiter = ',', value_name = "RATIO")]
    pub(crate) most: Vec<f64>,
    /// Judge by the best round instead of the middle one: for machines that are busy with other work.
    #[arg(long)]
    pub(crate) best: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Memory {
    /// Tenants that the server has to remember, each with a token, an entitlement, and a proof that was just spent.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=200_000))]
    pub(crate) tenants: u32,
    /// Bodies that are held at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) bodies: u16,
    /// Size of their predicates.
    #[arg(long, default_value = "1m")]
    pub(crate) size: Size,
    /// What is remembered of proofs, by itself.
    #[command(flatten)]
    pub(crate) footprint: Footprint,
}

/// What is made to be remembered, without HTTP.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Footprint {
    /// Proofs that were spent.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=4_000_000))]
    pub(crate) proofs: u32,
    /// Tokens, entitlements, and tenants with a bucket that is not full.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    pub(crate) others: u32,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    pub(crate) turns: Turns,
    /// Size of the predicates, in bytes.
    #[arg(long, default_value = "1k")]
    pub(crate) size: Size,
    /// Requests a second; without it half of what the server answers when asked as fast as it can.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub(crate) rate: Option<u32>,
    /// Rate of the abusive tenant's plan.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) abuser_qps: u32,
    /// How many times its plan's rate the abusive tenant asks for.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) times: u32,
    /// Fail when p99 alone is more than linger, sync and so many milliseconds.
    #[arg(long, value_name = "MS")]
    pub(crate) most: Option<f64>,
}
