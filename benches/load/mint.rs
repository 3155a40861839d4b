//! Who calls: keys, tokens, entitlements, and proofs made before they are needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openssl::pkey::{PKey, Private};
use openssl::sha::sha256;
use serde_json::{Value, json};
use signer::adapters::jose::jwk::PublicJwk;
use signer::adapters::jose::{b64url, mint};
use signer::crypto::generate_p256;

use crate::Fallible;

pub(crate) const AUTHORITY: &str = "https://authority.bench";
pub(crate) const LICENSING: &str = "https://licensing.bench";
/// What proofs name, wherever the server listens.
pub(crate) const ORIGIN: &str = "https://signer.bench";
pub(crate) const SIGN: &str = "/api/v1/signer/sign/dsse";
/// Longer than any run.
const LIFE: i64 = 3 * 3600;
/// How far proofs are dated ahead, in seconds, of the 30 that are allowed: a pool is good for over a minute.
const AHEAD: i64 = 15;

/// A plan's limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) qps: u32,
    pub(crate) burst: u32,
    pub(crate) concurrency: u32,
}

impl Plan {
    /// One that never refuses.
    pub(crate) const WIDE: Self = Self {
        qps: 1_000_000,
        burst: 1_000_000,
        concurrency: 1_000_000,
    };
}

/// The issuers' keys.
#[derive(Debug)]
pub(crate) struct Mint {
    authority: PKey<Private>,
    licensing: PKey<Private>,
    /// The scanner image that tokens name.
    pub(crate) scanner: String,
    /// Thumbprint of the client certificate that tokens are bound to, encoded; `None`: each to a key of its own.
    certificate: Option<String>,
    serial: AtomicU64,
}

/// One caller of one tenant.
#[derive(Debug)]
pub(crate) struct Caller {
    key: PKey<Private>,
    /// The proof's header, encoded.
    header: String,
    pub(crate) token: String,
    /// Hash of the token, encoded (RFC 9449 §4.2, `ath`).
    ath: String,
    pub(crate) poe: Arc<str>,
}

impl Mint {
    pub(crate) fn new(scanner: String, certificate: Option<[u8; 32]>) -> Fallible<Self> {
        Ok(Self {
            authority: generate_p256()?,
            licensing: generate_p256()?,
            scanner,
            certificate: certificate.map(|thumbprint| b64url(&thumbprint)),
            serial: AtomicU64::new(1),
        })
    }

    /// Key sets of the Authority and of Licensing.
    pub(crate) fn key_sets(&self) -> Fallible<(String, String)> {
        let set = |key: &PKey<Private>, kid: &str| -> Fallible<String> {
            let mut jwk = mint::jwk_of(key)?;
            if let Some(members) = jwk.as_object_mut() {
                members.insert("kid".into(), json!(kid));
            }
            Ok(json!({ "keys": [jwk] }).to_string())
        };
        Ok((
            set(&self.authority, "authority-1")?,
            set(&self.licensing, "licensing-1")?,
        ))
    }

    /// Whether callers are known by their certificate rather than by proofs.
    pub(crate) fn by_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// Before the token.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.by_certificate() { "Bearer" } else { "DPoP" }
    }

    /// `bound`: whether the token names the scanner image.
    pub(crate) fn caller(&self, tenant: &str, plan: Plan, bound: bool) -> Fallible<Caller> {
        self.holder(tenant, self.poe(tenant, plan)?.into(), bound)
    }

    /// Callers of tenants `<name>-<n>`, of each so many tokens with one entitlement between them: of all tenants in
    /// turn, made on every core.
    pub(crate) fn callers(
        &self,
        name: &str,
        tenants: std::ops::Range<usize>,
        each: usize,
        plan: Plan,
    ) -> Fallible<Vec<Caller>> {
        let tenants: Vec<String> = tenants.map(|n| format!("{name}-{n}")).collect();
        let poes = on_all_cores(tenants.len(), |n| {
            let tenant = tenants.get(n).ok_or("there is no such tenant")?;
            Ok(Arc::<str>::from(self.poe(tenant, plan)?))
        })?;
        on_all_cores(tenants.len() * each, |n| {
            let turn = n % tenants.len();
            match (tenants.get(turn), poes.get(turn)) {
                (Some(tenant), Some(poe)) => self.holder(tenant, Arc::clone(poe), true),
                _ => Err("there is no such tenant".into()),
            }
        })
    }

    fn holder(&self, tenant: &str, poe: Arc<str>, bound: bool) -> Fallible<Caller> {
        let key = generate_p256()?;
        let jwk = mint::jwk_of(&key)?;
        let public = jwk
            .as_object()
            .map(PublicJwk::parse)
            .ok_or("a JWK is no object")??;
        let confirmation = match &self.certificate {
            Some(thumbprint) => json!({ "x5t#S256": thumbprint }),
            None => json!({ "jkt": b64url(&public.thumbprint().0) }),
        };
        let token = self.token(tenant, confirmation, bound)?;
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        Ok(Caller {
            header: b64url(header.to_string().as_bytes()),
            ath: b64url(&sha256(token.as_bytes())),
            poe,
            token,
            key,
        })
    }

    fn token(&self, tenant: &str, confirmation: Value, bound: bool) -> Fallible<String> {
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({
            "iss": AUTHORITY, "aud": "signer", "iat": now, "nbf": now, "exp": now + LIFE, "sub": "scanner-7",
            "client_id": "scanner", "jti": self.id(), "tid": tenant, "inst": format!("{tenant}-1"),
            "scope": "signer.sign signer.verify", "cnf": confirmation,
        });
        if let Some(claims) = claims.as_object_mut().filter(|_| bound) {
            claims.insert("scanner_image".into(), json!(self.scanner));
        }
        let header = json!({ "typ": "at+jwt", "kid": "authority-1" });
        Ok(mint::sign_compact(&header, &claims, &self.authority)?)
    }

    fn poe(&self, tenant: &str, plan: Plan) -> Fallible<String> {
        let now = chrono::Utc::now().timestamp();
        let claims = json!({
            "iss": LICENSING, "aud": "signer", "iat": now, "nbf": now, "exp": now + LIFE, "jti": self.id(),
            "sub": tenant, "lic": format!("lic-{tenant}"), "tid": tenant, "inst": format!("{tenant}-1"), "plan": "pro",
            "limits": { "qps": plan.qps, "burst": plan.burst, "concurrency": plan.concurrency,
                "maxArtifactBytes": 104_857_600 },
            "versionWindow": { "min": "2026.01", "max": "2026.12" },
            "features": ["mode:keyless", "mode:kms", "predicate:*"],
        });
        let header = json!({ "typ": "poe+jwt", "kid": "licensing-1" });
        Ok(mint::sign_compact(&header, &claims, &self.licensing)?)
    }

    /// Never given twice.
    fn id(&self) -> String {
        format!("{:032x}", self.serial.fetch_add(1, Ordering::Relaxed))
    }

    /// This many proofs for `POST` of a signature, the callers taking turns from this one on; on every core.
    pub(crate) fn proofs(&self, callers: &[Caller], first: usize, count: usize) -> Fallible<Vec<String>> {
        on_all_cores(count, |n| {
            let turn = first.wrapping_add(n).checked_rem(callers.len());
            let caller = turn.and_then(|turn| callers.get(turn));
            self.proof(caller.ok_or("there is no caller")?)
        })
    }

    /// RFC 9449 §4.2.
    fn proof(&self, caller: &Caller) -> Fallible<String> {
        let claims: Value = json!({
            "jti": self.id(), "htm": "POST", "htu": format!("{ORIGIN}{SIGN}"), "ath": caller.ath,
            "iat": chrono::Utc::now().timestamp() + AHEAD,
        });
        let input = format!("{}.{}", caller.header, b64url(claims.to_string().as_bytes()));
        let signature = mint::sign_bytes(input.as_bytes(), &caller.key)?;
        Ok(format!("{input}.{}", b64url(&signature)))
    }
}

/// What `make` gives for `0..count`, in order.
fn on_all_cores<T: Send>(count: usize, make: impl Fn(usize) -> Fallible<T> + Sync) -> Fallible<Vec<T>> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(16);
    let share = count.div_ceil(threads).max(1);
    let make = &make;
    std::thread::scope(|scope| {
        let begun: Vec<_> = (0..count)
            .step_by(share)
            .map(|first| {
                let last = (first + share).min(count);
                scope.spawn(move || (first..last).map(make).collect::<Fallible<Vec<_>>>())
            })
            .collect();
        let mut all = Vec::with_capacity(count);
        for thread in begun {
            all.extend(
                thread
                    .join()
                    .map_err(|_| "a thread that makes requests panicked")??,
            );
        }
        Ok(all)
    })
}
