//! What a probe finds, and how it is shown.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;

use serde::Serialize;

use crate::config::{ConfigError, Warning};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works, but look at it.
    Warning,
    /// Does not work.
    Failure,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "[ok]",
            Self::Warning => "[warning]",
            Self::Failure => "[failure]",
        })
    }
}

/// One thing that was looked at. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What was looked at, shortly: `audit directory`, `server.listen`.
    pub what: String,
    /// What was seen.
    pub detail: String,
    /// What to do; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(what: &str, detail: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            what: what.to_owned(),
            detail: detail.into(),
            advice: None,
        }
    }

    /// It works, but the operator should look at it.
    pub fn warning(what: &str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            what: what.to_owned(),
            detail: detail.into(),
            advice: Some(advice.into()),
        }
    }

    /// It does not work.
    pub fn failure(what: &str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            level: Level::Failure,
            ..Self::warning(what, detail, advice)
        }
    }
}

/// The future of a probe.
pub type ProbeFuture<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + 'a>>;

/// Looks at one thing. Bounds its own time and changes nothing.
pub trait Probe {
    /// Looks.
    fn run(&self) -> ProbeFuture<'_>;
}

struct Closure<F>(F);

impl<F, Fut> Probe for Closure<F>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Vec<Finding>> + 'static,
{
    fn run(&self) -> ProbeFuture<'_> {
        Box::pin((self.0)())
    }
}

/// A probe from an async closure.
pub fn probe<F, Fut>(look: F) -> Box<dyn Probe>
where
    F: Fn() -> Fut + 'static,
    Fut: Future<Output = Vec<Finding>> + 'static,
{
    Box::new(Closure(look))
}

pub(super) fn of_error(error: &ConfigError) -> Finding {
    let key = if error.key.is_empty() {
        "configuration"
    } else {
        &error.key
    };
    let detail = format!("{} ({})", error.problem, error.source);
    Finding::failure(key, detail, &error.remedy)
}

pub(super) fn of_warning(warning: &Warning) -> Finding {
    Finding::warning(&warning.key, &warning.problem, &warning.remedy)
}

pub(super) fn write_text(out: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        writeln!(
            out,
            "{:<9} {}: {}",
            finding.level.to_string(),
            finding.what,
            finding.detail
        )?;
        if let Some(advice) = &finding.advice {
            writeln!(out, "          {advice}")?;
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    writeln!(
        out,
        "\n{} ok, {} warnings, {} failures",
        count(Level::Ok),
        count(Level::Warning),
        count(Level::Failure)
    )
}

pub(super) fn write_json(out: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    let ok = findings.iter().all(|finding| finding.level != Level::Failure);
    let document = serde_json::json!({ "ok": ok, "findings": findings });
    writeln!(out, "{document}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_print_with_their_advice() {
        let findings = [
            Finding::ok("clock", "2026-10-01"),
            Finding::failure("audit directory", "is full", "free some space"),
        ];
        let mut text = Vec::new();
        write_text(&mut text, &findings).expect("written");
        insta::assert_snapshot!(String::from_utf8_lossy(&text), @r"
        [ok]      clock: 2026-10-01
        [failure] audit directory: is full
                  free some space

        1 ok, 0 warnings, 1 failures
        ");
        let mut json = Vec::new();
        write_json(&mut json, &findings).expect("written");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json["ok"], false);
        assert_eq!(
            json["findings"][0],
            serde_json::json!({"level": "ok", "what": "clock", "detail": "2026-10-01"})
        );
    }
}
