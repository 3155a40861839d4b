//! The root logger: every line one JSON object (or readable text), made harmless by [`redact`](super::redact), written
//! by a thread of its own so that a slow terminal or disk never holds up a request.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{SecondsFormat, Utc};
use signer_actors::domain::ids::CorrelationId;
use slog::{
    BorrowedKV, Drain, FilterLevel, KV, Level, Logger, Never, OwnedKVList, Record, RecordStatic, Serializer,
    o,
};
use slog_async::{Async, AsyncGuard, OverflowStrategy};

use super::redact::{Field, Fields, clean};

/// `component` of lines whose logger names none.
const ROOT_COMPONENT: &str = "signer";
/// Fields that every line begins with; a record cannot set them.
const TS: &str = "ts";
const LEVEL: &str = "level";
const MSG: &str = "msg";
const COMPONENT: &str = "component";
const CORRELATION_ID: &str = "correlationId";

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// How to log.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `log.level`
    pub level: FilterLevel,
    /// `log.format`
    pub format: Format,
    /// Lines that may wait for the writer; beyond, lines are dropped, counted, and the count is logged.
    pub queue: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: FilterLevel::Info,
            format: Format::Json,
            queue: 4096,
        }
    }
}

/// Reads `log.level`: `error`, `warn`, `info`, `debug` or `trace`.
pub fn parse_level(name: &str) -> Option<FilterLevel> {
    Some(match name {
        "error" => FilterLevel::Error,
        "warn" => FilterLevel::Warning,
        "info" => FilterLevel::Info,
        "debug" => FilterLevel::Debug,
        "trace" => FilterLevel::Trace,
        _ => return None,
    })
}

/// The level in force, changeable at any time by whoever holds a clone.
#[derive(Clone, Debug)]
pub struct LevelHandle(Arc<AtomicUsize>);

impl LevelHandle {
    /// Lines below this level are no longer written.
    pub fn set(&self, level: FilterLevel) {
        self.0.store(level.as_usize(), Ordering::Relaxed);
    }

    fn accepts(&self, level: Level) -> bool {
        level.as_usize() <= self.0.load(Ordering::Relaxed)
    }
}

/// The running log. Dropping it writes what waits and ends the writer: drop it last.
pub struct Logging {
    logger: Logger,
    level: LevelHandle,
    /// Flushes on drop.
    _guard: AsyncGuard,
}

impl fmt::Debug for Logging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logging")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Logging {
    /// Starts the writer's thread. A write error loses that line and no more.
    pub fn start(settings: &Settings, out: impl Write + Send + 'static) -> Self {
        let level = LevelHandle(Arc::new(AtomicUsize::new(settings.level.as_usize())));
        let out = BufWriter::new(out);
        let writer = match settings.format {
            Format::Json => Harmless::new(Writer::Json(slog_json::Json::new(out).set_flush(true).build())),
            Format::Pretty => Harmless::new(Writer::Pretty(
                slog_term::FullFormat::new(slog_term::PlainDecorator::new(out))
                    .use_custom_timestamp(|out| write!(out, "{}", now()))
                    .use_original_order()
                    .build(),
            )),
        };
        let (queue, guard) = Async::new(writer.ignore_res())
            .chan_size(settings.queue.max(1))
            .overflow_strategy(OverflowStrategy::DropAndReport)
            .thread_name("log".to_owned())
            .build_with_guard();
        let front = Stamped {
            level: level.clone(),
            queue: queue.ignore_res(),
        };
        Self {
            logger: Logger::root(front, o!()),
            level,
            _guard: guard,
        }
    }

    /// The root logger.
    pub fn logger(&self) -> &Logger {
        &self.logger
    }

    /// Changes the level while running.
    pub fn level(&self) -> LevelHandle {
        self.level.clone()
    }
}

/// A logger for a part of the service: `http`, `auth`, `audit`…
pub fn component(parent: &Logger, name: &'static str) -> Logger {
    parent.new(o!(COMPONENT => name))
}

/// A logger for one request.
pub fn correlated(parent: &Logger, id: &CorrelationId) -> Logger {
    parent.new(o!(CORRELATION_ID => id.as_str().to_owned()))
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Drops what is below the level, and notes the time before the line waits in the queue.
struct Stamped<D> {
    level: LevelHandle,
    queue: D,
}

impl<D: Drain<Ok = (), Err = Never>> Drain for Stamped<D> {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, loggers: &OwnedKVList) -> Result<(), Never> {
        if !self.level.accepts(record.level()) {
            return Ok(());
        }
        let time = slog::SingleKV(TS, now());
        let kv = (time, record.kv());
        let fixed = RecordStatic {
            location: record.location(),
            tag: record.tag(),
            level: record.level(),
        };
        self.queue
            .log(&Record::new(&fixed, record.msg(), BorrowedKV(&kv)), loggers)
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.level.accepts(level)
    }
}

enum Writer<W: Write> {
    Json(slog_json::Json<W>),
    Pretty(slog_term::FullFormat<slog_term::PlainDecorator<W>>),
}

/// Cleans a record and everything its loggers add, then writes it.
struct Harmless<W: Write> {
    writer: Writer<W>,
    nothing: OwnedKVList,
}

impl<W: Write> Harmless<W> {
    fn new(writer: Writer<W>) -> Self {
        Self {
            writer,
            nothing: o!().into(),
        }
    }
}

impl<W: Write> Drain for Harmless<W> {
    type Ok = ();
    type Err = io::Error;

    fn log(&self, record: &Record<'_>, loggers: &OwnedKVList) -> io::Result<()> {
        let mut fields = Fields::gather(record, loggers);
        // The queue's own report of dropped lines carries no time.
        let ts = fields.take(TS).unwrap_or_else(|| Field::Text(now()));
        let component = fields
            .take(COMPONENT)
            .unwrap_or_else(|| Field::Text(ROOT_COMPONENT.to_owned()));
        let correlation = fields.take(CORRELATION_ID);
        let (_, _) = (fields.take(LEVEL), fields.take(MSG));
        let msg = clean(&record.msg().to_string());

        let mut line = Line(Vec::new());
        if matches!(self.writer, Writer::Json(_)) {
            line.0.push((TS, ts));
            line.0
                .push((LEVEL, Field::Text(level_name(record.level()).to_owned())));
            line.0.push((MSG, Field::Text(msg.clone())));
        }
        line.0.push((COMPONENT, component));
        line.0.extend(correlation.map(|id| (CORRELATION_ID, id)));
        line.0.extend(fields.into_inner());

        let fixed = RecordStatic {
            location: record.location(),
            tag: "",
            level: record.level(),
        };
        let msg = format_args!("{msg}");
        let record = Record::new(&fixed, &msg, BorrowedKV(&line));
        match &self.writer {
            Writer::Json(json) => json.log(&record, &self.nothing),
            Writer::Pretty(pretty) => pretty.log(&record, &self.nothing),
        }
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Critical => "critical",
        Level::Error => "error",
        Level::Warning => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// Fields in the order in which they are written.
struct Line(Vec<(slog::Key, Field)>);

impl KV for Line {
    fn serialize(&self, _record: &Record<'_>, out: &mut dyn Serializer) -> slog::Result {
        for (key, field) in &self.0 {
            match field {
                Field::Null => out.emit_none(key),
                Field::Bool(value) => out.emit_bool(key, *value),
                Field::Unsigned(value) => out.emit_u64(key, *value),
                Field::Signed(value) => out.emit_i64(key, *value),
                Field::Float(value) => out.emit_f64(key, *value),
                Field::Text(value) => out.emit_str(key, value),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
