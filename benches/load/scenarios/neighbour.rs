//! Fairness: what a tenant feels of another that asks for many times its limit.
//!
//! Rounds of three kinds take turns. *alone*: the well-behaved tenant uses its plan, evenly. *control*: the same, and the
//! other's connections ask for `/livez` as often as the abuse would, so that the client's own work, the connections and
//! HTTP are there but none of the service's. *abused*: they ask for signatures. Only what differs between the kinds of
//! one run says something about the service.

use super::Callers;
use crate::Fallible;
use crate::args::Neighbour;
use crate::fire::{Pace, Round, Span, Stream, fire};
use crate::mint::Plan;
use crate::payload::{Payload, livez, templates};
use crate::report::{Bound, Report, Row, progress};
use crate::server::Server;
use crate::world::World;

/// The p99 of the well-behaved tenant beside the abuse is at most so many times that without it (the larger of *alone* and
/// *control*: a machine that idles is slower to wake), and so many milliseconds. docs/reference/plans-and-quotas.md says so.
const BOUND_TIMES: f64 = 2.0;
const BOUND_MS: f64 = 5.0;
/// Before each round is measured, in seconds: the abusive tenant's bucket is empty then.
const LEAD: f64 = 1.5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Alone,
    Control,
    Abused,
}

const KINDS: [Kind; 3] = [Kind::Alone, Kind::Control, Kind::Abused];

struct Scene<'a> {
    server: &'a Server,
    world: &'a World,
    options: &'a Neighbour,
    good: Callers,
    abusive: Callers,
    span: Span,
}

pub(crate) fn run(server: &Server, world: &World, options: &Neighbour) -> Fallible<Report> {
    let scene = Scene {
        server,
        world,
        options,
        good: one(world, "good", options.qps, options)?,
        abusive: one(world, "abusive", options.abuser_qps, options)?,
        span: Span::seconds(LEAD, options.seconds),
    };
    scene.good.warm_up(server, world)?;
    scene.abusive.warm_up(server, world)?;
    let mut rows = ["alone", "beside /livez", "beside the abuse"].map(Row::new);
    let mut abuse = Row::new("the abuse itself");
    let bar = progress(usize::from(options.rounds) * KINDS.len());
    for round in 0..usize::from(options.rounds) {
        // Each kind comes first, second and last in turn.
        let order = (0..KINDS.len()).map(|n| (n + round) % KINDS.len());
        for n in order {
            let (Some(kind), Some(row)) = (KINDS.get(n), rows.get_mut(n)) else {
                continue;
            };
            bar.set_message(row.name.clone());
            let measured = scene.round(*kind, &bar)?;
            row.add(&measured, 0);
            if *kind == Kind::Abused {
                abuse.add(&measured, 1);
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(judged(options, rows, abuse))
}

/// A tenant with one caller.
fn one(world: &World, tenant: &str, qps: u32, options: &Neighbour) -> Fallible<Callers> {
    let plan = Plan {
        qps,
        burst: qps,
        concurrency: 16,
    };
    let callers = vec![world.mint.caller(tenant, plan, true)?];
    let templates = templates(&world.mint, &callers, options.size.0)?;
    Ok(Callers { callers, templates })
}

impl Scene<'_> {
    fn round(&self, kind: Kind, bar: &indicatif::ProgressBar) -> Fallible<Round> {
        let options = self.options;
        let rate = f64::from(options.qps);
        let mut streams = vec![Stream {
            payload: self.good.payload(self.world, self.span.requests(rate))?,
            pace: Pace::Rate(rate),
            connections: options.connections,
        }];
        let rate = f64::from(options.abuser_qps) * f64::from(options.times);
        let payload = match kind {
            Kind::Alone => None,
            Kind::Control => Some(Payload::unproven(livez())),
            Kind::Abused => Some(self.abusive.payload(self.world, self.span.requests(rate))?),
        };
        streams.extend(payload.map(|payload| Stream {
            payload,
            pace: Pace::Rate(rate),
            connections: options.abuser_connections,
        }));
        fire(self.server, &streams, self.span, bar)
    }
}

fn judged(options: &Neighbour, rows: [Row; 3], abuse: Row) -> Report {
    let ms = |micros: u64| micros as f64 / 1000.0;
    let [alone, control, abused] = &rows;
    let [p99_alone, p99_control, p99_abused] = [alone, control, abused].map(|row| ms(row.median_of(0.99)));
    let limit = f64::from(options.abuser_qps);
    let accepted = abuse.per_second(abuse.tally.granted);
    let refused = rows
        .iter()
        .map(|row| row.tally.codes.iter().filter(|(code, _)| *code != "ok"));
    let refused: u64 = refused.flatten().map(|(_, count)| count).sum();
    let notes = vec![
        format!(
            "p99, median of the rounds: {p99_alone:.2} ms alone, {p99_control:.2} beside /livez, {p99_abused:.2} beside the abuse"
        ),
        format!(
            "the abusive tenant asked {:.0} times a second and was given {accepted:.1}; its plan allows {limit}",
            abuse.per_second(abuse.tally.due.count() + abuse.tally.unsent),
        ),
    ];
    let bounds = vec![
        Bound::at_most(
            format!(
                "p99 beside a tenant at {} times its limit, ms: {BOUND_TIMES} times that without it and {BOUND_MS} ms",
                options.times
            ),
            p99_abused,
            BOUND_TIMES * p99_alone.max(p99_control) + BOUND_MS,
        ),
        Bound::at_most(
            "requests of the well-behaved tenant that were refused".to_owned(),
            refused as f64,
            0.0,
        ),
        // The bucket was empty before; what refills while one request is on its way may slip in.
        Bound::at_most(
            "the abusive tenant is given its plan's rate and no more".to_owned(),
            accepted,
            limit * 1.02 + 1.0,
        ),
    ];
    let mut all: Vec<Row> = rows.into();
    all.push(abuse);
    Report {
        title: format!(
            "a tenant at {} requests/s beside one with a limit of {} that asks for {} times as much over {} connections",
            options.qps, options.abuser_qps, options.times, options.abuser_connections
        ),
        rows: all,
        notes,
        bounds,
    }
}
