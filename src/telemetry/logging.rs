//! The root logger: every line one JSON object (or readable text), made harmless by [`redact`](super::redact), written
//! by a thread of its own so that a slow terminal or disk never holds up a request. Whoever logs copies what the line
//! says into a bounded queue; the writer gathers for a moment, cleans, formats and writes many lines at once.

mod queue;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use chrono::{DateTime, SecondsFormat, Utc};
use signer_actors::domain::ids::CorrelationId;
use slog::{
    BorrowedKV, Drain, FilterLevel, KV, Level, Logger, Never, OwnedKVList, Record, RecordStatic, Serializer,
    o,
};

use self::queue::{Entry, Guard, Sender};
use super::redact::{Field, Fields, Spoken, clean};

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
    /// Ends the writer on drop, when all is written.
    _guard: Guard,
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
        let format = settings.format;
        let (queue, guard) = queue::start(settings.queue.max(1), move || Harmless::new(format, out));
        let front = Front {
            level: level.clone(),
            queue,
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

/// A time as lines show it.
fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Drops what is below the level, and notes the time and what is said before the line waits in the queue.
struct Front {
    level: LevelHandle,
    queue: Sender,
}

impl Drain for Front {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, loggers: &OwnedKVList) -> Result<(), Never> {
        if self.level.accepts(record.level()) {
            self.queue.send(Entry {
                time: Utc::now(),
                level: record.level(),
                location: *record.location(),
                msg: record.msg().to_string(),
                said: Spoken::of(record),
                loggers: loggers.clone(),
            });
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.level.accepts(level)
    }
}

/// The output, written to when a group of lines is complete or its buffer is full.
struct Shared<W: Write>(Rc<RefCell<BufWriter<W>>>);

impl<W: Write> Write for Shared<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    /// The formats flush after each line; see [`queue::Lines::flush`].
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Writer<W: Write> {
    Json(slog_json::Json<Shared<W>>),
    Pretty(slog_term::FullFormat<slog_term::PlainDecorator<Shared<W>>>),
}

/// Cleans a record and everything its loggers add, then writes it.
struct Harmless<W: Write> {
    writer: Writer<W>,
    out: Rc<RefCell<BufWriter<W>>>,
    /// Of the line that is being written, in microseconds since 1970.
    micros: Arc<AtomicI64>,
    nothing: OwnedKVList,
}

impl<W: Write> Harmless<W> {
    fn new(format: Format, out: W) -> Self {
        let out = Rc::new(RefCell::new(BufWriter::new(out)));
        let shared = Shared(Rc::clone(&out));
        let micros = Arc::new(AtomicI64::new(0));
        let writer = match format {
            Format::Json => Writer::Json(slog_json::Json::new(shared).build()),
            Format::Pretty => {
                let micros = Arc::clone(&micros);
                Writer::Pretty(
                    slog_term::FullFormat::new(slog_term::PlainDecorator::new(shared))
                        .use_custom_timestamp(move |out| write!(out, "{}", shown(time_of(&micros))))
                        .use_original_order()
                        .build(),
                )
            }
        };
        Self {
            writer,
            out,
            micros,
            nothing: o!().into(),
        }
    }
}

fn time_of(micros: &AtomicI64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros.load(Ordering::Relaxed)).unwrap_or_default()
}

impl<W: Write> queue::Lines for Harmless<W> {
    fn write(&mut self, entry: Entry) -> io::Result<()> {
        let fixed = RecordStatic {
            location: &entry.location,
            tag: "",
            level: entry.level,
        };
        let mut fields = Fields::gather(entry.said, &entry.loggers, &fixed);
        let component = fields
            .take(COMPONENT)
            .unwrap_or_else(|| Field::Text(ROOT_COMPONENT.to_owned()));
        let correlation = fields.take(CORRELATION_ID);
        let (_, _, _) = (fields.take(TS), fields.take(LEVEL), fields.take(MSG));
        let msg = clean(&entry.msg);

        let mut line = Line(Vec::new());
        if matches!(self.writer, Writer::Json(_)) {
            line.0.push((TS, Field::Text(shown(entry.time))));
            line.0
                .push((LEVEL, Field::Text(level_name(entry.level).to_owned())));
            line.0.push((MSG, Field::Text(msg.clone())));
        } else {
            let micros = entry.time.timestamp_micros();
            self.micros.store(micros, Ordering::Relaxed);
        }
        line.0.push((COMPONENT, component));
        line.0.extend(correlation.map(|id| (CORRELATION_ID, id)));
        line.0.extend(fields.into_inner());

        let msg = format_args!("{msg}");
        let record = Record::new(&fixed, &msg, BorrowedKV(&line));
        match &self.writer {
            Writer::Json(json) => json.log(&record, &self.nothing),
            Writer::Pretty(pretty) => pretty.log(&record, &self.nothing),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.borrow_mut().flush()
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
