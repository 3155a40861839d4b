//! Signing, by size of the predicate.

use super::Callers;
use crate::Fallible;
use crate::args::Sign;
use crate::fire::{Pace, Span, Stream, fire};
use crate::mint::Plan;
use crate::payload::templates;
use crate::report::{Report, Row, progress};
use crate::server::Server;
use crate::world::World;

pub(crate) fn run(server: &Server, world: &World, options: &Sign) -> Fallible<Report> {
    let span = Span::seconds(1.0, options.seconds);
    let tenants = 0..options.tenants;
    let callers: Fallible<Vec<_>> = tenants
        .map(|n| world.mint.caller(&format!("tenant-{n}"), Plan::WIDE, true))
        .collect();
    let mut callers = Callers {
        callers: callers?,
        templates: Vec::new().into(),
    };
    let bar = progress(options.sizes.len());
    let mut rows = Vec::new();
    for size in &options.sizes {
        bar.set_message(size.to_string());
        callers.templates = templates(&world.mint, &callers.callers, size.0)?;
        callers.warm_up(server, world)?;
        let (pace, payload) = match options.rate {
            Some(rate) => {
                let rate = f64::from(rate);
                (Pace::Rate(rate), callers.payload(world, span.requests(rate))?)
            }
            None => {
                let count = callers.enough(server, world, options.connections, span)?;
                (Pace::Closed, callers.payload(world, count)?)
            }
        };
        let stream = Stream {
            payload,
            pace,
            connections: options.connections,
        };
        let mut row = Row::new(size.to_string());
        row.add(&fire(server, &[stream], span, &bar)?, 0);
        rows.push(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let pace = options.rate.map_or("closed loop".to_owned(), |rate| {
        format!("{rate} requests/s, open loop")
    });
    Ok(Report {
        title: format!(
            "signing: {pace}, {} connections, {} tenants",
            options.connections, options.tenants
        ),
        rows,
        ..Report::default()
    })
}
