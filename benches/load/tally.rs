//! What came of the requests of one stream.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is told apart, in microseconds.
const LONGEST: u64 = 60_000_000;

/// Latencies in microseconds, to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let bounded = Histogram::new_with_bounds(1, LONGEST, 3);
        // These bounds are valid; without them it would resize itself.
        Self(bounded.unwrap_or_else(|_| unreachable!("one minute in three digits fits a histogram")))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LONGEST);
        self.0.saturating_record(micros);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Equal bounds: nothing can be out of them.
        let _ = self.0.add(&other.0);
    }

    /// In microseconds.
    pub(crate) fn at(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn largest(&self) -> u64 {
        self.0.max()
    }
}

/// Counts what was due inside the measured time, unless it says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// From when a request was due: what a caller sees who does not wait for other callers.
    pub(crate) due: Latencies,
    /// From when it was sent.
    pub(crate) sent: Latencies,
    /// How late it was sent: because all connections were busy, or this harness was.
    pub(crate) late: Latencies,
    /// By code: `ok`, the code of a problem document, `http <status>` without one, `io <kind>` where no answer came.
    pub(crate) codes: BTreeMap<String, u64>,
    /// Answers that came inside the measured time, whenever they were due.
    pub(crate) answered: u64,
    /// Those of them that were good.
    pub(crate) granted: u64,
    /// Connections that the server ended with an answer, as it does after a body that it has not read.
    pub(crate) reopened: u64,
    /// Due, but never sent, as the round was over.
    pub(crate) unsent: u64,
    /// There were fewer requests than the round could have used.
    pub(crate) ran_out: bool,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            due: Latencies::new(),
            sent: Latencies::new(),
            late: Latencies::new(),
            codes: BTreeMap::new(),
            answered: 0,
            granted: 0,
            reopened: 0,
            unsent: 0,
            ran_out: false,
        }
    }

    pub(crate) fn count(&mut self, code: &str) {
        match self.codes.get_mut(code) {
            Some(count) => *count += 1,
            None => {
                self.codes.insert(code.to_owned(), 1);
            }
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.due.add(&other.due);
        self.sent.add(&other.sent);
        self.late.add(&other.late);
        for (code, count) in &other.codes {
            *self.codes.entry(code.clone()).or_default() += count;
        }
        self.answered += other.answered;
        self.granted += other.granted;
        self.reopened += other.reopened;
        self.unsent += other.unsent;
        self.ran_out |= other.ran_out;
    }

    pub(crate) fn of(&self, code: &str) -> u64 {
        self.codes.get(code).copied().unwrap_or(0)
    }
}
