//! Proofs of entitlement (PoE): JWTs by Licensing, verified locally (contract §4).

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use signer_actors::domain::entitlement::{CalendarTag, Entitlement, Features, VersionWindow};
use signer_actors::domain::plan::PlanLimits;
use signer_actors::ports::{PoeRejection, PoeVerifier};

use super::Settings;
use crate::adapters::jose::claims::Claims;
use crate::adapters::jose::jwks::KeySet;
use crate::adapters::jose::jwt::{Policy, Rejection, VerifiedJwt};
use crate::adapters::jose::{Refused, is_visible};

/// Most features of a plan.
const MAX_FEATURES: usize = 256;
/// Longest feature, in characters.
const MAX_FEATURE_LEN: usize = 256;
/// Longest name of a plan, in characters.
const MAX_PLAN_LEN: usize = 128;
/// Largest `maxArtifactBytes`: what every JSON implementation can say exactly (RFC 8259 §6).
const MAX_BYTES: u64 = (1 << 53) - 1;

/// What a PoE must be, beyond its claims of entitlement.
pub(super) fn policy(settings: &Settings) -> Policy {
    Policy::new(
        &settings.issuer,
        &settings.audience,
        &["poe+jwt".to_owned()],
        &settings.algorithms,
        settings.clock_skew,
    )
}

/// A snapshot of Licensing's keys with the policy for PoEs.
pub(super) struct LicensePoeVerifier {
    policy: Arc<Policy>,
    keys: KeySet,
}

impl LicensePoeVerifier {
    pub(super) fn new(policy: Arc<Policy>, keys: KeySet) -> Self {
        Self { policy, keys }
    }
}

impl fmt::Debug for LicensePoeVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LicensePoeVerifier")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl PoeVerifier for LicensePoeVerifier {
    fn knows(&self, kid: &str) -> bool {
        self.keys.contains(kid)
    }

    fn verify(&self, poe: &str, now: DateTime<Utc>) -> Result<Entitlement, PoeRejection> {
        let jwt = self
            .policy
            .verify(poe, &self.keys, now)
            .map_err(|rejection| match rejection {
                Rejection::UnknownKey { kid } => PoeRejection::UnknownKey { kid },
                Rejection::Expired => PoeRejection::Expired,
                Rejection::Invalid(why) => invalid(&why),
            })?;
        read(&jwt).map_err(|why| invalid(&why))
    }
}

fn invalid(why: &Refused) -> PoeRejection {
    PoeRejection::Invalid(format!("the proof of entitlement is not accepted: {why}"))
}

fn read(jwt: &VerifiedJwt) -> Result<Entitlement, Refused> {
    let claims = &jwt.claims;
    // Required and well formed, though only introspection compares them (`sub`) or nobody does (`jti`).
    claims.identifier("sub")?;
    claims.identifier("jti")?;
    Ok(Entitlement {
        license: claims.identifier("lic")?.to_owned(),
        tenant: claims.tenant()?,
        installation: claims.installation()?,
        plan: plan(claims)?.ok_or_else(|| Refused::from("it has no `plan`"))?,
        expires: jwt.validity.expires,
        confirmation: claims.confirmation()?,
        limits: Limits::read(claims)?.complete()?,
        versions: versions(claims)?,
        features: features(claims)?.unwrap_or_default(),
    })
}

/// `plan`: a name for people, so spaces inside are welcome.
pub(super) fn plan(claims: &Claims) -> Result<Option<String>, Refused> {
    if claims.get("plan").is_none() {
        return Ok(None);
    }
    let plan = claims.string("plan")?;
    let printable = plan.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if plan.trim() != plan || !(1..=MAX_PLAN_LEN).contains(&plan.len()) || !printable {
        return Err("its `plan` is not 1 to 128 printable characters".into());
    }
    Ok(Some(plan.to_owned()))
}

/// `limits`, each member by itself: a PoE has them all, introspection those that it narrows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    qps: Option<u32>,
    burst: Option<u32>,
    concurrency: Option<u32>,
    max_artifact_bytes: Option<u64>,
}

impl Limits {
    /// Refuses unknown members: one that is misspelt would limit nothing.
    pub(super) fn read(claims: &Claims) -> Result<Self, Refused> {
        let mut limits = Self::default();
        for (name, value) in object(claims, "limits")?.into_iter().flatten() {
            match name.as_str() {
                "qps" => limits.qps = Some(count(value)?),
                "burst" => limits.burst = Some(count(value)?),
                "concurrency" => limits.concurrency = Some(count(value)?),
                "maxArtifactBytes" => limits.max_artifact_bytes = Some(whole(value, MAX_BYTES)?),
                _ => return Err("its `limits` have an unknown member".into()),
            }
        }
        Ok(limits)
    }

    fn complete(self) -> Result<PlanLimits, Refused> {
        let missing = || Refused::from("its `limits` lack one of qps, burst, concurrency, maxArtifactBytes");
        Ok(PlanLimits {
            qps: self.qps.ok_or_else(missing)?,
            burst: self.burst.ok_or_else(missing)?,
            concurrency: self.concurrency.ok_or_else(missing)?,
            max_artifact_bytes: self.max_artifact_bytes.ok_or_else(missing)?,
        })
    }

    /// The plan's limits, narrowed by the members that are here.
    pub(super) fn narrow(self, plan: PlanLimits) -> PlanLimits {
        plan.narrowed_by(PlanLimits {
            qps: self.qps.unwrap_or(plan.qps),
            burst: self.burst.unwrap_or(plan.burst),
            concurrency: self.concurrency.unwrap_or(plan.concurrency),
            max_artifact_bytes: self.max_artifact_bytes.unwrap_or(plan.max_artifact_bytes),
        })
    }
}

fn count(value: &Value) -> Result<u32, Refused> {
    let largest = u64::from(u32::MAX);
    whole(value, largest).and_then(|n| u32::try_from(n).map_err(|_| "its `limits` are out of bounds".into()))
}

/// A JSON integer from 1: a limit of 0 would be a plan that allows nothing, which `active: false` says better.
fn whole(value: &Value, largest: u64) -> Result<u64, Refused> {
    value
        .as_u64()
        .filter(|n| (1..=largest).contains(n))
        .ok_or_else(|| "its `limits` have a member that is no whole number from 1 within bounds".into())
}

/// `versionWindow`: `min`, `max` or both, as calendar tags; absent means all versions.
pub(super) fn versions(claims: &Claims) -> Result<Option<VersionWindow>, Refused> {
    let Some(members) = object(claims, "versionWindow")? else {
        return Ok(None);
    };
    let mut window = VersionWindow { min: None, max: None };
    for (name, value) in members {
        let tag = value.as_str().and_then(CalendarTag::parse);
        let tag =
            tag.ok_or_else(|| Refused::from("its `versionWindow` has a bound that is no tag YYYY.MM"))?;
        match name.as_str() {
            "min" => window.min = Some(tag),
            "max" => window.max = Some(tag),
            _ => return Err("its `versionWindow` has a member other than `min` and `max`".into()),
        }
    }
    Ok(Some(window))
}

/// `features`: an array of strings; unknown ones grant nothing.
pub(super) fn features(claims: &Claims) -> Result<Option<Features>, Refused> {
    let listed = match claims.get("features") {
        None => return Ok(None),
        Some(Value::Array(listed)) if listed.len() <= MAX_FEATURES => listed,
        Some(_) => return Err("its `features` are no array of at most 256".into()),
    };
    let feature = |value: &Value| {
        let text = value.as_str().filter(|s| is_visible(s, MAX_FEATURE_LEN));
        text.map(str::to_owned)
    };
    let features: Option<Vec<_>> = listed.iter().map(feature).collect();
    let features =
        features.ok_or_else(|| Refused::from("its `features` are not 1 to 256 visible characters each"))?;
    Ok(Some(Features::new(features)))
}

fn object<'a>(claims: &'a Claims, name: &str) -> Result<Option<&'a Map<String, Value>>, Refused> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(Refused(format!("its `{name}` is not an object"))),
    }
}
