//! What must hold between sections.

use std::time::Duration;

use openssl::pkey::{PKey, Public};

use super::Draft;
use super::auth::{AuthorityKeys, NoncePolicy};
use super::backends::Backend;
use super::entitlement::LicensingKeys;
use super::error::Problem;
use super::pem::{self, Spki};
use super::reader::Reader;
use super::release::Release;

/// Checks what can be checked between the sections that could be read.
pub(crate) fn check(reader: &mut Reader, draft: &mut Draft) {
    keys_are_disjoint(reader, draft);
    checkpoints_have_their_own_key(reader, draft);
    identities_are_disjoint(reader, draft);
    identities_have_roots(reader, draft);
    folders_differ(reader, draft);
    timestamps_fit_into_requests(reader, draft);
    nonces_are_shared_with_the_store(reader, draft);
    leases_outlive_requests(reader, draft);
}

/// A key and the dotted key that names it.
type Named = (String, Spki);

/// A signing key has no second use: not as release, checkpoint, OpTok or PoE key, nor in another backend
/// (contract §7). Keys behind a `jwks_uri` or discovery are not known here: whoever fetches them has to compare.
fn keys_are_disjoint(reader: &mut Reader, draft: &Draft) {
    let signing = signing_keys(draft);
    for (index, (key, spki)) in signing.iter().enumerate() {
        let earlier = signing.iter().take(index).find(|(_, other)| other == spki);
        if let Some((other, _)) = earlier {
            let problem = format!("is the same key as {other}");
            reader.report(key, Problem::new(problem, "give each backend a key of its own"));
        }
    }
    for (other, spki) in other_keys(draft) {
        for (key, _) in signing.iter().filter(|(_, signing)| *signing == spki) {
            let problem = format!("is the same key as one in {other}");
            let remedy = "make a new key for signing: a signing key has no other use";
            reader.report(key, Problem::new(problem, remedy));
        }
    }
}

/// What signs the audit trail neither signs nor witnesses releases.
fn checkpoints_have_their_own_key(reader: &mut Reader, draft: &Draft) {
    let Some(checkpoint) = checkpoint_key(draft) else {
        return;
    };
    for (other, _) in release_keys(draft).iter().filter(|(_, spki)| *spki == checkpoint) {
        let problem = format!("is the same key as one in {other}");
        let remedy = "make a new key for checkpoints: it has no other use";
        reader.report("audit.checkpoint_key", Problem::new(problem, remedy));
    }
}

fn checkpoint_key(draft: &Draft) -> Option<Spki> {
    pem::spki(&*draft.audit.as_ref()?.checkpoint_key)
}

fn signing_keys(draft: &Draft) -> Vec<Named> {
    let backends = draft.signing.iter().flat_map(|signing| &signing.backends);
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
fn release_keys(draft: &Draft) -> Vec<Named> {
    draft.release.as_ref().map(keys_of_release).unwrap_or_default()
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
fn certificate_log_keys(draft: &Draft) -> Vec<Named> {
    let backends = draft.signing.iter().flat_map(|signing| &signing.backends);
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

fn other_keys(draft: &Draft) -> Vec<Named> {
    let mut all = release_keys(draft);
    all.extend(certificate_log_keys(draft));
    all.extend(checkpoint_key(draft).map(|spki| ("audit.checkpoint_key".to_owned(), spki)));
    if let Some(Some(timestamp)) = &draft.timestamp {
        let certificates = pem::certificates(&timestamp.chain).unwrap_or_default();
        let keys = certificates
            .iter()
            .filter_map(|authority| pem::spki(&*authority.public_key().ok()?));
        all.extend(keys.map(|spki| ("timestamp.chain".to_owned(), spki)));
    }
    if let Some(AuthorityKeys::File(file)) = draft.auth.as_ref().map(|auth| &auth.keys) {
        let keys = pem::jwk_set(file).unwrap_or_default();
        all.extend(keys.into_iter().map(|spki| ("auth.jwks_file".to_owned(), spki)));
    }
    if let Some(LicensingKeys::File(file)) = draft.entitlement.as_ref().map(|entitlement| &entitlement.keys) {
        let keys = pem::jwk_set(file).unwrap_or_default();
        all.extend(
            keys.into_iter()
                .map(|spki| ("entitlement.jwks_file".to_owned(), spki)),
        );
    }
    all
}

/// The same rule for identities: what this service signs must never pass as a release.
fn identities_are_disjoint(reader: &mut Reader, draft: &Draft) {
    let (Some(signing), Some(release)) = (&draft.signing, &draft.release) else {
        return;
    };
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
            let key = format!("signing.backends[{index}].expect_subject");
            reader.report(&key, Problem::new(problem, remedy));
        }
    }
}

/// Certificates of releases need roots: their own, or those of the Fulcio that also certifies this service.
fn identities_have_roots(reader: &mut Reader, draft: &mut Draft) {
    let (Some(signing), Some(release)) = (&draft.signing, &mut draft.release) else {
        return;
    };
    let lacking = release.identities.iter().any(|identity| identity.roots.is_none());
    if !lacking || release.roots.is_some() {
        return;
    }
    release.roots = signing.backends.iter().find_map(|backend| match backend {
        Backend::Fulcio(fulcio) => Some(fulcio.roots.clone()),
        Backend::File(_) | Backend::Remote(_) => None,
    });
    if release.roots.is_none() {
        let problem = "is empty, and there is no Fulcio backend whose roots release.identities could share";
        reader.report(
            "release.roots",
            Problem::new(problem, "name the roots of the release certificates"),
        );
    }
}

/// A nonce of one replica must be good at the others; without a shared store a shared key would let a nonce from before
/// a restart excuse a proof that was used before it (ADR 0009, ADR 0014).
fn nonces_are_shared_with_the_store(reader: &mut Reader, draft: &Draft) {
    let (Some(auth), Some(state)) = (&draft.auth, &draft.state) else {
        return;
    };
    let nonces = auth.dpop.nonce != NoncePolicy::Off;
    let problem = match (&state.shared, &auth.dpop.nonce_key) {
        (Some(_), None) if nonces => Problem::new(
            "is empty, and state.store is redis",
            "make one key for all replicas: openssl rand -hex 32",
        ),
        (None, Some(_)) => Problem::new(
            "is set, and state.store is memory",
            "leave it empty: each start makes a key of its own",
        ),
        _ => return,
    };
    reader.report("auth.dpop.nonce_key", problem);
}

/// After the store has lost its memory nothing is signed for one lease's life, in which every attempt of before must have
/// ended: its claim is forgotten, and a retry would be signed beside it (ADR 0015).
fn leases_outlive_requests(reader: &mut Reader, draft: &Draft) {
    let (Some(server), Some(state)) = (&draft.server, &draft.state) else {
        return;
    };
    let lease = state.shared.as_ref().map(|shared| shared.lease_ttl);
    if lease.is_some_and(|lease| lease < server.request_timeout) {
        let problem = format!(
            "is shorter than server.request_timeout, {:?}",
            server.request_timeout
        );
        let remedy = "lengthen it to that at least, or shorten server.request_timeout: a lease must not end before the work \
            that it counts";
        reader.report("state.lease_ttl", Problem::new(problem, remedy));
    }
}

/// What a request needs after it has waited for a timestamp in vain.
const FOR_THE_TRAIL: Duration = Duration::from_millis(500);

/// A request whose authority is silent must still have time to say so.
fn timestamps_fit_into_requests(reader: &mut Reader, draft: &Draft) {
    let (Some(server), Some(Some(timestamp))) = (&draft.server, &draft.timestamp) else {
        return;
    };
    if timestamp.timeout.saturating_add(FOR_THE_TRAIL) > server.request_timeout {
        let problem = "leaves less than 500 ms of server.request_timeout";
        let remedy = "give the authority less time, or requests more";
        reader.report("timestamp.timeout", Problem::new(problem, remedy));
    }
}

fn folders_differ(reader: &mut Reader, draft: &Draft) {
    let (Some(audit), Some(state)) = (&draft.audit, &draft.state) else {
        return;
    };
    if audit.directory == state.directory {
        let problem = "is the folder of state.directory";
        reader.report(
            "audit.directory",
            Problem::new(problem, "give the audit trail a folder of its own"),
        );
    }
}
