//! What was measured, for people and for programs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::Fallible;
use crate::args::Args;
use crate::fire::Round;
use crate::plot;
use crate::process::Usage;
use crate::server::Ended;
use crate::tally::{Latencies, Tally};

/// Quantiles of the JSON report, and the points of the plot.
const QUANTILES: [f64; 9] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999];

/// A scenario's rows, and what it claims of them.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row>,
    /// Beside the rows.
    pub(crate) notes: Vec<String>,
    pub(crate) bounds: Vec<Bound>,
}

/// A claim, and whether it held.
#[derive(Clone, Serialize)]
pub(crate) struct Bound {
    pub(crate) what: String,
    pub(crate) measured: f64,
    pub(crate) limit: f64,
    pub(crate) held: bool,
}

impl Bound {
    /// That the measured number is at most the limit.
    pub(crate) fn at_most(what: String, measured: f64, limit: f64) -> Self {
        Self {
            what,
            measured,
            limit,
            held: measured <= limit,
        }
    }
}

/// Rounds of one kind, added up, seen from one stream.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) tally: Tally,
    /// The latencies of each round by itself.
    pub(crate) rounds: Vec<Latencies>,
    server: Usage,
    harness: Usage,
    measured: Duration,
    /// Of all streams.
    answered: u64,
    peak_kib: u64,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            tally: Tally::new(),
            rounds: Vec::new(),
            server: Usage::default(),
            harness: Usage::default(),
            measured: Duration::ZERO,
            answered: 0,
            peak_kib: 0,
        }
    }

    /// Adds a round, seen from this stream of it.
    pub(crate) fn add(&mut self, round: &Round, stream: usize) {
        if let Some(tally) = round.tallies.get(stream) {
            self.tally.add(tally);
            self.rounds.push(tally.due.clone());
        }
        self.server.add(&round.server);
        self.harness.add(&round.harness);
        self.measured += round.measured;
        self.answered += round.answered();
        self.peak_kib = self.peak_kib.max(round.server.peak_kib);
    }

    /// Median over the rounds of a quantile of the latency, in microseconds.
    pub(crate) fn median_of(&self, quantile: f64) -> u64 {
        let mut all: Vec<u64> = self.rounds.iter().map(|round| round.at(quantile)).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(0)
    }

    fn per_request(&self, amount: u64) -> f64 {
        amount as f64 / self.answered.max(1) as f64
    }

    /// CPU time of the server for one request of any stream, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.per_request(self.server.user + self.server.system)
    }

    pub(crate) fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.measured.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn line(&self) -> String {
        let ms = |micros: u64| format!("{:.2}", micros as f64 / 1000.0);
        let tally = &self.tally;
        format!(
            "{:<26} {:>8.0} {:>8} {:>8} {:>8} {:>8} {:>8} {:>7.0} {:>6.0} {:>6.1} {:>7.0} {:>7.1}",
            self.name,
            self.per_second(tally.answered),
            ms(tally.due.at(0.5)),
            ms(tally.due.at(0.99)),
            ms(tally.due.at(0.999)),
            ms(tally.sent.at(0.99)),
            ms(tally.late.at(0.99)),
            self.per_request(self.server.user),
            self.per_request(self.server.system),
            self.per_request(self.server.voluntary + self.server.involuntary),
            self.per_request(self.harness.user + self.harness.system),
            self.peak_kib as f64 / 1024.0,
        )
    }

    fn answers(&self) -> String {
        let codes = self
            .tally
            .codes
            .iter()
            .map(|(code, count)| format!("{code} {count}"));
        let mut all: Vec<String> = codes.collect();
        for (what, count) in [("unsent", self.tally.unsent), ("reopened", self.tally.reopened)] {
            if count > 0 {
                all.push(format!("{what} {count}"));
            }
        }
        if self.tally.ran_out {
            all.push("the requests ran out".to_owned());
        }
        all.join(", ")
    }

    fn points(&self) -> Vec<(f64, u64)> {
        let seen = self.tally.due.count() as f64;
        // A quantile says something once there are some requests beyond it.
        let told = QUANTILES.into_iter().filter(|q| seen * (1.0 - q) >= 1.0);
        told.map(|q| (q, self.tally.due.at(q))).collect()
    }
}

const HEAD: &str = "                             req/s      p50      p99    p99.9  p99sent  p99late    user    sys switch client  peak MB";

#[derive(Serialize)]
struct RowJson<'a> {
    name: &'a str,
    seconds: f64,
    answered_per_second: f64,
    answers: &'a BTreeMap<String, u64>,
    unsent: u64,
    connections_reopened: u64,
    ran_out: bool,
    latency_micros: BTreeMap<String, u64>,
    latency_micros_since_sent: BTreeMap<String, u64>,
    sent_late_micros: BTreeMap<String, u64>,
    latency_p99_micros_by_round: Vec<u64>,
    longest_micros: u64,
    server_micros_per_request: Split,
    server_switches_per_request: Split,
    server_cpu_share_by_thread: BTreeMap<&'a str, f64>,
    harness_micros_per_request: f64,
    server_peak_kib: u64,
}

/// User and system, or voluntary and involuntary.
#[derive(Serialize)]
struct Split(f64, f64);

#[derive(Serialize)]
struct ReportJson<'a> {
    title: &'a str,
    cores: usize,
    rows: Vec<RowJson<'a>>,
    notes: &'a [String],
    bounds: &'a [Bound],
    server_exit_code: Option<i32>,
    server_peak_kib: u64,
}

fn quantiles(latencies: &Latencies) -> BTreeMap<String, u64> {
    let told = QUANTILES.into_iter();
    told.map(|q| (format!("p{}", q * 100.0), latencies.at(q)))
        .collect()
}

impl Row {
    fn json(&self) -> RowJson<'_> {
        let per_request = |amount| self.per_request(amount);
        let whole = (self.server.user + self.server.system).max(1) as f64;
        RowJson {
            name: &self.name,
            seconds: self.measured.as_secs_f64(),
            answered_per_second: self.per_second(self.tally.answered),
            answers: &self.tally.codes,
            unsent: self.tally.unsent,
            connections_reopened: self.tally.reopened,
            ran_out: self.tally.ran_out,
            latency_micros: quantiles(&self.tally.due),
            latency_micros_since_sent: quantiles(&self.tally.sent),
            sent_late_micros: quantiles(&self.tally.late),
            latency_p99_micros_by_round: self.rounds.iter().map(|round| round.at(0.99)).collect(),
            longest_micros: self.tally.due.largest(),
            server_micros_per_request: Split(per_request(self.server.user), per_request(self.server.system)),
            server_switches_per_request: Split(
                per_request(self.server.voluntary),
                per_request(self.server.involuntary),
            ),
            server_cpu_share_by_thread: {
                let threads = self.server.threads.iter();
                let shares = threads.map(|(name, micros)| (name.as_str(), *micros as f64 / whole));
                shares.filter(|(_, share)| *share > 0.001).collect()
            },
            harness_micros_per_request: per_request(self.harness.user + self.harness.system),
            server_peak_kib: self.peak_kib,
        }
    }
}

impl Report {
    /// Tells everything; true when every bound held, and nothing else went wrong.
    pub(crate) fn write(&self, args: &Args, ended: &Ended, out: &mut dyn Write) -> Fallible<bool> {
        writeln!(out, "\n{}\n\n{HEAD}", self.title)?;
        for row in &self.rows {
            writeln!(out, "{}", row.line())?;
        }
        writeln!(
            out,
            "\nms from when a request was due (p99sent: from when it was sent; p99late: sent late by); CPU microseconds of the\n\
             server (user, sys), context switches of it, CPU microseconds of the harness: for each request of all streams\n"
        )?;
        for row in &self.rows {
            writeln!(out, "{:<26} {}", row.name, row.answers())?;
        }
        writeln!(out)?;
        for note in &self.notes {
            writeln!(out, "{note}")?;
        }
        for bound in &self.bounds {
            let verdict = if bound.held { "holds" } else { "BROKEN" };
            writeln!(
                out,
                "{verdict}: {} ({:.2}, at most {:.2})",
                bound.what, bound.measured, bound.limit
            )?;
        }
        if ended.code != Some(0) {
            writeln!(
                out,
                "BROKEN: the server did not drain: exit code {:?}",
                ended.code
            )?;
        }
        if let Some(file) = &args.json {
            fs::write(file, serde_json::to_vec_pretty(&self.json(ended))?)?;
        }
        if let Some(file) = &args.svg {
            let curves: Vec<_> = self
                .rows
                .iter()
                .map(|row| (row.name.as_str(), row.points()))
                .collect();
            fs::write(file, plot::svg(&self.title, &curves))?;
        }
        let whole = self
            .rows
            .iter()
            .all(|row| !row.tally.ran_out && row.tally.failures() == 0);
        if !whole {
            writeln!(out, "BROKEN: requests ran out or got no answer, see above")?;
        }
        Ok(whole && ended.code == Some(0) && self.bounds.iter().all(|bound| bound.held))
    }

    fn json<'a>(&'a self, ended: &Ended) -> ReportJson<'a> {
        ReportJson {
            title: &self.title,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            rows: self.rows.iter().map(Row::json).collect(),
            notes: &self.notes,
            bounds: &self.bounds,
            server_exit_code: ended.code,
            server_peak_kib: ended.peak_kib,
        }
    }
}

/// Rounds to come; hidden where standard error is no terminal.
pub(crate) fn progress(rounds: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(rounds).unwrap_or(u64::MAX));
    match ProgressStyle::with_template("{spinner} {bar:30} {pos}/{len} {elapsed} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
