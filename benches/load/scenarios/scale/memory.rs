//! What memory the service takes: for large bodies at once, for tenants, and for each thing that it remembers.

use std::process::Command;

use super::{callers, start};
use crate::Fallible;
use crate::args::{Args, Memory};
use crate::fire::{Pace, Span, Stream, fire, warm_up};
use crate::footprint::Told;
use crate::mint::Plan;
use crate::payload::templates;
use crate::report::{Bound, Report, Row, progress};
use crate::scenarios::Callers;
use crate::server::{Ended, Server};
use crate::world::{Variant, World};

/// Peak with large bodies: so many bytes, and so many times the bytes in flight.
const BASE: f64 = 64.0 * 1024.0 * 1024.0;
const TIMES: f64 = 4.0;
/// Tenants whose requests are made at a time.
const CHUNK: usize = 10_000;

pub(super) fn run(world: &World, args: &Args, options: &Memory) -> Fallible<(Report, Ended)> {
    let mut report = Report {
        title: "memory".to_owned(),
        ..Report::default()
    };
    let variant = |name| Variant {
        name,
        remembered: 400_000,
        ..Variant::of(args)
    };
    let server = start(world, args, &variant("bodies"))?;
    bodies(world, &server, options, &mut report)?;
    let ended = server.stop()?;
    let server = start(world, args, &variant("tenants"))?;
    tenants(world, &server, options, &mut report)?;
    let ended = ended.and(server.stop()?);
    remembered(options, &mut report)?;
    Ok((report, ended))
}

/// Peak with so many large bodies at once.
fn bodies(world: &World, server: &Server, options: &Memory, report: &mut Report) -> Fallible<()> {
    let all = callers(world, 4, 1, options.size)?;
    warm_up(server, &all.payload(world, 16)?, 1)?;
    let span = Span::seconds(1.0, 3);
    let count = span.requests(2_000.0);
    let stream = Stream {
        payload: all.payload(world, count)?,
        pace: Pace::Closed,
        connections: options.bodies,
    };
    let before = server.resident_kib()?;
    let mut row = Row::new(format!("{} bodies of {}", options.bodies, options.size));
    let round = fire(server, &[stream], span, &progress(0))?;
    row.add(&round, 0);
    let in_flight = all.templates.first().map_or(0, |template| template.body.len()) as f64;
    let in_flight = in_flight * f64::from(options.bodies);
    let peak = round.server.peak_kib as f64 * 1024.0;
    report.notes.push(format!(
        "resident {} MiB before the bodies, {} MiB at most with {:.0} MB of them in flight, {} MiB afterwards",
        before / 1024,
        round.server.peak_kib / 1024,
        in_flight / 1e6,
        server.resident_kib()? / 1024
    ));
    report.bounds.push(Bound::at_most(
        format!(
            "peak in MB, {} bodies of {} at once",
            options.bodies, options.size
        ),
        peak / 1e6,
        (BASE + TIMES * in_flight) / 1e6,
    ));
    report.rows.push(row);
    Ok(())
}

/// What the server grows by for each tenant that asked once.
fn tenants(world: &World, server: &Server, options: &Memory, report: &mut Report) -> Fallible<()> {
    let count = options.tenants as usize;
    let bar = progress(count.div_ceil(CHUNK));
    let chunk = |tenants: std::ops::Range<usize>| {
        let callers = world.mint.callers("tenant", tenants, 1, Plan::WIDE)?;
        let chunk = Callers {
            templates: templates(&world.mint, &callers, 1_000)?,
            callers,
        };
        bar.inc(1);
        chunk.warm_up(server, world)
    };
    // Buffers and stacks have grown to what they need by then.
    let first = CHUNK.min(count / 10);
    chunk(0..first)?;
    let before = server.resident_kib()?;
    let mut from = first;
    while from < first + count {
        let to = (from + CHUNK).min(first + count);
        chunk(from..to)?;
        from = to;
    }
    bar.finish_and_clear();
    let after = server.resident_kib()?;
    let each = after.saturating_sub(before) as f64 * 1024.0 / count as f64;
    report.notes.push(format!(
        "resident {} MiB with {first} tenants, {} MiB with {count} more: {each:.0} bytes for a tenant that asked once (token, \
         entitlement, proof)",
        before / 1024,
        after / 1024,
    ));
    Ok(())
}

/// What each thing takes that is remembered, in a process of its own.
fn remembered(options: &Memory, report: &mut Report) -> Fallible<()> {
    let counts = options.footprint;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("footprint");
    command.args(["--proofs", &counts.proofs.to_string()]);
    command.args(["--others", &counts.others.to_string()]);
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("the footprint was not measured: {said}").into());
    }
    let told: Vec<Told> = serde_json::from_slice(&output.stdout)?;
    let mut sum = 0;
    for Told { what, count, bytes } in told {
        sum += bytes;
        report.notes.push(format!(
            "{count} of {what}: {:.1} MiB, {:.0} bytes each",
            bytes as f64 / 1_048_576.0,
            bytes as f64 / count.max(1) as f64
        ));
    }
    report
        .notes
        .push(format!("all of these together: {} MiB", sum / 1_048_576));
    Ok(())
}
