//! CPU of a signature with several workers, in terms of one.

use super::{callers, start, told};
use crate::Fallible;
use crate::args::{Args, Workers};
use crate::report::Report;
use crate::scenarios::contest::{Contender, hold};
use crate::server::Ended;
use crate::world::{Variant, World};

pub(super) fn run(world: &World, args: &Args, options: &Workers) -> Fallible<(Report, Ended)> {
    let variant = |name, workers| Variant {
        name,
        workers,
        ..Variant::of(args)
    };
    let one = start(world, args, &variant("one", 1))?;
    let more = start(world, args, &variant("more", options.to))?;
    let callers = callers(world, 10, 1, options.size)?;
    let contender = |name: String, server| Contender {
        name,
        server,
        callers: &callers,
        body: None,
    };
    let contenders = [
        contender("1 worker".to_owned(), &one),
        contender(format!("{} workers", options.to), &more),
    ];
    let outcomes = hold(world, &contenders, options.turns)?;
    let ended = one.stop()?.and(more.stop()?);
    let [first, second] = <[_; 2]>::try_from(outcomes).map_err(|_| "a contender is missing")?;
    let mut report = Report {
        title: format!(
            "workers: closed loop, {} connections, predicates of {}, {} rounds in turn",
            options.turns.connections, options.size, options.turns.rounds
        ),
        ..Report::default()
    };
    told(
        &mut report,
        format!("CPU of a signature, {} workers for one", options.to),
        second.in_terms_of(&first, |outcome| &outcome.costs),
        options.most,
    );
    let rate = second.in_terms_of(&first, |outcome| &outcome.rates);
    report.notes.push(format!(
        "signatures a second, {} workers for one: {rate:.2} (the harness takes its share of the cores)",
        options.to
    ));
    report.rows = vec![first.row, second.row];
    Ok((report, ended))
}
