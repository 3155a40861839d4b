//! CPU of a signature by size of the predicate, in terms of what the size costs anyhow.

use super::{callers, start, told};
use crate::Fallible;
use crate::args::{Args, Sizes};
use crate::floor::{Floor, Needs};
use crate::payload::predicate;
use crate::report::Report;
use crate::scenarios::compare::{needs, told_floor};
use crate::scenarios::contest::{Contender, Outcome, hold};
use crate::scenarios::median;
use crate::server::Ended;
use crate::world::{Variant, World};

/// Tenants that take turns.
const TENANTS: usize = 10;

pub(super) fn run(world: &World, args: &Args, options: &Sizes) -> Fallible<(Report, Ended)> {
    if !options.most.is_empty() && options.most.len() != options.sizes.len() {
        return Err("--most takes one ratio for each size".into());
    }
    let server = start(world, args, &Variant::of(args))?;
    let all = options.sizes.iter();
    let all: Vec<_> = all
        .map(|size| callers(world, TENANTS, 1, *size))
        .collect::<Fallible<_>>()?;
    let contenders: Vec<_> = (options.sizes.iter().zip(&all))
        .map(|(size, callers)| Contender {
            name: size.to_string(),
            server: &server,
            callers,
            body: Some(predicate(size.0)),
        })
        .collect();
    let outcomes = hold(world, &contenders, options.turns)?;
    let ended = server.stop()?;
    let mut report = Report {
        title: format!(
            "sizes: closed loop, {} connections, {} rounds in turn",
            options.turns.connections, options.turns.rounds
        ),
        ..Report::default()
    };
    for (n, outcome) in outcomes.iter().enumerate() {
        judge(&mut report, outcome, needs(args), options, n);
    }
    report.rows = outcomes.into_iter().map(|outcome| outcome.row).collect();
    Ok((report, ended))
}

fn judge(report: &mut Report, outcome: &Outcome, needs: Needs, options: &Sizes, n: usize) {
    let name = &outcome.row.name;
    let in_terms_of = |floor: fn(&Floor, Needs) -> f64| -> Vec<f64> {
        let pairs = outcome.costs.iter().zip(&outcome.floors);
        pairs.map(|(cost, one)| cost / floor(one, needs)).collect()
    };
    let crypto = in_terms_of(|floor, needs| floor.of_a_signature(needs));
    let passes = in_terms_of(|floor, needs| floor.with_passes(needs));
    report.notes.push(format!(
        "{name}: CPU of a signature {:.0} us, {:.2} floors; {}",
        outcome.cost(),
        median(crypto.into_iter()),
        told_floor(&outcome.floors, needs)
    ));
    let measured = if options.best {
        passes.into_iter().fold(f64::INFINITY, f64::min)
    } else {
        median(passes.into_iter())
    };
    let what = format!("{name}: CPU of a signature in floors with canonical form and base64");
    told(report, what, measured, options.most.get(n).copied());
}
