//! Values that fakes and tests agree on.

use super::*;

/// Thumbprint of the key that fake tokens are bound to.
pub const KEY: Sha256Digest = Sha256Digest([1; 32]);

/// Thumbprint of the fake Authority's key.
pub const AUTHORITY_KEY: Sha256Digest = Sha256Digest([2; 32]);

/// The instant at which fake clocks start: 2026-10-01T00:00:00Z.
#[allow(
    non_snake_case,
    reason = "reads as the constant it would be if chrono's constructors were const"
)]
pub fn NOW() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_812_800, 0).unwrap_or_default()
}

/// A verified token of tenant `acme`.
pub fn access_token() -> AccessToken {
    AccessToken {
        digest: Sha256Digest::of(b"token"),
        key_id: "k1".into(),
        key: AUTHORITY_KEY,
        subject: "scanner-1".into(),
        client_id: "scanner".into(),
        token_id: "t-1".into(),
        tenant: tenant("acme"),
        installation: installation(),
        scopes: vec!["signer.sign".into()],
        confirmation: Confirmation {
            jkt: Some(KEY),
            x5t_s256: None,
        },
        scanner_image: Some(image()),
        validity: Validity {
            issued: NOW(),
            not_before: None,
            expires: NOW() + chrono::Duration::minutes(5),
        },
    }
}

/// Credentials that fakes accept.
pub fn credentials() -> Credentials {
    Credentials {
        scheme: Scheme::Dpop,
        token: "token".into(),
        proof: Some("proof".into()),
        client_certificate: None,
        method: "POST".into(),
        path: "/api/v1/signer/sign/dsse".into(),
    }
}

/// A verified proof by [`KEY`].
pub fn proof() -> VerifiedProof {
    VerifiedProof {
        thumbprint: KEY,
        replay_id: Sha256Digest::of(b"jti"),
        issued: NOW(),
        nonce: None,
        body: None,
    }
}

/// A tenant.
pub fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap_or_else(|| panic!("{name} is not a tenant"))
}

/// The installation of fake tokens.
pub fn installation() -> InstallationId {
    InstallationId::parse("acme-1").unwrap_or_else(|| panic!("not an installation"))
}

/// The scanner image of fake tokens.
pub fn image() -> ImageDigest {
    ImageDigest::from(Sha256Digest([7; 32]))
}

/// A generous entitlement of tenant `acme`.
pub fn entitlement() -> Entitlement {
    Entitlement {
        license: "lic-1".into(),
        tenant: tenant("acme"),
        installation: installation(),
        plan: "pro".into(),
        expires: NOW() + chrono::Duration::hours(1),
        confirmation: None,
        limits: PlanLimits {
            qps: 100,
            burst: 200,
            concurrency: 16,
            max_artifact_bytes: 1 << 20,
        },
        versions: None,
        features: Features::new(
            ["mode:kms", "mode:keyless", "predicate:*"]
                .map(str::to_owned)
                .to_vec(),
        ),
    }
}

/// A trusted report about [`image`].
pub fn report(verdict: Verdict) -> ReleaseReport {
    ReleaseReport {
        digest: image(),
        repository: "registry.example/scanner".into(),
        verdict,
        signer: (verdict == Verdict::Trusted).then(|| ReleaseSigner::Key { key_id: "k".into() }),
        release_tag: (verdict == Verdict::Trusted).then(|| "2026.10".into()),
        signatures: Vec::new(),
        sources: Vec::new(),
        checked_at: NOW(),
    }
}

/// A context with five seconds.
pub fn context() -> Context {
    Context {
        correlation: CorrelationId::parse("test").unwrap_or_else(|| panic!("not a correlation id")),
        deadline: Deadline::after(Duration::from_secs(5)),
    }
}
