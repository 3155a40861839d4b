//! Servers, or their callers, in turn, in one run: each asked as fast as it answers.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Callers, HEADROOM, median};
use crate::Fallible;
use crate::args::Turns;
use crate::fire::{Pace, Round, Span, Stream, fire};
use crate::floor::Floor;
use crate::report::{Row, progress};
use crate::server::Server;
use crate::world::World;

const LEAD: f64 = 0.5;
/// How long entitlements are believed, as configured (`entitlement.positive_ttl`), and a second.
const BELIEVED: Duration = Duration::from_secs(121);
/// Of a round whose requests run out.
const ATTEMPTS: usize = 5;
/// A round and what precedes it take no longer.
const ROUND: Duration = Duration::from_secs(15);

/// One of those that are compared.
pub(crate) struct Contender<'a> {
    pub(crate) name: String,
    pub(crate) server: &'a Server,
    pub(crate) callers: &'a Callers,
    /// The predicate whose floor is measured before and after each round.
    pub(crate) body: Option<String>,
}

/// What came of one of them, by round.
pub(crate) struct Outcome {
    pub(crate) row: Row,
    /// CPU microseconds of the server for a signature.
    pub(crate) costs: Vec<f64>,
    /// Signatures a second.
    pub(crate) rates: Vec<f64>,
    /// Where a body was given.
    pub(crate) floors: Vec<Floor>,
}

impl Outcome {
    pub(crate) fn cost(&self) -> f64 {
        median(self.costs.iter().copied())
    }

    /// Median over the rounds of one number of this in those of another.
    pub(crate) fn in_terms_of(&self, other: &Self, number: fn(&Self) -> &[f64]) -> f64 {
        let pairs = number(self).iter().zip(number(other));
        median(pairs.map(|(ours, theirs)| ours / theirs))
    }
}

struct State {
    outcome: Outcome,
    warmed: Instant,
    /// The caller whose turn it is.
    next: usize,
}

/// All of them in turn, each in every place.
pub(crate) fn hold(world: &World, contenders: &[Contender<'_>], turns: Turns) -> Fallible<Vec<Outcome>> {
    let bar = progress(contenders.len() * usize::from(turns.rounds));
    let mut states = Vec::new();
    for contender in contenders {
        bar.set_message(format!("{}: everyone's first request", contender.name));
        contender.callers.warm_up(contender.server, world)?;
        let rate = contender
            .callers
            .first_look(contender.server, world, turns.connections)?;
        states.push(State {
            outcome: Outcome {
                row: Row::new(contender.name.clone()),
                costs: Vec::new(),
                rates: vec![rate],
                floors: Vec::new(),
            },
            warmed: Instant::now(),
            next: 0,
        });
    }
    for round in 0..usize::from(turns.rounds) {
        for place in 0..contenders.len() {
            let n = (place + round) % contenders.len();
            if let (Some(contender), Some(state)) = (contenders.get(n), states.get_mut(n)) {
                bar.set_message(contender.name.clone());
                state.round(world, contender, turns)?;
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    let outcomes = states.into_iter().map(|mut state| {
        // The first look.
        state.outcome.rates.remove(0);
        state.outcome
    });
    Ok(outcomes.collect())
}

impl State {
    fn round(&mut self, world: &World, contender: &Contender<'_>, turns: Turns) -> Fallible<()> {
        self.keep_warm(world, contender)?;
        let span = Span::seconds(LEAD, turns.seconds);
        let mut rate = self.outcome.rates.iter().copied().fold(100.0, f64::max);
        for _ in 0..ATTEMPTS {
            let (round, floor) = self.attempt(world, contender, turns.connections, (span, rate))?;
            // About as many were used.
            self.next += (round.per_second() * (span.lead + span.measured).as_secs_f64()) as usize;
            if round.tallies.iter().any(|tally| tally.ran_out) {
                // On a machine that is busy one round may be many times as fast as all before it.
                rate *= 2.0;
                continue;
            }
            self.outcome.floors.extend(floor);
            self.outcome.row.add(&round, 0);
            self.outcome.costs.push(round.cost());
            self.outcome.rates.push(round.per_second());
            return Ok(());
        }
        Err(format!("{}: there were never enough requests", contender.name).into())
    }

    fn attempt(
        &self,
        world: &World,
        contender: &Contender<'_>,
        connections: u16,
        (span, rate): (Span, f64),
    ) -> Fallible<(Round, Option<Floor>)> {
        let count = span.requests(rate * HEADROOM);
        let stream = Stream {
            payload: contender.callers.payload_from(world, self.next, count)?,
            pace: Pace::Closed,
            connections,
        };
        let floor = || contender.body.as_deref().map(Floor::measure).transpose();
        let before = floor()?;
        let round = fire(contender.server, &[stream], span, &progress(0))?;
        let floor = before.zip(floor()?).map(|(before, after)| before.mean(after));
        Ok((round, floor))
    }

    /// Where entitlements are many, they are all asked for again once they are no longer believed, outside of the rounds: how
    /// often that happens follows from their number and the time, not from the requests.
    fn keep_warm(&mut self, world: &World, contender: &Contender<'_>) -> Fallible<()> {
        let age = self.warmed.elapsed();
        if contender.callers.callers.len() > 100 && age + ROUND > BELIEVED {
            sleep(BELIEVED.saturating_sub(age));
            contender.callers.warm_up(contender.server, world)?;
            self.warmed = Instant::now();
        }
        Ok(())
    }
}
