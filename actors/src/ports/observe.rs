//! What the core tells of itself, for metrics. Never labelled by tenant.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// Receives observations. Called on hot paths: implementations only add to counters.
pub trait Observer: Send + Sync + fmt::Debug {
    /// A stage of a request took this long (`authenticate`, `entitlement`, `quota`, `release`, `audit_intent`, `sign`,
    /// `timestamp`, `audit_outcome`).
    fn stage(&self, _stage: &'static str, _elapsed: Duration) {}
    /// A cache (`token`, `entitlement`, `release`, `key_set`) answered by itself or had to ask.
    fn cache(&self, _cache: &'static str, _hit: bool) {}
    /// A request was throttled (`rate`, `concurrency`, `size`, `lookup`, `overload`).
    fn throttled(&self, _kind: &'static str) {}
    /// A batch of this many items was answered.
    fn batch(&self, _items: usize) {}
    /// An item of a batch was answered with this code, `ok` where it was signed.
    fn batch_item(&self, _code: &'static str) {}
    /// An actor's handler panicked and the actor was rebuilt.
    fn actor_panicked(&self, _actor: &'static str) {}
    /// Requests an actor holds, queued or running, and how many it may hold.
    fn mailbox(&self, _actor: &'static str, _in_use: usize, _capacity: usize) {}
    /// A backend opened a key or signed, in this time, or failed to.
    fn backend(&self, _backend: &str, _operation: &'static str, _elapsed: Duration, _ok: bool) {}
    /// The open key of a backend ends at this time (`None`: never).
    fn key_expiry(&self, _backend: &str, _not_after: Option<DateTime<Utc>>) {}
    /// A key set (`authority`, `licensing`) was fetched at this time.
    fn key_set(&self, _set: &'static str, _fetched: DateTime<Utc>) {}
    /// A licence file of this version, good until then, is in use.
    fn licence_file(&self, _version: u64, _expires: DateTime<Utc>) {}
    /// A licence file was refused, or one in use lost its ground.
    fn licence_file_refused(&self) {}
    /// The audit trail made this many records durable with one sync that took this long.
    fn audit_synced(&self, _records: usize, _elapsed: Duration) {}
    /// A checkpoint over this many records was published; that took this long.
    fn audit_published(&self, _size: u64, _elapsed: Duration) {}
    /// The audit trail could not be published; its records are durable all the same.
    fn audit_publish_failed(&self) {}
    /// A refusal of someone unauthenticated was recorded in the audit trail, or left out.
    fn stranger_refused(&self, _recorded: bool) {}
    /// The wall clock was seen to go back by more than a second.
    fn clock_went_back(&self) {}
    /// The audit trail could not be written.
    fn audit_failed(&self) {}
    /// The shared state answered (`spend`, `admit`, `charge`, `look`, `renew`, `release`, `connect`) after this time, or
    /// failed to in this way (`down`, `timeout`, `connection`, `refused`, `memory`, `clock`, `answer`, `settling`).
    fn state(&self, _operation: &'static str, _elapsed: Duration, _failure: Option<&'static str>) {}
    /// A configured repository answered about an image (`trusted`, `untrusted`, `unsigned`, `absent`, `doubt`), or did
    /// not (`unavailable`, `timeout`), after this time.
    fn release_lookup(&self, _repository: &str, _outcome: &'static str, _elapsed: Duration) {}
    /// A verdict was looked up anew before its time was over: it is as before (`renewed`), the image is no longer trusted
    /// (`withdrawn`), or there was no answer (`failed`).
    fn release_refresh(&self, _result: &'static str) {}
    /// A configured repository's circuit has opened, or closed.
    fn release_circuit(&self, _repository: &str, _open: bool) {}
    /// The timestamp authority gave a timestamp (`granted`), none for now (`unavailable`) or an answer that is of no use
    /// (`unusable`), after this time.
    fn timestamp(&self, _outcome: &'static str, _elapsed: Duration) {}
    /// The timestamp authority's circuit has opened, or closed.
    fn timestamp_circuit(&self, _open: bool) {}
    /// The shared state can be used, or not.
    fn state_up(&self, _up: bool) {}
    /// A request with an idempotency key was `taken` on, `retried` after an attempt of unknown end, answered by what was
    /// kept (`replayed`), signed anew as that counts no more (`void`), or refused (`conflict`, `in_flight`, `full`, `unavailable`); its answer was `stored`, left
    /// `unkept`, or did not leave as another attempt had `taken_over`.
    fn idempotency(&self, _outcome: &'static str) {}
    /// The store of idempotency keys answered (`claim`, `begin`, `keep`, `give_up`) after this time, or failed to.
    fn idempotency_store(&self, _operation: &'static str, _elapsed: Duration, _ok: bool) {}
    /// The embedded store of idempotency keys can be used, or not.
    fn idempotency_up(&self, _up: bool) {}
    /// The embedded store holds so many keys.
    fn idempotency_entries(&self, _entries: u64) {}
    /// This replica holds so many leases of the shared state more than before, or fewer.
    fn leases_held(&self, _change: i64) {}
    /// So many leases ended while their work was running (`lapsed`: not renewed in time; `lost`: the store had
    /// forgotten them), so that more than a plan allows may have been in progress.
    fn leases_broken(&self, _why: &'static str, _count: u64) {}
}

/// Observes nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {}
