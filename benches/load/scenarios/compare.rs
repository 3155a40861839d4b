//! The service beside its floor, a bare HTTP server and OpenBao, in turn, in one run: only ratios say something.

use std::process::Command;

use indicatif::ProgressBar;

use super::{Callers, median};
use crate::Fallible;
use crate::args::{Args, Compare, Mode};
use crate::fire::{Pace, Round, Span, Stream, fire};
use crate::floor::{Floor, Needs};
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
    /// Cost of a signature in floors, by round; with the passes over the body in the floor; at half the load.
    ratios: Vec<f64>,
    ratios_with_passes: Vec<f64>,
    ratios_at_half: Vec<f64>,
    /// Signatures for one of OpenBao's, by round.
    openbaos: Vec<f64>,
}

pub(crate) fn run(server: &Server, world: &World, args: &Args, options: &Compare) -> Fallible<Report> {
    let scene = Scene::new(server, world, args, options)?;
    let needs = needs(args);
    let body = predicate(options.size.0);
    let mut rows = ["signed", "signed, half the load", "echo", "OpenBao transit"].map(Row::new);
    let [signed, half, echo, bao] = &mut rows;
    let mut seen = Seen::default();
    for _ in 0..options.rounds {
        // Between two floors, so that both stand for the same state of the machine.
        let before = Floor::measure(&body)?;
        let round = scene.sign(None)?;
        let between = Floor::measure(&body)?;
        signed.add(&round, 0);
        let floor = before.mean(between);
        seen.ratios.push(round.cost() / floor.of_a_signature(needs));
        seen.ratios_with_passes
            .push(round.cost() / floor.with_passes(needs));
        let rate = round.per_second();
        let round = scene.sign(Some(rate / 2.0))?;
        let after = Floor::measure(&body)?;
        half.add(&round, 0);
        seen.ratios_at_half
            .push(round.cost() / between.mean(after).of_a_signature(needs));
        seen.floors.extend([before, between, after]);
        echo.add(&scene.other(&scene.echo, scene.echo_request())?, 0);
        if let Some(server) = &scene.openbao {
            let round = scene.other(server, openbao::sign(server.target.addr))?;
            bao.add(&round, 0);
            seen.openbaos.push(rate / round.per_second());
        }
    }
    scene.bar.finish_and_clear();
    let rows = rows.into_iter().filter(|row| row.tally.answered > 0).collect();
    Ok(report(options, rows, &seen, needs))
}

impl<'a> Scene<'a> {
    fn new(server: &'a Server, world: &'a World, args: &Args, options: &'a Compare) -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["echo", "--threads", &args.workers.to_string()]);
        if world.tls.is_some() {
            command.arg("--tls-files");
            command.args(["server.pem", "server.key"].map(|file| world.path().join(file)));
        }
        let mut echo = Server::spawn(command, world.path(), "echo", &[], ready_line)?;
        echo.target.tls = server.target.tls.clone();
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

fn report(options: &Compare, rows: Vec<Row>, seen: &Seen, needs: Needs) -> Report {
    let mut notes = vec![told_floor(&seen.floors, needs)];
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
        "CPU of a signature in floors with canonical form and base64",
        &seen.ratios_with_passes,
        options.most_passes,
    );
    told(
        "CPU of a signature at half the load in floors",
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

/// What a request cannot do without, by how callers are known and which key signs.
pub(crate) fn needs(args: &Args) -> Needs {
    Needs {
        proof: !args.mtls,
        own_check: args.mode == Mode::Kms,
    }
}

/// The parts of the floor: medians of what was measured.
pub(crate) fn told_floor(floors: &[Floor], needs: Needs) -> String {
    let of = |part: fn(&Floor) -> f64| median(floors.iter().map(part));
    let floor = median(floors.iter().map(|floor| floor.of_a_signature(needs)));
    let verifications = u8::from(needs.proof) + u8::from(needs.own_check);
    format!(
        "floor {floor:.1} us: P-256 verify {:.1} (times {verifications}), sign {:.1}, SHA-256 of the body {:.1}; beside it \
         canonical form {:.1}, base64 {:.1}",
        of(|f| f.verify),
        of(|f| f.sign),
        of(|f| f.hash),
        of(|f| f.canonical),
        of(|f| f.base64),
    )
}
