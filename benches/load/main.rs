//! The load harness: `cargo bench --bench load -- <scenario>`, `-- help` for what there is.
//!
//! It starts the release-built `signer serve` as a process of its own, with every gate on and its neighbours on loopback
//! inside the harness, sends real requests over keep-alive connections, and reads from `/proc` what they cost the server.
//! Proofs are made before the time that is measured. docs/reference/performance.md says how to read the figures.

mod args;
mod echo;
mod fire;
mod floor;
mod footprint;
mod held;
mod mint;
mod openbao;
mod payload;
mod plot;
mod process;
mod report;
mod scenarios;
mod server;
mod tally;
mod tls;
mod wire;
mod world;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Scenario};
use report::Report;
use server::{Ended, Server};
use world::{Variant, World};

/// Whatever keeps a run from being made; the harness ends with it.
type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let args = Args::parse();
    if args.scenario.is_none() {
        // `cargo bench` without arguments runs every bench: this one only tells what it could do.
        let help = Args::command().render_help();
        let _ = writeln!(std::io::stdout(), "{help}");
        return ExitCode::SUCCESS;
    }
    if let Some(Scenario::Echo(options)) = &args.scenario {
        return echo::serve(options);
    }
    if let Some(Scenario::Footprint(options)) = &args.scenario {
        return footprint::tell(options);
    }
    match run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// True when every bound held. The neighbours run on this thread, the load on others.
fn run(args: Args) -> Fallible<bool> {
    actix::System::new().block_on(async move {
        let world = World::start(&args).await?;
        tokio::task::spawn_blocking(move || measure(&args, &world)).await?
    })
}

fn measure(args: &Args, world: &World) -> Fallible<bool> {
    let (report, ended) = match &args.scenario {
        Some(Scenario::Scale(scale)) => scenarios::scale::run(world, args, scale)?,
        Some(Scenario::Builds(options)) => scenarios::builds::run(world, args, options)?,
        _ => with_one_server(args, world)?,
    };
    report.write(args, &ended, &mut std::io::stdout().lock())
}

fn with_one_server(args: &Args, world: &World) -> Fallible<(Report, Ended)> {
    let server = Server::start(world, Variant::of(args).name, &args.pass)?;
    let report = match &args.scenario {
        Some(Scenario::Sign(options)) => scenarios::sign::run(&server, world, options)?,
        Some(Scenario::Neighbour(options)) => scenarios::neighbour::run(&server, world, options)?,
        Some(Scenario::Refusals(options)) => scenarios::refusals::run(&server, world, options)?,
        Some(Scenario::Compare(options)) => scenarios::compare::run(&server, world, args, options)?,
        // With servers of their own, or none.
        Some(Scenario::Scale(_) | Scenario::Builds(_) | Scenario::Echo(_) | Scenario::Footprint(_))
        | None => Report::default(),
    };
    Ok((report, server.stop()?))
}
