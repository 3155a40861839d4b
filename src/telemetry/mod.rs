//! Logs, metrics, panics.

pub mod logging;
pub mod metrics;
pub mod panics;
pub mod redact;
