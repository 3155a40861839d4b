//! Lines on their way to the writer's thread: bounded, never waited for, written in groups.
//!
//! A thread that is woken for every line costs whoever logs more than the line itself: a system call, and a core that
//! turns to something else. So the writer lets lines gather for [`GATHERS`] after the first.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chrono::{DateTime, Utc};
use slog::{Level, OwnedKVList, RecordLocation, o};

use crate::telemetry::redact::Spoken;

/// How long lines gather before they are written: what a crash may lose, and what a reader waits.
const GATHERS: Duration = Duration::from_millis(5);
/// A shorter queue is emptied at once instead: it might fill while lines gather.
const SHORT: usize = 1024;

/// What a line says, not yet cleaned.
pub(super) struct Entry {
    pub(super) time: DateTime<Utc>,
    pub(super) level: Level,
    pub(super) location: RecordLocation,
    pub(super) msg: String,
    pub(super) said: Spoken,
    pub(super) loggers: OwnedKVList,
}

/// Where lines go.
pub(super) trait Lines {
    /// Writes one line.
    fn write(&mut self, entry: Entry) -> io::Result<()>;
    /// Hands on what was written.
    fn flush(&mut self) -> io::Result<()>;
}

enum Item {
    Line(Box<Entry>),
    End,
}

/// The end of the queue where lines come in.
pub(super) struct Sender {
    items: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl Sender {
    /// Never waits: a line for which there is no room is dropped and counted.
    pub(super) fn send(&self, entry: Entry) {
        match self.items.try_send(Item::Line(Box::new(entry))) {
            // The writer has ended with the log.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Dropping it writes what waits and ends the writer.
pub(super) struct Guard {
    items: SyncSender<Item>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Behind all lines that wait. The writer outlives this, so there is room in the end.
        let _ = self.items.send(Item::End);
        if let Some(thread) = self.thread.take() {
            // What it panicked of, if it did, cannot be logged any more.
            let _ = thread.join();
        }
    }
}

/// Starts the writer's thread, for `capacity` lines that wait at most.
pub(super) fn start<L: Lines>(
    capacity: usize,
    lines: impl FnOnce() -> L + Send + 'static,
) -> (Sender, Guard) {
    let (items, queue) = sync_channel(capacity);
    let dropped = Arc::new(AtomicU64::new(0));
    let gathers = if capacity < SHORT { Duration::ZERO } else { GATHERS };
    let thread = {
        let dropped = Arc::clone(&dropped);
        let work = move || write_all(&queue, &dropped, gathers, lines());
        // Without a thread the log stays silent, as when its output is gone.
        thread::Builder::new().name("log".to_owned()).spawn(work).ok()
    };
    let guard = Guard {
        items: items.clone(),
        thread,
    };
    (Sender { items, dropped }, guard)
}

/// Until the end comes. An error of the output loses that line and no more.
fn write_all(queue: &Receiver<Item>, dropped: &AtomicU64, gathers: Duration, mut lines: impl Lines) {
    while let Ok(first) = queue.recv() {
        if matches!(first, Item::Line(_)) {
            thread::sleep(gathers);
        }
        let mut ends = false;
        for item in std::iter::once(first).chain(queue.try_iter()) {
            match item {
                Item::Line(entry) => drop(lines.write(*entry)),
                Item::End => ends = true,
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            drop(lines.write(report(lost)));
        }
        drop(lines.flush());
        if ends {
            return;
        }
    }
}

fn report(lost: u64) -> Entry {
    Entry {
        time: Utc::now(),
        level: Level::Error,
        location: RecordLocation {
            file: file!(),
            line: line!(),
            column: column!(),
            function: "",
            module: module_path!(),
        },
        msg: "lines were dropped: the log is written more slowly than it is filled".to_owned(),
        said: Spoken::count(lost),
        loggers: o!().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Tells what is written, and when it is handed on.
    struct Told(mpsc::Sender<String>);

    impl Lines for Told {
        fn write(&mut self, entry: Entry) -> io::Result<()> {
            self.0.send(entry.msg).map_err(io::Error::other)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.send("flush".to_owned()).map_err(io::Error::other)
        }
    }

    fn line(msg: &str) -> Entry {
        Entry {
            msg: msg.to_owned(),
            ..report(0)
        }
    }

    #[test]
    fn what_has_gathered_is_handed_on_at_once() {
        let (told, said) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let (sender, guard) = start(SHORT, move || {
            let _ = wait.recv();
            Told(told)
        });
        for msg in ["one", "two", "three"] {
            sender.send(line(msg));
        }
        drop(go);
        let said: Vec<_> = said.iter().take(4).collect();
        assert_eq!(said, ["one", "two", "three", "flush"]);
        drop(guard);
        // The log has ended; who still logs is not held up.
        sender.send(line("four"));
    }
}
