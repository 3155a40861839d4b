//! Certificates of Sigstore's instances and their logs (`testdata/README.md`).

use chrono::TimeDelta;
use openssl::x509::X509;
use serde::Deserialize;

use super::super::decode_base64;
use super::*;
use crate::adapters::registry::{CertificateLog, Life, Repository};
use crate::x509::Authorities;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    certificate: String,
    roots: String,
    logs: Vec<String>,
    at: DateTime<Utc>,
}

/// One case, ready to be checked.
struct Bench {
    leaf: Vec<u8>,
    issuer: X509,
    settings: Settings,
    now: DateTime<Utc>,
}

fn cases() -> Vec<Case> {
    let vectors: Vectors = serde_json::from_str(include_str!("testdata/sct.json")).unwrap();
    vectors.cases
}

fn bench(name: &str) -> Bench {
    let case = cases().into_iter().find(|case| case.name == name).unwrap();
    let leaf = decode_base64(&case.certificate, "the certificate").unwrap();
    let certificate = X509::from_der(&leaf).unwrap();
    let now = case.at + TimeDelta::seconds(1);
    let roots = Authorities::from_pem(case.roots.as_bytes()).unwrap();
    let path = roots.verify(&certificate, &[], now).unwrap();
    let mut settings = Settings::new(vec![Repository::parse("registry.example/a").unwrap()]);
    settings.ct_logs = case.logs.iter().map(|log| ct_log(log.as_bytes())).collect();
    Bench {
        leaf,
        issuer: path[1].clone(),
        settings,
        now,
    }
}

fn ct_log(pem: &[u8]) -> CertificateLog {
    CertificateLog {
        key: pem.to_vec(),
        life: Life::default(),
    }
}

impl Bench {
    fn check(&self) -> Result<(), String> {
        CtLogs::new(&self.settings)
            .unwrap()
            .check(&self.leaf, Some(&self.issuer), self.now)
    }

    fn refused(&self, why: &str) {
        let refused = self.check().unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

/// Sigstore's public log, that of its staging instance, two of the static kind with extensions, and one of a test.
const GOOD: [&str; 5] = [
    "trust-root-tlog-validity-end-inclusive",
    "rekor2-happy-path",
    "rekor2-dsse-happy-path",
    "bundle-with-sct-with-extensions",
    "intoto-with-custom-trust-root",
];

#[test]
fn promises_of_real_logs_hold() {
    for name in GOOD {
        assert_eq!(bench(name).check(), Ok(()), "{name}");
    }
    assert_eq!(cases().len(), GOOD.len() + 1);
}

#[test]
fn a_log_that_is_not_configured_says_nothing() {
    // sigstore-conformance: it must fail.
    bench("invalid-ct-key_fail").refused("of a log that is not configured");
}

#[test]
fn without_logs_nothing_is_looked_at() {
    for name in GOOD.into_iter().chain(["invalid-ct-key_fail"]) {
        let mut bench = bench(name);
        bench.settings.ct_logs.clear();
        assert_eq!(bench.check(), Ok(()));
    }
}

#[test]
fn a_certificate_without_promises_does_not_count() {
    let mut bench = bench(GOOD[0]);
    bench.leaf = bench.issuer.to_der().unwrap();
    bench.refused("carries no signed certificate timestamp");
}

#[test]
fn what_was_altered_does_not_hold() {
    for name in GOOD {
        let honest = bench(name);
        let logs = CtLogs::new(&honest.settings).unwrap();
        // Behind it is the issuer's signature, which is verified with the path.
        let end = 8 + usize::from(u16::from_be_bytes([honest.leaf[6], honest.leaf[7]]));
        assert!((400..honest.leaf.len()).contains(&end));
        for place in (0..end).step_by(3) {
            let mut altered = honest.leaf.clone();
            altered[place] ^= 1;
            let checked = logs.check(&altered, Some(&honest.issuer), honest.now);
            assert!(checked.is_err(), "{name}: {place}");
        }
        // Another issuer's key.
        let mut other = bench(name);
        other.issuer = bench(if name == GOOD[4] { GOOD[0] } else { GOOD[4] }).issuer;
        other.refused("does not hold");
    }
}

#[test]
fn promises_have_their_time() {
    let mut early = bench(GOOD[0]);
    early.now -= TimeDelta::seconds(120);
    early.refused("lies in the future");
    let mut frozen = bench(GOOD[0]);
    for log in &mut frozen.settings.ct_logs {
        log.life.not_after = Some(frozen.now - TimeDelta::days(1));
    }
    frozen.refused("outside the life of the log's key");
}
