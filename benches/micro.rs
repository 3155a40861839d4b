//! Micro benches of what a request cannot avoid: `cargo bench --bench micro`. They tell where the microseconds
//! of one request go; what the whole service does with them, `cargo bench --bench load` measures.

use divan::{Bencher, black_box};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use serde_json::value::RawValue;
use signer::crypto::{Nonce, PrivateKey};
use signer::http::dto::sign_request::parse_sign_request;
use signer_actors::domain::canonical::canonicalize;
use signer_actors::domain::envelope::{PAYLOAD_TYPE, pae, pae_sha256};
use signer_actors::domain::plan::PlanLimits;
use signer_actors::domain::signing::Algorithm;
use signer_actors::domain::statement::StatementDraft;
use signer_actors::quota::Bucket;

fn main() {
    divan::main();
}

/// An SBOM-like predicate of about this many bytes, keys out of order as generators write them.
fn predicate(bytes: usize) -> String {
    let component = |n: usize| {
        format!(
            r#"{{"version":"1.{n}.0","type":"library","name":"component-{n}","purl":"pkg:npm/component-{n}@1.{n}.0","hashes":[{{"content":"{n:064x}","alg":"SHA-256"}}]}}"#
        )
    };
    let count = (bytes / component(0).len()).max(1);
    let components: Vec<String> = (0..count).map(component).collect();
    format!(
        r#"{{"specVersion":"1.6","bomFormat":"CycloneDX","components":[{}]}}"#,
        components.join(",")
    )
}

fn request(bytes: usize) -> String {
    let (hex, predicate) = ("ab".repeat(32), predicate(bytes));
    format!(
        r#"{{"subject":[{{"name":"app","digest":{{"sha256":"{hex}"}}}}],"predicateType":"https://cyclonedx.org/bom","predicate":{predicate},"scannerImageDigest":"sha256:{hex}"}}"#
    )
}

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

#[divan::bench(args = SIZES)]
fn canonical_json(bencher: Bencher<'_, '_>, size: usize) {
    let text = predicate(size);
    bencher.bench(|| {
        let mut out = Vec::with_capacity(text.len());
        canonicalize(black_box(&text), 1, &mut out).map(|()| out)
    });
}

#[divan::bench(args = SIZES)]
fn request_to_statement(bencher: Bencher<'_, '_>, size: usize) {
    let body = request(size).into_bytes();
    bencher.bench(|| {
        let parsed = parse_sign_request(black_box(&body)).ok()?;
        let draft = StatementDraft::new(parsed.subjects, parsed.predicate_type, parsed.predicate).ok()?;
        Some(draft.finish(None))
    });
}

/// The same with the look at the predicate's shape: what that costs is the difference.
#[divan::bench(args = SIZES)]
fn request_to_statement_in_shape(bencher: Bencher<'_, '_>, size: usize) {
    let body = request(size).into_bytes();
    bencher.bench(|| {
        let parsed = parse_sign_request(black_box(&body)).ok()?;
        let draft = StatementDraft::new(parsed.subjects, parsed.predicate_type, parsed.predicate).ok()?;
        Some(draft.of_its_shape().ok()?.finish(None))
    });
}

#[divan::bench(args = SIZES)]
fn pae_digest(bencher: Bencher<'_, '_>, size: usize) {
    let payload = predicate(size).into_bytes();
    bencher.bench(|| pae_sha256(PAYLOAD_TYPE, black_box(&payload)));
}

#[divan::bench(args = [Nonce::Random, Nonce::Deterministic])]
fn sign_p256(bencher: Bencher<'_, '_>, nonce: Nonce) {
    let (key, message) = (p256(nonce), pae(PAYLOAD_TYPE, b"{}"));
    bencher.bench(|| key.sign(black_box(message.as_slice())));
}

#[divan::bench]
fn verify_p256(bencher: Bencher<'_, '_>) {
    let (key, message) = (p256(Nonce::Random), pae(PAYLOAD_TYPE, b"{}"));
    let signature = key.sign(message.as_slice()).unwrap_or_default();
    bencher.bench(|| key.public().verify(black_box(message.as_slice()), &signature));
}

#[divan::bench]
fn token_bucket(bencher: Bencher<'_, '_>) {
    let limits = PlanLimits {
        qps: u32::MAX,
        burst: u32::MAX,
        concurrency: 1,
        max_artifact_bytes: 1,
    };
    let (mut bucket, mut now) = (Bucket::default(), std::time::Duration::ZERO);
    bencher.bench_local(|| {
        now += std::time::Duration::from_nanos(10);
        bucket.take(black_box(&limits), now)
    });
}

#[divan::bench(args = SIZES)]
fn raw_value(bencher: Bencher<'_, '_>, size: usize) {
    let text = predicate(size);
    bencher.bench(|| serde_json::from_str::<&RawValue>(black_box(&text)).map(|raw| raw.get().len()));
}

fn p256(nonce: Nonce) -> PrivateKey {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1);
    let key = group
        .and_then(|group| EcKey::generate(&group))
        .and_then(PKey::from_ec_key);
    match key.map(|key| PrivateKey::new(key, Algorithm::EcdsaP256Sha256, nonce)) {
        Ok(Ok(key)) => key,
        _ => unreachable!("OpenSSL makes P-256 keys"),
    }
}
