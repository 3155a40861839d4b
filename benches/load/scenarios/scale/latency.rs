//! Latency at half the load: alone, and beside a tenant that asks for many times its limit.

use std::fs::File;
use std::io::Write;
use std::time::Instant;

use super::{callers, start, told};
use crate::Fallible;
use crate::args::{Args, Latency};
use crate::fire::{Pace, Span, Stream, fire};
use crate::mint::Plan;
use crate::payload::templates;
use crate::report::{Report, Row, progress};
use crate::scenarios::Callers;
use crate::server::Ended;
use crate::tally::Latencies;
use crate::world::{Variant, World};

/// How long a record of the trail may wait for others, in milliseconds: the default of `audit.linger`.
const LINGER: f64 = 2.0;
/// Before each round is measured, in seconds: the abusive tenant's bucket is empty then.
const LEAD: f64 = 1.5;
/// Connections of the abusive tenant.
const ABUSERS: u16 = 16;

pub(super) fn run(world: &World, args: &Args, options: &Latency) -> Fallible<(Report, Ended)> {
    let server = start(world, args, &Variant::of(args))?;
    let good = callers(world, 10, 1, options.size)?;
    let abusive = abusive(world, options)?;
    good.warm_up(&server, world)?;
    abusive.warm_up(&server, world)?;
    let turns = options.turns;
    let rate = match options.rate {
        Some(rate) => f64::from(rate),
        None => good.first_look(&server, world, turns.connections)? / 2.0,
    };
    let abuse = f64::from(options.abuser_qps) * f64::from(options.times);
    let span = Span::seconds(LEAD, turns.seconds);
    let mut rows = ["half the load", "beside the abuse"].map(Row::new);
    let mut syncs = Latencies::new();
    let bar = progress(2 * usize::from(turns.rounds));
    for round in 0..usize::from(turns.rounds) {
        sync(world, &mut syncs)?;
        for place in 0..2 {
            let beside = (place + round) % 2;
            let mut streams = vec![Stream {
                payload: good.payload(world, span.requests(rate))?,
                pace: Pace::Rate(rate),
                connections: turns.connections.saturating_mul(2),
            }];
            if beside == 1 {
                streams.push(Stream {
                    payload: abusive.payload(world, span.requests(abuse))?,
                    pace: Pace::Rate(abuse),
                    connections: ABUSERS,
                });
            }
            let measured = fire(&server, &streams, span, &bar)?;
            if let Some(row) = rows.get_mut(beside) {
                row.add(&measured, 0);
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let ended = server.stop()?;
    Ok((report(options, rows, rate, &syncs), ended))
}

fn abusive(world: &World, options: &Latency) -> Fallible<Callers> {
    let plan = Plan {
        qps: options.abuser_qps,
        burst: options.abuser_qps,
        concurrency: 16,
    };
    let callers = vec![world.mint.caller("abusive", plan, true)?];
    Ok(Callers {
        templates: templates(&world.mint, &callers, options.size.0)?,
        callers,
    })
}

/// What a sync takes where the trail is, of as much as a batch of records.
fn sync(world: &World, syncs: &mut Latencies) -> Fallible<()> {
    let mut file = File::create(world.path().join("sync"))?;
    for _ in 0..50 {
        file.write_all(&[b'.'; 4096])?;
        let begun = Instant::now();
        file.sync_data()?;
        syncs.record(begun.elapsed());
    }
    Ok(())
}

fn report(options: &Latency, rows: [Row; 2], rate: f64, syncs: &Latencies) -> Report {
    let ms = |micros: u64| micros as f64 / 1000.0;
    let mut report = Report {
        title: format!(
            "latency: {rate:.0} requests/s, predicates of {}; the abusive tenant asks for {} times its {} a second",
            options.size, options.times, options.abuser_qps
        ),
        ..Report::default()
    };
    for row in &rows {
        let at = |quantile| ms(row.median_of(quantile));
        report.notes.push(format!(
            "{}: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms: medians of the rounds",
            row.name,
            at(0.5),
            at(0.99),
            at(0.999)
        ));
    }
    let sync = ms(syncs.at(0.99));
    report.notes.push(format!(
        "a sync where the trail is: p50 {:.2} ms, p99 {sync:.2} ms",
        ms(syncs.at(0.5))
    ));
    let [alone, _] = &rows;
    let beyond = ms(alone.median_of(0.99)) - LINGER - sync;
    told(
        &mut report,
        "p99 at half the load beyond linger and sync, ms".to_owned(),
        beyond,
        options.most,
    );
    report.rows = rows.into();
    report
}
