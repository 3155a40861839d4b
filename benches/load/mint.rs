//! Who calls: keys, tokens, entitlements, and proofs made before they are needed.

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
    pub(crate) poe: String,
}

impl Mint {
    pub(crate) fn new(scanner: String) -> Fallible<Self> {
        Ok(Self {
            authority: generate_p256()?,
            licensing: generate_p256()?,
            scanner,
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

    /// `bound`: whether the token names the scanner image.
    pub(crate) fn caller(&self, tenant: &str, plan: Plan, bound: bool) -> Fallible<Caller> {
        let key = generate_p256()?;
        let jwk = mint::jwk_of(&key)?;
        let public = jwk
            .as_object()
            .map(PublicJwk::parse)
            .ok_or("a JWK is no object")??;
        let token = self.token(tenant, &b64url(&public.thumbprint().0), bound)?;
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
        Ok(Caller {
            header: b64url(header.to_string().as_bytes()),
            ath: b64url(&sha256(token.as_bytes())),
            poe: self.poe(tenant, plan)?,
            token,
            key,
        })
    }

    fn token(&self, tenant: &str, jkt: &str, bound: bool) -> Fallible<String> {
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({
            "iss": AUTHORITY, "aud": "signer", "iat": now, "nbf": now, "exp": now + LIFE, "sub": "scanner-7",
            "client_id": "scanner", "jti": self.id(), "tid": tenant, "inst": format!("{tenant}-1"),
            "scope": "signer.sign signer.verify", "cnf": { "jkt": jkt },
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

    /// This many proofs for `POST` of a signature, the callers taking turns; on every core.
    pub(crate) fn proofs(&self, callers: &[Caller], count: usize) -> Fallible<Vec<String>> {
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(16);
        let share = count.div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let begun: Vec<_> = (0..count)
                .step_by(share)
                .map(|first| {
                    let last = (first + share).min(count);
                    scope.spawn(move || {
                        let callers = callers.iter().cycle().skip(first % callers.len().max(1));
                        let turns = callers.take(last - first);
                        turns
                            .map(|caller| self.proof(caller))
                            .collect::<Fallible<Vec<_>>>()
                    })
                })
                .collect();
            let mut all = Vec::with_capacity(count);
            for thread in begun {
                all.extend(
                    thread
                        .join()
                        .map_err(|_| "a thread that makes proofs panicked")??,
                );
            }
            Ok(all)
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
