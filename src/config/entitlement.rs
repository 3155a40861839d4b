//! `[entitlement]`: proofs of entitlement and their introspection.

use std::time::Duration;

use url::Url;

use super::error::Problem;
use super::files::{self, PublicFile};
use super::reader::{Section, key, required};
use super::secret::{Secret, Use};
use super::{net, pem};

/// How proofs of entitlement (PoE) are verified.
#[derive(Clone, Debug)]
pub struct Entitlement {
    /// Licensing: `iss` of a PoE must equal it character by character.
    pub issuer: String,
    /// Where Licensing's keys are.
    pub keys: LicensingKeys,
    /// RFC 7662 introspection.
    pub introspection_url: Url,
    /// Bearer credential of the service at the introspection endpoint.
    pub credential: Secret,
    /// How long a good answer is believed, at most 120 s.
    pub positive_ttl: Duration,
    /// How long a bad answer is believed, at most 10 s.
    pub negative_ttl: Duration,
    /// How long after the last online success an entitlement holds while Licensing cannot be asked; zero: not at all.
    pub grace: Duration,
    /// Time for one introspection.
    pub timeout: Duration,
    /// Entitlements remembered.
    pub cache_capacity: usize,
}

/// Where Licensing's keys are.
#[derive(Clone, Debug)]
pub enum LicensingKeys {
    /// A JWK set at this address.
    Uri(Url),
    /// A JWK set in this file.
    File(PublicFile),
}

const DOC: &str = "What callers are entitled to: proofs of entitlement (PoE) of Licensing.";

pub(crate) fn section(root: &mut Section<'_>) -> Option<Entitlement> {
    root.section("entitlement", DOC, read)
}

fn read(s: &mut Section<'_>) -> Option<Entitlement> {
    let seconds = Duration::from_secs;
    let mode = s.text(
        key(
            "mode",
            "online",
            "online: introspection. (offline is not part of this version.)",
        ),
        |text, _| online(text),
    );
    let issuer = s.text(
        required(
            "issuer",
            "https://licensing.example",
            "Licensing. Claim iss of a PoE must equal it character by character.",
        ),
        net::issuer,
    );
    let jwks_uri = s.optional(
        key(
            "jwks_uri",
            "",
            "Address of Licensing's JWK set. One of jwks_uri and jwks_file is needed; the file wins.",
        ),
        net::url,
    );
    let jwks_file = s.optional(
        key("jwks_file", "", "File with Licensing's JWK set."),
        files::public,
    );
    let introspection_url = s.text(
        required(
            "introspection_url",
            "https://licensing.example/license/introspect",
            "Where a PoE is introspected (RFC 7662).",
        ),
        net::url,
    );
    let credential = s.needed_secret(
        required(
            "credential",
            "file:licensing.token",
            "Bearer credential of the service at the introspection endpoint, by reference.",
        ),
        Use::Text,
    );
    let positive_ttl = s.duration(
        key(
            "positive_ttl",
            "60s",
            "How long a good answer is believed, and never past the expiry of the PoE.",
        ),
        seconds(0)..=seconds(120),
    );
    let negative_ttl = s.duration(
        key("negative_ttl", "5s", "How long a refusal is believed."),
        seconds(0)..=seconds(10),
    );
    let grace = s.duration(
        key(
            "grace",
            "0s",
            "How long after the last online success an entitlement holds while Licensing cannot be reached; 0s means \
             not at all. Never covers a revoked licence.",
        ),
        seconds(0)..=seconds(86_400),
    );
    let timeout = s.duration(
        key("timeout", "2s", "Time for one introspection."),
        Duration::from_millis(100)..=seconds(30),
    );
    let cache_capacity = s.integer(
        key(
            "cache_capacity",
            100_000,
            "Entitlements remembered; the least recently used goes first.",
        ),
        1..=10_000_000,
    );
    s.optional(
        key(
            "licence_file",
            "",
            "For mode offline, which is not part of this version: leave it empty.",
        ),
        |_, _| -> Result<(), Problem> {
            Err(Problem::new(
                "needs mode offline, which this version does not have",
                "leave it empty and use introspection",
            ))
        },
    );
    let keys = licensing_keys(s, jwks_uri?, jwks_file?);
    mode?;
    Some(Entitlement {
        issuer: issuer?,
        keys: keys?,
        introspection_url: introspection_url?,
        credential: credential?,
        positive_ttl: positive_ttl?,
        negative_ttl: negative_ttl?,
        grace: grace?,
        timeout: timeout?,
        cache_capacity: cache_capacity?,
    })
}

fn online(text: &str) -> Result<(), Problem> {
    match text {
        "online" => Ok(()),
        "offline" => Err(Problem::new(
            "offline is not available in this version",
            "set mode = \"online\" and give introspection_url and credential",
        )),
        other => super::parse::choice(other, &[("online", ())]),
    }
}

fn licensing_keys(s: &mut Section<'_>, uri: Option<Url>, file: Option<PublicFile>) -> Option<LicensingKeys> {
    match (file, uri) {
        (Some(file), uri) => {
            if uri.is_some() {
                s.warn(
                    "jwks_uri",
                    "is ignored because jwks_file is set",
                    "remove one of the two",
                );
            }
            if let Err(problem) = pem::jwk_set(&file) {
                s.refuse("jwks_file", problem.problem, problem.remedy);
            }
            Some(LicensingKeys::File(file))
        }
        (None, Some(uri)) => Some(LicensingKeys::Uri(uri)),
        (None, None) => {
            s.refuse(
                "jwks_file",
                "and jwks_uri are both empty",
                "set one of them: there is no discovery at Licensing",
            );
            None
        }
    }
}
