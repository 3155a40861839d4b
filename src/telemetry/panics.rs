//! Panics are logged, not printed: a raw panic message on a terminal or in a collector could carry anything.

use std::any::Any;
use std::backtrace::Backtrace;
use std::panic;

use slog::{Drain, Logger, debug, error};

use super::redact::MAX_VALUE_BYTES;

/// The most lines of log that one backtrace takes.
const MAX_BACKTRACE_PARTS: usize = 16;

/// Replaces the panic hook of the process: one line at level error with message (redacted), location and thread, and at
/// level debug the backtrace. What happens to the request or the actor is decided where the panic is caught.
pub fn install(logger: &Logger) {
    let logger = logger.clone();
    panic::set_hook(Box::new(move |info| {
        let location = info
            .location()
            .map_or_else(|| "unknown".to_owned(), ToString::to_string);
        report(&logger, message(info.payload()), &location);
    }));
}

/// What a panic said, if it was a text.
pub fn message(payload: &(dyn Any + Send)) -> &str {
    match (
        payload.downcast_ref::<&'static str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "a panic without a message",
    }
}

fn report(logger: &Logger, message: &str, location: &str) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    error!(logger, "panic: {}", message; "component" => "panic", "location" => location, "thread" => thread);
    if logger.is_debug_enabled() {
        let backtrace = Backtrace::force_capture().to_string();
        for (part, text) in parts(&backtrace).iter().enumerate() {
            debug!(logger, "backtrace"; "component" => "panic", "part" => part, "frames" => text);
        }
    }
}

/// Whole lines together, each part short enough not to be cut.
fn parts(backtrace: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for line in backtrace.lines().map(str::trim) {
        let full = parts.len() == MAX_BACKTRACE_PARTS;
        // Each line feed becomes two bytes when it is escaped.
        match parts.last_mut() {
            Some(part) if part.len() + line.len() + part.matches('\n').count() + 2 <= MAX_VALUE_BYTES => {
                part.push('\n');
                part.push_str(line);
            }
            _ if full => break,
            _ => parts.push(line.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::logging::tests::written;
    use super::super::logging::{Settings, component};
    use super::*;
    use slog::FilterLevel;

    #[test]
    fn a_panic_becomes_log_lines() {
        const CANARY: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.canary";
        let settings = Settings {
            level: FilterLevel::Debug,
            ..Settings::default()
        };
        let text = written(&settings, |logging| {
            let logger = component(logging.logger(), "bootstrap");
            report(&logger, &format!("boom {CANARY}\nsecond"), "src/x.rs:1:2");
        });
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["msg"], "panic: boom [redacted]\\nsecond");
        assert_eq!(lines[0]["component"], "panic");
        assert_eq!(lines[0]["location"], "src/x.rs:1:2");
        assert!(lines[0]["thread"].is_string());
        assert!(
            lines[1]["frames"]
                .as_str()
                .unwrap()
                .contains("a_panic_becomes_log_lines"),
            "{}",
            lines[1]
        );
        assert!(!text.contains("canary"));
    }

    #[test]
    fn the_hook_sees_real_panics() {
        let text = written(&Settings::default(), |logging| {
            let before = panic::take_hook();
            install(logging.logger());
            let thread = std::thread::Builder::new().name("worker-7".to_owned());
            let outcome = thread.spawn(|| panic!("lost {}", 42)).unwrap().join();
            panic::set_hook(before);
            assert!(outcome.is_err());
        });
        // Other tests may panic meanwhile.
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let line = lines
            .into_iter()
            .find(|line| line["thread"] == "worker-7")
            .unwrap();
        assert_eq!(
            (&line["msg"], &line["level"]),
            (&"panic: lost 42".into(), &"error".into())
        );
        assert!(
            line["location"]
                .as_str()
                .unwrap()
                .starts_with("src/telemetry/panics.rs:"),
            "{line}"
        );
    }

    #[test]
    fn without_debug_there_is_no_backtrace() {
        let text = written(&Settings::default(), |logging| {
            report(logging.logger(), "boom", "x")
        });
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn payloads_are_read() {
        assert_eq!(message(&"static"), "static");
        assert_eq!(message(&"owned".to_owned()), "owned");
        assert_eq!(message(&7), "a panic without a message");
    }

    #[test]
    fn long_backtraces_are_cut_at_lines() {
        let long = "frame\n".repeat(10_000);
        let parts = parts(&long);
        assert_eq!(parts.len(), MAX_BACKTRACE_PARTS);
        assert!(
            parts
                .iter()
                .all(|part| part.len() + part.matches('\n').count() <= MAX_VALUE_BYTES)
        );
    }
}
