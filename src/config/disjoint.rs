//! Keys and identities have one use each: what signs here is no release, checkpoint, OpTok or PoE key (contract §7).
//!
//! This is asked of a configuration as it was read, and before a reload of what will run after it: what takes a restart goes
//! on as it was started, whatever the file says by now.

use openssl::pkey::{PKey, Public};

use super::auth::{Auth, AuthorityKeys};
use super::backends::Backend;
use super::entitlement::{Entitlement, LicensingKeys};
use super::error::Problem;
use super::pem::{self, Spki};
use super::release::Release;
use super::signing::Signing;
use super::small::{Audit, Timestamp};
use super::{Draft, Settings};

/// What is compared, as far as it is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sections<'a> {
    signing: Option<&'a Signing>,
    release: Option<&'a Release>,
    audit: Option<&'a Audit>,
    timestamp: Option<&'a Timestamp>,
    auth: Option<&'a Auth>,
    entitlement: Option<&'a Entitlement>,
}

impl<'a> Sections<'a> {
    /// As far as they could be read.
    pub(super) fn of_draft(draft: &'a Draft) -> Self {
        Self {
            signing: draft.signing.as_ref(),
            release: draft.release.as_ref(),
            audit: draft.audit.as_ref(),
            timestamp: draft.timestamp.as_ref().and_then(Option::as_ref),
            auth: draft.auth.as_ref(),
            entitlement: draft.entitlement.as_ref(),
        }
    }

    fn of_settings(settings: &'a Settings) -> Self {
        Self {
            signing: Some(&settings.signing),
            release: Some(&settings.release),
            audit: Some(&settings.audit),
            timestamp: settings.timestamp.as_ref(),
            auth: Some(&settings.auth),
            entitlement: Some(&settings.entitlement),
        }
    }
}

/// Something that has two uses.
#[derive(Debug)]
pub(super) struct Shared {
    /// Whose configuration is to be changed.
    pub(super) key: String,
    /// What else it is.
    pub(super) problem: Problem,
}

impl Settings {
    /// Keys and identities that would have two uses if the service ran with these settings: each with the key of the
    /// configuration, and what else it is.
    pub(crate) fn shared(&self) -> Vec<String> {
        let told = |Shared { key, problem }| format!("{key}: {}", problem.problem);
        let shared = shared(&Sections::of_settings(self));
        shared.into_iter().map(told).collect()
    }
}

/// All that have two uses.
pub(super) fn shared(sections: &Sections<'_>) -> Vec<Shared> {
    let mut all = shared_keys(sections);
    all.extend(shared_checkpoint_key(sections));
    all.extend(shared_identities(sections));
    all
}

/// A key and the dotted key that names it.
type Named = (String, Spki);

/// A signing key has no second use: not as release, checkpoint, OpTok or PoE key, nor in another backend
/// (contract §7). Keys behind a `jwks_uri` or discovery are not known here: whoever fetches them
/// compares, and a reload with what was fetched.
fn shared_keys(sections: &Sections<'_>) -> Vec<Shared> {
    let mut all = Vec::new();
    let mut report = |key: &str, problem| {
        all.push(Shared {
            key: key.to_owned(),
            problem,
        });
    };
    let signing = signing_keys(sections);
    for (index, (key, spki)) in signing.iter().enumerate() {
        let earlier = signing.iter().take(index).find(|(_, other)| other == spki);
        if let Some((other, _)) = earlier {
            let problem = format!("is the same key as {other}");
            report(key, Problem::new(problem, "give each backend a key of its own"));
        }
    }
    for (other, spki) in other_keys(sections) {
        for (key, _) in signing.iter().filter(|(_, signing)| *signing == spki) {
            let problem = format!("is the same key as one in {other}");
            let remedy = "make a new key for signing: a signing key has no other use";
            report(key, Problem::new(problem, remedy));
        }
    }
    all
}

/// What signs the audit trail neither signs nor witnesses releases.
fn shared_checkpoint_key(sections: &Sections<'_>) -> Vec<Shared> {
    let Some(checkpoint) = checkpoint_key(sections) else {
        return Vec::new();
    };
    let shared = release_keys(sections)
        .into_iter()
        .filter(|(_, spki)| *spki == checkpoint);
    let told = |(other, _): Named| {
        let problem = format!("is the same key as one in {other}");
        let remedy = "make a new key for checkpoints: it has no other use";
        Shared {
            key: "audit.checkpoint_key".to_owned(),
            problem: Problem::new(problem, remedy),
        }
    };
    shared.map(told).collect()
}

fn checkpoint_key(sections: &Sections<'_>) -> Option<Spki> {
    pem::spki(&*sections.audit?.checkpoint_key)
}

fn signing_keys(sections: &Sections<'_>) -> Vec<Named> {
    let backends = sections.signing.iter().flat_map(|signing| &signing.backends);
    let key = |(index, backend): (usize, &Backend)| {
        let name = match backend {
            Backend::Fulcio(_) => return None,
            Backend::File(_) => "key",
            Backend::Remote(_) => "public_key",
        };
        let spki = backend.public_key_der()?.to_vec();
        Some((format!("signing.backends[{index}].{name}"), spki))
    };
    backends.enumerate().filter_map(key).collect()
}

/// Keys that sign or witness releases.
fn release_keys(sections: &Sections<'_>) -> Vec<Named> {
    sections.release.map(keys_of_release).unwrap_or_default()
}

/// The same, by the names of their configuration keys.
pub(crate) fn keys_of_release(release: &Release) -> Vec<Named> {
    let mut all = Vec::new();
    for (index, file) in release.keys.iter().enumerate() {
        let spki = pem::public_key(file).ok().and_then(|key| pem::spki(&key));
        all.extend(spki.map(|spki| (format!("release.keys[{index}]"), spki)));
    }
    let signers = release
        .signers
        .iter()
        .map(|signer| ("signers", &signer.key))
        .enumerate();
    let logs = release.logs.iter().map(|log| ("logs", &log.key)).enumerate();
    let ct_logs = release
        .ct_logs
        .iter()
        .map(|log| ("ct_logs", &log.key))
        .enumerate();
    for (index, (table, file)) in signers.chain(logs).chain(ct_logs) {
        let spki = pem::public_key(file).ok().and_then(|key| pem::spki(&key));
        all.extend(spki.map(|spki| (format!("release.{table}[{index}].key"), spki)));
    }
    let authorities = release
        .timestamp_roots
        .iter()
        .flat_map(|file| pem::certificates(file).unwrap_or_default());
    let keys = authorities.filter_map(|authority| pem::spki(&*authority.public_key().ok()?));
    all.extend(keys.map(|spki| ("release.timestamp_roots".to_owned(), spki)));
    all
}

/// Keys of the logs that Fulcio writes to.
fn certificate_log_keys(sections: &Sections<'_>) -> Vec<Named> {
    let backends = sections.signing.iter().flat_map(|signing| &signing.backends);
    let mut all = Vec::new();
    for (index, backend) in backends.enumerate() {
        if let Backend::Fulcio(fulcio) = backend {
            let keys = fulcio
                .ct_keys
                .iter()
                .filter_map(|file| pem::public_key(file).ok());
            let named =
                |key: PKey<Public>| Some((format!("signing.backends[{index}].ct_keys"), pem::spki(&key)?));
            all.extend(keys.filter_map(named));
        }
    }
    all
}

fn other_keys(sections: &Sections<'_>) -> Vec<Named> {
    let mut all = release_keys(sections);
    all.extend(certificate_log_keys(sections));
    all.extend(checkpoint_key(sections).map(|spki| ("audit.checkpoint_key".to_owned(), spki)));
    if let Some(timestamp) = sections.timestamp {
        let certificates = pem::certificates(&timestamp.chain).unwrap_or_default();
        let keys = certificates
            .iter()
            .filter_map(|authority| pem::spki(&*authority.public_key().ok()?));
        all.extend(keys.map(|spki| ("timestamp.chain".to_owned(), spki)));
    }
    if let Some(AuthorityKeys::File(file)) = sections.auth.map(|auth| &auth.keys) {
        let keys = pem::jwk_set(file).unwrap_or_default();
        all.extend(keys.into_iter().map(|spki| ("auth.jwks_file".to_owned(), spki)));
    }
    if let Some(LicensingKeys::File(file)) = sections.entitlement.map(|entitlement| &entitlement.keys) {
        let keys = pem::jwk_set(file).unwrap_or_default();
        all.extend(
            keys.into_iter()
                .map(|spki| ("entitlement.jwks_file".to_owned(), spki)),
        );
    }
    all
}

/// The same rule for identities: what this service signs must never pass as a release.
fn shared_identities(sections: &Sections<'_>) -> Vec<Shared> {
    let (Some(signing), Some(release)) = (sections.signing, sections.release) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (index, backend) in signing.backends.iter().enumerate() {
        let Backend::Fulcio(fulcio) = backend else {
            continue;
        };
        let same = release
            .identities
            .iter()
            .any(|id| id.issuer == fulcio.expect_issuer && id.subject == fulcio.expect_subject);
        if same {
            let problem = "is also an identity in release.identities";
            let remedy = "give the service an identity of its own: it must not be able to sign releases";
            all.push(Shared {
                key: format!("signing.backends[{index}].expect_subject"),
                problem: Problem::new(problem, remedy),
            });
        }
    }
    all
}
