//! What the server spends on a signature, and on each refusal of one.

use std::time::Duration;

use super::Callers;
use crate::Fallible;
use crate::args::Refusals;
use crate::fire::{Pace, Round, Span, Stream, fire};
use crate::held::Held;
use crate::mint::Plan;
use crate::payload::{Payload, anonymous, livez, templates};
use crate::report::{Bound, Report, Row, progress};
use crate::server::Server;
use crate::world::{HELD_FOR, World};

const LEAD: f64 = 0.5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Admitted,
    Rate,
    Concurrency,
    Anonymous,
    /// No refusal: HTTP alone, to compare with.
    Livez,
}

const KINDS: [(Kind, &str, &str); 5] = [
    (Kind::Admitted, "signed", "ok"),
    (Kind::Rate, "rate_limited", "rate_limited"),
    (Kind::Concurrency, "concurrency_limited", "concurrency_limited"),
    (Kind::Anonymous, "without a token", "invalid_token"),
    (Kind::Livez, "/livez", "ok"),
];

struct Scene<'a> {
    server: &'a Server,
    world: &'a World,
    options: &'a Refusals,
    wide: Callers,
    narrow: Callers,
    span: Span,
}

pub(crate) fn run(server: &Server, world: &World, options: &Refusals) -> Fallible<Report> {
    let span = Span::seconds(LEAD, options.seconds);
    if span.lead + span.measured > HELD_FOR - Duration::from_secs(2) {
        return Err("rounds of so many seconds are too long".into());
    }
    let narrow = Plan {
        qps: 1,
        burst: 1,
        ..Plan::WIDE
    };
    let scene = Scene {
        server,
        world,
        options,
        wide: one(world, "wide", Plan::WIDE, options)?,
        narrow: one(world, "narrow", narrow, options)?,
        span,
    };
    scene.wide.warm_up(server, world)?;
    scene.narrow.warm_up(server, world)?;
    let mut rows = KINDS.map(|(_, name, _)| Row::new(name));
    let bar = progress(usize::from(options.rounds) * KINDS.len());
    for round in 0..usize::from(options.rounds) {
        // Each kind comes in every place in turn.
        let order = (0..KINDS.len()).map(|n| (n + round) % KINDS.len());
        for n in order {
            let (Some((kind, ..)), Some(row)) = (KINDS.get(n), rows.get_mut(n)) else {
                continue;
            };
            bar.set_message(row.name.clone());
            row.add(&scene.round(*kind, round, &bar)?, 0);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    judged(options, rows)
}

fn one(world: &World, tenant: &str, plan: Plan, options: &Refusals) -> Fallible<Callers> {
    let callers = vec![world.mint.caller(tenant, plan, true)?];
    let templates = templates(&world.mint, &callers, options.size.0)?;
    Ok(Callers { callers, templates })
}

impl Scene<'_> {
    fn round(&self, kind: Kind, round: usize, bar: &indicatif::ProgressBar) -> Fallible<Round> {
        let options = self.options;
        let payload = match kind {
            Kind::Admitted => self.wide.payload(self.world, self.count(&self.wide)?)?,
            Kind::Rate => self.narrow.payload(self.world, self.count(&self.narrow)?)?,
            Kind::Concurrency => {
                let held = Held::new(self.world, &format!("held-{round}"), options.size.0)?;
                // As fast as the other refusal. The permit is taken once all is ready, as it is not held for long.
                let count = self.count(&self.narrow)?;
                let payload = held.callers.payload(self.world, count)?;
                held.hold(self.server, self.world)?;
                payload
            }
            Kind::Anonymous => {
                let caller = self.wide.callers.first().ok_or("there is no caller")?;
                Payload::unproven(anonymous(&self.world.mint, caller, options.size.0))
            }
            Kind::Livez => Payload::unproven(livez()),
        };
        let pace = options
            .rate
            .map_or(Pace::Closed, |rate| Pace::Rate(f64::from(rate)));
        let stream = Stream {
            payload,
            pace,
            connections: options.connections,
        };
        fire(self.server, &[stream], self.span, bar)
    }

    /// How many requests a round takes.
    fn count(&self, callers: &Callers) -> Fallible<usize> {
        match self.options.rate {
            Some(rate) => Ok(self.span.requests(f64::from(rate))),
            None => callers.enough(self.server, self.world, self.options.connections, self.span),
        }
    }
}

fn judged(options: &Refusals, rows: [Row; KINDS.len()]) -> Fallible<Report> {
    for ((_, name, expected), row) in KINDS.iter().zip(&rows) {
        let (all, good): (u64, u64) = (row.tally.codes.values().sum(), row.tally.of(expected));
        // One in a second is within the narrow plan's rate.
        if (all - good) as f64 > 0.01 * all as f64 {
            return Err(format!(
                "{name}: answers were not those to be measured: {:?}",
                row.tally.codes
            )
            .into());
        }
    }
    let signed = rows.first().map_or(0.0, Row::cpu);
    let notes = KINDS.iter().zip(&rows).map(|((_, name, _), row)| {
        format!(
            "{name}: {:.0} microseconds of the server's CPU, {:.2} of a signature",
            row.cpu(),
            row.cpu() / signed
        )
    });
    let refusals = KINDS
        .iter()
        .zip(&rows)
        .filter(|((kind, ..), _)| !matches!(kind, Kind::Admitted | Kind::Livez));
    let bounds = refusals.map(|((_, name, _), row)| {
        Bound::at_most(
            format!("{name} costs less than a signature"),
            row.cpu() / signed,
            0.999,
        )
    });
    let pace = options
        .rate
        .map_or("closed loop".to_owned(), |rate| format!("{rate} requests/s"));
    Ok(Report {
        title: format!(
            "refusals: {pace}, {} connections, predicates of {}",
            options.connections, options.size
        ),
        notes: notes.collect(),
        bounds: bounds.collect(),
        rows: rows.into(),
    })
}
