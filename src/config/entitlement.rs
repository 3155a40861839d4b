//! `[entitlement]`: proofs of entitlement and their introspection.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

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
    /// Who says that a PoE still holds.
    pub standing: Standing,
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

/// Who says that a PoE still holds.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Licensing, asked for each.
    Online {
        /// RFC 7662 introspection.
        introspection_url: Url,
        /// Bearer credential of the service there.
        credential: Secret,
    },
    /// A signed file of Licensing's; nobody is asked.
    Offline {
        /// Its path. It is read by who uses it, and again when it changes.
        licence_file: PathBuf,
    },
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
    let mode = s.choice(
        key(
            "mode",
            "online",
            "online: each PoE is introspected. offline: a signed licence file says what holds, and no one is asked.",
        ),
        &[("online", Mode::Online), ("offline", Mode::Offline)],
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
            "Address of Licensing's JWK set. One of jwks_uri and jwks_file is needed; the file wins. Mode offline needs \
             the file.",
        ),
        net::url,
    );
    let jwks_file = s.optional(
        key("jwks_file", "", "File with Licensing's JWK set."),
        files::public,
    );
    let introspection_url = s.optional(
        key(
            "introspection_url",
            "",
            "Where a PoE is introspected (RFC 7662), for example https://licensing.example/license/introspect. Needed in \
             mode online.",
        ),
        net::url,
    );
    let credential = s.secret(
        key(
            "credential",
            "",
            "Bearer credential of the service at the introspection endpoint, by reference, for example \
             file:licensing.token. Needed in mode online.",
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
    let licence_file = s.optional(
        key(
            "licence_file",
            "",
            "Mode offline: the signed licence file of Licensing, for example licence.jwt. Read again when it changes.",
        ),
        |text, layers| files::public(text, layers).map(|file| file.path),
    );
    let keys = licensing_keys(s, jwks_uri?, jwks_file?);
    let given = Given {
        introspection_url: introspection_url?,
        credential: credential?,
        licence_file: licence_file?,
    };
    let mode = mode?;
    let standing = match mode {
        Mode::Online => online(s, given),
        Mode::Offline => offline(s, given, keys.as_ref()),
    };
    if mode == Mode::Offline && grace.is_some_and(|grace| !grace.is_zero()) {
        s.warn(
            "grace",
            "has no effect in mode offline",
            "remove it: a licence file counts until it expires",
        );
    }
    Some(Entitlement {
        issuer: issuer?,
        keys: keys?,
        standing: standing?,
        positive_ttl: positive_ttl?,
        negative_ttl: negative_ttl?,
        grace: grace?,
        timeout: timeout?,
        cache_capacity: cache_capacity?,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Online,
    Offline,
}

/// What the modes need, as far as it is set.
struct Given {
    introspection_url: Option<Url>,
    credential: Option<Secret>,
    licence_file: Option<PathBuf>,
}

fn online(s: &mut Section<'_>, given: Given) -> Option<Standing> {
    let online = "mode online needs it: set it, or set mode = \"offline\" and licence_file";
    if given.introspection_url.is_none() {
        s.refuse("introspection_url", "is empty", online);
    }
    if given.credential.is_none() {
        s.refuse("credential", "is empty", online);
    }
    if given.licence_file.is_some() {
        let remedy = "leave it empty, or set mode = \"offline\"";
        s.refuse("licence_file", "is for mode offline, and mode is online", remedy);
        return None;
    }
    Some(Standing::Online {
        introspection_url: given.introspection_url?,
        credential: given.credential?,
    })
}

fn offline(s: &mut Section<'_>, given: Given, keys: Option<&LicensingKeys>) -> Option<Standing> {
    let remedy = "leave it empty, or set mode = \"online\"";
    for (name, set) in [
        ("introspection_url", given.introspection_url.is_some()),
        ("credential", given.credential.is_some()),
    ] {
        if set {
            s.refuse(name, "is for mode online, and mode is offline", remedy);
        }
    }
    if let Some(LicensingKeys::Uri(_)) = keys {
        let remedy = "put Licensing's key set into a file and name it in jwks_file";
        s.refuse(
            "jwks_uri",
            "is for mode online: offline nothing is fetched",
            remedy,
        );
    }
    if given.licence_file.is_none() {
        s.refuse(
            "licence_file",
            "is empty",
            "mode offline needs it: name the licence file that Licensing issued",
        );
    }
    let licence_file = given.licence_file?;
    Some(Standing::Offline { licence_file })
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
