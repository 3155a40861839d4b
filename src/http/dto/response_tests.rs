//! Expected shapes are those of contract §2.1 and §2.3, member by member.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use signer_actors::domain::entitlement::Features;
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::release::{CandidateSignature, ListingSource, ReleaseSigner, SignatureFormat};
use signer_actors::domain::tenant::{InstallationId, TenantId};

use signer_actors::domain::signing::{Algorithm, SigningIdentity};

use super::super::identity;
use super::super::verify_response::VerifyReferrersResponse;
use super::*;

fn time(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn check(response: &impl Serialize, expected: &Value) {
    let text = serde_json::to_string(response).expect("serialisable");
    assert_eq!(&serde_json::from_str::<Value>(&text).expect("JSON"), expected);
}

fn identity() -> SigningIdentity {
    SigningIdentity {
        backend: KeyId::parse("keyless").expect("id"),
        key_id: KeyId::parse("abc").expect("id"),
        mode: SigningMode::Keyless,
        algorithm: Algorithm::EcdsaP256Sha256,
        public_key_der: vec![1],
        public_key_pem: "-----BEGIN PUBLIC KEY-----".into(),
        issuer: Some("https://authority.example".into()),
        subject: Some("https://stellaops.example/signer".into()),
        certificate_chain: vec!["-----BEGIN CERTIFICATE-----".into()],
        leaf_der: Some(vec![2]),
        certificate_serial: Some("01".into()),
        not_before: Some(time("2026-10-01T00:00:00.123Z")),
        not_after: Some(time("2026-10-01T00:10:00Z")),
    }
}

fn entitlement() -> Entitlement {
    Entitlement {
        license: "lic".into(),
        tenant: TenantId::parse("acme").expect("tenant"),
        installation: InstallationId::parse("acme-1").expect("installation"),
        plan: "pro".into(),
        expires: time("2026-12-31T23:59:59Z"),
        confirmation: None,
        limits: PlanLimits {
            qps: 100,
            burst: 200,
            concurrency: 16,
            max_artifact_bytes: 104_857_600,
        },
        versions: None,
        features: Features::default(),
    }
}

fn report(signer: Option<ReleaseSigner>, verdict: Verdict) -> ReleaseReport {
    ReleaseReport {
        digest: Sha256Digest([0xab; 32]).into(),
        repository: "registry.example/stellaops/scanner".into(),
        verdict,
        release_tag: signer.is_some().then(|| "2026.10".into()),
        signer,
        signatures: vec![CandidateSignature {
            manifest_digest: "sha256:cd".into(),
            format: SignatureFormat::CosignOci11,
            verified: true,
            reason: None,
        }],
        sources: vec![ListingSource::ReferrersApi, ListingSource::SignatureTag],
        checked_at: time("2026-10-01T00:00:00.9Z"),
    }
}

fn key() -> ReleaseSigner {
    ReleaseSigner::Key { key_id: "k1".into() }
}

#[test]
fn a_signature_answers_as_the_contract_says() {
    let (identity, entitlement) = (identity(), entitlement());
    let signature = Signature(vec![0xfb, 0xff]);
    let timestamps = [&b"foobar"[..]];
    let id = AuditId(uuid::Uuid::nil());
    let response = |identity, timestamps, sigstore| {
        let identity = identity::told(identity).expect("serialisable");
        let response = SignResponse {
            bundle: Bundle::new(&identity, "Zm9vYmE=", &signature, timestamps, sigstore),
            statement_digest: Sha256Digest([0xab; 32]).into(),
            policy: Policy::from(&entitlement),
            release: Release::new(&report(Some(key()), Verdict::Trusted), true),
            audit_id: id,
            audit_log: "signer.example/audit/replica-1",
        };
        serde_json::to_value(response).expect("serialisable")
    };
    let expected = json!({
        "bundle": {
            "mode": "keyless",
            "dsse": {
                "payloadType": "application/vnd.in-toto+json",
                "payload": "Zm9vYmE=",
                "signatures": [{ "sig": "+/8=" }],
            },
            "certificateChain": ["-----BEGIN CERTIFICATE-----"],
            "signingIdentity": {
                "issuer": "https://authority.example",
                "subject": "https://stellaops.example/signer",
                "keyId": "abc",
                "algorithm": "ecdsa-p256-sha256",
                "publicKey": "-----BEGIN PUBLIC KEY-----",
                "notBefore": "2026-10-01T00:00:00Z",
                "notAfter": "2026-10-01T00:10:00Z",
            },
            "timestamps": ["Zm9vYmFy"],
            "sigstoreBundle": { "mediaType": "x" },
        },
        "statementDigest": { "sha256": "ab".repeat(32) },
        "policy": {
            "plan": "pro", "qps": 100, "burst": 200, "concurrency": 16, "maxArtifactBytes": 104_857_600,
            "entitlementExpires": "2026-12-31T23:59:59Z",
        },
        "release": {
            "verdict": "trusted", "bound": true, "signer": "StellaOps Release 2026.10", "releaseTag": "2026.10",
        },
        "auditId": "00000000-0000-0000-0000-000000000000",
        "auditLog": "signer.example/audit/replica-1",
    });
    let sigstore = RawValue::from_string(r#"{"mediaType":"x"}"#.into()).expect("JSON");
    assert_eq!(response(&identity, &timestamps, Some(&sigstore)), expected);

    let keyful = SigningIdentity {
        mode: SigningMode::Kms,
        issuer: None,
        subject: None,
        certificate_chain: Vec::new(),
        not_before: None,
        not_after: None,
        ..identity.clone()
    };
    let bundle = response(&keyful, &[], None);
    let expected = json!({
        "mode": "kms",
        "dsse": expected["bundle"]["dsse"],
        "certificateChain": [],
        "signingIdentity": {
            "keyId": "abc", "algorithm": "ecdsa-p256-sha256", "publicKey": "-----BEGIN PUBLIC KEY-----",
        },
        "timestamps": [],
    });
    assert_eq!(bundle["bundle"], expected);
}

#[test]
fn a_dry_run_answers_its_gates() {
    let entitlement = entitlement();
    let gate = |gate, verdict, code| GateReport {
        gate,
        verdict,
        code,
        detail: code.map(|_| "why".to_owned()),
    };
    let response = DryRunResponse {
        gates: vec![
            gate("quota", GateVerdict::Pass, None),
            gate("release", GateVerdict::Fail, Some("release_untrusted")),
            gate("signing", GateVerdict::Skipped, None),
        ],
        policy: Policy::from(&entitlement),
        audit_id: AuditId(uuid::Uuid::nil()),
        audit_log: "log",
    };
    check(
        &response,
        &json!({
            "gates": [
                { "gate": "quota", "verdict": "pass" },
                { "gate": "release", "verdict": "fail", "code": "release_untrusted", "detail": "why" },
                { "gate": "signing", "verdict": "skipped" },
            ],
            "policy": {
                "plan": "pro", "qps": 100, "burst": 200, "concurrency": 16, "maxArtifactBytes": 104_857_600,
                "entitlementExpires": "2026-12-31T23:59:59Z",
            },
            "auditId": "00000000-0000-0000-0000-000000000000",
            "auditLog": "log",
        }),
    );
}

#[test]
fn a_release_check_answers_as_the_contract_says() {
    let expected = |verdict: &str, signer: Value| {
        json!({
            "digest": format!("sha256:{}", "ab".repeat(32)),
            "repository": "registry.example/stellaops/scanner",
            "verdict": verdict,
            "signer": signer,
            "signatures": [
                { "manifestDigest": "sha256:cd", "format": "cosign-oci11", "verified": true, "reason": null },
            ],
            "sources": ["referrers-api", "signature-tag"],
            "checkedAt": "2026-10-01T00:00:00Z",
            "cached": true,
        })
    };
    let certificate = ReleaseSigner::Certificate {
        identity: "https://stellaops.example/release".into(),
        issuer: "https://authority.example".into(),
    };
    for (report, expected) in [
        (
            report(Some(key()), Verdict::Trusted),
            expected(
                "trusted",
                json!({ "kind": "key", "keyId": "k1", "release": "2026.10" }),
            ),
        ),
        (
            report(Some(certificate), Verdict::Trusted),
            expected(
                "trusted",
                json!({
                    "kind": "certificate", "identity": "https://stellaops.example/release",
                    "issuer": "https://authority.example", "release": "2026.10",
                }),
            ),
        ),
        (
            report(None, Verdict::Untrusted),
            expected("untrusted", Value::Null),
        ),
    ] {
        check(&VerifyReferrersResponse::new(&report, true), &expected);
    }
}
