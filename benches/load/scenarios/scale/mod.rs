//! How the cost of a signature grows, in one run each: only ratios say something.

mod latency;
mod many;
mod memory;
mod sizes;
mod workers;

use super::Callers;
use crate::Fallible;
use crate::args::{Args, Scale, Size};
use crate::mint::Plan;
use crate::payload::templates;
use crate::report::{Bound, Report};
use crate::server::{Ended, Server};
use crate::world::{Variant, World};

/// Starts what it needs, and ends it.
pub(crate) fn run(world: &World, args: &Args, scale: &Scale) -> Fallible<(Report, Ended)> {
    match scale {
        Scale::Workers(options) => workers::run(world, args, options),
        Scale::Many(options) => many::run(world, args, options),
        Scale::Sizes(options) => sizes::run(world, args, options),
        Scale::Memory(options) => memory::run(world, args, options),
        Scale::Latency(options) => latency::run(world, args, options),
    }
}

pub(super) fn start(world: &World, args: &Args, variant: &Variant) -> Fallible<Server> {
    world.configure(args, variant)?;
    Server::start(world, variant.name, &args.pass)
}

/// Tenants, of each so many tokens, and their requests.
pub(super) fn callers(world: &World, tenants: usize, each: usize, size: Size) -> Fallible<Callers> {
    let callers = world.mint.callers("tenant", 0..tenants, each, Plan::WIDE)?;
    Ok(Callers {
        templates: templates(&world.mint, &callers, size.0)?,
        callers,
    })
}

/// A bound where there is one, and a note where there is none.
pub(super) fn told(report: &mut Report, what: String, measured: f64, most: Option<f64>) {
    match most {
        Some(limit) => report.bounds.push(Bound::at_most(what, measured, limit)),
        None => report.notes.push(format!("{what}: {measured:.2}")),
    }
}
