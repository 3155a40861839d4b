//! The service beside its floor, a bare HTTP server and OpenBao, in turn, in one run: only ratios say something.

use std::process::Command;

use indicatif::ProgressBar;

use super::Callers;
use crate::Fallible;
use crate::args::{Args, Compare, Mode};
use crate::fire::{Pace, Round, Span, Stream, fire};
use crate::floor::Floor;
use crate::mint::Plan;
use crate::openbao;
use crate::payload::{Payload, Template, predicate, templates};
use crate::report::{Bound, Report, Row, progress};
use crate::server::{Server, ready_line};
use crate::world::World;

const LEAD: f64 = 0.5;

/// Who is asked, and what was seen.
struct Scene<'a> {
    server: &'a Server,
    echo: Server,
    openbao: Option<Server>,
    world: &'a World,
    options: &'a Compare,
    callers: Callers,
    span: Span,
    bar: ProgressBar,
}

#[derive(Default)]
struct Seen {
    floors: Vec<Floor>,
    /// Cost of a signature in floors, by round; at half the load.
    ratios: Vec<f64>,
    ratios_at_half: Vec<f64>,
    /// Signatures for one of OpenBao's, by round.
    openbaos: Vec<f64>,
}

pub(crate) fn run(server: &Server, world: &World, args: &Args, options: &Compare) -> Fallible<Report> {
    let scene = Scene::new(server, world, args, options)?;
    // With a key whose nonces are deterministic every signature is verified before it leaves.
    let verified = args.mode == Mode::Kms;
    let body = predicate(options.size.0);
    let mut rows = ["signed", "signed, half the load", "echo", "OpenBao transit"].map(Row::new);
    let [signed, half, echo, bao] = &mut rows;
    let mut seen = Seen::default();
    for _ in 0..options.rounds {
        let floor = Floor::measure(body.as_bytes())?;
        let whole = floor.of_a_signature(verified);
        seen.floors.push(floor);
        let round = scene.sign(None)?;
        signed.add(&round, 0);
        seen.ratios.push(cost(&round) / whole);
        let rate = answered(&round);
        let round = scene.sign(Some(rate / 2.0))?;
        half.add(&round, 0);
        seen.ratios_at_half.push(cost(&round) / whole);
        echo.add(&scene.other(&scene.echo, scene.echo_request())?, 0);
        if let Some(server) = &scene.openbao {
            let round = scene.other(server, openbao::sign(server.target.addr))?;
            bao.add(&round, 0);
            seen.openbaos.push(rate / answered(&round));
        }
    }
    scene.bar.finish_and_clear();
    let rows = rows.into_iter().filter(|row| row.tally.answered > 0).collect();
    Ok(report(options, rows, &seen, verified))
}

impl<'a> Scene<'a> {
    fn new(server: &'a Server, world: &'a World, args: &Args, options: &'a Compare) -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["echo", "--threads", &args.workers.to_string()]);
        let echo = Server::spawn(command, world.path(), "echo", &[], ready_line)?;
        let openbao = options.openbao.as_ref();
        let openbao = openbao
            .map(|program| openbao::start(program, world.path()))
            .transpose()?;
        let callers: Fallible<Vec<_>> = (0..options.tenants)
            .map(|n| world.mint.caller(&format!("tenant-{n}"), Plan::WIDE, true))
            .collect();
        let callers = callers?;
        let templates = templates(&world.mint, &callers, options.size.0)?;
        let callers = Callers { callers, templates };
        callers.warm_up(server, world)?;
        let kinds = if openbao.is_some() { 4 } else { 3 };
        Ok(Self {
            server,
            echo,
            openbao,
            world,
            options,
            callers,
            span: Span::seconds(LEAD, options.seconds),
            bar: progress(usize::from(options.rounds) * kinds),
        })
    }

    /// Signing, as fast as it goes or at this rate.
    fn sign(&self, rate: Option<f64>) -> Fallible<Round> {
        let (pace, count) = match rate {
            Some(rate) => (Pace::Rate(rate), self.span.requests(rate)),
            None => {
                let connections = self.options.connections;
                let count = self
                    .callers
                    .enough(self.server, self.world, connections, self.span)?;
                (Pace::Closed, count)
            }
        };
        let payload = self.callers.payload(self.world, count)?;
        self.fire(self.server, payload, pace)
    }

    /// The same requests, for who only sends them back.
    fn echo_request(&self) -> Template {
        let first = self.callers.templates.first();
        Template {
            head: first.map(|template| template.head.clone()).unwrap_or_default(),
            body: first.map(|template| template.body.clone()).unwrap_or_default(),
        }
    }

    fn other(&self, server: &Server, request: Template) -> Fallible<Round> {
        self.fire(server, Payload::unproven(request), Pace::Closed)
    }

    fn fire(&self, server: &Server, payload: Payload, pace: Pace) -> Fallible<Round> {
        let stream = Stream {
            payload,
            pace,
            connections: self.options.connections,
        };
        self.bar.inc(1);
        fire(server, &[stream], self.span, &self.bar)
    }
}

/// CPU microseconds of the server for one answer.
fn cost(round: &Round) -> f64 {
    let answered: u64 = round.tallies.iter().map(|tally| tally.answered).sum();
    (round.server.user + round.server.system) as f64 / answered.max(1) as f64
}

/// Answers a second.
fn answered(round: &Round) -> f64 {
    let answered: u64 = round.tallies.iter().map(|tally| tally.answered).sum();
    answered as f64 / round.measured.as_secs_f64()
}

fn report(options: &Compare, rows: Vec<Row>, seen: &Seen, verified: bool) -> Report {
    let of = |part: fn(&Floor) -> f64| median(seen.floors.iter().map(part));
    let (verify, sign, hash) = (of(|f| f.verify), of(|f| f.sign), of(|f| f.hash));
    let once_more = if verified {
        ", and once more for its own signature"
    } else {
        ""
    };
    let floor = median(seen.floors.iter().map(|floor| floor.of_a_signature(verified)));
    let mut notes = vec![format!(
        "floor {floor:.0} us: P-256 verify {verify:.0}{once_more}, sign {sign:.0}, SHA-256 of the body {hash:.1}"
    )];
    let mut bounds = Vec::new();
    let mut told = |what: &str, ratios: &[f64], most: Option<f64>| {
        let measured = median(ratios.iter().copied());
        match most {
            Some(limit) => bounds.push(Bound::at_most(what.to_owned(), measured, limit)),
            None => notes.push(format!("{what}: {measured:.2}")),
        }
    };
    told("CPU of a signature in floors", &seen.ratios, options.most_floors);
    told(
        "the same at half the load",
        &seen.ratios_at_half,
        options.most_floors_at_half,
    );
    if !seen.openbaos.is_empty() {
        // At most so many of OpenBao's signatures for one of ours.
        let inverse: Vec<f64> = seen.openbaos.iter().map(|ratio| 1.0 / ratio).collect();
        let most = options.least_openbaos.map(|least| 1.0 / least);
        told("OpenBao's signatures a second for one here", &inverse, most);
        let ours = median(seen.openbaos.iter().copied());
        notes.push(format!("signatures a second for one of OpenBao's: {ours:.2}"));
    }
    Report {
        title: format!(
            "comparison: {} predicates, {} connections, {} rounds in turn",
            options.size, options.connections, options.rounds
        ),
        rows,
        notes,
        bounds,
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}
