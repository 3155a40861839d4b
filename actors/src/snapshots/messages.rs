//! What Snapshots is asked.

use std::time::Duration;

use super::Kind;
use crate::runtime::{Request, Standing};

/// The answer to this, if it still stands.
#[derive(Debug)]
pub struct Recall<K: Kind> {
    /// What is asked.
    pub key: K::Key,
    /// The asker's time, by the monotonic clock.
    pub now: Duration,
}

impl<K: Kind> Request for Recall<K> {
    type Answer = Option<K::Answer>;
}

/// Keeps an answer while it stands.
#[derive(Debug)]
pub struct Remember<K: Kind> {
    /// What was asked.
    pub key: K::Key,
    /// What was answered.
    pub answer: K::Answer,
    /// For how long.
    pub standing: Standing,
}

impl<K: Kind> Request for Remember<K> {
    type Answer = ();
}
