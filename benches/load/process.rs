//! What a process has used, by `/proc` (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::ops::Sub;

use crate::Fallible;

/// Microseconds of one tick of `utime` and `stime`: `USER_HZ` is 100 on every architecture that this runs on.
const TICK_MICROS: u64 = 10_000;

/// Since the start of the process, or between two times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// CPU time in user mode, in microseconds.
    pub(crate) user: u64,
    /// CPU time in the kernel, in microseconds.
    pub(crate) system: u64,
    /// Context switches because a thread waited.
    pub(crate) voluntary: u64,
    /// Context switches because a thread's time was up.
    pub(crate) involuntary: u64,
    /// CPU time of threads by their id and name, in microseconds.
    pub(crate) threads: BTreeMap<String, u64>,
    /// Peak of resident memory in KiB; not a difference.
    pub(crate) peak_kib: u64,
}

impl Usage {
    /// Adds another difference.
    pub(crate) fn add(&mut self, other: &Self) {
        self.user += other.user;
        self.system += other.system;
        self.voluntary += other.voluntary;
        self.involuntary += other.involuntary;
        for (name, micros) in &other.threads {
            *self.threads.entry(name.clone()).or_default() += micros;
        }
        self.peak_kib = self.peak_kib.max(other.peak_kib);
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        let since =
            |name: &String, now: u64| now.saturating_sub(before.threads.get(name).copied().unwrap_or(0));
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
            threads: self
                .threads
                .iter()
                .map(|(name, now)| (name.clone(), since(name, *now)))
                .collect(),
            peak_kib: self.peak_kib,
        }
    }
}

/// Of this process id, or `self`.
pub(crate) fn read_usage(pid: &str) -> Fallible<Usage> {
    let (user, system) = times(&fs::read_to_string(format!("/proc/{pid}/stat"))?)?;
    let mut usage = Usage {
        user,
        system,
        peak_kib: member(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM"),
        ..Usage::default()
    };
    // The switches in the process's own status are those of its first thread alone.
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let (Ok(stat), Ok(status)) = (
            fs::read_to_string(task.join("stat")),
            fs::read_to_string(task.join("status")),
        ) else {
            continue; // It has just ended.
        };
        usage.voluntary += member(&status, "voluntary_ctxt_switches");
        usage.involuntary += member(&status, "nonvoluntary_ctxt_switches");
        let (user, system) = times(&stat)?;
        // Names are cut short and alike: their number tells threads apart, in the order in which they began.
        let id = stat.split_ascii_whitespace().next().unwrap_or_default();
        let name = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
        let name = name.map_or("", |(name, _)| name);
        usage.threads.insert(format!("{id} {name}"), user + system);
    }
    Ok(usage)
}

/// Resident memory of this process id, or `self`, now, in KiB.
pub(crate) fn resident_kib(pid: &str) -> Fallible<u64> {
    Ok(member(
        &fs::read_to_string(format!("/proc/{pid}/status"))?,
        "VmRSS",
    ))
}

/// `utime` and `stime`, the 14th and 15th field; the second, a name, may hold anything but ends with the last parenthesis.
fn times(stat: &str) -> Fallible<(u64, u64)> {
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok());
    match (next(), next()) {
        (Some(user), Some(system)) => Ok((user * TICK_MICROS, system * TICK_MICROS)),
        _ => Err("/proc/…/stat cannot be read: this harness needs Linux".into()),
    }
}

fn member(status: &str, name: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
