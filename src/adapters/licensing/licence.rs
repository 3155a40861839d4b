//! The licence file: what Licensing says of all licences at once, signed, for sites that cannot ask it (contract §4).
//!
//! Pure: bytes, keys and the time come in. The file is a compact JWS of type `licence+jwt`; it plays the part of
//! introspection and like it only narrows what each PoE says. Every member is known or refused, because one that is
//! misspelt would narrow or revoke nothing.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde_json::Value;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::entitlement::Entitlement;
use signer_actors::domain::tenant::{InstallationId, TenantId};
use signer_actors::ports::Introspection;

use super::Settings;
use super::narrowing::Narrowing;
use crate::adapters::jose::Refused;
use crate::adapters::jose::claims::Claims;
use crate::adapters::jose::header::{Compact, Use};
use crate::adapters::jose::jwks::KeySet;
use crate::adapters::jose::jwt::{Policy, Rejection};

/// `typ` of its header: no PoE or token passes for a licence file, nor the reverse (RFC 8725 §3.11).
pub const TYPE: &str = "licence+jwt";
/// Longest accepted, in bytes.
pub const MAX_FILE: usize = 1 << 20;
/// Most licences in a file.
pub const MAX_LICENCES: usize = 4096;
/// Most installations that one licence names.
pub const MAX_INSTALLATIONS: usize = 1024;
/// Largest version: what every JSON implementation can say exactly (RFC 8259 §6).
const MAX_VERSION: u64 = (1 << 53) - 1;

/// Members of the payload.
const MEMBERS: [&str; 8] = ["iss", "aud", "jti", "version", "iat", "nbf", "exp", "licences"];

/// A licence file whose signature, issuer, audience and times hold.
#[derive(Clone, Debug, PartialEq)]
pub struct LicenceFile {
    /// Grows with every file that Licensing issues.
    pub version: u64,
    /// `iat`
    pub issued: DateTime<Utc>,
    /// `exp`: the file counts until here, without skew.
    pub expires: DateTime<Utc>,
    /// SHA-256 of the signed payload: two files of one version must have the same.
    pub digest: Sha256Digest,
    licences: HashMap<String, Licence>,
}

/// One licence.
#[derive(Clone, Debug, PartialEq)]
struct Licence {
    revoked: bool,
    tenant: TenantId,
    /// `None`: any of the tenant's.
    installations: Option<BTreeSet<InstallationId>>,
    subject: Option<String>,
    narrowing: Narrowing,
}

/// What a licence file must be, beyond its content: the issuer, audience and algorithms of PoEs.
pub(super) fn policy(settings: &Settings) -> Policy {
    Policy::new(
        &settings.issuer,
        &settings.audience,
        &[TYPE.to_owned()],
        &settings.algorithms,
        settings.clock_skew,
    )
    .up_to(MAX_FILE)
}

impl LicenceFile {
    /// Reads a file; one line feed behind the JWS is accepted, as editors leave it.
    pub fn read(bytes: &[u8], policy: &Policy, keys: &KeySet, now: DateTime<Utc>) -> Result<Self, Refused> {
        let text = std::str::from_utf8(bytes).map_err(|_| Refused::from("it is not text"))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let jwt = policy
            .verify(text, keys, now)
            .map_err(|rejection| match rejection {
                Rejection::UnknownKey { .. } => {
                    "it is signed by a key that is not in entitlement.jwks_file".into()
                }
                Rejection::Expired => expired(),
                Rejection::Invalid(why) => why,
            })?;
        let claims = &jwt.claims;
        claims.only(&MEMBERS)?;
        if claims.get("jti").is_some() {
            claims.identifier("jti")?;
        }
        let expires = claims.required_date("exp")?;
        // No skew for a document that lives for days.
        if expires <= now {
            return Err(expired());
        }
        Ok(Self {
            version: version(claims)?,
            issued: claims.required_date("iat")?,
            expires,
            digest: payload_digest(text)?,
            licences: licences(claims)?,
        })
    }

    /// One that lists nothing, for tests of what surrounds it.
    #[cfg(test)]
    pub(super) fn of_version(version: u64, digest: Sha256Digest, issued: DateTime<Utc>) -> Self {
        Self {
            version,
            issued,
            expires: issued,
            digest,
            licences: HashMap::new(),
        }
    }

    /// Licences listed, revoked ones included.
    pub fn licences(&self) -> usize {
        self.licences.len()
    }

    /// Of them, those that are revoked.
    pub fn revoked(&self) -> usize {
        self.licences.values().filter(|licence| licence.revoked).count()
    }

    /// What the file says of a locally verified PoE: as introspection would (RFC 7662 §2.2). `token` has the PoE's
    /// claims, `facts` what was read of them.
    pub(super) fn judge(&self, token: &Claims, facts: Entitlement) -> Introspection {
        let Some(licence) = self.licences.get(&facts.license) else {
            return Introspection::Unlisted;
        };
        if licence.revoked {
            return Introspection::Revoked;
        }
        let subject_holds = licence
            .subject
            .as_deref()
            .is_none_or(|subject| token.get("sub").and_then(Value::as_str) == Some(subject));
        let installation_holds = licence
            .installations
            .as_ref()
            .is_none_or(|listed| listed.contains(&facts.installation));
        if licence.tenant != facts.tenant || !installation_holds || !subject_holds {
            return Introspection::Mismatch;
        }
        Introspection::Active(Box::new(licence.narrowing.apply(facts)))
    }
}

fn expired() -> Refused {
    "it has expired: install a newer one".into()
}

fn payload_digest(text: &str) -> Result<Sha256Digest, Refused> {
    Compact::parse_within(text, Use::Token, MAX_FILE).map(|compact| Sha256Digest::of(&compact.payload))
}

fn version(claims: &Claims) -> Result<u64, Refused> {
    claims
        .get("version")
        .and_then(Value::as_u64)
        .filter(|version| (1..=MAX_VERSION).contains(version))
        .ok_or_else(|| "its `version` is no whole number from 1".into())
}

fn licences(claims: &Claims) -> Result<HashMap<String, Licence>, Refused> {
    let listed = match claims.get("licences") {
        Some(Value::Array(listed)) if listed.len() <= MAX_LICENCES => listed,
        _ => return Err("its `licences` are no array of at most 4096".into()),
    };
    let mut all = HashMap::with_capacity(listed.len());
    for (index, entry) in listed.iter().enumerate() {
        let (id, licence) =
            licence(entry).map_err(|why| Refused(format!("its `licences[{index}]`: {why}")))?;
        if all.insert(id, licence).is_some() {
            return Err(Refused(format!(
                "its `licences[{index}]`: its `lic` is listed twice"
            )));
        }
    }
    Ok(all)
}

fn licence(entry: &Value) -> Result<(String, Licence), Refused> {
    const OWN: [&str; 5] = ["lic", "tid", "inst", "sub", "revoked"];
    let Value::Object(members) = entry else {
        return Err("it is not an object".into());
    };
    let members = Claims::of(members.clone());
    let known: Vec<_> = OWN.into_iter().chain(Narrowing::MEMBERS).collect();
    members.only(&known)?;
    let subject = match members.get("sub") {
        None => None,
        Some(_) => Some(members.identifier("sub")?.to_owned()),
    };
    let revoked = match members.get("revoked") {
        None => false,
        Some(Value::Bool(revoked)) => *revoked,
        // Never "true" or 1: a lenient reading could let a revoked licence live.
        Some(_) => return Err("its `revoked` is not true or false".into()),
    };
    let licence = Licence {
        revoked,
        tenant: members.tenant()?,
        installations: installations(&members)?,
        subject,
        narrowing: Narrowing::read(&members)?,
    };
    Ok((members.identifier("lic")?.to_owned(), licence))
}

/// `inst`: `"*"` for any, or an array of names. It must be there, so that leaving it out widens nothing.
fn installations(members: &Claims) -> Result<Option<BTreeSet<InstallationId>>, Refused> {
    let wrong = || Refused::from("its `inst` is neither \"*\" nor an array of 1 to 1024 installation names");
    match members.get("inst") {
        Some(Value::String(any)) if any == "*" => Ok(None),
        Some(Value::Array(listed)) if (1..=MAX_INSTALLATIONS).contains(&listed.len()) => {
            let names = listed.iter().map(|name| InstallationId::parse(name.as_str()?));
            names.collect::<Option<_>>().map(Some).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
#[path = "licence_tests.rs"]
mod tests;
