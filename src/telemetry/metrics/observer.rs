//! What the core tells, counted.

use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus::{IntGauge, IntGaugeVec};
use signer_actors::ports::Observer;

use super::{Known, Metrics};

impl Observer for Metrics {
    fn stage(&self, stage: &'static str, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        match self.stages.get(stage) {
            Some(child) => child.observe(seconds),
            None => self.stage_seconds.with_label_values(&[stage]).observe(seconds),
        }
    }

    fn cache(&self, cache: &'static str, hit: bool) {
        let (known, result) = if hit {
            (&self.hits, "hit")
        } else {
            (&self.misses, "miss")
        };
        match known.get(cache) {
            Some(child) => child.inc(),
            None => self.cache_requests.with_label_values(&[cache, result]).inc(),
        }
    }

    fn throttled(&self, kind: &'static str) {
        match self.throttles.get(kind) {
            Some(child) => child.inc(),
            None => self.throttled.with_label_values(&[kind]).inc(),
        }
    }

    fn batch(&self, items: usize) {
        self.batch_items.observe(items as f64);
    }

    fn batch_item(&self, code: &'static str) {
        self.batch_results.with_label_values(&[code]).inc();
    }

    fn actor_panicked(&self, actor: &'static str) {
        self.actor_panics.with_label_values(&[actor]).inc();
    }

    fn mailbox(&self, actor: &'static str, in_use: usize, capacity: usize) {
        let gauge = |known: &Known<IntGauge, 9>, all: &IntGaugeVec, value: usize| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            match known.get(actor) {
                Some(child) => child.set(value),
                None => all.with_label_values(&[actor]).set(value),
            }
        };
        gauge(&self.in_use, &self.mailbox_in_use, in_use);
        gauge(&self.capacities, &self.mailbox_capacity, capacity);
    }

    fn backend(&self, backend: &str, operation: &'static str, elapsed: Duration, ok: bool) {
        self.backend_seconds
            .with_label_values(&[backend, operation])
            .observe(elapsed.as_secs_f64());
        // Resolved in any case: the series is there before the first failure.
        self.backend_errors
            .with_label_values(&[backend, operation])
            .inc_by(u64::from(!ok));
    }

    fn key_expiry(&self, backend: &str, not_after: Option<DateTime<Utc>>) {
        match not_after {
            Some(end) => self
                .certificate_expiry
                .with_label_values(&[backend])
                .set(end.timestamp()),
            None => {
                // Absent already, most of the time.
                let _ = self.certificate_expiry.remove_label_values(&[backend]);
            }
        }
    }

    fn key_set(&self, set: &'static str, fetched: DateTime<Utc>) {
        self.key_set_fetched
            .with_label_values(&[set])
            .set(fetched.timestamp());
    }

    fn licence_file(&self, version: u64, expires: DateTime<Utc>) {
        self.licence_version
            .set(i64::try_from(version).unwrap_or(i64::MAX));
        self.licence_expiry.set(expires.timestamp());
    }

    fn licence_file_refused(&self) {
        self.licence_refusals.inc();
    }

    fn audit_synced(&self, records: usize, elapsed: Duration) {
        self.audit_records.inc_by(records as u64);
        self.audit_sync.observe(elapsed.as_secs_f64());
        self.audit_synced_at.set(Utc::now().timestamp());
    }

    fn audit_published(&self, size: u64, elapsed: Duration) {
        self.audit_checkpoint_size
            .set(i64::try_from(size).unwrap_or(i64::MAX));
        self.audit_checkpoint_at.set(Utc::now().timestamp());
        self.audit_publish.observe(elapsed.as_secs_f64());
    }

    fn audit_publish_failed(&self) {
        self.audit_publish_failures.inc();
    }

    fn stranger_refused(&self, recorded: bool) {
        let result = if recorded { "recorded" } else { "left_out" };
        if let Some(child) = self.strangers.get(result) {
            child.inc();
        }
    }

    fn clock_went_back(&self) {
        self.clock_steps_back.inc();
    }

    fn audit_failed(&self) {
        self.audit_failures.inc();
    }

    fn timestamp(&self, outcome: &'static str, elapsed: Duration) {
        if let Some(child) = self.timestamps.get(outcome) {
            child.inc();
        }
        self.timestamp_seconds.observe(elapsed.as_secs_f64());
    }

    fn timestamp_circuit(&self, open: bool) {
        self.timestamp_circuit.set(i64::from(open));
    }

    fn release_lookup(&self, repository: &str, outcome: &'static str, elapsed: Duration) {
        self.release_lookups
            .with_label_values(&[repository, outcome])
            .inc();
        self.release_seconds
            .with_label_values(&[repository])
            .observe(elapsed.as_secs_f64());
    }

    fn release_refresh(&self, result: &'static str) {
        self.release_refreshes.with_label_values(&[result]).inc();
    }

    fn release_circuit(&self, repository: &str, open: bool) {
        self.release_circuit
            .with_label_values(&[repository])
            .set(i64::from(open));
        // Resolved in any case: the series is there before the first time.
        self.release_opened
            .with_label_values(&[repository])
            .inc_by(u64::from(open));
    }

    fn state(&self, operation: &'static str, elapsed: Duration, failure: Option<&'static str>) {
        self.state_seconds
            .with_label_values(&[operation])
            .observe(elapsed.as_secs_f64());
        if let Some(kind) = failure {
            self.state_errors.with_label_values(&[operation, kind]).inc();
        }
    }

    fn state_up(&self, up: bool) {
        self.state_up.with_label_values(&["redis"]).set(i64::from(up));
    }

    fn idempotency(&self, outcome: &'static str) {
        if let Some(child) = self.idempotency.get(outcome) {
            child.inc();
        }
    }

    fn idempotency_store(&self, operation: &'static str, elapsed: Duration, ok: bool) {
        self.idempotency_seconds
            .with_label_values(&[operation])
            .observe(elapsed.as_secs_f64());
        self.idempotency_errors
            .with_label_values(&[operation])
            .inc_by(u64::from(!ok));
    }

    fn idempotency_up(&self, up: bool) {
        self.idempotency_up
            .with_label_values(&["file"])
            .set(i64::from(up));
    }

    fn idempotency_entries(&self, entries: u64) {
        self.idempotency_entries
            .with_label_values(&["file"])
            .set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    fn leases_held(&self, change: i64) {
        self.leases.add(change);
    }

    fn leases_broken(&self, why: &'static str, count: u64) {
        self.leases_broken.with_label_values(&[why]).inc_by(count);
    }
}
