//! Another build beside this one, in turn, in one run: what a change costs or saves.

use super::compare::{needs, told_floor};
use super::contest::{Contender, Outcome, hold};
use super::median;
use super::scale::{callers, start, told};
use crate::Fallible;
use crate::args::{Args, Builds};
use crate::floor::Needs;
use crate::payload::predicate;
use crate::report::Report;
use crate::server::{Ended, Server};
use crate::world::{Variant, World};

pub(crate) fn run(world: &World, args: &Args, options: &Builds) -> Fallible<(Report, Ended)> {
    let variant = |name| Variant {
        name,
        ..Variant::of(args)
    };
    let this = start(world, args, &variant("this"))?;
    world.configure(args, &variant("other"))?;
    let other = Server::start_program(&options.other, world, "other", &args.pass)?;
    let callers = callers(world, 10, 1, options.size)?;
    let body = predicate(options.size.0);
    let contender = |name: &str, server| Contender {
        name: name.to_owned(),
        server,
        callers: &callers,
        body: Some(body.clone()),
    };
    let contenders = [contender("this build", &this), contender("the other", &other)];
    let outcomes = hold(world, &contenders, options.turns)?;
    let ended = this.stop()?.and(other.stop()?);
    let [first, second] = <[_; 2]>::try_from(outcomes).map_err(|_| "a contender is missing")?;
    let needs = needs(args);
    let floors: Vec<_> = [&first.floors[..], &second.floors].concat();
    let mut report = Report {
        title: format!(
            "builds: closed loop, {} connections, predicates of {}, {} rounds in turn",
            options.turns.connections, options.size, options.turns.rounds
        ),
        notes: vec![
            told_floor(&floors, needs),
            format!(
                "CPU of a signature in floors: {:.2}, the other {:.2}",
                in_floors(&first, needs),
                in_floors(&second, needs)
            ),
        ],
        ..Report::default()
    };
    told(
        &mut report,
        "CPU of a signature, the other build for this one".to_owned(),
        second.in_terms_of(&first, |outcome| &outcome.costs),
        options.most,
    );
    report.rows = vec![first.row, second.row];
    Ok((report, ended))
}

fn in_floors(outcome: &Outcome, needs: Needs) -> f64 {
    let pairs = outcome.costs.iter().zip(&outcome.floors);
    median(pairs.map(|(cost, floor)| cost / floor.of_a_signature(needs)))
}
