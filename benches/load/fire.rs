//! Sends streams of requests side by side, each connection a thread of its own, and measures the server meanwhile.
//!
//! A stream with a rate is open: request `n` is due at a fixed time, whatever became of those before it, and its latency
//! counts from then, so that a server that stalls is not spared the requests that it delays ("coordinated omission").

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::Fallible;
use crate::payload::Payload;
use crate::process::{Usage, read_usage};
use crate::server::{Server, Target};
use crate::tally::Tally;
use crate::wire::Wire;

/// For connections to be opened before the first request is due.
const HEAD_START: Duration = Duration::from_millis(100);
/// What was due in time may still be sent so long after the round.
const GRACE: Duration = Duration::from_millis(500);
/// After a connection that could not be opened.
const PAUSE: Duration = Duration::from_millis(5);
/// Threads do little.
const STACK: usize = 256 * 1024;

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many a second, evenly.
    Rate(f64),
    /// Each connection as soon as it has its answer.
    Closed,
}

/// Requests over a number of connections.
pub(crate) struct Stream {
    pub(crate) payload: Payload,
    pub(crate) pace: Pace,
    pub(crate) connections: u16,
}

/// The measured part of a round, and what precedes it: caches fill, buckets empty, connections open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) lead: Duration,
    pub(crate) measured: Duration,
}

impl Span {
    pub(crate) fn seconds(lead: f64, measured: u64) -> Self {
        Self {
            lead: Duration::from_secs_f64(lead),
            measured: Duration::from_secs(measured),
        }
    }

    /// How many requests of this rate are due in all.
    pub(crate) fn requests(self, rate: f64) -> usize {
        // Positive and far below 2^52.
        (rate * (self.lead + self.measured).as_secs_f64()).ceil() as usize + 1
    }
}

/// What was measured.
pub(crate) struct Round {
    /// By stream.
    pub(crate) tallies: Vec<Tally>,
    pub(crate) server: Usage,
    pub(crate) harness: Usage,
    pub(crate) measured: Duration,
}

impl Round {
    /// Answers of all streams in the measured time.
    pub(crate) fn answered(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.answered).sum()
    }

    /// Answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.answered() as f64 / self.measured.as_secs_f64()
    }

    /// CPU microseconds of the server for one answer.
    pub(crate) fn cost(&self) -> f64 {
        (self.server.user + self.server.system) as f64 / self.answered().max(1) as f64
    }
}

#[derive(Clone, Copy)]
struct Times {
    begin: Instant,
    open: Instant,
    close: Instant,
}

/// One round.
pub(crate) fn fire(server: &Server, streams: &[Stream], span: Span, bar: &ProgressBar) -> Fallible<Round> {
    let begin = Instant::now() + HEAD_START;
    let open = begin + span.lead;
    let times = Times {
        begin,
        open,
        close: open + span.measured,
    };
    let turns: Vec<AtomicUsize> = streams.iter().map(|_| AtomicUsize::new(0)).collect();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (stream, turn) in streams.iter().zip(&turns) {
            let mut connections = Vec::new();
            for _ in 0..stream.connections {
                let target = server.target.clone();
                let work = move || connection(&target, stream, turn, times);
                connections.push(
                    thread::Builder::new()
                        .stack_size(STACK)
                        .spawn_scoped(scope, work)?,
                );
            }
            threads.push(connections);
        }
        let (server, harness, measured) = watch(server, times, bar)?;
        let mut tallies = Vec::new();
        for connections in threads {
            let mut sum = Tally::new();
            for connection in connections {
                sum.add(&connection.join().map_err(|_| "a connection's thread panicked")?);
            }
            tallies.push(sum);
        }
        for (stream, tally) in streams.iter().zip(&mut tallies) {
            if let Pace::Rate(rate) = stream.pace {
                let due = (rate * measured.as_secs_f64()) as u64;
                tally.unsent = due.saturating_sub(tally.due.count() + tally.failures());
            }
        }
        Ok(Round {
            tallies,
            server,
            harness,
            measured,
        })
    })
}

impl Tally {
    /// Requests without an answer.
    pub(crate) fn failures(&self) -> u64 {
        let without = self.codes.iter().filter(|(code, _)| code.starts_with("io "));
        without.map(|(_, count)| count).sum()
    }
}

/// What server and harness use in the measured time.
fn watch(server: &Server, times: Times, bar: &ProgressBar) -> Fallible<(Usage, Usage, Duration)> {
    sleep_until(times.open);
    server.forget_peak()?;
    let (before, own, begun) = (server.usage()?, read_usage("self")?, Instant::now());
    while Instant::now() < times.close {
        sleep_until(times.close.min(Instant::now() + Duration::from_millis(250)));
        bar.tick();
    }
    let (after, ended) = (server.usage()?, begun.elapsed());
    Ok((after - before, read_usage("self")? - own, ended))
}

fn sleep_until(when: Instant) {
    let wait = when.saturating_duration_since(Instant::now());
    if !wait.is_zero() {
        thread::sleep(wait);
    }
}

/// One connection: takes the next request that is due, again and again.
fn connection(target: &Target, stream: &Stream, turn: &AtomicUsize, times: Times) -> Tally {
    let mut tally = Tally::new();
    let mut wire = Wire::open(target).ok();
    loop {
        let n = turn.fetch_add(1, Ordering::Relaxed);
        let Some((request, proof)) = stream.payload.get(n) else {
            tally.ran_out = matches!(stream.pace, Pace::Closed);
            return tally;
        };
        let due = match stream.pace {
            Pace::Rate(rate) => times.begin + Duration::from_secs_f64(n as f64 / rate),
            Pace::Closed => times.begin.max(Instant::now()),
        };
        if due >= times.close {
            return tally;
        }
        sleep_until(due);
        let sent = Instant::now();
        if sent >= times.close + GRACE {
            return tally;
        }
        let code = attempt(target, &mut wire, &mut tally, |wire| {
            wire.exchange(request, proof)
        });
        let done = Instant::now();
        let answered = !code.starts_with("io ");
        if due >= times.open {
            tally.count(&code);
            if answered {
                tally.due.record(done - due);
                tally.sent.record(done - sent);
                tally.late.record(sent - due);
            }
        }
        let in_time = (times.open..times.close).contains(&done);
        tally.answered += u64::from(answered && in_time);
        tally.granted += u64::from(code == "ok" && in_time);
    }
}

/// The code of what came back, over the connection that is there or a new one.
fn attempt(
    target: &Target,
    wire: &mut Option<Wire>,
    tally: &mut Tally,
    exchange: impl FnOnce(&mut Wire) -> std::io::Result<crate::wire::Answer>,
) -> String {
    let mut open = match wire.take() {
        Some(open) => open,
        None => match Wire::open(target) {
            Ok(open) => open,
            Err(error) => {
                thread::sleep(PAUSE);
                return format!("io {}", error.kind());
            }
        },
    };
    match exchange(&mut open) {
        Ok(answer) => {
            if answer.closes {
                tally.reopened += 1;
            } else {
                *wire = Some(open);
            }
            match (answer.status, answer.code) {
                (200, _) => "ok".to_owned(),
                (_, Some(code)) => code,
                (status, None) => format!("http {status}"),
            }
        }
        Err(error) => format!("io {}", error.kind()),
    }
}

/// Sends every request of a stream once, in no particular time: what is remembered of its callers is there afterwards.
pub(crate) fn warm_up(server: &Server, payload: &Payload, connections: u16) -> Fallible<()> {
    let turn = AtomicUsize::new(0);
    let count = payload.len();
    let answers: Vec<Tally> = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let (mut tally, mut wire) = (Tally::new(), None);
                    while let Some((request, proof)) = payload.get(turn.fetch_add(1, Ordering::Relaxed)) {
                        let code = attempt(&server.target, &mut wire, &mut tally, |wire| {
                            wire.exchange(request, proof)
                        });
                        tally.count(&code);
                    }
                    tally
                })
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let mut sum = Tally::new();
    answers.iter().for_each(|tally| sum.add(tally));
    let known = ["ok", "rate_limited", "concurrency_limited"];
    let good: u64 = known.iter().map(|code| sum.of(code)).sum();
    // On a machine that is busy one of very many may be late.
    if good < (count - count / 1_000) as u64 {
        return Err(format!(
            "the first requests were not answered as expected: {:?}",
            sum.codes
        )
        .into());
    }
    Ok(())
}
