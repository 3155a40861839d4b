use super::*;
use slog::{debug, error, info};
use std::sync::mpsc;

/// A writer whose writes a test reads after the log has ended.
pub(crate) struct Sink(mpsc::Sender<Vec<u8>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `work` runs.
pub(crate) fn written(settings: &Settings, work: impl FnOnce(&Logging)) -> String {
    let (sender, receiver) = mpsc::channel();
    let logging = Logging::start(settings, Sink(sender));
    work(&logging);
    drop(logging);
    String::from_utf8(receiver.try_iter().flatten().collect()).unwrap()
}

fn lines(text: &str) -> Vec<serde_json::Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_line_has_its_fixed_fields_first_and_each_name_once() {
    let text = written(&Settings::default(), |logging| {
        let log = component(logging.logger(), "http");
        let log = correlated(&component(&log, "auth"), &CorrelationId::parse("req-1").unwrap());
        info!(log, "token {}", "accepted"; "n" => 7, "ok" => true, "ts" => "forged", "msg" => "forged", "level" => "x",
            "none" => Option::<u8>::None);
        info!(logging.logger(), "plain");
    });
    let first = text.lines().next().unwrap();
    let (ts, rest) = first.split_at(r#"{"ts":"2026-11-22T13:00:00.000000Z""#.len());
    assert!(chrono::DateTime::parse_from_rfc3339(&ts[7..34]).is_ok(), "{ts}");
    assert!(
        rest.starts_with(
            r#","level":"info","msg":"token accepted","component":"auth","correlationId":"req-1","#
        ),
        "{rest}"
    );
    assert!(!first.contains("forged"), "{first}");
    assert_eq!(first.matches("\"component\"").count(), 1);
    let lines = lines(&text);
    assert_eq!((&lines[0]["n"], &lines[0]["ok"]), (&7.into(), &true.into()));
    assert_eq!(lines[0]["none"], serde_json::Value::Null);
    assert_eq!(lines[1]["component"], "signer");
    assert_eq!(lines[1].get("correlationId"), None);
}

#[test]
fn secrets_do_not_reach_the_output_in_either_format() {
    const CANARY: &str = "canary-7f3a";
    let jwt = format!("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.{CANARY}");
    for format in [Format::Json, Format::Pretty] {
        let settings = Settings {
            format,
            ..Settings::default()
        };
        let text = written(&settings, |logging| {
            let log = logging.logger().new(o!("client_secret" => CANARY));
            info!(log, "token {} refused", jwt; "access_token" => CANARY, "dpop" => format!("x{CANARY}"),
                "error" => format!("-----BEGIN PRIVATE KEY-----\n{CANARY}"), "pin" => 733_733,
                "detail" => %jwt, "debug" => ?Some(&jwt));
        });
        assert!(!text.contains(CANARY) && !text.contains("733733"), "{text}");
        assert!(text.contains("token [redacted] refused"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_caller_cannot_forge_a_line() {
    for format in [Format::Json, Format::Pretty] {
        let settings = Settings {
            format,
            ..Settings::default()
        };
        let text = written(&settings, |logging| {
            error!(logging.logger(), "refused {}", "x\n{\"level\":\"info\"}\u{1b}[2J"; "name" => "a\r\nb");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
    }
}

#[test]
fn the_level_changes_while_running() {
    let text = written(&Settings::default(), |logging| {
        let log = logging.logger().clone();
        debug!(log, "one");
        assert!(!log.is_debug_enabled());
        logging.level().set(FilterLevel::Debug);
        debug!(log, "two");
        logging.level().set(parse_level("error").unwrap());
        info!(log, "three");
        error!(log, "four");
    });
    let said: Vec<_> = lines(&text).into_iter().map(|line| line["msg"].clone()).collect();
    assert_eq!(said, ["two", "four"]);
    assert_eq!(parse_level("INFO"), None);
}

#[test]
fn dropped_lines_are_counted_and_reported() {
    /// Accepts nothing until told to.
    struct Stuck(mpsc::Receiver<()>, Sink);
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (go, stuck) = mpsc::channel();
    let (sender, receiver) = mpsc::channel();
    let settings = Settings {
        queue: 2,
        ..Settings::default()
    };
    let logging = Logging::start(&settings, Stuck(stuck, Sink(sender)));
    for n in 0..20 {
        info!(logging.logger(), "line"; "n" => n);
    }
    drop(go);
    // Once the queue has room again, the next line brings the report.
    let mut text = String::new();
    while !text.contains("dropped") {
        info!(logging.logger(), "more");
        text.extend(receiver.try_iter().map(|bytes| String::from_utf8(bytes).unwrap()));
    }
    drop(logging);
    let report = lines(&text)
        .into_iter()
        .find(|line| line["count"].is_u64())
        .unwrap();
    assert!(
        report["count"].as_u64().unwrap() >= 17 && report["ts"].is_string(),
        "{report}"
    );
}
