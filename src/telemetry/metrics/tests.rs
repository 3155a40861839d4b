use std::collections::BTreeMap;

use chrono::DateTime;
use signer_actors::ports::Observer;

use super::*;

/// A service that has seen everything once.
fn busy() -> Metrics {
    let metrics = Metrics::new("1.2.3").unwrap();
    let route = metrics.route("sign_dsse");
    let _guard = route.enter();
    route.answered("ok", 200, Duration::from_millis(3));
    route.answered("rate_limited", 429, Duration::from_micros(100));
    metrics.stage("sign", Duration::from_micros(90));
    metrics.cache("release", true);
    metrics.cache("release", false);
    metrics.throttled("rate");
    metrics.actor_panicked("signer");
    metrics.mailbox("quota", 3, 64);
    metrics.backend("keyless", "sign", Duration::from_micros(40), true);
    metrics.backend("keyless", "open", Duration::from_millis(40), false);
    metrics.key_expiry("keyless", DateTime::from_timestamp(1_800_000_000, 0));
    metrics.key_set("authority", DateTime::from_timestamp(1_790_000_000, 0).unwrap());
    metrics.audit_synced(5, Duration::from_millis(1));
    metrics.audit_failed();
    metrics.stranger_refused(true);
    metrics.stranger_refused(false);
    metrics.stranger_refused(false);
    metrics.licence_file(7, DateTime::from_timestamp(1_800_000_001, 0).unwrap());
    metrics.licence_file_refused();
    metrics.clock_went_back();
    metrics.timestamp("granted", Duration::from_millis(3));
    metrics.timestamp_circuit(true);
    metrics.release_lookup("r.example/scanner", "trusted", Duration::from_millis(20));
    metrics.release_refresh("renewed");
    metrics.release_circuit("r.example/scanner", false);
    metrics.release_circuit("s.example/scanner", true);
    metrics.state("spend", Duration::from_millis(1), None);
    metrics.state("admit", Duration::ZERO, Some("down"));
    metrics.state_up(true);
    metrics.batch(3);
    metrics.batch_item("ok");
    metrics.idempotency("taken");
    metrics.idempotency_store("claim", Duration::ZERO, false);
    metrics.idempotency_up(true);
    metrics.reloaded(Reload::Applied, DateTime::UNIX_EPOCH);
    metrics.idempotency_entries(1);
    metrics.leases_held(3);
    metrics.leases_held(-1);
    metrics.leases_broken("lost", 2);
    metrics.mailbox("another", 1, 2);
    metrics.stage("another", Duration::ZERO);
    metrics.cache("another", true);
    metrics.client_cert(ClientCert::Ignored);
    metrics.throttled("another");
    metrics
}

#[test]
fn observations_are_rendered() {
    let text = busy().render();
    for line in [
        r#"signer_http_requests_total{code="ok",route="sign_dsse",status="200"} 1"#,
        r#"signer_http_requests_total{code="rate_limited",route="sign_dsse",status="429"} 1"#,
        r#"signer_request_seconds_count{route="sign_dsse"} 2"#,
        r#"signer_request_seconds_bucket{route="sign_dsse",le="0.0005"} 1"#,
        "signer_http_in_flight 0",
        r#"signer_stage_seconds_count{stage="sign"} 1"#,
        r#"signer_stage_seconds_count{stage="quota"} 0"#,
        r#"signer_cache_requests_total{cache="release",result="hit"} 1"#,
        r#"signer_cache_requests_total{cache="another",result="hit"} 1"#,
        r#"signer_throttled_total{kind="rate"} 1"#,
        r#"signer_client_cert_fields_total{result="ignored"} 1"#,
        r#"signer_client_cert_fields_total{result="malformed"} 0"#,
        r#"signer_actor_panics_total{actor="signer"} 1"#,
        r#"signer_actor_panics_total{actor="audit"} 0"#,
        r#"signer_mailbox_in_use{actor="quota"} 3"#,
        r#"signer_mailbox_capacity{actor="quota"} 64"#,
        r#"signer_backend_errors_total{backend="keyless",operation="open"} 1"#,
        r#"signer_backend_errors_total{backend="keyless",operation="sign"} 0"#,
        r#"signer_backend_seconds_count{backend="keyless",operation="open"} 1"#,
        r#"signer_signing_certificate_expiry_timestamp_seconds{backend="keyless"} 1800000000"#,
        r#"signer_key_set_fetched_timestamp_seconds{set="authority"} 1790000000"#,
        r#"signer_release_lookups_total{outcome="trusted",repository="r.example/scanner"} 1"#,
        r#"signer_release_lookup_seconds_count{repository="r.example/scanner"} 1"#,
        r#"signer_release_refreshes_total{result="renewed"} 1"#,
        r#"signer_release_circuit_open{repository="r.example/scanner"} 0"#,
        r#"signer_release_circuit_open{repository="s.example/scanner"} 1"#,
        r#"signer_release_circuit_opened_total{repository="r.example/scanner"} 0"#,
        r#"signer_release_circuit_opened_total{repository="s.example/scanner"} 1"#,
        r#"signer_state_seconds_count{operation="spend"} 1"#,
        r#"signer_state_errors_total{kind="down",operation="admit"} 1"#,
        r#"signer_state_up{store="redis"} 1"#,
        "signer_state_leases 2",
        r#"signer_state_leases_broken_total{why="lost"} 2"#,
        "signer_audit_records_total 5",
        "signer_audit_sync_seconds_count 1",
        "signer_audit_failures_total 1",
        r#"signer_audit_unauthenticated_refusals_total{result="recorded"} 1"#,
        r#"signer_audit_unauthenticated_refusals_total{result="left_out"} 2"#,
        "signer_licence_file_version 7",
        "signer_licence_file_expiry_timestamp_seconds 1800000001",
        "signer_licence_file_refusals_total 1",
        "signer_clock_steps_back_total 1",
        r#"signer_timestamps_total{outcome="granted"} 1"#,
        r#"signer_timestamps_total{outcome="unusable"} 0"#,
        "signer_timestamp_seconds_count 1",
        "signer_timestamp_circuit_open 1",
        r#"signer_build_info{version="1.2.3"} 1"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(!text.contains("tenant"));
}

#[test]
fn a_key_without_an_end_has_no_expiry() {
    let metrics = busy();
    metrics.key_expiry("keyless", None);
    metrics.key_expiry("never-seen", None);
    assert!(
        !metrics
            .render()
            .contains("signer_signing_certificate_expiry_timestamp_seconds{")
    );
}

#[test]
fn requests_in_flight_are_counted_while_they_are() {
    let metrics = Metrics::new("x").unwrap();
    let guard = metrics.route("trust").enter();
    assert!(metrics.render().contains("signer_http_in_flight 1"));
    drop(guard);
    assert!(metrics.render().contains("signer_http_in_flight 0"));
}

/// The reference page has one row for each metric, with its type and its labels, and no others.
#[test]
fn the_reference_page_is_complete() {
    let page = include_str!("../../../docs/reference/metrics.md");
    let documented: BTreeMap<_, _> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `signer_"))
        .map(|row| {
            let cells: Vec<_> = row.split('|').map(|cell| cell.trim().replace('`', "")).collect();
            let mut labels: Vec<_> = cells[2]
                .split(", ")
                .filter(|l| !l.is_empty())
                .map(str::to_owned)
                .collect();
            labels.sort();
            (format!("signer_{}", cells[0]), (cells[1].clone(), labels))
        })
        .collect();
    let registered: BTreeMap<_, _> = busy()
        .registry
        .gather()
        .iter()
        .map(|family| {
            let kind = format!("{:?}", family.get_field_type()).to_lowercase();
            let labels = family.get_metric()[0]
                .get_label()
                .iter()
                .map(|label| label.name().to_owned());
            (family.name().to_owned(), (kind, labels.collect::<Vec<_>>()))
        })
        .collect();
    assert_eq!(documented, registered);
}
