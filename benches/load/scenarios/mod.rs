//! What is measured.

pub(crate) mod builds;
pub(crate) mod compare;
pub(crate) mod contest;
pub(crate) mod neighbour;
pub(crate) mod refusals;
pub(crate) mod scale;
pub(crate) mod sign;

use std::sync::Arc;

use crate::Fallible;
use crate::fire::{Pace, Span, Stream, fire, warm_up};
use crate::mint::Caller;
use crate::payload::{Payload, Template};
use crate::report::progress;
use crate::server::Server;
use crate::world::World;

/// Requests of the first look at how fast the server is.
const FIRST_LOOK: usize = 20_000;
/// First requests that are made before they are sent: proofs are good for little more than a minute.
const AT_ONCE: usize = 2_000;
/// How many times as fast it may turn out to be.
pub(crate) const HEADROOM: f64 = 1.8;

/// Callers with their requests.
pub(crate) struct Callers {
    pub(crate) callers: Vec<Caller>,
    pub(crate) templates: Arc<[Template]>,
}

impl Callers {
    /// So many requests of them.
    pub(crate) fn payload(&self, world: &World, count: usize) -> Fallible<Payload> {
        self.payload_from(world, 0, count)
    }

    /// So many requests, beginning with this one of them.
    pub(crate) fn payload_from(&self, world: &World, first: usize, count: usize) -> Fallible<Payload> {
        Payload::signing(&world.mint, &self.callers, &self.templates, first, count)
    }

    /// Everyone's first requests, each some times, so that every worker knows them.
    pub(crate) fn warm_up(&self, server: &Server, world: &World) -> Fallible<()> {
        // All connections of a worker are served by it; connections are dealt out to workers in turn.
        let times = if self.callers.len() > 100 { 1 } else { 16 };
        let count = self.callers.len() * times;
        for first in (0..count).step_by(AT_ONCE) {
            let some = AT_ONCE.min(count - first);
            warm_up(server, &self.payload_from(world, first, some)?, 8)?;
        }
        Ok(())
    }

    /// Enough for a closed loop: a little more than the server can answer.
    pub(crate) fn enough(
        &self,
        server: &Server,
        world: &World,
        connections: u16,
        span: Span,
    ) -> Fallible<usize> {
        let rate = self.first_look(server, world, connections)?;
        Ok(span.requests(rate * HEADROOM))
    }

    /// About how many requests a second the server answers.
    pub(crate) fn first_look(&self, server: &Server, world: &World, connections: u16) -> Fallible<f64> {
        let stream = Stream {
            payload: self.payload(world, FIRST_LOOK)?,
            pace: Pace::Closed,
            connections,
        };
        let look = Span::seconds(0.5, 1);
        let round = fire(server, &[stream], look, &progress(0))?;
        let ran_out = round.tallies.iter().any(|tally| tally.ran_out);
        // Run out within this look, the rate is no less than that of the whole of it.
        let least = if ran_out { FIRST_LOOK as f64 } else { 100.0 };
        Ok(round.per_second().max(least))
    }
}

/// The middle one, or the upper one of the middle two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}
