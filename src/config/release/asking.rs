//! `[release]`, the part about how registries are spared: how many questions at once, for whom, and when none.

use std::time::Duration;

use super::super::reader::{Section, key};

/// How registries are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asking {
    /// Time for one call to a registry, its body included; no more than is left of the time for all.
    pub call_timeout: Duration,
    /// Images looked up at once; half of them for one tenant.
    pub concurrency: usize,
    /// How long a lookup waits for its turn among them.
    pub turn_timeout: Duration,
    /// Lookups of images that are not remembered: per second and tenant.
    pub lookup_qps: u32,
    /// The same, at once after a pause.
    pub lookup_burst: u32,
    /// Failures of a repository in a row before it is left alone.
    pub circuit_failures: u32,
    /// For how long it is left alone the first time.
    pub circuit_pause: Duration,
    /// The pause doubles up to this.
    pub circuit_longest_pause: Duration,
}

pub(super) fn read(s: &mut Section<'_>) -> Option<Asking> {
    let (concurrency, turn_timeout) = read_turns(s);
    let lookup_qps = s.integer(
        key(
            "lookup_qps",
            2,
            "Lookups that a tenant's requests may cause per second, by naming images that are not remembered.",
        ),
        1..=100_000,
    );
    let lookup_burst = s.integer(
        key("lookup_burst", 60, "The same, at once after a pause."),
        1..=100_000,
    );
    let circuit_failures = s.integer(
        key(
            "circuit_failures",
            5,
            "Failures of a repository in a row (no connection, 429, 5xx, no answer in time) before it is left alone.",
        ),
        1..=1000,
    );
    let (circuit_pause, circuit_longest_pause) = read_pauses(s);
    let call_timeout = s.duration(
        key(
            "call_timeout",
            "3s",
            "Time for one call to a registry, its body included; no more than is left of timeout.",
        ),
        Duration::from_millis(100)..=Duration::from_secs(60),
    );
    Some(Asking {
        call_timeout: call_timeout?,
        concurrency: concurrency?,
        turn_timeout: turn_timeout?,
        lookup_qps: lookup_qps?,
        lookup_burst: lookup_burst?,
        circuit_failures: circuit_failures?,
        circuit_pause: circuit_pause?,
        circuit_longest_pause: circuit_longest_pause?,
    })
}

fn read_turns(s: &mut Section<'_>) -> (Option<usize>, Option<Duration>) {
    let concurrency = s.integer(
        key(
            "concurrency",
            16,
            "Images looked up at once; a tenant has at most half of these places.",
        ),
        2..=256,
    );
    let turn_timeout = s.duration(
        key(
            "turn_timeout",
            "5s",
            "How long a lookup waits for one of these places.",
        ),
        Duration::from_millis(100)..=Duration::from_secs(60),
    );
    (concurrency, turn_timeout)
}

fn read_pauses(s: &mut Section<'_>) -> (Option<Duration>, Option<Duration>) {
    let pauses = Duration::from_millis(100)..=Duration::from_secs(600);
    let first = s.duration(
        key(
            "circuit_pause",
            "1s",
            "For how long it is left alone at first; each time after that doubles.",
        ),
        pauses.clone(),
    );
    let longest = s.duration(
        key("circuit_longest_pause", "30s", "The longest of these pauses."),
        pauses,
    );
    if let (Some(first), Some(longest)) = (first, longest)
        && first > longest
    {
        s.refuse(
            "circuit_pause",
            "is longer than circuit_longest_pause",
            "write a shorter one",
        );
    }
    (first, longest)
}
