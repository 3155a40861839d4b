//! Logs, metrics, panics.
